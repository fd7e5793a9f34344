//! Why the store refused.

use std::io;
use std::path::{Path, PathBuf};

use super::{Key, LeaseId, SCHEMA, STORE_MAX, TRANSACTION_KEYS_MAX, VALUE_MAX, WATCHES_MAX};
use crate::error::{Code, Explain};

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A key is not as the transaction expected.
    #[error("'{key}' was changed by somebody else")]
    Conflict {
        /// The first such key.
        key: Key,
    },
    /// A key is spoken of twice.
    #[error("the transaction has the key '{key}' twice")]
    Twice {
        /// The key.
        key: Key,
    },
    /// More than [`TRANSACTION_KEYS_MAX`] keys.
    #[error("a transaction of {count} keys is too large")]
    TooManyKeys {
        /// How many.
        count: usize,
    },
    /// More than [`VALUE_MAX`] bytes.
    #[error("the value of '{key}' has {len} bytes, the limit is {VALUE_MAX}")]
    ValueTooLarge {
        /// The key.
        key: Key,
        /// The value's length in bytes.
        len: usize,
    },
    /// More than [`STORE_MAX`] bytes altogether.
    #[error("the store has reached its limit of {STORE_MAX} bytes")]
    Full,
    /// More than [`WATCHES_MAX`] watches.
    #[error("there are {WATCHES_MAX} watches on the store, which is the limit")]
    TooManyWatches,
    /// Something is there, and was not to be overwritten.
    #[error("the store is not empty: it has {keys} keys")]
    NotEmpty {
        /// How many.
        keys: usize,
    },
    /// This kind of store knows no leases.
    #[error("this store knows no leases")]
    NoLeases,
    /// The lease has ended, or never was.
    #[error("there is no lease {}", lease.0)]
    NoSuchLease {
        /// Which.
        lease: LeaseId,
    },
    /// Another process has the file open.
    #[error("the store {} is in use by {}", path.display(), holder.map_or("another process".into(), |pid| format!("process {pid}")))]
    Locked {
        /// The file.
        path: PathBuf,
        /// Whose it is, if that could be found out.
        holder: Option<u32>,
    },
    /// The file is no store, or is broken.
    #[error("the store {} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A newer build has written the file.
    #[error("the store {} has schema {found}, this build knows up to {SCHEMA}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's schema.
        found: u64,
    },
    /// The medium has no room left.
    #[error("the disk of the store {} is full", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// The medium failed.
    #[error("cannot {what} the store {}: {source}", path.display())]
    Io {
        /// What was tried: `open`, `read` or `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl StoreError {
    /// What the medium has answered to an attempt to `what`.
    pub(super) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path: path.into() },
            _ => Self::Io { what, path: path.into(), source },
        }
    }
}

impl Explain for StoreError {
    fn code(&self) -> Code {
        match self {
            Self::Conflict { .. } | Self::NotEmpty { .. } | Self::Locked { .. } => Code::Conflict,
            Self::TooManyKeys { .. } | Self::ValueTooLarge { .. } => Code::TooLarge,
            Self::Full | Self::TooManyWatches | Self::DiskFull { .. } => Code::Exhausted,
            Self::NoSuchLease { .. } => Code::NotFound,
            Self::Twice { .. } | Self::NoLeases => Code::InvalidArgument,
            Self::Damaged { .. } | Self::Newer { .. } | Self::Io { .. } => Code::Failed,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Conflict { .. } => "look at what is there, and try again".into(),
            Self::Twice { .. } => "say once what becomes of it".into(),
            Self::TooManyKeys { .. } => format!("use at most {TRANSACTION_KEYS_MAX}"),
            Self::ValueTooLarge { .. } => "use fewer or shorter labels and options".into(),
            Self::Full => "remove networks and endpoints that nobody needs".into(),
            Self::TooManyWatches => "end one first".into(),
            Self::NotEmpty { .. } => "say that it may be overwritten, or use another store".into(),
            Self::NoLeases => "use a store that several hosts share".into(),
            Self::NoSuchLease { .. } => "ask for a new one".into(),
            Self::Locked { .. } => "stop that process first, or set another store.url".into(),
            Self::Damaged { path, .. } => {
                let path = path.display();
                format!(
                    "it was left as it is: restore a backup, or move it away (mv {path} {path}.bad) to begin empty and import an export"
                )
            }
            Self::Newer { path, .. } => {
                let path = path.display();
                format!(
                    "it was left as it is: install the newer weft, or move it away (mv {path} {path}.newer) to begin empty"
                )
            }
            Self::DiskFull { .. } => "make room there, then try again".into(),
            Self::Io { what: "open", .. } => "check that it is a file weft may read and write".into(),
            Self::Io { .. } => "check the disk and the kernel's log, then try again".into(),
        })
    }
}
