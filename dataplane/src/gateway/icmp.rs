//! Errors to whoever sent what the gateway does not forward.
//!
//! Nobody gets an error about an error, about a packet to a group (but for packet too big, which multicast path MTU
//! discovery needs), about a later fragment, or about a packet from no single station (RFC 1812 section 4.3.2.7,
//! RFC 4443 section 2.4 (e)). An error quotes as much of the packet as keeps it within what every link carries: 576
//! bytes in IPv4 (RFC 1812 section 4.3.2.3), 1,280 in IPv6 (RFC 4443 section 2.4 (c)).
//!
//! The quote is to be the packet as its sender knows it: the caller keeps it from translation, and from losing a hop.
//! How often errors are sent is [`ErrorLimit`](super::limit::ErrorLimit)'s part.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::spec::is_station;
use crate::wire::checksum::{self, Sum};
use crate::wire::{Ipv4Packet, Ipv6Packet, icmp, ipv4, ipv6, protocol, put16};

#[cfg(test)]
mod tests;

/// Bytes of an ICMPv4 error, IP header included, beyond which nothing more is quoted.
pub const ERROR_LEN_V4: usize = 576;
/// Bytes of an ICMPv6 error, IP header included, beyond which nothing more is quoted.
pub const ERROR_LEN_V6: usize = 1_280;

/// Hops that an error or an echo may take.
pub(super) const TTL: u8 = 64;

/// Internetwork control (RFC 1812 section 4.3.2.5).
const PRECEDENCE: u8 = 0xc0;

/// The least MTU of IPv6, and so the least that is ever reported (RFC 8200 section 5).
const MTU_MIN_V6: u16 = 1_280;

/// Why a packet is not forwarded, as its sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No hop was left: 11/0, 3/0 in IPv6.
    TtlExceeded,
    /// The next link is too narrow, and the packet is not to be fragmented: 3/4, 2/0 in IPv6.
    FragNeeded {
        /// Bytes of IP packet that it carries.
        mtu: u16,
    },
    /// No route: 3/0, 1/0 in IPv6.
    NetUnreachable,
    /// Nobody answers for the address: 3/1, 1/3 in IPv6.
    HostUnreachable,
    /// The gateway has no such service: 3/3, 1/4 in IPv6.
    PortUnreachable,
    /// Policy or exhausted resources (RFC 5508 REQ-8): 3/13, 1/1 in IPv6.
    Prohibited,
}

impl ErrorKind {
    /// Type, code, and the two bytes that end the header.
    const fn v4(self) -> (u8, u8, u16) {
        match self {
            Self::TtlExceeded => (icmp::TIME_EXCEEDED, 0, 0),
            Self::FragNeeded { mtu } => (icmp::UNREACHABLE, 4, mtu),
            Self::NetUnreachable => (icmp::UNREACHABLE, 0, 0),
            Self::HostUnreachable => (icmp::UNREACHABLE, 1, 0),
            Self::PortUnreachable => (icmp::UNREACHABLE, 3, 0),
            Self::Prohibited => (icmp::UNREACHABLE, 13, 0),
        }
    }

    /// The same for ICMPv6.
    fn v6(self) -> (u8, u8, u16) {
        match self {
            Self::TtlExceeded => (icmp::v6::TIME_EXCEEDED, 0, 0),
            Self::FragNeeded { mtu } => (icmp::v6::TOO_BIG, 0, mtu.max(MTU_MIN_V6)),
            Self::NetUnreachable => (icmp::v6::UNREACHABLE, 0, 0),
            Self::HostUnreachable => (icmp::v6::UNREACHABLE, 3, 0),
            Self::PortUnreachable => (icmp::v6::UNREACHABLE, 4, 0),
            Self::Prohibited => (icmp::v6::UNREACHABLE, 1, 0),
        }
    }
}

/// Appends to `room` the IP packet in which `gateway` tells the sender of the IP packet `offending` why it was not
/// forwarded.
///
/// Returns false, and leaves `room` alone, when no error is permitted or `gateway` is of the other family. The caller
/// does not ask about frames that came by Ethernet broadcast or multicast.
#[must_use]
pub fn error(kind: ErrorKind, gateway: IpAddr, offending: &[u8], room: &mut Vec<u8>) -> bool {
    match gateway {
        IpAddr::V4(gateway) => {
            let Ok(packet) = Ipv4Packet::parse(offending) else { return false };
            if !permitted_v4(&packet) {
                return false;
            }
            let quote =
                &offending[..packet.total_len().min(ERROR_LEN_V4 - ipv4::HEADER_LEN - icmp::HEADER_LEN)];
            append_v4(kind, gateway, packet.source(), quote, room);
        }
        IpAddr::V6(gateway) => {
            let Ok(packet) = Ipv6Packet::parse(offending) else { return false };
            if !permitted_v6(kind, &packet) {
                return false;
            }
            let len = ipv6::HEADER_LEN + packet.payload().len();
            let quote = &offending[..len.min(ERROR_LEN_V6 - ipv6::HEADER_LEN - icmp::HEADER_LEN)];
            append_v6(kind, gateway, packet.source(), quote, room);
        }
    }
    true
}

