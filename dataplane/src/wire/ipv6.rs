//! IPv6 (RFC 8200) and the walk over its extension headers.

use std::net::Ipv6Addr;

use super::{Ecn, ParseError, array, be16, be32};

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;

/// Extension headers walked before the chain counts as endless; RFC 8504 section 5.3 lets a node set such a limit.
pub const MAX_EXTENSIONS: usize = 8;

/// Bytes of a fragment header.
pub const FRAGMENT_HEADER_LEN: usize = 8;

/// Where fields stand, from the start of the header.
pub(crate) mod field {
    pub(crate) const PAYLOAD_LEN: usize = 4;
    pub(crate) const NEXT_HEADER: usize = 6;
    pub(crate) const HOP_LIMIT: usize = 7;
    pub(crate) const SOURCE: usize = 8;
    pub(crate) const DESTINATION: usize = 24;
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// An IPv6 packet whose payload lies within the buffer.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6Packet<'a> {
    /// Exactly the fixed header and the payload: link-layer padding is cut off.
    bytes: &'a [u8],
}

/// The place of a fragment in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Where the payload stands in the fragmentable part, in bytes.
    pub offset: u16,
    /// Whether fragments follow this one.
    pub more: bool,
    /// Bytes of the fragmentable part in this packet.
    pub len: u16,
    /// The number that fragments of one datagram share.
    pub identification: u32,
}

impl Fragment {
    /// The header at the start of `bytes`, of which there are at least eight; the fragment is what follows.
    fn at(bytes: &[u8]) -> Self {
        let word = be16(bytes, 2);
        Self {
            offset: word & 0xfff8,
            more: word & 1 == 1,
            len: (bytes.len() - FRAGMENT_HEADER_LEN) as u16,
            identification: be32(bytes, 4),
        }
    }

    /// Whether the "fragment" is the whole datagram (an atomic fragment, RFC 6946).
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// What an IPv6 packet carries behind its extension headers.
#[derive(Clone, Copy, Debug)]
pub struct UpperLayer<'a> {
    /// The first next-header value that was not walked past.
    pub protocol: u8,
    /// The bytes that `protocol` describes.
    pub payload: &'a [u8],
    /// The fragment header, if there is one.
    pub fragment: Option<Fragment>,
    /// Whether there is a routing header that sends the packet on from its destination, or one of type 0, which must
    /// not be honoured (RFC 5095).
    pub source_routed: bool,
    /// False when `protocol` is not the upper layer: the chain is truncated, too long, or lies in a later fragment.
    pub complete: bool,
}

impl<'a> Ipv6Packet<'a> {
    /// A view of the packet at the start of `packet`; what follows its payload length is padding.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] below 40 bytes, [`ParseError::BadVersion`] when the version is not 6,
    /// [`ParseError::BadLength`] when the payload length is beyond the buffer.
    #[inline]
    pub fn parse(packet: &'a [u8]) -> Result<Self, ParseError> {
        if packet.len() < HEADER_LEN {
            return Err(ParseError::Truncated);
        }
        if packet[0] >> 4 != 6 {
            return Err(ParseError::BadVersion);
        }
        let total_len = HEADER_LEN + usize::from(be16(packet, field::PAYLOAD_LEN));
        let bytes = packet.get(..total_len).ok_or(ParseError::BadLength)?;
        Ok(Self { bytes })
    }

    /// A view of a packet that an ICMP error quotes and may have cut off anywhere behind the fixed header.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), but for the payload length.
    pub fn parse_quoted(packet: &'a [u8]) -> Result<Self, ParseError> {
        match Self::parse(packet) {
            Err(ParseError::BadLength) => Ok(Self { bytes: packet }),
            parsed => parsed,
        }
    }

    /// The sender.
    #[must_use]
    #[inline]
    pub fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from(array::<16>(self.bytes, field::SOURCE))
    }

    /// The receiver.
    #[must_use]
    #[inline]
    pub fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from(array::<16>(self.bytes, field::DESTINATION))
    }

    /// The traffic class byte: DSCP and ECN.
    #[must_use]
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        self.bytes[0] << 4 | self.bytes[1] >> 4
    }

    /// The congestion codepoint.
    #[must_use]
    #[inline]
    pub fn ecn(&self) -> Ecn {
        Ecn::from_bits(self.traffic_class())
    }

    /// Hops left.
    #[must_use]
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        self.bytes[field::HOP_LIMIT]
    }

    /// What follows the fixed header: an extension header or the upper layer.
    #[must_use]
    #[inline]
    pub fn next_header(&self) -> u8 {
        self.bytes[field::NEXT_HEADER]
    }

    /// Bytes of the packet, fixed header included.
    #[must_use]
    #[inline]
    pub fn total_len(&self) -> usize {
        self.bytes.len()
    }

    /// Everything after the fixed header, extension headers included.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// Walks past at most [`MAX_EXTENSIONS`] extension headers: hop-by-hop, routing, destination options, fragment
    /// and authentication. Anything else, encrypted payloads included, is taken for the upper layer.
    #[must_use]
    pub fn upper_layer(&self) -> UpperLayer<'a> {
        let mut upper = UpperLayer {
            protocol: self.next_header(),
            payload: self.payload(),
            fragment: None,
            source_routed: false,
            complete: false,
        };
        for _ in 0..MAX_EXTENSIONS {
            if !is_extension(upper.protocol) {
                break;
            }
            let Some((next, header_len)) = extension(upper.protocol, upper.payload) else { return upper };
            // A second fragment header must not hide that the first one was in earnest.
            if upper.protocol == FRAGMENT && upper.fragment.is_none_or(Fragment::is_whole) {
                upper.fragment = Some(Fragment::at(upper.payload));
            }
            if upper.protocol == ROUTING {
                let [kind, segments_left] = array(upper.payload, 2);
                upper.source_routed |= kind == 0 || segments_left > 0;
            }
            upper.protocol = next;
            upper.payload = &upper.payload[header_len..];
            if upper.fragment.is_some_and(|fragment| fragment.offset > 0) {
                return upper;
            }
        }
        upper.complete = !is_extension(upper.protocol);
        upper
    }
}

#[inline]
const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
}

/// The next header and the length of the extension header at the start of `bytes`; `None` when it does not fit.
fn extension(protocol: u8, bytes: &[u8]) -> Option<(u8, usize)> {
    let (next, len) = (*bytes.first()?, usize::from(*bytes.get(1)?));
    let header_len = match protocol {
        FRAGMENT => FRAGMENT_HEADER_LEN,
        // RFC 4302 counts four-byte units, less two.
        AUTHENTICATION => (len + 2) * 4,
        _ => (len + 1) * 8,
    };
    (header_len <= bytes.len()).then_some((next, header_len))
}

/// Writes the congestion codepoint. A buffer below 40 bytes is left alone.
#[inline]
pub fn set_ecn(packet: &mut [u8], ecn: Ecn) {
    if packet.len() < HEADER_LEN {
        return;
    }
    packet[1] = packet[1] & !(Ecn::MASK << 4) | ecn.bits() << 4;
}

/// Takes one hop from the hop limit.
///
/// Returns whether the packet may be forwarded. If not, because no hop would be left (RFC 8200 section 3) or the buffer
/// is below 40 bytes, it is as it came, fit to be quoted in an error.
#[must_use]
#[inline]
pub fn decrement_hop_limit(packet: &mut [u8]) -> bool {
    if packet.len() < HEADER_LEN || packet[field::HOP_LIMIT] < 2 {
        return false;
    }
    packet[field::HOP_LIMIT] -= 1;
    true
}
