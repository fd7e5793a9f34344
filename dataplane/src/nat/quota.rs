//! What one endpoint has, and may have.
//!
//! An endpoint at its limit is refused what is new and keeps what it has; nobody else notices. What it has *closed* is
//! given up first, oldest first. Half-open sessions, which strangers begin, are not counted to it: each published port
//! (and all other ports of an endpoint together) may have [`super::Limits::half_open`] of them, where the newest takes
//! the place of the oldest.

use super::timers::Queue;
use crate::time::{Moment, Rate};

/// Sessions of an endpoint that has few: the last eighth of the table is for such.
pub const FEW: u32 = 1_024;

/// An endpoint that has a mapping.
#[derive(Debug, Default)]
pub(super) struct Owner {
    /// Sessions, but for half-open ones.
    pub(super) sessions: u32,
    /// Dynamic mappings, by protocol.
    pub(super) ports: [u32; 3],
    /// Mappings of any kind; without one there is no owner.
    pub(super) mappings: u32,
    /// The closed sessions.
    pub(super) closed: Queue,
    /// The half-open sessions of dynamic mappings.
    pub(super) half_open: Queue,
    /// The state of [`Rate`].
    rate: Moment,
}

impl Owner {
    /// Whether it may begin one more session at `now`, of `limit` a second and at once; 0 is no limit.
    pub(super) fn admit(&mut self, limit: u32, now: Moment) -> bool {
        if limit == 0 {
            return true;
        }
        let next = Rate::per_second(limit, limit).admit(self.rate, now);
        self.rate = next.unwrap_or(self.rate);
        next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c5_a_second_of_sessions_may_come_at_once_and_then_at_the_rate() {
        let mut owner = Owner::default();
        let at = |millis: u64| Moment::from_nanos(7_000_000_000 + millis * 1_000_000);
        assert_eq!((0..30).filter(|_| owner.admit(10, at(0))).count(), 10);
        assert_eq!((0..30).filter(|_| owner.admit(10, at(100))).count(), 1);
        assert_eq!((0..30).filter(|_| owner.admit(10, at(1_100))).count(), 10);
        assert_eq!((0..30).filter(|_| owner.admit(0, at(1_100))).count(), 30, "0 is no limit");
    }
}
