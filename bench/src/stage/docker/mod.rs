//! Containers of Docker Engine, on its own bridge and on Weft.
//!
//! ```text
//!   local    c1 ── network of dockerd ── c2                                                one host
//!   outside  c1 ── network of dockerd ── host 1 ═══ u0 ═══ outside, server 172.31.78.1     as in `nat`
//!   hosts    c1 ── Weft ── host 1 ═══ u0 ═══ host 2 ── Weft ── c1                          two engines, one VNI
//! ```
//!
//! Every contender has engines of its own, started afresh, each on its host's network and with everything at its default.
//! The agents are no processes of the containers, they only stand in their network namespaces.
//!
//! What is not there: Docker's own overlay, which needs swarm.

mod machine;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;

use super::contender::Mode;
use super::nat::{self, PORT};
use super::underlay::Host;
use super::weft::{Weft, underlay};
use super::{Container, Joined, VNI};
use crate::error::LabError;
pub(crate) use machine::{Engine, IMAGE, Machine, prepare};

/// The network's name.
const NETWORK: &str = "bench";

/// Its subnet.
const SUBNET: &str = "10.77.0.0/24";

/// Between whom the traffic runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Two containers of one host.
    Local,
    /// A container and a server outside.
    Outside,
    /// Two containers, each with a host of its own.
    Hosts,
}

/// Whose network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// Docker's own bridge, with its filter rules, its masquerade and its proxy processes.
    Bridge,
    /// Weft, as network and IPAM driver.
    Weft,
}

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Docker {
    pub(crate) place: Place,
    pub(crate) driver: Driver,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Weft => "weft",
        })
    }
}

/// What is needed to create a network of this driver.
pub(crate) fn network_options(driver: Driver) -> &'static [&'static str] {
    match driver {
        Driver::Bridge => &["-d", "bridge"],
        Driver::Weft => &["-d", "weft", "--ipam-driver", "weft"],
    }
}

/// An engine, and Weft's daemon if that is its driver. The engine goes first, so that its containers say goodbye to
/// somebody.
pub(super) struct Dock {
    engine: Engine,
    weft: Option<Weft>,
}

/// Containers, and what has to be kept for them.
pub(super) struct Berth {
    pub(super) containers: Vec<Container>,
    pub(super) joined: Vec<Joined>,
    /// Both ends of the traffic.
    pub(super) addresses: [Ipv4Addr; 2],
    /// Where [`PORT`] of the first container can be reached from outside.
    pub(super) published: Option<SocketAddrV4>,
}

/// Starts what `docker` needs on the hosts.
///
/// # Errors
/// Whatever cannot be started or configured.
pub(super) fn join(docker: Docker, hosts: &[Host; 2], executable: &Path) -> Result<Berth, LabError> {
    let Docker { place, driver } = docker;
    let [near, far] = hosts;
    let mut published = None;
    let (containers, docks) = match place {
        Place::Local => {
            let mut dock = Dock::start(driver, near, executable, "", &[])?;
            (vec![dock.container(1, &[])?, dock.container(2, &[])?], vec![dock])
        }
        Place::Outside => {
            nat::serve_outside(hosts)?;
            let mut dock = Dock::start(driver, near, executable, "", &[])?;
            published = Some(SocketAddrV4::new(near.address, PORT));
            (vec![dock.container(1, &["-p", &format!("{PORT}:{PORT}")])?], vec![dock])
        }
        Place::Hosts => {
            let vni = format!("vni={VNI}");
            let dock = |own: &Host, peer: &Host| {
                let settings = underlay(Mode::Auto, own.address, peer.address);
                Dock::start(driver, own, executable, &settings, &["-o", &vni, "--gateway", "10.77.0.1"])
            };
            let mut docks = vec![dock(near, far)?, dock(far, near)?];
            let containers = docks.iter_mut().zip(1..).map(|(dock, number)| dock.container(number, &[]));
            (containers.collect::<Result<_, _>>()?, docks)
        }
    };
    let far = containers.get(1).map_or(nat::SERVER, |container: &Container| container.address);
    let addresses = [containers[0].address, far];
    Ok(Berth { containers, joined: docks.into_iter().map(Joined::Docker).collect(), addresses, published })
}

impl Dock {
    /// Starts everything on `host` and creates the network.
    fn start(
        driver: Driver,
        host: &Host,
        executable: &Path,
        settings: &str,
        options: &[&str],
    ) -> Result<Self, LabError> {
        let machine = Arc::new(Machine::on(&host.ns)?);
        let weft = match driver {
            Driver::Bridge => None,
            Driver::Weft => Some(Weft::serve_docker(executable, host, settings, &machine)?),
        };
        let dock = Self { engine: Engine::start(&machine, &host.ns)?, weft };
        let create = ["network", "create", "--subnet", SUBNET];
        dock.engine.docker(&[&create, network_options(driver), options, &[NETWORK]].concat())?;
        Ok(dock)
    }

    fn container(&mut self, number: u8, options: &[&str]) -> Result<Container, LabError> {
        let address = super::address_of(number);
        let line = ["--net", NETWORK, "--ip", &address.to_string()];
        let ns = self.engine.container(&format!("c{number}"), &[&line, options].concat())?;
        Ok(Container { ns, address })
    }

    /// Weft's processes. Docker's own forward nothing, but for connections from the host itself.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.weft.as_ref().map(Weft::pids).unwrap_or_default()
    }

    /// What Weft says of itself.
    pub(super) fn note(&self) -> Option<String> {
        self.weft.as_ref().map(Weft::note)
    }
}
