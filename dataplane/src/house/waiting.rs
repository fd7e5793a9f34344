//! Frames of endpoints that wait for an outside port which control has been asked for.
//!
//! Control reserves ports ahead of the need, so that hardly ever a frame waits; but it is another process, and endpoints
//! may begin sessions faster than it gets its turn on a busy machine. Whoever begins one then is not refused but kept
//! until the ports come, and judged anew, in the order of arrival.
//!
//! | what | limit | at the limit |
//! |---|---|---|
//! | frames, and their bytes | [`FRAMES_MAX`], [`BYTES_MAX`] | one more is dropped |
//! | frames of one endpoint | [`PER_PORT`] | one more is dropped |
//! | time | [`PATIENCE`], to the second | dropped |
//!
//! All of them are dropped as [`NatPortsLate`](crate::verdict::DropReason::NatPortsLate).

use std::collections::VecDeque;
use std::time::Duration;

use crate::offload::Offload;
use crate::tables::PortId;
use crate::time::Moment;

/// Frames that wait at once.
pub(crate) const FRAMES_MAX: usize = 2_048;
/// Their bytes.
pub(crate) const BYTES_MAX: usize = 2 << 20;
/// Frames of one endpoint.
pub(crate) const PER_PORT: usize = 1_024;
/// How long one waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// A frame as its endpoint has sent it.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) port: PortId,
    pub(crate) bytes: Box<[u8]>,
    pub(crate) offload: Offload,
    since: Moment,
}

/// The frames, the longest waiting first.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    frames: VecDeque<Waiter>,
    bytes: usize,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Keeps a copy of `frame`; false: there is no room for it.
    pub(super) fn keep(&mut self, port: PortId, frame: &[u8], offload: Offload, now: Moment) -> bool {
        let full = self.frames.len() >= FRAMES_MAX || self.bytes + frame.len() > BYTES_MAX;
        if full || self.frames.iter().filter(|waiter| waiter.port == port).count() >= PER_PORT {
            return false;
        }
        self.bytes += frame.len();
        self.frames.push_back(Waiter { port, bytes: frame.into(), offload, since: now });
        true
    }

    /// All of them.
    pub(super) fn take(&mut self) -> VecDeque<Waiter> {
        self.bytes = 0;
        std::mem::take(&mut self.frames)
    }

    /// Those that have waited for too long.
    pub(super) fn expired(&mut self, now: Moment) -> Vec<Waiter> {
        let old = self.frames.iter().take_while(|waiter| now.since(waiter.since) >= PATIENCE).count();
        let expired: Vec<_> = self.frames.drain(..old).collect();
        self.bytes -= expired.iter().map(|waiter| waiter.bytes.len()).sum::<usize>();
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(waiting: &mut Waiting, port: u32, len: usize, now: Moment) -> bool {
        waiting.keep(PortId(port), &vec![0; len], Offload::NONE, now)
    }

    #[test]
    fn one_endpoint_leaves_room_for_others_and_all_have_a_limit() {
        let mut waiting = Waiting::default();
        for n in 0..=PER_PORT {
            assert_eq!(keep(&mut waiting, 1, 60, Moment::ZERO), n < PER_PORT);
        }
        for n in PER_PORT..=FRAMES_MAX {
            let port = 2 + n as u32 % 100;
            assert_eq!(keep(&mut waiting, port, 60, Moment::ZERO), n < FRAMES_MAX, "{n}");
        }
        assert_eq!(waiting.take().len(), FRAMES_MAX);
        assert_eq!(waiting.len(), 0);
        let half = BYTES_MAX / 2;
        assert!(keep(&mut waiting, 1, half, Moment::ZERO) && keep(&mut waiting, 1, half, Moment::ZERO));
        assert!(!keep(&mut waiting, 1, 1, Moment::ZERO));
        let _ = waiting.take();
        assert!(keep(&mut waiting, 1, 1, Moment::ZERO), "what was taken takes no room");
    }

    #[test]
    fn who_has_waited_too_long_goes_and_makes_room() {
        let mut waiting = Waiting::default();
        let later = Moment::ZERO.after(PATIENCE / 2);
        assert!(keep(&mut waiting, 1, BYTES_MAX - 1, Moment::ZERO) && keep(&mut waiting, 2, 1, later));
        assert!(waiting.expired(later).is_empty());
        let ports: Vec<_> =
            waiting.expired(Moment::ZERO.after(PATIENCE)).into_iter().map(|waiter| waiter.port).collect();
        assert_eq!(ports, [PortId(1)]);
        assert!(keep(&mut waiting, 1, BYTES_MAX - 1, later));
    }
}
