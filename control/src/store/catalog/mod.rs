//! The store for those who think in networks and endpoints.
//!
//! ```text
//! nodes/NAME                          who this host is
//! networks/ID                         a network
//! endpoints/NETWORK/ID                an endpoint
//! pools/IP/LENGTH                     a pool of addresses that a container engine has asked for
//! names/networks/NAME                 claim: which network has the name
//! names/endpoints/NETWORK/NAME        claim: which endpoint has it
//! segments/N  vnis/N                  claim: which network has the number
//! addresses/NETWORK/IP                claim: which endpoint has the address, an address's lease
//! macs/NETWORK/MAC                    claim: which endpoint has it
//! ```
//!
//! Whatever can belong to one only has a key of its own, a *claim*, which names its owner. A thing and its claims are
//! written in one transaction that expects every claim to be absent, so that a second owner is impossible; they go in
//! one transaction too, which takes only the claims that still name the leaver: what belongs to somebody else by then
//! is not touched.
//!
//! A network is removed in three steps, each of which can be the last before a crash: [`Catalog::close_network`], after
//! which nobody can add an endpoint; removing the endpoints; [`Catalog::remove_network`]. A closed network that is found
//! at start is to be removed.
//!
//! Values are JSON documents ([`documents`]) that say their kind and version. A build reads the versions it knows; one
//! that is newer is refused, never half understood, and never overwritten.
//!
//! The catalog holds nothing; it is as safe to share as its store. It does not decide either: which address, which VNI,
//! whether a name is good, is the manager's business. The catalog says whether somebody was faster.

mod audit;
mod change;
pub mod documents;
mod envelope;
mod error;
mod keys;

use std::sync::Arc;

pub(in crate::store) use audit::read;
pub use audit::{Contents, Stray};
pub use error::{CatalogError, Claim};

use ipnet::IpNet;

use super::{Key, Prefix, Store, StoreError, Transaction};
use crate::model::{Id, Name};
use documents::{EndpointDocument, NetworkDocument, NodeDocument, PoolDocument};
pub use envelope::{Document, decode, encode};

/// How often a change is tried again when others were faster. Each time somebody has got on, so the limit is for bugs.
const ATTEMPTS: usize = 16;

/// Networks and endpoints in a store; see the module's head.
#[derive(Clone, Debug)]
pub struct Catalog {
    store: Arc<dyn Store>,
}

impl Catalog {
    /// The catalog in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The store itself.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Everything there is, at one moment.
    ///
    /// # Errors
    /// [`CatalogError::Newer`] or [`CatalogError::Unreadable`] names the first document that this build cannot read.
    pub fn load(&self) -> Result<Contents, CatalogError> {
        let listing = self.store.list(&Prefix::all())?;
        let documents = listing.entries.iter().map(|entry| (&entry.key, &entry.value[..]));
        audit::read(documents, listing.revision)
    }

    /// What is known of the host `name`.
    ///
    /// # Errors
    /// [`CatalogError`] when it cannot be read.
    pub fn node(&self, name: &Name) -> Result<Option<NodeDocument>, CatalogError> {
        let key = keys::node(name);
        self.store.get(&key)?.map(|entry| decode(&key, &entry.value)).transpose()
    }

    /// Says who this host is.
    ///
    /// # Errors
    /// [`CatalogError`]; nothing has changed.
    pub fn put_node(&self, node: &NodeDocument) -> Result<(), CatalogError> {
        let key = keys::node(&node.name);
        let value = encode(&key, node)?;
        self.store.put(&key, value)?;
        Ok(())
    }

    /// Notes what has become of a pool; its only writer is the host that lends it.
    ///
    /// # Errors
    /// What the store says; nothing has changed.
    pub fn put_pool(&self, pool: &PoolDocument) -> Result<(), CatalogError> {
        let key = keys::pool(pool.net);
        let value = encode(&key, pool)?;
        self.store.put(&key, value)?;
        Ok(())
    }

    /// Forgets the pool of this subnet. No error if there is none.
    ///
    /// # Errors
    /// What the store says; nothing has changed.
    pub fn remove_pool(&self, net: IpNet) -> Result<(), CatalogError> {
        let key = keys::pool(net);
        self.retry(&key, || {
            let Some(entry) = self.store.get(&key)? else { return Ok(()) };
            Ok(self.store.commit(&Transaction::new().remove(&entry)).map(drop)?)
        })
    }

    /// Enters a network with its name, segment and VNI.
    ///
    /// # Errors
    /// [`CatalogError::Taken`] names what belongs to another; nothing has changed.
    pub fn create_network(&self, network: &NetworkDocument) -> Result<(), CatalogError> {
        let key = keys::network(network.id);
        let transaction = Transaction::new().create(key.clone(), encode(&key, network)?);
        self.claim(transaction, network.claims(), network.claim())
    }

    /// Gives a network another name.
    ///
    /// # Errors
    /// [`CatalogError::Taken`], [`CatalogError::NoNetwork`], or what the store says; nothing has changed.
    pub fn rename_network(&self, id: Id, name: &Name) -> Result<(), CatalogError> {
        self.retry(&keys::network(id), || {
            let (entry, before) = self.network(id)?;
            let after = NetworkDocument { name: name.clone(), ..before.clone() };
            self.rename(&entry, encode(&entry.key, &after)?, before.claims(), after.claims(), after.claim())
        })
    }

