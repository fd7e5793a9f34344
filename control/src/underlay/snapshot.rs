//! The kernel's tables, as [`super::hops`] wants them.

use std::net::IpAddr;

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rustix::io::Errno;
use weft_dataplane::wire::{MacAddr, protocol};

use super::hops::{Device, Neighbor, Path};
use crate::sandbox::{Link, SandboxError};

/// The device of this index; `None` when there is none.
pub(super) async fn device(link: &Link, index: u32) -> Result<Option<Device>, SandboxError> {
    let mut found = std::pin::pin!(link.raw().link().get().match_index(index).execute());
    match link.finish(|| format!("look up interface {index}"), found.try_next()).await {
        Ok(message) => Ok(message.as_ref().map(device_of)),
        Err(e) if e.errno() == Some(Errno::NODEV) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The device that has this address; `None` when there is none.
pub(super) async fn device_with(link: &Link, address: IpAddr) -> Result<Option<Device>, SandboxError> {
    let all = link.addresses().await?;
    match all.iter().find(|message| has_address(message, address)) {
        Some(message) => device(link, message.header.index).await,
        None => Ok(None),
    }
}

/// Whether this is about that address of ours.
pub(super) fn has_address(message: &AddressMessage, address: IpAddr) -> bool {
    // On a point-to-point link `Address` is the peer's and `Local` ours; elsewhere IPv6 sends only `Address`.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    match local {
        Some(local) => local == address,
        None => message.attributes.contains(&AddressAttribute::Address(address)),
    }
}

/// How a datagram from our VTEP `own` to port `port` of `peer` would leave; `None` when it would not, or not plainly.
pub(super) async fn path(
    link: &Link,
    own: IpAddr,
    port: u16,
    peer: IpAddr,
) -> Result<Option<Path>, SandboxError> {
    let bits = if peer.is_ipv4() { 32 } else { 128 };
    let Ok(builder) = RouteMessageBuilder::<IpAddr>::new().destination_prefix(peer, bits) else {
        return Ok(None);
    };
    let Ok(builder) = builder.source_prefix(own, bits) else { return Ok(None) };
    let question = builder.ip_protocol(protocol::UDP).dport(port).build();
    let mut answer = std::pin::pin!(link.raw().route().get(question).execute());
    match link.finish(|| format!("look up the route to {peer}"), answer.try_next()).await {
        Ok(message) => Ok(message.and_then(|message| path_of(peer, &message))),
        // The kernel's ways of saying that there is no route.
        Err(e) if matches!(e.errno(), Some(errno) if is_no_route(errno)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// All neighbours of both IP versions.
pub(super) async fn neighbors(link: &Link) -> Result<Vec<Neighbor>, SandboxError> {
    let all = link.raw().neighbours().get().execute().try_collect::<Vec<_>>();
    let all = link.finish(|| "list neighbours".into(), all).await?;
    Ok(all.iter().filter_map(neighbor_of).collect())
}

/// Tells the kernel that a neighbour is in use: it looks for one it does not know, and makes sure of one it has not
/// heard for a while (`NTF_USE`). Must not be said of an entry set by hand, which it would make an ordinary one.
pub(super) async fn remind(link: &Link, device: u32, neighbor: IpAddr) -> Result<(), SandboxError> {
    let request = link.raw().neighbours().add(device, neighbor);
    let request = request.state(NeighbourState::None).flags(NeighbourFlags::Use).replace();
    link.finish(|| format!("look for the neighbour {neighbor}"), request.execute()).await
}

/// Has the kernel ask a neighbour whether it is still there, with what it knows about it (`NUD_PROBE`): no answer to a
/// few questions, and it is forgotten. Must not be said of an entry set by hand, which it would make an ordinary one.
pub(super) async fn verify(link: &Link, device: u32, neighbor: IpAddr) -> Result<(), SandboxError> {
    let step = || format!("make sure of the neighbour {neighbor}");
    link.finish(step, async {
        let mut handle = link.raw().clone();
        let mut request = handle.neighbours().add(device, neighbor).state(NeighbourState::Probe);
        let inner = RouteNetlinkMessage::NewNeighbour(request.message_mut().clone());
        let mut message = NetlinkMessage::from(inner);
        // Neither created, if it has gone, nor replaced, which would forget that it is a router.
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        let mut answers = handle.request(message)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(e) = answer.payload {
                return Err(rtnetlink::Error::NetlinkError(e));
            }
        }
        Ok(())
    })
    .await
}

fn is_no_route(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ACCESS | Errno::INVAL | Errno::NODEV | Errno::NETDOWN
    )
}

fn device_of(message: &LinkMessage) -> Device {
    let mut device = Device {
        index: message.header.index,
        name: String::new(),
        mac: MacAddr::ZERO,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        ethernet: message.header.link_layer_type == LinkLayerType::Ether,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => device.mac = mac(bytes).unwrap_or(MacAddr::ZERO),
            LinkAttribute::Mtu(mtu) => device.mtu = *mtu,
            LinkAttribute::IfName(name) => device.name.clone_from(name),
            _ => {}
        }
    }
    device
}

/// Routes that are not unicast, or that encapsulate once more, are not plain.
fn path_of(peer: IpAddr, message: &RouteMessage) -> Option<Path> {
    let mut path = Path { interface: 0, via: peer, mtu: None };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => path.interface = *index,
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => path.via = (*ip).into(),
            RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => path.via = (*ip).into(),
            RouteAttribute::Via(RouteVia::Inet(ip)) => path.via = (*ip).into(),
            RouteAttribute::Via(RouteVia::Inet6(ip)) => path.via = (*ip).into(),
            RouteAttribute::Metrics(metrics) => {
                path.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
                    _ => None,
                });
            }
            RouteAttribute::EncapType(_) | RouteAttribute::Encap(_) => return None,
            _ => {}
        }
    }
    (message.header.kind == RouteType::Unicast && path.interface != 0).then_some(path)
}

fn neighbor_of(message: &NeighbourMessage) -> Option<Neighbor> {
    let (mut address, mut link_layer) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => address = Some(IpAddr::from(*ip)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => address = Some(IpAddr::from(*ip)),
            NeighbourAttribute::LinkLayerAddress(bytes) => link_layer = mac(bytes),
            _ => {}
        }
    }
    let mac = link_layer.filter(|mac| !mac.is_zero() && !mac.is_multicast());
    Some(Neighbor { interface: message.header.ifindex, address: address?, mac, state: message.header.state })
}

fn mac(bytes: &[u8]) -> Option<MacAddr> {
    bytes.try_into().ok().map(MacAddr)
}
