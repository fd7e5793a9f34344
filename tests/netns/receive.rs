//! VXLAN as it may be received (RFC 7348 section 5; VX-1, 3, 4, 7, 8, 12, 14, 15, 16, 19).

use harness::frame::{self, BROADCAST, OuterChecksum, Station, cookie};
use harness::need;
use harness::underlay::Family;
use harness::wire::{Container, NETWORK, VNI, Wire};

/// Sends the whole UDP payload as the first peer.
fn send(wire: &Wire, datagram: &[u8]) {
    wire.far.send(&wire.outer(wire.peer).around(datagram));
}

#[track_caller]
fn arrives(container: &Container, payload: &[u8]) -> Vec<u8> {
    container.tap.wait_for("the inner frame", |bytes| frame::carries(bytes, payload).then(|| bytes.to_vec()))
}

/// Nothing with this payload has been delivered, and the station that sent it is not known.
#[track_caller]
fn left_no_trace(wire: &Wire, container: &Container, station: Station, payload: &[u8]) {
    let heard = wire.delivered_to(VNI, container);
    assert!(heard.iter().all(|bytes| !frame::carries(bytes, payload)), "delivered");
    assert_eq!(wire.fdb().iter().find(|row| row.mac == station.mac), None, "learned");
}

#[test]
fn vx_3_every_reserved_bit_is_ignored() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let container = wire.container(11);
    // Bit 3 of the flags is the I flag, bits 32 to 55 are the VNI; the other 39 are reserved.
    let reserved: Vec<usize> = (0..64).filter(|bit| *bit != 4 && !(32..56).contains(bit)).collect();
    assert_eq!(reserved.len(), 39);
    let before = wire.daemon.stats();
    for bits in reserved.iter().map(|bit| vec![*bit]).chain([reserved.clone()]) {
        let payload = cookie("reserved");
        let mut datagram = frame::vxlan(VNI, &frame::udp(Station::made_up(50), container.station, &payload));
        for bit in bits {
            datagram[bit / 8] |= 0x80 >> (bit % 8);
        }
        send(&wire, &datagram);
        arrives(&container, &payload);
    }
    assert_eq!(wire.daemon.stats().moved_since(&before), Default::default());
}

#[test]
fn vx_1_without_the_vni_flag_a_datagram_is_dropped_and_counted() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let (container, station) = (wire.container(11), Station::made_up(50));
    let (before, payload) = (wire.daemon.stats(), cookie("no flag"));
    let mut datagram = frame::vxlan(VNI, &frame::udp(station, container.station, &payload));
    for flags in [0x00, 0xf7] {
        datagram[0] = flags;
        send(&wire, &datagram);
    }
    wire.await_drops(&before, "no_vni_flag", 2);
    left_no_trace(&wire, &container, station, &payload);
}

#[test]
fn vx_4_the_smallest_and_the_largest_vni_are_as_good_as_any() {
    need!(Root, Tun);
    let wire = Wire::bare(Family::V4);
    for (name, vni) in [("zero", 0), ("one", 1), ("last", (1 << 24) - 1)] {
        wire.create(name, vni, "10.77.0.0/24", &[]);
        let container = wire.container_on(name, 11, &[]);
        let payload = cookie(name);
        wire.from_peer(vni, &frame::udp(Station::made_up(50), container.station, &payload));
        arrives(&container, &payload);
        let back = cookie("back");
        container.tap.send(&frame::udp(container.station, Station::made_up(50), &back));
        assert_eq!(wire.tunnelled(&back).vni(), vni);
    }
}

#[test]
fn an_unknown_vni_is_dropped_and_counted() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let (container, station) = (wire.container(11), Station::made_up(50));
    let (before, payload) = (wire.daemon.stats(), cookie("no such network"));
    for vni in [0, VNI ^ 1, VNI | 0x0080_0000, (1 << 24) - 1] {
        wire.from_peer(vni, &frame::udp(station, container.station, &payload));
    }
    wire.await_drops(&before, "unknown_vni", 4);
    left_no_trace(&wire, &container, station, &payload);
}

