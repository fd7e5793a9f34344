//! The grammar against etherparse, on well-formed packets and on hostile bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{ArpEthIpv4Packet, ArpOperation, Icmpv4Slice};
use proptest::prelude::*;

use super::testing::{Network, any_recipe, hostile, noise};
use super::*;

mod flow;
mod neighbor;
mod oracle;
mod router;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn stripping_tags_leaves_the_untagged_frame(mut recipe in any_recipe()) {
        let mut tagged = recipe.build();
        let expected = vlan::untagged(&tagged).unwrap().0;
        let removed = 4 * recipe.tags;
        recipe.tags = 0;
        let (frame, by) = vlan::strip(&mut tagged);
        prop_assert_eq!(by, removed);
        prop_assert_eq!(vlan::untagged(frame), Some((expected, 14)));
        prop_assert_eq!(&*frame, &recipe.build()[..]);
    }

    #[test]
    fn stripping_never_panics_nor_invents(mut frame in hostile()) {
        let before = frame.clone();
        let (stripped, by) = vlan::strip(&mut frame);
        prop_assert_eq!(stripped.len() + by, before.len());
        if by > 0 {
            prop_assert!(stripped.len() >= 14);
            prop_assert_eq!(&stripped[..12], &before[..12]);
        }
        prop_assert_eq!(&stripped[stripped.len().min(12)..], &before[before.len().min(12 + by)..]);
    }

    #[test]
    fn ecn_is_written_with_its_checksum(recipe in any_recipe(), bits in 0u8..4) {
        let ecn = Ecn::from_bits(bits);
        let mut frame = recipe.build();
        let l3 = 14 + 4 * recipe.tags;
        let before = frame.clone();
        match recipe.network {
            Network::V4 { tos, .. } => {
                ipv4::set_ecn(&mut frame[l3..], ecn);
                let packet = Ipv4Packet::parse(&frame[l3..]).unwrap();
                prop_assert_eq!((packet.ecn(), packet.tos() >> 2), (ecn, tos >> 2));
                prop_assert!(packet.header_checksum_ok());
                ipv4::set_ecn(&mut frame[l3..], Ecn::from_bits(tos));
            }
            Network::V6 { traffic_class, .. } => {
                ipv6::set_ecn(&mut frame[l3..], ecn);
                let packet = Ipv6Packet::parse(&frame[l3..]).unwrap();
                prop_assert_eq!((packet.ecn(), packet.traffic_class() >> 2), (ecn, traffic_class >> 2));
                ipv6::set_ecn(&mut frame[l3..], Ecn::from_bits(traffic_class));
            }
        }
        prop_assert_eq!(frame, before);
    }

    #[test]
    fn echo_is_written_as_etherparse_reads_it(reply: bool, ident: u16, sequence: u16, len in 0usize..70) {
        let data = noise(len, u64::from(ident));
        let message = [&EchoRepr { reply, ident, sequence }.emit(&data)[..], &data].concat();
        let view = Icmpv4Packet::parse(&message).unwrap();
        prop_assert!(view.checksum_ok());
        prop_assert_eq!((view.ident(), view.sequence(), view.data()), (ident, sequence, &data[..]));
        prop_assert_eq!((view.is_echo_reply(), view.is_echo_request()), (reply, !reply));
        let header = Icmpv4Slice::from_slice(&message).unwrap().header();
        prop_assert_eq!(header.icmp_type.calc_checksum(&data), header.checksum);
        let echo = etherparse::IcmpEchoHeader { id: ident, seq: sequence };
        let expected = if reply { etherparse::Icmpv4Type::EchoReply(echo) } else { etherparse::Icmpv4Type::EchoRequest(echo) };
        prop_assert_eq!(header.icmp_type, expected);
    }

    #[test]
    fn arp_is_written_as_etherparse_reads_it(sender: [u8; 6], target: [u8; 6], addresses: [[u8; 4]; 2], reply: bool) {
        let repr = ArpRepr {
            operation: if reply { ArpOp::Reply } else { ArpOp::Request },
            sender_mac: MacAddr(sender),
            sender_ip: addresses[0].into(),
            target_mac: MacAddr(target),
            target_ip: addresses[1].into(),
        };
        let oracle = ArpEthIpv4Packet {
            operation: if reply { ArpOperation::REPLY } else { ArpOperation::REQUEST },
            sender_mac: sender,
            sender_ipv4: addresses[0],
            target_mac: target,
            target_ipv4: addresses[1],
        };
        prop_assert_eq!(repr.emit(), oracle.to_bytes());
    }

    #[test]
    fn macs_round_trip_through_text(octets: [u8; 6]) {
        let mac = MacAddr(octets);
        prop_assert_eq!(mac.to_string().parse::<MacAddr>(), Ok(mac));
        prop_assert_eq!(mac.to_string().to_uppercase().parse::<MacAddr>(), Ok(mac));
        prop_assert_eq!(mac.to_u64().to_be_bytes()[2..].to_vec(), octets.to_vec());
    }

    #[test]
    fn vxlan_ignores_every_reserved_bit(noise: [u8; 8], number in 0u32..1 << 24) {
        let vni = Vni::new(number).unwrap();
        let clean = vxlan::header(vni);
        let mut datagram = clean.to_vec();
        for at in [0, 1, 2, 3, 7] {
            datagram[at] |= noise[at];
        }
        prop_assert_eq!(vxlan::parse(&datagram), Err(VxlanError::Truncated));
        datagram.resize(21, 0);
        prop_assert_eq!(vxlan::parse(&datagram), Err(VxlanError::Truncated));
        datagram.push(0);
        prop_assert_eq!(vxlan::parse(&datagram), Ok((vni, 8)));
        datagram[0] &= !0x08;
        prop_assert_eq!(vxlan::parse(&datagram), Err(VxlanError::NoVniFlag));
        prop_assert_eq!(clean, [8, 0, 0, 0, (number >> 16) as u8, (number >> 8) as u8, number as u8, 0]);
    }
}

