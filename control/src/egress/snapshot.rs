//! The kernel's tables, as [`super::resolve`] wants them.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteType,
    RouteVia,
};
use weft_dataplane::wire::Prefix;

use super::resolve::{Address, Exit, Route, Tables};
use crate::sandbox::link::{in_main_table, own_address};
use crate::sandbox::{Link, SandboxError};

/// Reads everything.
pub(super) async fn read(link: &Link) -> Result<Tables, SandboxError> {
    let mut routes = link.routes(false).await?;
    routes.extend(link.routes(true).await?);
    Ok(Tables {
        devices: link.devices().await?,
        addresses: link.addresses().await?.iter().filter_map(address_of).collect(),
        routes: routes.iter().filter_map(route_of).collect(),
        neighbors: link.neighbors().await?,
    })
}

fn address_of(message: &AddressMessage) -> Option<Address> {
    let short = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    let long = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    let flags = long.unwrap_or(short);
    let address = own_address(message)?;
    let unusable = flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed)
        && !flags.contains(AddressFlags::Optimistic);
    let global = message.header.scope == AddressScope::Universe && !is_local(address);
    // Secondary is what IPv6 calls temporary.
    let rank = 2 * u8::from(flags.contains(AddressFlags::Deprecated))
        + u8::from(flags.contains(AddressFlags::Secondary));
    Some(Address { interface: message.header.index, address, rank: (global && !unusable).then_some(rank) })
}

/// Whether it is, or begins a prefix of, what nobody beyond the link could answer.
fn is_local(address: IpAddr) -> bool {
    address.is_loopback()
        || address.is_multicast()
        || matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// A route of the main table that says something about unicast beyond the link.
fn route_of(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if !in_main_table(message)
        || header.tos != 0
        || header.source_prefix_length != 0
        || header.flags.intersects(RouteFlags::Cloned | RouteFlags::Dead)
    {
        return None;
    }
    let unreachable = match header.kind {
        RouteType::Unicast => false,
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => true,
        _ => return None,
    };
    let read = Attributes::of(message);
    let any = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let prefix = Prefix::new(read.destination.unwrap_or(any), header.destination_prefix_length).ok()?;
    if is_local(prefix.address()) {
        return None;
    }
    let exit = read.exit.filter(|_| !unreachable && !read.encapsulated);
    Some(Route { prefix, metric: read.metric, exit, source: read.source })
}

/// What a route's attributes say.
#[derive(Default)]
struct Attributes {
    destination: Option<IpAddr>,
    metric: u32,
    source: Option<IpAddr>,
    exit: Option<Exit>,
    encapsulated: bool,
}

impl Attributes {
    fn of(message: &RouteMessage) -> Self {
        let mut read = Self { exit: exit_of(&message.attributes, None), ..Self::default() };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => read.destination = ip(address),
                RouteAttribute::Priority(metric) => read.metric = *metric,
                RouteAttribute::PrefSource(address) => read.source = ip(address),
                RouteAttribute::MultiPath(hops) => read.take_first(hops),
                _ => {}
            }
        }
        read.encapsulated |= encapsulates(&message.attributes);
        read
    }

    /// The first next hop alive; if none is, the route leads nowhere.
    fn take_first(&mut self, hops: &[RouteNextHop]) {
        let alive = |hop: &&RouteNextHop| !hop.flags.contains(RouteNextHopFlags::Dead);
        let Some(hop) = hops.iter().find(alive) else { return };
        self.exit = exit_of(&hop.attributes, Some(hop.interface_index));
        self.encapsulated = encapsulates(&hop.attributes);
    }
}

/// Where it leaves: by `interface`, unless the attributes name one.
fn exit_of(attributes: &[RouteAttribute], interface: Option<u32>) -> Option<Exit> {
    let (mut interface, mut via) = (interface, None);
    for attribute in attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(address) => via = ip(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => via = Some((*address).into()),
            RouteAttribute::Via(RouteVia::Inet6(address)) => via = Some((*address).into()),
            _ => {}
        }
    }
    Some(Exit { interface: interface?, via })
}