#[test]
fn vx_14_an_unknown_vtep_is_neither_heard_nor_remembered() {
    need!(Root, Tun);
    for family in [Family::V4, Family::V6] {
        let wire = Wire::with(family, &[]);
        let (container, station) = (wire.container(11), Station::made_up(50));
        wire.from_peer(VNI, &frame::udp(station, container.station, &cookie("hello")));
        wire.delivered_to(VNI, &container);
        let (before, payload) = (wire.daemon.stats(), cookie("hijack"));
        let liar = Station::made_up(66);
        wire.from_vtep(wire.stranger, VNI, &frame::udp(station, container.station, &payload));
        wire.from_vtep(wire.stranger, VNI, &frame::udp(liar, Station::EVERYBODY, &payload));
        wire.await_drops(&before, "unknown_vtep", 2);
        left_no_trace(&wire, &container, liar, &payload);
        let still = wire.fdb_entry(VNI, station.mac).and_then(|row| row.vtep);
        assert_eq!(still, Some(wire.peer), "one datagram took a live station away");
    }
}

#[test]
fn vx_19_datagrams_too_short_for_their_headers_are_dropped() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let container = wire.container(11);
    let before = wire.daemon.stats();
    let datagram = frame::vxlan(VNI, &frame::udp(Station::made_up(50), container.station, b"payload"));
    for length in 0..22 {
        send(&wire, &datagram[..length]);
    }
    wire.await_drops(&before, "short_datagram", 22);
    assert_eq!(wire.fdb_entry(VNI, Station::made_up(50).mac), None);
    send(&wire, &datagram[..22]);
    wire.delivered_to(VNI, &container);
    assert_eq!(
        wire.daemon.stats().moved_since(&before).get("short_datagram"),
        Some(&22),
        "22 bytes are enough"
    );
}

#[test]
fn vx_19_group_and_zero_source_addresses_are_dropped_and_not_learned() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let container = wire.container(11);
    let (before, payload) = (wire.daemon.stats(), cookie("bad source"));
    for mac in [[0x01, 0, 0x5e, 0, 0, 1], BROADCAST, [0; 6]] {
        let station = Station { mac, ip: Station::made_up(50).ip };
        wire.from_peer(VNI, &frame::udp(station, container.station, &payload));
        left_no_trace(&wire, &container, station, &payload);
    }
    wire.await_drops(&before, "bad_source_mac", 3);
}

#[test]
fn vx_12_an_inner_vlan_tag_is_dropped_unless_the_network_passes_them() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let (container, station) = (wire.container(11), Station::made_up(50));
    let (before, payload) = (wire.daemon.stats(), cookie("tagged"));
    wire.from_peer(VNI, &frame::tagged(&frame::udp(station, container.station, &payload), 5));
    wire.await_drops(&before, "vlan_tagged", 1);
    left_no_trace(&wire, &container, station, &payload);

    let wire = Wire::with(Family::V4, &["-o", "vlan=pass"]);
    let container = wire.container(11);
    let tagged = frame::tagged(&frame::udp(station, container.station, &payload), 5);
    wire.from_peer(VNI, &tagged);
    // The kernel hands the tag to a packet socket apart from the frame: what counts is that the frame comes.
    arrives(&container, &payload);
}

#[test]
fn vx_7_and_8_the_outer_checksum_may_be_zero_or_right_but_not_wrong() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let (container, station) = (wire.container(11), Station::made_up(50));
    let mut outer = wire.outer(wire.peer);
    for checksum in [OuterChecksum::Good, OuterChecksum::Zero] {
        outer.checksum = checksum;
        let payload = cookie("checksum");
        let inner = frame::udp(station, container.station, &payload);
        wire.far.send(&outer.around(&frame::vxlan(VNI, &inner)));
        arrives(&container, &payload);
    }
    outer.checksum = OuterChecksum::Bad;
    let (spoilt, liar) = (cookie("spoilt"), Station::made_up(66));
    wire.far.send(&outer.around(&frame::vxlan(VNI, &frame::udp(liar, container.station, &spoilt))));
    left_no_trace(&wire, &container, liar, &spoilt);
}