#[test]
fn macs_are_classified() {
    let mac = |text: &str| text.parse::<MacAddr>().unwrap();
    assert!(MacAddr::BROADCAST.is_multicast() && MacAddr::BROADCAST.is_broadcast());
    assert!(MacAddr::ZERO.is_zero() && !MacAddr::ZERO.is_multicast());
    for (text, reserved) in [
        ("01:80:c2:00:00:00", true),
        ("01:80:c2:00:00:0f", true),
        ("01:80:c2:00:00:10", false),
        ("01:80:c2:00:01:00", false),
        ("00:80:c2:00:00:00", false),
    ] {
        assert_eq!(mac(text).is_reserved_group(), reserved, "{text}");
    }
    let docker = MacAddr::from_ipv4(Ipv4Addr::new(10, 0, 0, 2));
    assert_eq!(docker, mac("02:42:0a:00:00:02"));
    assert_eq!(docker.link_local(), "fe80::42:aff:fe00:2".parse::<Ipv6Addr>().unwrap());
}

#[test]
fn bad_text_is_refused_by_name() {
    for text in [
        "",
        "02:42:0a:00:00",
        "02:42:0a:00:00:02:03",
        "02:42:0a:00:00:0",
        "+2:42:0a:00:00:02",
        "02-42-0a-00-00-02",
    ] {
        let error = text.parse::<MacAddr>().unwrap_err().to_string();
        assert!(error.contains(&format!("{text:?}")) && error.contains("six pairs"), "{error}");
    }
    assert_eq!("16777215".parse(), Ok(Vni::MAX));
    assert_eq!("0".parse::<Vni>().unwrap().get(), 0);
    assert_eq!("16777216".parse::<Vni>(), Err(VniError::OutOfRange(16_777_216)));
    assert_eq!(
        Vni::new(16_777_216).unwrap_err().to_string(),
        "VNI 16777216 is out of range: use a number from 0 to 16777215"
    );
    assert_eq!("4294967296".parse::<Vni>(), Err(VniError::NotANumber("4294967296".to_owned())));
    assert_eq!("-1".parse::<Vni>(), Err(VniError::NotANumber("-1".to_owned())));
}

