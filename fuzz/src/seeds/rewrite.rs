//! Packets before a NAT.

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{Icmpv4Type, Icmpv6Type, IpFragOffset, IpNumber, Ipv4Header, PacketBuilder};

use super::{Seed, echo4, fragment, hidden, nd, tcp4, tcp6, udp4, udp6, written};
use crate::world::{v4, v6};

/// Packets, each to be exchanged in some of the ways there are.
pub(super) fn seeds() -> Vec<Seed> {
    let packets = [
        ("tcp4", ip(tcp4(b"payload"))),
        ("tcp6", ip(tcp6(b"payload"))),
        ("udp4", ip(udp4(2_000, b"payload"))),
        ("udp4_without_checksum", without_checksum()),
        ("udp6", ip(udp6(1_000, 2_000))),
        ("echo4", ip(echo4())),
        ("echo6", echo6()),
        ("neighbor_solicit", ip(nd(135, &v6(2).octets(), 1))),
        ("first_fragment", first_fragment()),
        ("last_fragment", ip(fragment(16, false))),
        ("last_fragment6", ip(hidden(44, [17, 0, 0, 16, 0, 0, 0, 1]))),
        ("source_route", options([131, 3, 4, 0])),
        ("router_alert", options([148, 4, 0, 0])),
        ("unreachable4_tcp", error4(&ip(tcp4(b"payload")))),
        ("unreachable4_udp_in_eight_bytes", error4(&ip(udp4(2_000, b"payload"))[..28])),
        ("unreachable4_echo", error4(&ip(echo4()))),
        ("unreachable4_with_options", error4(&options([1, 1, 1, 1]))),
        ("unreachable4_with_extensions", extended()),
        ("too_big6_tcp", error6(&ip(tcp6(b"payload")))),
        ("too_big6_udp", error6(&ip(udp6(1_000, 2_000)))),
    ];
    let ways = |(name, packet): (&str, Vec<u8>)| {
        // The source with its port, the destination's address alone, the destination of a partial checksum; the first
        // and the last with checksums made right, which matters to what is made of them.
        [(12, "source"), (1, "destination"), (15, "partial")]
            .map(|(choice, what)| (format!("{name}_{what}"), [&[choice, 0xc3, 0x50][..], &packet].concat()))
    };
    packets.into_iter().flat_map(ways).collect()
}

/// The packet in an untagged frame.
fn ip(mut frame: Vec<u8>) -> Vec<u8> {
    frame.split_off(14)
}

fn without_checksum() -> Vec<u8> {
    let mut packet = ip(udp4(2_000, b"payload"));
    packet[26..28].fill(0);
    packet
}

fn echo6() -> Vec<u8> {
    let network = PacketBuilder::ipv6(v6(1).octets(), v6(2).octets(), 64);
    written(|out| network.icmpv6_echo_request(1, 2).write(out, b"ping"))
}

/// A UDP datagram of which there is more.
fn first_fragment() -> Vec<u8> {
    let mut header = Ipv4Header::new(16, 64, IpNumber::UDP, v4(1).octets(), v4(2).octets()).expect("it fits");
    (header.more_fragments, header.identification) = (true, 7);
    header.fragment_offset = IpFragOffset::ZERO;
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], &[3, 0xe8, 7, 0xd0, 1, 0, 0x12, 0x34], &[7; 8]].concat()
}

/// A UDP datagram with these options in its IP header.
fn options(options: [u8; 4]) -> Vec<u8> {
    let datagram = ip(udp4(2_000, b"payload"));
    let mut header = Ipv4Header::from_slice(&datagram).expect("just written").0;
    header.options = options.into();
    header.set_payload_len(datagram.len() - 20).expect("it fits");
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], &datagram[20..]].concat()
}

/// An ICMP error about `packet`, on its way back.
fn error4(packet: &[u8]) -> Vec<u8> {
    let network = PacketBuilder::ipv4(v4(2).octets(), v4(1).octets(), 64);
    let message = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port);
    written(|out| network.icmpv4(message).write(out, packet))
}

/// One whose quoted packet is padded to a length that is told, with extensions behind it (RFC 4884).
fn extended() -> Vec<u8> {
    let mut packet = ip(tcp4(b"payload"));
    packet.resize(128, 0);
    packet.extend([0x20, 0, 0, 0, 0, 8, 1, 1, 0, 1, 0x51, 0x40]);
    let network = PacketBuilder::ipv4(v4(2).octets(), v4(1).octets(), 64);
    let message = Icmpv4Type::Unknown { type_u8: 3, code_u8: 3, bytes5to8: [0, 32, 0, 0] };
    written(|out| network.icmpv4(message).write(out, &packet))
}

fn error6(packet: &[u8]) -> Vec<u8> {
    let network = PacketBuilder::ipv6(v6(2).octets(), v6(1).octets(), 64);
    let message = Icmpv6Type::PacketTooBig { mtu: 1_280 };
    written(|out| network.icmpv6(message).write(out, packet))
}
