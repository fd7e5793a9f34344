//! How a document is written: JSON that says its kind and version.
//!
//! ```json
//! {"kind":"claim","version":1,"body":{"owner":"5d1c…","name":"web"}}
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{CatalogError, Key};

/// A kind of document.
pub trait Document: Serialize + DeserializeOwned {
    /// Its word.
    const KIND: &'static str;
    /// The newest version that this build reads, and the one it writes.
    const VERSION: u32;
}

#[derive(Serialize)]
struct Written<'a, D> {
    kind: &'static str,
    version: u32,
    body: &'a D,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read<'a> {
    kind: String,
    version: u32,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// The bytes of a document that is to stand at `key`.
///
/// # Errors
/// [`CatalogError::Unwritable`].
pub fn encode<D: Document>(key: &Key, document: &D) -> Result<Vec<u8>, CatalogError> {
    let written = Written { kind: D::KIND, version: D::VERSION, body: document };
    serde_json::to_vec(&written)
        .map_err(|error| CatalogError::Unwritable { key: key.clone(), what: error.to_string() })
}

/// The document that stands at `key`.
///
/// # Errors
/// [`CatalogError::Newer`] or [`CatalogError::Unreadable`].
pub fn decode<D: Document>(key: &Key, bytes: &[u8]) -> Result<D, CatalogError> {
    let unreadable = |what: String| CatalogError::Unreadable { key: key.clone(), what };
    let read: Read<'_> = serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    if read.kind != D::KIND {
        return Err(unreadable(format!("it is of kind '{}', not '{}'", read.kind, D::KIND)));
    }
    if read.version > D::VERSION {
        return Err(CatalogError::Newer { key: key.clone(), found: read.version, known: D::VERSION });
    }
    serde_json::from_str(read.body.get()).map_err(|error| unreadable(error.to_string()))
}

/// Values as the text that people write.
pub(super) mod text {
    use super::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<T: std::fmt::Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(in super::super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Moments as nanoseconds since 1970. A clock that stands before that is no reason to lose a network.
pub(super) mod moment {
    use super::{Deserialize, Deserializer, Duration, Serializer, SystemTime, UNIX_EPOCH};

    pub(in super::super) fn serialize<S: Serializer>(moment: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
        to.serialize_u64(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        Ok(UNIX_EPOCH + Duration::from_nanos(u64::deserialize(from)?))
    }
}
