//! Keys: paths that every backend takes as they are.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Explain};

/// The longest key, in bytes: room for three ids or names and the words between them.
pub const KEY_MAX: usize = 512;

/// A path of one or more segments: `endpoints/0a1b/c2d3`. A segment is one or more of letters, digits and `._:@-`, but
/// neither `.` nor `..`, which ZooKeeper refuses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl Key {
    /// Checks `text` and makes a key of it.
    ///
    /// # Errors
    /// [`KeyError`] says which law `text` breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let key = text.into();
        if key.len() > KEY_MAX {
            return Err(KeyError::TooLong { len: key.len() });
        }
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"._:@-".contains(&b);
        let segment = |s: &str| !matches!(s, "" | "." | "..") && s.bytes().all(legal);
        if key.split('/').all(segment) { Ok(Self(key)) } else { Err(KeyError::Illegal { key }) }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

/// A part of the tree: everything, or all below one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Everything.
    #[must_use]
    pub const fn all() -> Self {
        Self(String::new())
    }

    /// All below `path`; what stands at `path` itself does not belong to it.
    #[must_use]
    pub fn below(path: &Key) -> Self {
        Self(format!("{path}/"))
    }

    /// Whether `key` belongs to it.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        key.0.starts_with(&self.0)
    }

    /// What all of its keys begin with: nothing, or a path and a slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The ways a key can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// More than [`KEY_MAX`] bytes.
    #[error("a key of {len} bytes is too long")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// An empty segment, or a character that no key has.
    #[error("'{key}' is not a key of the store")]
    Illegal {
        /// The refused text.
        key: String,
    },
}

impl Explain for KeyError {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn remedy(&self) -> Option<String> {
        Some(format!("use up to {KEY_MAX} letters, digits and '._:@-' in segments divided by '/'"))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_legal_key_is_taken_as_it_is(text in "[a-zA-Z0-9:@-]{1,9}(/[a-z0-9._:@-]{3,9}){0,4}") {
            prop_assume!(!text.split('/').any(|s| s == ".."));
            prop_assert_eq!(String::from(Key::new(text.clone()).unwrap()), text);
        }

        #[test]
        fn one_foreign_character_spoils_a_key(head in "[a-z]{1,8}", bad in "[^a-zA-Z0-9._:@/-]", tail in "[a-z]{0,8}") {
            let key = format!("{head}{bad}{tail}");
            prop_assert_eq!(Key::new(key.clone()), Err(KeyError::Illegal { key }));
        }
    }

    #[test]
    fn the_bounds_of_a_key() {
        assert!(Key::new("a".repeat(KEY_MAX)).is_ok());
        assert_eq!(Key::new("a".repeat(KEY_MAX + 1)), Err(KeyError::TooLong { len: KEY_MAX + 1 }));
        for bad in ["", "/", "a/", "/a", "a//b", ".", "a/..", "../a"] {
            assert!(matches!(Key::new(bad), Err(KeyError::Illegal { .. })), "{bad}");
        }
    }

    #[test]
    fn a_prefix_ends_where_a_segment_ends() {
        let below = Prefix::below(&Key::new("a/b").unwrap());
        let inside = |text: &str| below.contains(&Key::new(text).unwrap());
        assert!(inside("a/b/c") && inside("a/b/c/d"));
        assert!(!inside("a/b") && !inside("a/bc") && !inside("a/bc/d"));
        assert!(Prefix::all().contains(&Key::new("x").unwrap()));
    }
}
