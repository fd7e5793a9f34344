//! Where the headers of an IP frame stand.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Gso, GsoKind};
use crate::wire::checksum::Sum;
use crate::wire::{
    EtherType, Ipv4Packet, Ipv6Packet, TcpFlags, TcpSegment, UdpDatagram, array, be16, ipv4, ipv6, protocol,
    tcp, udp, vlan,
};

/// The headers of a frame with a well-formed IP packet whose upper layer can be reached.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Whether the packet is IPv4, or else IPv6.
    pub(super) v4: bool,
    /// Where the IP header begins.
    pub(super) l3: usize,
    /// Where the upper layer begins; fits in 16 bits together with the longest transport header.
    pub(super) l4: usize,
    /// Where the IP packet ends; link-layer padding may follow.
    pub(super) end: usize,
    /// The upper layer.
    pub(super) protocol: u8,
    /// Whether the packet is, or may be, only a part of a datagram.
    pub(super) fragment: bool,
}

impl Layout {
    /// The layout of `frame`, behind up to two VLAN tags; `None` when there is none to speak of.
    #[inline(always)]
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let (ether_type, l3) = vlan::untagged(frame)?;
        let layout = match ether_type {
            EtherType::IPV4 => Self::v4(l3, Ipv4Packet::parse(&frame[l3..]).ok()?),
            EtherType::IPV6 => Self::v6(l3, Ipv6Packet::parse(&frame[l3..]).ok()?)?,
            _ => return None,
        };
        // Longer extension chains are legal, but nothing that owes a checksum has one.
        (layout.l4 <= usize::from(u16::MAX) - 64).then_some(layout)
    }

    #[inline(always)]
    fn v4(l3: usize, packet: Ipv4Packet<'_>) -> Self {
        Self {
            v4: true,
            l3,
            l4: l3 + packet.header_len(),
            end: l3 + packet.total_len(),
            protocol: packet.protocol(),
            fragment: packet.is_fragment(),
        }
    }

    #[inline(never)]
    fn v6(l3: usize, packet: Ipv6Packet<'_>) -> Option<Self> {
        let upper = packet.upper_layer();
        let end = l3 + ipv6::HEADER_LEN + packet.payload().len();
        upper.complete.then_some(Self {
            v4: false,
            l3,
            l4: end - upper.payload.len(),
            end,
            protocol: upper.protocol,
            fragment: upper.fragment.is_some(),
        })
    }

    /// Where the checksum field stands, from the start of the upper layer: TCP and UDP only.
    #[inline]
    pub(super) fn checksum_offset(&self) -> Option<usize> {
        match self.protocol {
            protocol::TCP => Some(tcp::field::CHECKSUM),
            protocol::UDP => Some(udp::field::CHECKSUM),
            _ => None,
        }
    }

    /// The sum of the pseudo header of an upper layer of `len` bytes, with the addresses in `frame`.
    #[inline(always)]
    pub(super) fn pseudo(&self, frame: &[u8], len: usize) -> Sum {
        let at = |field: usize| self.l3 + field;
        if self.v4 {
            let address = |field| Ipv4Addr::from(array(frame, at(field)));
            let (source, destination) = (address(ipv4::field::SOURCE), address(ipv4::field::DESTINATION));
            Sum::pseudo_v4(source, destination, self.protocol, len)
        } else {
            let address = |field| Ipv6Addr::from(array(frame, at(field)));
            let (source, destination) = (address(ipv6::field::SOURCE), address(ipv6::field::DESTINATION));
            Sum::pseudo_v6(source, destination, self.protocol, len)
        }
    }

    /// Bytes before the payload of a whole TCP segment or UDP datagram that fills its IP packet; otherwise `None`.
    #[inline]
    pub(super) fn header_len(&self, frame: &[u8]) -> Option<usize> {
        if self.fragment {
            return None;
        }
        let upper = &frame[self.l4..self.end];
        match self.protocol {
            protocol::TCP => Some(self.l4 + TcpSegment::parse(upper).ok()?.header_len()),
            protocol::UDP => {
                let datagram = UdpDatagram::parse(upper).ok()?;
                (datagram.length() == upper.len()).then_some(self.l4 + udp::HEADER_LEN)
            }
            _ => None,
        }
    }

    /// The kind of super-frame this would be.
    pub(super) fn gso_kind(&self) -> Option<GsoKind> {
        match (self.protocol, self.v4) {
            (protocol::TCP, true) => Some(GsoKind::Tcp4),
            (protocol::TCP, false) => Some(GsoKind::Tcp6),
            (protocol::UDP, _) => Some(GsoKind::Udp),
            _ => None,
        }
    }

    /// How to cut `frame` into segments of `size`, as its own headers say; `None` when they allow no cutting.
    pub(super) fn gso(&self, frame: &[u8], size: u16) -> Option<Gso> {
        if self.end != frame.len() {
            return None;
        }
        let kind = self.gso_kind()?;
        let header_len = u16::try_from(self.header_len(frame)?).ok()?;
        let ecn =
            kind != GsoKind::Udp && TcpFlags(frame[self.l4 + tcp::field::FLAGS]).contains(TcpFlags::CWR);
        Some(Gso { kind, size, ecn, header_len })
    }

    /// The value of the checksum field. The caller knows that there is one.
    #[inline]
    pub(super) fn checksum(&self, frame: &[u8], offset: usize) -> u16 {
        be16(frame, self.l4 + offset)
    }
}
