//! One namespace's interfaces, addresses and routes, as far as they matter to others.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};

use super::link::{in_main_table, name_of, own_address};
use super::route::StaticRoute;
use super::{Link, Netns, SandboxError};

/// Routes wider than this prefix length are default routes in pieces (VPNs add 0.0.0.0/1 and 128.0.0.0/1, IPv6 has
/// 2000::/3); they say nothing about who uses an address.
const WIDEST_ROUTE: u8 = 8;

/// One interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MTU in bytes.
    pub mtu: u32,
}

/// The interface that default traffic leaves by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The interface.
    pub interface: Interface,
    /// Its first global address of the route's family.
    pub address: IpAddr,
}

/// A snapshot of one namespace's interfaces, addresses and routes.
#[derive(Clone, Debug)]
pub struct HostNets {
    interfaces: Vec<Interface>,
    addresses: Vec<(u32, IpNet)>,
    routes: Vec<Route>,
}

#[derive(Clone, Debug)]
struct Route {
    to: IpNet,
    interface: Option<u32>,
    metric: u32,
}

impl HostNets {
    /// Reads the namespace of the calling thread.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`].
    pub async fn read() -> Result<Self, SandboxError> {
        Self::read_by(&Netns::current()?.link()?).await
    }

    /// Reads the namespace of `link`.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`].
    pub async fn read_by(link: &Link) -> Result<Self, SandboxError> {
        let interfaces = link.links().await?.iter().filter_map(interface).collect();
        let addresses = link.addresses().await?.iter().filter_map(address_of).collect();
        let mut routes = link.routes(false).await?;
        routes.extend(link.routes(true).await?);
        Ok(Self { interfaces, addresses, routes: routes.iter().filter_map(route).collect() })
    }

    /// The default route's interface and address: IPv4 if there is one, else IPv6; the smallest metric wins.
    #[must_use]
    pub fn default_route(&self) -> Option<DefaultRoute> {
        let mut defaults: Vec<_> = self.routes.iter().filter(|r| r.to.prefix_len() == 0).collect();
        defaults.sort_by_key(|r| (r.to.addr().is_ipv6(), r.metric));
        defaults.into_iter().find_map(|route| {
            let interface = self.interface(route.interface?)?.clone();
            let same_family = |net: &IpNet| net.addr().is_ipv6() == route.to.addr().is_ipv6();
            let mut own =
                self.addresses.iter().filter(|(index, _)| *index == interface.index).map(|(_, net)| net);
            let address = own.find(|net| same_family(net) && !is_link_local(net.addr()))?.addr();
            Some(DefaultRoute { interface, address })
        })
    }

    /// The interface that has this address.
    #[must_use]
    pub fn interface_with(&self, address: IpAddr) -> Option<&Interface> {
        let (index, _) = self.addresses.iter().find(|(_, net)| net.addr() == address)?;
        self.interface(*index)
    }

    /// The interface of this name.
    #[must_use]
    pub fn interface_named(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.name == name)
    }

    /// All addresses with their prefix lengths.
    pub fn addresses(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.addresses.iter().map(|(_, net)| *net)
    }

    /// What `subnet` would collide with, the narrowest if there are several: an address or a route of this namespace (default and link-local ones aside),
    /// together with the interface's name, if it has one.
    #[must_use]
    pub fn overlap(&self, subnet: IpNet) -> Option<(IpNet, Option<&str>)> {
        let addresses = self.addresses.iter().map(|(index, net)| (*net, Some(*index)));
        let routes =
            self.routes.iter().filter(|r| r.to.prefix_len() >= WIDEST_ROUTE).map(|r| (r.to, r.interface));
        let nets = addresses.chain(routes).filter(|(net, _)| !is_link_local(net.network()));
        let all = nets.filter(|(net, _)| overlaps(*net, subnet));
        let (net, index) = all.max_by_key(|(net, _)| net.prefix_len())?;
        Some((net, index.and_then(|i| self.interface(i)).map(|i| i.name.as_str())))
    }

    /// The same without the interfaces of these names, their addresses and routes.
    #[must_use]
    pub fn without(mut self, named: impl Fn(&str) -> bool) -> Self {
        let gone: Vec<_> = self.interfaces.iter().filter(|i| named(&i.name)).map(|i| i.index).collect();
        self.interfaces.retain(|interface| !gone.contains(&interface.index));
        self.addresses.retain(|(index, _)| !gone.contains(index));
        self.routes.retain(|route| route.interface.is_none_or(|index| !gone.contains(&index)));
        self
    }

    fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.index == index)
    }
}

