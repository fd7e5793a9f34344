//! Through NAT to the outside and back, and back to the inside.

use std::net::IpAddr;
use std::time::Duration;

use super::world::*;
use crate::gateway::route::LinkId;
use crate::gateway::{Egress, EgressSpec, GATEWAY_MAC, RouteSpec};
use crate::nat::Protocol;
use crate::offload::Offload;
use crate::tables::PortId;
use crate::testing::station;
use crate::verdict::{DropReason, Verdict};

#[test]
fn a_packet_leaves_by_a_resolved_hop_and_its_answer_comes_back() {
    let mut bench = Bench::new();
    for (to, outside, inside) in
        [(PEER, OUTSIDE, IpAddr::from(station(1).v4)), (PEER6, OUTSIDE6, station(1).v6.into())]
    {
        let seen = bench.send(11, &udp(station(1), ip(to), (5_000, 53), b"x"));
        assert_eq!((seen.verdict, seen.made.len()), (Verdict::Leave(LinkId(1)), 0));
        assert_eq!(seen.bytes[..12], [ROUTER_MAC.0, LINK_MAC.0].concat());
        let (source, destination, ttl) = read(&seen.bytes, false);
        assert_eq!((source.0, destination, ttl), (ip(outside), (ip(to), 53), 63));
        assert!((40_000..40_064).contains(&source.1));

        let seen = bench.arrive(1, &reply((ip(to), 53), source, b"y"), Offload::NONE);
        assert_eq!((seen.verdict, seen.made.len()), (Verdict::Deliver(PortId(11)), 0));
        assert_eq!(seen.bytes[..12], [station(1).mac.0, GATEWAY_MAC.0].concat());
        assert_eq!(read(&seen.bytes, false), ((ip(to), 53), (inside, 5_000), 63));
        let stranger = reply((ip(if to == PEER { "9.9.9.9" } else { "2001:4860::9" }), 53), source, b"y");
        let seen = bench.arrive(1, &stranger, Offload::NONE);
        assert_eq!(seen.verdict, Verdict::Drop(DropReason::NatFiltered));
    }
    let wants = bench.tables.house.outside().take_wants();
    assert_eq!((wants.used.len(), wants.wanted.len()), (2, 0));
    bench.adds_up(0);
}

#[test]
fn a_hop_that_is_not_resolved_is_the_kernels_and_is_noted() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        let seen = bench.send(11, &udp(station(1), ip(UNRESOLVED), (5_000, 53), b"x"));
        assert_eq!(seen.verdict, Verdict::ByHost(LinkId(1)));
        assert_eq!(read(&seen.bytes, false).0.0, ip(OUTSIDE));
    }
    let mut outside = bench.tables.house.outside();
    assert!(outside.wants_something());
    assert!(!outside.wants_something(), "called once");
    assert_eq!(outside.take_wants().wanted, [(LinkId(1), ip(UNRESOLVED))]);
    assert!(!outside.wants_something());
    drop(outside);
    let _ = bench.send(11, &udp(station(1), ip(UNRESOLVED), (5_000, 53), b"x"));
    assert!(bench.tables.house.outside().wants_something(), "it still is not");
    bench.adds_up(0);
}

#[test]
fn a_super_frame_stays_one_and_owes_what_it_owed() {
    let mut bench = Bench::new();
    let (frame, offload) = tcp_owing(station(1), "8.8.8.8".parse().unwrap(), &[7; 30_000], 1_400);
    let seen = bench.send_owing(11, &frame, offload);
    assert_eq!((seen.verdict, seen.offload), (Verdict::Leave(LinkId(1)), offload));
    let (source, _, ttl) = read(&seen.bytes, true);
    assert_eq!((source.0, ttl, seen.bytes.len()), (ip(OUTSIDE), 63, frame.len()));
    assert_eq!(seen.bytes[54..], frame[54..]);
    assert_eq!(bench.totals().bytes, frame.len() as u64);
    bench.adds_up(0);
}

