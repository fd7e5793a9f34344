//! Telling others what has changed, without ever waiting for them.
//!
//! Every watch has a queue of [`WATCH_QUEUE`] changes. One that is full when a change comes is closed: its watcher reads
//! what is queued and then [`Notice::Lost`], lists again and watches from there. The last changes are kept, so that
//! between a list and its watch nothing is missed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::{Key, Prefix, Revision, StoreError, Version};

/// How many changes a watcher may be behind; also, how many past changes are kept.
pub const WATCH_QUEUE: usize = 1024;

/// The most watches of one store.
pub const WATCHES_MAX: usize = 256;

/// The most bytes of values that past changes keep alive.
const HISTORY_BYTES: usize = 4 << 20;

/// What has become of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// Its value and the value's version; `None`: it is gone.
    pub value: Option<(Arc<[u8]>, Version)>,
    /// Since when.
    pub revision: Revision,
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A key has changed.
    Changed(Change),
    /// Changes were missed: list again, and watch from there. This watch has ended.
    Lost,
}

/// Changes as they happen; dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    queue: mpsc::Receiver<Change>,
    lost: Arc<AtomicBool>,
}

impl Watch {
    /// The next notice; `None` when the store was closed, and after [`Notice::Lost`].
    pub async fn next(&mut self) -> Option<Notice> {
        let change = self.queue.recv().await;
        self.notice(change)
    }

    /// As [`Watch::next`], for threads that may block.
    pub fn next_blocking(&mut self) -> Option<Notice> {
        let change = self.queue.blocking_recv();
        self.notice(change)
    }

    /// What is there without waiting; `None` if nothing is.
    pub fn try_next(&mut self) -> Option<Notice> {
        match self.queue.try_recv() {
            Ok(change) => Some(Notice::Changed(change)),
            Err(mpsc::error::TryRecvError::Empty) => None,
            Err(mpsc::error::TryRecvError::Disconnected) => self.notice(None),
        }
    }

    fn notice(&mut self, change: Option<Change>) -> Option<Notice> {
        match change {
            Some(change) => Some(Notice::Changed(change)),
            None => self.lost.swap(false, Ordering::AcqRel).then_some(Notice::Lost),
        }
    }
}

/// One end of a watch.
#[derive(Debug)]
struct Watcher {
    prefix: Prefix,
    queue: mpsc::Sender<Change>,
    lost: Arc<AtomicBool>,
}

/// The watchers of a store, and what they may have missed.
#[derive(Debug, Default)]
pub(super) struct Hub {
    watchers: Vec<Watcher>,
    history: VecDeque<Change>,
    bytes: usize,
    /// Every change later than this is in `history`.
    since: Revision,
}

impl Hub {
    /// Nobody watches, and nothing before `revision` is known.
    pub(super) fn new(revision: Revision) -> Self {
        Self { since: revision, ..Self::default() }
    }

    /// Begins a watch; `current` is the store's revision.
    pub(super) fn watch(
        &mut self,
        prefix: &Prefix,
        after: Revision,
        current: Revision,
    ) -> Result<Watch, StoreError> {
        self.watchers.retain(|watcher| !watcher.queue.is_closed());
        if self.watchers.len() >= WATCHES_MAX {
            return Err(StoreError::TooManyWatches);
        }
        let unknown = after < self.since || after > current;
        let (sender, queue) = mpsc::channel(WATCH_QUEUE);
        let lost = Arc::new(AtomicBool::new(unknown));
        if !unknown {
            let watcher = Watcher { prefix: prefix.clone(), queue: sender, lost: Arc::clone(&lost) };
            let missed = self.history.iter().filter(|change| change.revision > after);
            if missed.into_iter().all(|change| watcher.tell(change)) {
                self.watchers.push(watcher);
            }
        }
        Ok(Watch { queue, lost })
    }

    /// Tells everybody.
    pub(super) fn tell(&mut self, change: Change) {
        self.watchers.retain(|watcher| watcher.tell(&change));
        self.bytes += size(&change);
        self.history.push_back(change);
        while self.history.len() > WATCH_QUEUE || self.bytes > HISTORY_BYTES {
            let Some(oldest) = self.history.pop_front() else { break };
            self.bytes -= size(&oldest);
            self.since = oldest.revision;
        }
    }
}

impl Watcher {
    /// Passes a change on; false if the watch is over.
    fn tell(&self, change: &Change) -> bool {
        if !self.prefix.contains(&change.key) {
            return !self.queue.is_closed();
        }
        match self.queue.try_send(change.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.lost.store(true, Ordering::Release);
                false
            }
        }
    }
}

fn size(change: &Change) -> usize {
    change.value.as_ref().map_or(0, |(value, _)| value.len())
}
