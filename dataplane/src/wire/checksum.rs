//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! The sum of 16-bit words does not depend on byte order until it is folded (RFC 1071 section 2 (B)), so long inputs
//! are summed as native 64-bit words in independent lanes, which the compiler turns into vector additions.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{array, be16};

#[cfg(test)]
mod tests;

/// 64-bit lanes summed side by side.
const LANES: usize = 8;

/// Bytes taken per step.
const STEP: usize = LANES * 8;

/// A ones' complement sum under construction.
///
/// Parts are added in the order in which they stand in the packet; an odd length shifts everything after it by one
/// byte, as it does on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Sum of big-endian words; each part adds at most 16 bits, so 2^48 parts fit.
    words: u64,
    /// Whether an odd number of bytes has been added.
    odd: bool,
}

impl Sum {
    /// Nothing added yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: 0, odd: false }
    }

    /// The pseudo header of TCP and UDP over IPv4; `len` is the length of the segment in bytes.
    #[must_use]
    #[inline]
    pub fn pseudo_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: usize) -> Self {
        let words =
            halves(source.to_bits()) + halves(destination.to_bits()) + u64::from(protocol) + len as u64;
        Self { words, odd: false }
    }

    /// The pseudo header of TCP, UDP and ICMPv6 over IPv6; `len` is the length of the segment in bytes.
    #[must_use]
    #[inline]
    pub fn pseudo_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, len: usize) -> Self {
        let sum = Self::new().add(&source.octets()).add(&destination.octets());
        Self { words: sum.words + u64::from(protocol) + len as u64, odd: false }
    }

    /// Adds `data`.
    #[must_use]
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "`+` would read as arithmetic; this is appending")]
    pub fn add(self, data: &[u8]) -> Self {
        let sum = u16::from_be(fold(native_sum(data)));
        let sum = if self.odd { sum.swap_bytes() } else { sum };
        Self { words: self.words + u64::from(sum), odd: self.odd ^ (data.len() % 2 == 1) }
    }

    /// Adds one word, given in host order.
    #[must_use]
    #[inline]
    pub const fn add_u16(self, word: u16) -> Self {
        let word = if self.odd { word.swap_bytes() } else { word };
        Self { words: self.words + word as u64, odd: self.odd }
    }

    /// The sum as one word, not complemented: what a partial checksum field holds.
    #[must_use]
    #[inline]
    pub const fn fold(self) -> u16 {
        fold(self.words)
    }

    /// The checksum: the complement of the folded sum. Zero over data that contains its own correct checksum.
    #[must_use]
    #[inline]
    pub const fn finish(self) -> u16 {
        !self.fold()
    }
}

/// The folded, not complemented sum of `data`, which may have an odd length.
#[must_use]
#[inline]
pub fn sum(data: &[u8]) -> u64 {
    u64::from(Sum::new().add(data).fold())
}

/// The checksum of `data`: zero if `data` contains its own correct checksum.
#[must_use]
#[inline]
pub fn checksum(data: &[u8]) -> u16 {
    Sum::new().add(data).finish()
}

/// The checksum after one word of the data has changed: RFC 1624 equation 3, HC' = ~(~HC + ~m + m').
#[must_use]
#[inline]
pub const fn update(old_checksum: u16, old_word: u16, new_word: u16) -> u16 {
    Change::NONE.word(old_word, new_word).checksum(old_checksum)
}

/// What changed words add to a sum: the middle of RFC 1624 equation 3, ~m + m', over all of them.
#[derive(Clone, Copy, Debug)]
pub struct Change(u64);

impl Change {
    /// Nothing has changed.
    pub const NONE: Self = Self(0);

    /// And one word.
    #[must_use]
    #[inline]
    pub const fn word(self, old: u16, new: u16) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// And whole words: `old` and `new` have the same even length and stand at an even place.
    #[must_use]
    #[inline]
    pub fn words(self, old: &[u8], new: &[u8]) -> Self {
        (0..old.len()).step_by(2).fold(self, |change, at| change.word(be16(old, at), be16(new, at)))
    }

    /// What `checksum` becomes.
    #[must_use]
    #[inline]
    pub const fn checksum(self, checksum: u16) -> u16 {
        !self.sum(!checksum)
    }

    /// What a folded, not complemented `sum` becomes, such as a partial checksum.
    #[must_use]
    #[inline]
    pub const fn sum(self, sum: u16) -> u16 {
        fold(sum as u64 + self.0)
    }
}

/// Reduces a sum of 16-bit words to one word with end-around carry; zero stays zero, nothing else becomes it.
#[inline]
const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

#[inline]
const fn halves(word: u32) -> u64 {
    (word >> 16) as u64 + (word & 0xffff) as u64
}

/// The sum of `data` in native byte order, as a 64-bit number congruent to it modulo 0xffff. The last odd byte counts
/// as the first of its word.
#[inline]
fn native_sum(data: &[u8]) -> u64 {
    let (steps, rest) = data.as_chunks::<STEP>();
    if steps.is_empty() { tail_sum(rest) } else { steps_sum(steps) + tail_sum(rest) }
}

/// The same for whole steps.
///
/// Each lane keeps two sums: of the 64-bit words, modulo 2^64, and of their high halves, exactly. The sum of the low
/// halves follows from the two, which saves the masking that summing both halves would need.
///
/// The compiler vectorises this loop, but neither one over zipped iterators nor this one when it is inlined into a
/// caller that knows more about `steps`; either costs a factor of three to ten.
#[inline(never)]
fn steps_sum(steps: &[[u8; STEP]]) -> u64 {
    let mut whole = [0u64; LANES];
    let mut high = [0u64; LANES];
    for step in steps {
        let (words, _) = step.as_chunks::<8>();
        for lane in 0..LANES {
            let word = u64::from_ne_bytes(words[lane]);
            whole[lane] = whole[lane].wrapping_add(word);
            high[lane] += word >> 32;
        }
    }
    let whole_sum = whole.iter().fold(0u64, |sum, &lane| sum.wrapping_add(lane));
    let high_sum: u64 = high.iter().sum();
    let low_sum = whole_sum.wrapping_sub(high_sum << 32);
    low_sum + high_sum
}

/// The same for fewer than [`STEP`] bytes.
#[inline]
fn tail_sum(data: &[u8]) -> u64 {
    let mut sum = 0;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        sum += u64::from(u32::from_ne_bytes(array(word, 0)));
    }
    let rest = words.remainder();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum + u64::from(u32::from_ne_bytes(last))
}
