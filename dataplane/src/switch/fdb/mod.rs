//! The forwarding database: which MAC was last heard from where.
//!
//! # Entries
//!
//! *Static* entries are the endpoints that control attached. They never age, are never evicted, and no frame can move
//! them. *Dynamic* entries are learned from source addresses, age after [`AGEING`], and follow their MAC when it moves:
//! the last speaker wins, but a MAC that moves more than [`MOVES_MAX`] times within [`MOVES_WINDOW`] stays where it is
//! until the window has passed, so that two speakers fighting over a MAC cannot make the table thrash.
//!
//! An entry older than [`AGEING`] is not used, whether or not it was already swept; [`Fdb::expire`] gives its place back
//! at the latest after twice that time. Places are reused, not returned to the system: the table keeps the size of its
//! largest moment, which [`SEGMENT_LIMIT`] bounds.
//!
//! # Fair eviction
//!
//! A flood of invented sources must hurt nobody but its author. Every location owns the entries it taught. A location
//! at its own limit (a VTEP's is [`VTEP_SHARE`] times a port's) replaces its own oldest entry; a full table replaces the oldest entry of the location that owns
//! *most*, which under a flood is the flooder. "Oldest" is a second-chance queue: an entry refreshed since it was
//! queued goes to the back instead, for at most [`SECOND_CHANCES`] entries per eviction, so the cost is bounded and a
//! busy entry survives.
//!
//! # Threads
//!
//! `&self` methods (look up, refresh) only load and store an atomic timestamp; the owner wraps the table in a
//! reader-writer lock and takes it exclusively for `&mut self`. A refresh that finds it must write says so
//! ([`Refresh::Learn`]), the caller then retries with the exclusive lock, and `learn` decides afresh: between the two
//! locks the world may have changed.

mod entry;
#[cfg(test)]
mod model;
mod owners;
#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use self::entry::Entry;
pub use self::entry::{EntryKind, FdbRow, Known, Learned, Location, Refresh};
use self::owners::Owners;
use super::super::tables::PortId;
use crate::time::Moment;
use crate::wire::MacAddr;

/// How long a dynamic entry lives without being heard from (IEEE 802.1D 7.9.2's default).
pub const AGEING: Duration = Duration::from_secs(300);
/// Entries per segment: 64 Ki endpoints is beyond any network that head-end replication can serve, and 6 MiB.
pub const SEGMENT_LIMIT: usize = 65_536;
/// A VTEP speaks for many ports, so it may own this many times the entries of one.
pub const VTEP_SHARE: usize = 64;
/// Moves of one MAC that are believed within [`MOVES_WINDOW`] (RFC 7432 section 15.1's N).
pub const MOVES_MAX: u8 = 5;
/// The window for [`MOVES_MAX`] (RFC 7432 section 15.1's M).
pub const MOVES_WINDOW: Duration = Duration::from_secs(180);
/// How many refreshed entries one eviction passes over before it takes the next one all the same.
pub const SECOND_CHANCES: usize = 16;

/// A timestamp is rewritten only when it is this stale, so that a busy entry's cache line stays shared between workers.
const REFRESH_GRAIN: Duration = Duration::from_millis(500);

/// The table of one segment.
#[derive(Debug)]
pub struct Fdb {
    index: HashMap<MacAddr, u32, FixedState>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    owners: Owners,
    /// Dynamic entries per local port.
    limit: usize,
    segment_limit: usize,
    statics: usize,
}

impl Fdb {
    /// An empty table whose local ports may own `limit` dynamic entries each. `seed` must be unpredictable to endpoints:
    /// they choose the keys.
    #[must_use]
    pub fn new(limit: usize, seed: u64) -> Self {
        Self {
            index: HashMap::with_hasher(FixedState::with_seed(seed)),
            entries: Vec::new(),
            free: Vec::new(),
            owners: Owners::default(),
            limit,
            segment_limit: SEGMENT_LIMIT,
            statics: 0,
        }
    }

