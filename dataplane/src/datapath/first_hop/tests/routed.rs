//! Between subnets of a network, to the gateway itself, and through networks without NAT.

use super::world::*;
use crate::gateway::GATEWAY_MAC;
use crate::gateway::route::LinkId;
use crate::gateway::testing::echo_requests;
use crate::offload::Offload;
use crate::tables::PortId;
use crate::testing::{ether, station};
use crate::verdict::{DropReason, Verdict};
use crate::wire::EtherType;

#[test]
fn the_gateway_answers_an_echo_and_the_host_or_nobody_the_rest() {
    let mut bench = Bench::new();
    let [mut v4, _] = echo_requests(b"abcdefgh");
    v4[12..16].copy_from_slice(&station(1).v4.octets());
    v4[16..20].copy_from_slice(&[10, 1, 0, 254]);
    let frame = changed(ether(GATEWAY_MAC, station(1).mac, EtherType::IPV4, &v4), |_| {});
    let seen = bench.send(11, &frame);
    assert_eq!(seen.verdict, Verdict::Deliver(PortId(11)));
    assert_eq!(seen.bytes[..12], [station(1).mac.0, GATEWAY_MAC.0].concat());
    assert_eq!((seen.bytes[34], &seen.bytes[26..30]), (0, &[10, 1, 0, 254][..]));

    let seen = bench.send(11, &udp(station(1), ip("10.1.0.254"), (1, 53), b"x"));
    seen.refused(DropReason::GatewayRefused, 11, 3, 3);
    let seen = bench.send(41, &udp(narrow(), ip("10.4.0.254"), (1, 53), b"x"));
    assert_eq!(seen.verdict, Verdict::Deliver(PortId(49)), "the host stands there");
    // Other addresses of the host.
    let seen = bench.send(11, &udp(station(1), ip(OTHER_OWN), (1, 53), b"x"));
    seen.refused(DropReason::GatewayRefused, 11, 3, 3);
    let other = udp(narrow(), ip(OTHER_OWN), (1, 53), b"x");
    assert_eq!(bench.send(41, &other).verdict, Verdict::Deliver(PortId(49)));
    let gre = changed(other, |header| header.protocol = etherparse::IpNumber(47));
    assert_eq!(bench.send(41, &gre).verdict, Verdict::Deliver(PortId(49)));
    bench.adds_up(0);
}

#[test]
fn another_subnet_of_the_network_is_one_hop_away() {
    let mut bench = Bench::new();
    let (me, other) = (station(1), beyond());
    for (to, source) in [(other.v4.into(), me.v4.into()), (ip("fd00:1:0:1::3"), ip("fd00:1::1"))] {
        let seen = bench.send(11, &udp(me, to, (1, 2), b"x"));
        assert_eq!((seen.verdict, seen.made.len()), (Verdict::Deliver(PortId(13)), 0));
        assert_eq!(seen.bytes[..12], [other.mac.0, GATEWAY_MAC.0].concat());
        assert_eq!(read(&seen.bytes, false), ((source, 1), (to, 2), 63));
    }
    bench.adds_up(0);
}

#[test]
fn other_networks_martians_and_what_has_no_route_are_refused() {
    let mut bench = Bench::new();
    for (to, reason, kind, code) in [
        ("10.2.0.1", DropReason::OtherNetwork, 3, 13),
        ("2001:db8:2::1", DropReason::OtherNetwork, 1, 1),
        ("150.1.1.1", DropReason::NoRoute, 3, 0),
    ] {
        let seen = bench.send(11, &udp(station(1), ip(to), (1, 2), b"x"));
        let message = seen.refused(reason, 11, kind, code);
        let sent = udp(station(1), ip(to), (1, 2), b"x");
        assert_eq!(message[8..], sent[14..], "the quote is what was sent");
    }
    for to in ["127.0.0.1", "0.0.0.1", "240.0.0.1", "224.0.0.9", "10.1.1.255", "fe80::9", "ff02::9"] {
        let seen = bench.send(11, &udp(station(1), ip(to), (1, 2), b"x"));
        assert_eq!((seen.verdict, seen.made.len()), (Verdict::Drop(DropReason::Martian), 0), "{to}");
    }
    bench.adds_up(0);
}

