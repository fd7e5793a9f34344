//! Who may speak VXLAN to us.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A VXLAN tunnel endpoint, named by its underlay address.
///
/// An IPv4 address that a dual-stack socket wrote as `::ffff:a.b.c.d` is the IPv4 VTEP `a.b.c.d`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vtep(IpAddr);

impl Vtep {
    /// The VTEP at `address`.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// Its underlay address.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.0
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
        self.0.fmt(f)
    }
}

impl fmt::Debug for Vtep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vtep({})", self.0)
    }
}