#[test]
fn what_is_the_hosts_own_is_left_to_it_and_not_counted() {
    let mut bench = Bench::new();
    for (to, port) in [(OUTSIDE, 22), (OTHER_OWN, 40_000), ("150.1.1.1", 1)] {
        let seen = bench.arrive(1, &reply((ip(PEER), 53), (ip(to), port), b"y"), Offload::NONE);
        assert_eq!((seen.verdict, seen.made.len()), (Verdict::Consumed, 0));
    }
    assert_eq!(bench.totals(), crate::counters::Totals::default());
    let seen = bench.arrive(9, &reply((ip(PEER), 53), (ip(OUTSIDE), SERVICE), b"y"), Offload::NONE);
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::NatNoRoute));
    bench.adds_up(0);
}

#[test]
fn a_published_port_is_reached_from_outside_from_a_sibling_and_from_itself() {
    let mut bench = Bench::new();
    let server = station(2);
    let seen = bench.arrive(1, &reply((ip(PEER), 999), (ip(OUTSIDE), SERVICE), b"y"), Offload::NONE);
    assert_eq!(seen.verdict, Verdict::Deliver(PortId(12)));
    assert_eq!(read(&seen.bytes, false), ((ip(PEER), 999), (server.v4.into(), SERVICE), 63));
    // From its own network, from itself, and from a network without NAT, which has to be translated, too.
    for (port, from) in [(11, station(1)), (12, server), (21, routed())] {
        let seen = bench.send(port, &udp(from, ip(OUTSIDE), (5_000, SERVICE), b"x"));
        assert_eq!(seen.verdict, Verdict::Deliver(PortId(12)), "from {port}");
        assert_eq!(seen.bytes[..12], [server.mac.0, GATEWAY_MAC.0].concat());
        let (source, destination, ttl) = read(&seen.bytes, false);
        assert_eq!((source.0, destination, ttl), (ip(OUTSIDE), (server.v4.into(), SERVICE), 63));

        let seen = bench.send(12, &udp(server, source.0, (SERVICE, source.1), b"y"));
        assert_eq!(seen.verdict, Verdict::Deliver(PortId(port)));
        assert_eq!(read(&seen.bytes, false), ((ip(OUTSIDE), SERVICE), (from.v4.into(), 5_000), 63));
    }
    bench.adds_up(0);
}

#[test]
fn a_published_port_is_reached_by_the_gateways_address_whether_the_host_has_it_or_not() {
    let mut bench = Bench::new();
    let server = station(2);
    for (port, from, gateway) in
        [(11, station(1), "10.1.0.254"), (12, server, "10.1.0.254"), (41, narrow(), "10.4.0.254")]
    {
        let seen = bench.send(port, &udp(from, ip(gateway), (5_000, SERVICE), b"x"));
        assert_eq!(seen.verdict, Verdict::Deliver(PortId(12)), "from {port}");
        let (source, destination, ttl) = read(&seen.bytes, false);
        assert_eq!((source.0, destination, ttl), (ip(OUTSIDE), (server.v4.into(), SERVICE), 63));

        let seen = bench.send(12, &udp(server, source.0, (SERVICE, source.1), b"y"));
        assert_eq!(seen.verdict, Verdict::Deliver(PortId(port)));
        assert_eq!(read(&seen.bytes, false), ((ip(gateway), SERVICE), (from.v4.into(), 5_000), 63));
    }
    // What is not published there is the host's, or nobody's.
    let seen = bench.send(41, &udp(narrow(), ip("10.4.0.254"), (5_000, 53), b"x"));
    assert_eq!(seen.verdict, Verdict::Deliver(PortId(49)));
    let seen = bench.send(11, &udp(station(1), ip("10.1.0.254"), (5_000, 53), b"x"));
    seen.refused(DropReason::GatewayRefused, 11, 3, 3);
    bench.adds_up(0);
}

/// A segment of one connection to [`PEER`], with these flags.
fn segment(flags: u8) -> Vec<u8> {
    let (mut frame, _) = tcp_owing(station(1), PEER.parse().unwrap(), b"some", 1_400);
    frame[14 + 20 + 13] = flags;
    frame
}

