//! What the table holds, and what it answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{AGEING, REFRESH_GRAIN};
use crate::tables::PortId;
use crate::time::Moment;
use crate::tunnel::Vtep;
use crate::wire::MacAddr;

/// Where a MAC is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub enum Location {
    /// Behind a local port.
    Local(PortId),
    /// Behind a VTEP.
    Remote(Vtep),
}

/// Where a destination is, and until when that can be said without asking again, unless the table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where it is.
    pub location: Location,
    /// The first moment at which the answer may be another.
    pub until: Moment,
}

impl Known {
    /// The same, to be asked again at `until` at the latest.
    #[must_use]
    pub fn before(self, until: Moment) -> Self {
        Self { until: self.until.min(until), ..self }
    }
}

impl Location {
    /// No port has this number, and none is reached from here.
    pub(crate) const NOWHERE: Self = Self::Local(PortId(u32::MAX));
}

/// Who put an entry there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub enum EntryKind {
    /// Control.
    Static,
    /// The address learned it from a frame.
    Dynamic,
}

/// What a source address means to the table as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Refresh {
    /// Known there; its age is now zero.
    Fresh,
    /// Unknown or elsewhere: call [`Fdb::learn`] with exclusive access.
    Learn,
    /// A static entry says otherwise: the frame lies or its sender is misconfigured.
    Conflict,
}

/// What [`Fdb::learn`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Learned {
    /// A new entry.
    Added,
    /// The entry was there already, or another worker was faster.
    Refreshed,
    /// The MAC has moved here.
    Moved,
    /// It moves too often and stays where it was.
    Frozen,
    /// The location may hold no entries at all.
    Refused,
    /// A static entry says otherwise.
    Conflict,
}

/// One entry as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct FdbRow {
    /// The address.
    pub mac: MacAddr,
    /// Where it is.
    pub location: Location,
    /// Who said so.
    pub kind: EntryKind,
    /// Since it was last heard; `None` for static entries.
    pub age: Option<Duration>,
}

/// A station.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) mac: MacAddr,
    pub(super) location: Location,
    pub(super) kind: EntryKind,
    /// [`Moment`] in nanoseconds; written by readers.
    pub(super) last_seen: AtomicU64,
    /// When the entry was put at the back of its owner's queue.
    pub(super) queued: Moment,
    pub(super) older: u32,
    pub(super) newer: u32,
    pub(super) moves: u8,
    pub(super) moves_since: Moment,
}

impl Entry {
    pub(super) fn seen(&self) -> Moment {
        Moment::from_nanos(self.last_seen.load(Ordering::Relaxed))
    }

    pub(super) fn aged(&self, now: Moment) -> bool {
        now.since(self.seen()) > AGEING
    }

    /// Notes that the station spoke; returns when it is now said to have done so.
    pub(super) fn touch(&self, now: Moment) -> Moment {
        let seen = self.seen();
        if now.since(seen) < REFRESH_GRAIN {
            return seen;
        }
        self.last_seen.store(now.as_nanos(), Ordering::Relaxed);
        now
    }
}
