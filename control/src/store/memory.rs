//! A store that ends with its process, for tests: the same decisions as the real ones, leases, and a clock that stands
//! still until it is told to move. Shared between managers, it is a cluster's store on one desk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::space::Space;
use super::transaction::Write;
use super::{
    Committed, Entry, Key, LeaseId, Leases, Listing, Prefix, Revision, Store, StoreError, Transaction, Watch,
};

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    space: Space,
    leases: BTreeMap<LeaseId, Lease>,
    last_lease: u64,
    /// Since the store was made.
    now: Duration,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    ends: Duration,
    keys: BTreeSet<Key>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        let space = Space::new(Revision(0), BTreeMap::new());
        Self(Mutex::new(Inner { space, leases: BTreeMap::new(), last_lease: 0, now: Duration::ZERO }))
    }
}

impl MemoryStore {
    /// Lets time pass: leases without a sign of life end, and their keys go.
    pub fn advance(&self, by: Duration) {
        let mut inner = self.lock();
        inner.now += by;
        let now = inner.now;
        let over: Vec<_> = inner.leases.iter().filter(|(_, l)| l.ends <= now).map(|(&id, _)| id).collect();
        over.into_iter().for_each(|id| inner.end(id));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing is changed in steps that could be left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn end(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.remove(&id) else { return };
        let changes = lease.keys.into_iter().map(|key| (key, None)).collect();
        self.space.apply(super::space::Plan { revision: Revision(self.space.revision().0 + 1), changes });
    }

    /// Every key of the transaction belongs to the lease it names, and to no other any more.
    fn bind(&mut self, transaction: &Transaction) {
        for (key, write) in &transaction.writes {
            self.leases.values_mut().for_each(|lease| {
                lease.keys.remove(key);
            });
            if let Write::Put { lease: Some(id), .. } = write
                && let Some(lease) = self.leases.get_mut(id)
            {
                lease.keys.insert(key.clone());
            }
        }
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        Ok(self.lock().space.get(key))
    }

    fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        Ok(self.lock().space.list(prefix))
    }

    fn commit(&self, transaction: &Transaction) -> Result<Committed, StoreError> {
        let mut inner = self.lock();
        let plan = inner.space.plan(transaction)?;
        for (_, write) in &transaction.writes {
            if let Write::Put { lease: Some(lease), .. } = write
                && !inner.leases.contains_key(lease)
            {
                return Err(StoreError::NoSuchLease { lease: *lease });
            }
        }
        inner.bind(transaction);
        Ok(inner.space.apply(plan))
    }

    fn replace(&self, entries: Vec<(Key, Vec<u8>)>, overwrite: bool) -> Result<Revision, StoreError> {
        let mut inner = self.lock();
        let plan = inner.space.plan_replacement(entries, overwrite)?;
        inner.leases.values_mut().for_each(|lease| lease.keys.clear());
        Ok(inner.space.apply(plan).revision)
    }

    fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError> {
        self.lock().space.watch(prefix, after)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }
}

impl Leases for MemoryStore {
    fn grant(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        let mut inner = self.lock();
        inner.last_lease += 1;
        let (id, ends) = (LeaseId(inner.last_lease), inner.now + ttl);
        inner.leases.insert(id, Lease { ttl, ends, keys: BTreeSet::new() });
        Ok(id)
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let now = inner.now;
        let found = inner.leases.get_mut(&lease).ok_or(StoreError::NoSuchLease { lease })?;
        found.ends = now + found.ttl;
        Ok(())
    }

    fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if !inner.leases.contains_key(&lease) {
            return Err(StoreError::NoSuchLease { lease });
        }
        inner.end(lease);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::{key, suite};
    use crate::store::{Notice, STORE_MAX, VALUE_MAX};

    fn fresh() -> (MemoryStore, ()) {
        (MemoryStore::default(), ())
    }

    suite!(fresh, 256);

    #[test]
    fn a_full_store_can_only_get_smaller() {
        let store = MemoryStore::default();
        let entry = |n: usize| (key(&format!("k/{n:04}")), vec![0; VALUE_MAX - 6]);
        let most = STORE_MAX / VALUE_MAX;
        store.replace((0..most).map(entry).collect(), false).unwrap();
        assert!(matches!(store.put(&key("a"), vec![]), Err(StoreError::Full)));
        let exchanged = Transaction::new().delete(key("k/0000")).put(key("k/9999"), vec![0; VALUE_MAX - 6]);
        store.commit(&exchanged).unwrap();
        assert!(matches!(store.replace((0..=most).map(entry).collect(), true), Err(StoreError::Full)));
        store.delete(&key("k/9999")).unwrap();
        store.put(&key("a"), vec![]).unwrap();
    }

    #[test]
    fn what_is_leased_goes_with_its_lease() {
        let store = MemoryStore::default();
        let start = store.list(&Prefix::all()).unwrap().revision;
        let lease = store.grant(Duration::from_secs(30)).unwrap();
        let put = |name: &str| Transaction::new().put_leased(key(name), vec![1], lease);
        store.commit(&put("kept")).unwrap();
        store.commit(&put("rewritten")).unwrap();
        store.put(&key("rewritten"), vec![2]).unwrap();
        store.advance(Duration::from_secs(29));
        store.keep_alive(lease).unwrap();
        store.advance(Duration::from_secs(29));
        assert!(store.get(&key("kept")).unwrap().is_some());
        let mut watch = store.watch(&Prefix::all(), start).unwrap();
        while watch.try_next().is_some() {}
        store.advance(Duration::from_secs(1));
        assert_eq!(store.get(&key("kept")).unwrap(), None);
        let Some(Notice::Changed(gone)) = watch.try_next() else { panic!("nobody was told") };
        assert_eq!((gone.key, gone.value), (key("kept"), None));
        assert!(store.get(&key("rewritten")).unwrap().is_some(), "it was no longer the lease's");
        assert!(matches!(store.keep_alive(lease), Err(StoreError::NoSuchLease { .. })));
        assert!(matches!(store.commit(&put("late")), Err(StoreError::NoSuchLease { .. })));
    }

    #[test]
    fn a_lease_can_be_given_back() {
        let store = MemoryStore::default();
        let lease = store.grant(Duration::from_secs(30)).unwrap();
        store.commit(&Transaction::new().put_leased(key("a"), vec![], lease)).unwrap();
        store.revoke(lease).unwrap();
        assert_eq!(store.get(&key("a")).unwrap(), None);
        assert!(matches!(store.revoke(lease), Err(StoreError::NoSuchLease { .. })));
    }
}