/// `spec` becomes the host's routing, with one route more: to [`PEER`] by `link`, or to nowhere.
fn reroute(bench: &Bench, spec: &EgressSpec, link: Option<LinkId>) {
    let mut spec = spec.clone();
    spec.routes.push(RouteSpec { prefix: "0.0.0.0/1".parse().unwrap(), link, via: None, source: None });
    bench.tables.house.outside().nat.set_egress(Egress::build(&spec).unwrap(), bench.now);
}

#[test]
fn a_connection_whose_outside_address_has_gone_is_reset_at_its_next_segment() {
    let mut bench = Bench::new();
    let (opens, goes_on) = (segment(0x02), segment(0x10));
    assert_eq!(bench.send(11, &opens).verdict, Verdict::Leave(LinkId(1)));
    let mut spec = egress();
    spec.links.remove(0);
    spec.neighbors.clear();
    // First the route goes with the address, then another one takes its place.
    spec.routes.retain(|route| route.link == Some(LinkId(2)));
    spec.own.retain(|own| ![ip(OUTSIDE), ip(OUTSIDE6)].contains(own));
    for via in [None, Some(LinkId(2))] {
        reroute(&bench, &spec, via);
        let seen = bench.send(11, &goes_on);
        assert_eq!(seen.verdict, Verdict::Drop(DropReason::NatAddressGone));
        let [made] = &seen.made[..] else { panic!("{:?}", seen.made) };
        assert_eq!(made.to, crate::datapath::To::Port(PortId(11)));
        assert_eq!(made.bytes[..12], [station(1).mac.0, GATEWAY_MAC.0].concat());
        let tcp = &made.bytes[34..];
        assert_eq!((&tcp[4..8], tcp[13]), (&goes_on[34 + 8..34 + 12], 0x04), "what was acknowledged");
    }
    // It is a connection that is missed, and not a way.
    let other = changed(goes_on, |header| header.destination = [9, 9, 9, 9]);
    let seen = bench.send(11, &other);
    assert_eq!((seen.verdict, seen.made.len()), (Verdict::Drop(DropReason::NatNoSession), 0));
    bench.adds_up(0);
}

#[test]
fn a_connection_whose_link_is_down_has_no_route_whatever_other_ways_there_are_and_goes_on_when_it_is_up() {
    let mut bench = Bench::new();
    let first = bench.send(11, &segment(0x02));
    assert_eq!(first.verdict, Verdict::Leave(LinkId(1)));
    let mut down = egress();
    down.links.remove(0);
    down.neighbors.clear();
    down.routes.retain(|route| route.link == Some(LinkId(2)));
    for (via, reason) in [(None, DropReason::NoRoute), (Some(LinkId(2)), DropReason::NatNoRoute)] {
        reroute(&bench, &down, via);
        bench.send(11, &segment(0x10)).refused(reason, 11, 3, 0);
    }
    let up = Egress::build(&egress()).unwrap();
    bench.tables.house.outside().nat.set_egress(up, bench.now);
    let again = bench.send(11, &segment(0x10));
    assert_eq!(again.verdict, Verdict::Leave(LinkId(1)));
    assert_eq!(again.bytes[26..36], first.bytes[26..36], "from the same address and port");
    bench.adds_up(0);
}