#[test]
fn no_packet_outlives_its_hops() {
    let mut bench = Bench::new();
    for to in [ip(PEER), beyond().v4.into()] {
        for ttl in [0, 1] {
            let frame = changed(udp(station(1), to, (1, 2), b"x"), |header| header.time_to_live = ttl);
            let message = bench.send(11, &frame).refused(DropReason::TtlExceeded, 11, 11, 0);
            assert_eq!(message[8..], frame[14..]);
        }
    }
    let mut frame = udp(station(1), ip(PEER6), (1, 2), b"x");
    frame[21] = 1;
    bench.send(11, &frame).refused(DropReason::TtlExceeded, 11, 3, 0);
    assert_eq!(bench.tables.house.outside().nat.counts().sessions, 0);
    bench.adds_up(0);
}

#[test]
fn a_link_local_source_goes_no_further() {
    let mut bench = Bench::new();
    let me = crate::testing::Station { v6: station(1).mac.link_local(), ..station(1) };
    let seen = bench.send(11, &udp(me, ip(PEER6), (1, 2), b"x"));
    assert_eq!((seen.verdict, seen.made.len()), (Verdict::Drop(DropReason::Martian), 0));
    bench.adds_up(0);
}

#[test]
fn a_network_without_nat_is_routed_both_ways() {
    let mut bench = Bench::new();
    let me = routed();
    for (inside, peer) in [(me.v4.into(), ip(PEER)), (me.v6.into(), ip(PEER6))] {
        let seen = bench.send(21, &udp(me, peer, (1, 2), b"x"));
        assert_eq!(seen.verdict, Verdict::Leave(LinkId(1)));
        assert_eq!(read(&seen.bytes, false), ((inside, 1), (peer, 2), 63));
        assert_eq!(seen.bytes[..12], [ROUTER_MAC.0, LINK_MAC.0].concat());
        let seen = bench.arrive(1, &reply((peer, 2), (inside, 1), b"y"), Offload::NONE);
        assert_eq!(seen.verdict, Verdict::Deliver(PortId(21)));
        assert_eq!(read(&seen.bytes, false), ((peer, 2), (inside, 1), 63));
        assert_eq!(seen.bytes[..12], [me.mac.0, GATEWAY_MAC.0].concat());
    }
    // Any protocol, and any segment of TCP.
    let (mut syn_ack, offload) = tcp_owing(me, "8.8.8.8".parse().unwrap(), b"x", 1_000);
    syn_ack[47] = 0x12;
    let seen = bench.send_owing(21, &syn_ack, Offload { gso: None, ..offload });
    assert_eq!(seen.verdict, Verdict::Leave(LinkId(1)));
    let gre = changed(udp(me, ip(PEER), (1, 2), b"x"), |header| header.protocol = etherparse::IpNumber(47));
    let seen = bench.send(21, &gre);
    assert_eq!(seen.verdict, Verdict::Leave(LinkId(1)));
    assert_eq!(bench.tables.house.outside().nat.counts().sessions, 0, "nothing is remembered");
    bench.adds_up(0);
}

#[test]
fn nobody_outside_speaks_for_the_inside_or_the_host() {
    let mut bench = Bench::new();
    for source in ["10.2.0.7", "10.1.0.1", OUTSIDE, "127.0.0.1"] {
        let seen = bench.arrive(1, &reply((ip(source), 2), (routed().v4.into(), 1), b"y"), Offload::NONE);
        assert_eq!(seen.verdict, Verdict::Drop(DropReason::Martian), "{source}");
    }
    // Nobody's address there: the host's business.
    let seen = bench.arrive(1, &reply((ip(PEER), 2), (ip("10.2.0.77"), 1), b"y"), Offload::NONE);
    assert_eq!(seen.verdict, Verdict::Consumed);
    let seen = bench.arrive(1, &reply((ip(PEER), 2), (station(1).v4.into(), 1), b"y"), Offload::NONE);
    assert_eq!(seen.verdict, Verdict::Consumed, "a translated network is not to be reached by its addresses");
    bench.adds_up(0);
}
