//! The book of one subnet.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::numbers::NumberSet;
use super::{Holder, IpamError, Lease, Owner, Usage, check_subnet, first_usable, number, reserved, span};
use crate::model::{Driver, Id, Name};

/// The most auxiliary addresses of a subnet: a list that a person writes.
pub const AUXILIARY_MAX: usize = 256;

/// Which of the free addresses an endpoint gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The lowest.
    #[default]
    FirstFree,
    /// The next after the one that was chosen last; after the highest, the lowest again.
    Serial,
}

impl Policy {
    /// What Docker does for such networks.
    #[must_use]
    pub const fn of(driver: Driver) -> Self {
        match driver {
            Driver::Bridge | Driver::Host | Driver::None => Self::FirstFree,
            Driver::Overlay => Self::Serial,
        }
    }
}

/// What a subnet is to be; [`Pool::new`] says whether it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// The subnet; its host bits are zero.
    pub net: IpNet,
    /// The gateway; the first usable address when missing.
    pub gateway: Option<IpAddr>,
    /// Where addresses are chosen from, if not from all of `net`.
    pub range: Option<IpNet>,
    /// Addresses of things that Weft does not manage.
    pub auxiliary: BTreeMap<Name, IpAddr>,
    /// Which of the free addresses is chosen.
    pub policy: Policy,
}

impl PoolSpec {
    /// All of `net`, with everything else left to Weft.
    #[must_use]
    pub fn new(net: IpNet) -> Self {
        Self { net, gateway: None, range: None, auxiliary: BTreeMap::new(), policy: Policy::FirstFree }
    }
}

/// The addresses of one subnet and who has them.
#[derive(Clone, Debug)]
pub struct Pool {
    net: IpNet,
    gateway: IpAddr,
    policy: Policy,
    /// First and last address that [`Pool::allocate`] may choose.
    window: (u128, u128),
    /// Where serial allocation looks first: a number of the window.
    next: u128,
    /// How many addresses of the window endpoints can have, and how many they have.
    capacity: u128,
    taken: u128,
    /// The numbers of `owners`, counted from the subnet's first.
    offsets: NumberSet,
    owners: HashMap<u128, Owner>,
}

impl Pool {
    /// Opens the book of a subnet: reserved, gateway and auxiliary addresses are taken, all others are free.
    ///
    /// # Errors
    /// [`IpamError`] when no endpoint can live in the subnet, or gateway, range or auxiliary addresses do not fit it.
    pub fn new(spec: &PoolSpec) -> Result<Self, IpamError> {
        let net = spec.net;
        check_subnet(net)?;
        if let Some(range) = spec.range.filter(|range| !net.contains(range)) {
            return Err(IpamError::RangeOutside { range, net });
        }
        if spec.auxiliary.len() > AUXILIARY_MAX {
            return Err(IpamError::TooManyAuxiliary { net });
        }
        let window = span(spec.range.unwrap_or(net));
        let mut pool = Self {
            net,
            gateway: choose_gateway(net, spec.gateway)?,
            policy: spec.policy,
            window,
            next: window.0,
            capacity: (window.1 - window.0).saturating_add(1),
            taken: 0,
            offsets: NumberSet::new(u32::from(net.max_prefix_len() - net.prefix_len())),
            owners: HashMap::new(),
        };
        for address in reserved(net) {
            pool.set_aside(address, Owner::Reserved)?;
        }
        pool.set_aside(pool.gateway, Owner::Gateway)?;
        for (name, &address) in &spec.auxiliary {
            pool.set_aside(address, Owner::Auxiliary(name.clone()))?;
        }
        Ok(pool)
    }

    /// Opens the book of a subnet in which endpoints have addresses already.
    ///
    /// # Errors
    /// As [`Pool::new`], and [`IpamError::Outside`] or [`IpamError::Taken`] for the first lease that cannot be.
    pub fn restore(spec: &PoolSpec, leases: impl IntoIterator<Item = Lease>) -> Result<Self, IpamError> {
        let mut pool = Self::new(spec)?;
        let mut highest = None;
        for Lease { address, holder } in leases {
            pool.claim(address, holder)?;
            highest = highest.max(Some(number(address)).filter(|&n| pool.in_window(n)));
        }
        if let Some(highest) = highest {
            pool.next = pool.after(highest);
        }
        Ok(pool)
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

    /// What was set aside for things that Weft does not manage, by name.
    #[must_use]
    pub fn auxiliary(&self) -> BTreeMap<Name, IpAddr> {
        let named = |(&n, owner): (&u128, &Owner)| match owner {
            Owner::Auxiliary(name) => Some((name.clone(), self.address(n))),
            _ => None,
        };
        self.owners.iter().filter_map(named).collect()
    }

    /// How full it is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage { taken: self.taken, capacity: self.capacity, in_use: self.owners.len() as u128 }
    }

