//! The way through the underlay device: mode `tunnel-gso`, control's side of it.
//!
//! ```text
//! keep:    news > road holds? > no: sockets > device offers it? > trial: real frames in namespaces of our own
//!                     |                                                  > uplink TAP, filter to the device
//!                     +--> yes: follow: routes, neighbours > snapshot > hops::resolve > Dataplane::set_next_hops
//! ```
//!
//! The dataplane writes whole encapsulated super-frames to a TAP whose ingress filter redirects them to the underlay
//! device. That is behind the back of the host's routing, so this room does what the kernel does for a socket: it looks
//! up each peer's route, keeps its neighbour entry alive, and learns when either changes. What it does not know, the
//! dataplane sends through UDP sockets; that is the answer to every doubt here. A peer without a next hop, a neighbour
//! that has failed, a device that is down or gone, a filter that somebody has removed, a netlink socket that was lost:
//! sockets, until it is known again. [`Outlook`] tells at any moment what is used and why.
//!
//! What it is not: no receive path (that is always a socket), and no routing of its own. Frames sent this way skip the
//! host's netfilter, xfrm and output queueing rules; where those must see the tunnel, `underlay.mode` is `udp-gso`.
//!
//! **Neighbours.** The kernel confirms a neighbour by the traffic it sends there itself, and ours it does not see. So it
//! is told every 5 s to ask each neighbour that frames were sent to since (`NUD_PROBE`): one unicast ARP request or
//! neighbour solicitation, three a second apart if there is no answer, and then the entry has failed, the sockets take
//! over, and their first datagram finds the new MAC by broadcast. A peer whose MAC changes unannounced is found again
//! within 8 s (measured: 5 to 6 s); the kernel's own VXLAN device needs up to 53 s (30 s +- 50 % until it doubts, 5 s,
//! three questions; measured: 26 to 44 s).
//! Nothing is asked about idle neighbours beyond a reminder every 15 s that keeps the entry from being forgotten.
//!
//! **Path MTU.** Outer source ports are those of the dataplane's sockets, so the kernel accepts a router's "fragmentation
//! needed" or "packet too big" and remembers it for the route; it is read back every 5 s while the path is in use. Then
//! frames that are too large for the path go through the sockets, which refuse and count them (`underlay_mtu`), a line in
//! the log names the MTU that networks need, and `weft status` shows the path's.
//!
//! Limits: notifications cause at most 20 looks a second, each of one neighbour dump and at most one route lookup per
//! configured peer. At most every 2 s a road is built, at most every minute after a trial that failed, and never again
//! where the kernel has no segmentation offload for tunnels. A road by which the kernel has refused a frame although
//! nothing is wrong with it is left unused until another one is built for another reason. The filter and the TAP belong to descriptors of this
//! process: whatever ends it, they end.

mod follow;
mod hops;
mod keep;
mod news;
mod outlook;
mod plumb;
mod road;
mod snapshot;
mod trial;

use std::net::IpAddr;
use std::sync::Arc;

use weft_dataplane::io::udp::{Mode, UnderlayError};

pub use outlook::{Obstacle, Outlook, Reach, View};
pub use road::Refusal;
pub use trial::TrialError;

use crate::packet::Dataplane;
use keep::Keeper;

/// The mode's name in what people read.
const TUNNEL_GSO: Mode = Mode::TunnelGso;

/// What the underlay is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whether `tunnel-gso` may, must or must not be used.
    pub mode: Mode,
    /// This host's VTEP address.
    pub address: IpAddr,
    /// The tunnel's UDP port.
    pub port: u16,
    /// The other VTEPs.
    pub peers: Vec<IpAddr>,
}

impl Plan {
    fn is_forced(&self) -> bool {
        self.mode == Mode::TunnelGso
    }
}

/// Gives `dataplane` an uplink where the plan's mode allows and this host can do it, and keeps it in order for as long as
/// `dataplane` exists. Works in the calling thread's network namespace, on the runtime that polls it.
///
/// # Errors
/// [`UnderlayError::Mode`] when `tunnel-gso` was forced and cannot be had at the start. Later, sockets take its place.
pub async fn start(plan: Plan, dataplane: &Arc<Dataplane>) -> Result<Outlook, UnderlayError> {
    let (mode, forced) = (plan.mode, plan.is_forced());
    if !forced && mode != Mode::Auto {
        return Ok(Outlook::default());
    }
    let mut keeper = Keeper::new(plan, dataplane);
    let outlook = keeper.outlook();
    match keeper.begin().await {
        Err(refusal) if forced => return Err(UnderlayError::Mode { mode, reason: refusal.to_string() }),
        Err(refusal) if refusal.is_final() => return Ok(outlook),
        Err(_) | Ok(()) => {}
    }
    tokio::spawn(keeper.run());
    Ok(outlook)
}
