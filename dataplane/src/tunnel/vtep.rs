//! Who may speak VXLAN to us.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A VXLAN tunnel endpoint, named by its underlay address.
///
/// An IPv4 address that a dual-stack socket wrote as `::ffff:a.b.c.d` is the IPv4 VTEP `a.b.c.d`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct Vtep {
    /// The address as IPv6, an IPv4 one mapped (RFC 4291 section 2.5.5.2): two numbers compare faster than an enum of
    /// byte strings, and every frame from a tunnel compares.
    high: u64,
    low: u64,
}

impl Vtep {
    /// The VTEP at `address`.
    #[must_use]
    #[inline]
    pub const fn new(address: IpAddr) -> Self {
        let bits = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        Self { high: (bits >> 64) as u64, low: bits as u64 }
    }

    /// Its underlay address.
    #[must_use]
    #[inline]
    pub const fn address(self) -> IpAddr {
        let bits = (self.high as u128) << 64 | self.low as u128;
        IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical()
    }
}

impl From<IpAddr> for Vtep {
    fn from(address: IpAddr) -> Self {
        Self::new(address)
    }
}

impl From<Ipv6Addr> for Vtep {
    fn from(address: Ipv6Addr) -> Self {
        Self::new(address.into())
    }
}

impl fmt::Display for Vtep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}

impl fmt::Debug for Vtep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vtep({})", self.address())
    }
}
