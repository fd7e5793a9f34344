//! Whether a worker stays on its core.
//!
//! Whoever sends wakes the worker, and the scheduler likes to bring the one who is woken to the core of the one who wakes.
//! Under bulk traffic that is the wrong place: sender and worker both have much to do, share one core, and leave another
//! one idle. So a worker that has seen [`BULK`] heavy rounds keeps the core that it is on, and the scheduler places the
//! others around it; best beside it is the receiver, who finds the bytes in the cache.
//!
//! It lets go after [`LIGHT`] light rounds in a row. It also lets go when it has waited for more than two fifths of the
//! time in which it could have run: somebody else is bound to that core, another worker perhaps, and the scheduler is to
//! find a better one. It does not keep one then for at least [`PAUSE`], twice as long after each such time up to
//! [`PAUSE_MAX`]; so where there are more who want to run than cores, it hardly ever keeps one.

use std::time::Duration;

use crate::io::cpu::{Kept, Share};
use crate::time::Moment;

/// Heavy rounds before a core is kept: some milliseconds.
const BULK: u32 = 64;
/// Light rounds in a row that end it.
const LIGHT: u32 = 64;
/// How often it is looked at how long the worker waits.
const CHECK: Duration = Duration::from_millis(50);
/// How long a core is not kept after the worker had to wait too long for it.
const PAUSE: Duration = Duration::from_millis(20);
/// How long at most.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The calling thread's place.
#[derive(Debug, Default)]
pub(super) struct Seat {
    habit: Habit,
    kept: Option<Kept>,
}

impl Seat {
    /// A round of the calling thread has brought something, much of it or little.
    pub(super) fn after(&mut self, heavy: bool, now: Moment) {
        match self.habit.round(heavy, now, Share::now) {
            Some(Move::Keep) => self.kept = Kept::here(),
            Some(Move::Release) => self.kept.take().into_iter().for_each(Kept::release),
            None => {}
        }
    }
}

/// What a worker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// Stay on the core on which it is.
    Keep,
    /// Go where the scheduler likes.
    Release,
}

/// What the last rounds were like.
#[derive(Debug)]
struct Habit {
    heavy: u32,
    light: u32,
    /// When it was looked last, and what the worker had had by then, while it keeps its core.
    kept: Option<(Moment, Share)>,
    not_before: Moment,
    pause: Duration,
}

impl Default for Habit {
    fn default() -> Self {
        Self { heavy: 0, light: 0, kept: None, not_before: Moment::ZERO, pause: PAUSE }
    }
}

impl Habit {
    /// A round has brought something, much of it or little. `share` tells what the worker has had of the cores; where that
    /// is not known, no core is kept.
    fn round(&mut self, heavy: bool, now: Moment, share: impl FnOnce() -> Option<Share>) -> Option<Move> {
        (self.heavy, self.light) = if heavy {
            (self.heavy.saturating_add(1), 0)
        } else {
            (self.heavy, self.light.saturating_add(1))
        };
        if self.light >= LIGHT {
            (self.heavy, self.pause) = (0, PAUSE);
            return self.kept.take().map(|_| Move::Release);
        }
        match self.kept {
            None if self.heavy < BULK || now < self.not_before => None,
            None => {
                // Asked again only after as many rounds if nobody can tell.
                self.heavy = 0;
                self.kept = share().map(|share| (now, share));
                self.kept.map(|_| Move::Keep)
            }
            Some((looked, _)) if now.since(looked) < CHECK => None,
            Some((_, before)) => self.look(before, now, share()),
        }
    }

    /// Whether to go on keeping the core.
    fn look(&mut self, before: Share, now: Moment, share: Option<Share>) -> Option<Move> {
        let crowded = share.is_none_or(|share| {
            let (run, wait) = (share.run.saturating_sub(before.run), share.wait.saturating_sub(before.wait));
            wait * 3 > run * 2
        });
        if crowded {
            (self.heavy, self.kept, self.not_before) = (0, None, now.after(self.pause));
            self.pause = (self.pause * 2).min(PAUSE_MAX);
            return Some(Move::Release);
        }
        self.pause = PAUSE;
        self.kept = share.map(|share| (now, share));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_micros(100);

    /// A worker whose waiting is `waits` per cent of the time.
    struct World {
        habit: Habit,
        now: Moment,
        share: Share,
        waits: u32,
    }

    impl World {
        fn new() -> Self {
            Self { habit: Habit::default(), now: Moment::from_secs(1), share: Share::default(), waits: 0 }
        }

        fn round(&mut self, heavy: bool) -> Option<Move> {
            self.now = self.now.after(STEP);
            self.share.run += STEP * (100 - self.waits) / 100;
            self.share.wait += STEP * self.waits / 100;
            let share = self.share;
            self.habit.round(heavy, self.now, || Some(share))
        }

        /// How long heavy rounds go on until something is to be done, and what.
        fn bulk(&mut self) -> (Duration, Move) {
            let start = self.now;
            let done = (0..1_000_000).find_map(|_| self.round(true)).expect("something happens");
            (self.now.since(start), done)
        }
    }

    #[test]
    fn bulk_keeps_its_core_until_traffic_is_light() {
        let mut world = World::new();
        for n in 1..BULK {
            assert_eq!(world.round(true), None, "{n}");
            assert_eq!(world.round(false), None, "acknowledgements in between change nothing");
        }
        assert_eq!(world.round(true), Some(Move::Keep));
        for n in 0..10_000 {
            assert_eq!(world.round(n % 3 == 0), None, "{n}");
        }
        assert_eq!(world.round(true), None);
        for n in 1..LIGHT {
            assert_eq!(world.round(false), None, "{n}");
        }
        assert_eq!(world.round(false), Some(Move::Release));
        assert_eq!(world.round(false), None, "once");
    }

    #[test]
    fn light_traffic_keeps_nothing() {
        let mut world = World::new();
        for n in 0..10_000 {
            assert_eq!(world.round(n % (LIGHT + 1) == 0), None, "{n}");
        }
    }

    #[test]
    fn a_crowded_core_is_left_for_longer_and_longer() {
        let mut world = World::new();
        world.waits = 50;
        let first = world.bulk();
        assert_eq!(first, (STEP * BULK, Move::Keep));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(world.bulk(), (CHECK, Move::Release));
            let (pause, done) = world.bulk();
            assert_eq!(done, Move::Keep);
            pauses.push(pause);
        }
        assert_eq!(pauses[..3], [PAUSE, PAUSE * 2, PAUSE * 4]);
        assert_eq!(pauses[6..], [PAUSE_MAX, PAUSE_MAX]);
        // A third of the time is what a receiver on the same core takes.
        world.waits = 33;
        (0..2_000).for_each(|_| assert_eq!(world.round(true), None));
        world.waits = 50;
        assert_eq!(world.bulk().1, Move::Release);
        assert_eq!(world.bulk(), (PAUSE, Move::Keep), "it has been well since");
    }

    #[test]
    fn where_nobody_tells_how_long_it_waits_no_core_is_kept() {
        let mut world = World::new();
        for n in 0..10_000 {
            world.now = world.now.after(STEP);
            assert_eq!(world.habit.round(true, world.now, || None), None, "{n}");
        }
    }
}
