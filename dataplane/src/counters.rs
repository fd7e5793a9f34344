//! Counting without contention: every worker has a shard of its own, readers add the shards up.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::verdict::DropReason;

/// The counters of one network, or of what belongs to none, spread over shards.
///
/// A shard has one writer (its worker), so a count is a plain load and store; readers may see a frame's `packets`
/// before its `bytes`.
#[derive(Debug)]
pub struct Counters {
    shards: Box<[Shard]>,
}

/// One worker's part, on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Shard {
    packets: AtomicU64,
    bytes: AtomicU64,
    drops: [AtomicU64; DropReason::COUNT],
}

/// A reading of [`Counters`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Frames that got a verdict other than a drop. What a gateway holds counts when it goes on; what it makes itself
    /// (answers, errors, questions, the pieces of a packet that was cut) does not.
    pub packets: u64,
    /// Their bytes, Ethernet header included.
    pub bytes: u64,
    /// Drops by [`DropReason::index`].
    pub drops: [u64; DropReason::COUNT],
}

impl Counters {
    /// Counters with `shards` shards, one per worker.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self { shards: (0..shards.max(1)).map(|_| Shard::new()).collect() }
    }

    /// The shard that worker `index` writes; the first one for a worker too many, which would count less exactly.
    #[must_use]
    #[inline]
    pub fn shard(&self, index: usize) -> &Shard {
        self.shards.get(index).unwrap_or(&self.shards[0])
    }

    /// The sum over all shards.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for shard in &self.shards {
            totals.packets += shard.packets.load(Ordering::Relaxed);
            totals.bytes += shard.bytes.load(Ordering::Relaxed);
            for (total, count) in totals.drops.iter_mut().zip(&shard.drops) {
                *total += count.load(Ordering::Relaxed);
            }
        }
        totals
    }
}

impl Shard {
    fn new() -> Self {
        Self {
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            drops: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Counts one frame of `bytes` bytes that goes somewhere.
    #[inline]
    pub fn passed(&self, bytes: usize) {
        add(&self.packets, 1);
        add(&self.bytes, bytes as u64);
    }

    /// Counts one lost frame.
    pub fn dropped(&self, reason: DropReason) {
        self.dropped_many(reason, 1);
    }

    /// Counts `count` lost frames.
    pub fn dropped_many(&self, reason: DropReason, count: u64) {
        add(&self.drops[reason.index()], count);
    }
}

impl Default for Totals {
    fn default() -> Self {
        Self { packets: 0, bytes: 0, drops: [0; DropReason::COUNT] }
    }
}

impl std::ops::AddAssign<&Self> for Totals {
    fn add_assign(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        for (mine, theirs) in self.drops.iter_mut().zip(&other.drops) {
            *mine += theirs;
        }
    }
}

impl Totals {
    /// The drops under `reason`.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason.index()]
    }

    /// The reasons that occurred, with their counts.
    pub fn nonzero_drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&r| (r, self.drops[r.index()])).filter(|&(_, n)| n > 0)
    }
}

/// One writer per counter, so no read-modify-write is needed.
fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_over_shards() {
        let counters = Counters::new(3);
        counters.shard(0).passed(100);
        counters.shard(2).passed(50);
        counters.shard(1).dropped(DropReason::Storm);
        counters.shard(2).dropped_many(DropReason::Storm, 4);
        let totals = counters.totals();
        assert_eq!((totals.packets, totals.bytes), (2, 150));
        assert_eq!(totals.nonzero_drops().collect::<Vec<_>>(), [(DropReason::Storm, 5)]);
    }
}
