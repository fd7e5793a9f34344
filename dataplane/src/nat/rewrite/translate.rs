//! Exchanging one end of a packet in place.

use std::net::IpAddr;

use super::{Kind, Packet, Protocol, Side};
use crate::wire::checksum::Change;
use crate::wire::{be16, ipv4, ipv6, put16, tcp, udp};

/// Where the checksum and the query id stand in ICMP and ICMPv6.
const ICMP_CHECKSUM: usize = 2;
const ICMP_ID: usize = 4;
const ICMP_SEQUENCE: usize = 6;

/// Puts `address` and, unless it is `None`, `port` (of an ICMP query: the id) on one side of the packet in `ip`, and
/// adjusts every checksum that covers them.
///
/// - `packet` is what [`parse`](super::parse) made of these bytes, be it before another exchange.
/// - `partial` says that the checksum at the packet's own transport header is partial: it holds the folded sum of the
///   pseudo header, which covers the address and not the port.
/// - A UDP checksum of 0 (none) stays 0, and no other becomes 0 (RFC 768).
/// - In a later fragment, and in a packet of another transport, only the address is exchanged, and no checksum but that
///   of the IPv4 header adjusted: the first fragment's covers the change for the whole datagram.
///
/// # Panics
///
/// If `address` is of another family than the packet, or `packet` is not one of these bytes.
#[inline]
pub fn translate(
    ip: &mut [u8],
    packet: &Packet,
    side: Side,
    address: IpAddr,
    port: Option<u16>,
    partial: bool,
) {
    assert_eq!(address.is_ipv4(), packet.source.is_ipv4(), "an address of the packet's family");
    let Exchange { address: mut change, .. } = put_address(ip, 0, side, address);
    match packet.kind {
        Kind::Flow { protocol, .. } => {
            change = if has_pseudo_header(protocol, address) { change } else { Change::NONE };
            if let Some(port) = port {
                let (old, new) = put_port(ip, packet.l4, protocol, side, port);
                change = if partial { change } else { change.word(old, new) };
            }
            let at = packet.l4 + checksum_offset(protocol);
            let field = be16(ip, at);
            let field = if partial { change.sum(field) } else { settle(ip, packet.l4, protocol, change) };
            put16(ip, at, field);
        }
        Kind::Error { .. } if address.is_ipv6() => {
            let field = settle(ip, packet.l4, Protocol::Icmp, change);
            put16(ip, packet.l4 + ICMP_CHECKSUM, field);
        }
        Kind::Error { .. } | Kind::Later(_) | Kind::Other(_) => {}
    }
}

/// Puts `address` and `port` (of an ICMP query: the id) on one side of the packet that the ICMP error in `ip` is about,
/// and adjusts the checksums: of the embedded IPv4 header, of the embedded transport if it is quoted, and of the error.
/// Of another packet than an ICMP error nothing is changed.
///
/// The side is that of the embedded packet, which travelled the other way.
///
/// # Panics
///
/// As [`translate`] does.
pub fn translate_embedded(ip: &mut [u8], packet: &Packet, side: Side, address: IpAddr, port: u16) {
    let Kind::Error { embedded, .. } = packet.kind else { return };
    assert_eq!(address.is_ipv4(), packet.source.is_ipv4(), "an address of the packet's family");
    let exchange = put_address(ip, embedded.at, side, address);
    let (old, new) = put_port(ip, embedded.l4, embedded.protocol, side, port);
    let mut message = exchange.header.word(old, new);
    let at = embedded.l4 + checksum_offset(embedded.protocol);
    if at + 2 <= embedded.end {
        let covered =
            if has_pseudo_header(embedded.protocol, address) { exchange.address } else { Change::NONE };
        let (old, new) = (be16(ip, at), settle(ip, embedded.l4, embedded.protocol, covered.word(old, new)));
        put16(ip, at, new);
        message = message.word(old, new);
    }
    let field = settle(ip, packet.l4, Protocol::Icmp, message);
    put16(ip, packet.l4 + ICMP_CHECKSUM, field);
}

/// What an exchange of an address has changed.
struct Exchange {
    /// The address, which pseudo headers repeat.
    address: Change,
    /// The IP header, its checksum included.
    header: Change,
}

/// Puts `address` into the IP header at `at`, whose family it has, and adjusts the checksum of an IPv4 header.
#[inline]
fn put_address(ip: &mut [u8], at: usize, side: Side, address: IpAddr) -> Exchange {
    match (address, side) {
        (IpAddr::V4(address), side) => {
            let field = if side == Side::Source { ipv4::field::SOURCE } else { ipv4::field::DESTINATION };
            let change = put(ip, at + field, address.octets());
            let at = at + ipv4::field::CHECKSUM;
            let (old, new) = (be16(ip, at), change.checksum(be16(ip, at)));
            put16(ip, at, new);
            Exchange { address: change, header: change.word(old, new) }
        }
        (IpAddr::V6(address), side) => {
            let field = if side == Side::Source { ipv6::field::SOURCE } else { ipv6::field::DESTINATION };
            let change = put(ip, at + field, address.octets());
            Exchange { address: change, header: change }
        }
    }
}

#[inline]
fn put<const N: usize>(ip: &mut [u8], at: usize, new: [u8; N]) -> Change {
    let field = &mut ip[at..at + N];
    let change = Change::NONE.words(field, &new);
    field.copy_from_slice(&new);
    change
}

/// Puts `port` into the transport header at `l4`; gives the old and the new one.
#[inline]
fn put_port(ip: &mut [u8], l4: usize, protocol: Protocol, side: Side, port: u16) -> (u16, u16) {
    let at = match (protocol, side) {
        (Protocol::Tcp | Protocol::Udp, Side::Source) => l4 + udp::field::SOURCE_PORT,
        (Protocol::Tcp | Protocol::Udp, Side::Destination) => l4 + udp::field::DESTINATION_PORT,
        (Protocol::Icmp, _) => l4 + ICMP_ID,
    };
    let old = be16(ip, at);
    put16(ip, at, port);
    (old, port)
}

const fn checksum_offset(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => tcp::field::CHECKSUM,
        Protocol::Udp => udp::field::CHECKSUM,
        Protocol::Icmp => ICMP_CHECKSUM,
    }
}

/// Whether the checksum of `protocol` covers addresses of this family.
const fn has_pseudo_header(protocol: Protocol, address: IpAddr) -> bool {
    !matches!((protocol, address), (Protocol::Icmp, IpAddr::V4(_)))
}

/// The complete checksum of the transport at `l4` after `change`.
#[inline]
fn settle(ip: &[u8], l4: usize, protocol: Protocol, change: Change) -> u16 {
    let old = be16(ip, l4 + checksum_offset(protocol));
    match (protocol, change.checksum(old)) {
        (Protocol::Udp, _) if old == 0 => 0,
        (Protocol::Udp, 0) => 0xffff,
        // The sum of an echo reply may be over nothing but zeros, and then its complement is the other zero.
        (Protocol::Icmp, 0) if be16(ip, l4) == 0 && ip[l4 + ICMP_ID..l4 + ICMP_SEQUENCE + 2] == [0; 4] => {
            0xffff
        }
        (_, new) => new,
    }
}
