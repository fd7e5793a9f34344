//! Outer headers, written by ourselves where no socket writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Envelope;
use super::encap::TTL;
use crate::wire::checksum::{Sum, checksum};
use crate::wire::{EtherType, MacAddr, ethernet, ipv4, ipv6, protocol, udp, vxlan};

/// Bytes of the longest outer headers: Ethernet, IPv6, UDP, VXLAN.
pub const MAX: usize = ethernet::HEADER_LEN + ipv6::HEADER_LEN + udp::HEADER_LEN + vxlan::HEADER_LEN;

/// How a VTEP is reached on the underlay's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct NextHop {
    /// Our interface's MAC.
    pub source: MacAddr,
    /// The MAC of the VTEP, or of the router towards it.
    pub neighbor: MacAddr,
    /// The link's MTU: bytes of an outer IP packet.
    pub mtu: u16,
}

/// The two ends of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Over IPv4: from, to.
    V4(Ipv4Addr, Ipv4Addr),
    /// Over IPv6: from, to.
    V6(Ipv6Addr, Ipv6Addr),
}

impl Ends {
    /// `None` if the families differ.
    #[must_use]
    pub const fn new(from: IpAddr, to: IpAddr) -> Option<Self> {
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => Some(Self::V4(from, to)),
            (IpAddr::V6(from), IpAddr::V6(to)) => Some(Self::V6(from, to)),
            _ => None,
        }
    }

    /// Where the outer UDP header begins.
    #[must_use]
    pub const fn udp_offset(self) -> usize {
        match self {
            Self::V4(..) => ethernet::HEADER_LEN + ipv4::HEADER_LEN,
            Self::V6(..) => ethernet::HEADER_LEN + ipv6::HEADER_LEN,
        }
    }

    /// Bytes of the outer headers.
    #[must_use]
    pub const fn headers_len(self) -> usize {
        self.udp_offset() + udp::HEADER_LEN + vxlan::HEADER_LEN
    }

    /// The largest inner frame whose outer IP packet has a length that fits its field.
    #[must_use]
    pub const fn inner_max(self) -> usize {
        let udp_max = match self {
            Self::V4(..) => u16::MAX as usize - ipv4::HEADER_LEN,
            Self::V6(..) => u16::MAX as usize,
        };
        udp_max - udp::HEADER_LEN - vxlan::HEADER_LEN
    }
}

/// Writes the headers that go before `inner_len` bytes of inner frame into the start of `out`; returns their length.
/// The UDP checksum field holds the folded sum of the outer pseudo header, for somebody further on to finish.
/// DF is set and the TTL is [`TTL`]; `id` is the IPv4 identification.
pub fn write(
    out: &mut [u8; MAX],
    ends: Ends,
    hop: &NextHop,
    to_port: u16,
    envelope: &Envelope,
    inner_len: usize,
    id: u16,
) -> usize {
    let udp_len = udp::HEADER_LEN + vxlan::HEADER_LEN + inner_len;
    let (link, rest) = out.split_at_mut(ethernet::HEADER_LEN);
    link[..6].copy_from_slice(&hop.neighbor.0);
    link[6..12].copy_from_slice(&hop.source.0);
    let (network, ether_type, pseudo) = match ends {
        Ends::V4(from, to) => {
            write_v4(rest, from, to, udp_len, envelope, id);
            (ipv4::HEADER_LEN, EtherType::IPV4, Sum::pseudo_v4(from, to, protocol::UDP, udp_len))
        }
        Ends::V6(from, to) => {
            write_v6(rest, from, to, udp_len, envelope);
            (ipv6::HEADER_LEN, EtherType::IPV6, Sum::pseudo_v6(from, to, protocol::UDP, udp_len))
        }
    };
    link[12..14].copy_from_slice(&ether_type.0.to_be_bytes());
    let transport = &mut rest[network..network + udp::HEADER_LEN + vxlan::HEADER_LEN];
    transport[..2].copy_from_slice(&envelope.source_port.to_be_bytes());
    transport[2..4].copy_from_slice(&to_port.to_be_bytes());
    transport[4..6].copy_from_slice(&(udp_len as u16).to_be_bytes());
    transport[6..8].copy_from_slice(&pseudo.fold().to_be_bytes());
    transport[8..].copy_from_slice(&envelope.vxlan);
    ends.headers_len()
}

fn write_v4(out: &mut [u8], from: Ipv4Addr, to: Ipv4Addr, udp_len: usize, envelope: &Envelope, id: u16) {
    let header = &mut out[..ipv4::HEADER_LEN];
    header[..2].copy_from_slice(&[0x45, envelope.ecn.bits()]);
    header[2..4].copy_from_slice(&((ipv4::HEADER_LEN + udp_len) as u16).to_be_bytes());
    header[4..6].copy_from_slice(&id.to_be_bytes());
    header[6..8].copy_from_slice(&[0x40, 0]);
    header[8..12].copy_from_slice(&[TTL, protocol::UDP, 0, 0]);
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let sum = checksum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn write_v6(out: &mut [u8], from: Ipv6Addr, to: Ipv6Addr, udp_len: usize, envelope: &Envelope) {
    let header = &mut out[..ipv6::HEADER_LEN];
    let class = u32::from(envelope.ecn.bits());
    header[..4].copy_from_slice(&(6 << 28 | class << 20).to_be_bytes());
    header[4..6].copy_from_slice(&(udp_len as u16).to_be_bytes());
    header[6..8].copy_from_slice(&[protocol::UDP, TTL]);
    header[8..24].copy_from_slice(&from.octets());
    header[24..40].copy_from_slice(&to.octets());
}
