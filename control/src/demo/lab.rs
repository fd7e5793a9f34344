//! The stage: hosts, the underlay between them, containers, a machine outside, and a kernel VTEP where the kernel has one.
//!
//! ```text
//!  o  198.18.1.2 ─── 198.18.1.1
//!                       host a  198.18.0.1 ───────── 198.18.0.2  host b    each line a veth pair of its own,
//!                        a1 a2      │                    │        b1 b2    addresses between hosts point to point
//!                        a3         └──── 198.18.0.3 ────┘        b3
//!                                           host k                         a3 and b3: the other network
//! ```
//!
//! Host a's default route leads to o, which knows only its own link: it can answer host a, and no network.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use ipnet::Ipv4Net;
use tempfile::TempDir;

use super::broadcast::Member;
use super::daemon::Daemon;
use super::docker::Guests;
use super::error::DemoError;
use crate::sandbox::topology::{KernelVxlan, VethEnd, kernel_vxlan, veth_pair};
use crate::sandbox::{Link, NamedNetns, Netns, SandboxError};

/// The networks' VNI and the next one.
pub(super) const VNI: u32 = 4242;
/// The subnet of both networks.
pub(super) const SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 99, 0, 0), 24);
/// The link between host a and the machine outside, and their addresses on it.
const OUTSIDE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 1, 0), 24);
pub(super) const OUTSIDE_A: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);
const OUTSIDE_O: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 2);
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
    /// What was made in an engine of Docker's.
    pub(super) guests: Option<Guests>,
}

/// A machine of its own, as far as the network goes.
pub(super) struct Host {
    pub(super) label: &'static str,
    pub(super) vtep: Ipv4Addr,
    pub(super) netns: Arc<NamedNetns>,
    pub(super) link: Link,
}

/// A container: a namespace with an address on one of the networks. Who else talks to one is a container here, too.
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
    /// The machine outside, on no network.
    pub(super) o: Container,
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
        let o = self.outside(&a).await?;
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
            o,
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

    /// Makes the machine outside, by which `a` believes to reach everything that it does not know.
    async fn outside(&mut self, a: &Host) -> Result<Container, DemoError> {
        let netns = self.namespace("o")?;
        let link = netns.netns().link()?;
        let ends = [(a.netns.netns(), &a.link, "to-o"), (netns.netns(), &link, "to-a")];
        let [at_a, at_o] = cable(ends).await?;
        let on_link = |ip| Ipv4Net::new_assert(ip, OUTSIDE.prefix_len()).into();
        a.link.add_address(at_a, on_link(OUTSIDE_A)).await?;
        link.add_address(at_o, on_link(OUTSIDE_O)).await?;
        a.link.add_default_route(at_a, OUTSIDE_O.into()).await?;
        Ok(Container { label: "o", ip: OUTSIDE_O, netns })
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
    let ends = [(a.netns.netns(), &a.link, to_b.as_str()), (b.netns.netns(), &b.link, to_a.as_str())];
    let [at_a, at_b] = cable(ends).await?;
    a.link.add_peer_address(at_a, a.vtep, b.vtep).await?;
    Ok(b.link.add_peer_address(at_b, b.vtep, a.vtep).await?)
}

/// Makes a veth pair that carries frames, and returns the index of each end.
async fn cable(ends: [(&Netns, &Link, &str); 2]) -> Result<[u32; 2], DemoError> {
    let [a, b] = ends.map(|(netns, _, ifname)| VethEnd { netns, ifname });
    veth_pair(ends[0].1, a, b, UNDERLAY_MTU).await?;
    let mut indexes = [0; 2];
    for (index, (_, link, ifname)) in indexes.iter_mut().zip(ends) {
        *index = link.index_of(ifname).await?;
        link.up(*index).await?;
    }
    for (_, link, ifname) in ends {
        link.until_running(ifname).await?;
    }
    Ok(indexes)
}
