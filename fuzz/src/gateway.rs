//! A frame to the gateway, as every part of it takes it: two bytes are the MTU of the next link, the rest is the frame.
//!
//! What comes of it is read by etherparse, and by rules that are written down again here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{ArpPacketSlice, Icmpv6Slice, IpSlice, Ipv4Header, Ipv6Slice};
use weft_dataplane::gateway::fragment::fragments;
use weft_dataplane::gateway::icmp::{ErrorKind, error};
use weft_dataplane::gateway::neighbor::Message;
use weft_dataplane::gateway::{GATEWAY_MAC, Gateway, GatewaySpec, Whither, echo::echo};
use weft_dataplane::wire::{MacAddr, Prefix, checksum};

use crate::world::{mac, v4, v6};

/// Gives `data` to every part of a gateway at the second endpoint's addresses.
pub fn gateway(data: &[u8]) {
    let [high, low, frame @ ..] = data else { return };
    let mtu = u16::from_be_bytes([*high, *low]);
    neighbors(frame);
    let Some(ip) = frame.get(14..) else { return };
    echoes(ip);
    errors(ip, mtu);
    parts(ip, mtu);
    destination(ip);
}

fn the_gateway() -> Gateway {
    let subnet = |address: IpAddr, len, own| (Prefix::new(address, len).expect("no host bits"), own);
    let subnets = vec![subnet(v4(0).into(), 24, v4(2).into()), subnet(v6(0).into(), 64, v6(2).into())];
    Gateway::build(&GatewaySpec { subnets, ..GatewaySpec::default() }).expect("a spec that makes sense")
}

/// The authoritative table: one endpoint.
fn known(address: IpAddr) -> Option<MacAddr> {
    (address == v4(1) || address == v6(1)).then_some(mac(1))
}

fn neighbors(frame: &[u8]) {
    let Some(message) = Message::read(frame) else { return };
    let mut room = Vec::new();
    if !message.answer(Some(&the_gateway()), known, &mut room) {
        assert!(room.is_empty());
        return;
    }
    let asker = &frame[6..12];
    let (target, probe) = if room.len() == 42 {
        assert_eq!(&room[..6], asker);
        let reply = ArpPacketSlice::from_slice(&room[14..]).expect("ARP").to_packet();
        let reply = reply.try_eth_ipv4().expect("for IPv4");
        assert_eq!(reply.operation, etherparse::ArpOperation::REPLY);
        assert_eq!((&reply.sender_mac[..], &reply.sender_ipv4[..]), (&room[6..12], &frame[38..42]));
        (IpAddr::from(reply.sender_ipv4), reply.target_ipv4 == [0; 4])
    } else {
        assert_eq!(room.len(), 86);
        let packet = Ipv6Slice::from_slice(&room[14..]).expect("IPv6");
        let header = packet.header();
        let advert = Icmpv6Slice::from_slice(packet.payload().payload).expect("ICMPv6");
        assert!(advert.is_checksum_valid(header.source(), header.destination()));
        assert_eq!((advert.type_u8(), header.hop_limit()), (136, 255));
        let group = header.destination_addr().is_multicast();
        assert!(group || room[..6] == *asker);
        assert_eq!(group, advert.slice()[4] & 0x40 == 0, "solicited, unless to all");
        (header.source_addr().into(), group)
    };
    let own = target == v4(2) || target == v6(2) || target == GATEWAY_MAC.link_local();
    assert!(own || known(target).is_some() && !probe, "{target} is not ours to answer for");
    assert_eq!(room[6..12], if own { GATEWAY_MAC.0 } else { mac(1).0 });
}

fn echoes(ip: &[u8]) {
    let mut reply = ip.to_vec();
    if !echo(&mut reply, false) {
        assert_eq!(reply, ip, "left alone");
        return;
    }
    // Addresses, type and checksum, hops and checksum.
    let (addresses, most) = if ip[0] >> 4 == 4 { (12, 8 + 3 + 3) } else { (8, 32 + 3 + 1) };
    let len = if ip[0] >> 4 == 4 { 4 } else { 16 };
    let (source, destination) = (addresses..addresses + len, addresses + len..addresses + 2 * len);
    assert_eq!(reply[source.clone()], ip[destination.clone()]);
    assert_eq!(reply[destination], ip[source]);
    let changed = reply.iter().zip(ip).filter(|(a, b)| a != b).count();
    assert!(changed <= most, "{changed} bytes changed");
    if let (Ok(asked), Ok(got)) = (IpSlice::from_slice(ip), IpSlice::from_slice(&reply)) {
        let (asked, got) = (asked.payload(), got.payload());
        if !asked.fragmented && ip[0] >> 4 == 4 && checksum::checksum(asked.payload) == 0 {
            assert_eq!(checksum::checksum(got.payload), 0, "a right checksum stays right");
        }
    }
}