    /// Gives an endpoint another name.
    ///
    /// # Errors
    /// [`CatalogError::Taken`], [`CatalogError::NoEndpoint`], or what the store says; nothing has changed.
    pub fn rename_endpoint(&self, network: Id, id: Id, name: &Name) -> Result<(), CatalogError> {
        let key = keys::endpoint(network, id);
        self.retry(&key, || {
            let entry = self.store.get(&key)?.ok_or(CatalogError::NoEndpoint { id })?;
            let before: EndpointDocument = decode(&key, &entry.value)?;
            let after = EndpointDocument { name: name.clone(), ..before.clone() };
            self.rename(&entry, encode(&key, &after)?, before.claims(), after.claims(), after.claim())
        })
    }

    /// Lets no endpoint be added to a network any more. No error if that is so already.
    ///
    /// # Errors
    /// [`CatalogError::NoNetwork`], or what the store says.
    pub fn close_network(&self, id: Id) -> Result<(), CatalogError> {
        let key = keys::network(id);
        self.retry(&key, || {
            let (entry, mut network) = self.network(id)?;
            network.closed = true;
            let transaction =
                Transaction::new().expect(key.clone(), &entry).put(key.clone(), encode(&key, &network)?);
            Ok(self.store.commit(&transaction).map(drop)?)
        })
    }

    /// Removes a closed network and its claims.
    ///
    /// # Errors
    /// [`CatalogError::NoNetwork`], [`CatalogError::StillOpen`], [`CatalogError::HasEndpoints`], or what the store says;
    /// nothing has changed.
    pub fn remove_network(&self, id: Id) -> Result<(), CatalogError> {
        self.retry(&keys::network(id), || {
            let (entry, network) = self.network(id)?;
            if !network.closed {
                return Err(CatalogError::StillOpen { id });
            }
            let endpoints = self.store.list(&keys::endpoints(id))?.entries.len();
            if endpoints > 0 {
                return Err(CatalogError::HasEndpoints { id, count: endpoints });
            }
            let transaction = self.unclaim(Transaction::new().remove(&entry), network.claims(), id)?;
            Ok(self.store.commit(&transaction).map(drop)?)
        })
    }

    /// Enters an endpoint with its name, MAC and addresses.
    ///
    /// # Errors
    /// [`CatalogError::Taken`] names what belongs to another; [`CatalogError::NoNetwork`] or [`CatalogError::Closed`]
    /// when the network takes no endpoint. Nothing has changed.
    pub fn create_endpoint(&self, endpoint: &EndpointDocument) -> Result<(), CatalogError> {
        let key = keys::endpoint(endpoint.network, endpoint.id);
        let value = encode(&key, endpoint)?;
        self.retry(&keys::network(endpoint.network), || {
            let (network, document) = self.network(endpoint.network)?;
            if document.closed {
                return Err(CatalogError::Closed { id: endpoint.network });
            }
            let transaction =
                Transaction::new().create(key.clone(), value.clone()).expect(network.key.clone(), &network);
            self.claim(transaction, endpoint.claims(), endpoint.claim())
        })
    }

    /// Changes what an endpoint has not claimed: its sandbox, port, interface name, gateways.
    ///
    /// # Errors
    /// [`CatalogError::NoEndpoint`], [`CatalogError::ClaimsChanged`], or what the store says; nothing has changed.
    pub fn update_endpoint(
        &self,
        network: Id,
        id: Id,
        change: impl Fn(&mut EndpointDocument),
    ) -> Result<EndpointDocument, CatalogError> {
        let key = keys::endpoint(network, id);
        self.retry(&key, || {
            let entry = self.store.get(&key)?.ok_or(CatalogError::NoEndpoint { id })?;
            let before: EndpointDocument = decode(&key, &entry.value)?;
            let mut after = before.clone();
            change(&mut after);
            let same = (before.id, before.network) == (after.id, after.network);
            if !same || before.claims() != after.claims() {
                return Err(CatalogError::ClaimsChanged { id });
            }
            let transaction =
                Transaction::new().expect(key.clone(), &entry).put(key.clone(), encode(&key, &after)?);
            self.store.commit(&transaction)?;
            Ok(after)
        })
    }

    /// Removes an endpoint and those of its claims that are still its own; `None` if there is no such endpoint.
    ///
    /// # Errors
    /// What the store says; nothing has changed.
    pub fn remove_endpoint(&self, network: Id, id: Id) -> Result<Option<EndpointDocument>, CatalogError> {
        let key = keys::endpoint(network, id);
        self.retry(&key, || {
            let Some(entry) = self.store.get(&key)? else { return Ok(None) };
            let endpoint: EndpointDocument = decode(&key, &entry.value)?;
            let transaction = self.unclaim(Transaction::new().remove(&entry), endpoint.claims(), id)?;
            self.store.commit(&transaction)?;
            Ok(Some(endpoint))
        })
    }
}

#[cfg(test)]
pub(in crate::store) mod tests;
