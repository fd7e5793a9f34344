//! Lookups against a slow model, and what is refused.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn link(id: u32, addresses: &[&str]) -> LinkSpec {
    let addresses = addresses.iter().map(|text| ip(text)).collect();
    LinkSpec { id: LinkId(id), mac: MAC, mtu: 1_500, addresses }
}

fn route(prefix: &str, link: Option<u32>, via: Option<&str>) -> RouteSpec {
    let prefix = prefix.parse().expect("a prefix");
    RouteSpec { prefix, link: link.map(LinkId), via: via.map(ip), source: None }
}

/// A host with an uplink and a management network.
fn host() -> EgressSpec {
    let mut pinned = route("203.0.113.0/24", Some(2), None);
    pinned.source = Some(ip("192.0.2.99"));
    EgressSpec {
        links: vec![link(1, &["2001:db8::10", "192.0.2.10", "192.0.2.11"]), link(2, &["198.51.100.10"])],
        routes: vec![
            route("0.0.0.0/0", Some(1), Some("192.0.2.1")),
            route("::/0", Some(1), Some("fe80::1")),
            route("192.0.2.0/24", Some(1), None),
            route("198.51.100.0/24", Some(2), None),
            route("198.51.100.128/25", None, None),
            route("2001:db8:2::/48", Some(2), None),
            pinned,
        ],
        neighbors: vec![
            NeighborSpec { link: LinkId(1), address: ip("192.0.2.1"), mac: MacAddr([2, 0, 0, 0, 1, 1]) },
            NeighborSpec { link: LinkId(2), address: ip("192.0.2.7"), mac: MacAddr([2, 0, 0, 0, 1, 7]) },
            NeighborSpec { link: LinkId(1), address: ip("fe80::1"), mac: MacAddr::ZERO },
        ],
        own: vec![ip("127.0.0.1"), ip("192.0.2.10")],
    }
}

#[test]
fn the_longest_prefix_says_how() {
    let egress = Egress::build(&host()).unwrap();
    let hop = egress.lookup(ip("8.8.8.8")).unwrap();
    let gateway = Some(MacAddr([2, 0, 0, 0, 1, 1]));
    let expected = Hop {
        link: LinkId(1),
        link_mac: MAC,
        mtu: 1_500,
        source: ip("192.0.2.10"),
        next: ip("192.0.2.1"),
        mac: gateway,
    };
    assert_eq!(hop, expected);
    let hop = egress.lookup(ip("192.0.2.7")).unwrap();
    assert_eq!((hop.next, hop.mac), (ip("192.0.2.7"), None), "the neighbour is another link's");
    assert_eq!(egress.lookup(ip("198.51.100.200")), None, "unreachable");
    let hop = egress.lookup(ip("203.0.113.9")).unwrap();
    assert_eq!((hop.link, hop.source), (LinkId(2), ip("192.0.2.99")));
    assert!(egress.is_outside(ip("192.0.2.99")), "though no link has it");
    let hop = egress.lookup(ip("2001:db8:1::1")).unwrap();
    assert_eq!((hop.source, hop.mac), (ip("2001:db8::10"), None), "a zero MAC is none");
    assert_eq!(egress.lookup(ip("2001:db8:2::1")), None, "the link has no IPv6 address");
    assert!(egress.is_own(ip("127.0.0.1")) && !egress.is_own(ip("192.0.2.11")));
    assert!(egress.is_outside(ip("192.0.2.11")) && !egress.is_outside(ip("127.0.0.1")));
    assert_eq!(egress.links().count(), 2);
    assert!(Egress::default().lookup(ip("8.8.8.8")).is_none());
}

#[test]
fn addresses_that_have_gone_are_noticed_and_new_ones_are_no_loss() {
    let (former, mut spec) = (Egress::build(&host()).unwrap(), host());
    spec.neighbors.clear();
    spec.own.push(ip("192.0.2.77"));
    let more = Egress::build(&spec).unwrap();
    assert!(more.keeps(&former) && !former.keeps(&more));
    spec.routes.retain(|route| route.source != Some(ip("192.0.2.99")));
    let less = Egress::build(&spec).unwrap();
    assert!(!less.keeps(&more), "an outside address that only a route named");
    spec.own.push(ip("192.0.2.99"));
    let rests = Egress::build(&spec).unwrap();
    assert!(rests.keeps(&more) && !rests.is_outside(ip("192.0.2.99")), "the host has it still");
    assert!(spec.addresses().into_iter().all(|address| rests.has(address)));
    assert_eq!(spec.addresses().len(), 7);
}

#[test]
fn a_spec_names_every_outside_address_once() {
    let mut spec = host();
    spec.routes.extend([route("203.0.114.0/24", Some(1), None), route("203.0.115.0/24", None, None)]);
    for (route, source) in spec.routes.iter_mut().rev().zip(["192.0.2.98", "192.0.2.11"]) {
        route.source = Some(ip(source));
    }
    let all = ["192.0.2.10", "192.0.2.11", "192.0.2.99", "198.51.100.10", "2001:db8::10"];
    assert!(spec.outside().into_iter().eq(all.map(ip)), "{:?}", spec.outside());
    let second = spec.outside_by(|id| id == LinkId(2));
    assert!(second.into_iter().eq(["192.0.2.99", "198.51.100.10"].map(ip)));
    let egress = Egress::build(&spec).unwrap();
    assert!(spec.outside().into_iter().all(|address| egress.is_outside(address)));
    assert!(!egress.is_outside(ip("192.0.2.98")), "nothing leaves by that route");
}

