//! Who has the addresses that are out: the engine, a network's endpoints, or nobody any more.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{LENDER, POOLS_MAX};
use crate::ipam::{Holder, overlaps};
use crate::model::{Id, Name};
use crate::network::NetworkError;
use crate::network::book::Book;

impl Book {
    /// Says that what is out of a pool is now the business of the network that was made of it.
    pub(in crate::network) fn take_over_pools(&mut self, network: &Name) {
        let Some(record) = self.named(network) else { return };
        let nets: Vec<_> = record.network.subnets.iter().map(|subnet| subnet.net).collect();
        let (id, round) = (record.network.id, self.troubles.round());
        let out: Vec<_> = self.lent.pools.values().filter(|pool| nets.contains(&pool.net)).cloned().collect();
        for address in out.iter().flat_map(|pool| &pool.out) {
            let Some(record) = self.named_mut(network) else { return };
            // The gateway and the auxiliary addresses are set aside already.
            if record.pools.iter_mut().any(|pool| pool.claim(*address, lender()).is_ok()) {
                self.lent.idle.insert((id, *address), round);
            }
        }
    }

    /// Keeps the addresses of an endpoint that has gone from others, as far as the engine is to give them back.
    pub(in crate::network) fn keep_lent(&mut self, network: &Name, addresses: &[IpNet]) {
        let round = self.troubles.round();
        for address in addresses {
            let lent = self.lent.nets().any(|net| net.contains(&address.addr()));
            let Some(record) = self.named_mut(network).filter(|_| lent) else { continue };
            let id = record.network.id;
            if record.pools.iter_mut().any(|pool| pool.claim(address.addr(), lender()).is_ok()) {
                self.lent.idle.insert((id, address.addr()), round);
            }
        }
    }

    /// Notes that endpoints have these addresses now.
    pub(in crate::network) fn settle_lent(&mut self, network: Id, addresses: &[IpNet]) {
        for address in addresses {
            self.lent.idle.remove(&(network, address.addr()));
        }
    }
}

/// The engine, as the holder of an address without an endpoint.
pub(super) fn lender() -> Holder {
    let name = Name::new("container-engine").unwrap_or_else(|_| unreachable!("a legal name"));
    Holder { id: LENDER, name }
}

pub(super) fn lend(
    book: &mut Book,
    network: &Name,
    net: IpNet,
    wanted: Option<IpAddr>,
) -> Result<IpAddr, NetworkError> {
    let record = book.named_mut(network).into_iter();
    let pool = record.flat_map(|record| &mut record.pools).find(|pool| pool.net() == net);
    let pool = pool.ok_or_else(|| NetworkError::NoNetwork { key: network.to_string() })?;
    Ok(match wanted {
        Some(wanted) => pool.claim(wanted, lender()).map(|()| wanted)?,
        None => pool.allocate(lender())?,
    })
}

pub(super) fn give_back(book: &mut Book, network: &Name, address: IpAddr) {
    let Some(record) = book.named_mut(network) else { return };
    let id = record.network.id;
    for pool in &mut record.pools {
        pool.release(address, LENDER);
    }
    book.lent.idle.remove(&(id, address));
}

/// The engine's network that has exactly this subnet.
pub(super) fn with_subnet(book: &Book, net: IpNet) -> Option<Name> {
    let mut engines = book.networks().filter(|record| record.network.engine.is_some() && !record.closed);
    let found = engines.find(|record| record.network.subnets.iter().any(|subnet| subnet.net == net))?;
    Some(found.network.name.clone())
}

/// That neither another pool nor a network overlaps `net`.
pub(super) fn check_free(book: &Book, id: &str, net: IpNet) -> Result<(), NetworkError> {
    if !book.lent.pools.contains_key(id) && book.lent.pools.len() >= POOLS_MAX {
        return Err(NetworkError::TooManyPools);
    }
    let mut others = book.lent.pools.iter().filter(|(other, _)| *other != id);
    if let Some((_, pool)) = others.find(|(_, pool)| overlaps(pool.net, net)) {
        return Err(NetworkError::PoolTaken { net, other: pool.net, network: None });
    }
    for record in book.networks() {
        if let Some(subnet) = record.network.subnets.iter().find(|subnet| overlaps(subnet.net, net)) {
            let network = Some(record.network.name.clone());
            return Err(NetworkError::PoolTaken { net, other: subnet.net, network });
        }
    }
    Ok(())
}