    /// Changes how many dynamic entries a local port may own. A location that owns more loses two for each one that it
    /// adds, so that no single change is long.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Entries, static ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Where `mac` is, if that is known and not older than [`AGEING`].
    #[must_use]
    pub fn lookup(&self, mac: MacAddr, now: Moment) -> Option<Location> {
        self.known(mac, now).map(|known| known.location)
    }

    /// The same, with how long it will be so. A group is nowhere in particular.
    #[must_use]
    pub fn known(&self, mac: MacAddr, now: Moment) -> Option<Known> {
        if mac.is_multicast() {
            return None;
        }
        let entry = &self.entries[*self.index.get(&mac)? as usize];
        let until = match entry.kind {
            EntryKind::Static => Moment::END,
            EntryKind::Dynamic => entry.seen().after(AGEING + Duration::from_nanos(1)),
        };
        (now < until).then_some(Known { location: entry.location, until })
    }

    /// Notes that `mac` spoke from `location`, as far as that needs no exclusive access.
    pub fn refresh(&self, mac: MacAddr, location: Location, now: Moment) -> Refresh {
        self.renew(mac, location, now).map_or_else(|refused| refused, |_| Refresh::Fresh)
    }

    /// [`Fdb::refresh`], with the moment from which on it has to be done again; an error is another answer than
    /// [`Refresh::Fresh`].
    #[inline]
    pub(crate) fn renew(&self, mac: MacAddr, location: Location, now: Moment) -> Result<Moment, Refresh> {
        let Some(&slot) = self.index.get(&mac) else { return Err(Refresh::Learn) };
        let entry = &self.entries[slot as usize];
        match (entry.location == location, entry.kind) {
            (true, EntryKind::Static) => Ok(Moment::END),
            (false, EntryKind::Static) => Err(Refresh::Conflict),
            (true, EntryKind::Dynamic) => Ok(entry.touch(now).after(REFRESH_GRAIN)),
            (false, EntryKind::Dynamic) => Err(Refresh::Learn),
        }
    }

    /// Notes that `mac` spoke from `location`: adds, refreshes or moves its entry, evicting another if need be.
    pub fn learn(&mut self, mac: MacAddr, location: Location, now: Moment) -> Learned {
        let Some(&slot) = self.index.get(&mac) else { return self.add(mac, location, now) };
        let entry = &mut self.entries[slot as usize];
        if entry.location == location {
            entry.touch(now);
            return Learned::Refreshed;
        }
        if entry.kind == EntryKind::Static {
            return Learned::Conflict;
        }
        if entry.aged(now) {
            self.remove(slot);
            return self.add(mac, location, now);
        }
        if now.since(entry.moves_since) > MOVES_WINDOW {
            entry.moves = 0;
            entry.moves_since = now;
        }
        if entry.moves == MOVES_MAX {
            return Learned::Frozen;
        }
        let (moves, since) = (entry.moves + 1, entry.moves_since);
        self.remove(slot);
        match self.add(mac, location, now) {
            Learned::Added => {
                let entry = &mut self.entries[self.index[&mac] as usize];
                (entry.moves, entry.moves_since) = (moves, since);
                Learned::Moved
            }
            other => other,
        }
    }

    /// Makes the static entries exactly `wanted`; a dynamic entry for one of these addresses gives way.
    pub fn set_static(&mut self, wanted: &[(MacAddr, PortId)]) {
        let keep: HashMap<MacAddr, PortId, FixedState> = wanted.iter().copied().collect();
        let stale: Vec<u32> = self.slots_where(|e| {
            let location = keep.get(&e.mac).map(|&port| Location::Local(port));
            location.is_some_and(|l| e.kind == EntryKind::Dynamic || l != e.location)
                || (location.is_none() && e.kind == EntryKind::Static)
        });
        stale.into_iter().for_each(|slot| self.remove(slot));
        for &(mac, port) in wanted {
            if !self.index.contains_key(&mac) {
                self.insert(mac, Location::Local(port), EntryKind::Static, Moment::ZERO);
            }
        }
    }

    /// Forgets every dynamic entry whose location `gone` names.
    pub fn forget(&mut self, gone: impl Fn(Location) -> bool) {
        let slots = self.slots_where(|e| e.kind == EntryKind::Dynamic && gone(e.location));
        slots.into_iter().for_each(|slot| self.remove(slot));
    }

