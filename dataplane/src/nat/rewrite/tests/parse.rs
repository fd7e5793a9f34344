//! What is told of a packet, and what is refused.

use super::build::{Built, Random, Sum, put};
use crate::nat::fragments::Part;
use crate::nat::rewrite::{Kind, Protocol, parse};
use crate::tables::PortId;
use crate::verdict::DropReason;
use crate::wire::TcpFlags;

/// A packet without options or extension headers.
fn plain(v4: bool, protocol: Protocol) -> Built {
    let mut random = Random::new(29);
    loop {
        let built = Built::of(&mut random, v4, protocol, Sum::Complete);
        if built.l4 == if v4 { 20 } else { 40 } {
            return built;
        }
    }
}

/// The packet with `bytes` put in before its transport: options, or an extension header that `next` announces.
fn with(mut built: Built, bytes: &[u8], next: u8) -> Built {
    built.ip.splice(built.l4..built.l4, bytes.iter().copied());
    built.l4 += bytes.len();
    let len = built.ip.len() as u16;
    if built.v4() {
        built.ip[0] = 0x40 | (built.l4 / 4) as u8;
        put(&mut built.ip, 2, len);
    } else {
        built.ip[6] = next;
        put(&mut built.ip, 4, len - 40);
    }
    built.finish();
    built
}

#[track_caller]
fn refused(mut built: Built, change: impl FnOnce(&mut Built), reason: DropReason) {
    change(&mut built);
    built.finish();
    assert_eq!(parse(&built.ip), Err(reason));
}

#[test]
fn a_tcp_segment_is_told_whole() {
    for v4 in [true, false] {
        let mut built = plain(v4, Protocol::Tcp);
        built.ip.truncate(built.l4 + 20);
        built.ip.extend(b"data");
        let len = built.ip.len() as u16;
        put(&mut built.ip, if v4 { 2 } else { 4 }, if v4 { len } else { len - 40 });
        let l4 = built.l4;
        built.ip[l4..l4 + 16].copy_from_slice(&[0, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0x50, 0x12, 0, 5]);
        built.finish();
        let packet = parse(&[&built.ip[..], b"padding"].concat()).unwrap();
        let Kind::Flow { protocol, source, destination, request, tcp } = packet.kind else {
            panic!("{packet:?}")
        };
        assert_eq!((protocol, source, destination, request), (Protocol::Tcp, 1, 2, false));
        let tcp = tcp.unwrap();
        assert_eq!((tcp.sequence, tcp.acknowledgement, tcp.window, tcp.payload), (3, 4, 5, 4));
        assert_eq!(tcp.flags, TcpFlags::SYN.with(TcpFlags::ACK));
        assert_eq!((packet.l4, packet.total, packet.ttl, packet.part), (l4, built.ip.len(), 64, None));
    }
}

#[test]
fn queries_have_an_id_and_a_direction() {
    for (v4, icmp_type, request) in [
        (true, 8, true),
        (true, 0, false),
        (true, 13, true),
        (true, 14, false),
        (false, 128, true),
        (false, 129, false),
    ] {
        let mut built = plain(v4, Protocol::Icmp);
        built.ip[built.l4] = icmp_type;
        put(&mut built.ip, built.l4 + 4, 0);
        let kind = parse(&built.ip).unwrap().kind;
        let expected = Kind::Flow { protocol: Protocol::Icmp, source: 0, destination: 0, request, tcp: None };
        assert_eq!(kind, expected);
        built.ip[built.l4 + 1] = 1;
        assert_eq!(parse(&built.ip).unwrap().kind, Kind::Other(if v4 { 1 } else { 58 }), "no such code");
    }
}