fn encapsulates(attributes: &[RouteAttribute]) -> bool {
    attributes.iter().any(|a| matches!(a, RouteAttribute::EncapType(_) | RouteAttribute::Encap(_)))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::address::AddressHeaderFlags;
    use netlink_packet_route::route::RouteLwEnCapType;
    use rtnetlink::RouteMessageBuilder;

    /// `RT_TABLE_LOCAL`.
    const LOCAL_TABLE: u8 = 255;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn plain() -> RouteMessage {
        let builder = RouteMessageBuilder::<IpAddr>::new().destination_prefix(ip("203.0.113.0"), 24).unwrap();
        builder.gateway(ip("192.0.2.2")).unwrap().output_interface(2).priority(7).build()
    }

    fn exit(interface: u32, via: &str) -> Option<Exit> {
        Some(Exit { interface, via: Some(ip(via)) })
    }

    #[test]
    fn a_plain_route_says_where_it_leads() {
        let route = route_of(&plain()).unwrap();
        let prefix = "203.0.113.0/24".parse().unwrap();
        assert_eq!(route, Route { prefix, metric: 7, exit: exit(2, "192.0.2.2"), source: None });
    }

    #[test]
    fn default_routes_in_pieces_are_routes_and_link_local_ones_are_not() {
        for (to, len, counts) in [
            ("0.0.0.0", 0, true),
            ("0.0.0.0", 1, true),
            ("128.0.0.0", 1, true),
            ("224.0.0.0", 4, false),
            ("127.0.0.0", 8, false),
            ("::", 0, true),
            ("2000::", 3, true),
            ("fe80::", 64, false),
            ("ff00::", 8, false),
        ] {
            let builder = RouteMessageBuilder::<IpAddr>::new().destination_prefix(ip(to), len).unwrap();
            let route = route_of(&builder.output_interface(2).build());
            assert_eq!(route.is_some(), counts, "{to}/{len}");
        }
    }

    #[test]
    fn other_tables_and_kinds_are_no_routes_of_ours_and_dead_ones_lead_nowhere() {
        let changes: [fn(&mut RouteMessage); 7] = [
            |message| message.header.table = LOCAL_TABLE,
            |message| message.attributes.push(RouteAttribute::Table(100)),
            |message| message.header.kind = RouteType::Local,
            |message| message.header.kind = RouteType::Throw,
            |message| message.header.tos = 4,
            |message| message.header.flags = RouteFlags::Dead,
            |message| message.header.destination_prefix_length = 33,
        ];
        for change in changes {
            let mut message = plain();
            change(&mut message);
            assert_eq!(route_of(&message), None, "{message:?}");
        }
        let unreachable: [fn(&mut RouteMessage); 4] = [
            |message| message.header.kind = RouteType::BlackHole,
            |message| message.header.kind = RouteType::Unreachable,
            |message| message.header.kind = RouteType::Prohibit,
            |message| message.attributes.push(RouteAttribute::EncapType(RouteLwEnCapType::Mpls)),
        ];
        for change in unreachable {
            let mut message = plain();
            change(&mut message);
            assert_eq!(route_of(&message).unwrap().exit, None, "{message:?}");
        }
    }

    #[test]
    fn of_several_next_hops_the_first_alive_is_taken() {
        let hop = |interface, via: &str, flags| {
            let mut hop = RouteNextHop::default();
            (hop.interface_index, hop.flags) = (interface, flags);
            let IpAddr::V4(via) = ip(via) else { panic!("IPv4 here") };
            hop.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(via))];
            hop
        };
        let mut message = plain();
        message.attributes.retain(|a| !matches!(a, RouteAttribute::Gateway(_) | RouteAttribute::Oif(_)));
        let dead = hop(2, "192.0.2.2", RouteNextHopFlags::Dead);
        let alive = hop(3, "198.51.100.2", RouteNextHopFlags::empty());
        message.attributes.push(RouteAttribute::MultiPath(vec![dead.clone(), alive]));
        assert_eq!(route_of(&message).unwrap().exit, exit(3, "198.51.100.2"));
        message.attributes.pop();
        message.attributes.push(RouteAttribute::MultiPath(vec![dead]));
        assert_eq!(route_of(&message).unwrap().exit, None);
    }

    #[test]
    fn only_global_addresses_that_are_ready_are_used_and_old_ones_last() {
        let rank = |address: &str, scope, flags| {
            let mut message = AddressMessage::default();
            message.header.scope = scope;
            message.header.flags = AddressHeaderFlags::from_bits_retain(flags);
            message.attributes = vec![AddressAttribute::Address(ip(address))];
            address_of(&message).unwrap().rank
        };
        use AddressScope::{Host, Link, Universe};
        assert_eq!(rank("192.0.2.1", Universe, 0x80), Some(0));
        assert_eq!(rank("192.0.2.1", Universe, 0x81), Some(1), "secondary");
        assert_eq!(rank("2001:db8::1", Universe, 0x20), Some(2), "deprecated");
        assert_eq!(rank("2001:db8::1", Universe, 0x40), None, "tentative");
        assert_eq!(rank("2001:db8::1", Universe, 0x44), Some(0), "and optimistic");
        assert_eq!(rank("2001:db8::1", Universe, 0x08), None, "somebody else's");
        assert_eq!(rank("192.0.2.1", Link, 0), None);
        assert_eq!(rank("127.0.0.1", Host, 0), None);
        assert_eq!(rank("fe80::1", Universe, 0), None);
    }
}
