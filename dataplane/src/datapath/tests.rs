//! One frame, one verdict, one count; and what it teaches.

use proptest::prelude::*;

use super::*;
use crate::counters::Totals;
use crate::offload::{Checksum, Gso, GsoKind};
use crate::tables::SegmentId;
use crate::testing::{World, plain, station, tagged, tcp4, udp4, vni, vtep, vxlan};
use crate::wire::{Vni, ipv4};

const NOW: Moment = Moment::from_secs(5);

fn datapath() -> Datapath {
    Datapath::new(0, 7)
}

/// Two networks with the same stations and the same VTEP, and a third that passes tags and trusts its endpoints.
pub(super) fn world() -> World {
    let world = World::default().segment(1, &[2, 3]).port(11, 1).port(12, 2);
    let world = world.segment(2, &[2]).port(21, 1).port(22, 2);
    world.segment(3, &[2]).passing_tags().with(|o| o.anti_spoof = false).port(31, 1).port(32, 2)
}

/// What is known and counted: only what a test expects may change.
#[derive(Debug, PartialEq)]
struct State {
    totals: Totals,
    known: Vec<String>,
}

fn state(tables: &Tables) -> State {
    let mut known = Vec::new();
    for segment in tables.segments() {
        known.extend(
            segment.fdb_rows(NOW).iter().map(|r| format!("{:?} {} {:?}", segment.id, r.mac, r.location)),
        );
    }
    known.sort();
    State { totals: tables.totals(), known }
}

fn from_port(tables: &Tables, port: u32, frame: &[u8]) -> Verdict {
    from_port_owing(tables, port, frame, Offload::NONE)
}

fn from_port_owing(tables: &Tables, port: u32, frame: &[u8], offload: Offload) -> Verdict {
    let mut bytes = frame.to_vec();
    let port = tables.port(PortId(port)).unwrap();
    datapath().from_port(tables, port, Frame { bytes: &mut bytes, offload }, NOW).verdict
}

fn from_tunnel(tables: &Tables, sender: u8, datagram: &[u8]) -> Verdict {
    datapath().from_tunnel(tables, vtep(sender), Ecn::NotEct, &mut datagram.to_vec(), NOW).verdict
}

/// A datagram for station 1 of segment 1 from a stranger.
fn stranger(vni: Vni) -> Vec<u8> {
    vxlan(vni, &udp4(station(9), station(1), (1, 2), b"hello"))
}

/// Judges by `judge`, expects `reason`, one count under it, and nothing else changed.
fn refuses(tables: &Tables, reason: DropReason, judge: impl FnOnce() -> Verdict) {
    let mut before = state(tables);
    assert_eq!(judge(), Verdict::Drop(reason));
    before.totals.drops[reason.index()] += 1;
    assert_eq!(state(tables), before, "one {reason}, and nothing else");
}

#[test]
fn a_bad_datagram_is_dropped_by_name_and_teaches_nothing() {
    let tables = world().tables(1);
    let good = stranger(vni(1));
    let edited = |at: usize, value: u8| {
        let mut datagram = good.clone();
        datagram[at] = value;
        datagram
    };
    for (what, sender, datagram, reason) in [
        ("I flag clear", 2, edited(0, 0), DropReason::NoVniFlag),
        ("I flag clear, all others set", 2, edited(0, 0xf7), DropReason::NoVniFlag),
        ("unknown VNI", 2, edited(4, 99), DropReason::UnknownVni),
        ("unknown VTEP", 9, good.clone(), DropReason::UnknownVtep),
        ("a VTEP of another VNI", 3, stranger(vni(2)), DropReason::UnknownVtep),
        ("group source", 2, edited(14, 0x01), DropReason::BadSourceMac),
        (
            "zero source",
            2,
            vxlan(vni(1), &plain(station(1).mac, MacAddr::ZERO, b"")),
            DropReason::BadSourceMac,
        ),
        ("a tag", 2, vxlan(vni(1), &tagged(&good[8..], 5)), DropReason::VlanTagged),
        ("an endpoint's MAC", 2, edited(19, 1), DropReason::SourceConflict),
        (
            "reserved group",
            2,
            vxlan(vni(1), &plain(MacAddr([1, 0x80, 0xc2, 0, 0, 0xe]), station(9).mac, b"")),
            DropReason::ReservedGroup,
        ),
        (
            "too large",
            2,
            vxlan(vni(1), &plain(station(1).mac, station(9).mac, &[0; 1_451])),
            DropReason::Oversize,
        ),
    ] {
        println!("{what}");
        refuses(&tables, reason, || from_tunnel(&tables, sender, &datagram));
    }
    for len in 0..8 + 14 {
        refuses(&tables, DropReason::ShortDatagram, || from_tunnel(&tables, 2, &good[..len]));
    }
}

