//! Time as an argument: the pure rooms never read a clock, they are told what time it is.

use std::time::Duration;

/// A point on the monotonic clock, in nanoseconds since an origin that the edge chooses once (process start).
///
/// An integer rather than `std::time::Instant`, because tables keep moments in atomics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The end of the clock, which is never reached.
    pub const END: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `secs` seconds after the origin.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1_000_000_000)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `by` later (saturating at the end of the clock, 584 years after the origin).
    #[must_use]
    pub const fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by.as_nanos() as u64))
    }
}

/// A bound on how often something happens: the generic cell rate algorithm (ITU-T I.371), a token bucket whose whole
/// state is one moment, at which the next event would conform if events came exactly at the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds from event to event.
    interval: u64,
    /// Nanoseconds by which events may come early.
    burst: u64,
}

impl Rate {
    /// One event per `interval`, and those of `burst` at once besides.
    #[must_use]
    pub const fn new(interval: Duration, burst: Duration) -> Self {
        Self { interval: interval.as_nanos() as u64, burst: burst.as_nanos() as u64 }
    }

    /// `events` a second, which must not be 0, of which `burst` may come at once.
    #[must_use]
    pub const fn per_second(events: u32, burst: u32) -> Self {
        let interval = 1_000_000_000 / events as u64;
        Self { interval, burst: interval * (burst as u64).saturating_sub(1) }
    }

    /// The state after one more event at `now`; `None` when it does not conform. The state before the first event is
    /// [`Moment::ZERO`]; one that is not in the future is as good.
    #[must_use]
    #[inline]
    pub const fn admit(self, state: Moment, now: Moment) -> Option<Moment> {
        let start = if state.0 > now.0 { state.0 } else { now.0 };
        if start - now.0 <= self.burst { Some(Moment(start.saturating_add(self.interval))) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a hundred events at `now` conform after `state`.
    fn at_once(rate: Rate, mut state: Moment, now: Moment) -> usize {
        let mut admit = || rate.admit(state, now).map(|next| state = next).is_some();
        (0..100).filter(|_| admit()).count()
    }

    #[test]
    fn a_burst_conforms_and_then_one_for_each_interval() {
        let rate = Rate::per_second(10, 5);
        assert_eq!(at_once(rate, Moment::ZERO, Moment::from_secs(9)), 5);
        assert_eq!(
            at_once(rate, Moment::from_secs(9), Moment::from_secs(9)),
            5,
            "a state of now is as good as new"
        );
        let spent = Moment::from_nanos(9_500_000_000);
        assert_eq!(at_once(rate, spent, Moment::from_secs(9)), 0);
        assert_eq!(at_once(rate, spent, Moment::from_nanos(9_100_000_000)), 1);
        assert_eq!(at_once(Rate::per_second(1, 1), Moment::ZERO, Moment::from_secs(9)), 1);
        assert_eq!(rate.admit(Moment::ZERO, Moment::END), Some(Moment::END), "the clock saturates");
    }
}
