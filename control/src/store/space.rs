//! The state itself, in memory: decides transactions, answers reads, tells watchers. It keeps nothing: the store around it
//! writes a [`Plan`] down before it applies it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::transaction::{Write, check_value};
use super::watch::Hub;
use super::{
    Change, Committed, Entry, Expect, Key, Listing, Prefix, Revision, StoreError, Transaction, Version, Watch,
};

/// The most bytes of keys and values: twice what all networks and endpoints that a host can have take up.
pub const STORE_MAX: usize = 64 << 20;

/// Every key with its value and the value's version.
#[derive(Debug)]
pub(super) struct Space {
    revision: Revision,
    entries: BTreeMap<Key, (Arc<[u8]>, Version)>,
    bytes: usize,
    hub: Hub,
}

/// Changes that may be made: all expectations hold, no limit is broken.
#[derive(Debug)]
pub(super) struct Plan {
    /// The revision they make, and the version of every value they write.
    pub(super) revision: Revision,
    /// `None`: the key goes.
    pub(super) changes: Vec<(Key, Option<Arc<[u8]>>)>,
}

impl Plan {
    /// The version of the values it writes.
    pub(super) fn version(&self) -> Version {
        Version(self.revision.0)
    }
}

impl Space {
    /// A space that holds `entries`.
    pub(super) fn new(revision: Revision, entries: BTreeMap<Key, (Arc<[u8]>, Version)>) -> Self {
        let bytes = entries.iter().map(|(key, (value, _))| size(key, value)).sum();
        Self { revision, entries, bytes, hub: Hub::new(revision) }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn entries(&self) -> &BTreeMap<Key, (Arc<[u8]>, Version)> {
        &self.entries
    }

    pub(super) fn get(&self, key: &Key) -> Option<Entry> {
        self.entries.get(key).map(|found| entry((key, found)))
    }

    pub(super) fn list(&self, prefix: &Prefix) -> Listing {
        let from = self.entries.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        let entries = from.take_while(|(key, _)| prefix.contains(key)).map(entry).collect();
        Listing { entries, revision: self.revision }
    }

    pub(super) fn watch(&mut self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError> {
        self.hub.watch(prefix, after, self.revision)
    }

    /// What `transaction` would do, or why it may not.
    pub(super) fn plan(&self, transaction: &Transaction) -> Result<Plan, StoreError> {
        transaction.check()?;
        for (key, expect) in &transaction.expected {
            let version = self.entries.get(key).map(|&(_, version)| version);
            let holds = match expect {
                Expect::Absent => version.is_none(),
                Expect::Version(expected) => version == Some(*expected),
            };
            if !holds {
                return Err(StoreError::Conflict { key: key.clone() });
            }
        }
        let changes = transaction.writes.iter().filter_map(|(key, write)| match write {
            Write::Put { value, .. } => Some((key.clone(), Some(Arc::clone(value)))),
            // What is not there cannot go, and is no news for anybody.
            Write::Delete => self.entries.contains_key(key).then(|| (key.clone(), None)),
        });
        self.checked(changes.collect())
    }

    /// What it takes to have `entries` and nothing else.
    pub(super) fn plan_replacement(
        &self,
        entries: Vec<(Key, Vec<u8>)>,
        overwrite: bool,
    ) -> Result<Plan, StoreError> {
        if !overwrite && !self.entries.is_empty() {
            return Err(StoreError::NotEmpty { keys: self.entries.len() });
        }
        let mut changes: BTreeMap<Key, Option<Arc<[u8]>>> =
            self.entries.keys().map(|key| (key.clone(), None)).collect();
        for (key, value) in entries {
            check_value(&key, &value)?;
            if changes.insert(key.clone(), Some(value.into())).is_some_and(|earlier| earlier.is_some()) {
                return Err(StoreError::Twice { key });
            }
        }
        self.checked(changes.into_iter().collect())
    }

    fn checked(&self, changes: Vec<(Key, Option<Arc<[u8]>>)>) -> Result<Plan, StoreError> {
        let gone = |key: &Key| self.entries.get(key).map_or(0, |(value, _)| size(key, value));
        let come =
            |(key, value): &(Key, Option<Arc<[u8]>>)| value.as_ref().map_or(0, |value| size(key, value));
        let less: usize = changes.iter().map(|(key, _)| gone(key)).sum();
        let more: usize = changes.iter().map(come).sum();
        // A full store can always be made smaller.
        if more > less && self.bytes - less + more > STORE_MAX {
            return Err(StoreError::Full);
        }
        // Nothing happens at a moment of its own.
        let moment = u64::from(!changes.is_empty());
        Ok(Plan { revision: Revision(self.revision.0 + moment), changes })
    }

    /// Makes the changes of the plan that was made last.
    pub(super) fn apply(&mut self, plan: Plan) -> Committed {
        let (revision, version) = (plan.revision, plan.version());
        let mut versions = BTreeMap::new();
        self.revision = revision;
        for (key, value) in plan.changes {
            let before = match &value {
                Some(value) => {
                    self.bytes += size(&key, value);
                    versions.insert(key.clone(), version);
                    self.entries.insert(key.clone(), (Arc::clone(value), version))
                }
                None => self.entries.remove(&key),
            };
            if let Some((before, _)) = before {
                self.bytes -= size(&key, &before);
            }
            self.hub.tell(Change { key, value: value.map(|value| (value, version)), revision });
        }
        Committed { revision, versions }
    }
}

fn entry((key, (value, version)): (&Key, &(Arc<[u8]>, Version))) -> Entry {
    Entry { key: key.clone(), value: Arc::clone(value), version: *version }
}

fn size(key: &Key, value: &[u8]) -> usize {
    key.as_str().len() + value.len()
}
