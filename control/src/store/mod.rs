//! The store: what there should be, kept where it outlives every process.
//!
//! ```text
//! Manager > Catalog: documents, claims, ids > Store: keys, bytes, versions > redb | memory | (etcd, consul, zk)
//!                                              \_ watch: what others changed
//! ```
//!
//! A [`Store`] is a tree of [`Key`]s with bytes as values, and knows nothing of networks. Every value has a
//! [`Version`], which no other value of that key ever had. Changes are made by [`Transaction`]: all of its keys at once,
//! and only if every key it speaks of is as expected, which is how a name, an address or a VNI gets exactly one owner
//! whoever asks at the same time. [`Catalog`] is the layer above for those who think in networks and endpoints.
//!
//! How it is meant to be used. The manager holds an `Arc<dyn Store>` in a [`Catalog`]. At start it calls
//! [`Catalog::load`] once and builds its book from what that says ([`crate::ipam::Pool::restore`] for the addresses).
//! A change is decided under the manager's lock, written with one call of the catalog, and only when that has answered
//! carried out and told to the caller; a conflict is an answer like any other. To follow what other hosts do:
//! [`Store::list`], then [`Store::watch`] from the revision the list had; on [`Notice::Lost`] do both again.
//!
//! The calls block, for the disk or for the network: the manager decides one change at a time under a lock, on a thread
//! that may block, and an answer that comes before the change is safe would be worthless to it. A backend that speaks
//! through an async client holds a runtime's handle, waits for its client on it for a bounded time, and says
//! [`StoreError::Io`] after that. Watches can be awaited. Nothing here is called from an async thread.
//!
//! What a backend promises, and the suite in `conformance.rs` checks of each:
//! - A commit that answered is durable; one that failed has changed nothing that any call shows. (When the medium fails
//!   while writing, what the next process finds may be either; it is whole in both cases.)
//! - A read sees every commit that answered before it. Reads go on while the medium refuses writes.
//! - A watch tells the changes in order, per key, from the revision it was given; steps in between may be missing, the
//!   last state never is. A watcher that does not keep up is told [`Notice::Lost`] instead of slowing anybody down.
//! - Leases are known where other hosts must notice a death ([`Store::leases`]); an embedded store has nobody to notice.
//!
//! Limits: a key of [`KEY_MAX`] bytes, a value of [`VALUE_MAX`], [`TRANSACTION_KEYS_MAX`] keys in a transaction (the
//! smallest limit of the backends that can be: Consul's), [`STORE_MAX`] bytes altogether, [`WATCHES_MAX`] watches, each
//! with a queue of [`WATCH_QUEUE`] changes. Beyond each the request is refused, and nothing changes.
//!
//! The state fits in memory many times over, so the embedded store keeps it there as well (`space.rs`): one place decides
//! every transaction, whatever the medium; reads cost no system call and cannot fail.

pub mod catalog;
mod error;
mod key;
mod memory;
mod redb;
mod space;
mod transaction;
pub mod transfer;
mod url;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use catalog::Catalog;
pub use error::StoreError;
pub use key::{KEY_MAX, Key, KeyError, Prefix};
pub use memory::MemoryStore;
pub use redb::{RedbStore, SCHEMA};
pub use space::STORE_MAX;
pub use transaction::{Committed, Expect, TRANSACTION_KEYS_MAX, Transaction, VALUE_MAX};
pub use transfer::{EXPORT_MAX, TransferError};
pub use url::{FILE_NAME, StoreUrl, StoreUrlError};
pub use watch::{Change, Notice, WATCH_QUEUE, WATCHES_MAX, Watch};

/// Keys and values that outlive the process; see the module's head. Every call may block.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The value of `key`.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the store cannot be asked.
    fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError>;

    /// Everything below `prefix`, by key, at one moment.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the store cannot be asked.
    fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError>;

    /// Makes all the changes of `transaction`, durably, if every expectation holds.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] names the first key that is not as expected; any other variant says what the medium or
    /// a limit refused. Nothing has changed.
    fn commit(&self, transaction: &Transaction) -> Result<Committed, StoreError>;

    /// Makes `entries` all there is, durably and at once. Unless `overwrite`, only if the store is empty.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`], or as [`Store::commit`]. Nothing has changed.
    fn replace(&self, entries: Vec<(Key, Vec<u8>)>, overwrite: bool) -> Result<Revision, StoreError>;

    /// Tells every change below `prefix` that is later than `after`, which a list or a commit has given.
    ///
    /// # Errors
    /// [`StoreError::TooManyWatches`], or [`StoreError::Io`] when the store cannot be asked.
    fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError>;

    /// Values that vanish with their writer, if this store knows such.
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }

    /// Sets `key` to `value`, whatever it was.
    ///
    /// # Errors
    /// As [`Store::commit`], but for conflicts.
    fn put(&self, key: &Key, value: Vec<u8>) -> Result<Committed, StoreError> {
        self.commit(&Transaction::new().put(key.clone(), value))
    }

    /// Removes `key`, whatever it was; no error if it was not there.
    ///
    /// # Errors
    /// As [`Store::commit`], but for conflicts.
    fn delete(&self, key: &Key) -> Result<Committed, StoreError> {
        self.commit(&Transaction::new().delete(key.clone()))
    }
}

/// Values that vanish when nobody says any more that their writer lives.
pub trait Leases {
    /// A new lease, for [`Transaction::put_leased`], that ends `ttl` after the last sign of life.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the store cannot be asked.
    fn grant(&self, ttl: Duration) -> Result<LeaseId, StoreError>;

    /// A sign of life; to be given about three times within the time to live.
    ///
    /// # Errors
    /// [`StoreError::NoSuchLease`] when it came too late, and the lease's keys are gone.
    fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError>;

    /// Ends a lease; its keys go with it.
    ///
    /// # Errors
    /// [`StoreError::NoSuchLease`].
    fn revoke(&self, lease: LeaseId) -> Result<(), StoreError>;
}

/// Names a lease of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// Tells one value of a key from every other that the key ever had. Only equality means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub u64);

/// A moment in the life of a store, later ones greater; of no meaning to another store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(pub u64);

/// A key, its value, and which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Arc<[u8]>,
    /// The value's version.
    pub version: Version,
}

/// What was below a prefix at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The entries, by key.
    pub entries: Vec<Entry>,
    /// The moment.
    pub revision: Revision,
}

#[cfg(test)]
mod conformance;
