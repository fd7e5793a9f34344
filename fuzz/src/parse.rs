//! Every parser on the same bytes: views lie within them, and say the same thing each time.

use weft_dataplane::wire::{
    ArpPacket, ArpRepr, Ecn, EtherType, Ethernet, Icmpv4Packet, Ipv4Packet, Ipv6Packet, NdMessage,
    TcpSegment, UdpDatagram, checksum, flow, ipv4, ipv6, vlan, vxlan,
};

/// Reads `data` as everything that has a grammar.
pub fn parse(data: &[u8]) {
    link(data);
    for start in [0, 14] {
        let Some(rest) = data.get(start..) else { return };
        network_v4(rest);
        network_v6(rest);
        upper(rest);
        arp(rest);
    }
    if let Ok((vni, start)) = vxlan::parse(data) {
        assert!(start <= data.len());
        assert_eq!(vxlan::parse(&[&vxlan::header(vni), &data[start..]].concat()), Ok((vni, start)));
    }
    checksums(data);
}

fn link(data: &[u8]) {
    let Ok(frame) = Ethernet::parse(data) else {
        assert!(data.len() < 14 && vlan::untagged(data).is_none());
        return;
    };
    assert_eq!(frame.payload().len() + 14, data.len());
    let hash = flow::flow_hash(data, 1);
    assert_eq!(hash, flow::flow_hash(data, 1));
    assert!(flow::source_port(hash) >= 49_152);
    let before = vlan::untagged(data);
    let mut copy = data.to_vec();
    let (stripped, removed) = vlan::strip(&mut copy);
    assert_eq!(stripped.len() + removed, data.len());
    assert_eq!(stripped[..12], data[..12], "the addresses stay");
    if let (Some((ether_type, l3)), false) = (before, vlan::is_tagged(stripped)) {
        assert_eq!(vlan::untagged(stripped), Some((ether_type, l3 - removed)));
        assert_eq!(stripped[l3 - removed..], data[l3..]);
    }
}

fn network_v4(data: &[u8]) {
    let Ok(packet) = Ipv4Packet::parse(data) else { return };
    assert!((20..=60).contains(&packet.header_len()));
    assert_eq!(packet.header_len() + packet.payload().len(), packet.total_len());
    assert_eq!(packet.is_fragment(), packet.more_fragments() || packet.fragment_offset() > 0);
    let judge = etherparse::Ipv4Header::from_slice(data).expect("another parser agrees").0;
    assert_eq!((packet.source().octets(), packet.destination().octets()), (judge.source, judge.destination));
    assert_eq!(packet.protocol(), judge.protocol.0);
    let right = packet.header_checksum_ok();
    for bits in 0..4 {
        let mut copy = data.to_vec();
        ipv4::set_ecn(&mut copy, Ecn::from_bits(bits));
        let changed = Ipv4Packet::parse(&copy).expect("lengths are as they were");
        assert_eq!(changed.ecn().bits(), bits);
        assert!(!right || changed.header_checksum_ok(), "a right checksum stays right");
        assert_eq!(changed.payload(), packet.payload());
    }
}

fn network_v6(data: &[u8]) {
    let Ok(packet) = Ipv6Packet::parse(data) else { return };
    assert!(packet.payload().len() + 40 <= data.len());
    let upper = packet.upper_layer();
    assert!(packet.payload().ends_with(upper.payload), "the upper layer is the end of the packet");
    if upper.fragment.is_some_and(|fragment| fragment.offset > 0) {
        assert!(!upper.complete, "a later fragment has no upper layer");
    }
    for bits in 0..4 {
        let mut copy = data.to_vec();
        ipv6::set_ecn(&mut copy, Ecn::from_bits(bits));
        let changed = Ipv6Packet::parse(&copy).expect("lengths are as they were");
        assert_eq!(changed.traffic_class(), packet.traffic_class() & !3 | bits);
    }
}

fn upper(data: &[u8]) {
    if let Ok(segment) = TcpSegment::parse(data) {
        assert_eq!(segment.header_len() + segment.payload().len(), data.len());
        assert_eq!(segment.options().len() + 20, segment.header_len());
    }
    if let Ok(datagram) = UdpDatagram::parse(data) {
        assert!(datagram.payload().len() + 8 <= data.len());
    }
    if let Ok(message) = Icmpv4Packet::parse(data) {
        assert_eq!(message.data().len() + 8, data.len());
        assert!(!(message.is_echo_request() && message.is_echo_reply()));
    }
    if let Ok(Some(message)) = NdMessage::parse(data) {
        assert!((133..=137).contains(&data[0]) && data[1] == 0, "{message:?}");
    }
}

fn arp(data: &[u8]) {
    let Ok(packet) = ArpPacket::parse(data) else { return };
    assert_eq!(ArpRepr::from(packet).emit(), data[..28], "what is read can be written");
    assert_eq!(EtherType(u16::from_be_bytes([data[2], data[3]])), EtherType::IPV4);
}

/// RFC 1071 by the definition: words added one by one, the carry around the end.
fn checksums(data: &[u8]) {
    let mut sum = 0u32;
    for pair in data.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    assert_eq!(checksum::checksum(data), !(sum as u16));
}
