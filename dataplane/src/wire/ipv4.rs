//! IPv4 (RFC 791).

use std::net::Ipv4Addr;

use super::{Ecn, ParseError, array, be16, checksum, put16};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// Where fields stand, from the start of the header.
pub(crate) mod field {
    pub(crate) const TOS: usize = 1;
    pub(crate) const TOTAL_LEN: usize = 2;
    pub(crate) const IDENTIFICATION: usize = 4;
    pub(crate) const FRAGMENT: usize = 6;
    pub(crate) const TTL: usize = 8;
    pub(crate) const PROTOCOL: usize = 9;
    pub(crate) const CHECKSUM: usize = 10;
    pub(crate) const SOURCE: usize = 12;
    pub(crate) const DESTINATION: usize = 16;
}

pub(crate) const DONT_FRAGMENT: u16 = 0x4000;
pub(crate) const MORE_FRAGMENTS: u16 = 0x2000;
pub(crate) const FRAGMENT_OFFSET: u16 = 0x1fff;

/// An IPv4 packet whose lengths agree with each other and with the buffer.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4Packet<'a> {
    /// Exactly `total_len` bytes: link-layer padding is cut off.
    bytes: &'a [u8],
}

impl<'a> Ipv4Packet<'a> {
    /// A view of the packet at the start of `packet`; what follows its total length is padding.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] when the header does not fit, [`ParseError::BadVersion`] when the version is not 4,
    /// [`ParseError::BadLength`] when the header length is below 20 or the total length is below the header length or
    /// beyond the buffer. The header checksum is not looked at.
    #[inline]
    pub fn parse(packet: &'a [u8]) -> Result<Self, ParseError> {
        let view = Self::parse_quoted(packet)?;
        if view.bytes.len() < usize::from(be16(packet, field::TOTAL_LEN)) {
            return Err(ParseError::BadLength);
        }
        Ok(view)
    }

    /// A view of a packet that an ICMP error quotes and may have cut off anywhere behind the header.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), but a total length beyond the buffer is none.
    #[inline]
    pub fn parse_quoted(packet: &'a [u8]) -> Result<Self, ParseError> {
        if packet.len() < HEADER_LEN {
            return Err(ParseError::Truncated);
        }
        if packet[0] >> 4 != 4 {
            return Err(ParseError::BadVersion);
        }
        let header_len = usize::from(packet[0] & 0x0f) * 4;
        if header_len < HEADER_LEN {
            return Err(ParseError::BadLength);
        }
        if header_len > packet.len() {
            return Err(ParseError::Truncated);
        }
        let total_len = usize::from(be16(packet, field::TOTAL_LEN));
        if total_len < header_len {
            return Err(ParseError::BadLength);
        }
        Ok(Self { bytes: &packet[..total_len.min(packet.len())] })
    }

    /// The sender.
    #[must_use]
    #[inline]
    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from(array(self.bytes, field::SOURCE))
    }

    /// The receiver.
    #[must_use]
    #[inline]
    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from(array(self.bytes, field::DESTINATION))
    }

    /// What the payload is: see [`protocol`](super::protocol).
    #[must_use]
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.bytes[field::PROTOCOL]
    }

    /// Bytes of the header, options included: 20 to 60.
    #[must_use]
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.bytes[0] & 0x0f) * 4
    }

    /// Bytes of the packet, header included.
    #[must_use]
    #[inline]
    pub fn total_len(&self) -> usize {
        self.bytes.len()
    }

    /// The type of service byte: DSCP and ECN.
    #[must_use]
    #[inline]
    pub fn tos(&self) -> u8 {
        self.bytes[field::TOS]
    }

    /// The congestion codepoint.
    #[must_use]
    #[inline]
    pub fn ecn(&self) -> Ecn {
        Ecn::from_bits(self.tos())
    }

    /// Hops left.
    #[must_use]
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.bytes[field::TTL]
    }

    /// The number that fragments of one datagram share.
    #[must_use]
    #[inline]
    pub fn identification(&self) -> u16 {
        be16(self.bytes, field::IDENTIFICATION)
    }

    /// Whether routers must not fragment the packet.
    #[must_use]
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        be16(self.bytes, field::FRAGMENT) & DONT_FRAGMENT != 0
    }

    /// Whether fragments follow this one.
    #[must_use]
    #[inline]
    pub fn more_fragments(&self) -> bool {
        be16(self.bytes, field::FRAGMENT) & MORE_FRAGMENTS != 0
    }

    /// Where the payload stands in the whole datagram, in bytes.
    #[must_use]
    #[inline]
    pub fn fragment_offset(&self) -> usize {
        usize::from(be16(self.bytes, field::FRAGMENT) & FRAGMENT_OFFSET) * 8
    }

    /// Whether this is a part of a datagram rather than the whole of it.
    #[must_use]
    #[inline]
    pub fn is_fragment(&self) -> bool {
        be16(self.bytes, field::FRAGMENT) & (MORE_FRAGMENTS | FRAGMENT_OFFSET) != 0
    }

    /// Everything between the header and the total length.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header_len()..]
    }

    /// The options, in the order in which they stand.
    #[must_use]
    pub fn options(&self) -> Options<'a> {
        Options { rest: &self.bytes[HEADER_LEN..self.header_len()] }
    }

    /// Whether the header checksum is right.
    #[must_use]
    pub fn header_checksum_ok(&self) -> bool {
        checksum::checksum(&self.bytes[..self.header_len()]) == 0
    }
}

