//! An IP packet before a NAT: what is accepted can be exchanged, and only what is exchanged changes.

use std::net::IpAddr;

use etherparse::{IpSlice, Ipv4HeaderSlice};
use weft_dataplane::nat::rewrite::{Kind, Packet, Protocol, Side, parse, translate, translate_embedded};

/// The address that is put in, by family.
const NEW: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7)),
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)),
];

const DESTINATION: u8 = 1;
const PARTIAL: u8 = 2;
const WITH_PORT: u8 = 4;
/// Checksums are made right first, without which few changes to a packet get past them.
const REPAIR: u8 = 8;

/// Judges `data`: a byte that says what is exchanged, two of the new port, the rest is the packet.
pub fn rewrite(data: &[u8]) {
    let [choice, high, low, ip @ ..] = data else { return };
    let mut ip = ip.to_vec();
    if choice & REPAIR != 0 {
        repair(&mut ip);
    }
    judge(*choice, u16::from_be_bytes([*high, *low]).max(1), &ip);
}

fn judge(choice: u8, port: u16, ip: &[u8]) {
    let Ok(packet) = parse(ip) else { return };
    agrees(ip, &packet);
    let side = if choice & DESTINATION == 0 { Side::Source } else { Side::Destination };
    let address = NEW[usize::from(packet.source.is_ipv6())];

    let mut out = ip.to_vec();
    let new_port = (choice & WITH_PORT != 0).then_some(port);
    translate(&mut out, &packet, side, address, new_port, choice & PARTIAL != 0 && !is_error(&packet));
    let mut expected = packet;
    *(if side == Side::Source { &mut expected.source } else { &mut expected.destination }) = address;
    if let (Kind::Flow { protocol, source, destination, .. }, Some(port)) = (&mut expected.kind, new_port) {
        match (*protocol, side) {
            (Protocol::Icmp, _) => (*source, *destination) = (port, port),
            (_, Side::Source) => *source = port,
            (_, Side::Destination) => *destination = port,
        }
    }
    assert_eq!(parse(&out), Ok(expected), "what was put in stands there, and nothing else has changed");
    only_headers(ip, &out, &packet);
    if choice & PARTIAL == 0 {
        as_right_as_before(ip, &out, &packet);
    }

    if let Kind::Error { embedded, icmp_type, code } = packet.kind {
        let before = out.clone();
        translate_embedded(&mut out, &packet, side, address, port);
        let mut about = embedded;
        match side {
            Side::Source => (about.source, about.source_port) = (address, port),
            Side::Destination => (about.destination, about.destination_port) = (address, port),
        }
        if about.protocol == Protocol::Icmp {
            (about.source_port, about.destination_port) = (port, port);
        }
        let expected = Packet { kind: Kind::Error { icmp_type, code, embedded: about }, ..expected };
        assert_eq!(parse(&out), Ok(expected), "the error is as sound as before, its checksum included");
        assert_eq!(out[about.end..], before[about.end..], "padding and extensions stay");
        assert_eq!(out[..packet.l4 + 2], before[..packet.l4 + 2], "the outer header stays");
    }
}

fn is_error(packet: &Packet) -> bool {
    matches!(packet.kind, Kind::Error { .. })
}

/// Another library reads the same.
fn agrees(ip: &[u8], packet: &Packet) {
    assert!(packet.l4 <= packet.total && packet.total <= ip.len());
    for address in [packet.source, packet.destination] {
        assert!(!address.is_loopback() && !address.is_unspecified() && !address.is_multicast(), "{address}");
    }
    let judge = IpSlice::from_slice(ip);
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = Ipv4HeaderSlice::from_slice(ip).expect("an IPv4 header").to_header();
            assert_eq!((header.source, header.destination), (source.octets(), destination.octets()));
            assert_eq!(words(&ip[..header.header_len()]) % 0xffff, 0, "the header checksum");
            assert_eq!(usize::from(header.total_len), packet.total);
            assert_eq!(header.is_fragmenting_payload(), packet.part.is_some());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            // Its walk over extension headers differs in what it refuses, so only the fixed header is compared.
            if let Ok(IpSlice::Ipv6(slice)) = judge {
                let header = slice.header();
                assert_eq!((header.source_addr(), header.destination_addr()), (source, destination));
                assert_eq!(40 + usize::from(header.payload_length()), packet.total);
            }
        }
        _ => panic!("one family"),
    }
    if let Kind::Flow { protocol: Protocol::Tcp | Protocol::Udp, source, destination, .. } = packet.kind {
        assert!(source > 0 && destination > 0);
    }
}

