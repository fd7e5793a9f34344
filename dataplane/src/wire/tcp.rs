//! TCP (RFC 9293), as far as a switch needs it.

use super::{ParseError, be16, be32};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// Where fields stand.
pub(crate) mod field {
    pub(crate) const SOURCE_PORT: usize = 0;
    pub(crate) const DESTINATION_PORT: usize = 2;
    pub(crate) const SEQUENCE: usize = 4;
    pub(crate) const ACKNOWLEDGEMENT: usize = 8;
    pub(crate) const DATA_OFFSET: usize = 12;
    pub(crate) const FLAGS: usize = 13;
    pub(crate) const WINDOW: usize = 14;
    pub(crate) const CHECKSUM: usize = 16;
}

/// The control bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// The sender has no more data.
    pub const FIN: Self = Self(0x01);
    /// Sequence numbers start here.
    pub const SYN: Self = Self(0x02);
    /// The connection is refused or aborted.
    pub const RST: Self = Self(0x04);
    /// Deliver what has arrived.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);
    /// The receiver echoes a congestion mark.
    pub const ECE: Self = Self(0x40);
    /// The sender has reacted to an echoed congestion mark.
    pub const CWR: Self = Self(0x80);

    /// Whether every bit of `other` is set.
    #[must_use]
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits and those of `other`.
    #[must_use]
    #[inline]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These bits less those of `other`.
    #[must_use]
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// A TCP segment whose header lies within the buffer.
#[derive(Clone, Copy, Debug)]
pub struct TcpSegment<'a> {
    bytes: &'a [u8],
}

impl<'a> TcpSegment<'a> {
    /// A view of `segment`, which must be the exact payload of an IP packet.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] when the header does not fit, [`ParseError::BadLength`] when the data offset is
    /// below five words.
    #[inline]
    pub fn parse(segment: &'a [u8]) -> Result<Self, ParseError> {
        if segment.len() < HEADER_LEN {
            return Err(ParseError::Truncated);
        }
        let view = Self { bytes: segment };
        if view.header_len() < HEADER_LEN {
            return Err(ParseError::BadLength);
        }
        if view.header_len() > segment.len() {
            return Err(ParseError::Truncated);
        }
        Ok(view)
    }

    /// The sender's port.
    #[must_use]
    #[inline]
    pub fn source_port(&self) -> u16 {
        be16(self.bytes, field::SOURCE_PORT)
    }

    /// The receiver's port.
    #[must_use]
    #[inline]
    pub fn destination_port(&self) -> u16 {
        be16(self.bytes, field::DESTINATION_PORT)
    }

    /// The number of the first payload byte (or of SYN).
    #[must_use]
    #[inline]
    pub fn sequence(&self) -> u32 {
        be32(self.bytes, field::SEQUENCE)
    }

    /// The next number expected from the other side, if ACK is set.
    #[must_use]
    #[inline]
    pub fn acknowledgement(&self) -> u32 {
        be32(self.bytes, field::ACKNOWLEDGEMENT)
    }

    /// The control bits.
    #[must_use]
    #[inline]
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(self.bytes[field::FLAGS])
    }

    /// The receive window, unscaled.
    #[must_use]
    #[inline]
    pub fn window(&self) -> u16 {
        be16(self.bytes, field::WINDOW)
    }

    /// The checksum field, unverified.
    #[must_use]
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.bytes, field::CHECKSUM)
    }

    /// Bytes of the header, options included: 20 to 60.
    #[must_use]
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.bytes[field::DATA_OFFSET] >> 4) * 4
    }

    /// The options, padding included.
    #[must_use]
    #[inline]
    pub fn options(&self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..self.header_len()]
    }

    /// Everything after the header.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header_len()..]
    }
}
