//! Addresses: which subnet a network gets, and which address an endpoint gets.
//!
//! A [`Pool`] is the book of one subnet: who has which address. [`choose_ipv4`] and [`choose_ipv6`] find a subnet for a
//! network that named none. Nothing here knows of networks, clocks, stores or the host; what is in use elsewhere is an
//! argument.
//!
//! Policy, Docker's where it has one:
//! - The first address of a subnet is never given out (IPv4: the network itself; IPv6: the subnet-router anycast
//!   address, RFC 4291 2.6.1), nor is IPv4's broadcast address. /31 and /127 have neither (RFC 3021, RFC 6164).
//! - The gateway is the first address that can be given out, unless the user named one. Auxiliary addresses belong to
//!   things that Weft does not manage, a router say; they are never given out.
//! - An endpoint gets an address of the `--ip-range`, or of the subnet. Which of the free ones is the [`Policy`]: the
//!   lowest ([`Policy::FirstFree`], what Docker does on one host), or the next after the last one given out
//!   ([`Policy::Serial`], what Docker does in a swarm, so that an address rests before somebody else gets it and old
//!   neighbour entries on other hosts have time to die). [`Policy::of`] says which driver has which.
//! - An address that the user names may lie outside the range, not outside the subnet.
//! - A lease names its holder. Only the holder can give it back: a release that comes late, after the address went to
//!   somebody else, changes nothing.
//!
//! A pool is no truth of its own: the leases are, wherever they are kept. [`Pool::restore`] makes the pool that they
//! describe, and [`Pool::leases`] describes a pool. The one thing lost on the way is where serial allocation stood; it
//! goes on after the highest lease.
//!
//! Limits: a subnet holds at least a gateway and one endpoint, and [`AUXILIARY_MAX`] auxiliary addresses. There is no
//! upper one: a pool costs memory by the addresses taken, and each operation a number of steps that depends on the
//! subnet's prefix only (8 in a /8, 22 in a /64), never on how many addresses are taken or where the gaps are. When no
//! address is free the endpoint is refused, with the usage; when no subnet is free the network is.

mod error;
mod lease;
mod numbers;
mod pool;
mod subnets;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

pub use error::IpamError;
pub use lease::{Holder, Lease, Owner, Usage};
pub use pool::{AUXILIARY_MAX, Policy, Pool, PoolSpec};
pub use subnets::{NotUla, UlaPrefix, choose_ipv4, choose_ipv6, overlaps};

/// Whether endpoints can live in `net` at all.
///
/// # Errors
/// [`IpamError::HostBits`], [`IpamError::TooSmall`] or [`IpamError::NotUnicast`].
pub fn check_subnet(net: IpNet) -> Result<(), IpamError> {
    if net != net.trunc() {
        return Err(IpamError::HostBits { net });
    }
    if net.prefix_len() == net.max_prefix_len() {
        return Err(IpamError::TooSmall { net });
    }
    if FOREIGN.iter().any(|text| text.parse().is_ok_and(|foreign: IpNet| overlaps(net, foreign))) {
        return Err(IpamError::NotUnicast { net });
    }
    Ok(())
}

/// Ranges in which no endpoint can live: this host, loopback, multicast, reserved, link-local IPv6 (RFC 6890).
const FOREIGN: [&str; 6] = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8"];

/// The addresses of a subnet that are never given out.
fn reserved(net: IpNet) -> Vec<IpAddr> {
    match net {
        IpNet::V4(v4) if v4.prefix_len() < 31 => vec![v4.network().into(), v4.broadcast().into()],
        IpNet::V6(v6) if v6.prefix_len() < 127 => vec![v6.network().into()],
        _ => vec![],
    }
}

/// The lowest address that is not reserved.
fn first_usable(net: IpNet) -> IpAddr {
    match net {
        IpNet::V4(v4) if v4.prefix_len() < 31 => Ipv4Addr::from(u32::from(v4.network()) + 1).into(),
        IpNet::V6(v6) if v6.prefix_len() < 127 => Ipv6Addr::from(u128::from(v6.network()) + 1).into(),
        _ => net.network(),
    }
}

/// An address as a number within its family.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The first and last number of a range of addresses.
fn span(net: IpNet) -> (u128, u128) {
    (number(net.network()), number(net.broadcast()))
}

#[cfg(test)]
mod life;
#[cfg(test)]
mod tests;
