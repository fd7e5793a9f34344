//! The kernel's neighbour table: what it knows, and how it is kept from forgetting.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use weft_dataplane::wire::MacAddr;

use super::device::mac;
use super::{Link, SandboxError};

/// One entry of the neighbour table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neighbor {
    /// The interface it is reached through.
    pub(crate) interface: u32,
    /// Its address.
    pub(crate) address: IpAddr,
    /// Its MAC, if it is known and one.
    pub(crate) mac: Option<MacAddr>,
    /// How well it is known.
    pub(crate) state: NeighbourState,
}

impl Neighbor {
    fn of(message: &NeighbourMessage) -> Option<Self> {
        let (mut address, mut link_layer) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                    address = Some(IpAddr::from(*ip));
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
                    address = Some(IpAddr::from(*ip));
                }
                NeighbourAttribute::LinkLayerAddress(bytes) => link_layer = mac(bytes),
                _ => {}
            }
        }
        let mac = link_layer.filter(|mac| !mac.is_zero() && !mac.is_multicast());
        Some(Self { interface: message.header.ifindex, address: address?, mac, state: message.header.state })
    }

    /// Its MAC, if the kernel would send to it, too (`NUD_VALID`).
    pub(crate) fn usable_mac(&self) -> Option<MacAddr> {
        use NeighbourState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
        let usable = matches!(self.state, Reachable | Stale | Delay | Probe | Permanent | Noarp);
        self.mac.filter(|_| usable)
    }

    /// Whether the kernel has found it by asking, and not by hand or by rule.
    pub(crate) fn is_dynamic(&self) -> bool {
        !matches!(self.state, NeighbourState::Permanent | NeighbourState::Noarp)
    }
}

impl Link {
    /// All neighbours of both IP versions.
    pub(crate) async fn neighbors(&self) -> Result<Vec<Neighbor>, SandboxError> {
        let all = self.raw().neighbours().get().execute().try_collect::<Vec<_>>();
        let all = self.finish(|| "list neighbours".into(), all).await?;
        Ok(all.iter().filter_map(Neighbor::of).collect())
    }

    /// Tells the kernel that a neighbour is in use: it looks for one it does not know, and makes sure of one it has not
    /// heard for a while (`NTF_USE`). Must not be said of an entry set by hand, which it would make an ordinary one.
    pub(crate) async fn remind(&self, device: u32, neighbor: IpAddr) -> Result<(), SandboxError> {
        let request = self.raw().neighbours().add(device, neighbor);
        let request = request.state(NeighbourState::None).flags(NeighbourFlags::Use).replace();
        self.finish(|| format!("look for the neighbour {neighbor}"), request.execute()).await
    }

    /// Has the kernel ask a neighbour whether it is still there, with what it knows about it (`NUD_PROBE`): no answer to
    /// a few questions, and it is forgotten. Must not be said of an entry set by hand, which it would make an ordinary
    /// one.
    pub(crate) async fn verify(&self, device: u32, neighbor: IpAddr) -> Result<(), SandboxError> {
        let handle = self.raw().neighbours();
        let mut request = handle.add(device, neighbor).state(NeighbourState::Probe);
        let message = RouteNetlinkMessage::NewNeighbour(request.message_mut().clone());
        // Neither created, if it has gone, nor replaced, which would forget that it is a router.
        self.request(|| format!("make sure of the neighbour {neighbor}"), message, 0).await
    }
}
