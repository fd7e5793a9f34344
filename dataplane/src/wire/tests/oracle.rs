//! IP, TCP, UDP and ARP as etherparse reads them.

use etherparse::{
    ArpPacketSlice, Ipv4HeaderSlice, Ipv6HeaderSlice, Ipv6Slice, SlicedPacket, TcpSlice, TransportSlice,
    UdpHeaderSlice, UdpSlice,
};
use proptest::prelude::*;

use crate::wire::testing::{Network, any_recipe, hostile};
use crate::wire::*;

/// The layer 3 bytes of a frame, if it has any.
fn layer3(frame: &[u8]) -> &[u8] {
    vlan::untagged(frame).map_or(&[], |(_, l3)| &frame[l3..])
}

fn agree_on_ipv4(bytes: &[u8]) -> Result<(), TestCaseError> {
    let oracle = Ipv4HeaderSlice::from_slice(bytes).ok().filter(|header| {
        let total_len = usize::from(header.total_len());
        total_len >= header.slice().len() && total_len <= bytes.len()
    });
    let packet = Ipv4Packet::parse(bytes);
    prop_assert_eq!(packet.is_ok(), oracle.is_some(), "{:?}", packet);
    let (Ok(packet), Some(oracle)) = (packet, oracle) else { return Ok(()) };
    prop_assert_eq!(packet.source(), oracle.source_addr());
    prop_assert_eq!(packet.destination(), oracle.destination_addr());
    prop_assert_eq!(packet.protocol(), oracle.protocol().0);
    prop_assert_eq!(packet.header_len(), oracle.slice().len());
    prop_assert_eq!(packet.total_len(), usize::from(oracle.total_len()));
    prop_assert_eq!(packet.tos(), oracle.dcp().value() << 2 | oracle.ecn().value());
    prop_assert_eq!(packet.ecn().bits(), oracle.ecn().value());
    prop_assert_eq!(packet.ttl(), oracle.ttl());
    prop_assert_eq!(packet.identification(), oracle.identification());
    prop_assert_eq!(packet.dont_fragment(), oracle.dont_fragment());
    prop_assert_eq!(packet.more_fragments(), oracle.more_fragments());
    prop_assert_eq!(packet.fragment_offset(), usize::from(oracle.fragments_offset().value()) * 8);
    prop_assert_eq!(packet.is_fragment(), oracle.is_fragmenting_payload());
    prop_assert_eq!(packet.payload(), &bytes[packet.header_len()..packet.total_len()]);
    let computed = oracle.to_header().calc_header_checksum();
    prop_assert_eq!(packet.header_checksum_ok(), computed == oracle.header_checksum());
    Ok(())
}

fn agree_on_ipv6(bytes: &[u8]) -> Result<(), TestCaseError> {
    let oracle = Ipv6HeaderSlice::from_slice(bytes)
        .ok()
        .filter(|header| 40 + usize::from(header.payload_length()) <= bytes.len());
    let packet = Ipv6Packet::parse(bytes);
    prop_assert_eq!(packet.is_ok(), oracle.is_some(), "{:?}", packet);
    let (Ok(packet), Some(oracle)) = (packet, oracle) else { return Ok(()) };
    prop_assert_eq!(packet.source(), oracle.source_addr());
    prop_assert_eq!(packet.destination(), oracle.destination_addr());
    prop_assert_eq!(packet.traffic_class(), oracle.traffic_class());
    prop_assert_eq!(packet.ecn().bits(), oracle.traffic_class() & 3);
    prop_assert_eq!(packet.hop_limit(), oracle.hop_limit());
    prop_assert_eq!(packet.next_header(), oracle.next_header().0);
    prop_assert_eq!(packet.payload().len(), usize::from(oracle.payload_length()));

    let upper = packet.upper_layer();
    let end = 40 + packet.payload().len();
    prop_assert_eq!(upper.payload, &bytes[end - upper.payload.len()..end]);
    // etherparse reads on into the payload of later fragments, and takes a payload length of 0 for a jumbogram.
    let later = upper.fragment.is_some_and(|fragment| fragment.offset > 0);
    if let Ok(oracle) = Ipv6Slice::from_slice(bytes)
        && !later
        && !packet.payload().is_empty()
    {
        prop_assert!(upper.complete);
        prop_assert_eq!(upper.protocol, oracle.payload().ip_number.0);
        prop_assert_eq!(upper.payload, oracle.payload().payload);
        let partial = upper.fragment.is_some_and(|fragment| !fragment.is_whole());
        prop_assert_eq!(partial, oracle.payload().fragmented);
    }
    Ok(())
}