#[test]
fn a_third_tag_is_not_looked_through() {
    let mut frame = vec![0; 12];
    frame.extend([0x91, 0, 0, 1, 0x88, 0xa8, 0, 2, 0x81, 0, 0, 3, 8, 0, 0x45]);
    assert_eq!(vlan::untagged(&frame), Some((EtherType::VLAN, 22)));
    let (frame, by) = vlan::strip(&mut frame);
    assert_eq!(by, 8);
    assert!(vlan::is_tagged(frame));
    assert_eq!(vlan::untagged(&frame[..15]), None, "a tag that is cut off hides the EtherType");
}

#[test]
fn ipv6_chains_end() {
    let packet = |chain: &[u8]| {
        let mut packet = vec![0x60, 0, 0, 0, 0, chain.len() as u8, 0, 64];
        packet.extend([0; 32]);
        packet.extend(chain);
        packet
    };
    // Hop-by-hop headers of eight bytes, each followed by another, the last by UDP.
    let chain = |count: usize| {
        let mut chain = [0u8; 8].repeat(count);
        chain[(count - 1) * 8] = protocol::UDP;
        chain
    };
    let complete = |bytes: &[u8]| Ipv6Packet::parse(bytes).unwrap().upper_layer().complete;
    assert!(complete(&packet(&chain(ipv6::MAX_EXTENSIONS))));
    assert!(!complete(&packet(&chain(ipv6::MAX_EXTENSIONS + 1))));
    assert!(!complete(&packet(&chain(2)[..12])), "truncated");

    let mut later = packet(&[protocol::UDP, 0, 0x00, 0x09, 0, 0, 0, 1, 0xaa]);
    later[6] = 44;
    let upper = Ipv6Packet::parse(&later).unwrap().upper_layer();
    assert_eq!(upper.fragment, Some(Fragment { offset: 8, more: true, len: 1, identification: 1 }));
    assert_eq!((upper.protocol, upper.payload, upper.complete), (protocol::UDP, &[0xaa][..], false));

    let mut twice = packet(&[44, 0, 0, 1, 0, 0, 0, 1, protocol::UDP, 0, 0, 0, 0, 0, 0, 1]);
    twice[6] = 44;
    let upper = Ipv6Packet::parse(&twice).unwrap().upper_layer();
    assert_eq!(
        upper.fragment,
        Some(Fragment { offset: 0, more: true, len: 8, identification: 1 }),
        "the second must not hide the first"
    );
}

#[test]
fn quoted_packets_may_end_anywhere_behind_their_header() {
    let mut v4 = vec![0x46, 0, 0, 60];
    v4.resize(28, 7);
    let mut v6 = vec![0x60, 0, 0, 0, 0, 20];
    v6.resize(44, 7);
    for len in 0..=v4.len() {
        let view = Ipv4Packet::parse_quoted(&v4[..len]);
        assert_eq!(view.map(|view| view.total_len()).ok(), (len >= 24).then_some(len));
        assert!(Ipv4Packet::parse(&v4[..len]).is_err(), "it claims 60 bytes");
    }
    for len in 0..=v6.len() {
        let view = Ipv6Packet::parse_quoted(&v6[..len]);
        assert_eq!(view.map(|view| view.total_len()).ok(), (len >= 40).then_some(len));
        assert!(Ipv6Packet::parse(&v6[..len]).is_err(), "it claims 60 bytes");
    }
    let short = [&[0x45, 0, 0, 22][..], &[7; 18]].concat();
    assert_eq!(Ipv4Packet::parse_quoted(&[&short[..], b"padding"].concat()).unwrap().total_len(), 22);
    assert!(Ipv4Packet::parse_quoted(&[&[0x45, 0, 0, 19][..], &[7; 18]].concat()).is_err());
}

#[test]
fn tags_that_are_cut_off_stay() {
    let mut frame = vec![0; 12];
    frame.extend([0x88, 0xa8, 0, 2, 0x81, 0, 0, 3, 8, 0, 0x45]);
    for len in 0..=frame.len() {
        let mut cut = frame[..len].to_vec();
        let (removed, l3) = match len {
            0..18 => (0, None),
            18..22 => (4, None),
            _ => (8, Some((EtherType::IPV4, 22))),
        };
        assert_eq!(vlan::untagged(&cut), l3, "{len} bytes");
        assert_eq!(vlan::is_tagged(&cut), len >= 14, "{len} bytes");
        assert_eq!(vlan::strip(&mut cut).1, removed, "{len} bytes");
    }
}