fn overlaps(a: IpNet, b: IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast(),
    }
}

fn interface(link: &LinkMessage) -> Option<Interface> {
    Some(Interface { index: link.header.index, name: name_of(link)?.to_owned(), mtu: mtu_of(link)? })
}

/// The interface's MTU in bytes; the kernel always sends one.
pub(super) fn mtu_of(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|a| match a {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    })
}

pub(super) fn address_of(message: &AddressMessage) -> Option<(u32, IpNet)> {
    let net = IpNet::new(own_address(message)?, message.header.prefix_len).ok()?;
    Some((message.header.index, net))
}

fn route(message: &RouteMessage) -> Option<Route> {
    if !in_main_table(message) {
        return None;
    }
    let mut destination = None;
    let mut interface = None;
    let mut metric = 0;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => destination = Some(IpAddr::from(*ip)),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => destination = Some(IpAddr::from(*ip)),
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::MultiPath(hops) => interface = hops.first().map(|h| h.interface_index),
            RouteAttribute::Priority(priority) => metric = *priority,
            _ => {}
        }
    }
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let to = IpNet::new(destination.unwrap_or(any), message.header.destination_prefix_length).ok()?;
    Some(Route { to, interface, metric })
}

/// The route of a message, if it is one of the main table out of the interface `index`.
pub(super) fn route_of(message: &RouteMessage, index: u32) -> Option<StaticRoute> {
    let Route { to, .. } = route(message).filter(|route| route.interface == Some(index))?;
    let via = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) => Some(IpAddr::from(*ip)),
        RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => Some(IpAddr::from(*ip)),
        _ => None,
    });
    Some(StaticRoute { to, via })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn host() -> HostNets {
        let interface = |index, name: &str| Interface { index, name: name.into(), mtu: 1500 };
        let route = |to, index, metric| Route { to: net(to), interface: Some(index), metric };
        HostNets {
            interfaces: vec![interface(1, "lo"), interface(2, "eth0"), interface(3, "tun0")],
            addresses: vec![
                (1, net("127.0.0.1/8")),
                (2, net("169.254.3.4/16")),
                (2, net("192.0.2.7/24")),
                (2, net("fe80::7/64")),
                (2, net("2001:db8::7/64")),
                (3, net("203.0.113.9/32")),
            ],
            routes: vec![
                route("::/0", 2, 1),
                route("0.0.0.0/0", 2, 100),
                route("0.0.0.0/0", 3, 50),
                route("0.0.0.0/1", 3, 0),
                route("172.20.0.0/14", 3, 0),
            ],
        }
    }

    #[test]
    fn ipv4_and_the_smallest_metric_come_first() {
        let route = host().default_route().unwrap();
        assert_eq!((route.interface.name.as_str(), route.address), ("tun0", net("203.0.113.9/32").addr()));
        let mut six = host();
        six.routes.retain(|r| r.to.addr().is_ipv6());
        assert_eq!(
            six.default_route().unwrap().address,
            net("2001:db8::7/64").addr(),
            "not the link-local one"
        );
        six.routes.clear();
        assert_eq!(six.default_route(), None);
    }

    #[test]
    fn overlap_is_seen_from_either_side_and_default_routes_do_not_count() {
        let host = host();
        assert_eq!(host.overlap(net("192.0.2.128/25")), Some((net("192.0.2.7/24"), Some("eth0"))));
        assert_eq!(host.overlap(net("192.0.0.0/16")), Some((net("192.0.2.7/24"), Some("eth0"))));
        assert_eq!(host.overlap(net("172.21.5.0/24")), Some((net("172.20.0.0/14"), Some("tun0"))));
        assert_eq!(host.overlap(net("10.0.0.0/8")), None);
        assert_eq!(host.overlap(net("2001:db8:1::/64")), None);
        assert_eq!(host.clone().without(|name| name == "tun0").overlap(net("172.21.5.0/24")), None);
        assert_eq!(host.overlap(net("2001:db8::/32")), Some((net("2001:db8::7/64"), Some("eth0"))));
    }
}
