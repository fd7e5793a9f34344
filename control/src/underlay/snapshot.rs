//! The kernel's tables, as [`super::hops`] wants them.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use rtnetlink::RouteMessageBuilder;
use rustix::io::Errno;
use weft_dataplane::wire::protocol;

use super::hops::Path;
use crate::sandbox::link::own_address;
use crate::sandbox::{Device, Link, SandboxError};

/// The device that has this address; `None` when there is none.
pub(super) async fn device_with(link: &Link, address: IpAddr) -> Result<Option<Device>, SandboxError> {
    let all = link.addresses().await?;
    match all.iter().find(|message| has_address(message, address)) {
        Some(message) => link.device(message.header.index).await,
        None => Ok(None),
    }
}

/// Whether this is about that address of ours.
pub(super) fn has_address(message: &AddressMessage, address: IpAddr) -> bool {
    own_address(message) == Some(address)
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

fn is_no_route(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ACCESS | Errno::INVAL | Errno::NODEV | Errno::NETDOWN
    )
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
