//! Who has an address, and how many are left.

use std::fmt;
use std::net::IpAddr;

use crate::model::{Id, Name};

/// An address and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// Who has it.
    pub holder: Holder,
}

/// The endpoint that has an address: its id decides, its name is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The endpoint's identity.
    pub id: Id,
    /// The endpoint's name.
    pub name: Name,
}

/// Why an address is not free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody can have it: the network's own or the broadcast address.
    Reserved,
    /// The subnet's gateway.
    Gateway,
    /// Something that Weft does not manage, under the name it was given.
    Auxiliary(Name),
    /// An endpoint.
    Endpoint(Holder),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => f.write_str("the subnet itself"),
            Self::Gateway => f.write_str("the gateway"),
            Self::Auxiliary(name) => write!(f, "the auxiliary address '{name}'"),
            Self::Endpoint(holder) => write!(f, "endpoint '{}'", holder.name),
        }
    }
}

/// How full a pool is, in addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Of those that can be chosen, how many endpoints have.
    pub taken: u128,
    /// How many can be chosen: the range's, less the subnet's own, the gateway and the auxiliary ones.
    pub capacity: u128,
    /// Of the whole subnet, how many are not free for whatever reason.
    pub in_use: u128,
}

impl Usage {
    /// How many addresses can still be chosen.
    #[must_use]
    pub const fn available(&self) -> u128 {
        self.capacity - self.taken
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.taken, self.capacity)
    }
}