/// Makes right the checksums that are looked at: of IPv4 headers, and of ICMP behind the shortest headers.
fn repair(ip: &mut [u8]) {
    let total = usize::from(word(ip, 2)).min(ip.len());
    match ip.first().map(|first| first >> 4) {
        Some(4) => {
            let l4 = usize::from(ip[0] & 15) * 4;
            if ip.get(9) == Some(&1) && l4 + 8 < total {
                repair_header(&mut ip[l4 + 8..total]);
                put_sum(&mut ip[l4..total], 2, 0);
            }
            repair_header(ip);
        }
        Some(6) if ip.get(6) == Some(&58) => {
            let len = usize::from(word(ip, 4));
            if len >= 8 && 40 + len <= ip.len() {
                let pseudo = words(&ip[8..40]) + len as u32 + 58;
                put_sum(&mut ip[40..40 + len], 2, pseudo);
            }
        }
        _ => {}
    }
}

fn repair_header(ip: &mut [u8]) {
    let header_len = ip.first().map_or(0, |first| usize::from(first & 15) * 4);
    if (20..=ip.len()).contains(&header_len) {
        put_sum(&mut ip[..header_len], 10, 0);
    }
}

/// Puts the checksum of `bytes` and of what adds up to `start` at `at`.
fn put_sum(bytes: &mut [u8], at: usize, start: u32) {
    bytes[at..at + 2].fill(0);
    let sum = (words(bytes) + start) % 0xffff;
    bytes[at..at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// The sum of the words of `bytes`, fewer than 65,536.
fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

/// The word at `at`, zero beyond the end.
fn word(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u16::from_be_bytes(*word))
}

/// Nothing has changed but the addresses, the first bytes of the transport, and the IPv4 header checksum.
fn only_headers(before: &[u8], after: &[u8], packet: &Packet) {
    let transport = match packet.kind {
        Kind::Flow { protocol: Protocol::Tcp, .. } => 18,
        Kind::Flow { .. } => 8,
        Kind::Error { .. } => 4,
        Kind::Later(_) | Kind::Other(_) => 0,
    };
    let fixed = if packet.source.is_ipv4() { 20 } else { 40 };
    assert_eq!(before[fixed..packet.l4], after[fixed..packet.l4], "options and extension headers stay");
    assert_eq!(before[packet.l4 + transport..], after[packet.l4 + transport..], "the payload stays");
}

/// The sum over pseudo header and transport is what it was: right stays right, and wrong stays wrong by as much.
fn as_right_as_before(before: &[u8], after: &[u8], packet: &Packet) {
    let Kind::Flow { protocol, .. } = packet.kind else { return };
    let checksum = |ip: &[u8]| [ip[packet.l4 + 6], ip[packet.l4 + 7]];
    if protocol == Protocol::Udp && checksum(before) == [0, 0] {
        return assert_eq!(checksum(after), [0, 0], "no checksum stays none");
    }
    let addresses = match (packet.source, protocol) {
        (IpAddr::V4(_), Protocol::Icmp) => 0..0,
        (IpAddr::V4(_), _) => 12..20,
        (IpAddr::V6(_), _) => 8..40,
    };
    let sum = |ip: &[u8]| (words(&ip[addresses.clone()]) + words(&ip[packet.l4..packet.total])) % 0xffff;
    assert_eq!(sum(before), sum(after));
    assert!(protocol != Protocol::Udp || checksum(after) != [0, 0], "a checksum does not become none");
}
