//! A number per inner flow, for the outer UDP source port (RFC 7348 section 5, VX-6).
//!
//! Frames of one flow and direction share a number, so that the underlay keeps them in order; different flows spread
//! over all ports, so that the underlay balances them. The two directions of a flow are unrelated on purpose: each
//! end hashes with its own seed.
//!
//! | frame | what is hashed |
//! |---|---|
//! | TCP, UDP, SCTP, whole | addresses, protocol, ports |
//! | other IP | addresses, protocol; every fragment of a datagram alike |
//! | anything else, malformed IP included | MACs, EtherType |

use super::{EtherType, Ipv4Packet, Ipv6Packet, array, be16, be32, ethernet, protocol, vlan};

/// The first port of the dynamic range, which has 2^14 of them.
const FIRST_PORT: u16 = 49_152;

/// Protocol number of the IPv6 fragment header: what every fragment of a datagram has in common.
const IPV6_FRAGMENT: u8 = 44;

/// Bits of pi (as in Blowfish): odd enough to mix with, and nobody's choice.
const PI: [u64; 3] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0];

/// The number of the flow that `frame` (Ethernet, with up to two VLAN tags) belongs to.
///
/// The seed is to be secret and constant while the flow lives: it keeps a tenant from choosing flows that share a port.
#[must_use]
#[inline]
pub fn flow_hash(frame: &[u8], seed: u64) -> u32 {
    let hash = match vlan::untagged(frame) {
        Some((EtherType::IPV4, l3)) => ipv4(&frame[l3..], seed),
        Some((EtherType::IPV6, l3)) => ipv6(&frame[l3..], seed),
        _ => None,
    };
    let hash = hash.unwrap_or_else(|| link(frame, seed));
    (hash ^ hash >> 32) as u32
}

/// The outer UDP source port for a flow: 49152 to 65535, from the upper bits of `hash`.
#[must_use]
#[inline]
pub const fn source_port(hash: u32) -> u16 {
    FIRST_PORT + (hash >> 18) as u16
}

/// The product of two 64-bit numbers, its halves folded together.
#[inline]
const fn mix(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// The last word of every hash: protocol and ports, or an EtherType.
#[inline]
const fn finish(state: u64, last: u64) -> u64 {
    mix(mix(state ^ last, PI[1]), PI[2])
}

fn ipv4(bytes: &[u8], seed: u64) -> Option<u64> {
    let packet = Ipv4Packet::parse(bytes).ok()?;
    let state = mix(word(bytes, 12) ^ PI[0], seed ^ PI[1]);
    let ports = if packet.is_fragment() { 0 } else { ports(packet.protocol(), packet.payload()) };
    Some(finish(state, u64::from(packet.protocol()) << 32 | ports))
}

fn ipv6(bytes: &[u8], seed: u64) -> Option<u64> {
    let packet = Ipv6Packet::parse(bytes).ok()?;
    let source = mix(word(bytes, 8) ^ PI[0], word(bytes, 16) ^ seed ^ PI[1]);
    let state = mix(word(bytes, 24) ^ source, word(bytes, 32) ^ seed ^ PI[2]);
    let upper = packet.upper_layer();
    // A later fragment does not show what the first one carries, so none is asked.
    let (protocol, ports) = match upper.fragment {
        Some(fragment) if !fragment.is_whole() => (IPV6_FRAGMENT, 0),
        _ if upper.complete => (upper.protocol, ports(upper.protocol, upper.payload)),
        _ => (upper.protocol, 0),
    };
    Some(finish(state, u64::from(protocol) << 32 | ports))
}

/// The two ports as one number, for the protocols that begin with them.
#[inline]
fn ports(protocol: u8, payload: &[u8]) -> u64 {
    match protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP if payload.len() >= 4 => u64::from(be32(payload, 0)),
        _ => 0,
    }
}

fn link(frame: &[u8], seed: u64) -> u64 {
    if frame.len() < ethernet::HEADER_LEN {
        return finish(seed, frame.len() as u64);
    }
    let state = mix(word(frame, 0) ^ PI[0], seed ^ PI[1]);
    finish(state, u64::from(be32(frame, 8)) << 16 | u64::from(be16(frame, 12)))
}
