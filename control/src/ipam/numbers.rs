//! A set of numbers that finds its first gap in a fixed number of steps.
//!
//! ```text
//! level 2                    [ 64 bits ]                     bit set: the word below is full
//! level 1      [ 64 bits ]   [ 64 bits ]  ...                bit set: the word below is full
//! level 0  [ 64 bits ] [ 64 bits ] [ 64 bits ]  ...          bit set: the number is in the set
//! ```
//!
//! A search climbs from its starting point until some word has a gap at or after it, and goes down again into the first
//! one. Both ways are as long as the tree is high: one level for each 6 bits of the numbers. Words without a bit are not
//! kept, so that memory follows the numbers in the set (sequential ones share their words) and a /64 costs nothing
//! until it is used.

use std::collections::HashMap;

/// The bits of a number that one level decides: a word has 64.
const LEVEL_BITS: u32 = 6;

/// A set of numbers of at most `bits` bits.
#[derive(Clone, Debug)]
pub(super) struct NumberSet {
    /// Level and index of a word; a word that is missing is zero.
    words: HashMap<(u32, u128), u64>,
    height: u32,
}

impl NumberSet {
    /// The empty set of numbers below `2^bits`; `bits` is at most 126.
    pub(super) fn new(bits: u32) -> Self {
        Self { words: HashMap::new(), height: bits.div_ceil(LEVEL_BITS).max(1) }
    }

    /// Adds `n`; false if it was there.
    pub(super) fn insert(&mut self, n: u128) -> bool {
        let mut at = n;
        for level in 0..self.height {
            let (index, bit) = place(at);
            let word = self.words.entry((level, index)).or_default();
            count_step();
            if *word & bit != 0 {
                return false;
            }
            *word |= bit;
            if *word != u64::MAX {
                break;
            }
            at = index;
        }
        true
    }

    /// Removes `n`; false if it was not there.
    pub(super) fn remove(&mut self, n: u128) -> bool {
        let mut at = n;
        for level in 0..self.height {
            let (index, bit) = place(at);
            count_step();
            let Some(word) = self.words.get_mut(&(level, index)).filter(|word| **word & bit != 0) else {
                return false;
            };
            let was_full = *word == u64::MAX;
            *word &= !bit;
            if *word == 0 {
                self.words.remove(&(level, index));
            }
            if !was_full {
                break;
            }
            at = index;
        }
        true
    }

    /// The smallest number from `from` up that is not in the set. It may have more bits than the set's numbers: the
    /// caller knows where they end.
    pub(super) fn first_gap(&self, from: u128) -> u128 {
        let mut at = from;
        for level in 0..self.height {
            let (index, bit) = place(at);
            let gaps = !self.word(level, index) & !(bit - 1);
            if gaps != 0 {
                return self.descend(level, first_bit(index, gaps));
            }
            at = index + 1;
        }
        at << (LEVEL_BITS * self.height)
    }

    /// The first number that is not in the set among those that `at`, a gap of `level`, stands for.
    fn descend(&self, level: u32, mut at: u128) -> u128 {
        for below in (0..level).rev() {
            at = first_bit(at, !self.word(below, at));
        }
        at
    }

    fn word(&self, level: u32, index: u128) -> u64 {
        count_step();
        self.words.get(&(level, index)).copied().unwrap_or(0)
    }
}

/// The word that `at` lies in, and its bit there.
fn place(at: u128) -> (u128, u64) {
    (at >> LEVEL_BITS, 1 << (at & 63))
}

/// The number of the first bit of `bits` that is set, in the word `index`.
fn first_bit(index: u128, bits: u64) -> u128 {
    (index << LEVEL_BITS) | u128::from(bits.trailing_zeros())
}

#[cfg(not(test))]
fn count_step() {}

#[cfg(test)]
fn count_step() {
    STEPS.set(STEPS.get() + 1);
}

#[cfg(test)]
thread_local! {
    /// Words that this thread has looked at.
    static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// How many words `work` looks at.
#[cfg(test)]
pub(super) fn steps_of<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = STEPS.get();
    let result = work();
    (result, STEPS.get() - before)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Steps of adding and removing numbers, dense enough to fill whole words.
    fn steps() -> impl Strategy<Value = Vec<(bool, u128, u128)>> {
        prop::collection::vec((prop::bool::weighted(0.7), 0u128..4096, 1u128..200), 0..60)
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_plain_set(steps in steps(), from in 0u128..4096) {
            let (mut set, mut model) = (NumberSet::new(12), BTreeSet::new());
            for (add, first, count) in steps {
                for n in (first..first + count).filter(|&n| n < 4096) {
                    if add {
                        prop_assert_eq!(set.insert(n), model.insert(n));
                    } else {
                        prop_assert_eq!(set.remove(n), model.remove(&n));
                    }
                }
                let gap = (from..4096).find(|n| !model.contains(n));
                prop_assert_eq!(Some(set.first_gap(from)).filter(|&n| n < 4096), gap);
            }
            model.iter().for_each(|&n| assert!(set.remove(n)));
            prop_assert!(set.words.is_empty(), "an empty set keeps no words");
        }
    }

    #[test]
    fn both_ends_of_the_longest_numbers() {
        let mut set = NumberSet::new(126);
        let last = (1 << 126) - 1;
        assert_eq!((set.first_gap(0), set.first_gap(last)), (0, last));
        assert!(set.insert(0) && set.insert(last) && !set.insert(last));
        assert_eq!(set.first_gap(0), 1);
        assert_eq!(set.first_gap(last), 1 << 126, "beyond the end");
        assert!(set.remove(last) && !set.remove(last));
    }

    #[test]
    fn a_full_set_points_beyond_its_end() {
        let mut set = NumberSet::new(7);
        assert!((0..128).all(|n| set.insert(n)));
        assert_eq!(set.first_gap(0), 128);
    }
}
