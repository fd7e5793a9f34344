//! How long calls took, in milliseconds.

use std::time::Duration;

use serde::Serialize;

use super::stats::percentile;

/// What most calls took, and the slowest.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Quantiles {
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Quantiles {
    /// Of at least one time.
    pub(crate) fn of(times: &[Duration]) -> Self {
        let mut nanos: Vec<u64> = times.iter().map(|time| time.as_nanos() as u64).collect();
        nanos.sort_unstable();
        let ms = |percent| percentile(&nanos, percent) as f64 / 1e6;
        Self { p50_ms: ms(50.0), p99_ms: ms(99.0), max_ms: ms(100.0) }
    }

    /// A line of a table.
    pub(crate) fn line(&self, what: &str) -> String {
        let Self { p50_ms, p99_ms, max_ms } = self;
        format!("{what:<10} p50 {p50_ms:>7.2} ms   p99 {p99_ms:>7.2} ms   max {max_ms:>7.2} ms\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_times() {
        let times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let q = Quantiles::of(&times);
        assert_eq!((q.p50_ms, q.p99_ms, q.max_ms), (100.0, 198.0, 200.0));
    }
}
