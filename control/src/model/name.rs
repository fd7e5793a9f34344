//! Names that people choose: of networks and endpoints, and of interfaces.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Explain};

/// A network's or an endpoint's name: `[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}`.
///
/// The alphabet is Docker's; 63 bytes, because a name is also one DNS label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 63;

    /// Checks `text` and makes a name of it.
    ///
    /// # Errors
    /// [`NameError`] says which law `text` breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let Some(first) = text.bytes().next() else { return Err(NameError::Empty) };
        if text.len() > Self::MAX_LEN {
            return Err(NameError::TooLong { len: text.len(), name: text });
        }
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if !first.is_ascii_alphanumeric() || !text.bytes().all(legal) {
            return Err(NameError::Alphabet { name: text });
        }
        Ok(Self(text))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The ways a name can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No characters at all.
    #[error("a name cannot be empty")]
    Empty,
    /// More than [`Name::MAX_LEN`] bytes.
    #[error("the name '{name}' has {len} characters")]
    TooLong {
        /// The refused name.
        name: String,
        /// Its length in bytes.
        len: usize,
    },
    /// A character outside the alphabet, or a first one that is neither letter nor digit.
    #[error("'{name}' is not a valid name")]
    Alphabet {
        /// The refused name.
        name: String,
    },
}

impl Explain for NameError {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn remedy(&self) -> Option<String> {
        Some("use 1 to 63 of letters, digits, '_', '.', '-', the first a letter or digit".into())
    }
}

/// A network interface's name: 1 to 15 printable ASCII bytes without `/`, `:` and `%`, neither `.` nor `..`.
///
/// The kernel's `dev_valid_name` allows a little more; what it allows beyond this makes trouble in every other tool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IfName(String);

impl IfName {
    /// The longest interface name, in bytes: the kernel's `IFNAMSIZ` less the final zero.
    pub const MAX_LEN: usize = 15;

    /// Checks `text` and makes an interface name of it.
    ///
    /// # Errors
    /// [`IfNameError`] says which law `text` breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, IfNameError> {
        let text = text.into();
        if text.len() > Self::MAX_LEN {
            return Err(IfNameError::TooLong { len: text.len(), name: text });
        }
        let legal = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%');
        if matches!(text.as_str(), "" | "." | "..") || !text.bytes().all(legal) {
            return Err(IfNameError::Illegal { name: text });
        }
        Ok(Self(text))
    }

    /// The `n`th name of the usual series: `eth0`, `eth1`, ...
    #[must_use]
    pub fn eth(n: u32) -> Self {
        Self(format!("eth{n}"))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The ways an interface name can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IfNameError {
    /// More than [`IfName::MAX_LEN`] bytes.
    #[error("the interface name '{name}' has {len} bytes, the kernel takes at most 15")]
    TooLong {
        /// The refused name.
        name: String,
        /// Its length in bytes.
        len: usize,
    },
    /// Empty, reserved, or with a character that no interface name has.
    #[error("'{name}' is not an interface name")]
    Illegal {
        /// The refused name.
        name: String,
    },
}

impl Explain for IfNameError {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn remedy(&self) -> Option<String> {
        Some("use 1 to 15 ASCII characters without '/', ':', '%' and spaces, such as eth0".into())
    }
}

/// The text plumbing that both names share.
macro_rules! text_newtype {
    ($name:ident, $error:ident) => {
        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_newtype!(Name, NameError);
text_newtype!(IfName, IfNameError);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_legal_name_is_taken_as_it_is(text in "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}") {
            prop_assert_eq!(String::from(Name::new(text.clone()).unwrap()), text);
        }

        #[test]
        fn one_foreign_character_spoils_a_name(head in "[a-z]{1,8}", bad in "[^a-zA-Z0-9_.-]", tail in "[a-z]{0,8}") {
            let text = format!("{head}{bad}{tail}");
            prop_assert_eq!(Name::new(text.clone()), Err(NameError::Alphabet { name: text }));
        }

        #[test]
        fn legal_interface_names_are_taken(text in "[a-z][a-z0-9._@-]{0,14}") {
            prop_assert_eq!(String::from(IfName::new(text.clone()).unwrap()), text);
        }
    }

    #[test]
    fn the_bounds_of_a_name() {
        assert!(Name::new("a".repeat(63)).is_ok());
        assert!(matches!(Name::new("a".repeat(64)), Err(NameError::TooLong { len: 64, .. })));
        assert_eq!(Name::new(""), Err(NameError::Empty));
        for bad in ["-a", ".a", "_a"] {
            assert!(matches!(Name::new(bad), Err(NameError::Alphabet { .. })), "{bad}");
        }
    }

    #[test]
    fn the_bounds_of_an_interface_name() {
        assert!(IfName::new("a".repeat(15)).is_ok());
        assert!(matches!(IfName::new("a".repeat(16)), Err(IfNameError::TooLong { len: 16, .. })));
        for bad in ["", ".", "..", "a/b", "a b", "a\tb", "a:b", "é"] {
            assert!(matches!(IfName::new(bad), Err(IfNameError::Illegal { .. })), "{bad:?}");
        }
    }
}