    /// Removes dynamic entries that have aged; returns how many. Handles at most `budget` entries, aged or not, which
    /// bounds its time. Meant to be called about once a second.
    pub fn expire(&mut self, now: Moment, budget: usize) -> usize {
        let (mut handled, mut removed) = (0, 0);
        for location in self.owners.locations() {
            while let Some(slot) = self.owners.oldest(location) {
                let entry = &self.entries[slot as usize];
                if now.since(entry.queued) <= AGEING || handled == budget {
                    break;
                }
                handled += 1;
                if entry.aged(now) {
                    self.remove(slot);
                    removed += 1;
                } else {
                    self.requeue(slot, now);
                }
            }
        }
        removed
    }

    /// The live entries, in no particular order.
    pub fn rows(&self, now: Moment) -> impl Iterator<Item = FdbRow> + '_ {
        self.index.values().map(|&slot| &self.entries[slot as usize]).filter_map(move |entry| {
            let age = (entry.kind == EntryKind::Dynamic).then(|| now.since(entry.seen()));
            let live = age.is_none_or(|age| age <= AGEING);
            live.then_some(FdbRow { mac: entry.mac, location: entry.location, kind: entry.kind, age })
        })
    }

    fn add(&mut self, mac: MacAddr, location: Location, now: Moment) -> Learned {
        if self.limit == 0 {
            return Learned::Refused;
        }
        let limit = self.limit_of(location);
        if self.owners.count(location) >= limit {
            self.evict(location, now);
            if self.owners.count(location) >= limit {
                self.evict(location, now);
            }
        } else if self.index.len() - self.statics >= self.segment_limit
            && let Some(largest) = self.owners.largest()
        {
            self.evict(largest, now);
        }
        self.insert(mac, location, EntryKind::Dynamic, now);
        Learned::Added
    }

    const fn limit_of(&self, location: Location) -> usize {
        match location {
            Location::Local(_) => self.limit,
            Location::Remote(_) => self.limit.saturating_mul(VTEP_SHARE),
        }
    }

    fn evict(&mut self, location: Location, now: Moment) {
        for chance in 0..=SECOND_CHANCES {
            let Some(slot) = self.owners.oldest(location) else { return };
            let entry = &self.entries[slot as usize];
            if entry.seen() <= entry.queued || entry.aged(now) || chance == SECOND_CHANCES {
                return self.remove(slot);
            }
            self.requeue(slot, now);
        }
    }

    fn requeue(&mut self, slot: u32, now: Moment) {
        self.owners.unlink(&mut self.entries, slot);
        self.entries[slot as usize].queued = now;
        self.owners.push_newest(&mut self.entries, slot);
    }

    fn insert(&mut self, mac: MacAddr, location: Location, kind: EntryKind, now: Moment) {
        let entry = Entry {
            mac,
            location,
            kind,
            last_seen: AtomicU64::new(now.as_nanos()),
            queued: now,
            older: owners::NONE,
            newer: owners::NONE,
            moves: 0,
            moves_since: now,
        };
        let slot = if let Some(slot) = self.free.pop() {
            self.entries[slot as usize] = entry;
            slot
        } else {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        };
        self.index.insert(mac, slot);
        match kind {
            EntryKind::Static => self.statics += 1,
            EntryKind::Dynamic => self.owners.push_newest(&mut self.entries, slot),
        }
    }

    fn remove(&mut self, slot: u32) {
        let (mac, kind) = (self.entries[slot as usize].mac, self.entries[slot as usize].kind);
        match kind {
            EntryKind::Static => self.statics -= 1,
            EntryKind::Dynamic => self.owners.unlink(&mut self.entries, slot),
        }
        self.index.remove(&mac);
        self.free.push(slot);
    }

    fn slots_where(&self, mut wanted: impl FnMut(&Entry) -> bool) -> Vec<u32> {
        self.index.values().copied().filter(|&slot| wanted(&self.entries[slot as usize])).collect()
    }
}
