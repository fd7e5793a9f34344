//! Reading the packet that an ICMP error is about.

use std::net::IpAddr;

use super::parse::{self, IcmpClass};
use super::{Embedded, Protocol};
use crate::wire::{Ipv4Packet, Ipv6Packet, be16, protocol};

/// Bytes before the quoted packet.
const HEADER_LEN: usize = 8;

/// Bytes of the quoted transport that every sender quotes (RFC 792).
const QUOTED_LEN: usize = 8;

/// The least that a quoted packet is padded to when extensions follow it (RFC 4884 section 3). Shorter lengths stand in
/// errors of senders that knew nothing of the field.
const PADDED_LEN: usize = 128;

/// The packet in `message`, an ICMP error of eight bytes or more that stands at `l4`.
///
/// `None` when less than its first eight transport bytes are quoted, when its IPv4 header checksum is wrong, or when it
/// is nothing that a NAT translates: a later fragment, another transport, an ICMP message that is no query.
pub(super) fn parse(l4: usize, icmp_type: u8, message: &[u8], v4: bool) -> Option<Embedded> {
    let quoted = &message[HEADER_LEN..quote_end(icmp_type, message, v4)];
    let at = l4 + HEADER_LEN;
    let (source, destination, number, upper, end): (IpAddr, IpAddr, _, _, _) = if v4 {
        let packet = Ipv4Packet::parse_quoted(quoted).ok()?;
        if !packet.header_checksum_ok() || packet.fragment_offset() > 0 {
            return None;
        }
        let (source, destination) = (packet.source().into(), packet.destination().into());
        (source, destination, packet.protocol(), packet.payload(), packet.total_len())
    } else {
        let packet = Ipv6Packet::parse_quoted(quoted).ok()?;
        let upper = packet.upper_layer();
        if !upper.complete {
            return None;
        }
        let (source, destination) = (packet.source().into(), packet.destination().into());
        (source, destination, upper.protocol, upper.payload, packet.total_len())
    };
    let (protocol, source_port, destination_port) = ends(number, upper, v4)?;
    let l4 = at + end - upper.len();
    Some(Embedded { source, destination, protocol, source_port, destination_port, at, l4, end: at + end })
}

/// Where the quoted packet ends at the latest: at the end of the message, or before ICMP extensions (RFC 4884).
fn quote_end(icmp_type: u8, message: &[u8], v4: bool) -> usize {
    let claimed = match (v4, icmp_type) {
        (true, parse::UNREACHABLE | parse::TIME_EXCEEDED | parse::PARAMETER_PROBLEM) => {
            usize::from(message[5]) * 4
        }
        (false, parse::UNREACHABLE_V6 | parse::TIME_EXCEEDED_V6) => usize::from(message[4]) * 8,
        _ => 0,
    };
    if claimed < PADDED_LEN { message.len() } else { message.len().min(HEADER_LEN + claimed) }
}

/// The transport of the quoted packet and its two ports.
fn ends(number: u8, upper: &[u8], v4: bool) -> Option<(Protocol, u16, u16)> {
    if upper.len() < QUOTED_LEN {
        return None;
    }
    match (number, v4) {
        (protocol::TCP, _) => Some((Protocol::Tcp, be16(upper, 0), be16(upper, 2))),
        (protocol::UDP, _) => Some((Protocol::Udp, be16(upper, 0), be16(upper, 2))),
        (protocol::ICMP, true) | (protocol::ICMPV6, false) => {
            let query = matches!(IcmpClass::of(number, upper[0], upper[1]), IcmpClass::Query { .. });
            query.then(|| (Protocol::Icmp, be16(upper, 4), be16(upper, 4)))
        }
        _ => None,
    }
}