#[test]
fn outer_congestion_on_an_inner_packet_that_cannot_say_so_is_a_drop() {
    let tables = world().tables(1);
    let mut datagram = stranger(vni(1));
    refuses(&tables, DropReason::EcnNotCapable, || {
        datapath().from_tunnel(&tables, vtep(2), Ecn::Ce, &mut datagram, NOW).verdict
    });
}

#[test]
fn reserved_bits_and_any_vni_are_accepted() {
    let tables = world().tables(1);
    for bit in (0..64).filter(|bit| *bit != 4 && !(32..56).contains(bit)) {
        let mut datagram = stranger(vni(1));
        datagram[bit / 8] ^= 0x80 >> (bit % 8);
        assert_eq!(from_tunnel(&tables, 2, &datagram), Verdict::Deliver(PortId(11)), "bit {bit}");
    }
    for number in [0, 1, (1 << 24) - 1] {
        let mut world = world();
        let vni = Vni::new(number).unwrap();
        world.0.segments[0].vni = Some(vni);
        assert_eq!(from_tunnel(&world.tables(1), 2, &stranger(vni)), Verdict::Deliver(PortId(11)));
    }
}

#[test]
fn a_bad_frame_from_a_port_is_dropped_by_name_and_teaches_nothing() {
    let tables = world().tables(1);
    let (me, other) = (station(1), station(2));
    let reserved = |last| MacAddr([1, 0x80, 0xc2, 0, 0, last]);
    let thrice = tagged(&tagged(&tagged(&plain(other.mac, me.mac, b"x"), 1), 2), 3);
    for (what, port, frame, reason) in [
        ("short", 11, vec![0; 13], DropReason::Runt),
        ("spoofed", 11, plain(other.mac, station(9).mac, b"x"), DropReason::SpoofedMac),
        ("three tags", 11, thrice, DropReason::VlanTagged),
        ("reserved", 11, plain(reserved(0), me.mac, b"x"), DropReason::ReservedGroup),
        ("reserved, trusted", 31, plain(reserved(15), station(9).mac, b"x"), DropReason::ReservedGroup),
        ("to itself", 11, plain(me.mac, me.mac, b"x"), DropReason::SamePort),
        ("group source, trusted", 31, plain(other.mac, MacAddr::BROADCAST, b"x"), DropReason::BadSourceMac),
        ("zero source, trusted", 31, plain(other.mac, MacAddr::ZERO, b"x"), DropReason::BadSourceMac),
        ("another endpoint's MAC, trusted", 31, plain(me.mac, other.mac, b"x"), DropReason::SourceConflict),
        ("too large", 11, plain(other.mac, me.mac, &[0; 1_451]), DropReason::Oversize),
        ("too large, tagged", 31, tagged(&plain(other.mac, me.mac, &[0; 1_451]), 5), DropReason::Oversize),
    ] {
        println!("{what}");
        refuses(&tables, reason, || from_port(&tables, port, &frame));
    }
    assert_eq!(from_port(&tables, 11, &plain(other.mac, me.mac, &[0; 1_450])), Verdict::Deliver(PortId(12)));
    let tagged = tagged(&plain(other.mac, me.mac, &[0; 1_450]), 5);
    assert_eq!(from_port(&tables, 31, &tagged), Verdict::Deliver(PortId(32)));
}

