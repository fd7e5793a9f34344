//! Identities: 256 random bits, written as 64 hexadecimal digits as Docker does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network's or an endpoint's identity, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id([u8; 32]);

impl Id {
    /// How many digits [`Id::short`] shows; the first field of every table.
    pub const SHORT_LEN: usize = 12;

    /// The identity of these bits, which the caller drew at random.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The first 12 digits: enough for people.
    #[must_use]
    pub fn short(&self) -> String {
        let mut digits = self.to_string();
        digits.truncate(Self::SHORT_LEN);
        digits
    }

    /// Whether its 64 digits begin with `digits`.
    #[must_use]
    pub fn starts_with(&self, digits: &str) -> bool {
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        let own = nibbles.map(|nibble| b"0123456789abcdef"[usize::from(nibble)]);
        digits.len() <= 2 * self.0.len() && own.zip(digits.bytes()).all(|(own, digit)| own == digit)
    }
}

/// A text that is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not an id of 64 hexadecimal digits")]
pub struct IdError {
    /// The refused text.
    pub text: String,
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let refused = || IdError { text: text.to_owned() };
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(refused());
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| refused())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Id {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.to_string()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_four_digits_of_which_twelve_are_shown() {
        let mut bytes = [0; 32];
        bytes[0] = 0xab;
        bytes[31] = 0x01;
        let id = Id::from_bytes(bytes);
        assert_eq!(id.to_string(), format!("ab{}01", "0".repeat(60)));
        assert_eq!(id.short(), "ab0000000000");
        assert!(id.starts_with("") && id.starts_with("ab0") && id.starts_with(&id.to_string()));
        assert!(!id.starts_with("ab1") && !id.starts_with("AB") && !id.starts_with(&format!("{id}0")));
    }

    #[test]
    fn text_is_read_back_and_nothing_else_is() {
        let mut bytes = [0xa5; 32];
        bytes[7] = 0x0f;
        let id = Id::from_bytes(bytes);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "ab", &"g".repeat(64), &"A".repeat(64), &"a".repeat(65), &"\u{e9}".repeat(32)] {
            assert!(bad.parse::<Id>().is_err(), "{bad}");
        }
    }
}