#[test]
fn what_is_not_translated_is_told_by_number() {
    let mut sctp = plain(true, Protocol::Udp);
    sctp.ip[9] = 132;
    sctp.finish();
    assert_eq!(parse(&sctp.ip).unwrap().kind, Kind::Other(132));
    for (v4, icmp_type) in [(true, 5), (true, 4), (true, 9), (false, 135), (false, 100), (false, 0)] {
        let mut built = plain(v4, Protocol::Icmp);
        built.ip[built.l4] = icmp_type;
        assert_eq!(parse(&built.ip).unwrap().kind, Kind::Other(if v4 { 1 } else { 58 }));
    }
    // ICMP of the other family is another transport.
    let mut strange = plain(true, Protocol::Icmp);
    strange.ip[9] = 58;
    strange.finish();
    assert_eq!(parse(&strange.ip).unwrap().kind, Kind::Other(58));
}

#[test]
fn martians_are_refused_at_both_ends() {
    let v4 =
        ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"];
    for address in v4 {
        let octets = address.parse::<std::net::Ipv4Addr>().unwrap().octets();
        for at in [12, 16] {
            let put = |built: &mut Built| built.ip[at..at + 4].copy_from_slice(&octets);
            refused(plain(true, Protocol::Udp), put, DropReason::Martian);
        }
    }
    for address in ["::", "::1", "ff02::1", "ff0e::1"] {
        let octets = address.parse::<std::net::Ipv6Addr>().unwrap().octets();
        for at in [8, 24] {
            let put = |built: &mut Built| built.ip[at..at + 16].copy_from_slice(&octets);
            refused(plain(false, Protocol::Udp), put, DropReason::Martian);
        }
    }
}

#[test]
fn source_routes_are_refused_and_other_options_pass() {
    let udp = || plain(true, Protocol::Udp);
    for options in [[131, 3, 4, 0], [137, 3, 4, 0], [1, 131, 3, 4]] {
        refused(with(udp(), &options, 0), |_| {}, DropReason::SourceRouted);
    }
    for options in [[7, 3, 4, 0], [0, 131, 3, 4], [68, 4, 5, 0], [148, 4, 0, 0], [1, 1, 1, 1]] {
        assert!(parse(&with(udp(), &options, 0).ip).is_ok(), "{options:?}");
    }
    for options in [[7, 1, 0, 0], [7, 0, 0, 0], [7, 5, 0, 0], [1, 1, 1, 7], [1, 1, 1, 137]] {
        refused(with(udp(), &options, 0), |_| {}, DropReason::BadIpHeader);
    }
    let routed = |kind, left| with(plain(false, Protocol::Udp), &[17, 0, kind, left, 0, 0, 0, 0], 43);
    for (kind, left) in [(0, 0), (0, 1), (2, 1), (4, 1)] {
        refused(routed(kind, left), |_| {}, DropReason::SourceRouted);
    }
    assert!(parse(&routed(2, 0).ip).is_ok(), "at the end of its route");
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let wrong = [
        (0, 0x55), // version
        (0, 0x44), // header length
        (2, 0xff), // total length
        (10, 1),   // checksum
    ];
    for (at, xor) in wrong {
        let mut built = plain(true, Protocol::Udp);
        built.ip[at] ^= xor;
        assert_eq!(parse(&built.ip), Err(DropReason::BadIpHeader), "byte {at}");
    }
    let mut built = plain(false, Protocol::Udp);
    built.ip[4] = 1;
    assert_eq!(parse(&built.ip), Err(DropReason::BadIpHeader));
    assert_eq!(parse(&[]), Err(DropReason::BadIpHeader));
    let endless = [0; 8].repeat(9);
    refused(with(plain(false, Protocol::Udp), &endless, 0), |_| {}, DropReason::BadIpHeader);
}

