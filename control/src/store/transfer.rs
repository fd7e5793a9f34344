//! A whole store as one JSON document, for backups and for moving to another kind of store.
//!
//! ```json
//! {"format":"weft-store","version":1,"entries":[{"key":"vnis/4096","document":{"kind":"claim","version":1,"body":{…}}}]}
//! ```
//!
//! Documents are carried byte for byte. An import is checked whole before anything is written: every document must be
//! one that this build knows, and they must fit together ([`Contents::strays`]). Then everything is replaced at once, or
//! nothing is.
//!
//! Limit: [`EXPORT_MAX`] bytes either way; a store beyond that is backed up by other means.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::catalog::{CatalogError, Contents, Stray, read};
use super::{Catalog, Key, Prefix, Revision, STORE_MAX, Store, StoreError};
use crate::error::{Code, Explain, one_line};

/// The largest export, in bytes: a full store, and as much again for the quotes around it.
pub const EXPORT_MAX: usize = 2 * STORE_MAX;

/// The word that an export begins with.
const FORMAT: &str = "weft-store";

/// The version of the export's own grammar.
const VERSION: u32 = 1;

/// Every key with its value.
type Entries = Vec<(Key, Vec<u8>)>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Export<'a> {
    format: String,
    version: u32,
    #[serde(borrow)]
    entries: Vec<Row<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row<'a> {
    key: Key,
    #[serde(borrow)]
    document: &'a RawValue,
}

/// Everything in `store`, as JSON.
///
/// # Errors
/// [`TransferError::TooLarge`], [`TransferError::NotJson`] for a value that is no document, or what the store says.
pub fn export(store: &dyn Store) -> Result<Vec<u8>, TransferError> {
    let listing = store.list(&Prefix::all())?;
    let total: usize = listing.entries.iter().map(|entry| entry.key.as_str().len() + entry.value.len()).sum();
    if total > EXPORT_MAX {
        return Err(TransferError::TooLarge { len: total });
    }
    let row = |entry: &'_ super::Entry| -> Result<(Key, Box<RawValue>), TransferError> {
        let document = serde_json::from_slice(&entry.value)
            .map_err(|error| TransferError::NotJson { key: entry.key.clone(), what: error.to_string() })?;
        Ok((entry.key.clone(), document))
    };
    let rows = listing.entries.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    let entries = rows.iter().map(|(key, document)| Row { key: key.clone(), document }).collect();
    let export = Export { format: FORMAT.into(), version: VERSION, entries };
    let mut json = serde_json::to_vec_pretty(&export).map_err(TransferError::grammar)?;
    json.push(b'\n');
    if json.len() > EXPORT_MAX { Err(TransferError::TooLarge { len: json.len() }) } else { Ok(json) }
}

/// Makes what `json` says all there is in `store`, and tells what that is. Unless `overwrite`, the store must be empty.
///
/// # Errors
/// [`TransferError`]; nothing has changed.
pub fn import(store: &dyn Store, json: &[u8], overwrite: bool) -> Result<Contents, TransferError> {
    let (entries, contents) = parse(json)?;
    let revision = store.replace(entries, overwrite)?;
    Ok(Contents { revision, ..contents })
}

/// What `json` says, as it is to be stored, and what that is.
fn parse(json: &[u8]) -> Result<(Entries, Contents), TransferError> {
    if json.len() > EXPORT_MAX {
        return Err(TransferError::TooLarge { len: json.len() });
    }
    let export: Export<'_> = serde_json::from_slice(json).map_err(TransferError::grammar)?;
    if export.format != FORMAT {
        return Err(TransferError::NotAnExport { format: export.format });
    }
    if export.version > VERSION {
        return Err(TransferError::Newer { found: export.version });
    }
    let mut entries: Entries =
        export.entries.into_iter().map(|row| (row.key, row.document.get().as_bytes().to_vec())).collect();
    entries.sort();
    let contents = read(entries.iter().map(|(key, value)| (key, &value[..])), Revision::default())?;
    if let Some(stray) = contents.strays.first() {
        return Err(TransferError::Stray { stray: stray.clone() });
    }
    Ok((entries, contents))
}

impl Catalog {
    /// As [`export`].
    ///
    /// # Errors
    /// As [`export`].
    pub fn export(&self) -> Result<Vec<u8>, TransferError> {
        export(self.store())
    }

    /// What an import of `json` would make of a store.
    ///
    /// # Errors
    /// As [`import`].
    pub fn preview(json: &[u8]) -> Result<Contents, TransferError> {
        parse(json).map(|(_, contents)| contents)
    }

    /// As [`import`].
    ///
    /// # Errors
    /// As [`import`].
    pub fn import(&self, json: &[u8], overwrite: bool) -> Result<Contents, TransferError> {
        import(self.store(), json, overwrite)
    }
}

/// Why an export or an import was refused.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// More than [`EXPORT_MAX`] bytes.
    #[error("an export of {len} bytes is too large")]
    TooLarge {
        /// How many.
        len: usize,
    },
    /// A stored value that is no JSON.
    #[error("the value of '{key}' is not JSON: {what}")]
    NotJson {
        /// Where it stands.
        key: Key,
        /// The parser's words.
        what: String,
    },
    /// Not the grammar of an export.
    #[error("this is not an export: {what}")]
    Grammar {
        /// The parser's words.
        what: String,
    },
    /// JSON of another kind.
    #[error("this is not an export: its format is '{format}'")]
    NotAnExport {
        /// What it says it is.
        format: String,
    },
    /// A newer build has written it.
    #[error("the export has version {found}, this build knows up to {VERSION}")]
    Newer {
        /// Its version.
        found: u32,
    },
    /// Its documents do not fit together.
    #[error("the export contradicts itself: {stray}")]
    Stray {
        /// The first thing that does not fit.
        stray: Stray,
    },
    /// A document of it cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TransferError {
    fn grammar(error: serde_json::Error) -> Self {
        Self::Grammar { what: one_line(&error.to_string()) }
    }
}

impl Explain for TransferError {
    fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::TooLarge,
            Self::NotJson { .. } => Code::Failed,
            Self::Catalog(error) => error.code(),
            Self::Store(error) => error.code(),
            _ => Code::InvalidArgument,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::TooLarge { .. } => {
                format!("the limit is {EXPORT_MAX} bytes: copy the store's file instead, with weft stopped")
            }
            Self::NotJson { .. } => "restore a backup".into(),
            Self::Grammar { .. } | Self::NotAnExport { .. } => "give what an export has written".into(),
            Self::Newer { .. } => "install the newer weft".into(),
            Self::Stray { .. } => "give an export that nobody has changed".into(),
            Self::Catalog(error) => return error.remedy(),
            Self::Store(error) => return error.remedy(),
        })
    }
}

#[cfg(test)]
mod tests;
