//! The way out: follows the host's routing for NAT, and reserves outside ports.
//!
//! ```text
//! keep:  news > snapshot: links, addresses, routes, neighbours > resolve: EgressSpec --+
//!             > links: packet and raw sockets for each, with their filter --------------+--> Door (the dataplane)
//!        wants > ports: reserving sockets ---------------------------------------------+
//! ```
//!
//! NAT sends frames to the host's interfaces itself, behind the back of the host's routing. So this room tells the
//! dataplane what the host would do ([`EgressSpec`]), and again whenever that changes: notifications are answered at once
//! after a silence and at most every 50 ms, and everything is read again every 15 s whatever they say.
//!
//! **What counts.** Links are interfaces that are up, take Ethernet frames, and have a global address or a route that
//! names one; never the loopback interface nor a TAP of ours. If the configuration names one (`uplink.interface`), it is
//! as if the others were not there: their routes do not count either. Routes are those of the main table, of one prefix the
//! one with the smallest metric, of several next hops the first one alive. What is blackholed, unreachable or prohibited
//! there is unreachable, and so is what leaves by a device that is no link or encapsulates once more. There are no policy
//! routing rules, no other tables, no types of service, no path MTU and no link-local destinations. A link without an
//! address of its own is of use only to routes that name a source (`src`).
//!
//! **Neighbours.** The kernel confirms a neighbour by the traffic it sends there itself, and ours it does not see. So it
//! is told every 5 s to ask each neighbour that frames were sent to since, as in [`crate::underlay`], and to look for
//! routers and for what the dataplane has no MAC of; for 256 at a time at most.
//!
//! **Ports.** Outside ports are real sockets of this host ([`weft_dataplane::io::reserve`]), made as the dataplane wants
//! them: first of 61000 to 65535, which Linux gives to nobody by itself, then of 40960 to 60999, which leaves the host
//! 8,192 of those that it gives out, each in an order that depends on a seed. What the host uses is skipped and tried
//! again 15 s after the others are used up. A port is given back only when its address has gone.
//!
//! **Links that are down.** The kernel takes their routes away and keeps their IPv4 addresses, so nothing leaves by them,
//! and sessions and ports there stay until they are up again. IPv6 addresses mostly go, and with them their sessions.
//!
//! Limits: [`LINKS_MAX`](weft_dataplane::gateway::route::LINKS_MAX) links, those of default routes first;
//! [`ROUTES_MAX`](weft_dataplane::gateway::route::ROUTES_MAX) routes, the widest first;
//! [`NEIGHBORS_MAX`](weft_dataplane::gateway::route::NEIGHBORS_MAX) neighbours, routers first; what is left out is
//! logged. At most a fifth of the time is spent on reading what has changed.

mod keep;
mod links;
mod news;
mod outdoors;
mod ports;
mod resolve;
mod snapshot;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Notify;
use weft_dataplane::gateway::{EgressSpec, LinkId};
use weft_dataplane::io::link::LinkSockets;
use weft_dataplane::io::packet::PacketSocket;
use weft_dataplane::io::reserve::{Reserved, Transport};

pub use outdoors::Outdoors;

use crate::model::IfName;
use crate::sandbox::Netns;
use keep::Keeper;

/// What egress is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The only interface that packets may leave by; `None`: any, as the host's routing says.
    pub interface: Option<IfName>,
    /// Decides in which order ports are tried; best unpredictable.
    pub seed: u64,
}

/// Outside ports that NAT has run short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The outside address.
    pub address: IpAddr,
    /// Whose ports.
    pub transport: Transport,
    /// How many more.
    pub count: usize,
}

/// The dataplane, as this room knows it. Calls may take milliseconds, no more; none may wait for this room.
pub trait Door: Send + Sync + 'static {
    /// It has come to its end: nothing is wanted any more.
    fn is_closed(&self) -> bool;
    /// The links that it has, as from an earlier daemon, each with a second handle on its socket.
    fn links(&self) -> Vec<(LinkId, PacketSocket)>;
    /// This is the host's routing; it replaces what was told before. `opened` are the sockets of the links that are new
    /// in it. Sockets of links that are no longer in it are to be closed, and ports lent on addresses that the host has no
    /// more.
    fn set_egress(&self, spec: EgressSpec, opened: Vec<(LinkId, LinkSockets)>);
    /// These ports are reserved: the answer to a want, with as many of them as could be had, perhaps none.
    fn lend(&self, address: IpAddr, transport: Transport, ports: Vec<(u16, Reserved)>);
    /// The ports wanted and not yet answered for; each is told once.
    fn take_wants(&self) -> Vec<Want>;
    /// The next hops that frames were sent to since this was asked last.
    fn take_used(&self) -> Vec<(LinkId, IpAddr)>;
    /// The next hops whose MAC was missing since this was asked last.
    fn take_missing(&self) -> Vec<(LinkId, IpAddr)>;
}

/// Speaks to the one who follows the routing.
#[derive(Clone, Debug)]
pub struct Handle {
    nudge: Arc<Notify>,
}

impl Handle {
    /// The dataplane has something to ask for: ports, or a neighbour. Otherwise it is asked once a second.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }
}

/// Opens what leads out of `netns`, tells `door`, and keeps it in order for as long as `door` exists, on the runtime that
/// this is called on. What cannot be read or opened is logged, and tried again.
pub async fn start<D: Door>(plan: Plan, netns: Netns, door: &Arc<D>) -> Handle {
    let handle = Handle { nudge: Arc::default() };
    let mut keeper = Keeper::new(plan, netns, door, handle.clone());
    keeper.begin().await;
    tokio::spawn(keeper.run());
    handle
}
