//! The two hosts of one contender, from the wire up, with an agent in each container.
//!
//! ```text
//!   container 1 ── whatever is compared ── host 1 ═══ u0, veth ═══ host 2 ── whatever is compared ── container 2
//!   10.77.0.11                             172.31.77.1   172.31.77.2                             10.77.0.12
//! ```
//!
//! Every contender gets hosts and a wire of its own, alike to the last flag, and keeps them for a variant's whole time,
//! so that turns can alternate without anything being rebuilt. The bare veth has no containers: its agents stand on the
//! hosts, which makes it the ceiling. For NAT ([`nat`]) there is one container, and its counterpart is the other host. The
//! containers of an engine ([`docker`]) are on one host or two, or have the other host as counterpart.
//!
//! What it is not: a place where anything is measured. Limits: a daemon has 20 s to become ready, a path 10 s to carry
//! its first datagram.

pub(crate) mod command;
pub(crate) mod contender;
pub(crate) mod daemon;
pub(crate) mod docker;
mod kernel;
pub(crate) mod nat;
pub(crate) mod netns;
pub(crate) mod ovs;
pub(crate) mod underlay;
mod weft;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

pub(crate) use contender::{Contender, End};
use netns::Namespace;
use underlay::{Host, Variant};

use crate::error::LabError;
use crate::interrupt::wait_until;
use crate::traffic::{Agent, Answer, Task};

/// The network's VNI.
const VNI: u32 = 5077;

/// How long the first datagram may take: daemons learn, kernels resolve neighbours.
const FIRST: Duration = Duration::from_secs(10);

/// A namespace that is to have an address on the network.
#[derive(Debug)]
struct Container {
    ns: Namespace,
    address: Ipv4Addr,
}

/// A way of joining a container to the network, and what has to be kept for it.
enum Joined {
    Kernel,
    Weft(weft::Weft),
    Ovs(ovs::Ovs),
    Userspace(nat::Userspace),
    Docker(docker::Dock),
}

/// A contender, built. Fields drop in order: agents, daemons, namespaces.
pub(crate) struct Stage {
    /// Who it is.
    pub(crate) contender: Contender,
    /// The agent that sends, unless the direction is turned round.
    pub(crate) near: Agent,
    /// The agent that receives.
    pub(crate) far: Agent,
    joined: Vec<Joined>,
    containers: Vec<Container>,
    hosts: [Host; 2],
    addresses: [Ipv4Addr; 2],
    published: Option<SocketAddrV4>,
}

impl Stage {
    /// Builds the contender and waits until a datagram has come back through it.
    ///
    /// # Errors
    /// [`LabError::Refused`] when the contender declines, and whatever else fails.
    pub(crate) fn build(contender: Contender, variant: Variant, weft: &Path) -> Result<Self, LabError> {
        let hosts = underlay::hosts(variant)?;
        let [a, b] = &hosts;
        let (mut addresses, mut published) = ([a.address, b.address], None);
        let (joined, containers) = match contender {
            Contender::Plain => (Vec::new(), Vec::new()),
            Contender::Pair(near, far) => {
                let containers = vec![container(1)?, container(2)?];
                let near = join(near, a, &containers[0], b.address, weft)?;
                let far = join(far, b, &containers[1], a.address, weft)?;
                addresses = [containers[0].address, containers[1].address];
                (vec![near, far], containers)
            }
            Contender::Nat(nat) => {
                let way = nat::join(nat, &hosts, weft)?;
                (addresses, published) = ([way.inside.address, nat::SERVER], way.published);
                (vec![way.joined], vec![way.inside])
            }
            Contender::Docker(docker) => {
                let berth = docker::join(docker, &hosts, weft)?;
                (addresses, published) = (berth.addresses, berth.published);
                (berth.joined, berth.containers)
            }
        };
        let [near, far] = places(&hosts, &containers);
        let (near, far) = (Agent::start(near)?, Agent::start(far)?);
        let mut stage = Self { contender, near, far, joined, containers, hosts, addresses, published };
        stage.first_datagram().map_err(|error| match (contender, error) {
            (Contender::Nat(_), LabError::TooLong { seconds, .. }) => {
                let reason = format!("no datagram from outside within {seconds} s: it does no NAT");
                LabError::Refused(reason)
            }
            (_, error) => error,
        })?;
        Ok(stage)
    }

