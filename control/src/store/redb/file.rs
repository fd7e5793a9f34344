//! The file: created whole, locked, written durably.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database, DatabaseError, StorageBackend, TableDefinition};
use rustix::fs::{FlockOperation, flock};

use super::holder::holder;
use super::inspect::{inspect, load};
use crate::store::space::Plan;
use crate::store::{Key, Revision, StoreError, Version};

/// The version of the tables' meaning. A build reads its own and those before it.
pub const SCHEMA: u64 = 1;

/// Key -> version and value.
pub(super) const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");

/// `schema`, and `revision`: that of the last commit.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// What redb keeps of the file in memory, in bytes. Little, since it is only ever written.
const CACHE: usize = 4 << 20;

/// Every key with its value and version.
pub(super) type Entries = BTreeMap<Key, (Arc<[u8]>, Version)>;

/// Opens the database in a file that passed.
pub(super) type Opener = Box<dyn Fn(&Arc<File>) -> Result<Database, DatabaseError> + Send + Sync>;

/// The file, locked, with the database in it.
pub(super) struct Journal {
    path: PathBuf,
    /// Holds the lock, whether the database is open or not.
    file: Arc<File>,
    opener: Opener,
    /// `None` after a failure.
    database: Option<Database>,
}

impl Journal {
    /// Opens or creates the file, and tells what is in it.
    pub(super) fn open(path: &Path, opener: Opener) -> Result<(Self, Revision, Entries), StoreError> {
        let file = Arc::new(open_or_create(path)?);
        let (revision, entries) = inspect(path, &file)?;
        let database = opener(&file).map_err(|error| explain("open", path, error.into()))?;
        Ok((Self { path: path.into(), file, opener, database: Some(database) }, revision, entries))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.database.is_none()
    }

    /// Writes a plan down; after an error the journal is closed.
    pub(super) fn write(&mut self, plan: &Plan) -> Result<(), StoreError> {
        let version = plan.version();
        let changes =
            plan.changes.iter().map(|(key, value)| (key, value.as_ref().map(|value| (value, version))));
        self.persist(plan.revision, changes)
    }

    /// Opens the file again after a failure, and makes it say what `entries` say.
    pub(super) fn reopen(&mut self, revision: Revision, entries: &Entries) -> Result<(), StoreError> {
        let failed = |error: redb::Error| explain("write", &self.path, error);
        let database = (self.opener)(&self.file).map_err(|error| failed(error.into()))?;
        let (found_revision, found) = load(&self.path, &database)?;
        self.database = Some(database);
        let gone = found.keys().filter(|key| !entries.contains_key(*key)).map(|key| (key, None));
        let wrong = entries.iter().filter(|(key, entry)| found.get(*key) != Some(entry));
        let changes: Vec<_> =
            wrong.map(|(key, (value, version))| (key, Some((value, *version)))).chain(gone).collect();
        if changes.is_empty() && found_revision == revision {
            return Ok(());
        }
        self.persist(revision, changes.into_iter())
    }

    fn persist<'a>(
        &mut self,
        revision: Revision,
        changes: impl Iterator<Item = (&'a Key, Option<(&'a Arc<[u8]>, Version)>)>,
    ) -> Result<(), StoreError> {
        let Some(database) = self.database.take() else {
            return Err(StoreError::io("write", &self.path, io::Error::other("it is closed")));
        };
        commit(&database, revision, changes).map_err(|error| explain("write", &self.path, error))?;
        self.database = Some(database);
        Ok(())
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).field("closed", &self.is_closed()).finish()
    }
}

/// The production [`Opener`].
pub(super) fn open_in_place(file: &Arc<File>) -> Result<Database, DatabaseError> {
    builder().create_with_backend(Device(Arc::clone(file)))
}

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

/// One durable commit: redb's default is to fsync before it answers.
fn commit<'a>(
    database: &Database,
    revision: Revision,
    changes: impl Iterator<Item = (&'a Key, Option<(&'a Arc<[u8]>, Version)>)>,
) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(redb::Durability::Immediate)?;
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        for (key, value) in changes {
            match value {
                Some((value, version)) => drop(entries.insert(key.as_str(), (version.0, &value[..]))?),
                None => drop(entries.remove(key.as_str())?),
            }
        }
        transaction.open_table(META)?.insert("revision", revision.0)?;
    }
    Ok(transaction.commit()?)
}

/// The file, locked for this process.
fn open_or_create(path: &Path) -> Result<File, StoreError> {
    let failed = |error| StoreError::io("open", path, error);
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => {
            if !file.metadata().map_err(failed)?.is_file() {
                return Err(failed(io::Error::other("not a regular file")));
            }
            lock(path, &file)?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        Err(error) => Err(failed(error)),
    }
}

/// Makes a store beside `path` and, when it is complete, gives it that name.
fn create(path: &Path) -> Result<File, StoreError> {
    let failed = |error| StoreError::io("open", path, error);
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&draft);
    let file = Arc::new(file.map_err(failed)?);
    lock(path, &file)?;
    // Who had this lock before may have finished in the meantime.
    if path.exists() {
        return open_or_create(path);
    }
    file.set_len(0).map_err(failed)?;
    write_empty(&file).map_err(|error| explain("open", path, error))?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&draft, path).map_err(failed)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Arc::try_unwrap(file).or_else(|file| file.try_clone()).map_err(failed)
}

fn write_empty(file: &Arc<File>) -> Result<(), redb::Error> {
    let database = open_in_place(file)?;
    let transaction = database.begin_write()?;
    transaction.open_table(ENTRIES)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert("schema", SCHEMA)?;
        meta.insert("revision", 0)?;
    }
    Ok(transaction.commit()?)
}

fn lock(path: &Path, file: &File) -> Result<(), StoreError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(StoreError::Locked { path: path.into(), holder: holder(file) })
        }
        Err(errno) => Err(StoreError::io("open", path, errno.into())),
    }
}

/// What redb's errors mean to those who have the file.
pub(super) fn explain(what: &'static str, path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            StoreError::Damaged { path: path.into(), what: source.to_string() }
        }
        redb::Error::Io(source) => StoreError::io(what, path, source),
        redb::Error::PreviousIo => StoreError::io(what, path, io::Error::other("it failed before")),
        redb::Error::Corrupted(reason) => StoreError::Damaged { path: path.into(), what: reason },
        other => StoreError::Damaged { path: path.into(), what: other.to_string() },
    }
}

/// The file as redb sees it. The lock is not redb's business: it is held for longer than a database is open.
#[derive(Debug)]
pub(super) struct Device(pub(super) Arc<File>);

impl StorageBackend for Device {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}
