//! What a bad wire does to the frames that go one way: it drops some, doubles some, and lets some be overtaken.
//!
//! Chance is a stream of numbers with a fixed beginning: the same frames meet the same fate on every run.

use crate::random::Random;

/// How bad the wire is. The three shares are thousandths of all frames and exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impairment {
    /// Frames that never arrive.
    pub drop: usize,
    /// Frames that arrive twice: at once, and after a wait like that of the next.
    pub duplicate: usize,
    /// Frames that wait until up to `depth` more have come.
    pub hold: usize,
    /// How many frames overtake one at most, and so how many are held back at a time; not 0.
    pub depth: usize,
}

impl Impairment {
    /// A good wire.
    pub const NONE: Self = Impairment { drop: 0, duplicate: 0, hold: 0, depth: 1 };

    /// Frames get lost; what arrives does so in order.
    pub const LOSS: Self = Impairment { drop: 20, ..Self::NONE };

    /// Everything at once.
    pub const DISORDER: Self = Impairment { drop: 10, duplicate: 10, hold: 40, depth: 6 };
}

/// What has been done to the frames that went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Frames that came.
    pub came: u64,
    /// Of those, frames that went no further.
    pub dropped: u64,
    /// Frames that went further twice.
    pub duplicated: u64,
    /// Frames, or second copies, that were held back until a later one that was not had gone first.
    pub overtaken: u64,
}

/// One way of the wire.
#[derive(Debug)]
pub struct Lane {
    /// How bad it is.
    pub impairment: Impairment,
    /// What it has done so far.
    pub fates: Fates,
    random: Random,
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    frame: Vec<u8>,
    /// How many more frames come before this one goes.
    wait: usize,
    overtaken: bool,
}

impl Lane {
    /// A lane with a chance of its own for each seed.
    pub fn new(impairment: Impairment, seed: u64) -> Self {
        Lane { impairment, fates: Fates::default(), random: Random::new(seed), held: Vec::new() }
    }

    /// Takes the next frame and gives `out` what leaves now, in order.
    pub fn take(&mut self, frame: Vec<u8>, out: &mut Vec<Vec<u8>>) {
        let Impairment { drop, duplicate, hold, depth } = self.impairment;
        let roll = self.random.below(1_000);
        self.fates.came += 1;
        self.held.iter_mut().for_each(|held| held.wait -= 1);
        if roll < drop {
            self.fates.dropped += 1;
        } else if roll < drop + duplicate {
            self.fates.duplicated += 1;
            self.pass(frame.clone(), out);
            self.hold(frame, depth);
        } else if roll < drop + duplicate + hold {
            self.hold(frame, depth);
        } else {
            self.pass(frame, out);
        }
        self.let_go(|held| held.wait == 0, out);
    }

    /// How many frames are held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Gives `out` what is held back: nothing comes that could overtake it.
    pub fn release(&mut self, out: &mut Vec<Vec<u8>>) {
        self.let_go(|_| true, out);
    }

    fn pass(&mut self, frame: Vec<u8>, out: &mut Vec<Vec<u8>>) {
        self.held.iter_mut().for_each(|held| held.overtaken = true);
        out.push(frame);
    }

    fn hold(&mut self, frame: Vec<u8>, depth: usize) {
        let wait = 1 + self.random.below(depth);
        self.held.push(Held { frame, wait, overtaken: false });
    }

    fn let_go(&mut self, whom: impl Fn(&Held) -> bool, out: &mut Vec<Vec<u8>>) {
        for held in self.held.extract_if(.., |held| whom(held)) {
            self.fates.overtaken += u64::from(held.overtaken);
            out.push(held.frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn through(impairment: Impairment, count: u8) -> (Vec<u8>, Fates) {
        let (mut lane, mut out) = (Lane::new(impairment, 7), Vec::new());
        (0..count).for_each(|number| lane.take(vec![number], &mut out));
        lane.release(&mut out);
        assert_eq!(lane.held(), 0);
        (out.concat(), lane.fates)
    }

    #[test]
    fn a_good_wire_changes_nothing() {
        let (out, fates) = through(Impairment::NONE, 200);
        assert_eq!(out, (0..200).collect::<Vec<u8>>());
        assert_eq!(fates, Fates { came: 200, ..Fates::default() });
    }

    #[test]
    fn loss_keeps_the_order() {
        let (out, fates) = through(Impairment { drop: 300, ..Impairment::NONE }, 200);
        assert!(out.is_sorted_by(|a, b| a < b));
        assert!(fates.dropped > 30);
        assert_eq!(out.len() as u64, 200 - fates.dropped);
    }

    #[test]
    fn disorder_is_bounded_and_counted() {
        let depth = 4;
        let (out, fates) = through(Impairment { drop: 0, duplicate: 100, hold: 200, depth }, 200);
        assert_eq!(out.len() as u64, 200 + fates.duplicated);
        assert!(fates.duplicated > 5 && fates.overtaken > fates.duplicated, "{fates:?}");
        for (place, number) in out.iter().enumerate() {
            let later: BTreeSet<_> = out[..place].iter().filter(|other| *other > number).collect();
            assert!(later.len() <= depth, "{number} was overtaken by {later:?}");
        }
    }
}
