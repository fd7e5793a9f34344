//! VXLAN as it is sent (RFC 7348 section 5; VX-2, 6, 9, 12, 15, 16, 17).

use harness::frame::{self, Station, Tunnelled, cookie};
use harness::need;
use harness::underlay::Family;
use harness::wire::{Container, NETWORK, Wire};
use std::collections::BTreeSet;

#[track_caller]
fn sent(wire: &Wire, container: &Container, inner: &[u8], payload: &[u8]) -> Tunnelled {
    container.tap.send(inner);
    wire.tunnelled(payload)
}

#[test]
fn vx_2_the_header_has_the_flag_the_vni_and_zeros() {
    need!(Root, Tun);
    let wire = Wire::bare(Family::V4);
    wire.create("far", 0x00ab_cdef, "10.77.0.0/24", &[]);
    let (container, payload) = (wire.container_on("far", 11, &[]), cookie("header"));
    let inner = frame::udp(container.station, Station::made_up(50), &payload);
    let datagram = sent(&wire, &container, &inner, &payload);
    assert_eq!(datagram.header, [0x08, 0, 0, 0, 0xab, 0xcd, 0xef, 0]);
    assert_eq!(datagram.inner, inner, "the inner frame is carried as it is");
    assert_eq!(datagram.ips.0, wire.vtep);
}

#[test]
fn vx_6_the_source_port_is_in_range_stable_for_a_flow_and_spread_over_flows() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let container = wire.container(11);
    let port_of = |source_port: u16| {
        let payload = cookie("flow");
        let ports = (source_port, frame::TEST_PORT);
        let inner = frame::udp_ports(container.station, Station::made_up(50), ports, &payload);
        sent(&wire, &container, &inner, &payload).ports.0
    };
    let first = port_of(30_000);
    for _ in 0..10 {
        assert_eq!(port_of(30_000), first, "one flow, one source port");
    }
    let spread: BTreeSet<u16> = (30_000..30_512).map(port_of).collect();
    assert!(spread.iter().all(|port| (49_152..=65_535).contains(port)), "{spread:?}");
    assert!(spread.len() >= 16, "512 flows left from {} ports", spread.len());
}

#[test]
fn vx_17_ttl_is_64_and_vx_9_nothing_may_be_fragmented() {
    need!(Root, Tun);
    for family in [Family::V4, Family::V6] {
        let wire = Wire::with(family, &[]);
        let container = wire.container(11);
        for size in [20, family.inner_mtu() - 28] {
            let payload = [cookie("envelope"), vec![0; size]].concat();
            let payload = &payload[..size];
            let inner = frame::udp(container.station, Station::made_up(50), payload);
            let datagram = sent(&wire, &container, &inner, payload);
            assert_eq!(
                (datagram.ttl, datagram.dont_fragment, datagram.fragment),
                (64, true, false),
                "{family:?}"
            );
            assert_eq!(datagram.inner.len(), inner.len());
        }
    }
}

#[test]
fn vx_9_a_frame_too_large_for_the_underlay_is_dropped_and_not_fragmented() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let container = wire.container(11);
    container.ns.ip(&["link", "set", "eth0", "mtu", "1500"]);
    let (before, payload) = (wire.daemon.stats(), [cookie("oversize"), vec![0; 1440]].concat());
    container.tap.send(&frame::udp(container.station, Station::made_up(50), &payload));
    let end = cookie("end");
    container.tap.send(&frame::udp(container.station, Station::EVERYBODY, &end));
    let frames = wire.far.all_before(|bytes| frame::carries(bytes, &end));
    assert!(frames.iter().all(|bytes| !frame::carries(bytes, &payload[..16])), "a part of it was sent");
    let moved = wire.daemon.stats().moved_since(&before);
    let counted = ["oversize", "underlay_mtu"].iter().filter_map(|reason| moved.get(*reason)).sum::<u64>();
    assert!(counted >= 1, "no drop is counted: {moved:?}");
}

#[test]
fn vx_16_the_inner_congestion_field_is_copied_outward() {
    need!(Root, Tun);
    for family in [Family::V4, Family::V6] {
        let wire = Wire::with(family, &[]);
        let container = wire.container(11);
        for ecn in 0..4 {
            let payload = cookie("ecn");
            let inner = frame::udp_ecn(container.station, Station::made_up(50), ecn, &payload);
            let datagram = sent(&wire, &container, &inner, &payload);
            assert_eq!(datagram.ecn, ecn, "{family:?}");
            assert_eq!(datagram.inner, inner, "the inner field is not touched");
        }
        let payload = cookie("not ip");
        let inner = frame::plain(container.station.mac, Station::made_up(50).mac, &payload);
        assert_eq!(sent(&wire, &container, &inner, &payload).ecn, 0);
    }
}

#[test]
fn vx_7_and_15_the_outer_checksum_is_right_or_over_ipv4_absent() {
    need!(Root, Tun);
    for family in [Family::V4, Family::V6] {
        let wire = Wire::with(family, &[]);
        let container = wire.container(11);
        for _ in 0..50 {
            let payload = cookie("checksum");
            let inner = frame::udp(container.station, Station::made_up(50), &payload);
            let datagram = sent(&wire, &container, &inner, &payload);
            let absent = datagram.checksum == 0 && family == Family::V4;
            assert!(absent || datagram.checksum_is_right, "{:#06x} over {family:?}", datagram.checksum);
        }
    }
}

#[test]
fn vx_12_a_containers_vlan_tag_is_taken_off_unless_the_network_passes_them() {
    need!(Root, Tun);
    let station = Station::made_up(50);
    for (options, passes) in [(&[][..], false), (&["-o", "vlan=pass"], true)] {
        let wire = Wire::with(Family::V4, options);
        let container = wire.container_on(NETWORK, 11, &[]);
        let payload = cookie("tagged");
        let plain = frame::udp(container.station, station, &payload);
        let tagged = frame::tagged(&plain, 5);
        let datagram = sent(&wire, &container, &tagged, &payload);
        assert_eq!(datagram.inner, if passes { tagged } else { plain });
    }
}
