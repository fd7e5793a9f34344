//! What the kernel would do with a datagram for each peer, from what it says about routes, neighbours and the device.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_packet_route::neighbour::NeighbourState;
use weft_dataplane::tunnel::Vtep;
use weft_dataplane::tunnel::outer::NextHop;
use weft_dataplane::wire::MacAddr;

/// The underlay device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Device {
    /// Its index.
    pub(super) index: u32,
    /// Its MAC; zero if it has none.
    pub(super) mac: MacAddr,
    /// Its MTU in bytes.
    pub(super) mtu: u32,
    /// Whether it is administratively up.
    pub(super) up: bool,
    /// Whether it takes Ethernet frames.
    pub(super) ethernet: bool,
}

/// The route to one peer, where it is a plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// The peer.
    pub(super) peer: IpAddr,
    /// The interface it leaves through.
    pub(super) interface: u32,
    /// The router, or the peer itself if it is on the link.
    pub(super) via: IpAddr,
    /// The path's MTU in bytes where it differs from the interface's: a route's metric, or what ICMP has told.
    pub(super) mtu: Option<u32>,
}

/// One entry of the neighbour table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbor {
    /// The interface it is reached through.
    pub(super) interface: u32,
    /// Its address.
    pub(super) address: IpAddr,
    /// Its MAC, if it is known and one.
    pub(super) mac: Option<MacAddr>,
    /// How well it is known.
    pub(super) state: NeighbourState,
}

/// What follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    /// How peers are reached; those missing here go through sockets.
    pub(super) hops: Vec<(Vtep, NextHop)>,
    /// Neighbours the kernel should look for: it has no entry.
    pub(super) unknown: BTreeSet<IpAddr>,
    /// Neighbours the kernel should be reminded of from time to time: in use without its knowledge, or not answering.
    /// Entries that somebody has set by hand are not among them, for a reminder would make them ordinary.
    pub(super) refresh: BTreeSet<IpAddr>,
}

/// Puts `paths` and `neighbors` together. Nothing is known when the device is gone, down, or not Ethernet.
pub(super) fn resolve(device: Option<&Device>, paths: &[Path], neighbors: &[Neighbor]) -> Resolved {
    let mut resolved = Resolved::default();
    let Some(device) = device.filter(|d| d.up && d.ethernet && !d.mac.is_zero()) else { return resolved };
    let here: std::collections::BTreeMap<IpAddr, &Neighbor> =
        neighbors.iter().filter(|n| n.interface == device.index).map(|n| (n.address, n)).collect();
    for path in paths.iter().filter(|path| path.interface == device.index) {
        let Some(neighbor) = here.get(&path.via) else {
            resolved.unknown.insert(path.via);
            continue;
        };
        if is_dynamic(neighbor.state) {
            resolved.refresh.insert(path.via);
        }
        if let Some(mac) = neighbor.mac.filter(|_| is_usable(neighbor.state)) {
            let mtu = path.mtu.unwrap_or(device.mtu).min(device.mtu);
            let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
            resolved.hops.push((Vtep::new(path.peer), NextHop { source: device.mac, neighbor: mac, mtu }));
        }
    }
    resolved.hops.sort_unstable_by_key(|&(vtep, _)| vtep);
    resolved
}

/// `NUD_VALID` of the kernel: it would send to such a neighbour, too.
fn is_usable(state: NeighbourState) -> bool {
    use NeighbourState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
    matches!(state, Reachable | Stale | Delay | Probe | Permanent | Noarp)
}

