//! Looking into a file without touching it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend};

use super::file::{ENTRIES, Entries, META, SCHEMA, builder, explain};
use crate::store::space::STORE_MAX;
use crate::store::{Key, Revision, StoreError, Version};

/// The largest file, in bytes: a full store, and as much again twice over for copies that are not yet reclaimed.
const FILE_MAX: u64 = 3 * STORE_MAX as u64;

/// Checks the whole file, in memory, and tells what is in it.
pub(super) fn inspect(path: &Path, file: &File) -> Result<(Revision, Entries), StoreError> {
    let failed = |error| StoreError::io("read", path, error);
    let damaged = |what: String| StoreError::Damaged { path: path.into(), what };
    let len = file.metadata().map_err(failed)?.len();
    match len {
        0 => return Err(damaged("it is empty".into())),
        1..=FILE_MAX => {}
        _ => return Err(damaged(format!("it has {len} bytes, more than any store"))),
    }
    let mut image = vec![0; len as usize];
    file.read_exact_at(&mut image, 0).map_err(failed)?;
    let copy = InMemoryBackend::new();
    copy.set_len(len).and_then(|()| copy.write(0, &image)).map_err(failed)?;
    drop(image);
    // redb is written for files that it has made, and on others may find that what cannot be is.
    let checked = catch_unwind(AssertUnwindSafe(|| {
        let mut database =
            builder().create_with_backend(copy).map_err(|e| explain("open", path, e.into()))?;
        if !database.check_integrity().map_err(|e| explain("open", path, e.into()))? {
            return Err(damaged("its checksums do not match".into()));
        }
        load(path, &database)
    }));
    match checked {
        // The image is in memory: what cannot be read there is not there.
        Ok(Err(StoreError::Io { source, .. })) => {
            Err(damaged(format!("its structure makes no sense: {source}")))
        }
        Ok(result) => result,
        Err(_) => Err(damaged("its structure makes no sense".into())),
    }
}

/// What a database holds.
pub(super) fn load(path: &Path, database: &Database) -> Result<(Revision, Entries), StoreError> {
    let failed = |error: redb::Error| explain("read", path, error);
    let damaged = |what: String| StoreError::Damaged { path: path.into(), what };
    let transaction = database.begin_read().map_err(|e| failed(e.into()))?;
    let meta = transaction.open_table(META).map_err(|e| failed(e.into()))?;
    let number = |name: &str| -> Result<u64, StoreError> {
        let found = meta.get(name).map_err(|e| failed(e.into()))?;
        found.map(|number| number.value()).ok_or_else(|| damaged(format!("it has no {name}")))
    };
    match number("schema")? {
        SCHEMA => {}
        0 => return Err(damaged("it has schema 0".into())),
        found => return Err(StoreError::Newer { path: path.into(), found }),
    }
    let revision = number("revision")?;
    let table = transaction.open_table(ENTRIES).map_err(|e| failed(e.into()))?;
    let mut entries = Entries::new();
    for row in table.iter().map_err(|e| failed(e.into()))? {
        let (key, value) = row.map_err(|e| failed(e.into()))?;
        let key = Key::new(key.value()).map_err(|error| damaged(error.to_string()))?;
        let (version, value) = value.value();
        if version > revision {
            return Err(damaged(format!("'{key}' is newer than the store")));
        }
        entries.insert(key, (value.into(), Version(version)));
    }
    Ok((Revision(revision), entries))
}
