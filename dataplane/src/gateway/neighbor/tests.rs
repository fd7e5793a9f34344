//! Answers as etherparse reads them, and questions that get none.

use std::net::Ipv6Addr;

use etherparse::icmpv6::NdpOptionSlice;
use etherparse::{ArpEthIpv4Packet, ArpPacketSlice, Icmpv6Slice, Ipv6Slice};
use proptest::prelude::*;

use super::*;
use crate::gateway::GatewaySpec;
use crate::testing::{Station, arp, ether, station};
use crate::wire::testing::hostile;

fn gateway() -> Gateway {
    let subnet = |prefix: &str, own: IpAddr| (prefix.parse().expect("a prefix"), own);
    let subnets =
        vec![subnet("10.1.0.0/24", station(1).v4.into()), subnet("fd00:1::/64", station(1).v6.into())];
    Gateway::build(&GatewaySpec { subnets, ..GatewaySpec::default() })
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Station 3 is known, and nobody else.
fn known(address: IpAddr) -> Option<MacAddr> {
    let Station { mac, v4, v6 } = station(3);
    (address == v4 || address == v6).then_some(mac)
}

fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let mut room = vec![0xee; 3];
    let answered = Message::read(frame)?.answer(Some(&gateway()), known, &mut room);
    assert_eq!(answered, room.len() > 3);
    answered.then(|| room.split_off(3))
}

/// Who has `target`? asks station 2.
fn request(target: u8) -> Vec<u8> {
    arp(station(2).mac, ArpOp::Request, (station(2).mac, station(2).v4), station(target).v4)
}

/// Is `target` free? asks station 2.
fn probe(target: u8) -> Vec<u8> {
    arp(station(2).mac, ArpOp::Request, (station(2).mac, Ipv4Addr::UNSPECIFIED), station(target).v4)
}

/// A neighbour discovery message from station 2: its IPv6 addresses, and its bytes without the checksum.
fn icmpv6(source: Ipv6Addr, destination: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    message[2..4].copy_from_slice(&[0, 0]);
    let sum = Sum::pseudo_v6(source, destination, protocol::ICMPV6, message.len()).add(&message).finish();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0x60, 0, 0, 0, 0, message.len() as u8, 58, 255];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(message);
    let to = if destination.is_multicast() { nd::group_mac(destination) } else { GATEWAY_MAC };
    ether(to, station(2).mac, EtherType::IPV6, &packet)
}

fn solicit(source: Ipv6Addr, target: Ipv6Addr, with_mac: bool) -> Vec<u8> {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    if with_mac {
        message.extend([1, 1]);
        message.extend(station(2).mac.0);
    }
    icmpv6(source, nd::solicited_node(target), message)
}

fn check_arp(frame: &[u8], sender: (MacAddr, Ipv4Addr), target_ip: Ipv4Addr) {
    let me = station(2).mac;
    assert_eq!(frame[..14], ether(me, sender.0, EtherType::ARP, &[]));
    let packet = ArpPacketSlice::from_slice(&frame[14..]).unwrap().to_packet();
    let packet = packet.try_eth_ipv4().unwrap();
    let expected = ArpEthIpv4Packet {
        operation: etherparse::ArpOperation::REPLY,
        sender_mac: sender.0.0,
        sender_ipv4: sender.1.octets(),
        target_mac: me.0,
        target_ipv4: target_ip.octets(),
    };
    assert_eq!(packet, expected);
}

/// Flags: router, solicited, override.
fn check_na(frame: &[u8], to: (MacAddr, Ipv6Addr), sender: (MacAddr, Ipv6Addr), flags: u8) {
    assert_eq!(frame[..14], ether(to.0, sender.0, EtherType::IPV6, &[]));
    let ip = Ipv6Slice::from_slice(&frame[14..]).unwrap();
    let header = ip.header().to_header();
    let addresses = (Ipv6Addr::from(header.source), Ipv6Addr::from(header.destination));
    assert_eq!((addresses, header.hop_limit), ((sender.1, to.1), 255));
    let message = Icmpv6Slice::from_slice(ip.payload().payload).unwrap();
    assert!(message.is_checksum_valid(header.source, header.destination));
    let bytes = message.slice();
    assert_eq!(bytes[..2], [136, 0]);
    assert_eq!((bytes[4] >> 5, &bytes[8..24]), (flags, &sender.1.octets()[..]));
    let options: Vec<_> = etherparse::icmpv6::NdpOptionsIterator::from_slice(&bytes[24..]).collect();
    let [Ok(NdpOptionSlice::TargetLinkLayerAddress(option))] = &options[..] else { panic!("{options:?}") };
    assert_eq!(option.as_bytes()[2..], sender.0.0);
}

