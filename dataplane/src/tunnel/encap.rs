//! What the outer headers say about an inner frame.

use crate::switch::Segment;
use crate::wire::{Ecn, EtherType, Ipv4Packet, Ipv6Packet, flow, vlan, vxlan};

/// Bytes that encapsulation adds to an inner frame's IP packet over IPv4: inner Ethernet 14, VXLAN 8, UDP 8, IPv4 20.
pub const OVERHEAD_V4: u16 = 50;
/// The same over IPv6, whose header is 20 bytes longer.
pub const OVERHEAD_V6: u16 = 70;

/// The outer TTL and hop limit (design default; the inner one is never touched).
pub const TTL: u8 = 64;

/// The parts of the outer headers that depend on the inner frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The VXLAN header: the I flag and the VNI, every reserved bit zero.
    pub vxlan: [u8; vxlan::HEADER_LEN],
    /// From the inner flow, 49152-65535, so that underlay ECMP and receive hashing tell flows apart and keep each in
    /// order (RFC 7348 section 5).
    pub source_port: u16,
    /// The inner packet's ECN field (RFC 6040 section 4.1, normal mode: copied).
    pub ecn: Ecn,
}

impl Envelope {
    /// For `inner`, a frame of `segment`; `None` for a segment without VNI. `seed` belongs to the host.
    #[must_use]
    pub fn of(segment: &Segment, inner: &[u8], seed: u64) -> Option<Self> {
        Some(Self {
            vxlan: vxlan::header(segment.vni?),
            source_port: flow::source_port(flow::flow_hash(inner, seed)),
            ecn: ecn_of(inner),
        })
    }
}

/// The ECN field of the packet in `frame`; frames that are not IP are not ECN-capable.
fn ecn_of(frame: &[u8]) -> Ecn {
    let Some((ether_type, offset)) = vlan::untagged(frame) else { return Ecn::NotEct };
    let payload = frame.get(offset..).unwrap_or_default();
    match ether_type {
        EtherType::IPV4 => Ipv4Packet::parse(payload).map_or(Ecn::NotEct, |p| p.ecn()),
        EtherType::IPV6 => Ipv6Packet::parse(payload).map_or(Ecn::NotEct, |p| p.ecn()),
        _ => Ecn::NotEct,
    }
}