fn is_dynamic(state: NeighbourState) -> bool {
    !matches!(state, NeighbourState::Permanent | NeighbourState::Noarp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn device() -> Device {
        Device { index: 4, mac: OWN, mtu: 1500, up: true, ethernet: true }
    }

    fn path(peer: &str, via: &str) -> Path {
        Path { peer: ip(peer), interface: 4, via: ip(via), mtu: None }
    }

    fn neighbor(address: &str, state: NeighbourState) -> Neighbor {
        Neighbor { interface: 4, address: ip(address), mac: Some(ROUTER), state }
    }

    fn mtus(resolved: &Resolved) -> Vec<(IpAddr, u16)> {
        resolved.hops.iter().map(|(vtep, hop)| (vtep.address(), hop.mtu)).collect()
    }

    #[test]
    fn a_peer_on_the_link_and_one_behind_a_router_each_get_their_neighbor() {
        let paths = [path("198.51.100.2", "192.0.2.1"), path("192.0.2.2", "192.0.2.2")];
        let mut peer = neighbor("192.0.2.2", NeighbourState::Reachable);
        peer.mac = Some(MacAddr([2, 0, 0, 0, 0, 2]));
        let resolved =
            resolve(Some(&device()), &paths, &[neighbor("192.0.2.1", NeighbourState::Stale), peer]);
        let hop = |mac| NextHop { source: OWN, neighbor: mac, mtu: 1500 };
        let expected = vec![
            (Vtep::new(ip("192.0.2.2")), hop(MacAddr([2, 0, 0, 0, 0, 2]))),
            (Vtep::new(ip("198.51.100.2")), hop(ROUTER)),
        ];
        assert_eq!(resolved.hops, expected, "ascending by VTEP");
        assert!(resolved.unknown.is_empty());
        assert_eq!(resolved.refresh, [ip("192.0.2.1"), ip("192.0.2.2")].into());
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
            let resolved = resolve(Some(&device()), &[path("192.0.2.2", "192.0.2.2")], &neighbors);
            assert_eq!(resolved.hops.len() == 1, used, "{state}");
            assert_eq!(resolved.refresh.len() == 1, refreshed, "{state}");
            assert!(resolved.unknown.is_empty(), "{state}");
        }
        let nameless = Neighbor { mac: Option::None, ..neighbor("192.0.2.2", Reachable) };
        assert!(resolve(Some(&device()), &[path("192.0.2.2", "192.0.2.2")], &[nameless]).hops.is_empty());
    }

    #[test]
    fn what_leaves_through_another_interface_is_left_to_the_sockets() {
        let known = neighbor("192.0.2.2", NeighbourState::Reachable);
        let elsewhere = Path { interface: 5, ..path("192.0.2.2", "192.0.2.2") };
        assert_eq!(resolve(Some(&device()), &[elsewhere], &[known]), Resolved::default());
        let namesake = Neighbor { interface: 5, ..known };
        let resolved = resolve(Some(&device()), &[path("192.0.2.2", "192.0.2.2")], &[namesake]);
        assert!(resolved.hops.is_empty());
        assert_eq!(resolved.unknown, [ip("192.0.2.2")].into());
    }

    #[test]
    fn without_a_device_that_is_up_nothing_is_known() {
        let (paths, known) =
            ([path("192.0.2.2", "192.0.2.2")], [neighbor("192.0.2.2", NeighbourState::Permanent)]);
        let unusable = [
            Device { up: false, ..device() },
            Device { ethernet: false, ..device() },
            Device { mac: MacAddr::ZERO, ..device() },
        ];
        for device in unusable.iter().map(Some).chain([None]) {
            assert_eq!(resolve(device, &paths, &known), Resolved::default(), "{device:?}");
        }
    }

    #[test]
    fn the_smaller_mtu_counts() {
        let at = |peer, mtu| Path { mtu, ..path(peer, "192.0.2.1") };
        let paths =
            [at("198.51.100.1", Some(1400)), at("198.51.100.2", Some(9000)), at("198.51.100.3", None)];
        let router = [neighbor("192.0.2.1", NeighbourState::Reachable)];
        let resolved = resolve(Some(&device()), &paths, &router);
        let expected =
            [("198.51.100.1", 1400), ("198.51.100.2", 1500), ("198.51.100.3", 1500)].map(|(a, m)| (ip(a), m));
        assert_eq!(mtus(&resolved), expected);
        let giant = Device { mtu: 100_000, ..device() };
        assert_eq!(mtus(&resolve(Some(&giant), &paths, &router))[2].1, u16::MAX);
    }

    #[test]
    fn an_ipv4_peer_may_have_an_ipv6_router() {
        let resolved = resolve(
            Some(&device()),
            &[path("198.51.100.2", "fe80::1")],
            &[neighbor("fe80::1", NeighbourState::Delay)],
        );
        assert_eq!(resolved.hops.len(), 1);
    }
}
