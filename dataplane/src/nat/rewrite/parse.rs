//! Reading an IP packet for a NAT.

use std::net::IpAddr;

use super::{Kind, Packet, Protocol, Tcp, embedded};
use crate::nat::fragments::Part;
use crate::verdict::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::{Ipv4Packet, Ipv6Packet, TcpSegment, UdpDatagram, be16, icmp, protocol, udp};

/// Reads the packet at the start of `ip`; what follows its length is padding.
///
/// # Errors
///
/// [`DropReason::BadIpHeader`], [`SourceRouted`](DropReason::SourceRouted), [`Martian`](DropReason::Martian),
/// [`BadTransport`](DropReason::BadTransport) and [`BadIcmp`](DropReason::BadIcmp), as they are described; also `Martian`
/// when the packet is sent *to* such an address, multicast included, and `BadTransport` when a first fragment does not
/// hold the whole transport header (RFC 1858).
#[inline]
pub fn parse(ip: &[u8]) -> Result<Packet, DropReason> {
    let (mut packet, protocol) = match ip.first() {
        Some(first) if first >> 4 == 4 => v4(ip)?,
        _ => v6(ip)?,
    };
    if is_martian(packet.source) || is_martian(packet.destination) {
        return Err(DropReason::Martian);
    }
    if packet.part.is_some_and(|part| part.len == 0 || part.more && part.len % 8 != 0) {
        return Err(DropReason::BadIpHeader);
    }
    if packet.part.is_none_or(|part| part.offset == 0) {
        packet.kind = transport(&packet, protocol, &ip[packet.l4..packet.total])?;
    }
    Ok(packet)
}

/// The network layer of an IPv4 packet, and its protocol.
fn v4(ip: &[u8]) -> Result<(Packet, u8), DropReason> {
    let view = Ipv4Packet::parse(ip).map_err(|_| DropReason::BadIpHeader)?;
    if !view.header_checksum_ok() {
        return Err(DropReason::BadIpHeader);
    }
    check_options(&view)?;
    let part = view.is_fragment().then(|| Part {
        id: view.identification().into(),
        offset: view.fragment_offset() as u32,
        len: view.payload().len() as u32,
        more: view.more_fragments(),
    });
    let packet = Packet {
        source: view.source().into(),
        destination: view.destination().into(),
        l4: view.header_len(),
        total: view.total_len(),
        ttl: view.ttl(),
        atomic: part.is_none() && view.dont_fragment(),
        part,
        kind: Kind::Later(view.protocol()),
    };
    Ok((packet, view.protocol()))
}

/// Refuses source routes, and options that run past the header.
fn check_options(packet: &Ipv4Packet<'_>) -> Result<(), DropReason> {
    for option in packet.options() {
        if option.map_err(|_| DropReason::BadIpHeader)?.is_source_route() {
            return Err(DropReason::SourceRouted);
        }
    }
    Ok(())
}

/// The network layer of an IPv6 packet, and its protocol.
fn v6(ip: &[u8]) -> Result<(Packet, u8), DropReason> {
    let view = Ipv6Packet::parse(ip).map_err(|_| DropReason::BadIpHeader)?;
    let upper = view.upper_layer();
    if upper.source_routed {
        return Err(DropReason::SourceRouted);
    }
    let part = upper.fragment.filter(|fragment| !fragment.is_whole()).map(|fragment| Part {
        id: fragment.identification,
        offset: fragment.offset.into(),
        len: fragment.len.into(),
        more: fragment.more,
    });
    if !upper.complete && part.is_none_or(|part| part.offset == 0) {
        return Err(DropReason::BadIpHeader);
    }
    let total = view.total_len();
    let packet = Packet {
        source: view.source().into(),
        destination: view.destination().into(),
        l4: total - upper.payload.len(),
        total,
        ttl: view.hop_limit(),
        part,
        atomic: part.is_none(),
        kind: Kind::Later(upper.protocol),
    };
    Ok((packet, upper.protocol))
}

/// Whether no router forwards packets from or to `address` (RFC 1812 sections 4.2.3.1 and 5.3.7, RFC 4291 section 2.5).
fn is_martian(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => matches!(address.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(address) => address.is_unspecified() || address.is_loopback() || address.is_multicast(),
    }
}

/// What a packet that is whole, or a first fragment, carries in `bytes`.
#[inline]
fn transport(packet: &Packet, number: u8, bytes: &[u8]) -> Result<Kind, DropReason> {
    match (number, packet.source) {
        (protocol::TCP, _) => tcp(bytes),
        (protocol::UDP, _) => udp(packet, bytes),
        (protocol::ICMP, IpAddr::V4(_)) | (protocol::ICMPV6, IpAddr::V6(_)) => message(packet, number, bytes),
        _ => Ok(Kind::Other(number)),
    }
}

