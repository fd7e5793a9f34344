//! When sessions end.
//!
//! Sessions with one timeout stand in one queue in the order in which they were refreshed, so the next to end is always
//! at the head: every operation takes constant time. A coarse clock spares most of them: within one [`TICK`] a session
//! is moved once.
//!
//! A session lives until its timeout has passed by at most two ticks, never shorter.

use std::time::Duration;

use super::slab::Slab;
use super::table::Session;
use super::types::Timers;
use crate::time::Moment;

/// How finely time is told.
pub const TICK: Duration = Duration::from_millis(250);

/// "No session" in a link.
pub(super) const NONE: u32 = u32::MAX;

/// The tick in which `now` lies. The clock ends after 34 years.
pub(super) fn tick(now: Moment) -> u32 {
    (now.as_nanos() / TICK.as_nanos() as u64).min(u64::from(u32::MAX)) as u32
}

/// How many whole ticks last at least as long as `timeout`.
pub(super) fn ticks(timeout: Duration) -> u32 {
    timeout.as_nanos().div_ceil(TICK.as_nanos()).min(u128::from(u32::MAX)) as u32
}

/// Which timeout a session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(super) enum Class {
    Udp,
    Dns,
    Icmp,
    /// TCP that is being opened from inside, or closed.
    Transitory,
    Established,
    /// TCP that is over.
    Closed,
    /// TCP that was begun from outside and is not yet established.
    HalfOpenTcp,
    /// UDP that was begun from outside and is not yet answered.
    HalfOpenUdp,
}

impl Class {
    pub(super) const ALL: [Self; 8] = [
        Self::Udp,
        Self::Dns,
        Self::Icmp,
        Self::Transitory,
        Self::Established,
        Self::Closed,
        Self::HalfOpenTcp,
        Self::HalfOpenUdp,
    ];

    pub(super) const fn is_half_open(self) -> bool {
        matches!(self, Self::HalfOpenTcp | Self::HalfOpenUdp)
    }

    /// Its timeout.
    pub(super) fn timeout(self, timers: &Timers) -> Duration {
        match self {
            Self::Udp | Self::HalfOpenUdp => timers.udp,
            Self::Dns => timers.dns,
            Self::Icmp => timers.icmp,
            Self::Transitory | Self::HalfOpenTcp => timers.tcp_transitory,
            Self::Established => timers.tcp_established,
            Self::Closed => timers.tcp_closed,
        }
    }
}

/// Which of a session's links a queue runs through.
#[derive(Clone, Copy, Debug)]
pub(super) enum Thread {
    /// By timeout class, the one refreshed longest ago first.
    Timer,
    /// What may be given up early: half-open or closed, oldest first.
    Spare,
    /// The sessions of one mapping.
    Mapping,
}

/// A session's neighbours in one queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    before: u32,
    after: u32,
}

impl Link {
    pub(super) const LOOSE: Self = Self { before: NONE, after: NONE };
}

impl Default for Queue {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// A queue that runs through the sessions themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    head: u32,
    tail: u32,
    pub(super) len: u32,
}

impl Queue {
    pub(super) const EMPTY: Self = Self { head: NONE, tail: NONE, len: 0 };

    /// The one at the head.
    pub(super) fn first(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub(super) fn push(&mut self, sessions: &mut Slab<Session>, thread: Thread, slot: u32) {
        sessions[slot].links[thread as usize] = Link { before: self.tail, after: NONE };
        match sessions.get_mut(self.tail) {
            Some(last) => last.links[thread as usize].after = slot,
            None => self.head = slot,
        }
        self.tail = slot;
        self.len += 1;
    }

    pub(super) fn unlink(&mut self, sessions: &mut Slab<Session>, thread: Thread, slot: u32) {
        let Link { before, after } =
            std::mem::replace(&mut sessions[slot].links[thread as usize], Link::LOOSE);
        match sessions.get_mut(before) {
            Some(session) => session.links[thread as usize].after = after,
            None => self.head = after,
        }
        match sessions.get_mut(after) {
            Some(session) => session.links[thread as usize].before = before,
            None => self.tail = before,
        }
        self.len -= 1;
    }

    /// The one after `slot`.
    pub(super) fn next(sessions: &Slab<Session>, thread: Thread, slot: u32) -> Option<u32> {
        let after = sessions[slot].links[thread as usize].after;
        (after != NONE).then_some(after)
    }
}
