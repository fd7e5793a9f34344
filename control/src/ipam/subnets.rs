//! A subnet for a network that named none.
//!
//! The ranges and their cut are Docker's (`libnetwork/ipamutils`): local networks share 172.16/12 less 172.16/16, then
//! 192.168/16; networks of many hosts 10/8. IPv6 networks get a /64 of the host's own ULA prefix (RFC 4193).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::{IpamError, span};
use crate::model::Driver;

/// Docker's pools for networks of one host: base, base's prefix, prefix of each network.
const LOCAL: [([u8; 4], u8, u8); 7] = [
    ([172, 17, 0, 0], 16, 16),
    ([172, 18, 0, 0], 16, 16),
    ([172, 19, 0, 0], 16, 16),
    ([172, 20, 0, 0], 14, 16),
    ([172, 24, 0, 0], 14, 16),
    ([172, 28, 0, 0], 14, 16),
    ([192, 168, 0, 0], 16, 20),
];

/// Docker's pool for networks of many hosts.
const GLOBAL: [([u8; 4], u8, u8); 1] = [([10, 0, 0, 0], 8, 24)];

/// Prefix length of an automatic IPv6 subnet: what SLAAC and everybody's habits expect.
const IPV6_PREFIX: u8 = 64;

/// Whether two ranges share an address.
#[must_use]
pub fn overlaps(a: impl Into<IpNet>, b: impl Into<IpNet>) -> bool {
    let (a, b) = (a.into(), b.into());
    a.contains(&b) || b.contains(&a)
}

/// The first default IPv4 subnet that overlaps none of `busy`.
///
/// # Errors
/// [`IpamError::NoSubnet`].
pub fn choose_ipv4(driver: Driver, busy: &[IpNet]) -> Result<IpNet, IpamError> {
    let pools: &[_] = match driver {
        Driver::Overlay => &GLOBAL,
        Driver::Bridge | Driver::Host | Driver::None => &LOCAL,
    };
    let free = pools.iter().find_map(|&(base, base_prefix, prefix)| {
        let base = Ipv4Addr::from(base);
        let last = u32::from(base) | u32::MAX.checked_shr(base_prefix.into()).unwrap_or(0);
        first_free(u32::from(base).into(), last.into(), 32 - prefix, busy, |n| {
            Ipv4Net::new(Ipv4Addr::from(n as u32), prefix).ok().map(IpNet::V4)
        })
    });
    free.ok_or(IpamError::NoSubnet { driver })
}

/// The first /64 of the host's prefix that overlaps none of `busy`.
///
/// # Errors
/// [`IpamError::NoSubnet`].
pub fn choose_ipv6(driver: Driver, ula: UlaPrefix, busy: &[IpNet]) -> Result<IpNet, IpamError> {
    let (first, last) = span(IpNet::V6(ula.0));
    let free = first_free(first, last, 128 - IPV6_PREFIX, busy, |n| {
        Ipv6Net::new(Ipv6Addr::from(n), IPV6_PREFIX).ok().map(IpNet::V6)
    });
    free.ok_or(IpamError::NoSubnet { driver })
}

/// The first block of `2^host_bits` numbers in `first..=last` that overlaps none of `busy`. What is busy is looked at
/// once, in its order, and stepped over whole, so that neither a host route for all of 10/8 nor thousands of networks
/// make it slow.
fn first_free(
    first: u128,
    last: u128,
    host_bits: u8,
    busy: &[IpNet],
    block: impl Fn(u128) -> Option<IpNet>,
) -> Option<IpNet> {
    let size = 1u128 << host_bits;
    let v6 = block(first)?.addr().is_ipv6();
    let mut obstacles: Vec<_> =
        busy.iter().filter(|net| net.addr().is_ipv6() == v6).map(|&net| span(net)).collect();
    obstacles.sort_unstable();
    let mut candidate = first;
    for (start, end) in obstacles {
        if start > candidate + (size - 1) {
            break;
        }
        if end >= candidate {
            candidate = end.checked_add(1)?.checked_next_multiple_of(size)?;
        }
    }
    if candidate <= last { block(candidate) } else { None }
}

/// A host's own /48 of `fd00::/8`: the automatic IPv6 subnets are cut from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Ipv6Net", into = "Ipv6Net")]
pub struct UlaPrefix(Ipv6Net);

/// A prefix that no host can have as its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a /48 of fd00::/8")]
pub struct NotUla(pub Ipv6Net);

impl TryFrom<Ipv6Net> for UlaPrefix {
    type Error = NotUla;

    fn try_from(net: Ipv6Net) -> Result<Self, NotUla> {
        let ula = net.prefix_len() == 48 && net == net.trunc() && net.addr().octets()[0] == 0xfd;
        if ula { Ok(Self(net)) } else { Err(NotUla(net)) }
    }
}

impl From<UlaPrefix> for Ipv6Net {
    fn from(ula: UlaPrefix) -> Self {
        ula.0
    }
}

impl UlaPrefix {
    /// The prefix with this global id, 40 bits that the caller drew at random (RFC 4193 3.2).
    #[must_use]
    pub fn new(global_id: [u8; 5]) -> Self {
        let mut octets = [0; 16];
        octets[0] = 0xfd;
        octets[1..6].copy_from_slice(&global_id);
        Self(Ipv6Net::new_assert(octets.into(), 48))
    }
}
