//! Identities: 256 random bits, written as 64 hexadecimal digits as Docker does.

use std::fmt;

/// A network's or an endpoint's identity, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    }
}
