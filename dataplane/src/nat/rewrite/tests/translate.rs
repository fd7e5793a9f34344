//! Every exchange is what computing anew gives.

use std::net::IpAddr;

use super::build::{Built, Random, Sum, finish_header, put, words};
use crate::nat::rewrite::{Kind, Protocol, Side, parse, translate};

/// How many exchanges are tried; `WEFT_FULL=1` asks for a hundred times as many.
const EXCHANGES: usize = 1_000_000;

/// Exchanges made to one packet before there is another.
const IN_A_ROW: usize = 16;

pub(super) fn scale() -> usize {
    if std::env::var("WEFT_FULL").is_ok_and(|full| full == "1") { 100 } else { 1 }
}

fn ends(built: &Built, side: Side) -> (IpAddr, u16) {
    let packet = parse(&built.ip).unwrap();
    let Kind::Flow { source, destination, .. } = packet.kind else { panic!("{packet:?}") };
    match side {
        Side::Source => (packet.source, source),
        Side::Destination => (packet.destination, destination),
    }
}

#[test]
fn exchanges_are_recomputations() {
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    for _ in 0..EXCHANGES * scale() / IN_A_ROW {
        let mut built = Built::random(&mut random);
        let packet = parse(&built.ip).expect("a sound packet");
        for _ in 0..IN_A_ROW {
            let side = if random.below(2) == 0 { Side::Source } else { Side::Destination };
            let address = random.address(built.v4());
            let port = (random.below(3) > 0).then(|| random.port());
            let mut ip = built.ip.clone();
            translate(&mut ip, &packet, side, address, port, built.sum == Sum::Partial);
            built = built.with(side, address, port);
            assert_eq!(ip, built.ip, "{built:?} {side:?} {address} {port:?}");
        }
    }
}

#[test]
fn an_exchange_and_its_reverse_change_nothing() {
    let mut random = Random::new(7);
    for _ in 0..20_000 {
        let built = Built::random(&mut random);
        let packet = parse(&built.ip).unwrap();
        for side in [Side::Source, Side::Destination] {
            let (address, port) = ends(&built, side);
            let mut ip = built.ip.clone();
            let partial = built.sum == Sum::Partial;
            translate(&mut ip, &packet, side, random.address(built.v4()), Some(random.port()), partial);
            translate(&mut ip, &packet, side, address, Some(port), partial);
            assert_eq!(ip, built.ip);
        }
    }
}

/// Chooses the port so that the sum comes out as the zero of the field.
#[test]
fn a_checksum_of_zero_is_real_for_tcp_and_written_as_ones_for_udp() {
    let mut random = Random::new(3);
    for (protocol, at, zero) in [(Protocol::Tcp, 16, 0), (Protocol::Udp, 6, 0xffff), (Protocol::Icmp, 2, 0)] {
        for v4 in [true, false] {
            let built = loop {
                let built = Built::of(&mut random, v4, protocol, Sum::Complete);
                let nonzero = built.ip[built.l4] != 0 && ends(&built, Side::Source).1 != 0;
                if nonzero {
                    break built;
                }
            };
            let packet = parse(&built.ip).unwrap();
            let checksum = |ip: &[u8]| u16::from_be_bytes([ip[built.l4 + at], ip[built.l4 + at + 1]]);
            let (address, port) = ends(&built, Side::Source);
            let fitting = words(&port.to_be_bytes(), checksum(&built.ip).into());
            let mut ip = built.ip.clone();
            translate(&mut ip, &packet, Side::Source, address, Some(fitting), false);
            assert_eq!(checksum(&ip), zero, "{protocol:?} {built:?}");
            translate(&mut ip, &packet, Side::Source, address, Some(port), false);
            assert_eq!(ip, built.ip, "and it is left as it should be");
        }
    }
}

#[test]
fn an_echo_reply_of_zeros_has_a_checksum_of_ones() {
    let mut random = Random::new(5);
    let mut built = Built::of(&mut random, true, Protocol::Icmp, Sum::Complete);
    built.ip.truncate(built.l4);
    built.ip.extend([0, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 0]);
    let len = built.ip.len() as u16;
    put(&mut built.ip, 2, len);
    built.finish();
    let packet = parse(&built.ip).unwrap();
    let mut ip = built.ip.clone();
    translate(&mut ip, &packet, Side::Destination, packet.destination, Some(0), false);
    assert_eq!(ip[built.l4..], [0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0], "the one that verifies");
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut random = Random::new(11);
    for _ in 0..2_000 {
        let mut built = Built::random(&mut random);
        let at = built.l4 + [16, 6, 2][built.protocol as usize];
        let wrong = u16::from_be_bytes([built.ip[at], built.ip[at + 1]]) ^ 0x0100;
        if built.sum != Sum::Complete || matches!(wrong, 0 | 0xffff) {
            continue;
        }
        put(&mut built.ip, at, wrong);
        let packet = parse(&built.ip).unwrap();
        let (address, port) = (random.address(built.v4()), random.port());
        translate(&mut built.ip, &packet, Side::Source, address, Some(port), false);
        let right = built.clone().with(Side::Source, address, Some(port));
        assert_ne!(built.ip[at..at + 2], right.ip[at..at + 2]);
    }
}

/// The checksum in the first fragment covers what stands in the others.
#[test]
fn fragments_exchanged_alike_make_a_right_datagram() {
    let mut random = Random::new(13);
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
        let mut whole = Built::of(&mut random, true, protocol, Sum::Complete);
        whole.ip.truncate(whole.l4);
        whole.ip.extend((0..96).map(|_| random.port() as u8 | 1));
        match protocol {
            Protocol::Tcp => whole.ip[whole.l4 + 12] = 0x50,
            Protocol::Udp => put(&mut whole.ip, whole.l4 + 4, 96),
            Protocol::Icmp => whole.ip[whole.l4..][..2].copy_from_slice(&[8, 0]),
        }
        let len = whole.ip.len() as u16;
        put(&mut whole.ip, 2, len);
        whole.finish();
        let (address, port) = (random.address(true), random.port());
        let expected = whole.clone().with(Side::Source, address, Some(port));
        let mut payload = Vec::new();
        for (offset, end) in [(0, 32), (32, 64), (64, 96)] {
            let mut ip = [&whole.ip[..whole.l4], &whole.ip[whole.l4 + offset..whole.l4 + end]].concat();
            let len = ip.len() as u16;
            put(&mut ip, 2, len);
            put(&mut ip, 6, offset as u16 / 8 + if end < 96 { 0x2000 } else { 0 });
            finish_header(&mut ip);
            let packet = parse(&ip).unwrap();
            let part = packet.part.expect("a fragment");
            assert_eq!((part.offset, part.len, part.more), (offset as u32, 32, end < 96));
            assert_eq!(matches!(packet.kind, Kind::Later(_)), offset > 0);
            translate(&mut ip, &packet, Side::Source, address, Some(port), false);
            assert!(parse(&ip).is_ok(), "the header checksum is right");
            payload.extend_from_slice(&ip[whole.l4..]);
        }
        assert_eq!(payload, expected.ip[whole.l4..], "{protocol:?}");
    }
}
