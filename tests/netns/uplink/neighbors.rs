//! Neighbours that change, go, or never say a word.

use harness::kernel_vtep::KernelVtep;
use harness::need;
use harness::netns::{Namespace, format_mac};
use harness::traffic;
use harness::underlay::{Family, Host, Offloads, UPLINK, Underlay};
use harness::wait;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;

use super::{Pair, Site, carried};

#[test]
fn a_host_with_another_mac_is_found_again() {
    need!(Root, Tun);
    for family in [Family::V4, Family::V6] {
        let pair = Pair::start(family, Offloads::On, None);
        // Without the first, a kernel disbelieves a second MAC within a second of the first one; without the second, an
        // IPv6 host keeps its new MAC to itself until it is asked.
        pair.host(0).sysctl(&format!("ipv4/neigh/{UPLINK}/locktime"), "0");
        pair.host(1).sysctl(&format!("ipv6/conf/{UPLINK}/ndisc_notify"), "1");
        pair.until_whole();
        pair.host(1).ip(&["link", "set", UPLINK, "address", "02:77:00:00:00:99"]);
        pair.until_whole();
    }
}

#[test]
fn a_neighbor_that_is_gone_is_left_to_the_sockets() {
    need!(Root, Tun);
    let pair = Pair::start(Family::V4, Offloads::On, None);
    pair.until_whole();
    // A neighbour that cannot be used, set by hand: no traffic can bring it back.
    let peer = pair.underlay.hosts[1].address.to_string();
    pair.host(0).ip(&["neighbour", "replace", &peer, "dev", UPLINK, "nud", "failed"]);
    pair.until_whole();
}

#[test]
fn a_silent_peer_with_another_mac_is_found_again() {
    need!(Root, Tun);
    for family in [Family::V4, Family::V6] {
        let underlay = Underlay::new(2, family, Offloads::On);
        let [host, peer] = underlay.hosts.as_slice() else { panic!("two hosts were made") };
        let site = Site::start(&host.ns, 11, host.address, peer.address, None);
        let far = IpAddr::from([10, 77, 0, 12]);
        let container = silent_container(peer, family, host.address);
        let reaches = || traffic::can_ping(&site.container, far);
        wait::until_true("the peer answers through the uplink", || {
            let before = carried(&host.ns);
            reaches() && carried(&host.ns) > before
        });
        know_each_other(&site, &container, far);
        // The kernel has no doubt about the peer for at least 15 s from here on.
        let (address, mac) = (peer.address.to_string(), format_mac(peer.ns.mac(UPLINK)));
        let entry = ["replace", &address, "lladdr", &mac, "dev", UPLINK, "nud", "reachable"];
        host.ns.ip(&[&["neighbour"], entry.as_slice()].concat());
        peer.ns.ip(&["link", "set", UPLINK, "address", "02:77:00:00:00:99"]);
        let found = wait::within(Duration::from_secs(14), || reaches().then_some(()));
        assert!(found.is_some(), "{family:?}: {}", host.ns.ip(&["neighbour", "show"]));
    }
}

/// A container behind a kernel VTEP; neither says anything that it is not asked for.
fn silent_container(peer: &Host, family: Family, other: IpAddr) -> Namespace {
    let container = Namespace::new("far");
    container.sysctl("ipv6/conf/all/disable_ipv6", "1");
    let vtep = KernelVtep::new(peer, 7001, family.inner_mtu(), &[other]);
    vtep.attach("v0", &container, &["10.77.0.12/24"]);
    for link in ["br0", "vx0", "v0"] {
        peer.ns.sysctl(&format!("ipv6/conf/{link}/disable_ipv6"), "1");
    }
    container
}

/// Neither container asks for the other's MAC any more.
fn know_each_other(site: &Site, container: &Namespace, far: IpAddr) {
    let [near_mac, far_mac] = [&site.container, container].map(|ns| format_mac(ns.mac("eth0")));
    for (ns, ip, mac) in [(&site.container, far, far_mac), (container, site.ip, near_mac)] {
        let entry = ["replace", &ip.to_string(), "lladdr", &mac, "dev", "eth0", "nud", "permanent"];
        ns.ip(&[&["neighbour"], entry.as_slice()].concat());
    }
}

#[test]
fn the_status_tells_how_each_peer_is_reached() {
    need!(Root, Tun);
    let pair = Pair::start(Family::V4, Offloads::On, None);
    pair.until_whole();
    let peer = &pair.underlay.hosts[1];
    let row = || pair.sites[0].status()["next_hops"][0].clone();
    let mac = format_mac(peer.ns.mac(UPLINK));
    let address = peer.address.to_string();
    let known = json!({
        "peer": address, "mode": "tunnel-gso", "reason": null,
        "via": address, "device": UPLINK, "mac": mac, "mtu": 1500,
    });
    assert_eq!(row(), known);
    pair.host(0).ip(&["neighbour", "replace", &address, "dev", UPLINK, "nud", "failed"]);
    // The container is silent, so nobody looks for the peer before the daemon's next reminder.
    let lost = wait::until("the peer is left to the sockets", || Some(row()).filter(|row| *row != known));
    assert_eq!((&lost["mode"], &lost["mac"]), (&"udp-gso".into(), &Value::Null), "{lost}");
    assert_eq!(lost["reason"], format!("{address} has not told its MAC"));
    let text = pair.sites[0].daemon.weft(&["status"]).must();
    assert!(text.lines().any(|line| line.starts_with(&address)), "{text}");
}