    /// What the endpoints have, by address.
    #[must_use]
    pub fn leases(&self) -> Vec<Lease> {
        let lease = |(&n, owner): (&u128, &Owner)| match owner {
            Owner::Endpoint(holder) => Some(Lease { address: self.address(n), holder: holder.clone() }),
            _ => None,
        };
        let mut leases: Vec<_> = self.owners.iter().filter_map(lease).collect();
        leases.sort_by_key(|lease| lease.address);
        leases
    }

    /// Who has `address`; `None` when it is free, or of another subnet.
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<&Owner> {
        self.owners.get(&number(address)).filter(|_| self.net.contains(&address))
    }

    /// Gives `holder` a free address of the range, chosen by the pool's policy.
    ///
    /// # Errors
    /// [`IpamError::Exhausted`], with the usage.
    pub fn allocate(&mut self, holder: Holder) -> Result<IpAddr, IpamError> {
        let free = match self.policy {
            Policy::FirstFree => self.first_free(self.window.0),
            Policy::Serial => self.first_free(self.next).or_else(|| self.first_free(self.window.0)),
        };
        let Some(free) = free else {
            return Err(IpamError::Exhausted { net: self.net, usage: self.usage() });
        };
        self.enter(free, Owner::Endpoint(holder));
        self.next = self.after(free);
        Ok(self.address(free))
    }

    /// Gives `holder` exactly `address`.
    ///
    /// # Errors
    /// [`IpamError::Outside`] or [`IpamError::Taken`].
    pub fn claim(&mut self, address: IpAddr, holder: Holder) -> Result<(), IpamError> {
        self.check_free(address)?;
        self.enter(number(address), Owner::Endpoint(holder));
        Ok(())
    }

    /// Frees `address` if the endpoint `holder` has it, and tells whether that was so. Whatever belongs to somebody
    /// else, to nobody, or to no endpoint stays as it is.
    pub fn release(&mut self, address: IpAddr, holder: Id) -> bool {
        let ours = matches!(self.owner(address), Some(Owner::Endpoint(owner)) if owner.id == holder);
        if ours {
            let n = number(address);
            self.owners.remove(&n);
            self.offsets.remove(self.offset(n));
            self.taken -= u128::from(self.in_window(n));
        }
        ours
    }

    /// Gives what the endpoint `from` has to `to`, and tells whether that was so.
    pub fn hand_over(&mut self, address: IpAddr, from: Id, to: Holder) -> bool {
        let owner = self.owners.get_mut(&number(address)).filter(|_| self.net.contains(&address));
        match owner {
            Some(Owner::Endpoint(holder)) if holder.id == from => {
                *holder = to;
                true
            }
            _ => false,
        }
    }

    /// Takes an address from those that endpoints can have.
    fn set_aside(&mut self, address: IpAddr, owner: Owner) -> Result<(), IpamError> {
        self.check_free(address)?;
        let n = number(address);
        self.owners.insert(n, owner);
        self.offsets.insert(self.offset(n));
        self.capacity -= u128::from(self.in_window(n));
        Ok(())
    }

    /// Enters an endpoint's address, which is free.
    fn enter(&mut self, n: u128, owner: Owner) {
        self.owners.insert(n, owner);
        self.offsets.insert(self.offset(n));
        self.taken += u128::from(self.in_window(n));
    }

    fn check_free(&self, address: IpAddr) -> Result<(), IpamError> {
        if !self.net.contains(&address) {
            return Err(IpamError::Outside { address, net: self.net });
        }
        match self.owner(address) {
            Some(owner) => Err(IpamError::Taken { address, owner: owner.clone() }),
            None => Ok(()),
        }
    }

    /// The lowest free number from `from` to the window's end.
    fn first_free(&self, from: u128) -> Option<u128> {
        let free = self.offsets.first_gap(self.offset(from)) + span(self.net).0;
        self.in_window(free).then_some(free)
    }

    /// Where to look after `n`, a number of the window, was chosen.
    fn after(&self, n: u128) -> u128 {
        if n == self.window.1 { self.window.0 } else { n + 1 }
    }

    fn in_window(&self, n: u128) -> bool {
        (self.window.0..=self.window.1).contains(&n)
    }

    fn offset(&self, n: u128) -> u128 {
        n - span(self.net).0
    }

    fn address(&self, n: u128) -> IpAddr {
        match self.net {
            IpNet::V4(_) => Ipv4Addr::from(n as u32).into(),
            IpNet::V6(_) => Ipv6Addr::from(n).into(),
        }
    }
}

fn choose_gateway(net: IpNet, given: Option<IpAddr>) -> Result<IpAddr, IpamError> {
    match given {
        Some(gateway) if !net.contains(&gateway) => Err(IpamError::GatewayOutside { gateway, net }),
        Some(gateway) if reserved(net).contains(&gateway) => Err(IpamError::GatewayReserved { gateway, net }),
        Some(gateway) => Ok(gateway),
        None => Ok(first_usable(net)),
    }
}
