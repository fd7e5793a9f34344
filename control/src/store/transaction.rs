//! Changes that happen together or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Entry, Key, LeaseId, Revision, StoreError, Version};

/// The most keys of one transaction, changed or only looked at.
pub const TRANSACTION_KEYS_MAX: usize = 64;

/// The largest value, in bytes: a network with all the labels and options that a request can carry.
pub const VALUE_MAX: usize = 128 << 10;

/// Expectations and changes; [`super::Store::commit`] makes them all, or none.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    pub(super) expected: Vec<(Key, Expect)>,
    pub(super) writes: Vec<(Key, Write)>,
}

/// What a key must be for a transaction to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Not there.
    Absent,
    /// Exactly the value that has this version.
    Version(Version),
}

impl From<&Entry> for Expect {
    fn from(entry: &Entry) -> Self {
        Self::Version(entry.version)
    }
}

/// What becomes of a key.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Put { value: Arc<[u8]>, lease: Option<LeaseId> },
    Delete,
}

impl Transaction {
    /// No expectations and no changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the transaction happen only if `key` is as expected.
    #[must_use]
    pub fn expect(mut self, key: Key, expect: impl Into<Expect>) -> Self {
        self.expected.push((key, expect.into()));
        self
    }

    /// Sets `key` to `value`.
    #[must_use]
    pub fn put(mut self, key: Key, value: Vec<u8>) -> Self {
        self.writes.push((key, Write::Put { value: value.into(), lease: None }));
        self
    }

    /// Sets `key` to `value` for as long as `lease` lives, or until it is written again.
    #[must_use]
    pub fn put_leased(mut self, key: Key, value: Vec<u8>, lease: LeaseId) -> Self {
        self.writes.push((key, Write::Put { value: value.into(), lease: Some(lease) }));
        self
    }

    /// Removes `key` if it is there.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.writes.push((key, Write::Delete));
        self
    }

    /// Sets `key`, which must not be there.
    #[must_use]
    pub fn create(self, key: Key, value: Vec<u8>) -> Self {
        self.expect(key.clone(), Expect::Absent).put(key, value)
    }

    /// Removes exactly `entry`.
    #[must_use]
    pub fn remove(self, entry: &Entry) -> Self {
        self.expect(entry.key.clone(), entry).delete(entry.key.clone())
    }

    /// What can be said without knowing the store: the limits, and that every key is spoken of once.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let mut keys = BTreeMap::new();
        for (key, _) in &self.expected {
            if keys.insert(key, false).is_some() {
                return Err(StoreError::Twice { key: key.clone() });
            }
        }
        for (key, write) in &self.writes {
            if keys.insert(key, true) == Some(true) {
                return Err(StoreError::Twice { key: key.clone() });
            }
            if let Write::Put { value, .. } = write {
                check_value(key, value)?;
            }
        }
        if keys.len() > TRANSACTION_KEYS_MAX {
            Err(StoreError::TooManyKeys { count: keys.len() })
        } else {
            Ok(())
        }
    }
}

pub(super) fn check_value(key: &Key, value: &[u8]) -> Result<(), StoreError> {
    let len = value.len();
    if len > VALUE_MAX { Err(StoreError::ValueTooLarge { key: key.clone(), len }) } else { Ok(()) }
}

/// What a transaction has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The moment from which it is visible.
    pub revision: Revision,
    /// The versions of the values it has written.
    pub versions: BTreeMap<Key, Version>,
}
