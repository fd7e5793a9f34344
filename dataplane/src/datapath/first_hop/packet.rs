//! What a router looks at in a frame, and what it changes.

use std::net::IpAddr;

use super::Refusal;
use crate::gateway::icmp::ErrorKind;
use crate::gateway::spec::is_station;
use crate::offload::{Checksum, Offload};
use crate::verdict::DropReason;
use crate::wire::{EtherType, Ethernet, Ipv4Packet, Ipv6Packet, MacAddr, ethernet, ipv4, ipv6};

/// Where the IP packet of an untagged frame begins.
pub(super) const L3: usize = ethernet::HEADER_LEN;

/// The part of an IP header that routing goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    ttl: u8,
    /// Whether routers may fragment the packet.
    pub(super) divisible: bool,
}

impl Header {
    /// That of an untagged frame.
    pub(super) fn of(frame: &[u8]) -> Result<Self, DropReason> {
        let packet = frame.get(L3..).unwrap_or_default();
        match Ethernet::parse(frame).map_err(|_| DropReason::Runt)?.ether_type() {
            EtherType::IPV4 => {
                let packet = Ipv4Packet::parse(packet).map_err(|_| DropReason::Malformed)?;
                let (source, destination) = (packet.source().into(), packet.destination().into());
                Ok(Self { source, destination, ttl: packet.ttl(), divisible: !packet.dont_fragment() })
            }
            EtherType::IPV6 => {
                let packet = Ipv6Packet::parse(packet).map_err(|_| DropReason::Malformed)?;
                let (source, destination) = (packet.source().into(), packet.destination().into());
                Ok(Self { source, destination, ttl: packet.hop_limit(), divisible: false })
            }
            _ => Err(DropReason::GatewayRefused),
        }
    }

    /// Whether its source is an address that others than its neighbours can answer (RFC 1812 section 5.3.7, RFC 4291
    /// section 2.5.6).
    pub(super) fn comes_from_station(&self) -> Result<(), Refusal> {
        if is_station(self.source) { Ok(()) } else { Err((DropReason::Martian, None)) }
    }

    /// Whether the packet may be forwarded once more (RFC 1812 section 5.3.1, RFC 8200 section 3).
    pub(super) fn outlives(&self) -> Result<(), Refusal> {
        let exceeded = (DropReason::TtlExceeded, Some(ErrorKind::TtlExceeded));
        if self.ttl > 1 { Ok(()) } else { Err(exceeded) }
    }

    /// Takes one hop from the packet, which has more.
    pub(super) fn decrement(&self, frame: &mut [u8]) {
        let packet = &mut frame[L3..];
        // It has one to lose: it outlives.
        let _ = match self.source {
            IpAddr::V4(_) => ipv4::decrement_ttl(packet),
            IpAddr::V6(_) => ipv6::decrement_hop_limit(packet),
        };
    }
}

/// Whether the IP packet of an untagged frame is a part of a datagram.
pub(super) fn is_fragment(frame: &[u8]) -> bool {
    let packet = frame.get(L3..).unwrap_or_default();
    match packet.first().map(|first| first >> 4) {
        Some(4) => Ipv4Packet::parse(packet).is_ok_and(|packet| packet.is_fragment()),
        _ => Ipv6Packet::parse(packet).is_ok_and(|packet| packet.upper_layer().fragment.is_some()),
    }
}

/// Addresses the frame anew.
#[inline]
pub(super) fn address(frame: &mut [u8], to: MacAddr, from: MacAddr) {
    frame[..6].copy_from_slice(&to.0);
    frame[6..12].copy_from_slice(&from.0);
}

/// The header of a frame with a packet of the family of `of`.
pub(super) fn ethernet(to: MacAddr, from: MacAddr, of: IpAddr) -> Vec<u8> {
    let ether_type = if of.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
    ethernet::header(to, from, ether_type).to_vec()
}

/// Whether the transport checksum is still to be computed.
pub(super) fn is_partial(offload: Offload) -> bool {
    matches!(offload.checksum, Checksum::Partial { .. })
}
