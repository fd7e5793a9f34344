//! TAPs are closed by threads of their own.
//!
//! Closing the last descriptor of a TAP removes its link. The kernel takes it out of its namespace within a fraction of a
//! millisecond, and then waits for a grace period of RCU (15 to 50 ms), without a lock, before `close` returns. Nobody
//! has to wait for that, and many such waits at once take hardly longer than one.
//!
//! Limits: [`CLOSERS`] threads, which end when nothing is left to close, and [`WAITING_MAX`] TAPs that wait for one; whoever
//! buries more closes them himself.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use weft_dataplane::io::tap::Tap;

use crate::sandbox::{Netns, SandboxError};

/// The most threads.
const CLOSERS: usize = 32;

/// The most TAPs that wait for a thread.
const WAITING_MAX: usize = 4096;

/// How long a link may take to leave its namespace; it does so at once unless another process holds the kernel's link
/// lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is asked for.
const POLL: Duration = Duration::from_micros(50);

/// Closes TAPs. Clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Reaper(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Tap>,
    closers: usize,
}

impl Reaper {
    /// Has `tap`, of which nobody else has a descriptor, closed. When this returns its link is gone from its namespace,
    /// unless that takes longer than [`PATIENCE`].
    pub(super) fn bury(&self, tap: Tap) {
        let place = tap.place();
        self.close(tap);
        // Without a place there is no link any more.
        let Ok((netns, ifname)) = place else { return };
        if let Err(error) = until_gone(netns, &ifname) {
            tracing::debug!(%error, ifname, "cannot see the interface go");
        }
    }

    /// Has `tap` closed, soon.
    pub(super) fn close(&self, tap: Tap) {
        let mut state = self.0.lock();
        if state.waiting.len() >= WAITING_MAX {
            drop(state);
            return drop(tap);
        }
        state.waiting.push_back(tap);
        if state.closers == CLOSERS {
            return;
        }
        state.closers += 1;
        let shared = Arc::clone(&self.0);
        let closer = thread::Builder::new().name("weft-reaper".into()).spawn(move || shared.close_all());
        if closer.is_err() {
            drop(state);
            self.0.close_all();
        }
    }

    /// Waits until everything is closed.
    pub(super) fn wait(&self) {
        let state = self.0.lock();
        let idle = self.0.idle.wait_while(state, |state| state.closers > 0);
        drop(idle.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a closer does; there is one less when it returns.
    fn close_all(&self) {
        while let Some(tap) = self.next() {
            drop(tap);
        }
    }

    fn next(&self) -> Option<Tap> {
        let mut state = self.lock();
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.closers -= 1;
            self.idle.notify_all();
        }
        next
    }
}

/// Waits until `netns` has no such interface, or another one of that name.
fn until_gone(netns: OwnedFd, ifname: &str) -> Result<(), SandboxError> {
    Netns::from_descriptor(netns)?.run(|| {
        let flags = SocketFlags::CLOEXEC;
        let Ok(socket) = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None) else { return };
        let deadline = Instant::now() + PATIENCE;
        let found = name_to_index(&socket, ifname);
        while found.is_ok() && name_to_index(&socket, ifname) == found && Instant::now() < deadline {
            thread::sleep(POLL);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::net::socketpair;

    use super::*;

    /// Something that can be buried, and who hears of its end.
    fn tap() -> (Tap, OwnedFd) {
        let (queue, wire) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None).unwrap();
        (Tap::from_descriptors("wf1".into(), vec![queue]), wire)
    }

    fn is_closed(wire: &impl AsFd) -> bool {
        let mut look = [PollFd::new(wire, PollFlags::HUP)];
        poll(&mut look, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn when_the_reaper_rests_everything_is_closed() {
        let reaper = Reaper::default();
        reaper.wait();
        let wires: Vec<_> = (0..3 * CLOSERS)
            .map(|number| {
                let (tap, wire) = tap();
                assert!(!is_closed(&wire));
                if number % 2 == 0 {
                    reaper.bury(tap)
                } else {
                    reaper.close(tap)
                }
                wire
            })
            .collect();
        reaper.wait();
        assert!(wires.iter().all(is_closed));
        assert_eq!(reaper.0.lock().closers, 0);
    }

    #[test]
    fn who_buries_too_many_closes_them_himself() {
        let reaper = Reaper::default();
        let waiting = std::iter::repeat_with(|| tap().0).take(16);
        // As if every closer were busy.
        *reaper.0.lock() = State { waiting: waiting.collect(), closers: CLOSERS };
        let (waits, wire) = tap();
        reaper.close(waits);
        assert!(!is_closed(&wire));
        reaper.0.lock().waiting.resize_with(WAITING_MAX, || Tap::from_descriptors("wf2".into(), vec![]));
        let (tap, wire) = tap();
        reaper.close(tap);
        assert!(is_closed(&wire));
    }
}
