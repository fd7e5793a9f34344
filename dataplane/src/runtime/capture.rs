//! Watching frames without slowing them.
//!
//! A worker offers each frame to every running capture; a capture copies what its filter wants into a bounded queue and
//! drops, counting, what does not fit. Without captures the cost is one load per round. Frames are recorded as they
//! cross a port, so a super-frame appears as one large packet.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::{Deserialize, Serialize};

use crate::io::pcap::{Direction, PcapWriter};
use crate::tables::{PortId, SegmentId};

/// Frames that wait for a capture's reader; at most 64 MiB, and 1.5 MB when they are of MTU size.
const QUEUE: usize = 1_024;
/// Captures that may run at a time: each one costs every frame a comparison.
pub const CAPTURES_MAX: usize = 16;

/// What a capture wants; nothing set is everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureFilter {
    /// Only this segment.
    pub segment: Option<SegmentId>,
    /// Only this port.
    pub port: Option<PortId>,
}

/// The captures that run.
#[derive(Debug, Default)]
pub(crate) struct Captures {
    running: ArcSwap<Vec<Arc<CaptureTap>>>,
    change: Mutex<()>,
}

impl Captures {
    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<Vec<Arc<CaptureTap>>>> {
        self.running.load()
    }

    /// False: there are [`CAPTURES_MAX`] already.
    fn add(&self, tap: Arc<CaptureTap>) -> bool {
        self.edit(|taps| {
            let room = taps.len() < CAPTURES_MAX;
            if room {
                taps.push(tap);
            }
            room
        })
    }

    fn remove(&self, tap: &Arc<CaptureTap>) {
        self.edit(|taps| taps.retain(|t| !Arc::ptr_eq(t, tap)));
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut Vec<Arc<CaptureTap>>) -> T) -> T {
        let _one_at_a_time = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taps = Vec::clone(&self.running.load());
        let result = edit(&mut taps);
        self.running.store(Arc::new(taps));
        result
    }
}

/// The workers' side of a capture.
#[derive(Debug)]
pub(crate) struct CaptureTap {
    filter: CaptureFilter,
    queue: Sender<Captured>,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Captured {
    port: PortId,
    direction: Direction,
    time: Duration,
    frame: Vec<u8>,
}

impl CaptureTap {
    pub(crate) fn offer(&self, segment: SegmentId, port: PortId, direction: Direction, frame: &[u8]) {
        let wanted =
            self.filter.segment.is_none_or(|s| s == segment) && self.filter.port.is_none_or(|p| p == port);
        if !wanted {
            return;
        }
        // Looked at first, so that a full queue costs no copy.
        let full = self.queue.is_full();
        let captured = || Captured { port, direction, time: wall_clock(), frame: frame.to_vec() };
        if full || self.queue.try_send(captured()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn wall_clock() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The reader's side of a capture: pcapng, piece by piece. Dropping it ends the capture.
pub struct Capture {
    shared: Arc<super::Shared>,
    tap: Arc<CaptureTap>,
    queue: Receiver<Captured>,
    writer: PcapWriter<Vec<u8>>,
    interfaces: HashMap<PortId, u32>,
    label: Box<dyn Fn(PortId) -> String + Send>,
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("tap", &self.tap).finish_non_exhaustive()
    }
}

impl Capture {
    /// Starts a capture; `None`: too many run already. `label` names ports in the capture.
    pub(super) fn start(
        shared: Arc<super::Shared>,
        filter: CaptureFilter,
        label: Box<dyn Fn(PortId) -> String + Send>,
    ) -> Option<Self> {
        let (sender, queue) = bounded(QUEUE);
        let tap = Arc::new(CaptureTap { filter, queue: sender, dropped: AtomicU64::new(0) });
        let writer = PcapWriter::new(Vec::new()).ok()?;
        shared.captures.add(Arc::clone(&tap)).then_some(())?;
        Some(Self { shared, tap, queue, writer, interfaces: HashMap::new(), label })
    }

    /// What has been captured since the last call, at most `frames` frames, as pcapng bytes; waits up to `patience` for
    /// the first. The first call also returns the section header. Returns the bytes and how many frames they hold.
    pub fn next(&mut self, frames: usize, patience: Duration) -> (Vec<u8>, usize) {
        let mut count = 0;
        let mut wait = patience;
        while count < frames {
            match self.queue.recv_timeout(wait) {
                Ok(captured) => self.write(&captured),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
            count += 1;
            wait = Duration::ZERO;
        }
        (std::mem::take(self.writer.get_mut()), count)
    }

    /// The last block: how much was missed.
    pub fn finish(mut self) -> Vec<u8> {
        if let Some(&interface) = self.interfaces.values().min() {
            // Writing to a vector cannot fail.
            let _ = self.writer.dropped(interface, wall_clock(), self.dropped());
        }
        std::mem::take(self.writer.get_mut())
    }

    /// Frames that the reader was too slow for.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.tap.dropped.load(Ordering::Relaxed)
    }

    fn write(&mut self, captured: &Captured) {
        let interface = match self.interfaces.get(&captured.port) {
            Some(&interface) => interface,
            None => {
                let name = (self.label)(captured.port);
                let interface = self.writer.interface(&name).unwrap_or_default();
                self.interfaces.insert(captured.port, interface);
                interface
            }
        };
        // Writing to a vector cannot fail.
        let _ = self.writer.frame(interface, captured.time, captured.direction, &captured.frame);
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.captures.remove(&self.tap);
    }
}
