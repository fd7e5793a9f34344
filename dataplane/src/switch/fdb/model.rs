//! What the forwarding database promises, written so that it can be checked by reading: one list, searched from end to
//! end for everything.

use std::time::Duration;

use super::{
    AGEING, EntryKind, FdbRow, Learned, Location, MOVES_MAX, MOVES_WINDOW, MacAddr, Moment, PortId, Refresh,
    SECOND_CHANCES, VTEP_SHARE,
};

/// A source that is heard more often than this is noted only this often.
const GRAIN: Duration = Duration::from_millis(500);

/// The reference.
#[derive(Debug)]
pub(super) struct Model {
    /// First queued first.
    entries: Vec<Known>,
    limit: usize,
    segment_limit: usize,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    mac: MacAddr,
    location: Location,
    kind: EntryKind,
    seen: Moment,
    queued: Moment,
    moves: u8,
    moves_since: Moment,
}

impl Known {
    fn aged(&self, now: Moment) -> bool {
        self.kind == EntryKind::Dynamic && now.since(self.seen) > AGEING
    }

    fn touch(&mut self, now: Moment) {
        if now.since(self.seen) >= GRAIN {
            self.seen = now;
        }
    }
}

impl Model {
    pub(super) fn new(limit: usize, segment_limit: usize) -> Self {
        Self { entries: Vec::new(), limit, segment_limit }
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub(super) fn lookup(&self, mac: MacAddr, now: Moment) -> Option<Location> {
        self.entries.iter().find(|e| e.mac == mac && !e.aged(now)).map(|e| e.location)
    }

    pub(super) fn refresh(&mut self, mac: MacAddr, location: Location, now: Moment) -> Refresh {
        match self.entries.iter_mut().find(|e| e.mac == mac) {
            Some(e) if e.location == location => {
                e.touch(now);
                Refresh::Fresh
            }
            Some(e) if e.kind == EntryKind::Static => Refresh::Conflict,
            _ => Refresh::Learn,
        }
    }

    pub(super) fn learn(&mut self, mac: MacAddr, location: Location, now: Moment) -> Learned {
        let Some(at) = self.entries.iter().position(|e| e.mac == mac) else {
            return self.add(mac, location, now);
        };
        let known = &mut self.entries[at];
        if known.location == location {
            known.touch(now);
            return Learned::Refreshed;
        }
        if known.kind == EntryKind::Static {
            return Learned::Conflict;
        }
        if known.aged(now) {
            self.entries.remove(at);
            return self.add(mac, location, now);
        }
        if now.since(known.moves_since) > MOVES_WINDOW {
            (known.moves, known.moves_since) = (0, now);
        }
        if known.moves == MOVES_MAX {
            return Learned::Frozen;
        }
        let Known { moves, moves_since, .. } = self.entries.remove(at);
        let added = self.add(mac, location, now);
        if added == Learned::Added {
            let moved = self.entries.iter_mut().find(|e| e.mac == mac).expect("just added");
            (moved.moves, moved.moves_since) = (moves + 1, moves_since);
            return Learned::Moved;
        }
        added
    }

    pub(super) fn set_static(&mut self, wanted: &[(MacAddr, PortId)]) {
        let place = |mac| wanted.iter().find(|(m, _)| *m == mac).map(|&(_, port)| Location::Local(port));
        self.entries.retain(|e| match (place(e.mac), e.kind) {
            (Some(location), EntryKind::Static) => location == e.location,
            (None, EntryKind::Dynamic) => true,
            _ => false,
        });
        for &(mac, port) in wanted {
            if self.entries.iter().all(|e| e.mac != mac) {
                self.push(mac, Location::Local(port), EntryKind::Static, Moment::ZERO);
            }
        }
    }

    pub(super) fn forget(&mut self, gone: impl Fn(Location) -> bool) {
        self.entries.retain(|e| e.kind == EntryKind::Static || !gone(e.location));
    }

    /// Everything that has aged and whose turn it is, without a budget.
    pub(super) fn expire(&mut self, now: Moment) -> usize {
        let (due, mut rest): (Vec<Known>, Vec<Known>) =
            self.entries.iter().partition(|e| e.kind == EntryKind::Dynamic && now.since(e.queued) > AGEING);
        let (aged, refreshed): (Vec<Known>, Vec<Known>) = due.iter().partition(|e| e.aged(now));
        rest.extend(refreshed.into_iter().map(|e| Known { queued: now, ..e }));
        self.entries = rest;
        aged.len()
    }

    pub(super) fn rows(&self, now: Moment) -> Vec<FdbRow> {
        let live = self.entries.iter().filter(|e| !e.aged(now));
        live.map(|e| FdbRow {
            mac: e.mac,
            location: e.location,
            kind: e.kind,
            age: (e.kind == EntryKind::Dynamic).then(|| now.since(e.seen)),
        })
        .collect()
    }

    fn owned(&self, location: Location) -> usize {
        self.dynamic().filter(|e| e.location == location).count()
    }

    fn dynamic(&self) -> impl Iterator<Item = &Known> {
        self.entries.iter().filter(|e| e.kind == EntryKind::Dynamic)
    }

    fn add(&mut self, mac: MacAddr, location: Location, now: Moment) -> Learned {
        let limit = match location {
            Location::Local(_) => self.limit,
            Location::Remote(_) => self.limit * VTEP_SHARE,
        };
        if limit == 0 {
            return Learned::Refused;
        }
        if self.owned(location) >= limit {
            let excess = self.owned(location) + 1 - limit;
            (0..excess.min(2)).for_each(|_| self.evict(location, now));
        } else if self.dynamic().count() >= self.segment_limit {
            let largest = self.dynamic().map(|e| (self.owned(e.location), e.location)).max();
            self.evict(largest.expect("the table is full").1, now);
        }
        self.push(mac, location, EntryKind::Dynamic, now);
        Learned::Added
    }

    fn evict(&mut self, location: Location, now: Moment) {
        for chance in 0.. {
            let mine = |e: &Known| e.kind == EntryKind::Dynamic && e.location == location;
            let at = self.entries.iter().position(mine).expect("it owns some");
            let oldest = self.entries.remove(at);
            if oldest.seen <= oldest.queued || oldest.aged(now) || chance == SECOND_CHANCES {
                return;
            }
            self.entries.push(Known { queued: now, ..oldest });
        }
    }

    fn push(&mut self, mac: MacAddr, location: Location, kind: EntryKind, now: Moment) {
        self.entries.push(Known { mac, location, kind, seen: now, queued: now, moves: 0, moves_since: now });
    }
}
