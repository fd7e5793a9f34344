//! Pools that are lent to a container engine, which asks for subnets and addresses before it says what they are for.
//!
//! ```text
//! pool > gateway, auxiliary addresses > network > address > endpoint ... endpoint goes > address back > pool back
//! ```
//!
//! Until a network with the pool's subnet is there, the addresses that are out stand with the pool, on record: what they
//! are used for may never be told, since an engine may give them to networks of other drivers. Then they are the network's
//! business, whose endpoints have them, and an address that is out without an endpoint is the [`LENDER`]'s. An engine that
//! dies gives nothing back: such an address is free again after [`IDLE_ROUNDS`], and what a dead endpoint had at once.
//!
//! A pool that is asked for again is lent once more, and must come back as often. None overlaps another, nor a network.
//!
//! Limits: [`POOLS_MAX`] pools; in a pool without a network [`LEASES_MAX`] addresses can be out. Further ones are refused.

mod ledger;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::book::Book;
use super::plan::Surroundings;
use super::{Manager, NetworkError};
use crate::ipam::{Policy, Pool, PoolSpec, choose_ipv4, choose_ipv6};
use crate::model::{Driver, Id};
use crate::store::catalog::documents::PoolDocument;
use ledger::{check_free, give_back, lend, lender, with_subnet};

/// The most pools that are lent at a time: as many as there can be networks, for both families.
pub const POOLS_MAX: usize = 2 * super::NETWORKS_MAX;

/// The most addresses of a pool without a network that are out at a time.
pub const LEASES_MAX: usize = 4_096;

/// After how many rounds of [`Manager::reconcile`] an address that is out without an endpoint is free again: an engine
/// needs milliseconds between its calls, or never calls.
const IDLE_ROUNDS: u64 = 15;

/// Who has the addresses that are out without an endpoint.
pub(super) const LENDER: Id = Id::from_bytes([0; 32]);

/// What the engine wants a pool to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolRequest {
    /// The subnet; chosen when missing.
    pub net: Option<IpNet>,
    /// The part of it that addresses are chosen from, if not all of it.
    pub range: Option<IpNet>,
    /// Of which family a chosen subnet is.
    pub ipv6: bool,
}

/// A pool as the engine knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LentPool {
    /// What the engine calls it.
    pub id: String,
    /// The subnet.
    pub net: IpNet,
}

/// All pools that are lent, and the addresses that are out without an endpoint.
#[derive(Debug, Default)]
pub(super) struct Lent {
    pools: BTreeMap<String, PoolDocument>,
    /// When they went out, in rounds of reconciliation.
    idle: BTreeMap<(Id, IpAddr), u64>,
}

impl Lent {
    /// Pools as they were recorded.
    pub(super) fn read(documents: &[PoolDocument]) -> Self {
        let pools = documents.iter().map(|pool| (pool_id(pool.net, pool.range), pool.clone())).collect();
        Self { pools, idle: BTreeMap::new() }
    }

    /// The subnets of all pools.
    pub(super) fn nets(&self) -> impl Iterator<Item = IpNet> {
        self.pools.values().map(|pool| pool.net)
    }

    /// The parts of `nets` that addresses are to come from, as far as pools say so.
    pub(super) fn ranges_of(&self, nets: &[IpNet]) -> Vec<IpNet> {
        let pools = self.pools.values().filter(|pool| nets.contains(&pool.net));
        pools.filter_map(|pool| pool.range).collect()
    }

    fn pool(&self, id: &str) -> Result<&PoolDocument, NetworkError> {
        self.pools.get(id).ok_or_else(|| NetworkError::NoPool { id: id.to_owned() })
    }
}

impl Manager {
    /// Lends a pool: the one that is asked for, or a free one.
    ///
    /// # Errors
    /// [`NetworkError`]; nothing has changed.
    pub fn request_pool(&self, request: &PoolRequest) -> Result<LentPool, NetworkError> {
        let mut book = self.open_book()?;
        let net = match request.net {
            Some(net) => net.trunc(),
            None => self.free_subnet(&book, request.ipv6)?,
        };
        let id = pool_id(net, request.range);
        let mut pool = match book.lent.pools.get(&id) {
            Some(lent) => lent.clone(),
            None => PoolDocument { net, range: request.range, times: 0, gateway: None, out: BTreeSet::new() },
        };
        check_free(&book, &id, net)?;
        // What no endpoint could live in is refused before it is lent.
        Pool::new(&spec(&pool))?;
        pool.times = pool.times.saturating_add(1);
        self.catalog.put_pool(&pool)?;
        book.lent.pools.insert(id.clone(), pool);
        tracing::info!(pool = id, "pool lent");
        Ok(LentPool { id, net })
    }

    /// Takes a pool back. One that is not lent is none to take back.
    ///
    /// # Errors
    /// What the store says; nothing has changed.
    pub fn release_pool(&self, id: &str) -> Result<(), NetworkError> {
        let mut book = self.book();
        let Some(mut pool) = book.lent.pools.get(id).cloned() else { return Ok(()) };
        pool.times -= 1;
        if pool.times > 0 {
            self.catalog.put_pool(&pool)?;
            book.lent.pools.insert(id.to_owned(), pool);
            return Ok(());
        }
        self.catalog.remove_pool(pool.net)?;
        book.lent.pools.remove(id);
        tracing::info!(pool = id, "pool came back");
        Ok(())
    }

