//! The watcher: a packet process that ends is followed by another one.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};

use super::shared::Shared;
use super::{BURST, PAUSE, WINDOW};

/// Watches until `shared` ends.
pub(super) fn watch(shared: &Arc<Shared>) {
    let mut pace = Pace::default();
    while let Some(end) = shared.end_of_process() {
        if !wait(&end, shared.stop()) {
            continue;
        }
        let Some(mut reason) = shared.bury() else { return };
        loop {
            if let Some(crowd) = pace.admit(Instant::now()) {
                tracing::warn!(reason, "{crowd}");
                if shared.rest(&format!("{reason}; {crowd}"), PAUSE) {
                    return;
                }
            }
            match shared.revive() {
                Some(Ok(())) => break,
                Some(Err(error)) => {
                    tracing::error!(%error, "the packet process cannot be started; trying again");
                    reason = error.to_string();
                    if shared.rest(&reason, PAUSE) {
                        return;
                    }
                }
                None => return,
            }
        }
    }
}

/// Waits for the end of the process, or until there is something else to look at.
fn wait(end: &impl std::os::fd::AsFd, stop: BorrowedFd<'_>) -> bool {
    let mut ready = [PollFd::new(end, PollFlags::IN), PollFd::from_borrowed_fd(stop, PollFlags::IN)];
    poll(&mut ready, None).is_ok() && !ready[0].revents().is_empty()
}

/// When restarts were.
#[derive(Debug, Default)]
struct Pace {
    recent: VecDeque<Instant>,
}

impl Pace {
    /// Counts a restart at `now`; if there are too many, it is to be put off, and this says why.
    fn admit(&mut self, now: Instant) -> Option<String> {
        self.recent.retain(|then| now.duration_since(*then) < WINDOW);
        let count = self.recent.len();
        self.recent.push_back(now);
        (count >= BURST).then(|| {
            format!("it has ended {} times within {} s, the next is put off", count + 1, WINDOW.as_secs())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_restarts_are_at_once_and_a_loop_is_slowed_down() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert!((0..BURST).all(|_| pace.admit(start).is_none()));
        assert!(pace.admit(start).is_some_and(|reason| reason.contains("11 times")));
        assert!(pace.admit(start + WINDOW / 2).is_some());
        assert_eq!(pace.admit(start + WINDOW * 2), None);
    }
}
