//! Replies as etherparse reads them, whole and in fragments.

use etherparse::{Icmpv4Slice, Icmpv4Type, Icmpv6Slice, Icmpv6Type, IpSlice, Ipv4Slice, Ipv6Slice};
use proptest::prelude::*;

use super::*;
use crate::gateway::testing::{cut, echo_requests, reassemble};
use crate::wire::testing::{hostile, noise};

const HEADER_V6: usize = ipv6::HEADER_LEN;

/// Reads `ip` as the reply to `request`: addresses exchanged, the same data, a right checksum.
fn check(request: &[u8], ip: &[u8]) {
    let (asked, got) = (IpSlice::from_slice(request).unwrap(), IpSlice::from_slice(ip).unwrap());
    assert_eq!(got.source_addr(), asked.destination_addr());
    assert_eq!(got.destination_addr(), asked.source_addr());
    let (question, answer) = (asked.payload().payload, got.payload().payload);
    assert_eq!(question[4..], answer[4..], "identifier, sequence and data");
    match got {
        IpSlice::Ipv4(v4) => {
            let message = Icmpv4Slice::from_slice(answer).unwrap();
            let (kind, sum) = (message.header().icmp_type, message.checksum());
            assert!(matches!(kind, Icmpv4Type::EchoReply(_)) && sum == kind.calc_checksum(message.payload()));
            let header = v4.header().to_header();
            assert_eq!((header.time_to_live, header.header_checksum), (64, header.calc_header_checksum()));
        }
        IpSlice::Ipv6(v6) => {
            let header = v6.header();
            let message = Icmpv6Slice::from_slice(answer).unwrap();
            assert!(matches!(message.icmp_type(), Icmpv6Type::EchoReply(_)));
            assert!(message.is_checksum_valid(header.source(), header.destination()));
            assert_eq!(header.hop_limit(), 64);
        }
    }
}

/// The fragments of an IPv6 packet, each with `size` bytes of payload, a multiple of eight.
fn cut_v6(packet: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (header, payload) = packet.split_at(HEADER_V6);
    let count = payload.len().div_ceil(size);
    payload
        .chunks(size)
        .enumerate()
        .map(|(n, chunk)| {
            let mut fragment = header.to_vec();
            put16(&mut fragment, ipv6::field::PAYLOAD_LEN, chunk.len() as u16 + 8);
            fragment[ipv6::field::NEXT_HEADER] = ipv6::FRAGMENT;
            let place = (n * size) as u16 | u16::from(n + 1 < count);
            fragment.extend([header[ipv6::field::NEXT_HEADER], 0]);
            fragment.extend(place.to_be_bytes());
            fragment.extend([0, 0, 0, 9]);
            fragment.extend(chunk);
            fragment
        })
        .collect()
}

/// The packet of fragments that come in order.
fn reassemble_v6(fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = fragments[0][..HEADER_V6].to_vec();
    packet[ipv6::field::NEXT_HEADER] = fragments[0][HEADER_V6];
    for fragment in fragments {
        let slice = Ipv6Slice::from_slice(fragment).unwrap();
        assert!(slice.payload().fragmented || fragments.len() == 1);
        assert_eq!(fragment[..ipv6::field::PAYLOAD_LEN], fragments[0][..ipv6::field::PAYLOAD_LEN]);
        packet.extend(&fragment[HEADER_V6 + 8..]);
    }
    let len = packet.len() - HEADER_V6;
    put16(&mut packet, ipv6::field::PAYLOAD_LEN, len as u16);
    packet
}

