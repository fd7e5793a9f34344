//! What a router changes in a packet and says to its neighbours.

use etherparse::{Ethernet2Header, IpSlice, Ipv6Slice};
use proptest::prelude::*;

use crate::wire::testing::{Network, any_recipe, hostile};
use crate::wire::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_hop_is_taken_with_its_checksum(mut recipe in any_recipe(), hops: u8) {
        recipe.tags = 0;
        let mut ip = recipe.build().split_off(14);
        let v4 = matches!(recipe.network, Network::V4 { .. });
        let at = if v4 { ipv4::field::TTL } else { ipv6::field::HOP_LIMIT };
        if v4 {
            ipv4::set_ttl(&mut ip, hops);
        } else {
            ip[at] = hops;
        }
        let before = ip.clone();
        let on = if v4 { ipv4::decrement_ttl(&mut ip) } else { ipv6::decrement_hop_limit(&mut ip) };
        prop_assert_eq!(on, hops > 1);
        if on {
            prop_assert_eq!(ip[at], hops - 1);
            if let IpSlice::Ipv4(v4) = IpSlice::from_slice(&ip).unwrap() {
                let header = v4.header().to_header();
                prop_assert_eq!(header.header_checksum, header.calc_header_checksum());
                ipv4::set_ttl(&mut ip, hops);
            } else {
                ip[at] = hops;
            }
        }
        prop_assert_eq!(ip, before, "nothing else changes");
    }

    #[test]
    fn hostile_packets_lose_a_hop_or_nothing(mut bytes in hostile()) {
        let before = bytes.clone();
        let on = [ipv4::decrement_ttl(&mut bytes), ipv6::decrement_hop_limit(&mut bytes)];
        prop_assert_eq!(on.contains(&true), bytes != before);
        if let Ok(packet) = Ipv4Packet::parse(&bytes) {
            let options: Vec<_> = packet.options().collect();
            let len: usize = options.iter().flatten().map(|option| option.bytes.len()).sum();
            prop_assert!(len <= packet.header_len() - ipv4::HEADER_LEN);
            prop_assert!(options.iter().rev().skip(1).all(Result::is_ok), "an error is the last");
        }
    }

    #[test]
    fn neighbor_discovery_is_read_as_it_was_written(
        source: [u8; 16], destination: [u8; 16], target: [u8; 16], mac: [u8; 6], flags in 0u8..4, ask: bool,
    ) {
        prop_assume!(target[0] != 0xff);
        let (target, mac, solicited, router) = (target.into(), MacAddr(mac), flags & 1 == 1, flags & 2 == 2);
        let (repr, expected) = if ask {
            let read = NdMessage::NeighborSolicit { target, source_mac: Some(mac) };
            (NdRepr::Solicit { target, source_mac: mac }, read)
        } else {
            let target_mac = Some(mac);
            let read = NdMessage::NeighborAdvert { target, target_mac, solicited, override_: true, router };
            (NdRepr::Advert { target, target_mac: mac, solicited, router }, read)
        };
        let packet = repr.emit(source.into(), destination.into());
        let ip = Ipv6Slice::from_slice(&packet).unwrap();
        let header = ip.header().to_header();
        prop_assert_eq!((header.source, header.destination, header.hop_limit), (source, destination, 255));
        let message = etherparse::Icmpv6Slice::from_slice(ip.payload().payload).unwrap();
        prop_assert!(message.is_checksum_valid(source, destination));
        prop_assert_eq!(NdMessage::parse(message.slice()), Ok(Some(expected)));
    }

    #[test]
    fn ethernet_headers_are_written_as_etherparse_does(destination: [u8; 6], source: [u8; 6], number: u16) {
        let oracle = Ethernet2Header { source, destination, ether_type: etherparse::EtherType(number) };
        let header = ethernet::header(MacAddr(destination), MacAddr(source), EtherType(number));
        prop_assert_eq!(header, oracle.to_bytes());
    }
}

#[test]
fn options_are_walked_to_their_end() {
    let packet = |options: &[u8]| {
        let mut packet = vec![0; 20];
        packet.extend(options);
        packet[0] = 4 << 4 | (packet.len() / 4) as u8;
        packet[3] = packet.len() as u8;
        packet
    };
    let kinds = |options: &[u8]| {
        let packet = packet(options);
        let options = Ipv4Packet::parse(&packet).unwrap().options();
        options.map(|option| option.map(|o| (o.kind(), o.bytes.len()))).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&[]), []);
    assert_eq!(kinds(&[1, 7, 3, 9, 148, 4, 0, 0, 0, 9, 9, 9]), [Ok((1, 1)), Ok((7, 3)), Ok((148, 4))]);
    for bad in [[7, 1, 0, 0], [7, 0, 0, 0], [7, 5, 0, 0], [1, 1, 1, 7]] {
        assert_eq!(kinds(&bad).last(), Some(&Err(ParseError::BadLength)), "{bad:?}");
    }
    for (kind, copied, route) in [(7, false, false), (131, true, true), (137, true, true), (148, true, false)]
    {
        let option = ipv4::Ipv4Option { bytes: &[kind, 2] };
        assert_eq!((option.copied(), option.is_source_route()), (copied, route), "{kind}");
    }
}

#[test]
fn groups_have_their_addresses() {
    let group = nd::solicited_node("2001:db8::12:3456".parse().unwrap());
    assert_eq!(group, "ff02::1:ff12:3456".parse::<std::net::Ipv6Addr>().unwrap());
    assert_eq!(nd::group_mac(group), MacAddr([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]));
}