fn agree_on_tcp(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (segment, oracle) = (TcpSegment::parse(bytes), TcpSlice::from_slice(bytes));
    prop_assert_eq!(segment.is_ok(), oracle.is_ok(), "{:?}", segment);
    let (Ok(segment), Ok(oracle)) = (segment, oracle) else { return Ok(()) };
    prop_assert_eq!(segment.source_port(), oracle.source_port());
    prop_assert_eq!(segment.destination_port(), oracle.destination_port());
    prop_assert_eq!(segment.sequence(), oracle.sequence_number());
    prop_assert_eq!(segment.acknowledgement(), oracle.acknowledgment_number());
    prop_assert_eq!(segment.header_len(), oracle.header_len());
    prop_assert_eq!(segment.window(), oracle.window_size());
    prop_assert_eq!(segment.checksum(), oracle.checksum());
    prop_assert_eq!(segment.options(), oracle.options());
    prop_assert_eq!(segment.payload(), oracle.payload());
    let flags = segment.flags();
    let bits = [
        (TcpFlags::FIN, oracle.fin()),
        (TcpFlags::SYN, oracle.syn()),
        (TcpFlags::RST, oracle.rst()),
        (TcpFlags::PSH, oracle.psh()),
        (TcpFlags::ACK, oracle.ack()),
        (TcpFlags::URG, oracle.urg()),
        (TcpFlags::ECE, oracle.ece()),
        (TcpFlags::CWR, oracle.cwr()),
    ];
    for (bit, set) in bits {
        prop_assert_eq!(flags.contains(bit), set, "{:?}", bit);
    }
    Ok(())
}

fn agree_on_udp(bytes: &[u8]) -> Result<(), TestCaseError> {
    // etherparse takes a length of 0 for "the rest"; here it is as wrong as any other below 8.
    if UdpHeaderSlice::from_slice(bytes).is_ok_and(|header| header.length() == 0) {
        prop_assert_eq!(UdpDatagram::parse(bytes).err(), Some(ParseError::BadLength));
        return Ok(());
    }
    let (datagram, oracle) = (UdpDatagram::parse(bytes), UdpSlice::from_slice(bytes));
    prop_assert_eq!(datagram.is_ok(), oracle.is_ok(), "{:?}", datagram);
    let (Ok(datagram), Ok(oracle)) = (datagram, oracle) else { return Ok(()) };
    prop_assert_eq!(datagram.source_port(), oracle.source_port());
    prop_assert_eq!(datagram.destination_port(), oracle.destination_port());
    prop_assert_eq!(datagram.length(), usize::from(oracle.length()));
    prop_assert_eq!(datagram.checksum(), oracle.checksum());
    prop_assert_eq!(datagram.payload(), oracle.payload());
    Ok(())
}