#[test]
fn what_is_no_request_is_left_alone() {
    let mut route = echo_requests(b"x")[0].clone();
    let options = [131, 3, 4, 0];
    route.splice(20..20, options);
    route[0] = 0x46;
    let len = route.len() as u16;
    put16(&mut route, ipv4::field::TOTAL_LEN, len);
    let changed = |family: usize, at: usize, value: u8| {
        let mut packet = echo_requests(b"12345678")[family].clone();
        packet[at] = value;
        packet
    };
    let from = |family: usize, source: &[u8]| {
        let mut packet = echo_requests(b"12345678")[family].clone();
        let at = if family == 0 { ipv4::field::SOURCE } else { ipv6::field::SOURCE };
        packet[at..at + source.len()].copy_from_slice(source);
        packet
    };
    for (what, packet) in [
        ("a source route", route),
        ("a reply", changed(0, 20, 0)),
        ("a code", changed(0, 21, 1)),
        ("UDP", changed(0, 9, 17)),
        ("from everybody", from(0, &[255; 4])),
        ("from nobody", from(0, &[0; 4])),
        ("a v6 reply", changed(1, 40, 129)),
        ("UDP in v6", changed(1, 6, 17)),
        ("hop-by-hop options", changed(1, 6, 0)),
        ("from a group", from(1, &[0xff, 2])),
        ("from ::", from(1, &[0; 16])),
        ("too short", echo_requests(b"")[0][..27].to_vec()),
        ("nothing", Vec::new()),
    ] {
        let mut ip = packet.clone();
        assert!(!echo(&mut ip, false), "{what}");
        assert_eq!(ip, packet, "{what}");
    }
}

#[test]
fn a_partial_checksum_stays_owed() {
    for request in echo_requests(b"data") {
        let (mut whole, mut partial) = (request.clone(), request.clone());
        let at = request.len() - 4 - icmp::HEADER_LEN + icmp::field::CHECKSUM;
        assert!(echo(&mut whole, false) && echo(&mut partial, true));
        assert_eq!(partial[at..at + 2], request[at..at + 2]);
        partial[at..at + 2].copy_from_slice(&whole[at..at + 2]);
        assert_eq!(partial, whole);
    }
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    for mut request in echo_requests(b"data") {
        let last = request.len() - 1;
        request[last] ^= 0x10;
        assert!(echo(&mut request, false));
        let good = match IpSlice::from_slice(&request).unwrap() {
            IpSlice::Ipv4(v4) => checksum::checksum(v4.payload().payload) == 0,
            IpSlice::Ipv6(v6) => Icmpv6Slice::from_slice(v6.payload().payload)
                .unwrap()
                .is_checksum_valid(v6.header().source(), v6.header().destination()),
        };
        assert!(!good);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_reply_is_the_request_turned_round(len in 0usize..2_000, seed: u64) {
        for request in echo_requests(&noise(len, seed)) {
            let mut reply = request.clone();
            prop_assert!(echo(&mut reply, false));
            check(&request, &reply);
        }
    }

    #[test]
    fn replies_to_fragments_make_the_reply(len in 0usize..4_000, mtu in 68u16..1_500, size in 1usize..180) {
        let [mut v4, v6] = echo_requests(&noise(len, 3));
        put16(&mut v4, ipv4::field::FRAGMENT, 0);
        put16(&mut v4, ipv4::field::IDENTIFICATION, 0x4321);
        put16(&mut v4, ipv4::field::CHECKSUM, 0);
        let sum = checksum::checksum(&v4[..20]);
        put16(&mut v4, ipv4::field::CHECKSUM, sum);
        let mut parts = cut(&v4, mtu);
        prop_assert!(parts.iter_mut().all(|part| echo(part, false)));
        let (header, payload) = reassemble(&parts);
        let reply = [&header.to_bytes()[..], &payload].concat();
        prop_assert!(Ipv4Slice::from_slice(&reply).is_ok());
        check(&v4, &reply);

        let mut parts = cut_v6(&v6, size * 8);
        prop_assert!(parts.iter_mut().all(|part| echo(part, false)));
        check(&v6, &reassemble_v6(&parts));
    }

    #[test]
    fn hostile_packets_are_answered_or_left_alone(frame in hostile()) {
        if let Some(ip) = frame.get(14..) {
            let mut answer = ip.to_vec();
            let answered = echo(&mut answer, false);
            prop_assert_eq!(answer.len(), ip.len());
            prop_assert_eq!(answered, answer != ip);
        }
    }
}
