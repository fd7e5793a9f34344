//! The MACs of endpoints behind other VTEPs, as the gateway has asked for them.
//!
//! ```text
//!   resolve --> asking --(answer)--> known --(300 s without an answer)--> gone
//!                  |                   |
//!                  +- three questions  +- after 240 s, a use asks the station again
//!                     unanswered: gone
//! ```
//!
//! # Limits, and what happens there
//!
//! - A target is asked for at most once a second (A-4, RFC 1122 section 2.3.2.1), [`QUESTIONS`] times.
//! - One packet waits for each target, the latest; the one before it is dropped.
//! - Targets asked for: [`ASKING_PER_PORT`] for the packets of one port, [`ASKING_PER_SEGMENT`] on one segment,
//!   [`ASKING_MAX`] in all; beyond that, and so for most of a scan, a packet is refused.
//! - Targets known or asked for: [`SEGMENT_MAX`] on one segment, [`NEIGHBORS_MAX`] in all; beyond that a new target is
//!   refused until an old one is given up. Nothing is evicted early.
//! - Nobody becomes known by speaking up: only who was asked for is entered, while what is known is corrected by
//!   whatever its owner says (A-2).

use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{is_one, question};
use crate::gateway::GATEWAY_MAC;
use crate::tables::{PortId, SegmentId};
use crate::time::Moment;
use crate::wire::MacAddr;

#[cfg(test)]
mod tests;
mod types;

pub use types::{Held, Polled, Question, Resolved, Sizes, Target, Waiting};

/// How long a neighbour is known after it was last heard.
pub const AGEING: Duration = Duration::from_secs(300);
/// When a neighbour that is in use is asked again.
pub const REFRESH: Duration = Duration::from_secs(240);
/// The time between two questions for one target.
pub const QUESTION_INTERVAL: Duration = Duration::from_secs(1);
/// Questions without an answer before a target is given up.
pub const QUESTIONS: u8 = 3;
/// Targets asked for in all, and so packets that wait.
pub const ASKING_MAX: usize = 256;
/// Targets asked for on one segment.
pub const ASKING_PER_SEGMENT: usize = 128;
/// Targets asked for on behalf of one port.
pub const ASKING_PER_PORT: usize = 32;
/// Targets known or asked for, in all.
pub const NEIGHBORS_MAX: usize = 16_384;
/// Targets known or asked for on one segment.
pub const SEGMENT_MAX: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct Known {
    mac: MacAddr,
    heard: Moment,
    asked: Moment,
}

#[derive(Clone, Debug)]
struct Asking {
    asked: Moment,
    questions: u8,
    held: Held,
}

/// The table.
#[derive(Clone, Debug)]
pub struct Neighbors {
    router: MacAddr,
    known: HashMap<Target, Known, FixedState>,
    asking: HashMap<Target, Asking, FixedState>,
    /// Targets known or asked for on each segment that has any.
    shares: HashMap<SegmentId, usize, FixedState>,
    /// When to look for neighbours that are too old, if there is no room; the search is long.
    sweep: Moment,
}

impl Neighbors {
    /// An empty table of the node that speaks from `router`; `seed` is unpredictable to endpoints.
    #[must_use]
    pub fn new(router: MacAddr, seed: u64) -> Self {
        let state = FixedState::with_seed(seed);
        let (known, asking) = (HashMap::with_hasher(state.clone()), HashMap::with_hasher(state.clone()));
        Self { router, known, asking, shares: HashMap::with_hasher(state), sweep: Moment::ZERO }
    }

    /// The MAC of `target`; if that is not known, keeps `packet` until it is.
    pub fn resolve(&mut self, target: Target, packet: Waiting<'_>, now: Moment) -> Resolved {
        if let Some(known) = self.known.get_mut(&target)
            && now.since(known.heard) < AGEING
        {
            let due = now.since(known.heard) >= REFRESH && now.since(known.asked) >= QUESTION_INTERVAL;
            let frame = due.then(|| question(self.router, target.address, Some(known.mac)));
            known.asked = if due { now } else { known.asked };
            return Resolved::Known(
                known.mac,
                frame.map(|frame| Question { segment: target.segment, frame }),
            );
        }
        if let Some(asking) = self.asking.get_mut(&target) {
            asking.held = held(target, packet);
            return Resolved::Asking { question: None, replaced: true };
        }
        // A station that has not answered for so long may have gone elsewhere: everybody is asked.
        let last = self.forget(target);
        if !self.has_room(target.segment, packet.from, now) {
            return Resolved::Full;
        }
        let early = last.is_some_and(|known| now.since(known.asked) < QUESTION_INTERVAL);
        let (asked, questions) = last.filter(|_| early).map_or((now, 1), |known| (known.asked, 0));
        self.asking.insert(target, Asking { asked, questions, held: held(target, packet) });
        *self.shares.entry(target.segment).or_default() += 1;
        let question = (!early).then(|| self.question(target));
        Resolved::Asking { question, replaced: false }
    }

