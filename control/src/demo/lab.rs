//! The stage: hosts, the underlay between them, containers, and a kernel VTEP where the kernel has one.
//!
//! ```text
//!   host a  198.18.0.1 ───────── 198.18.0.2  host b         each line a veth pair of its own,
//!    a1 a2      │                    │        b1 b2         addresses point to point
//!    a3         └──── 198.18.0.3 ────┘        b3
//!                       host k                              a3 and b3: the other network
//! ```

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use ipnet::Ipv4Net;
use tempfile::TempDir;

use super::broadcast::Member;
use super::daemon::Daemon;
use super::error::DemoError;
use crate::sandbox::topology::{KernelVxlan, VethEnd, kernel_vxlan, veth_pair};
use crate::sandbox::{Link, NamedNetns, Netns, SandboxError};

/// The networks' VNI and the next one.
pub(super) const VNI: u32 = 4242;
/// The subnet of both networks.
pub(super) const SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 99, 0, 0), 24);
/// The underlay's MTU in bytes, that of an ordinary Ethernet.
const UNDERLAY_MTU: u32 = 1500;
/// What is left of it inside VXLAN over IPv4.
const INNER_MTU: u32 = UNDERLAY_MTU - 50;

/// What the daemons call a container's interface.
pub(super) const CONTAINER_IFNAME: &str = "eth0";

/// Everything that must be removed again. It outlives the show, however that ends.
#[derive(Default)]
pub(super) struct Lab {
    /// The start of every name.
    prefix: String,
    directory: Option<TempDir>,
    namespaces: Vec<Arc<NamedNetns>>,
    /// The daemons that were started.
    pub(super) daemons: Vec<Daemon>,
}

/// A machine of its own, as far as the network goes.
pub(super) struct Host {
    pub(super) label: &'static str,
    pub(super) vtep: Ipv4Addr,
    pub(super) netns: Arc<NamedNetns>,
    pub(super) link: Link,
}

/// A container: a namespace with an address on one of the networks.
pub(super) struct Container {
    pub(super) label: &'static str,
    pub(super) ip: Ipv4Addr,
    pub(super) netns: Arc<NamedNetns>,
}

impl Container {
    pub(super) fn netns(&self) -> &Netns {
        self.netns.netns()
    }

    /// The path that the daemon is told.
    pub(super) fn path(&self) -> &Path {
        self.netns.path()
    }

    pub(super) fn member(&self) -> Member<'_> {
        Member { label: self.label, netns: self.netns() }
    }
}

/// Who plays.
pub(super) struct Cast {
    pub(super) a: Host,
    pub(super) b: Host,
    /// A container and VTEP in one, if the kernel has vxlan devices.
    pub(super) kernel: Option<Container>,
    pub(super) a1: Container,
    pub(super) a2: Container,
    pub(super) b1: Container,
    pub(super) b2: Container,
    /// On the other network, with the address of `a1`.
    pub(super) a3: Container,
    /// On the other network, with the address of `b2`.
    pub(super) b3: Container,
    /// The VTEP addresses of all hosts.
    pub(super) vteps: Vec<Ipv4Addr>,
}

