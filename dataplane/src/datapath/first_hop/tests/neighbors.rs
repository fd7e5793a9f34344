//! Who has an address, and what the gateway itself is asked.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::world::*;
use crate::datapath::{Frame, To};
use crate::gateway::route::LinkId;
use crate::gateway::{GATEWAY_MAC, router_mac};
use crate::offload::Offload;
use crate::tables::PortId;
use crate::testing::{World, arp, ether, plain, station, tagged, udp4, vtep};
use crate::verdict::{DropReason, Verdict};
use crate::wire::nd::{self, NdRepr};
use crate::wire::{ArpOp, ArpPacket, ArpRepr, EtherType, MacAddr};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 254);

fn asks(who: u8, target: Ipv4Addr) -> Vec<u8> {
    let me = station(who);
    arp(me.mac, ArpOp::Request, (me.mac, me.v4), target)
}

#[test]
fn questions_for_the_gateway_and_for_siblings_are_answered() {
    let mut bench = Bench::new();
    let (me, sibling) = pair();
    for (target, mac) in [(GATEWAY, GATEWAY_MAC), (sibling.v4, sibling.mac)] {
        let seen = bench.send(11, &asks(1, target));
        assert_eq!(seen.verdict, Verdict::Consumed);
        let [made] = &seen.made[..] else { panic!("{:?}", seen.made) };
        assert_eq!((made.to, &made.bytes[..6]), (To::Port(PortId(11)), &me.mac.0[..]));
        let answer = ArpPacket::parse(&made.bytes[14..]).unwrap();
        assert_eq!(
            (answer.operation(), answer.sender_mac(), answer.sender_ip()),
            (ArpOp::Reply, mac, target)
        );
    }
    for (target, mac) in
        [("fd00:1::ffff:ffff:ffff:fffe".parse().unwrap(), GATEWAY_MAC), (sibling.v6, sibling.mac)]
    {
        let group = nd::solicited_node(target);
        let solicit = NdRepr::Solicit { target, source_mac: me.mac }.emit(me.v6, group);
        let seen = bench.send(11, &ether(nd::group_mac(group), me.mac, EtherType::IPV6, &solicit));
        assert_eq!((seen.verdict, seen.made.len()), (Verdict::Consumed, 1));
        assert_eq!(seen.made[0].bytes[6..12], mac.0);
    }
    bench.adds_up(0);
    assert_eq!(bench.totals().packets, 4);
}

#[test]
fn probes_strangers_and_networks_without_a_gateway_are_left_to_the_switch() {
    let mut bench = Bench::new();
    let (me, sibling) = pair();
    let probe = arp(me.mac, ArpOp::Request, (me.mac, Ipv4Addr::UNSPECIFIED), sibling.v4);
    for (port, frame) in [
        (11, probe),
        (11, asks(1, Ipv4Addr::new(10, 1, 0, 77))),
        (11, asks(1, me.v4)),
        (31, asks(1, GATEWAY)),
        (31, plain(GATEWAY_MAC, me.mac, b"nobody's")),
    ] {
        let seen = bench.send(port, &frame);
        assert_eq!((seen.verdict, seen.made.len()), (Verdict::Flood, 0));
    }
    bench.adds_up(0);
}

#[test]
fn what_is_no_ip_packet_or_has_a_tag_is_not_for_the_gateway() {
    let mut bench = Bench::new();
    let frame = plain(GATEWAY_MAC, station(1).mac, b"x");
    assert_eq!(bench.send(11, &frame).verdict, Verdict::Drop(DropReason::GatewayRefused));
    // Where tags are stripped, what is behind one is.
    let packet = tagged(&udp(station(1), ip(PEER), (1, 2), b"x"), 5);
    let port = bench.tables.port(PortId(11)).unwrap();
    let frame = Frame { bytes: &mut packet.clone(), offload: Offload::NONE };
    let judged = bench.datapath.from_port(&bench.tables, port, frame, NOW);
    assert_eq!(judged.verdict, Verdict::Leave(LinkId(1)));
    assert_eq!(read(judged.frame.bytes, false).1, (ip(PEER), 2));
    let passing = World::default().segment(1, &[]).passing_tags().port(11, 1).gateway(&["10.1.0.0/24"], true);
    bench.tables = passing.tables(1);
    assert_eq!(bench.send(11, &packet).verdict, Verdict::Drop(DropReason::GatewayRefused));
}

#[test]
fn an_endpoints_arp_answer_reaches_the_host_where_it_stands() {
    let mut bench = Bench::new();
    let reply = |me: crate::testing::Station, to: Ipv4Addr| {
        let packet = ArpRepr {
            operation: ArpOp::Reply,
            sender_mac: me.mac,
            sender_ip: me.v4,
            target_mac: GATEWAY_MAC,
            target_ip: to,
        };
        ether(GATEWAY_MAC, me.mac, EtherType::ARP, &packet.emit())
    };
    let seen = bench.send(41, &reply(narrow(), Ipv4Addr::new(10, 4, 0, 254)));
    assert_eq!(seen.verdict, Verdict::Deliver(PortId(49)));
    let seen = bench.send(11, &reply(station(1), GATEWAY));
    assert_eq!((seen.verdict, seen.made.len()), (Verdict::Drop(DropReason::GatewayRefused), 0));
    bench.adds_up(0);
}