fn permitted_v4(packet: &Ipv4Packet<'_>) -> bool {
    // From 224/4 on, no destination is one station; an error about loopback or 0/8 tells an honest sender the truth.
    let group = packet.destination().octets()[0] >= 224;
    let about_icmp = packet.protocol() == protocol::ICMP;
    // Types that are not known may be errors.
    let query = || matches!(packet.payload().first(), Some(0 | 8 | 13..=18));
    packet.fragment_offset() == 0 && !group && is_station(packet.source().into()) && (!about_icmp || query())
}

fn permitted_v6(kind: ErrorKind, packet: &Ipv6Packet<'_>) -> bool {
    let source = packet.source();
    let nobody = source.is_unspecified() || source.is_loopback() || source.is_multicast();
    let group = packet.destination().is_multicast() && !matches!(kind, ErrorKind::FragNeeded { .. });
    let upper = packet.upper_layer();
    // A chain that does not end in view may end in an error. Later fragments are such.
    let about_icmp = upper.protocol == protocol::ICMPV6;
    let query = || upper.payload.first().is_some_and(|&kind| kind >= 128 && kind != icmp::REDIRECT);
    upper.complete && !nobody && !group && (!about_icmp || query())
}

fn append_v4(kind: ErrorKind, source: Ipv4Addr, destination: Ipv4Addr, quote: &[u8], room: &mut Vec<u8>) {
    let (icmp_type, code, mtu) = kind.v4();
    let mut message = [0; icmp::HEADER_LEN];
    message[..2].copy_from_slice(&[icmp_type, code]);
    put16(&mut message, 6, mtu);
    let sum = Sum::new().add(&message).add(quote).finish();
    put16(&mut message, icmp::field::CHECKSUM, sum);
    let len = icmp::HEADER_LEN + quote.len();
    room.extend_from_slice(&header_v4(PRECEDENCE, protocol::ICMP, source, destination, len));
    room.extend_from_slice(&message);
    room.extend_from_slice(quote);
}

fn append_v6(kind: ErrorKind, source: Ipv6Addr, destination: Ipv6Addr, quote: &[u8], room: &mut Vec<u8>) {
    let (icmp_type, code, mtu) = kind.v6();
    let mut message = [0; icmp::HEADER_LEN];
    message[..2].copy_from_slice(&[icmp_type, code]);
    put16(&mut message, 6, mtu);
    let len = icmp::HEADER_LEN + quote.len();
    let sum = Sum::pseudo_v6(source, destination, protocol::ICMPV6, len).add(&message).add(quote).finish();
    put16(&mut message, icmp::field::CHECKSUM, sum);
    room.extend_from_slice(&header_v6(protocol::ICMPV6, source, destination, len));
    room.extend_from_slice(&message);
    room.extend_from_slice(quote);
}

/// The header of a packet of ours with a payload of `len` bytes.
pub(super) fn header_v4(
    tos: u8,
    protocol: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    len: usize,
) -> [u8; ipv4::HEADER_LEN] {
    let mut header = [0; ipv4::HEADER_LEN];
    header[..2].copy_from_slice(&[0x45, tos]);
    put16(&mut header, ipv4::field::TOTAL_LEN, (ipv4::HEADER_LEN + len) as u16);
    // Never fragmented, so its identification says nothing (RFC 6864 section 4).
    put16(&mut header, ipv4::field::FRAGMENT, ipv4::DONT_FRAGMENT);
    header[ipv4::field::TTL] = TTL;
    header[ipv4::field::PROTOCOL] = protocol;
    header[ipv4::field::SOURCE..ipv4::field::DESTINATION].copy_from_slice(&source.octets());
    header[ipv4::field::DESTINATION..].copy_from_slice(&destination.octets());
    let sum = checksum::checksum(&header);
    put16(&mut header, ipv4::field::CHECKSUM, sum);
    header
}

/// The same in IPv6.
pub(super) fn header_v6(
    protocol: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    len: usize,
) -> [u8; ipv6::HEADER_LEN] {
    let mut header = [0; ipv6::HEADER_LEN];
    header[0] = 6 << 4;
    put16(&mut header, ipv6::field::PAYLOAD_LEN, len as u16);
    header[ipv6::field::NEXT_HEADER] = protocol;
    header[ipv6::field::HOP_LIMIT] = TTL;
    header[ipv6::field::SOURCE..ipv6::field::DESTINATION].copy_from_slice(&source.octets());
    header[ipv6::field::DESTINATION..].copy_from_slice(&destination.octets());
    header
}