impl Lab {
    /// An empty lab; all its names will start with `prefix`.
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix, ..Self::default() }
    }

    /// How many namespaces there are.
    pub(super) fn namespaces(&self) -> &[Arc<NamedNetns>] {
        &self.namespaces
    }

    /// Builds everything but the daemons.
    pub(super) async fn build(&mut self) -> Result<Cast, DemoError> {
        let a = self.host("a", Ipv4Addr::new(198, 18, 0, 1)).await?;
        let b = self.host("b", Ipv4Addr::new(198, 18, 0, 2)).await?;
        let k = self.host("k", Ipv4Addr::new(198, 18, 0, 3)).await?;
        let container = |lab: &mut Self, label, last| lab.container(label, Ipv4Addr::new(10, 99, 0, last));
        join(&a, &b).await?;
        let kernel = self.kernel_vtep(&k, &[&a, &b]).await?;
        let mut vteps = vec![a.vtep, b.vtep];
        if kernel.is_some() {
            join(&a, &k).await?;
            join(&b, &k).await?;
            vteps.push(k.vtep);
        }
        Ok(Cast {
            kernel,
            vteps,
            a1: container(self, "a1", 11)?,
            a2: container(self, "a2", 12)?,
            a3: container(self, "a3", 11)?,
            b1: container(self, "b1", 21)?,
            b2: container(self, "b2", 22)?,
            b3: container(self, "b3", 22)?,
            a,
            b,
        })
    }

    /// Where the daemons keep their files; `/run`, because a socket's path must be short.
    pub(super) fn directory(&mut self) -> Result<&Path, DemoError> {
        if self.directory.is_none() {
            let prefix = format!("weft-demo-{:x}-", std::process::id());
            let made = tempfile::Builder::new().prefix(&prefix).tempdir_in("/run");
            self.directory = Some(made.map_err(DemoError::io("make a directory in /run"))?);
        }
        Ok(self.directory.as_ref().map_or(Path::new("/run"), TempDir::path))
    }

    /// Looks into the containers for interfaces that ended daemons should have taken with them.
    ///
    /// # Errors
    /// [`DemoError::LeftBehind`] names the first one found.
    pub(super) async fn interfaces_left(&self) -> Result<(), DemoError> {
        for netns in &self.namespaces {
            let link = netns.netns().link()?;
            if link.get_link(CONTAINER_IFNAME).await?.is_some() {
                let what = format!("the daemons left {CONTAINER_IFNAME} behind in {}", netns.netns());
                return Err(DemoError::LeftBehind(what));
            }
        }
        Ok(())
    }

    fn namespace(&mut self, label: &str) -> Result<Arc<NamedNetns>, DemoError> {
        let netns = Arc::new(NamedNetns::create(&format!("{}-{label}", self.prefix))?);
        self.namespaces.push(Arc::clone(&netns));
        Ok(netns)
    }

    async fn host(&mut self, label: &'static str, vtep: Ipv4Addr) -> Result<Host, DemoError> {
        let netns = self.namespace(label)?;
        let link = netns.netns().link()?;
        link.up(link.index_of("lo").await?).await?;
        Ok(Host { label, vtep, netns, link })
    }

    fn container(&mut self, label: &'static str, ip: Ipv4Addr) -> Result<Container, DemoError> {
        Ok(Container { label, ip, netns: self.namespace(label)? })
    }

    /// Makes the kernel's vxlan device on `host`, with an address of the network; `None` where there is no such device.
    async fn kernel_vtep(&mut self, host: &Host, peers: &[&Host]) -> Result<Option<Container>, DemoError> {
        let peers: Vec<_> = peers.iter().map(|peer| peer.vtep).collect();
        let device =
            KernelVxlan { ifname: "vxlan0", vni: VNI, local: host.vtep, peers: &peers, mtu: INNER_MTU };
        let index = match kernel_vxlan(&host.link, &device).await {
            Err(SandboxError::NoVxlan) => return Ok(None),
            other => other?,
        };
        let ip = Ipv4Addr::new(10, 99, 0, 31);
        let net = Ipv4Net::new_assert(ip, SUBNET.prefix_len());
        host.link.add_address(index, net.into()).await?;
        host.link.up(index).await?;
        Ok(Some(Container { label: "k", ip, netns: Arc::clone(&host.netns) }))
    }
}

/// Joins two hosts by a veth pair, each end named after the host it leads to.
async fn join(a: &Host, b: &Host) -> Result<(), DemoError> {
    let (to_b, to_a) = (format!("to-{}", b.label), format!("to-{}", a.label));
    let end_a = VethEnd { netns: a.netns.netns(), ifname: &to_b };
    let end_b = VethEnd { netns: b.netns.netns(), ifname: &to_a };
    veth_pair(&a.link, end_a, end_b, UNDERLAY_MTU).await?;
    for (host, ifname, peer) in [(a, &to_b, b.vtep), (b, &to_a, a.vtep)] {
        let index = host.link.index_of(ifname).await?;
        host.link.add_peer_address(index, host.vtep, peer).await?;
        host.link.up(index).await?;
    }
    a.link.until_running(&to_b).await?;
    Ok(b.link.until_running(&to_a).await?)
}