#[test]
fn a_super_frame_is_as_large_as_its_segments() {
    let tables = world().tables(1);
    let frame = tcp4(station(1), station(2), 0, &[0; 20_000]);
    let owing = |size| Offload {
        checksum: Checksum::Partial { start: 34, offset: 16 },
        gso: Some(Gso { kind: GsoKind::Tcp4, size, ecn: false, header_len: 54 }),
    };
    assert_eq!(from_port_owing(&tables, 11, &frame, owing(1_410)), Verdict::Deliver(PortId(12)));
    refuses(&tables, DropReason::Oversize, || from_port_owing(&tables, 11, &frame, owing(1_411)));
    refuses(&tables, DropReason::Oversize, || from_port(&tables, 11, &frame));
    let small = tcp4(station(1), station(2), 0, &[0; 1_410]);
    let verdict = from_port_owing(&tables, 11, &small, owing(60_000));
    assert_eq!(verdict, Verdict::Deliver(PortId(12)), "a super-frame in name only");
}

#[test]
fn an_endpoints_tag_is_stripped_and_the_debt_moves_with_it() {
    let tables = world().tables(1);
    let plain = tcp4(station(1), station(2), 0, &[7; 100]);
    let mut bytes = tagged(&plain, 5);
    let offload = Offload { checksum: Checksum::Partial { start: 38, offset: 16 }, gso: None };
    let port = tables.port(PortId(11)).unwrap();
    let judged = datapath().from_port(&tables, port, Frame { bytes: &mut bytes, offload }, NOW);
    assert_eq!(judged.verdict, Verdict::Deliver(PortId(12)));
    assert_eq!(judged.frame.bytes, plain);
    assert_eq!(judged.frame.offload.checksum, Checksum::Partial { start: 34, offset: 16 });
}

#[test]
fn a_remote_station_is_learned_and_answered_by_unicast() {
    let tables = world().tables(1);
    let to_stranger = udp4(station(1), station(9), (2, 1), b"x");
    assert_eq!(from_port(&tables, 11, &to_stranger), Verdict::Flood);
    assert_eq!(from_tunnel(&tables, 2, &stranger(vni(1))), Verdict::Deliver(PortId(11)));
    assert_eq!(from_port(&tables, 11, &to_stranger), Verdict::Transmit(vtep(2)));
    assert_eq!(from_port(&tables, 21, &to_stranger), Verdict::Flood, "the other network does not know it");
    let relayed = vxlan(vni(1), &udp4(station(8), station(9), (1, 2), b"x"));
    assert_eq!(from_tunnel(&tables, 3, &relayed), Verdict::Drop(DropReason::SplitHorizon));
    refuses(&tables, DropReason::SplitHorizon, || from_tunnel(&tables, 3, &relayed));
}

#[test]
fn a_flood_goes_to_every_member_but_never_back_and_never_on_through_a_tunnel() {
    let tables = world().tables(1);
    let (port, mut frame) =
        (tables.port(PortId(11)).unwrap(), plain(MacAddr::BROADCAST, station(1).mac, b"x"));
    let judged =
        datapath().from_port(&tables, port, Frame { bytes: &mut frame, offload: Offload::NONE }, NOW);
    assert_eq!(judged.flood_ports().collect::<Vec<_>>(), [PortId(12)]);
    assert_eq!(judged.flood_vteps().collect::<Vec<_>>(), [vtep(2), vtep(3)]);
    let mut datagram = vxlan(vni(1), &plain(MacAddr::BROADCAST, station(9).mac, b"x"));
    let judged = datapath().from_tunnel(&tables, vtep(2), Ecn::NotEct, &mut datagram, NOW);
    assert_eq!(judged.verdict, Verdict::Flood);
    assert_eq!(judged.flood_ports().collect::<Vec<_>>(), [PortId(11), PortId(12)]);
    assert_eq!(judged.flood_vteps().count(), 0);
}

