//! Whether a worker that has nothing to do looks again before it sleeps.
//!
//! To wake a thread costs more than to switch a small frame, so somebody who waits for an answer to each small message
//! waits mostly for wake-ups. A worker that has seen [`SETTLED`] light rounds in a row therefore asks for events for up
//! to [`WINDOW`] without sleeping, and yields its core between two questions, so that whoever has real work goes first.
//! A heavy round means bulk traffic, which fills its own queues: then sleeping is cheaper. A worker that has looked
//! [`MISSES_MAX`] times in a row for nothing does not look for the next [`PENANCE`] light rounds: on a link where answers
//! take longer than the window, looking is waste. An idle worker sleeps.

use std::time::Duration;

/// How long a worker looks for events before it sleeps.
pub(super) const WINDOW: Duration = Duration::from_micros(50);
/// A round that brought at most this many bytes is light: two frames of an Ethernet MTU, with room.
const LIGHT: usize = 4_096;
/// Light rounds in a row from which on it is worth looking.
const SETTLED: u32 = 4;
/// Looks in vain in a row, after which it is not worth it.
const MISSES_MAX: u32 = 16;
/// Light rounds without a look after that.
const PENANCE: u32 = 64;

/// Whether a round that brought `bytes` is one of bulk traffic.
pub(super) const fn is_heavy(bytes: usize) -> bool {
    bytes > LIGHT
}

/// What the last rounds were like.
#[derive(Debug, Default)]
pub(super) struct Pace {
    light: u32,
    misses: u32,
    penance: u32,
}

impl Pace {
    /// A round has brought `bytes`, one at least.
    pub(super) fn round(&mut self, bytes: usize) {
        if is_heavy(bytes) {
            self.light = 0;
        } else {
            self.light = self.light.saturating_add(1);
            self.penance = self.penance.saturating_sub(1);
        }
    }

    /// Whether to look before sleeping.
    pub(super) const fn looks(&self) -> bool {
        self.light >= SETTLED && self.penance == 0
    }

    /// What came of looking.
    pub(super) fn looked(&mut self, found: bool) {
        self.misses = if found { 0 } else { self.misses + 1 };
        if self.misses >= MISSES_MAX {
            (self.misses, self.penance) = (0, PENANCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled() -> Pace {
        let mut pace = Pace::default();
        (0..SETTLED).for_each(|_| pace.round(100));
        pace
    }

    #[test]
    fn a_few_light_rounds_in_a_row_make_it_worth_looking() {
        let mut pace = Pace::default();
        for _ in 1..SETTLED {
            pace.round(LIGHT);
            assert!(!pace.looks());
        }
        pace.round(1);
        assert!(pace.looks());
    }

    #[test]
    fn bulk_traffic_sleeps() {
        let mut pace = settled();
        pace.round(LIGHT + 1);
        assert!(!pace.looks());
        pace.round(100);
        assert!(!pace.looks(), "an acknowledgement between two super-frames changes nothing");
    }

    #[test]
    fn looking_in_vain_is_given_up_for_a_while_and_tried_again() {
        let mut pace = settled();
        (0..MISSES_MAX).for_each(|_| pace.looked(false));
        for _ in 0..PENANCE {
            assert!(!pace.looks());
            pace.round(100);
        }
        assert!(pace.looks());
    }

    #[test]
    fn one_hit_forgives_the_misses_before_it() {
        let mut pace = settled();
        for _ in 0..4 {
            (1..MISSES_MAX).for_each(|_| pace.looked(false));
            pace.looked(true);
        }
        assert!(pace.looks());
    }
}