    /// The addresses of both ends of the traffic.
    pub(crate) fn addresses(&self) -> [Ipv4Addr; 2] {
        self.addresses
    }

    /// Where the far end reaches [`nat::PORT`] of the near one; `None` when nothing is published.
    pub(crate) fn published(&self) -> Option<SocketAddrV4> {
        self.published
    }

    /// The daemons of both hosts.
    pub(crate) fn daemons(&self) -> Vec<u32> {
        let of = |joined: &Joined| match joined {
            Joined::Kernel => Vec::new(),
            Joined::Weft(weft) => weft.pids(),
            Joined::Ovs(ovs) => ovs.pids(),
            Joined::Userspace(process) => vec![process.pid()],
            Joined::Docker(dock) => dock.pids(),
        };
        self.joined.iter().flat_map(of).collect()
    }

    /// What the contender says of itself.
    pub(crate) fn note(&self) -> Option<String> {
        let note = self.joined.iter().find_map(|joined| match joined {
            Joined::Weft(weft) => Some(weft.note()),
            Joined::Userspace(_) => Some(nat::Userspace::note()),
            Joined::Docker(dock) => dock.note(),
            Joined::Kernel | Joined::Ovs(_) => None,
        })?;
        let lacks = matches!(self.contender, Contender::Nat(_)) && self.published.is_none();
        Some(if lacks { note + ", publishes no port" } else { note })
    }

    /// The offloads of the wire.
    pub(crate) fn offloads(&self) -> Vec<String> {
        underlay::offloads(&self.hosts[0])
    }

    /// Starts both agents afresh, after a trial that did not end as it should.
    pub(crate) fn restart_agents(&mut self) -> Result<(), LabError> {
        let [near, far] = places(&self.hosts, &self.containers);
        (self.near, self.far) = (Agent::start(near)?, Agent::start(far)?);
        Ok(())
    }

    /// Asks until an answer comes back. What fails on the way (no neighbour yet) is tried again.
    fn first_datagram(&mut self) -> Result<(), LabError> {
        let [_, on] = self.addresses();
        let Answer::Ready(to) = self.far.ask(&Task::Echo { on }, Duration::ZERO)? else {
            return Err(LabError::Traffic("an echo that is not ready".into()));
        };
        let request =
            Task::RequestResponse { to, warm_up: Duration::ZERO, measure: Duration::from_millis(20) };
        let near = &mut self.near;
        wait_until("a datagram comes back from the other end", FIRST, || {
            match near.ask(&request, Duration::ZERO) {
                Ok(_) => Ok(Some(())),
                Err(LabError::Traffic(_)) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }
}

fn container(number: u8) -> Result<Container, LabError> {
    let ns = Namespace::new(&format!("c{number}"))?;
    Ok(Container { ns, address: address_of(number) })
}

/// The address of a container on the network.
fn address_of(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 10 + number)
}

fn join(
    end: End,
    host: &Host,
    container: &Container,
    peer: Ipv4Addr,
    weft: &Path,
) -> Result<Joined, LabError> {
    match end {
        End::Kernel => kernel::join(host, container, peer).map(|()| Joined::Kernel),
        End::Weft(mode) => weft::Weft::join(weft, mode, host, container, peer).map(Joined::Weft),
        End::Ovs => ovs::Ovs::join(host, container, peer).map(Joined::Ovs),
    }
}

/// Where the traffic starts and ends: in the containers, or on a host that has none.
fn places<'a>(hosts: &'a [Host; 2], containers: &'a [Container]) -> [&'a Namespace; 2] {
    [0, 1].map(|end| containers.get(end).map_or(&hosts[end].ns, |container| &container.ns))
}