#[test]
fn fragments_that_come_before_the_first_one_wait_for_it() {
    let mut bench = Bench::new();
    let whole = changed(udp(station(1), ip(PEER), (5_000, 53), &[9; 1_200]), |header| {
        header.dont_fragment = false;
        header.identification = 77;
    });
    let parts: Vec<Vec<u8>> = crate::gateway::testing::cut(&whole[14..], 500);
    let frames: Vec<Vec<u8>> = parts.iter().map(|part| [&whole[..14], part].concat()).collect();
    for later in [2, 1] {
        let seen = bench.send(11, &frames[later]);
        assert_eq!((seen.verdict, seen.made.len()), (Verdict::Held, 0));
    }
    bench.adds_up(2);
    let seen = bench.send(11, &frames[0]);
    assert_eq!((seen.verdict, seen.made.len()), (Verdict::Leave(LinkId(1)), 2));
    bench.adds_up(0);
    let mut all = vec![seen.bytes[14..].to_vec()];
    for made in &seen.made {
        assert_eq!(made.to, crate::datapath::To::Link(LinkId(1)));
        assert_eq!(made.bytes[..12], [ROUTER_MAC.0, LINK_MAC.0].concat());
        all.push(made.bytes[14..].to_vec());
    }
    let (header, payload) = crate::gateway::testing::reassemble(&all);
    assert_eq!((header.time_to_live, IpAddr::from(header.source)), (63, ip(OUTSIDE)));
    assert_eq!(payload[8..], [9; 1_200]);

    // Those that come from outside are delivered, but for those that would exceed the network.
    let source = read(&bench.send(11, &udp(station(1), ip(PEER), (5_000, 53), b"x")).bytes, false).0;
    let answer = changed(reply((ip(PEER), 53), source, &[8; 2_000]), |header| header.dont_fragment = false);
    let parts = crate::gateway::testing::cut(&answer[14..], 1_500);
    let frames: Vec<Vec<u8>> = parts.iter().map(|part| [&answer[..14], part].concat()).collect();
    assert_eq!(bench.arrive(1, &frames[1], Offload::NONE).verdict, Verdict::Held);
    let seen = bench.arrive(1, &frames[0], Offload::NONE);
    assert_eq!(seen.verdict, Verdict::Consumed, "1,500 bytes are cut for 1,450");
    let all: Vec<_> = seen.made.iter().map(|made| made.bytes[14..].to_vec()).collect();
    assert!(all.iter().all(|part| part.len() <= 1_450));
    assert_eq!(crate::gateway::testing::reassemble(&all).1[8..], [8; 2_000]);
    bench.adds_up(0);
}

#[test]
fn what_begins_before_a_port_is_there_waits_for_it() {
    let mut bench = Bench::new();
    let frame = |from, port| udp(station(from), ip(PEER), (port, 53), b"x");
    for port in 5_000..5_064 {
        assert_eq!(bench.send(11, &frame(1, port)).verdict, Verdict::Leave(LinkId(1)));
    }
    for port in [6_001, 6_002] {
        let seen = bench.send(12, &frame(2, port));
        assert_eq!((seen.verdict, seen.made.len()), (Verdict::Held, 0));
        assert_eq!(seen.bytes, frame(2, port), "as it came");
    }
    bench.adds_up(2);
    let house = std::sync::Arc::clone(&bench.tables.house);
    assert!(house.take_resumed().is_empty(), "nothing has come");
    let wants = house.outside().take_wants().ports;
    assert!(wants.iter().any(|want| (want.address, want.protocol) == (ip(OUTSIDE), Protocol::Udp)));
    assert!(house.lend(ip(OUTSIDE), Protocol::Udp, &[41_001]));
    let resumed = house.take_resumed();
    assert_eq!(resumed.iter().map(|waiter| waiter.port).collect::<Vec<_>>(), [PortId(12); 2]);
    let verdicts: Vec<_> = resumed.iter().map(|waiter| bench.again(12, &waiter.bytes)).collect();
    let told = Verdict::Drop(DropReason::NatPorts);
    assert_eq!(verdicts, [Verdict::Leave(LinkId(1)), told], "control had one and no more");
    bench.adds_up(0);
}

#[test]
fn what_waits_for_a_port_in_vain_is_dropped_by_name() {
    let mut bench = Bench::new();
    for port in 0..64 {
        let _ = bench.send(11, &udp(station(1), ip(PEER), (5_000 + port, 53), b"x"));
    }
    let datagram = udp(station(1), ip(PEER), (6_000, 53), b"x");
    assert_eq!(bench.send(11, &datagram).verdict, Verdict::Held);
    bench.datapath.expire_waiting(&bench.tables, bench.now);
    bench.adds_up(1);
    bench.datapath.expire_waiting(&bench.tables, bench.now.after(Duration::from_secs(1)));
    bench.adds_up(0);
    let drops: Vec<_> = bench.totals().nonzero_drops().collect();
    assert_eq!(drops, [(DropReason::NatPortsLate, 1)]);
    assert!(!bench.tables.house.lend(ip(OUTSIDE), Protocol::Udp, &[41_000]), "nobody waits");
}
