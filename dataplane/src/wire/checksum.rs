//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! The sum of 16-bit words does not depend on byte order until it is folded (RFC 1071 section 2 (B)), so long inputs
//! are summed as native 64-bit words in independent lanes, which the compiler turns into vector additions.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::array;

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
    !fold(!old_checksum as u64 + !old_word as u64 + new_word as u64)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 section 4.1, word by word.
    fn naive(data: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in data.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum >> 16) + (sum & 0xffff);
        }
        sum as u16
    }

    #[test]
    fn rfc_1071_example() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    #[test]
    fn rfc_1624_section_4_example() {
        // The case in which RFC 1141 gives 0xffff instead of 0.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn all_ones_do_not_overflow_a_super_frame() {
        assert_eq!(sum(&[0xff; 65_536]), 0xffff);
        assert_eq!(sum(&[0; 65_536]), 0);
        assert_eq!(fold(u64::MAX), 0xffff);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn agrees_with_the_definition(data in proptest::collection::vec(any::<u8>(), 0..700)) {
            prop_assert_eq!(sum(&data), u64::from(naive(&data)));
        }

        #[test]
        fn composes_at_any_cut(
            data in proptest::collection::vec(any::<u8>(), 0..300),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(data.len() + 1)).collect();
            cuts.extend([0, data.len()]);
            cuts.sort_unstable();
            let parts = cuts.windows(2).fold(Sum::new(), |sum, ends| sum.add(&data[ends[0]..ends[1]]));
            prop_assert_eq!(parts.fold(), naive(&data));
        }

        #[test]
        fn update_is_recomputation(mut data in proptest::collection::vec(1u8.., 2..64), at: prop::sample::Index, new: u16) {
            data.truncate(data.len() & !1);
            let at = at.index(data.len() / 2) * 2;
            let before = checksum(&data);
            let old = u16::from_be_bytes([data[at], data[at + 1]]);
            data[at..at + 2].copy_from_slice(&new.to_be_bytes());
            // All-zero data has a checksum that no update can reach (RFC 1624 section 3).
            prop_assume!(data.iter().any(|&byte| byte != 0));
            prop_assert_eq!(update(before, old, new), checksum(&data));
        }

        #[test]
        fn pseudo_headers_are_their_bytes(source: [u8; 16], destination: [u8; 16], protocol: u8, len: u16) {
            let mut bytes = [&source[..], &destination[..]].concat();
            bytes.extend([0, 0]);
            bytes.extend(len.to_be_bytes());
            bytes.extend([0, 0, 0, protocol]);
            let v6 = Sum::pseudo_v6(source.into(), destination.into(), protocol, len.into());
            prop_assert_eq!(v6.fold(), naive(&bytes));

            let (source, destination): ([u8; 4], [u8; 4]) = (array(&source, 0), array(&destination, 0));
            let bytes = [&source[..], &destination, &[0, protocol], &len.to_be_bytes()].concat();
            let v4 = Sum::pseudo_v4(source.into(), destination.into(), protocol, len.into());
            prop_assert_eq!(v4.fold(), naive(&bytes));
            prop_assert_eq!(v4.add_u16(7).finish(), !naive(&[&bytes[..], &[0, 7]].concat()));
        }
    }
}
