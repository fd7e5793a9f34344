//! A set of numbers kept as ranges: finding the first free one costs the logarithm of the number of gaps, whatever the
//! size of the subnet.

use std::collections::BTreeMap;

/// A set of `u128`. Neighbouring numbers merge into one range, so `last + 1` of a range is never in the set.
#[derive(Clone, Debug, Default)]
pub(super) struct RangeSet {
    /// First of a range -> its last, both in the set.
    ranges: BTreeMap<u128, u128>,
}

impl RangeSet {
    /// Whether `n` is in the set.
    pub(super) fn contains(&self, n: u128) -> bool {
        self.range_at(n).is_some()
    }

    /// Adds `n`; false if it was there.
    pub(super) fn insert(&mut self, n: u128) -> bool {
        if self.contains(n) {
            return false;
        }
        let below = n.checked_sub(1).and_then(|below| self.range_at(below)).map(|(first, _)| first);
        let above = n.checked_add(1).and_then(|above| self.ranges.remove(&above));
        self.ranges.insert(below.unwrap_or(n), above.unwrap_or(n));
        true
    }

    /// Removes `n`; false if it was not there.
    pub(super) fn remove(&mut self, n: u128) -> bool {
        let Some((first, last)) = self.range_at(n) else { return false };
        self.ranges.remove(&first);
        if first < n {
            self.ranges.insert(first, n - 1);
        }
        if n < last {
            self.ranges.insert(n + 1, last);
        }
        true
    }

    /// The smallest number in `low..=high` that is not in the set.
    pub(super) fn first_free(&self, low: u128, high: u128) -> Option<u128> {
        let candidate = match self.range_at(low) {
            None => low,
            Some((_, last)) => last.checked_add(1)?,
        };
        (candidate <= high).then_some(candidate)
    }

    /// The range that `n` lies in.
    fn range_at(&self, n: u128) -> Option<(u128, u128)> {
        let (&first, &last) = self.ranges.range(..=n).next_back()?;
        (n <= last).then_some((first, last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_behaves_like_a_plain_set(steps in prop::collection::vec((any::<bool>(), 0u128..40), 0..200), low in 0u128..40) {
            let (mut set, mut model) = (RangeSet::default(), BTreeSet::new());
            for (add, n) in steps {
                if add {
                    prop_assert_eq!(set.insert(n), model.insert(n));
                } else {
                    prop_assert_eq!(set.remove(n), model.remove(&n));
                }
                prop_assert_eq!(set.first_free(low, 45), (low..=45).find(|n| !model.contains(n)));
            }
            for n in 0..45 {
                prop_assert_eq!(set.contains(n), model.contains(&n));
            }
            let touching = set.ranges.iter().zip(set.ranges.iter().skip(1)).any(|((_, a), (b, _))| a + 1 == *b);
            prop_assert!(!touching, "ranges must merge: {:?}", set.ranges);
        }
    }

    #[test]
    fn both_ends_of_the_number_line() {
        let mut set = RangeSet::default();
        assert!(set.insert(0) && set.insert(u128::MAX));
        assert_eq!(set.first_free(u128::MAX, u128::MAX), None);
        assert_eq!(set.first_free(0, 5), Some(1));
        assert!(set.remove(u128::MAX) && set.remove(0));
        assert_eq!(set.first_free(u128::MAX, u128::MAX), Some(u128::MAX));
    }
}