#[test]
fn transports_that_contradict_themselves_are_refused() {
    for v4 in [true, false] {
        for at in [0, 2] {
            refused(plain(v4, Protocol::Tcp), |it| put(&mut it.ip, it.l4 + at, 0), DropReason::BadTransport);
            refused(plain(v4, Protocol::Udp), |it| put(&mut it.ip, it.l4 + at, 0), DropReason::BadTransport);
        }
        refused(plain(v4, Protocol::Tcp), |it| it.ip[it.l4 + 12] = 0x40, DropReason::BadTransport);
        refused(plain(v4, Protocol::Tcp), |it| it.ip[it.l4 + 12] = 0xf0, DropReason::BadTransport);
        refused(plain(v4, Protocol::Udp), |it| put(&mut it.ip, it.l4 + 4, 7), DropReason::BadTransport);
        refused(plain(v4, Protocol::Udp), |it| put(&mut it.ip, it.l4 + 4, 90), DropReason::BadTransport);
    }
}

/// The fragment of `len` bytes that stands at `offset`.
fn fragment(v4: bool, protocol: Protocol, len: usize, offset: u16, more: bool) -> Vec<u8> {
    let mut built = plain(v4, protocol);
    built.ip.resize(built.l4 + len, 7);
    if protocol == Protocol::Udp && len >= 8 {
        put(&mut built.ip, built.l4 + 4, 1_000);
    }
    let total = built.ip.len() as u16;
    put(&mut built.ip, if v4 { 2 } else { 4 }, if v4 { total } else { total - 40 });
    if v4 {
        put(&mut built.ip, 4, 0x1234);
        put(&mut built.ip, 6, offset / 8 + if more { 0x2000 } else { 0 });
    } else {
        let [high, low] = (offset | u16::from(more)).to_be_bytes();
        let number = built.ip[6];
        built = with(built, &[number, 0, high, low, 0xab, 0xcd, 0x12, 0x34], 44);
    }
    built.finish();
    built.ip
}

#[test]
fn fragments_are_told_by_datagram_and_part() {
    for (v4, id, l4) in [(true, 0x1234, 20), (false, 0xabcd_1234, 48)] {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
            let first = parse(&fragment(v4, protocol, 24, 0, true)).unwrap();
            assert!(matches!(first.kind, Kind::Flow { .. }));
            let later = parse(&fragment(v4, protocol, 21, 24, false)).unwrap();
            assert_eq!(later.kind, Kind::Later(protocol.number(later.source)));
            assert_eq!((first.l4, later.l4), (l4, l4));
            let (key, part) = first.fragment(Some(PortId(3))).unwrap();
            assert_eq!(part, Part { id, offset: 0, len: 24, more: true });
            assert_eq!(
                later.fragment(Some(PortId(3))),
                Some((key, Part { id, offset: 24, len: 21, more: false }))
            );
            assert_eq!((key.id, key.from, key.source), (id, Some(PortId(3)), first.source));
        }
    }
    let atomic = parse(&fragment(false, Protocol::Tcp, 24, 0, false)).unwrap();
    assert_eq!((atomic.part, atomic.fragment(None)), (None, None), "the whole of its datagram (RFC 6946)");
}

#[test]
fn fragments_that_cut_a_transport_header_or_nothing_are_refused() {
    for v4 in [true, false] {
        let parsed =
            |protocol, len, offset, more| parse(&fragment(v4, protocol, len, offset, more)).map(|_| ());
        assert_eq!(parsed(Protocol::Tcp, 16, 0, true), Err(DropReason::BadTransport), "RFC 1858");
        assert_eq!(parsed(Protocol::Udp, 8, 0, true), Ok(()));
        assert_eq!(parsed(Protocol::Udp, 0, 8, false), Err(DropReason::BadIpHeader), "empty");
        assert_eq!(parsed(Protocol::Udp, 21, 8, true), Err(DropReason::BadIpHeader), "no multiple of 8");
    }
    let mut contained = fragment(true, Protocol::Udp, 24, 0, true);
    put(&mut contained, 24, 24);
    assert_eq!(parse(&contained), Err(DropReason::BadTransport), "a datagram that more can not follow");
}
