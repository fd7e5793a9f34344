//! Tables as they may be, and what is made of them.

use netlink_packet_route::neighbour::NeighbourState;
use weft_dataplane::gateway::{Egress, Hop};
use weft_dataplane::wire::MacAddr;

use super::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn device(index: u32, name: &str) -> Device {
    Device { index, name: name.into(), mac: MAC, mtu: 1500, up: true, ethernet: true, tun: false }
}

fn address(interface: u32, address: &str, rank: Option<u8>) -> Address {
    Address { interface, address: ip(address), rank }
}

fn route(prefix: &str, interface: u32, via: Option<&str>) -> Route {
    let exit = Some(Exit { interface, via: via.map(ip) });
    Route { prefix: prefix.parse().unwrap(), metric: 0, exit, source: None }
}

fn neighbor(interface: u32, address: &str, state: NeighbourState) -> Neighbor {
    Neighbor { interface, address: ip(address), mac: Some(MAC), state }
}

/// Two Ethernet links, a VPN, the loopback interface and a TAP of ours.
fn host() -> Tables {
    let lo = Device { ethernet: false, mac: MacAddr::ZERO, ..device(1, "lo") };
    let vpn = Device { ethernet: false, ..device(4, "tun0") };
    let ours = Device { tun: true, ..device(5, "wb7") };
    Tables {
        devices: vec![lo, device(2, "eth0"), device(3, "eth1"), vpn, ours],
        addresses: vec![
            address(1, "127.0.0.1", None),
            address(2, "192.0.2.1", Some(0)),
            address(3, "198.51.100.1", Some(0)),
            address(4, "10.8.0.2", Some(0)),
            address(5, "10.1.0.1", Some(0)),
        ],
        routes: vec![
            route("192.0.2.0/24", 2, None),
            route("198.51.100.0/24", 3, None),
            route("0.0.0.0/0", 3, Some("198.51.100.2")),
            route("10.8.0.0/16", 4, None),
            route("10.1.0.0/16", 5, None),
        ],
        neighbors: Vec::new(),
    }
}

/// Every link has its interface's index as its id.
fn resolve(tables: &Tables, only: Option<&str>) -> (Resolved, Egress) {
    let indices: Vec<_> = tables.links(only).iter().map(|device| device.index).collect();
    let resolved = tables.resolve(only, |index| indices.contains(&index).then_some(LinkId(index)));
    let egress = Egress::build(&resolved.spec).expect("the dataplane takes it");
    (resolved, egress)
}

fn lookup(tables: &Tables, to: &str) -> Option<(u32, IpAddr, IpAddr)> {
    resolve(tables, None).1.lookup(ip(to)).map(|Hop { link, source, next, .. }| (link.0, source, next))
}

fn names(links: Vec<&Device>) -> Vec<&str> {
    links.into_iter().map(|device| device.name.as_str()).collect()
}

#[test]
fn links_are_ethernet_with_an_address_and_that_of_the_default_route_comes_first() {
    let mut host = host();
    assert_eq!(names(host.links(None)), ["eth1", "eth0"]);
    assert_eq!(names(host.links(Some("eth0"))), ["eth0"]);
    assert!(host.links(Some("wb7")).is_empty() && host.links(Some("eth7")).is_empty());
    host.devices[4].tun = false;
    assert_eq!(names(host.links(None)), ["eth1", "eth0", "wb7"], "the name alone does not make it ours");
    let useless: [fn(&mut Device); 4] =
        [|d| d.up = false, |d| d.mac = MacAddr::ZERO, |d| d.mac = MacAddr([1; 6]), |d| d.mtu = 67];
    for change in useless {
        let mut host = self::host();
        change(&mut host.devices[1]);
        assert_eq!(names(host.links(None)), ["eth1"]);
    }
    let mut host = self::host();
    host.addresses[1].rank = None;
    assert_eq!(names(host.links(None)), ["eth1"], "nothing could leave with it");
    host.addresses.push(address(1, "203.0.113.1", Some(0)));
    host.routes[0].source = Some(ip("203.0.113.1"));
    assert_eq!(names(host.links(None)), ["eth1", "eth0"]);
    assert_eq!(lookup(&host, "192.0.2.7"), Some((2, ip("203.0.113.1"), ip("192.0.2.7"))));
}

#[test]
fn what_leaves_by_no_link_is_unreachable_and_not_left_to_the_default_route() {
    let host = host();
    assert_eq!(lookup(&host, "203.0.113.9"), Some((3, ip("198.51.100.1"), ip("198.51.100.2"))));
    assert_eq!(lookup(&host, "10.8.1.1"), None, "a VPN");
    assert_eq!(lookup(&host, "10.1.0.7"), None, "a network of ours");
    assert_eq!(lookup(&host, "10.9.0.1"), Some((3, ip("198.51.100.1"), ip("198.51.100.2"))));
}

