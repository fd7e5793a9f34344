//! Routes, neighbours and devices as they come, and what is made of them.

use netlink_packet_route::neighbour::NeighbourState;
use weft_dataplane::wire::MacAddr;

use super::*;

const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn device() -> Device {
    Device { index: 4, name: "eth0".into(), mac: OWN, mtu: 1500, up: true, ethernet: true, tun: false }
}

fn path(via: &str) -> Path {
    Path { interface: 4, via: ip(via), mtu: None }
}

/// One peer on the link.
fn peer() -> [(IpAddr, Option<Path>); 1] {
    [(ip("192.0.2.2"), Some(path("192.0.2.2")))]
}

fn neighbor(address: &str, state: NeighbourState) -> Neighbor {
    Neighbor { interface: 4, address: ip(address), mac: Some(ROUTER), state }
}

fn mtus(resolved: &Resolved) -> Vec<(IpAddr, u16)> {
    resolved.hops().iter().map(|(vtep, hop)| (vtep.address(), hop.mtu)).collect()
}

#[test]
fn a_peer_on_the_link_and_one_behind_a_router_each_get_their_neighbor() {
    let far = (ip("198.51.100.2"), Some(path("192.0.2.1")));
    let paths = [far, peer()[0]];
    let mut peer = neighbor("192.0.2.2", NeighbourState::Reachable);
    peer.mac = Some(MacAddr([2, 0, 0, 0, 0, 2]));
    let resolved = resolve(&device(), &paths, &[neighbor("192.0.2.1", NeighbourState::Stale), peer]);
    let hop = |mac| NextHop { source: OWN, neighbor: mac, mtu: 1500 };
    let reach = |peer, via, mac| Reach { peer: ip(peer), via: Some(ip(via)), hop: Ok(hop(mac)) };
    let expected = [
        reach("198.51.100.2", "192.0.2.1", ROUTER),
        reach("192.0.2.2", "192.0.2.2", MacAddr([2, 0, 0, 0, 0, 2])),
    ];
    assert_eq!(resolved.reaches, expected, "in the order of the peers");
    assert!(resolved.unknown.is_empty());
    assert_eq!(resolved.dynamic, [ip("192.0.2.1"), ip("192.0.2.2")].into());
}

#[test]
fn only_a_neighbor_the_kernel_would_send_to_is_used() {
    use NeighbourState::*;
    for (state, used, refreshed) in [
        (Reachable, true, true),
        (Stale, true, true),
        (Delay, true, true),
        (Probe, true, true),
        (Permanent, true, false),
        (Noarp, true, false),
        (Incomplete, false, true),
        (Failed, false, true),
        (None, false, true),
    ] {
        let neighbors = [neighbor("192.0.2.2", state)];
        let resolved = resolve(&device(), &peer(), &neighbors);
        assert_eq!(resolved.hops().len() == 1, used, "{state}");
        assert_eq!(resolved.dynamic.len() == 1, refreshed, "{state}");
        assert!(resolved.unknown.is_empty(), "{state}");
        if !used {
            assert_eq!(resolved.reaches[0].hop, Err(Obstacle::Silent(ip("192.0.2.2"))), "{state}");
        }
    }
    let nameless = Neighbor { mac: Option::None, ..neighbor("192.0.2.2", Reachable) };
    assert_eq!(resolve(&device(), &peer(), &[nameless]).hops(), []);
}

#[test]
fn what_leaves_through_another_interface_is_left_to_the_sockets() {
    let known = neighbor("192.0.2.2", NeighbourState::Reachable);
    let elsewhere = Path { interface: 5, ..path("192.0.2.2") };
    for (path, obstacle) in [(Some(elsewhere), Obstacle::Elsewhere), (None, Obstacle::NoRoute)] {
        let resolved = resolve(&device(), &[(ip("192.0.2.2"), path)], &[known]);
        let via = path.map(|path| path.via);
        assert_eq!(resolved.reaches, [Reach { peer: ip("192.0.2.2"), via, hop: Err(obstacle) }]);
        assert!(resolved.unknown.is_empty() && resolved.dynamic.is_empty());
    }
    let namesake = Neighbor { interface: 5, ..known };
    let resolved = resolve(&device(), &peer(), &[namesake]);
    assert_eq!(resolved.hops(), []);
    assert_eq!(resolved.unknown, [ip("192.0.2.2")].into());
}

#[test]
fn by_a_device_that_cannot_carry_frames_nothing_is_known() {
    let known = [neighbor("192.0.2.2", NeighbourState::Permanent)];
    let unusable = [
        Device { up: false, ..device() },
        Device { ethernet: false, ..device() },
        Device { mac: MacAddr::ZERO, ..device() },
    ];
    for device in unusable {
        assert_eq!(resolve(&device, &peer(), &known), Resolved::default(), "{device:?}");
    }
}

#[test]
fn the_smaller_mtu_counts() {
    let at = |peer, mtu| (ip(peer), Some(Path { mtu, ..path("192.0.2.1") }));
    let paths = [at("198.51.100.1", Some(1400)), at("198.51.100.2", Some(9000)), at("198.51.100.3", None)];
    let router = [neighbor("192.0.2.1", NeighbourState::Reachable)];
    let resolved = resolve(&device(), &paths, &router);
    let expected =
        [("198.51.100.1", 1400), ("198.51.100.2", 1500), ("198.51.100.3", 1500)].map(|(a, m)| (ip(a), m));
    assert_eq!(mtus(&resolved), expected);
    let giant = Device { mtu: 100_000, ..device() };
    assert_eq!(mtus(&resolve(&giant, &paths, &router))[2].1, u16::MAX);
}

#[test]
fn an_ipv4_peer_may_have_an_ipv6_router() {
    let resolved = resolve(
        &device(),
        &[(ip("198.51.100.2"), Some(path("fe80::1")))],
        &[neighbor("fe80::1", NeighbourState::Delay)],
    );
    assert_eq!(resolved.hops().len(), 1);
}

#[test]
fn only_what_is_in_use_and_not_set_by_hand_is_verified() {
    let at = |last: u8| IpAddr::from([192, 0, 2, last]);
    let paths = [2, 3, 4, 5].map(|last| (at(last), Some(Path { interface: 4, via: at(last), mtu: None })));
    let routed = (ip("198.51.100.2"), Some(path("192.0.2.2")));
    let paths = [&paths[..], &[routed]].concat();
    let neighbors = [
        neighbor("192.0.2.2", NeighbourState::Reachable),
        neighbor("192.0.2.3", NeighbourState::Permanent),
        neighbor("192.0.2.4", NeighbourState::Failed),
        neighbor("192.0.2.5", NeighbourState::Stale),
    ];
    let resolved = resolve(&device(), &paths, &neighbors);
    let verified = |used: &[IpAddr]| {
        let used: Vec<Vtep> = used.iter().copied().map(Vtep::new).collect();
        resolved.to_verify(&used).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(verified(&[at(2), at(3), at(4)]), [at(2)]);
    assert_eq!(verified(&[ip("198.51.100.2")]), [at(2)], "its router");
    assert_eq!(verified(&[]), [] as [IpAddr; 0]);
}
