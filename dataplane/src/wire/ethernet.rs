//! Ethernet II: two addresses and an EtherType.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{ParseError, array, be16};

/// Bytes before the payload of an untagged frame.
pub const HEADER_LEN: usize = 14;

/// A 48-bit Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct MacAddr(pub [u8; 6]);

/// As one number: a hasher takes bytes one call at a time, and a frame's two addresses are hashed for every frame.
impl Hash for MacAddr {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.to_u64());
    }
}

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`, every station.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// `00:00:00:00:00:00`, no station.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether this names a group of stations (the broadcast address included).
    #[must_use]
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether this names every station.
    #[must_use]
    #[inline]
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// Whether this names no station; such a source is never learned (VX-19).
    #[must_use]
    #[inline]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Whether this is one of 01-80-C2-00-00-00 to 0F, which a bridge does not relay (IEEE 802.1D table 7-10).
    #[must_use]
    #[inline]
    pub fn is_reserved_group(self) -> bool {
        let [a, b, c, d, e, f] = self.0;
        a == 0x01 && [b, c, d, e, f & 0xf0] == [0x80, 0xc2, 0, 0, 0]
    }

    /// The address Docker gives an endpoint: `02:42` followed by its IPv4 address.
    #[must_use]
    pub const fn from_ipv4(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// The IPv6 link-local address a station forms from this MAC (modified EUI-64, RFC 4291 appendix A).
    #[must_use]
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f])
    }

    /// The address as a number below 2^48, the first byte most significant.
    #[must_use]
    #[inline]
    pub const fn to_u64(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

/// Text that is not a MAC address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a MAC address: write six pairs of hexadecimal digits, like 02:42:0a:00:00:02")]
pub struct MacAddrError {
    /// What was given.
    pub text: String,
}

impl FromStr for MacAddr {
    type Err = MacAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_mac(text).ok_or_else(|| MacAddrError { text: text.to_owned() })
    }
}

fn parse_mac(text: &str) -> Option<MacAddr> {
    let mut octets = [0; 6];
    let mut pairs = text.split(':');
    for octet in &mut octets {
        let pair = pairs.next()?;
        // from_str_radix alone would take "+1".
        if pair.len() != 2 || !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *octet = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(MacAddr(octets))
}

/// What an Ethernet payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// An 802.1Q tag.
    pub const VLAN: Self = Self(0x8100);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
    /// An 802.1ad service tag.
    pub const QINQ: Self = Self(0x88a8);
}

impl fmt::Display for EtherType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#06x}", self.0)
    }
}

/// The header of a frame to be sent.
#[must_use]
pub const fn header(destination: MacAddr, source: MacAddr, ether_type: EtherType) -> [u8; HEADER_LEN] {
    let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (destination.0, source.0);
    let [m, n] = ether_type.0.to_be_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n]
}

/// A frame without preamble and checksum, as a TAP delivers it.
#[derive(Clone, Copy, Debug)]
pub struct Ethernet<'a> {
    bytes: &'a [u8],
}

impl<'a> Ethernet<'a> {
    /// A view of `frame`.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] below 14 bytes.
    #[inline]
    pub fn parse(frame: &'a [u8]) -> Result<Self, ParseError> {
        if frame.len() < HEADER_LEN {
            return Err(ParseError::Truncated);
        }
        Ok(Self { bytes: frame })
    }

    /// Where the frame goes.
    #[must_use]
    #[inline]
    pub fn destination(&self) -> MacAddr {
        MacAddr(array(self.bytes, 0))
    }

    /// Who sent the frame.
    #[must_use]
    #[inline]
    pub fn source(&self) -> MacAddr {
        MacAddr(array(self.bytes, 6))
    }

    /// Destination and source together, as they stand in the frame: what two frames of a conversation have in common.
    #[must_use]
    #[inline]
    pub(crate) fn addresses(&self) -> [u8; 12] {
        array(self.bytes, 0)
    }

    /// The EtherType right after the addresses; that of the tag, if the frame is tagged.
    #[must_use]
    #[inline]
    pub fn ether_type(&self) -> EtherType {
        EtherType(be16(self.bytes, 12))
    }

    /// Everything after the header, padding included.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..]
    }
}