#[test]
fn the_smallest_metric_wins_and_of_equal_ones_the_first() {
    let mut host = host();
    let by = |interface, via, metric| Route { metric, ..route("0.0.0.0/0", interface, Some(via)) };
    host.routes = vec![by(3, "198.51.100.2", 7), by(2, "192.0.2.2", 5), by(2, "192.0.2.3", 5)];
    let next = |host: &Tables| lookup(host, "203.0.113.9").map(|(.., next)| next);
    assert_eq!(next(&host), Some(ip("192.0.2.2")));
    host.routes[1].exit = None;
    assert_eq!(next(&host), None, "unreachable by the best route is unreachable");
    host.routes[1].metric = 9;
    assert_eq!(next(&host), Some(ip("192.0.2.3")));
}

#[test]
fn with_an_interface_named_it_is_as_if_there_were_no_others() {
    let (resolved, egress) = resolve(&host(), Some("eth1"));
    let to = |to| egress.lookup(ip(to)).map(|hop| hop.next);
    assert_eq!(to("192.0.2.7"), Some(ip("198.51.100.2")));
    assert_eq!(to("10.8.0.1"), Some(ip("198.51.100.2")));
    assert_eq!(resolved.spec.links.len(), 1);
    assert!(egress.is_own(ip("192.0.2.1")) && !egress.is_outside(ip("192.0.2.1")));
}

#[test]
fn addresses_are_ranked_and_sources_must_be_our_own() {
    let mut host = host();
    host.addresses.extend([
        address(3, "198.51.100.5", Some(2)),
        address(3, "198.51.100.6", Some(1)),
        address(3, "2001:db8::1", Some(0)),
        address(3, "fe80::1", None),
    ]);
    let (resolved, _) = resolve(&host, None);
    let spec = resolved.spec.links.iter().find(|link| link.id == LinkId(3)).unwrap();
    let ranked = ["198.51.100.1", "2001:db8::1", "198.51.100.6", "198.51.100.5"];
    assert_eq!(spec.addresses, ranked.map(ip));
    for (source, used) in
        [("198.51.100.5", "198.51.100.5"), ("203.0.113.1", "198.51.100.1"), ("2001:db8::1", "198.51.100.1")]
    {
        host.routes[2].source = Some(ip(source));
        assert_eq!(lookup(&host, "203.0.113.9").unwrap().1, ip(used));
    }
    let outside = resolve(&host, None).0.spec.outside();
    assert!(outside.contains(&ip("192.0.2.1")) && !outside.contains(&ip("10.8.0.2")), "{outside:?}");
    assert!(!outside.contains(&ip("fe80::1")));
}

#[test]
fn a_link_that_is_down_leads_nowhere_and_its_addresses_are_the_hosts_still() {
    let mut host = host();
    let before = resolve(&host, None).1;
    // The kernel takes the routes away.
    host.devices[2].up = false;
    host.routes.retain(|route| route.exit.is_some_and(|exit| exit.interface != 3));
    let (resolved, egress) = resolve(&host, None);
    let address = ip("198.51.100.1");
    assert!(!resolved.spec.outside().contains(&address) && egress.has(address) && egress.keeps(&before));
    assert_eq!(lookup(&host, "203.0.113.9"), None);
    host.addresses.retain(|own| own.address != address);
    let gone = resolve(&host, None).1;
    assert!(!gone.has(address) && !gone.keeps(&egress));
}

#[test]
fn neighbors_count_while_the_kernel_would_send_to_them() {
    use NeighbourState::{Failed, Incomplete, Permanent, Reachable, Stale};
    let mut host = host();
    for (state, counts) in
        [(Reachable, true), (Stale, true), (Permanent, true), (Failed, false), (Incomplete, false)]
    {
        host.neighbors = vec![neighbor(3, "198.51.100.2", state), neighbor(4, "10.8.0.1", state)];
        let (resolved, egress) = resolve(&host, None);
        assert_eq!(
            resolved.spec.neighbors.len(),
            usize::from(counts),
            "{state:?}; that of no link is left out"
        );
        assert_eq!(egress.lookup(ip("203.0.113.9")).unwrap().mac.is_some(), counts);
    }
}

#[test]
fn what_is_too_much_is_left_out_beginning_with_what_matters_least() {
    let mut host = host();
    let octets = |n: u32| IpAddr::from((0x0b00_0000 + n).to_be_bytes());
    let many = (0..ROUTES_MAX as u32).map(|n| Route {
        prefix: Prefix::new(octets(n), 32).unwrap(),
        ..route("0.0.0.0/0", 2, Some("192.0.2.2"))
    });
    host.routes.extend(many);
    let some = (0..NEIGHBORS_MAX as u32)
        .map(|n| Neighbor { address: octets(n), ..neighbor(2, "::", NeighbourState::Stale) });
    host.neighbors = some.chain([neighbor(3, "198.51.100.2", NeighbourState::Stale)]).collect();
    let (resolved, egress) = resolve(&host, None);
    assert_eq!(resolved.left_out, [("routes", 5), ("neighbours", 1)]);
    let hop = egress.lookup(ip("203.0.113.9")).unwrap();
    assert!(hop.mac.is_some(), "the default route and its router stay");
}