#[test]
fn vx_15_over_ipv6_a_zero_checksum_is_not_accepted() {
    need!(Root, Tun);
    let wire = Wire::with(Family::V6, &[]);
    let (container, station) = (wire.container(11), Station::made_up(50));
    let (payload, mut outer) = (cookie("no checksum"), wire.outer(wire.peer));
    outer.checksum = OuterChecksum::Zero;
    wire.far.send(&outer.around(&frame::vxlan(VNI, &frame::udp(station, container.station, &payload))));
    left_no_trace(&wire, &container, station, &payload);
    outer.checksum = OuterChecksum::Good;
    wire.far.send(&outer.around(&frame::vxlan(VNI, &frame::udp(station, container.station, &payload))));
    arrives(&container, &payload);
}

#[test]
fn vx_16_congestion_marks_combine_as_rfc_6040_says() {
    need!(Root, Tun);
    // Figure 4 of RFC 6040 with Not-ECT 0, ECT(1) 1, ECT(0) 2 and CE 3: a row for each inner field, a column for each
    // outer one, in it what is forwarded; `None` is a drop.
    const TABLE: [[Option<u8>; 4]; 4] = [
        [Some(0), Some(0), Some(0), None],
        [Some(1), Some(1), Some(1), Some(3)],
        [Some(2), Some(1), Some(2), Some(3)],
        [Some(3), Some(3), Some(3), Some(3)],
    ];
    for family in [Family::V4, Family::V6] {
        let wire = Wire::with(family, &[]);
        let (container, station) = (wire.container(11), Station::made_up(50));
        let before = wire.daemon.stats();
        for (inner, row) in (0..).zip(TABLE) {
            for (outer_field, expected) in (0..).zip(row) {
                let (payload, mut outer) = (cookie("ecn"), wire.outer(wire.peer));
                outer.ecn = outer_field;
                let sent = frame::udp_ecn(station, container.station, inner, &payload);
                wire.far.send(&outer.around(&frame::vxlan(VNI, &sent)));
                let heard = wire.delivered_to(VNI, &container);
                let found = heard.iter().find(|bytes| frame::carries(bytes, &payload));
                let wanted = expected.map(|ecn| frame::udp_ecn(station, container.station, ecn, &payload));
                assert_eq!(found, wanted.as_ref(), "inner {inner}, outer {outer_field}, {family:?}");
            }
        }
        wire.await_drops(&before, "ecn_not_capable", 1);
    }
}

#[test]
fn the_inner_frame_is_delivered_unchanged_over_both_families() {
    need!(Root, Tun);
    for family in [Family::V4, Family::V6] {
        let wire = Wire::with(family, &[]);
        let container = wire.container(11);
        for payload_bytes in [1, 18, 19, 500, family.inner_mtu() - 28] {
            let payload = [cookie("unchanged"), vec![0xa5; payload_bytes]].concat();
            let payload = &payload[..payload_bytes.max(16)];
            let inner = frame::udp(Station::made_up(50), container.station, payload);
            wire.from_peer(VNI, &inner);
            assert_eq!(arrives(&container, payload), inner, "{payload_bytes} bytes over {family:?}");
        }
    }
}

#[test]
fn a_frame_for_a_vlan_passing_network_keeps_its_network() {
    need!(Root, Tun);
    let wire = Wire::with(Family::V4, &["-o", "vlan=pass"]);
    wire.create("red", 7002, "10.77.0.0/24", &["-o", "vlan=pass"]);
    let [blue, red] = [NETWORK, "red"].map(|network| wire.container_on(network, 11, &[]));
    let payload = cookie("tagged");
    let tagged = frame::tagged(&frame::udp(Station::made_up(50), blue.station, &payload), 7002);
    wire.from_peer(VNI, &tagged);
    arrives(&blue, &payload);
    let heard = wire.delivered_to(7002, &red);
    assert!(heard.iter().all(|bytes| !frame::carries(bytes, &payload)));
}
