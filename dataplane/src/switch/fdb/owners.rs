//! Which location owns which dynamic entries, oldest first.
//!
//! A doubly linked queue per location, threaded through the entries themselves, and the locations ordered by how many
//! entries they own. Every operation is O(1) but for the order by count, which is O(log locations).

use std::collections::BTreeSet;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{Entry, Location};

/// "No entry" in a link.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(super) struct Owners {
    queues: HashMap<Location, Queue, FixedState>,
    by_count: BTreeSet<(usize, Location)>,
}

#[derive(Debug)]
struct Queue {
    oldest: u32,
    newest: u32,
    count: usize,
}

impl Owners {
    /// How many entries `location` owns.
    pub(super) fn count(&self, location: Location) -> usize {
        self.queues.get(&location).map_or(0, |q| q.count)
    }

    /// The location that owns most.
    pub(super) fn largest(&self) -> Option<Location> {
        self.by_count.last().map(|&(_, location)| location)
    }

    /// The entry of `location` that was queued first.
    pub(super) fn oldest(&self, location: Location) -> Option<u32> {
        self.queues.get(&location).map(|q| q.oldest)
    }

    /// Every location that owns an entry.
    pub(super) fn locations(&self) -> Vec<Location> {
        self.by_count.iter().map(|&(_, location)| location).collect()
    }

    /// Puts `slot` at the back of its location's queue.
    pub(super) fn push_newest(&mut self, entries: &mut [Entry], slot: u32) {
        let location = entries[slot as usize].location;
        let queue = self.queues.entry(location).or_insert(Queue { oldest: slot, newest: NONE, count: 0 });
        let before = queue.newest;
        queue.newest = slot;
        queue.count += 1;
        let count = queue.count;
        entries[slot as usize].older = before;
        entries[slot as usize].newer = NONE;
        if let Some(entry) = entries.get_mut(before as usize) {
            entry.newer = slot;
        }
        self.recount(location, count - 1, count);
    }

    /// Takes `slot` out of its location's queue.
    pub(super) fn unlink(&mut self, entries: &mut [Entry], slot: u32) {
        let entry = &entries[slot as usize];
        let (location, older, newer) = (entry.location, entry.older, entry.newer);
        let Some(queue) = self.queues.get_mut(&location) else { return };
        match entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => queue.oldest = newer,
        }
        match entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => queue.newest = older,
        }
        queue.count -= 1;
        let count = queue.count;
        if count == 0 {
            self.queues.remove(&location);
        }
        self.recount(location, count + 1, count);
    }

    fn recount(&mut self, location: Location, before: usize, after: usize) {
        self.by_count.remove(&(before, location));
        if after > 0 {
            self.by_count.insert((after, location));
        }
    }
}

#[cfg(test)]
impl Owners {
    /// Walks every queue both ways and compares it with what the counts say; returns the slots it met.
    pub(super) fn audit(&self, entries: &[Entry]) -> Vec<u32> {
        let counts: BTreeSet<_> = self.queues.iter().map(|(&location, q)| (q.count, location)).collect();
        assert_eq!(self.by_count, counts, "the order by count agrees with the queues");
        let mut met = Vec::new();
        for (&location, queue) in &self.queues {
            let (mut before, mut slot, mut count) = (NONE, queue.oldest, 0);
            while slot != NONE {
                let entry = &entries[slot as usize];
                assert_eq!((entry.location, entry.older), (location, before), "slot {slot} of {location:?}");
                met.push(slot);
                count += 1;
                (before, slot) = (slot, entry.newer);
            }
            assert_eq!((queue.newest, queue.count), (before, count), "queue of {location:?}");
            assert!(count > 0, "an empty queue is no queue");
        }
        met
    }
}