#[test]
fn of_two_routes_with_one_prefix_the_first_stands() {
    let mut spec = host();
    spec.routes.push(route("0.0.0.0/0", Some(2), None));
    assert_eq!(Egress::build(&spec).unwrap().lookup(ip("8.8.8.8")).unwrap().link, LinkId(1));
}

#[test]
fn nonsense_is_refused_by_name() {
    let refused = |change: fn(&mut EgressSpec)| {
        let mut spec = host();
        change(&mut spec);
        Egress::build(&spec).unwrap_err()
    };
    assert_eq!(refused(|s| s.links.push(link(1, &[]))), EgressError::DuplicateLink(LinkId(1)));
    let error = refused(|s| s.routes.push(route("10.0.0.0/8", Some(9), None)));
    assert_eq!(error.to_string(), "10.0.0.0/8 names link 9, which is not listed");
    let error = refused(|s| s.neighbors[0].link = LinkId(9));
    assert_eq!(error.to_string(), "192.0.2.1 names link 9, which is not listed");
    let group = MacAddr([1, 0, 0, 0, 0, 1]);
    assert_eq!(refused(|s| s.links[0].mac.0[0] = 1), EgressError::BadMac(LinkId(1), group));
    assert_eq!(refused(|s| s.links[1].mtu = 67), EgressError::BadMtu { link: LinkId(2), mtu: 67 });
    let error = refused(|s| s.routes[0].source = Some("::1".parse().unwrap()));
    assert!(matches!(error, EgressError::BadSource { .. }));
    let error = refused(|s| s.links = (0..65).map(|id| link(id, &[])).collect());
    assert_eq!(error, EgressError::TooMany { what: "links", count: 65, max: 64 });
}

#[test]
fn the_limits_are_reached() {
    let neighbor =
        |n: u32| NeighborSpec { link: LinkId(1), address: Ipv4Addr::from_bits(n).into(), mac: MAC };
    let mut spec = EgressSpec {
        links: vec![link(1, &["192.0.2.10"])],
        routes: (0..ROUTES_MAX as u32)
            .map(|n| route(&format!("{}/24", Ipv4Addr::from_bits(n << 8)), (n % 2 == 0).then_some(1), None))
            .collect(),
        neighbors: (0..NEIGHBORS_MAX as u32).map(neighbor).collect(),
        own: Vec::new(),
    };
    let egress = Egress::build(&spec).unwrap();
    assert!(egress.lookup(ip("0.255.254.1")).is_some() && egress.lookup(ip("0.255.255.1")).is_none());
    assert_eq!(egress.exits.len(), 1, "one exit for all");
    spec.neighbors.push(neighbor(0));
    assert!(matches!(Egress::build(&spec), Err(EgressError::TooMany { what: "neighbours", .. })));
    spec.routes.push(route("0.0.0.0/0", None, None));
    assert!(matches!(Egress::build(&spec), Err(EgressError::TooMany { what: "routes", .. })));
}

/// Prefixes that nest and touch often: few bits vary, at both ends of the address space.
fn prefixes(v4: bool) -> impl Strategy<Value = Vec<(Prefix, Option<u32>)>> {
    let width = if v4 { 32 } else { 128 };
    let one = (0u128..32, prop_oneof![0u8..6, Just(width)], prop::option::of(0u32..4));
    let one = one.prop_map(move |(top, len, exit)| (address(v4, top, 0, len), exit));
    proptest::collection::vec(one, 0..24)
}

/// The prefix of `len` bits of the address that begins with the five bits of `top` and ends with `low`.
fn address(v4: bool, top: u128, low: u8, len: u8) -> Prefix {
    let (width, ones) = if v4 { (32, u128::from(u32::MAX)) } else { (128, u128::MAX) };
    // The last of all addresses is the one where a sweep can overflow.
    let bits = if top == 31 && len == width { ones } else { top << (width - 5) | u128::from(low) };
    let kept = if len == 0 { 0 } else { bits & (ones << (width - len) & ones) };
    let address = if v4 { Ipv4Addr::from_bits(kept as u32).into() } else { Ipv6Addr::from_bits(kept).into() };
    Prefix::new(address, len).expect("no host bits")
}

/// Looks at every route.
fn slow(routes: &[(Prefix, Option<u32>)], to: IpAddr) -> Option<u32> {
    let mut best: Option<&(Prefix, Option<u32>)> = None;
    for route in routes.iter().filter(|(prefix, _)| prefix.contains(to)) {
        if best.is_none_or(|best| route.0.len() > best.0.len()) {
            best = Some(route);
        }
    }
    best.and_then(|(_, exit)| *exit)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn ranges_answer_as_the_slow_model(
        (v4, routes) in any::<bool>().prop_flat_map(|v4| prefixes(v4).prop_map(move |routes| (v4, routes))),
        others in proptest::collection::vec((0u128..32, any::<u8>()), 8),
    ) {
        let ranges = Ranges::build(routes.clone());
        let width = if v4 { 32 } else { 128 };
        let ends = routes.iter().flat_map(|(prefix, _)| [prefix.address(), prefix.last()]);
        let others = others.iter().map(|&(top, low)| address(v4, top, low, width).address());
        for to in ends.chain(others) {
            prop_assert_eq!(ranges.find(to), slow(&routes, to), "{}", to);
        }
    }
}