#[test]
fn a_storm_ends_at_the_limit_and_unicast_does_not_notice() {
    let tables = world().tables(1);
    let (broadcast, unicast) =
        (plain(MacAddr::BROADCAST, station(1).mac, b"x"), plain(station(2).mac, station(1).mac, b"x"));
    let verdicts: Vec<_> = (0..3_000).map(|_| from_port(&tables, 11, &broadcast)).collect();
    let flooded = verdicts.iter().filter(|v| **v == Verdict::Flood).count();
    assert_eq!(flooded, 1_001, "a tenth of a second at 10,000 a second, and one");
    assert!(verdicts[flooded..].iter().all(|v| *v == Verdict::Drop(DropReason::Storm)));
    assert_eq!(from_port(&tables, 11, &unicast), Verdict::Deliver(PortId(12)));
    let other = plain(MacAddr::BROADCAST, station(2).mac, b"x");
    assert_eq!(from_port(&tables, 12, &other), Verdict::Flood, "every port has an allowance of its own");
}

#[test]
fn counts_land_on_the_network_they_belong_to() {
    let tables = world().tables(1);
    let _ = from_port(&tables, 21, &plain(station(2).mac, station(1).mac, &[0; 46]));
    let _ = from_tunnel(&tables, 9, &stranger(vni(3)));
    let _ = from_tunnel(&tables, 2, &[]);
    let of = |id| tables.segment(SegmentId(id)).unwrap().totals();
    assert_eq!(of(1), Totals::default());
    assert_eq!((of(2).packets, of(2).bytes), (1, 60));
    assert_eq!(of(3).drops(DropReason::UnknownVtep), 1);
    assert_eq!(tables.nowhere.totals().drops(DropReason::ShortDatagram), 1);
}

/// Bytes that are random, or a good frame with a few of its bytes changed: the second get further.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let good = prop_oneof![
        Just(udp4(station(1), station(2), (1, 2), b"payload")),
        Just(tcp4(station(1), station(2), 5, &[1; 64])),
        Just(plain(MacAddr::BROADCAST, station(1).mac, &[0; 46])),
        Just(tagged(&udp4(station(2), station(1), (67, 68), b"x"), 5)),
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let changed = (good, edits, any::<prop::sample::Index>()).prop_map(|(mut frame, edits, end)| {
        for (at, value) in edits {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        frame.truncate(frame.len() - end.index(frame.len()) / 4);
        frame
    });
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), changed]
}

fn judged(tables: &Tables) -> u64 {
    let totals = tables.totals();
    totals.packets + totals.drops.iter().sum::<u64>()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn every_frame_from_a_port_is_counted_once(frames in prop::collection::vec((hostile(), 0..3usize), 1..20)) {
        let tables = world().tables(1);
        for (offered, (frame, port)) in (1..).zip(&frames) {
            let _ = from_port(&tables, [11, 21, 31][*port], frame);
            prop_assert_eq!(judged(&tables), offered);
        }
    }

    #[test]
    fn every_datagram_is_counted_once(
        datagrams in prop::collection::vec((hostile(), 0..4u32, 1..5u8, 0..4u8), 1..20),
    ) {
        let tables = world().tables(1);
        for (offered, (frame, vni, sender, ecn)) in (1..).zip(&datagrams) {
            let mut datagram = match vni {
                0 => frame.clone(),
                &id => vxlan(crate::testing::vni(id), frame),
            };
            let _ = datapath().from_tunnel(&tables, vtep(*sender), Ecn::from_bits(*ecn), &mut datagram, NOW);
            prop_assert_eq!(judged(&tables), offered);
        }
    }

    /// RFC 6040 on whole packets: the header checksum stays right whatever was combined.
    #[test]
    fn combining_ecn_keeps_the_header_checksum(inner in 0..4u8, outer in 0..4u8) {
        let tables = world().tables(1);
        let mut frame = udp4(station(9), station(1), (1, 2), b"x");
        ipv4::set_ecn(&mut frame[14..], Ecn::from_bits(inner));
        let mut datagram = vxlan(vni(1), &frame);
        let judged = datapath().from_tunnel(&tables, vtep(2), Ecn::from_bits(outer), &mut datagram, NOW);
        if judged.verdict == Verdict::Deliver(PortId(11)) {
            let (header, _) = etherparse::Ipv4Header::from_slice(&judged.frame.bytes[14..]).unwrap();
            prop_assert_eq!(header.header_checksum, header.calc_header_checksum());
        } else {
            prop_assert_eq!((inner, outer), (0, 3));
        }
    }
}
