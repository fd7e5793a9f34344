//! Addresses: which subnet a network gets, and which address an endpoint gets.
//!
//! A [`Pool`] is the book of one subnet: who has which address. [`choose_ipv4`] and [`choose_ipv6`] find a subnet for a
//! network that named none. Nothing here knows of networks, clocks or the host; what is in use elsewhere is an argument.
//!
//! Policy, Docker's where it has one:
//! - The first address of a subnet is never given out (IPv4: the network itself; IPv6: the subnet-router anycast
//!   address, RFC 4291 2.6.1), nor is IPv4's broadcast address. /31 and /127 have neither (RFC 3021, RFC 6164).
//! - The gateway is the first address that can be given out, unless the user named one.
//! - An endpoint gets the lowest free address of the `--ip-range`, or of the subnet. An address that the user names may
//!   lie outside the range, not outside the subnet.
//! - A released address is free at once.
//!
//! Limits: a subnet holds at least a gateway and one endpoint. There is no upper one: a book costs memory by the
//! addresses taken, and its operations the logarithm of their number. When no address is free the endpoint is refused,
//! with the count; when no subnet is free the network is.

mod error;
mod pools;
mod ranges;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

pub use error::IpamError;
pub use pools::{UlaPrefix, choose_ipv4, choose_ipv6, overlaps};

use crate::model::Name;
use ranges::RangeSet;

/// The addresses of one subnet and who has them.
#[derive(Clone, Debug)]
pub struct Pool {
    net: IpNet,
    gateway: IpAddr,
    /// First and last address that [`Pool::allocate`] may choose.
    window: (u128, u128),
    /// How many addresses of the window endpoints can have.
    capacity: u128,
    taken: RangeSet,
    owners: BTreeMap<u128, Owner>,
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody can have it: the network's own or the broadcast address.
    Reserved,
    /// The subnet's gateway.
    Gateway,
    /// The endpoint of this name.
    Endpoint(Name),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => f.write_str("the subnet itself"),
            Self::Gateway => f.write_str("the gateway"),
            Self::Endpoint(name) => write!(f, "endpoint '{name}'"),
        }
    }
}

impl Pool {
    /// Opens the book of `net`: reserved addresses and gateway are taken, all others are free.
    ///
    /// # Errors
    /// [`IpamError`] when `net` is no subnet endpoints can live in, or `gateway` or `range` do not fit it.
    pub fn new(net: IpNet, gateway: Option<IpAddr>, range: Option<IpNet>) -> Result<Self, IpamError> {
        check_subnet(net)?;
        let outside_range = range.filter(|range| !net.contains(range));
        if let Some(range) = outside_range {
            return Err(IpamError::RangeOutside { range, net });
        }
        let (mut taken, mut owners) = (RangeSet::default(), BTreeMap::new());
        for address in reserved(net) {
            taken.insert(number(address));
            owners.insert(number(address), Owner::Reserved);
        }
        let gateway = match gateway {
            Some(given) if !net.contains(&given) => {
                return Err(IpamError::GatewayOutside { gateway: given, net });
            }
            Some(given) if taken.contains(number(given)) => {
                return Err(IpamError::GatewayReserved { gateway: given, net });
            }
            Some(given) => given,
            None => first_usable(net),
        };
        taken.insert(number(gateway));
        owners.insert(number(gateway), Owner::Gateway);

        let window = span(range.unwrap_or(net));
        let unavailable = owners.range(window.0..=window.1).count() as u128;
        let capacity = (window.1 - window.0).saturating_add(1) - unavailable;
        Ok(Self { net, gateway, window, capacity, taken, owners })
    }

    /// The subnet.
    #[must_use]
    pub fn net(&self) -> IpNet {
        self.net
    }

    /// The gateway's address.
    #[must_use]
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// Gives `owner` the lowest free address of the range.
    ///
    /// # Errors
    /// [`IpamError::Exhausted`].
    pub fn allocate(&mut self, owner: Name) -> Result<IpAddr, IpamError> {
        let (low, high) = self.window;
        let Some(free) = self.taken.first_free(low, high) else {
            return Err(IpamError::Exhausted {
                net: self.net,
                taken: self.capacity,
                capacity: self.capacity,
            });
        };
        self.taken.insert(free);
        self.owners.insert(free, Owner::Endpoint(owner));
        Ok(self.address(free))
    }

    /// Gives `owner` exactly `address`.
    ///
    /// # Errors
    /// [`IpamError::Outside`] or [`IpamError::Taken`].
    pub fn claim(&mut self, address: IpAddr, owner: Name) -> Result<(), IpamError> {
        if !self.net.contains(&address) {
            return Err(IpamError::Outside { address, net: self.net });
        }
        if let Some(owner) = self.owners.get(&number(address)) {
            return Err(IpamError::Taken { address, owner: owner.clone() });
        }
        self.taken.insert(number(address));
        self.owners.insert(number(address), Owner::Endpoint(owner));
        Ok(())
    }

    /// Frees an endpoint's address; that of the gateway, or one nobody has, stays as it is.
    pub fn release(&mut self, address: IpAddr) {
        let n = number(address);
        if self.net.contains(&address) && matches!(self.owners.get(&n), Some(Owner::Endpoint(_))) {
            self.owners.remove(&n);
            self.taken.remove(n);
        }
    }

    fn address(&self, n: u128) -> IpAddr {
        match self.net {
            IpNet::V4(_) => Ipv4Addr::from(n as u32).into(),
            IpNet::V6(_) => Ipv6Addr::from(n).into(),
        }
    }
}

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
mod tests;