#[test]
fn the_gateway_answers_for_itself() {
    let (me, one) = (station(2), station(1));
    check_arp(&answer(&request(1)).unwrap(), (GATEWAY_MAC, one.v4), me.v4);
    let mut direct = request(1);
    direct[..6].copy_from_slice(&GATEWAY_MAC.0);
    check_arp(&answer(&direct).unwrap(), (GATEWAY_MAC, one.v4), me.v4);
    check_arp(&answer(&probe(1)).unwrap(), (GATEWAY_MAC, one.v4), Ipv4Addr::UNSPECIFIED);
    for target in [one.v6, GATEWAY_MAC.link_local()] {
        let sender = (GATEWAY_MAC, target);
        check_na(&answer(&solicit(me.v6, target, true)).unwrap(), (me.mac, me.v6), sender, 0b111);
        let all = (MacAddr([0x33, 0x33, 0, 0, 0, 1]), nd::ALL_NODES);
        check_na(&answer(&solicit(Ipv6Addr::UNSPECIFIED, target, false)).unwrap(), all, sender, 0b101);
    }
}

#[test]
fn known_endpoints_are_answered_for() {
    let (me, three) = (station(2), station(3));
    check_arp(&answer(&request(3)).unwrap(), (three.mac, three.v4), me.v4);
    let frame = answer(&solicit(me.v6, three.v6, true)).unwrap();
    check_na(&frame, (me.mac, me.v6), (three.mac, three.v6), 0b011);
}

#[test]
fn others_answer_for_themselves() {
    let mut unicast = request(3);
    unicast[..6].copy_from_slice(&station(3).mac.0);
    let mut elsewhere = request(1);
    elsewhere[..6].copy_from_slice(&station(9).mac.0);
    let reply = arp(station(2).mac, ArpOp::Reply, (station(2).mac, station(2).v4), station(3).v4);
    let own = arp(station(3).mac, ArpOp::Request, (station(3).mac, station(2).v4), station(3).v4);
    for (what, frame) in [
        ("a probe", probe(3)),
        ("an unknown address", request(9)),
        ("a gratuitous request", request(2)),
        ("a reply", reply),
        ("a question to the endpoint alone", unicast),
        ("a question to another station", elsewhere),
        ("the endpoint's own question", own),
        ("duplicate address detection", solicit(Ipv6Addr::UNSPECIFIED, station(3).v6, false)),
        ("an unknown v6 address", solicit(station(2).v6, station(9).v6, true)),
    ] {
        assert_eq!(answer(&frame), None, "{what}");
    }
    let mut room = Vec::new();
    assert!(!Message::read(&request(1)).unwrap().answer(None, known, &mut room), "no gateway");
}

#[test]
fn messages_say_who_speaks() {
    let me = station(2);
    let spoken = |frame: &[u8]| Message::read(frame).map(|message| (message.speaker, message.asks));
    let (v4, v6) = ((me.v4.into(), me.mac), (me.v6.into(), me.mac));
    assert_eq!(spoken(&request(3)), Some((Some(v4), Some(station(3).v4.into()))));
    assert_eq!(spoken(&probe(3)), Some((None, Some(station(3).v4.into()))));
    assert_eq!(spoken(&request(2)), Some((Some(v4), None)), "gratuitous");
    assert_eq!(spoken(&arp(me.mac, ArpOp::Reply, (me.mac, me.v4), station(3).v4)), Some((Some(v4), None)));
    assert_eq!(spoken(&solicit(me.v6, station(3).v6, true)), Some((Some(v6), Some(station(3).v6.into()))));
    let advert = |flags: u8, destination| {
        let mut message = vec![136, 0, 0, 0, flags, 0, 0, 0];
        message.extend(me.v6.octets());
        message.extend([2, 1]);
        message.extend(me.mac.0);
        icmpv6(me.v6, destination, message)
    };
    assert_eq!(spoken(&advert(0x60, station(3).v6)), Some((Some(v6), None)));
    assert_eq!(spoken(&advert(0x20, nd::ALL_NODES)), Some((Some(v6), None)));
    assert_eq!(spoken(&advert(0x60, nd::ALL_NODES)), None, "solicited by nobody (N-3)");
}

