//! UDP (RFC 768).

use super::{ParseError, be16};

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;

/// Where fields stand.
pub(crate) mod field {
    pub(crate) const SOURCE_PORT: usize = 0;
    pub(crate) const DESTINATION_PORT: usize = 2;
    pub(crate) const LENGTH: usize = 4;
    pub(crate) const CHECKSUM: usize = 6;
}

/// A UDP datagram whose length field agrees with the buffer.
#[derive(Clone, Copy, Debug)]
pub struct UdpDatagram<'a> {
    /// Exactly `length` bytes.
    bytes: &'a [u8],
}

impl<'a> UdpDatagram<'a> {
    /// A view of the datagram at the start of `datagram`; what follows its length is not part of it.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] below 8 bytes, [`ParseError::BadLength`] when the length field is below 8 or beyond
    /// the buffer.
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Self, ParseError> {
        if datagram.len() < HEADER_LEN {
            return Err(ParseError::Truncated);
        }
        let length = usize::from(be16(datagram, field::LENGTH));
        if length < HEADER_LEN || length > datagram.len() {
            return Err(ParseError::BadLength);
        }
        Ok(Self { bytes: &datagram[..length] })
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

    /// Bytes of the datagram, header included.
    #[must_use]
    #[inline]
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The checksum field, unverified; zero means that there is none.
    #[must_use]
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.bytes, field::CHECKSUM)
    }

    /// Everything after the header.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..]
    }
}
