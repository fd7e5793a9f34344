//! A bound on what one speaker can make everybody else receive.
//!
//! A [`Rate`] whose state is one atomic. Only broadcast, unknown-unicast and multicast frames ask; a super-frame is one
//! frame.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::{Moment, Rate};

/// How much of a second's allowance may come at once: 100 ms of it lets a burst of ARP at a container's start through.
const BURST: Duration = Duration::from_millis(100);

/// A VTEP speaks for many ports, so its allowance is this many times a port's.
pub const VTEP_SHARE: u32 = 16;

/// A limit in frames per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StormLimit {
    /// Thousand frames a second; zero: no limit.
    kpps: u32,
}

impl StormLimit {
    /// `kpps` thousand frames a second; zero is no limit.
    #[must_use]
    pub const fn kpps(kpps: u32) -> Self {
        Self { kpps }
    }
}

/// The state of one speaker.
#[derive(Debug, Default)]
pub struct Storm {
    state: AtomicU64,
}

impl Storm {
    /// Whether one more BUM frame conforms to `limit` at `now`. Safe to call from several workers.
    pub fn admit(&self, limit: StormLimit, now: Moment) -> bool {
        // Divided here, where few frames come by, rather than where the limit is carried along with every frame.
        let Some(interval) = 1_000_000u64.checked_div(limit.kpps.into()) else { return true };
        let rate = Rate::new(Duration::from_nanos(interval), BURST);
        let admit = |state| rate.admit(Moment::from_nanos(state), now).map(Moment::as_nanos);
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offers `per_second` frames evenly for ten seconds; returns how many pass.
    fn offer(limit: StormLimit, per_second: u64) -> u64 {
        let storm = Storm::default();
        let step = 1_000_000_000 / per_second;
        (0..10 * per_second).filter(|i| storm.admit(limit, Moment::from_nanos(i * step))).count() as u64
    }

    #[test]
    fn the_limit_is_held_within_five_percent() {
        let passed = offer(StormLimit::kpps(10), 100_000);
        assert!((95_000..=105_000).contains(&passed), "{passed}");
    }

    #[test]
    fn below_the_limit_nothing_is_lost_and_zero_is_no_limit() {
        assert_eq!(offer(StormLimit::kpps(10), 9_000), 90_000);
        assert_eq!(offer(StormLimit::kpps(0), 100_000), 1_000_000);
    }

    #[test]
    fn a_burst_of_a_tenth_of_a_second_passes_at_once() {
        let storm = Storm::default();
        let passed = (0..5_000).filter(|_| storm.admit(StormLimit::kpps(10), Moment::from_secs(7))).count();
        assert_eq!(passed, 1_001);
    }
}
