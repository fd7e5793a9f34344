//! What the tables are searched by, and how.

use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::rewrite::Protocol;

/// An address without its family, which [`Net`] keeps: an IPv4 address in the first four bytes, or an IPv6 address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ip(pub(super) [u8; 16]);

impl Hash for Ip {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.0));
    }
}

impl From<IpAddr> for Ip {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&v4.octets());
                Self(bytes)
            }
            IpAddr::V6(v6) => Self(v6.octets()),
        }
    }
}

/// A transport over one of the two IPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Net {
    pub(super) protocol: Protocol,
    pub(super) v6: bool,
}

impl Net {
    pub(super) fn new(protocol: Protocol, address: IpAddr) -> Self {
        Self { protocol, v6: address.is_ipv6() }
    }

    /// `ip` with its family.
    pub(super) fn address(self, ip: Ip) -> IpAddr {
        let [a, b, c, d, ..] = ip.0;
        if self.v6 { Ipv6Addr::from(ip.0).into() } else { Ipv4Addr::new(a, b, c, d).into() }
    }
}

/// An address and a port, or an ICMP query id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct End {
    pub(super) ip: Ip,
    pub(super) port: u16,
}

impl End {
    pub(super) fn new(address: IpAddr, port: u16) -> Self {
        Self { ip: address.into(), port }
    }

    pub(super) fn under(self, net: Net) -> (IpAddr, u16) {
        (net.address(self.ip), self.port)
    }
}

/// Finds slots by a key that the slots' owners keep.
///
/// Half of the hash stands beside the slot: growing then reads nothing else, and a search rarely looks at a slot in
/// vain.
#[derive(Debug, Default)]
pub(super) struct Index {
    table: HashTable<(u32, u32)>,
}

impl Index {
    pub(super) fn find(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.table.find(spread(hash), |&(h, slot)| h == hash && is(slot)).map(|&(_, slot)| slot)
    }

    pub(super) fn insert(&mut self, hash: u32, slot: u32) {
        self.table.insert_unique(spread(hash), (hash, slot), |&(h, _)| spread(h));
    }

    pub(super) fn remove(&mut self, hash: u32, slot: u32) {
        if let Ok(entry) = self.table.find_entry(spread(hash), |&found| found == (hash, slot)) {
            entry.remove();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.table.allocation_size()
    }
}

/// A short hash of `key`.
pub(super) fn hash(seed: &FixedState, key: impl Hash) -> u32 {
    let hash = seed.hash_one(key);
    (hash ^ hash >> 32) as u32
}

/// The hash table takes its buckets from the low bits and its tags from the high ones.
pub(super) const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