    /// Lends an address of a pool: the one that is asked for, a free one, or the gateway's.
    ///
    /// # Errors
    /// [`NetworkError`]; nothing has changed.
    pub fn request_address(
        &self,
        id: &str,
        wanted: Option<IpAddr>,
        gateway: bool,
    ) -> Result<IpNet, NetworkError> {
        match self.try_request_address(id, wanted, gateway) {
            // Perhaps whoever has it is dead, and nobody has noticed yet.
            Err(NetworkError::Ipam(_)) if self.release_dead() => {
                self.try_request_address(id, wanted, gateway)
            }
            outcome => outcome,
        }
    }

    fn try_request_address(
        &self,
        id: &str,
        wanted: Option<IpAddr>,
        gateway: bool,
    ) -> Result<IpNet, NetworkError> {
        let mut book = self.open_book()?;
        let pool = book.lent.pool(id)?.clone();
        let network = with_subnet(&book, pool.net);
        let address = match network {
            Some(network) if !gateway => {
                let address = lend(&mut book, &network, pool.net, wanted)?;
                let (round, id) = (book.troubles.round(), book.named(&network).map(|r| r.network.id));
                book.lent.idle.extend(id.map(|id| ((id, address), round)));
                address
            }
            _ => self.lend_early(&mut book, id, pool, wanted, gateway)?,
        };
        let net = book.lent.pool(id)?.net;
        Ok(IpNet::new(address, net.prefix_len()).unwrap_or_else(|_| unreachable!("an address of {net}")))
    }

    /// Lends an address of a pool whose network is not there yet.
    fn lend_early(
        &self,
        book: &mut Book,
        id: &str,
        mut pool: PoolDocument,
        wanted: Option<IpAddr>,
        gateway: bool,
    ) -> Result<IpAddr, NetworkError> {
        if pool.out.len() >= LEASES_MAX {
            return Err(NetworkError::PoolExhausted { id: id.to_owned() });
        }
        let address = if gateway {
            let address = Pool::new(&PoolSpec { gateway: wanted, ..spec(&pool) })?.gateway();
            pool.gateway = Some(address);
            address
        } else {
            let mut free = Pool::new(&spec(&pool))?;
            let home = free.gateway();
            pool.out.iter().filter(|out| **out != home).try_for_each(|out| free.claim(*out, lender()))?;
            match wanted {
                Some(wanted) => free.claim(wanted, lender()).map(|()| wanted)?,
                None => free.allocate(lender())?,
            }
        };
        pool.out.insert(address);
        self.catalog.put_pool(&pool)?;
        book.lent.pools.insert(id.to_owned(), pool);
        Ok(address)
    }

    /// Takes an address back. One that is not out is none to take back, nor is one that an endpoint has.
    ///
    /// # Errors
    /// What the store says; nothing has changed.
    pub fn release_address(&self, id: &str, address: IpAddr) -> Result<(), NetworkError> {
        let mut book = self.book();
        let Some(mut pool) = book.lent.pools.get(id).cloned() else { return Ok(()) };
        if let Some(network) = with_subnet(&book, pool.net) {
            give_back(&mut book, &network, address);
        }
        if pool.out.remove(&address) {
            pool.gateway = pool.gateway.filter(|gateway| *gateway != address);
            self.catalog.put_pool(&pool)?;
            book.lent.pools.insert(id.to_owned(), pool);
        }
        Ok(())
    }

    /// Frees the addresses that have been out for long without an endpoint.
    pub(super) fn free_idle_addresses(&self, book: &mut Book) {
        let round = book.troubles.round();
        let idle = book.lent.idle.iter().filter(|(_, since)| round - *since >= IDLE_ROUNDS);
        let idle: Vec<_> = idle.map(|(&key, _)| key).collect();
        for (network, address) in idle {
            let name = book.with_id(network).map(|record| record.network.name.clone());
            match name {
                Some(name) => give_back(book, &name, address),
                None => drop(book.lent.idle.remove(&(network, address))),
            }
            tracing::warn!(%address, "an address that no endpoint has come to use is free again");
        }
    }

    fn free_subnet(&self, book: &Book, ipv6: bool) -> Result<IpNet, NetworkError> {
        let peers = self.peers();
        let surroundings =
            Surroundings { book, underlay: self.underlay.as_ref(), peers: &peers, ula: self.ula() };
        let occupied = self.plane.occupied()?;
        surroundings.choose(&occupied, |busy| match ipv6 {
            false => Ok(choose_ipv4(Driver::Bridge, busy)?),
            true => Ok(choose_ipv6(Driver::Bridge, self.ula(), busy)?),
        })
    }
}

fn spec(pool: &PoolDocument) -> PoolSpec {
    let (gateway, range) = (pool.gateway, pool.range);
    PoolSpec { gateway, range, policy: Policy::Serial, ..PoolSpec::new(pool.net) }
}

/// What the engine calls a pool: the same words, the same pool.
fn pool_id(net: IpNet, range: Option<IpNet>) -> String {
    range.map_or_else(|| format!("weft/{net}"), |range| format!("weft/{net}/{range}"))
}

#[cfg(test)]
mod tests;
