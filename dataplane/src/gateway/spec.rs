//! What a network's gateway is, and which way a destination lies from it.

use std::net::{IpAddr, Ipv6Addr};

use super::GATEWAY_MAC;
use crate::tables::PortId;
use crate::wire::Prefix;

#[cfg(test)]
mod tests;

/// Subnets that one gateway serves.
pub const SUBNETS_MAX: usize = 16;

/// Who may answer an endpoint from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub enum Filtering {
    /// Whom it has addressed, from any port (RFC 4787 section 5, address-dependent).
    #[default]
    AddressDependent,
    /// Anybody, while the mapping lives.
    EndpointIndependent,
}

/// A segment's gateway, as control wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct GatewaySpec {
    /// Each subnet with the gateway's address in it.
    pub subnets: Vec<(Prefix, IpAddr)>,
    /// Whether what leaves is translated; otherwise it is routed out as it is.
    pub nat: bool,
    /// Who may answer.
    pub filtering: Filtering,
    /// The host's own leg: the port behind which the host itself is the gateway.
    pub host: Option<PortId>,
}

impl GatewaySpec {
    /// Whether packets from `source`, an address inside, are translated on their way out: all of IPv4, and unique local
    /// addresses of IPv6 (RFC 4193), which nobody outside can answer. Other IPv6 addresses are routed.
    #[must_use]
    pub fn translates(&self, source: IpAddr) -> bool {
        let local = match source {
            IpAddr::V4(_) => true,
            IpAddr::V6(v6) => v6.octets()[0] & 0xfe == 0xfc,
        };
        self.nat && local
    }
}

/// Why a [`GatewaySpec`] is nonsense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// A gateway that cannot be reached from its subnet.
    #[error("{address} is not in {subnet}: give the gateway an address of its subnet")]
    NotInSubnet {
        /// The gateway's address.
        address: IpAddr,
        /// Its subnet.
        subnet: Prefix,
    },
    /// A gateway with an address that no host can have.
    #[error(
        "{0} is no address of a host: give the gateway one that is not multicast, broadcast, loopback or reserved"
    )]
    NoHost(IpAddr),
    /// More subnets than a gateway serves.
    #[error("{count} subnets are more than the {SUBNETS_MAX} that a gateway serves")]
    TooManySubnets {
        /// How many were asked for.
        count: usize,
    },
}

/// A gateway that has been checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gateway {
    spec: GatewaySpec,
    /// Whether it has an IPv6 address, and so a link-local one.
    v6: bool,
}

/// Which way a destination lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whither {
    /// The gateway's own address.
    Own(IpAddr),
    /// A host in one of the network's subnets.
    Inside,
    /// A group: a multicast address, or the broadcast address of a subnet or of all. The gateway forwards none of them
    /// (RFC 2644 for directed broadcast).
    Multicast,
    /// Where no packet goes: unspecified, loopback, reserved, IPv6 link-local, IPv4 written as IPv6.
    Martian,
    /// Anywhere else.
    Outside,
}

impl Gateway {
    /// Checks `spec`.
    ///
    /// # Errors
    ///
    /// What [`GatewayError`] lists.
    pub fn build(spec: &GatewaySpec) -> Result<Self, GatewayError> {
        if spec.subnets.len() > SUBNETS_MAX {
            return Err(GatewayError::TooManySubnets { count: spec.subnets.len() });
        }
        for &(subnet, address) in &spec.subnets {
            if !subnet.contains(address) {
                return Err(GatewayError::NotInSubnet { address, subnet });
            }
            if !is_station(address) || is_broadcast(subnet, address) {
                return Err(GatewayError::NoHost(address));
            }
        }
        Ok(Self { spec: spec.clone(), v6: spec.subnets.iter().any(|(subnet, _)| subnet.address().is_ipv6()) })
    }

    /// As it was wanted.
    #[must_use]
    pub const fn spec(&self) -> &GatewaySpec {
        &self.spec
    }

    /// Whether `address` is the gateway's; its IPv6 link-local address counts if it serves an IPv6 subnet.
    #[must_use]
    #[inline]
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.spec.subnets.iter().any(|&(_, own)| own == address)
            || self.v6 && address == IpAddr::V6(GATEWAY_MAC.link_local())
    }

    /// The gateway's address that answers `to`: of the subnet that it lies in, or else the first one of its family.
    #[must_use]
    pub fn address_for(&self, to: IpAddr) -> Option<IpAddr> {
        let subnets = || self.spec.subnets.iter();
        let near = subnets().find(|(subnet, _)| subnet.contains(to));
        near.or_else(|| subnets().find(|(_, own)| own.is_ipv4() == to.is_ipv4())).map(|&(_, own)| own)
    }

    /// Which way `to` lies.
    ///
    /// IPv4 link-local addresses are outside: RFC 3927 section 2.7 would have no router forward them, but clouds serve
    /// instance metadata on 169.254.169.254, and containers ask for it.
    #[must_use]
    pub fn whither(&self, to: IpAddr) -> Whither {
        if self.is_own(to) {
            return Whither::Own(to);
        }
        if to.is_multicast() || matches!(to, IpAddr::V4(v4) if v4.is_broadcast()) {
            return Whither::Multicast;
        }
        if !is_station(to) {
            return Whither::Martian;
        }
        match self.spec.subnets.iter().find(|(subnet, _)| subnet.contains(to)) {
            Some(&(subnet, _)) if is_broadcast(subnet, to) => Whither::Multicast,
            Some(_) => Whither::Inside,
            None => Whither::Outside,
        }
    }
}

/// Whether `address` is the directed broadcast address of `subnet`.
fn is_broadcast(subnet: Prefix, address: IpAddr) -> bool {
    // RFC 3021: a subnet of two addresses has no broadcast.
    address.is_ipv4() && subnet.len() <= 30 && address == subnet.last()
}

/// Whether one station outside this link can have `address`: it is not a group, unspecified, loopback, reserved,
/// IPv6 link-local, or IPv4 written as IPv6.
#[must_use]
pub fn is_station(address: IpAddr) -> bool {
    match address {
        // 0/8, 127/8, and everything from 224/4 on.
        IpAddr::V4(v4) => !matches!(v4.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(v6) => {
            // ::/96 and ::ffff:0:0/96 hold ::, ::1 and every way to write IPv4.
            let v4 = matches!(v6.to_bits() >> 32, 0 | 0xffff);
            !v4 && !v6.is_multicast() && !is_link_local(v6)
        }
    }
}

const fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}
