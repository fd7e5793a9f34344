//! Packets that are too long for the next link.

use super::world::*;
use crate::datapath::To;
use crate::gateway::route::LinkId;
use crate::gateway::testing::reassemble;
use crate::offload::{Offload, segments};
use crate::tables::PortId;
use crate::testing::station;
use crate::verdict::{DropReason, Verdict};

#[test]
fn who_forbids_fragments_is_told_the_mtu() {
    let mut bench = Bench::new();
    let frame = udp(station(1), ip(NARROW), (5_000, 53), &[7; 1_200]);
    let message = bench.send(11, &frame).refused(DropReason::FragNeeded, 11, 3, 4);
    assert_eq!(message[6..8], 1_000u16.to_be_bytes());
    assert_eq!(message[8..], frame[14..14 + message.len() - 8]);
    let (frame, offload) = tcp_owing(station(1), "198.18.0.1".parse().unwrap(), &[7; 20_000], 1_400);
    let seen = bench.send_owing(11, &frame, offload);
    assert_eq!(seen.refused(DropReason::FragNeeded, 11, 3, 4)[6..8], 1_000u16.to_be_bytes());
    assert_eq!(bench.tables.house.outside().nat.counts().sessions, 0);
    bench.adds_up(0);
}

#[test]
fn what_may_be_cut_is_cut_super_frames_too() {
    let mut bench = Bench::new();
    let frame = udp(station(1), ip(NARROW), (5_000, 53), &[7; 1_400]);
    let frame = changed(frame, |header| header.dont_fragment = false);
    let seen = bench.send(11, &frame);
    assert_eq!((seen.verdict, seen.made.len()), (Verdict::Consumed, 2));
    assert!(seen.made.iter().all(|made| made.to == To::Link(LinkId(2)) && made.bytes.len() <= 1_014));
    let parts: Vec<_> = seen.made.iter().map(|made| made.bytes[14..].to_vec()).collect();
    let (header, payload) = reassemble(&parts);
    assert_eq!((header.time_to_live, payload.len()), (63, 1_408));
    let whole = [&frame[..14], &header.to_bytes(), &payload].concat();
    assert_eq!(read(&whole, false).0.0, ip("203.0.113.129"));

    let (frame, offload) = tcp_owing(station(1), "198.18.0.1".parse().unwrap(), &[7; 7_000], 1_400);
    let seen = bench.send_owing(11, &changed(frame, |header| header.dont_fragment = false), offload);
    assert_eq!((seen.verdict, seen.made.len()), (Verdict::Consumed, 10), "five segments, each in two");
    assert!(seen.made.iter().all(|made| made.offload == Offload::NONE));
    assert_eq!(bench.totals().packets, 2, "what is made is not counted");
    bench.adds_up(0);
}

#[test]
fn an_ipv6_packet_is_never_cut() {
    let mut bench = Bench::new();
    let frame = reply((ip(PEER6), 2), (routed().v6.into(), 1), &[7; 1_420]);
    let seen = bench.arrive(1, &frame, Offload::NONE);
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::FragNeeded));
    let [made] = &seen.made[..] else { panic!("{:?}", seen.made) };
    assert_eq!((made.to, &made.bytes[..12]), (To::Link(LinkId(1)), &[ROUTER_MAC.0, LINK_MAC.0].concat()[..]));
    let message = error(&made.bytes);
    assert_eq!((message[0], &message[4..8]), (2, &1_400u32.to_be_bytes()[..]));
    assert_eq!(message[8..], frame[14..14 + message.len() - 8]);
    bench.adds_up(0);
}

#[test]
fn who_sends_too_much_from_outside_is_told_about_what_it_sent() {
    let mut bench = Bench::new();
    let source = read(&bench.send(11, &udp(station(1), ip(PEER), (5_000, 53), b"x")).bytes, false).0;
    let frame = reply((ip(PEER), 53), source, &[7; 1_440]);
    let seen = bench.arrive(1, &frame, Offload::NONE);
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::FragNeeded));
    let message = error(&seen.made[0].bytes);
    assert_eq!((message[1], &message[6..8]), (4, &1_450u16.to_be_bytes()[..]));
    assert_eq!(message[8..], frame[14..14 + message.len() - 8], "as it was before the NAT");
    let seen = bench.arrive(1, &changed(frame, |header| header.time_to_live = 1), Offload::NONE);
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::TtlExceeded));
    assert_eq!(error(&seen.made[0].bytes)[0], 11);
    bench.adds_up(0);
}

#[test]
fn a_super_frame_from_outside_is_told_of_by_its_first_segment() {
    let mut bench = Bench::new();
    let peer = crate::testing::Station { v4: "8.8.8.8".parse().unwrap(), ..station(1) };
    let (frame, offload) = tcp_owing(peer, routed().v4, &[7; 30_000], 1_440);
    let seen = bench.arrive(1, &frame, offload);
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::FragNeeded));
    let message = error(&seen.made[0].bytes);
    assert_eq!(message[6..8], 1_400u16.to_be_bytes());
    let mut first = vec![0; 2_000];
    let len = segments(&frame, offload).unwrap().write(0, &mut first);
    assert_eq!(message[8..], first[14..14 + message.len() - 8]);
    assert!(len > message.len());
    let (fits, offload) = tcp_owing(peer, routed().v4, &[7; 30_000], 1_300);
    assert_eq!(bench.arrive(1, &fits, offload).verdict, Verdict::Deliver(PortId(21)));
    bench.adds_up(0);
}

#[test]
fn a_hairpin_to_a_narrower_network_is_refused_in_time() {
    let mut bench = Bench::new();
    let frame = udp(station(1), ip(OUTSIDE), (5_000, SERVICE + 1), &[7; 1_300]);
    let message = bench.send(11, &frame).refused(DropReason::FragNeeded, 11, 3, 4);
    assert_eq!(message[6..8], 1_280u16.to_be_bytes());
    assert_eq!(message[8..], frame[14..14 + message.len() - 8], "as it was before the NAT");
    let seen = bench.send(11, &changed(frame.clone(), |header| header.dont_fragment = false));
    assert_eq!((seen.verdict, seen.made.len()), (Verdict::Consumed, 2));
    assert!(seen.made.iter().all(|made| made.to == To::Port(PortId(41))));
    let frame = changed(udp(station(1), ip(OUTSIDE), (5_000, SERVICE + 1), b"x"), |h| h.time_to_live = 1);
    bench.send(11, &frame).refused(DropReason::TtlExceeded, 11, 11, 0);
    bench.adds_up(0);
}