    /// Takes note that `mac` has spoken for `target`; returns the packet that was waiting for it.
    pub fn heard(&mut self, target: Target, mac: MacAddr, now: Moment) -> Option<Held> {
        if !is_one(mac) || mac == GATEWAY_MAC || mac == self.router {
            return None;
        }
        if let Some(known) = self.known.get_mut(&target) {
            (known.mac, known.heard) = (mac, now);
            return None;
        }
        let asking = self.asking.remove(&target)?;
        self.known.insert(target, Known { mac, heard: now, asked: asking.asked });
        Some(asking.held)
    }

    /// Asks again where an answer is due, and gives up. To be called about ten times a second.
    #[must_use]
    pub fn poll(&mut self, now: Moment) -> Polled {
        let mut polled = Polled::default();
        let router = self.router;
        for (_, given_up) in self.asking.extract_if(|target, asking| {
            if now.since(asking.asked) < QUESTION_INTERVAL {
                return false;
            }
            if asking.questions >= QUESTIONS {
                return true;
            }
            (asking.asked, asking.questions) = (now, asking.questions + 1);
            let frame = question(router, target.address, None);
            polled.questions.push(Question { segment: target.segment, frame });
            false
        }) {
            leave(&mut self.shares, given_up.held.target.segment);
            polled.unanswered.push(given_up.held);
        }
        polled
    }

    /// Forgets everything about segments that are gone; returns the packets that were waiting there.
    #[must_use]
    pub fn retain(&mut self, lives: impl Fn(SegmentId) -> bool) -> Vec<Held> {
        self.known.retain(|target, _| lives(target.segment));
        self.shares.retain(|&segment, _| lives(segment));
        let gone = self.asking.extract_if(|target, _| !lives(target.segment));
        gone.map(|(_, asking)| asking.held).collect()
    }

    /// How much it holds; what is too old but not yet given up counts.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes { known: self.known.len(), asking: self.asking.len() }
    }

    fn question(&self, target: Target) -> Question {
        Question { segment: target.segment, frame: question(self.router, target.address, None) }
    }

    fn forget(&mut self, target: Target) -> Option<Known> {
        let known = self.known.remove(&target);
        if known.is_some() {
            leave(&mut self.shares, target.segment);
        }
        known
    }

    /// Whether one more target may be asked for.
    fn has_room(&mut self, segment: SegmentId, from: PortId, now: Moment) -> bool {
        if self.asking.len() >= ASKING_MAX {
            return false;
        }
        let of_port = self.asking.values().filter(|asking| asking.held.from == from).count();
        let of_segment = self.asking.keys().filter(|target| target.segment == segment).count();
        if of_port >= ASKING_PER_PORT || of_segment >= ASKING_PER_SEGMENT {
            return false;
        }
        if self.is_full(segment) && now >= self.sweep {
            self.sweep = now.after(QUESTION_INTERVAL);
            // One that was asked just now is not to be asked again as somebody new.
            let old = |known: &Known| {
                now.since(known.heard) >= AGEING && now.since(known.asked) >= QUESTION_INTERVAL
            };
            for (target, _) in self.known.extract_if(|_, known| old(known)) {
                leave(&mut self.shares, target.segment);
            }
        }
        !self.is_full(segment)
    }

    fn is_full(&self, segment: SegmentId) -> bool {
        let share = self.shares.get(&segment).copied().unwrap_or_default();
        share >= SEGMENT_MAX || self.known.len() + self.asking.len() >= NEIGHBORS_MAX
    }
}

fn held(target: Target, packet: Waiting<'_>) -> Held {
    Held { target, from: packet.from, frame: packet.frame.to_vec(), offload: packet.offload }
}

/// One target fewer on `segment`.
fn leave(shares: &mut HashMap<SegmentId, usize, FixedState>, segment: SegmentId) {
    if let Some(share) = shares.get_mut(&segment) {
        *share -= 1;
        if *share == 0 {
            shares.remove(&segment);
        }
    }
}