/// The answer of a station behind a VTEP to the router's question.
fn answer(mac: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    let router = router_mac(vtep(1));
    let reply = ArpRepr {
        operation: ArpOp::Reply,
        sender_mac: mac,
        sender_ip: address,
        target_mac: router,
        target_ip: Ipv4Addr::UNSPECIFIED,
    };
    ether(router, mac, EtherType::ARP, &reply.emit())
}

#[test]
fn an_endpoint_on_another_subnet_behind_a_vtep_is_asked_for_and_reached() {
    let mut bench = Bench::new();
    let (far, mac, router) = (Ipv4Addr::new(10, 1, 1, 9), station(99).mac, router_mac(vtep(1)));
    let frame = udp(station(1), far.into(), (1, 2), b"first");
    let seen = bench.send(11, &frame);
    assert_eq!(seen.verdict, Verdict::Held);
    let [question] = &seen.made[..] else { panic!("{:?}", seen.made) };
    assert_eq!((question.to, &question.bytes[6..12]), (To::Vteps, &router.0[..]));
    let asked = ArpPacket::parse(&question.bytes[14..]).unwrap();
    assert_eq!((asked.sender_ip(), asked.target_ip()), (Ipv4Addr::UNSPECIFIED, far));
    bench.adds_up(1);

    let second = udp(station(1), far.into(), (1, 2), b"second");
    let seen = bench.send(11, &second);
    assert_eq!((seen.verdict, seen.made.len()), (Verdict::Held, 0), "asked once a second");
    assert_eq!(bench.totals().drops(DropReason::GatewayUnresolved), 1, "the first gave way");
    bench.adds_up(1);

    let seen = bench.tunnel(2, &answer(mac, far));
    assert_eq!(seen.verdict, Verdict::Consumed);
    let [held] = &seen.made[..] else { panic!("{:?}", seen.made) };
    assert_eq!(
        (held.to, &held.bytes[..6], &held.bytes[6..12]),
        (To::Vtep(vtep(2)), &mac.0[..], &router.0[..])
    );
    assert!(held.bytes.ends_with(b"second"));
    assert_eq!(read(&held.bytes, false).2, 63);
    bench.adds_up(0);

    let seen = bench.send(11, &frame);
    assert_eq!((seen.verdict, seen.made.len()), (Verdict::Transmit(vtep(2)), 0));
    assert_eq!((&seen.bytes[..6], read(&seen.bytes, false).2), (&mac.0[..], 63));
    bench.adds_up(0);
}

#[test]
fn who_never_answers_is_asked_three_times_and_given_up() {
    let mut bench = Bench::new();
    let far = Ipv4Addr::new(10, 1, 1, 9);
    assert_eq!(bench.send(11, &udp(station(1), far.into(), (1, 2), b"x")).verdict, Verdict::Held);
    let mut made = Vec::new();
    for _ in 0..4 {
        bench.now = bench.now.after(Duration::from_secs(1));
        bench.datapath.poll_neighbors(&bench.tables, bench.now);
        made.extend(std::iter::from_fn(|| bench.datapath.take_made()));
    }
    let told = made.pop().unwrap();
    assert_eq!((told.to, &error(&told.bytes)[..2]), (To::Port(PortId(11)), &[3, 1][..]));
    assert_eq!(told.bytes[..6], station(1).mac.0);
    assert_eq!((made.len(), bench.totals().drops(DropReason::GatewayUnresolved)), (2, 1));
    bench.adds_up(0);
}

#[test]
fn the_gateways_mac_never_comes_out_of_a_tunnel() {
    let mut bench = Bench::new();
    let (me, far) = (station(1), station(9));
    let mut from = udp4(far, me, (1, 2), b"x");
    from[6..12].copy_from_slice(&GATEWAY_MAC.0);
    let mut to = udp4(far, me, (1, 2), b"x");
    to[..6].copy_from_slice(&GATEWAY_MAC.0);
    for frame in [from, to] {
        assert_eq!(bench.tunnel(2, &frame).verdict, Verdict::Drop(DropReason::GatewayElsewhere));
    }
    // The router answers nobody but whom it has asked.
    let mut to = udp4(far, me, (1, 2), b"x");
    to[..6].copy_from_slice(&router_mac(vtep(1)).0);
    assert_eq!(bench.tunnel(2, &to).verdict, Verdict::Drop(DropReason::GatewayRefused));
    let unasked = bench.tunnel(2, &answer(far.mac, Ipv4Addr::new(10, 1, 1, 9)));
    assert_eq!((unasked.verdict, unasked.made.len()), (Verdict::Consumed, 0));
    bench.adds_up(0);
}
