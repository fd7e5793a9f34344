//! Errors as etherparse reads them, and who gets none.

use etherparse::{Icmpv4Slice, Icmpv6Slice, IpSlice};
use proptest::prelude::*;

use super::*;
use crate::gateway::testing::{echo_requests, udp_with_options};
use crate::wire::testing::{hostile, noise, recipe, tcp, udp};
use crate::wire::vlan;

const KINDS: [ErrorKind; 6] = [
    ErrorKind::TtlExceeded,
    ErrorKind::FragNeeded { mtu: 1_400 },
    ErrorKind::NetUnreachable,
    ErrorKind::HostUnreachable,
    ErrorKind::PortUnreachable,
    ErrorKind::Prohibited,
];

fn gateway(v4: bool) -> IpAddr {
    if v4 { Ipv4Addr::new(10, 1, 0, 1).into() } else { "fd00:1::1".parse().expect("an address") }
}

/// The error about `offending`, if there is one.
fn told(kind: ErrorKind, offending: &[u8]) -> Option<Vec<u8>> {
    let mut room = vec![0xee; 14];
    let v4 = offending.first().is_some_and(|first| first >> 4 == 4);
    let told = error(kind, gateway(v4), offending, &mut room);
    assert_eq!(room[..14], [0xee; 14]);
    assert_eq!(told, room.len() > 14);
    told.then(|| room.split_off(14))
}

/// Reads `packet` as an error to the sender of `offending`: type, code, MTU, and the quote.
fn read(packet: &[u8], offending: &[u8]) -> (u8, u8, u16, Vec<u8>) {
    let (ip, about) = (IpSlice::from_slice(packet).unwrap(), IpSlice::from_slice(offending).unwrap());
    assert_eq!(ip.destination_addr(), about.source_addr());
    assert_eq!(ip.source_addr(), gateway(about.ipv4().is_some()));
    let message = ip.payload().payload;
    match &ip {
        IpSlice::Ipv4(v4) => {
            let header = v4.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            let message = Icmpv4Slice::from_slice(message).unwrap();
            let sum = message.header().icmp_type.calc_checksum(message.payload());
            assert_eq!(sum, message.checksum());
        }
        IpSlice::Ipv6(v6) => {
            let message = Icmpv6Slice::from_slice(message).unwrap();
            assert!(message.is_checksum_valid(v6.header().source(), v6.header().destination()));
        }
    }
    assert_eq!(message[4..6], [0, 0]);
    (message[0], message[1], u16::from_be_bytes([message[6], message[7]]), message[8..].to_vec())
}

#[test]
fn every_kind_has_its_numbers() {
    let [v4, v6] = echo_requests(&noise(100, 1));
    let expected = [(11, 0, 0), (3, 4, 1_400), (3, 0, 0), (3, 1, 0), (3, 3, 0), (3, 13, 0)];
    for (kind, (icmp_type, code, mtu)) in KINDS.into_iter().zip(expected) {
        assert_eq!(read(&told(kind, &v4).unwrap(), &v4), (icmp_type, code, mtu, v4.clone()));
    }
    let expected = [(3, 0, 0), (2, 0, 1_400), (1, 0, 0), (1, 3, 0), (1, 4, 0), (1, 1, 0)];
    for (kind, (icmp_type, code, mtu)) in KINDS.into_iter().zip(expected) {
        assert_eq!(read(&told(kind, &v6).unwrap(), &v6), (icmp_type, code, mtu, v6.clone()));
    }
    let narrow = told(ErrorKind::FragNeeded { mtu: 600 }, &v6).unwrap();
    assert_eq!(read(&narrow, &v6).2, 1_280, "no IPv6 link is narrower");
}

#[test]
fn quotes_end_where_every_link_carries_them() {
    let [v4, v6] = echo_requests(&noise(3_000, 1));
    let (short, long) = (told(KINDS[0], &v4).unwrap(), told(KINDS[0], &v6).unwrap());
    assert_eq!((short.len(), long.len()), (576, 1_280));
    assert_eq!(read(&short, &v4).3, v4[..548]);
    assert_eq!(read(&long, &v6).3, v6[..1_232]);
    let padded = [&echo_requests(b"x")[0][..], &[0; 17]].concat();
    assert_eq!(read(&told(KINDS[0], &padded).unwrap(), &padded).3.len(), 29, "padding is not quoted");
}

#[test]
fn some_get_no_error() {
    let changed = |family: usize, at: usize, bytes: &[u8]| {
        let mut packet = echo_requests(&[0; 16])[family].clone();
        packet[at..at + bytes.len()].copy_from_slice(bytes);
        packet
    };
    for (what, packet) in [
        ("an unreachable", changed(0, 20, &[3])),
        ("a redirect", changed(0, 20, &[5])),
        ("an unknown type", changed(0, 20, &[42])),
        ("a later fragment", changed(0, 6, &[0, 1])),
        ("to a group", changed(0, 16, &[224])),
        ("to all", changed(0, 16, &[255; 4])),
        ("from nobody", changed(0, 12, &[0; 4])),
        ("from loopback", changed(0, 12, &[127])),
        ("from a group", changed(0, 12, &[239])),
        ("an ICMP message without a type", echo_requests(b"")[0][..20].to_vec()),
        ("a v6 packet too big", changed(1, 40, &[2])),
        ("a v6 redirect", changed(1, 40, &[137])),
        ("a later v6 fragment", changed(1, 6, &[ipv6::FRAGMENT, 64, 0, 0])),
        ("to a v6 group", changed(1, 24, &[0xff])),
        ("from ::", changed(1, 8, &[0; 16])),
        ("from a v6 group", changed(1, 8, &[0xff])),
        ("nothing", Vec::new()),
    ] {
        let mut packet = packet;
        if what.starts_with("a later v6") {
            packet[40..48].copy_from_slice(&[17, 0, 0, 8, 0, 0, 0, 1]);
        }
        assert_eq!(told(ErrorKind::HostUnreachable, &packet), None, "{what}");
    }
    assert!(told(ErrorKind::FragNeeded { mtu: 1_280 }, &changed(1, 24, &[0xff, 0x0e])).is_some());
    let [v4, _] = echo_requests(b"");
    assert!(!error(KINDS[0], gateway(false), &v4, &mut Vec::new()), "another family");
    assert!(told(KINDS[0], &udp_with_options(&[148, 4, 0, 0], &[0; 8])).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_quote_is_the_packet(recipe in recipe(prop_oneof![tcp(), udp()], 0..2_000), kind in 0usize..6) {
        let frame = recipe.build();
        let offending = &frame[vlan::untagged(&frame).unwrap().1..];
        if let Some(packet) = told(KINDS[kind], offending) {
            let (.., quote) = read(&packet, offending);
            let most = if offending[0] >> 4 == 4 { 548 } else { 1_232 };
            prop_assert_eq!(&quote[..], &offending[..offending.len().min(most)]);
        }
    }

    #[test]
    fn no_error_leads_to_another(frame in hostile(), kind in 0usize..6) {
        if let Some(offending) = frame.get(14..)
            && let Some(first) = told(KINDS[kind], offending)
        {
            prop_assert!(first.len() <= 1_280);
            prop_assert_eq!(told(KINDS[kind], &first), None);
        }
    }
}
