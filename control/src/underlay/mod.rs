//! The way through the underlay device: mode `tunnel-gso`, control's side of it.
//!
//! ```text
//! choose:  device offers it? > trial: real frames in namespaces of our own > uplink TAP, filter to the device
//! follow:  route, neighbour and link notifications > snapshot > hops::resolve > Handle::set_next_hops
//! ```
//!
//! The dataplane writes whole encapsulated super-frames to a TAP whose ingress filter redirects them to the underlay
//! device. That is behind the back of the host's routing, so this room does what the kernel does for a socket: it looks
//! up each peer's route, keeps its neighbour entry alive, and learns when either changes. What it does not know, the
//! dataplane sends through UDP sockets; that is the answer to every doubt here. A peer without a next hop, a neighbour
//! that has failed, a device that is down or gone, a netlink socket that was lost: sockets, until it is known again.
//!
//! What it is not: no receive path (that is always a socket), and no routing of its own. Frames sent this way skip the
//! host's netfilter, xfrm and output queueing rules; where those must see the tunnel, `underlay.mode` is `udp-gso`.
//!
//! Limits: notifications cause at most 20 recomputations a second, each of one neighbour dump and at most one route
//! lookup per configured peer. The filter and the TAP belong to descriptors of this process: whatever ends it, they end.
//! If the underlay device is removed and made again, peers are reached through sockets until the daemon starts anew.

mod follow;
mod hops;
mod plumb;
mod snapshot;
mod trial;

use std::io;
use std::net::IpAddr;

use weft_dataplane::io::ethtool::{self, UDP_TUNNEL_SEGMENTATION};
use weft_dataplane::io::tap::TapError;
use weft_dataplane::io::udp::{Mode, UnderlayError};
use weft_dataplane::io::uplink::Uplink;

pub use follow::{Following, follow};
pub use trial::TrialError;

use crate::sandbox::host::HostNets;
use crate::sandbox::{Netns, SandboxError};

/// A way to the underlay device, ready for the dataplane.
#[derive(Debug)]
pub struct Road {
    /// The TAP that leads there.
    pub uplink: Uplink,
    /// The index of the underlay device.
    pub device: u32,
}

/// What became of the wish for `tunnel-gso`.
#[derive(Debug)]
pub enum Choice {
    /// It can be had.
    Road(Road),
    /// It was not asked for.
    NotWanted,
    /// It would have been used if it could be had.
    Refused(Refusal),
}

/// Why `tunnel-gso` is not used.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The underlay address is on no interface.
    #[error("no interface has the address {0}")]
    NoDevice(IpAddr),
    /// Outer Ethernet headers would make no sense there.
    #[error("{0} is not an Ethernet device")]
    NotEthernet(String),
    /// Sockets do as well there.
    #[error("{0} does not offer {UDP_TUNNEL_SEGMENTATION}")]
    NotOffered(String),
    /// The driver cannot be asked.
    #[error("the features of {device} cannot be read: {source}")]
    Features {
        /// The underlay device.
        device: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It was tried, and did not work.
    #[error("the trial failed: {0}")]
    Trial(#[from] TrialError),
    /// No TAP.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// Netlink refuses.
    #[error(transparent)]
    Netlink(#[from] SandboxError),
    /// No name for the TAP.
    #[error("no random number can be had: {0}")]
    Random(rustix::io::Errno),
}

/// Tries whether `mode` allows and this host can do `tunnel-gso`, and makes the road if so. `address` is the underlay's,
/// `workers` how many queues the dataplane needs. Everything is made in the calling thread's network namespace, apart
/// from the trial, which has its own and leaves nothing behind.
///
/// # Errors
/// [`UnderlayError::Mode`] when the mode was forced and cannot be had.
pub async fn choose(mode: Mode, address: IpAddr, workers: usize) -> Result<Choice, UnderlayError> {
    let forced = match mode {
        Mode::TunnelGso => true,
        Mode::Auto => false,
        Mode::UdpGso | Mode::Udp => return Ok(Choice::NotWanted),
    };
    match build(address, workers, forced).await {
        Ok(road) => Ok(Choice::Road(road)),
        Err(reason) if forced => Err(UnderlayError::Mode { mode, reason: reason.to_string() }),
        Err(reason) => Ok(Choice::Refused(reason)),
    }
}

/// Without the device's help the kernel cuts super-frames itself. That works, but measures hardly better than sockets: only
/// `forced` asks for it.
async fn build(address: IpAddr, workers: usize, forced: bool) -> Result<Road, Refusal> {
    let link = Netns::current()?.link()?;
    let nets = HostNets::read_by(&link).await?;
    let device = nets.interface_with(address).ok_or(Refusal::NoDevice(address))?;
    if !snapshot::device(&link, device.index).await?.is_some_and(|device| device.ethernet) {
        return Err(Refusal::NotEthernet(device.name.clone()));
    }
    if !forced {
        let offered = ethtool::has_feature(&device.name, UDP_TUNNEL_SEGMENTATION)
            .map_err(|source| Refusal::Features { device: device.name.clone(), source })?;
        if !offered {
            return Err(Refusal::NotOffered(device.name.clone()));
        }
    }
    trial::run(address.is_ipv6()).await?;
    let mut number = [0; 4];
    rustix::rand::getrandom(&mut number, rustix::rand::GetRandomFlags::empty()).map_err(Refusal::Random)?;
    let uplink = Uplink::create(&format!("wfu{:08x}", u32::from_ne_bytes(number)), workers)?;
    plumb::lead(&link, uplink.name(), device.index).await?;
    Ok(Road { uplink, device: device.index })
}