fn errors(ip: &[u8], mtu: u16) {
    let v4_packet = ip.first().is_some_and(|first| first >> 4 == 4);
    let from: IpAddr = if v4_packet { v4(2).into() } else { v6(2).into() };
    for kind in [ErrorKind::TtlExceeded, ErrorKind::FragNeeded { mtu }, ErrorKind::Prohibited] {
        let mut told = Vec::new();
        if !error(kind, from, ip, &mut told) {
            assert!(told.is_empty());
            continue;
        }
        let packet = IpSlice::from_slice(&told).expect("an IP packet");
        let to = packet.destination_addr();
        assert!(!to.is_multicast() && !to.is_unspecified() && !to.is_loopback(), "to {to}");
        let message = packet.payload().payload;
        assert!(ip.starts_with(&message[8..]), "the quote is the packet");
        assert!(told.len() <= if v4_packet { 576 } else { 1_280 });
        match &packet {
            IpSlice::Ipv4(_) => {
                assert_eq!((checksum::checksum(&told[..20]), checksum::checksum(message)), (0, 0))
            }
            IpSlice::Ipv6(v6) => {
                let (header, message) = (v6.header(), Icmpv6Slice::from_slice(message).expect("ICMPv6"));
                assert!(message.is_checksum_valid(header.source(), header.destination()));
            }
        }
        assert!(!error(kind, from, &told.clone(), &mut told), "no error leads to another");
    }
}

fn parts(ip: &[u8], mtu: u16) {
    let Ok(mut fragments) = fragments(ip, mtu) else { return };
    let (whole, payload) = Ipv4Header::from_slice(ip).expect("another parser agrees");
    let payload = &payload[..usize::from(whole.total_len) - whole.header_len()];
    let start = usize::from(whole.fragment_offset.value()) * 8;
    let (mut put_together, mut room): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    let mut more = whole.more_fragments;
    while fragments.next_into(&mut room) {
        let (header, data) = Ipv4Header::from_slice(&room).expect("an IPv4 packet");
        assert!(room.len() <= usize::from(mtu) && usize::from(header.total_len) == room.len());
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        assert_eq!(usize::from(header.fragment_offset.value()) * 8, start + put_together.len());
        assert_eq!((header.identification, header.protocol), (whole.identification, whole.protocol));
        put_together.extend(data);
        more = header.more_fragments;
        assert!(more || put_together.len() == payload.len(), "the last is the last");
        room.clear();
    }
    assert_eq!(put_together, payload);
    assert_eq!(more, whole.more_fragments);
}

fn destination(ip: &[u8]) {
    let Ok(packet) = IpSlice::from_slice(ip) else { return };
    let to = packet.destination_addr();
    let same = |address: IpAddr| match (address, to) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..3] == b.octets()[..3],
        (IpAddr::V6(a), IpAddr::V6(b)) => a.octets()[..8] == b.octets()[..8],
        _ => false,
    };
    let inside = same(v4(0).into()) || same(v6(0).into());
    match the_gateway().whither(to) {
        Whither::Own(own) => assert!(own == to && (inside || to == GATEWAY_MAC.link_local())),
        Whither::Inside => assert!(inside),
        Whither::Multicast => assert!(to.is_multicast() || to == Ipv4Addr::BROADCAST || to == v4(255)),
        Whither::Martian => assert!(!inside && !to.is_multicast()),
        Whither::Outside => {
            let nobody = to.is_unspecified() || to.is_loopback() || to.is_multicast();
            assert!(!inside && !nobody && to != Ipv6Addr::LOCALHOST.to_canonical(), "{to}");
        }
    }
}