/// An option of a header (RFC 791 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Option<'a> {
    /// All of it: the kind, and unless it is padding, the length and the data.
    pub bytes: &'a [u8],
}

impl Ipv4Option<'_> {
    /// What it is, the copied flag included.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.bytes[0]
    }

    /// Whether every fragment is to have it.
    #[must_use]
    pub fn copied(&self) -> bool {
        self.kind() & 0x80 != 0
    }

    /// Whether it prescribes the route (loose or strict).
    #[must_use]
    pub fn is_source_route(&self) -> bool {
        matches!(self.kind(), LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE)
    }
}

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// The options of a header, up to the end of the list; the last is [`ParseError::BadLength`] when its length is below
/// two or beyond the header.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<Ipv4Option<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.rest);
        let len = match *rest {
            [] | [END_OF_OPTIONS, ..] => return None,
            [NO_OPERATION, ..] => 1,
            [_, len, ..] if len >= 2 => usize::from(len),
            _ => return Some(Err(ParseError::BadLength)),
        };
        let Some((bytes, rest)) = rest.split_at_checked(len) else {
            return Some(Err(ParseError::BadLength));
        };
        self.rest = rest;
        Some(Ok(Ipv4Option { bytes }))
    }
}

/// Takes one hop from the time to live and adjusts the header checksum to the change (RFC 1624).
///
/// Returns whether the packet may be forwarded. If not, because no hop would be left (RFC 1812 section 5.3.1) or the
/// buffer is below 20 bytes, it is as it came, fit to be quoted in an error.
#[must_use]
#[inline]
pub fn decrement_ttl(packet: &mut [u8]) -> bool {
    if packet.len() < HEADER_LEN || packet[field::TTL] < 2 {
        return false;
    }
    set_ttl(packet, packet[field::TTL] - 1);
    true
}

/// Writes the time to live and adjusts the header checksum to the change (RFC 1624). A buffer below 20 bytes is left
/// alone.
#[inline]
pub fn set_ttl(packet: &mut [u8], ttl: u8) {
    if packet.len() < HEADER_LEN {
        return;
    }
    let old = be16(packet, field::TTL);
    packet[field::TTL] = ttl;
    let sum = checksum::update(be16(packet, field::CHECKSUM), old, be16(packet, field::TTL));
    put16(packet, field::CHECKSUM, sum);
}

/// Writes the identification and adjusts the header checksum to the change (RFC 1624). A buffer below 20 bytes is left
/// alone.
#[inline]
pub fn set_identification(packet: &mut [u8], identification: u16) {
    if packet.len() < HEADER_LEN {
        return;
    }
    let old = be16(packet, field::IDENTIFICATION);
    put16(packet, field::IDENTIFICATION, identification);
    let sum = checksum::update(be16(packet, field::CHECKSUM), old, identification);
    put16(packet, field::CHECKSUM, sum);
}

/// Writes the congestion codepoint and adjusts the header checksum to the change (RFC 1624).
///
/// A checksum that was wrong stays wrong by the same amount. A buffer below 20 bytes is left alone.
#[inline]
pub fn set_ecn(packet: &mut [u8], ecn: Ecn) {
    if packet.len() < HEADER_LEN {
        return;
    }
    let old = be16(packet, 0);
    packet[field::TOS] = packet[field::TOS] & !Ecn::MASK | ecn.bits();
    let sum = checksum::update(be16(packet, field::CHECKSUM), old, be16(packet, 0));
    put16(packet, field::CHECKSUM, sum);
}