#[inline]
fn tcp(bytes: &[u8]) -> Result<Kind, DropReason> {
    let segment = TcpSegment::parse(bytes).map_err(|_| DropReason::BadTransport)?;
    let tcp = Tcp {
        flags: segment.flags(),
        sequence: segment.sequence(),
        acknowledgement: segment.acknowledgement(),
        window: segment.window(),
        payload: segment.payload().len() as u32,
    };
    flow(Protocol::Tcp, segment.source_port(), segment.destination_port(), Some(tcp))
}

#[inline]
fn udp(packet: &Packet, bytes: &[u8]) -> Result<Kind, DropReason> {
    if packet.part.is_none() {
        let datagram = UdpDatagram::parse(bytes).map_err(|_| DropReason::BadTransport)?;
        return flow(Protocol::Udp, datagram.source_port(), datagram.destination_port(), None);
    }
    // The length counts what later fragments hold as well.
    if bytes.len() < udp::HEADER_LEN || usize::from(be16(bytes, udp::field::LENGTH)) <= bytes.len() {
        return Err(DropReason::BadTransport);
    }
    let port = |field| be16(bytes, field);
    flow(Protocol::Udp, port(udp::field::SOURCE_PORT), port(udp::field::DESTINATION_PORT), None)
}

/// A flow of TCP or UDP. Port 0 is no port (RFC 6335 section 6).
#[inline]
fn flow(protocol: Protocol, source: u16, destination: u16, tcp: Option<Tcp>) -> Result<Kind, DropReason> {
    if source == 0 || destination == 0 {
        return Err(DropReason::BadTransport);
    }
    Ok(Kind::Flow { protocol, source, destination, request: false, tcp })
}

/// A message of ICMP or ICMPv6.
fn message(packet: &Packet, number: u8, bytes: &[u8]) -> Result<Kind, DropReason> {
    let [icmp_type, code, _, _, id_high, id_low, _, _, ..] = *bytes else {
        return Err(DropReason::BadTransport);
    };
    match IcmpClass::of(number, icmp_type, code) {
        IcmpClass::Query { request } => {
            let id = u16::from_be_bytes([id_high, id_low]);
            Ok(Kind::Flow { protocol: Protocol::Icmp, source: id, destination: id, request, tcp: None })
        }
        IcmpClass::Error if is_sound(packet, bytes) => {
            let embedded = embedded::parse(packet.l4, icmp_type, bytes, packet.source.is_ipv4());
            Ok(Kind::Error { icmp_type, code, embedded: embedded.ok_or(DropReason::BadIcmp)? })
        }
        IcmpClass::Error => Err(DropReason::BadIcmp),
        IcmpClass::Other => Ok(Kind::Other(number)),
    }
}

/// Whether an ICMP error is whole, as short as errors are, and has the right checksum.
fn is_sound(packet: &Packet, bytes: &[u8]) -> bool {
    let pseudo = match (packet.source, packet.destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Sum::pseudo_v6(source, destination, protocol::ICMPV6, bytes.len())
        }
        _ => Sum::new(),
    };
    packet.part.is_none() && bytes.len() <= super::MAX_ERROR_LEN && pseudo.add(bytes).finish() == 0
}

/// What an ICMP message is to a NAT (RFC 5508 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IcmpClass {
    /// Answered by the same id.
    Query {
        /// Whether it asks rather than answers.
        request: bool,
    },
    /// About another packet, which it quotes.
    Error,
    /// Neither, or of a kind that nobody sends any more.
    Other,
}

impl IcmpClass {
    pub(super) fn of(protocol: u8, icmp_type: u8, code: u8) -> Self {
        match (protocol, icmp_type, code) {
            (protocol::ICMP, icmp::ECHO_REQUEST | TIMESTAMP, 0) => Self::Query { request: true },
            (protocol::ICMP, icmp::ECHO_REPLY | TIMESTAMP_REPLY, 0) => Self::Query { request: false },
            (protocol::ICMP, UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM, _) => Self::Error,
            (protocol::ICMPV6, ECHO_REQUEST_V6, 0) => Self::Query { request: true },
            (protocol::ICMPV6, ECHO_REPLY_V6, 0) => Self::Query { request: false },
            (protocol::ICMPV6, UNREACHABLE_V6..=PARAMETER_PROBLEM_V6, _) => Self::Error,
            _ => Self::Other,
        }
    }
}

/// ICMP types, RFC 792.
pub(super) const UNREACHABLE: u8 = 3;
pub(super) const TIME_EXCEEDED: u8 = 11;
pub(super) const PARAMETER_PROBLEM: u8 = 12;
const TIMESTAMP: u8 = 13;
const TIMESTAMP_REPLY: u8 = 14;

/// ICMPv6 types, RFC 4443.
pub(super) const UNREACHABLE_V6: u8 = 1;
pub(super) const TIME_EXCEEDED_V6: u8 = 3;
const PARAMETER_PROBLEM_V6: u8 = 4;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
