//! Threads that carry batches between io and datapath.
//!
//! ```text
//!                 control
//!                    |  Handle: publish tables, attach and detach ports, read counters
//!        +-----------+-----------+
//!        v commands, one channel per worker, woken by eventfd
//!   +---------+             +---------+      each worker: one queue of every TAP,
//!   | worker 0|    ...      | worker n|      one receiving socket, one sender
//!   +---------+             +---------+
//!        |  Event::PortGone      |
//!        +-----------+-----------+
//!                    v
//!                 control
//! ```
//!
//! A worker runs to completion: it waits, reads a batch from whatever is ready, judges each frame and sends it, all on
//! one thread. Nothing is queued between workers, so nothing grows; what a port or the underlay does not take at once is
//! lost and counted. [`Handle`] is the only type that drives them; [`remote`] is a handle on workers of another process.
//!
//! Tables, captures and the clock are [`Shared`]; workers read them once per round and never wait for control. Commands
//! are for what a worker owns alone: its descriptors.
//!
//! Before it sleeps, a worker whose traffic is light and answered soon looks again for a moment (`pace`); one with bulk
//! traffic keeps the core on which it is (`seat`).
//!
//! Fairness: a round takes at most 64 frames from each ready port before it goes on to the next one.

pub mod capture;
mod doors;
mod engine;
mod handle;
mod outputs;
mod outside;
mod pace;
pub mod remote;
mod seat;
mod worker;

pub use crate::house::OutsideWants;
pub use capture::{Capture, CaptureFilter};
pub use doors::{HeldPort, Purpose};
pub use engine::{Engine, Progress};
pub use handle::{
    AttachError, Config, Event, Handle, StartError, Stats, UnderlayConfig, UnderlayInfo, worker_count,
};
pub use outside::OutsideError;

pub use crate::counters::Totals;
pub use crate::io::udp::Mode;
pub use crate::switch::{EntryKind, FdbRow, Location};

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use self::capture::Captures;
use self::doors::Doors;
use crate::tables::Tables;
use crate::time::Moment;

/// What all workers read.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) tables: ArcSwap<Tables>,
    pub(crate) captures: Captures,
    pub(crate) doors: Doors,
    origin: Instant,
}

impl Shared {
    fn new(tables: Tables, tunnel_port: u16) -> Arc<Self> {
        Arc::new(Self {
            tables: ArcSwap::from_pointee(tables),
            captures: Captures::default(),
            doors: Doors::new(tunnel_port),
            origin: Instant::now(),
        })
    }

    /// The only place where the dataplane asks what time it is.
    pub(crate) fn now(&self) -> Moment {
        Moment::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Unpredictable to endpoints, which choose the keys of the tables: the standard library's hash keys are.
#[must_use]
pub fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