fn agree_on_arp(bytes: &[u8]) -> Result<(), TestCaseError> {
    let oracle = ArpPacketSlice::from_slice(bytes).ok().and_then(|arp| arp.to_packet().try_eth_ipv4().ok());
    let packet = ArpPacket::parse(bytes);
    prop_assert_eq!(packet.is_ok(), oracle.is_some(), "{:?}", packet);
    let (Ok(packet), Some(oracle)) = (packet, oracle) else { return Ok(()) };
    prop_assert_eq!(u16::from(packet.operation()), oracle.operation.0);
    prop_assert_eq!(packet.sender_mac().0, oracle.sender_mac);
    prop_assert_eq!(packet.sender_ip(), oracle.sender_ipv4_addr());
    prop_assert_eq!(packet.target_mac().0, oracle.target_mac);
    prop_assert_eq!(packet.target_ip(), oracle.target_ipv4_addr());
    prop_assert_eq!(ArpRepr::from(packet).emit(), oracle.to_bytes());
    Ok(())
}
fn agree_on_everything(frame: &[u8]) -> Result<(), TestCaseError> {
    let packet = layer3(frame);
    agree_on_ipv4(packet)?;
    agree_on_ipv6(packet)?;
    agree_on_arp(packet)?;
    let payloads = [
        Ipv4Packet::parse(packet).map_or(packet, |packet| packet.payload()),
        Ipv6Packet::parse(packet).map_or(packet, |packet| packet.upper_layer().payload),
    ];
    for payload in payloads {
        agree_on_tcp(payload)?;
        agree_on_udp(payload)?;
        prop_assert_eq!(Icmpv4Packet::parse(payload).is_ok(), payload.len() >= 8);
        // No oracle here, but no panic either.
        let _ = NdMessage::parse(payload);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn well_formed_frames_are_understood(recipe in any_recipe()) {
        let frame = recipe.build();
        let oracle = SlicedPacket::from_ethernet(&frame).unwrap();
        let ethernet = Ethernet::parse(&frame).unwrap();
        prop_assert_eq!(ethernet.source().0, recipe.macs[0]);
        prop_assert_eq!(ethernet.destination().0, recipe.macs[1]);
        prop_assert_eq!(ethernet.payload(), &frame[14..]);
        prop_assert_eq!(vlan::is_tagged(&frame), recipe.tags > 0);
        prop_assert_eq!(oracle.vlan_ids().len(), recipe.tags);
        prop_assert_eq!(vlan::untagged(&frame).unwrap().1, 14 + 4 * recipe.tags);
        let v4 = matches!(recipe.network, Network::V4 { .. });
        prop_assert_eq!(vlan::untagged(&frame).unwrap().0, if v4 { EtherType::IPV4 } else { EtherType::IPV6 });

        let (protocol, payload) = match &recipe.network {
            Network::V4 { .. } => {
                let packet = Ipv4Packet::parse(layer3(&frame)).unwrap();
                (packet.protocol(), packet.payload())
            }
            Network::V6 { .. } => {
                let upper = Ipv6Packet::parse(layer3(&frame)).unwrap().upper_layer();
                prop_assert!(upper.complete);
                (upper.protocol, upper.payload)
            }
        };
        let ip = oracle.ip_payload().unwrap();
        prop_assert_eq!(protocol, ip.ip_number.0);
        prop_assert_eq!(payload, ip.payload);
        match oracle.transport {
            Some(TransportSlice::Tcp(tcp)) => prop_assert_eq!(payload, tcp.slice()),
            Some(TransportSlice::Udp(udp)) => prop_assert_eq!(payload, udp.slice()),
            Some(TransportSlice::Icmpv4(icmp)) => prop_assert_eq!(payload, icmp.slice()),
            Some(TransportSlice::Icmpv6(icmp)) => prop_assert_eq!(payload, icmp.slice()),
            other => prop_assert!(false, "no transport: {other:?}"),
        }
        agree_on_everything(&frame)?;
    }

    #[test]
    fn hostile_frames_are_judged_alike(frame in hostile()) {
        agree_on_everything(&frame)?;
    }

    #[test]
    fn arp_is_judged_alike(mut bytes: [u8; 32], len in 0usize..=32, noisy in prop::bool::weighted(0.1)) {
        if !noisy {
            bytes[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
        }
        agree_on_arp(&bytes[..len])?;
    }
}
