//! How long the engine's calls take, as they are counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The upper bounds of the buckets, in seconds; what takes longer is in one bucket more.
pub const BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0];

/// How long calls of one name took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// All of them together, in seconds.
    pub sum: f64,
    /// How many fell into each bucket, those beyond the last of [`BUCKETS`] at the end.
    pub buckets: [u64; BUCKETS.len() + 1],
}

/// How long the engine's calls took, by name. There are as many names as the protocol has.
#[derive(Debug, Default)]
pub struct Calls(Mutex<BTreeMap<&'static str, Timing>>);

impl Calls {
    /// Counts one call.
    pub fn record(&self, name: &'static str, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        let mut calls = self.calls();
        let timing = calls.entry(name).or_default();
        timing.sum += seconds;
        timing.buckets[bucket] += 1;
    }

    /// All that were counted.
    #[must_use]
    pub fn read(&self) -> BTreeMap<&'static str, Timing> {
        self.calls().clone()
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<&'static str, Timing>> {
        // Counters are right whatever happened to who counted.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timing {
    /// How many calls that were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_falls_into_the_first_bucket_that_holds_it() {
        let calls = Calls::default();
        for took in [0, 1, 2, 3, 30, 31, 20_000, 20_001] {
            calls.record("NetworkDriver.Join", Duration::from_millis(took));
        }
        calls.record("NetworkDriver.Leave", Duration::ZERO);
        let read = calls.read();
        let join = read["NetworkDriver.Join"];
        assert_eq!((join.buckets, join.count()), ([2, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1], 8));
        assert!((join.sum - 40.068).abs() < 1e-9, "{}", join.sum);
        assert_eq!(read.len(), 2);
    }
}
