//! Echo requests to the gateway's own address, answered where they stand.
//!
//! An answer is the question with its addresses exchanged and its type changed, so a fragmented question is answered
//! fragment by fragment, without state, and a super-frame as one. Nothing is verified or recomputed that the change does
//! not touch: a question with a wrong checksum gets an answer that is wrong by as much, which the asker refuses. A later
//! fragment does not show that it belongs to an echo request, and is sent back on the word of its protocol number: to
//! its own sender, one for one.
//!
//! Not answered: packets with a source route or malformed options, with IPv6 extension headers other than a fragment
//! header, and from no single station.

use std::net::Ipv6Addr;

use super::icmp::TTL;
use super::spec::is_station;
use crate::wire::{Ipv4Packet, Ipv6Packet, be16, checksum, icmp, ipv4, ipv6, protocol, put16};

#[cfg(test)]
mod tests;

/// Turns the echo request `ip`, or a fragment of one, into its reply, to be sent to the Ethernet address it came from.
///
/// The caller knows that its destination is the gateway's own address. `partial` says that the ICMP checksum is still
/// owed (NEEDS_CSUM), and stays so. Returns false, and leaves `ip` alone, when it is no such packet.
#[must_use]
pub fn echo(ip: &mut [u8], partial: bool) -> bool {
    match ip.first().map(|first| first >> 4) {
        Some(4) => echo_v4(ip, partial),
        Some(6) => echo_v6(ip, partial),
        _ => false,
    }
}

fn echo_v4(ip: &mut [u8], partial: bool) -> bool {
    let Ok(packet) = Ipv4Packet::parse(ip) else { return false };
    let at = packet.header_len();
    let routed = packet.options().any(|option| option.map_or(true, |option| option.is_source_route()));
    if packet.protocol() != protocol::ICMP || routed || !is_station(packet.source().into()) {
        return false;
    }
    if packet.fragment_offset() == 0 {
        if !is_request(packet.payload(), icmp::ECHO_REQUEST) {
            return false;
        }
        set_type(&mut ip[at..], icmp::ECHO_REPLY, partial);
    }
    let (source, rest) = ip[ipv4::field::SOURCE..].split_at_mut(4);
    source.swap_with_slice(&mut rest[..4]);
    ipv4::set_ttl(ip, TTL);
    true
}

fn echo_v6(ip: &mut [u8], partial: bool) -> bool {
    let Ok(packet) = Ipv6Packet::parse(ip) else { return false };
    let upper = packet.upper_layer();
    let at = ipv6::HEADER_LEN + packet.payload().len() - upper.payload.len();
    let plain = match packet.next_header() {
        protocol::ICMPV6 => true,
        ipv6::FRAGMENT => at == ipv6::HEADER_LEN + ipv6::FRAGMENT_HEADER_LEN && upper.fragment.is_some(),
        _ => false,
    };
    if !plain || upper.protocol != protocol::ICMPV6 || !can_ask(packet.source()) {
        return false;
    }
    if upper.fragment.is_none_or(|fragment| fragment.offset == 0) {
        if !is_request(upper.payload, icmp::v6::ECHO_REQUEST) {
            return false;
        }
        set_type(&mut ip[at..], icmp::v6::ECHO_REPLY, partial);
    }
    let (source, rest) = ip[ipv6::field::SOURCE..].split_at_mut(16);
    source.swap_with_slice(&mut rest[..16]);
    ip[ipv6::field::HOP_LIMIT] = TTL;
    true
}

/// A neighbour on the link may ask from its link-local address.
const fn can_ask(source: Ipv6Addr) -> bool {
    !source.is_unspecified() && !source.is_loopback() && !source.is_multicast()
}

fn is_request(message: &[u8], request: u8) -> bool {
    message.len() >= icmp::HEADER_LEN && message[..2] == [request, 0]
}

/// Changes the type, and the checksum with it (RFC 1624); a partial one covers what is there in the end.
fn set_type(message: &mut [u8], icmp_type: u8, partial: bool) {
    let old = be16(message, icmp::field::TYPE);
    message[icmp::field::TYPE] = icmp_type;
    if !partial {
        let sum = be16(message, icmp::field::CHECKSUM);
        let sum = checksum::update(sum, old, be16(message, icmp::field::TYPE));
        put16(message, icmp::field::CHECKSUM, sum);
    }
}