#[test]
fn what_is_not_to_be_believed_is_no_message() {
    let good = solicit(station(2).v6, station(3).v6, true);
    let changed = |frame: &[u8], at: usize, value: u8| {
        let mut frame = frame.to_vec();
        frame[at] = value;
        frame
    };
    let three = station(3).v6;
    assert!(Message::read(&good).is_some());
    for (what, frame) in [
        ("from another link", changed(&good, 14 + 7, 254)),
        ("a wrong checksum", changed(&good, good.len() - 1, 99)),
        ("a code", changed(&good, 14 + 41, 1)),
        ("a cut option", good[..good.len() - 1].to_vec()),
        ("from a group by Ethernet", changed(&good, 6, 1)),
        ("detection that names a MAC", solicit(Ipv6Addr::UNSPECIFIED, three, true)),
        ("from a v6 group", solicit(nd::ALL_NODES, three, true)),
        ("about a group", solicit(station(2).v6, nd::ALL_NODES, true)),
        ("an ARP sender that is a group", changed(&request(3), 14 + 8, 1)),
        ("an ARP sender at a group address", changed(&request(3), 14 + 14, 224)),
        (
            "an ARP reply of nobody",
            arp(station(2).mac, ArpOp::Reply, (station(2).mac, Ipv4Addr::UNSPECIFIED), station(3).v4),
        ),
        ("another ARP operation", changed(&request(3), 14 + 7, 3)),
        ("an ARP packet that is cut", request(3)[..41].to_vec()),
    ] {
        assert_eq!(Message::read(&frame), None, "{what}");
    }
    let mut detects = solicit(Ipv6Addr::UNSPECIFIED, three, false);
    assert!(Message::read(&detects).is_some());
    let message = detects.split_off(14 + 40);
    assert_eq!(Message::read(&icmpv6(Ipv6Addr::UNSPECIFIED, nd::ALL_NODES, message)), None, "to all");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn hostile_frames_get_one_small_answer_or_none(frame in hostile()) {
        if let Some(message) = Message::read(&frame) {
            let mut room = Vec::new();
            let mac = MacAddr([2, 0, 0, 0, 0, 9]);
            if message.answer(Some(&gateway()), |_| Some(mac), &mut room) {
                prop_assert!(room.len() == 42 || room.len() == 86);
            }
        }
    }

    #[test]
    fn questions_are_messages_that_an_owner_answers(target: [u8; 16], v4: bool, alone: bool) {
        let router = MacAddr([0x0a, 0x57, 192, 0, 2, 1]);
        let target = if v4 { IpAddr::V4(crate::wire::array::<4>(&target, 0).into()) } else { IpAddr::V6(target.into()) };
        prop_assume!(!target.is_multicast() && !target.is_unspecified());
        let mac = alone.then_some(station(3).mac);
        let frame = question(router, target, mac);
        let to = MacAddr(crate::wire::array(&frame, 0));
        prop_assert_eq!(mac.map_or(to.is_multicast(), |mac| mac == to), true);
        let message = Message::read(&frame).unwrap();
        prop_assert_eq!(message.asks, Some(target));
        let speaker = (!v4).then_some((router.link_local().into(), router));
        prop_assert_eq!(message.speaker, speaker, "an ARP probe tells nobody where anything is");
        prop_assert_eq!(&frame[6..12], &router.0);
    }
}
