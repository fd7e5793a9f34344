//! A block of addresses, written `10.1.0.0/16` (RFC 4632) or `fd00:1::/64` (RFC 4291 section 2.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "os", serde(try_from = "(IpAddr, u8)", into = "(IpAddr, u8)"))]
pub struct Prefix {
    /// The first address: every bit beyond `len` is zero.
    address: IpAddr,
    len: u8,
}

/// What is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// More bits than the address has.
    #[error("{address}/{len} has a length beyond {max}: give one from 0 to {max}")]
    TooLong {
        /// The address given.
        address: IpAddr,
        /// The length given.
        len: u8,
        /// The most that its family has.
        max: u8,
    },
    /// Bits beyond the length that are not zero.
    #[error("{address}/{len} is an address within a prefix: the prefix itself is {prefix}")]
    HostBits {
        /// The address given.
        address: IpAddr,
        /// The length given.
        len: u8,
        /// The prefix that it lies in.
        prefix: Prefix,
    },
    /// Text of another form.
    #[error("{text:?} is not a prefix: write an address and a length, like 10.1.0.0/16 or fd00:1::/64")]
    Text {
        /// What was given.
        text: String,
    },
}

impl Prefix {
    /// The prefix of `len` bits that begins at `address`.
    ///
    /// # Errors
    ///
    /// [`PrefixError::TooLong`] above 32 (IPv4) or 128 (IPv6), [`PrefixError::HostBits`] when `address` is not the
    /// first one.
    pub fn new(address: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let max = bits(address);
        if len > max {
            return Err(PrefixError::TooLong { address, len, max });
        }
        let prefix = Self { address: first(address, len), len };
        if prefix.address == address {
            Ok(prefix)
        } else {
            Err(PrefixError::HostBits { address, len, prefix })
        }
    }

    /// The first address.
    #[must_use]
    #[inline]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits are common: 0 to 32 (IPv4) or 128 (IPv6).
    #[must_use]
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a prefix has a length and is never empty")]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether `address` lies in it; never one of the other family.
    #[must_use]
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(prefix), IpAddr::V4(it)) => {
                (prefix.to_bits() ^ it.to_bits()) & mask_v4(self.len) == 0
            }
            (IpAddr::V6(prefix), IpAddr::V6(it)) => {
                (prefix.to_bits() ^ it.to_bits()) & mask_v6(self.len) == 0
            }
            _ => false,
        }
    }

    /// The last address; of an IPv4 subnet of at most 30 bits, its broadcast address.
    #[must_use]
    pub const fn last(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() | !mask_v4(self.len))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() | !mask_v6(self.len))),
        }
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[inline]
const fn mask_v4(len: u8) -> u32 {
    // A shift by the whole width has no meaning of its own.
    match len {
        0 => 0,
        _ => u32::MAX << (32 - len),
    }
}

#[inline]
const fn mask_v6(len: u8) -> u128 {
    match len {
        0 => 0,
        _ => u128::MAX << (128 - len),
    }
}

const fn first(address: IpAddr, len: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask_v4(len))),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask_v6(len))),
    }
}

impl From<Prefix> for (IpAddr, u8) {
    fn from(prefix: Prefix) -> Self {
        (prefix.address, prefix.len)
    }
}

impl TryFrom<(IpAddr, u8)> for Prefix {
    type Error = PrefixError;

    fn try_from((address, len): (IpAddr, u8)) -> Result<Self, PrefixError> {
        Self::new(address, len)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.len)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let parts = text.split_once('/').and_then(|(address, len)| {
            // The number alone would take "+8".
            let digits = len.bytes().all(|digit| digit.is_ascii_digit());
            Some((address.parse().ok()?, len.parse().ok().filter(|_| digits)?))
        });
        let (address, len) = parts.ok_or_else(|| PrefixError::Text { text: text.to_owned() })?;
        Self::new(address, len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().expect("a prefix")
    }

    #[test]
    fn text_is_read_and_written() {
        for text in ["0.0.0.0/0", "10.1.0.0/16", "10.1.2.3/32", "::/0", "fd00:1::/64", "::1/128"] {
            assert_eq!(prefix(text).to_string(), text);
        }
        for text in
            ["", "/", "10.1.0.0", "10.1.0.0/", "10.1.0.0/+8", "10.1.0.0/-1", "10.1.0.0/256", "10.1/16", "x/8"]
        {
            assert_eq!(text.parse::<Prefix>(), Err(PrefixError::Text { text: text.to_owned() }));
        }
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        let error = "10.1.2.3/16".parse::<Prefix>().unwrap_err().to_string();
        assert!(error.ends_with("the prefix itself is 10.1.0.0/16"), "{error}");
        let error = "10.0.0.0/33".parse::<Prefix>().unwrap_err().to_string();
        assert!(error.ends_with("give one from 0 to 32"), "{error}");
        assert!(matches!("::/129".parse::<Prefix>(), Err(PrefixError::TooLong { max: 128, .. })));
    }

    #[test]
    fn families_do_not_mix() {
        assert!(!prefix("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(!prefix("::/0").contains("10.0.0.1".parse().unwrap()));
    }

    #[cfg(feature = "os")]
    #[test]
    fn what_another_process_sends_is_checked() {
        let sent = |address: IpAddr, len: u8| postcard::to_allocvec(&(address, len)).expect("into memory");
        let read = |bytes: &[u8]| postcard::from_bytes::<Prefix>(bytes).ok();
        let good = prefix("fd00:1::/64");
        assert_eq!(postcard::to_allocvec(&good).expect("into memory"), sent(good.address(), 64));
        assert_eq!(read(&sent(good.address(), 64)), Some(good));
        assert_eq!(read(&sent(good.address(), 16)), None, "host bits");
        assert_eq!(read(&sent(Ipv4Addr::UNSPECIFIED.into(), 33)), None, "too long");
    }

    proptest! {
        #[test]
        fn membership_is_the_first_bits(address: u128, other: u128, near in 0u32..128, len in 0u8..=128, v4: bool) {
            // Half of the time one bit differs.
            let other = if near % 2 == 0 { other } else { address ^ 1 << near };
            let (a, b, len): (IpAddr, IpAddr, u8) = if v4 {
                (Ipv4Addr::from_bits(address as u32).into(), Ipv4Addr::from_bits(other as u32).into(), len % 33)
            } else {
                (Ipv6Addr::from_bits(address).into(), Ipv6Addr::from_bits(other).into(), len)
            };
            let text = |a: IpAddr| match a {
                IpAddr::V4(a) => format!("{:032b}", a.to_bits()),
                IpAddr::V6(a) => format!("{:0128b}", a.to_bits()),
            };
            let same = text(a)[..usize::from(len)] == text(b)[..usize::from(len)];
            let prefix = match Prefix::new(a, len) {
                Ok(prefix) | Err(PrefixError::HostBits { prefix, .. }) => prefix,
                Err(other) => panic!("{other}"),
            };
            prop_assert!(prefix.contains(a) && prefix.contains(prefix.address()) && prefix.contains(prefix.last()));
            prop_assert_eq!(prefix.contains(b), same);
            prop_assert_eq!(prefix.to_string().parse::<Prefix>(), Ok(prefix));
            prop_assert!(prefix.address() <= a && a <= prefix.last());
        }
    }
}
