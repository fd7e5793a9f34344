//! The embedded store: one file, one process, and every answer after the disk's.
//!
//! The file is redb's: a copy-on-write B-tree with checksums, in which a commit is there whole or not at all, whenever the
//! power goes. It has two tables, `entries` (key -> version, value) and `meta` ([`SCHEMA`], the revision). The state is
//! held in memory too (`space.rs`); a commit is decided there, written and fsynced, and only then shown to anybody.
//!
//! A file is never harmed by being looked at. It is locked, read into memory, and there opened, checked in full and
//! recovered like after a crash; only what passes is opened in its place. What is damaged, newer or no store at all is
//! refused as it was found. A new store appears under its name when it is complete.
//!
//! When the medium fails, so does the request, with the medium's reason; reads go on from memory. redb trusts no file
//! after such a failure, so the next write opens it again and first brings it back to what memory says, which is what
//! callers were told. Until that succeeds, every write fails.
//!
//! Not for network file systems: their locks and fsyncs are not what this relies on.

#[cfg(test)]
mod faults;
mod file;
mod holder;
mod inspect;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::space::{Plan, Space};
use super::transaction::Write;
use super::{Committed, Entry, Key, Listing, Prefix, Revision, Store, StoreError, Transaction, Watch};
pub use file::SCHEMA;
use file::{Journal, Opener};

/// The embedded store; see the module's head.
#[derive(Debug)]
pub struct RedbStore {
    /// Taken first, and held while the disk works.
    journal: Mutex<Journal>,
    /// Never held while the disk works. Changed only by who holds the journal.
    space: Mutex<Space>,
}

impl RedbStore {
    /// Opens the store at `path`, or creates it if there is nothing.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Damaged`], [`StoreError::Newer`], or what the medium says; a file that was
    /// there is as it was.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, Box::new(file::open_in_place))
    }

    /// As [`RedbStore::open`], with another way to the medium.
    fn open_with(path: &Path, opener: Opener) -> Result<Self, StoreError> {
        let (journal, revision, entries) = Journal::open(path, opener)?;
        Ok(Self { journal: Mutex::new(journal), space: Mutex::new(Space::new(revision, entries)) })
    }

    /// Decides, writes down, and only then shows what `decide` plans.
    fn change(
        &self,
        decide: impl FnOnce(&Space) -> Result<Plan, StoreError>,
    ) -> Result<Committed, StoreError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = decide(&self.space())?;
        if !plan.changes.is_empty() {
            if journal.is_closed() {
                let (revision, entries) = {
                    let space = self.space();
                    (space.revision(), space.entries().clone())
                };
                journal.reopen(revision, &entries)?;
            }
            journal.write(&plan)?;
        }
        Ok(self.space().apply(plan))
    }

    fn space(&self) -> MutexGuard<'_, Space> {
        // Nothing is changed in steps that could be left half done.
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for RedbStore {
    fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        Ok(self.space().get(key))
    }

    fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        Ok(self.space().list(prefix))
    }

    fn commit(&self, transaction: &Transaction) -> Result<Committed, StoreError> {
        if transaction.writes.iter().any(|(_, write)| matches!(write, Write::Put { lease: Some(_), .. })) {
            return Err(StoreError::NoLeases);
        }
        self.change(|space| space.plan(transaction))
    }

    fn replace(&self, entries: Vec<(Key, Vec<u8>)>, overwrite: bool) -> Result<Revision, StoreError> {
        Ok(self.change(|space| space.plan_replacement(entries, overwrite))?.revision)
    }

    fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError> {
        self.space().watch(prefix, after)
    }
}
