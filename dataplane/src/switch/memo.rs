//! What one worker remembers of its last looks at forwarding tables.
//!
//! Traffic is conversations, so the next frame usually asks what an earlier one has asked: a [`Memo`] answers it
//! without the table's lock and without hashing into a large map. It is never a different answer: a remembered one
//! stands only while the table has not changed ([`Stamp`]) and until the moment at which the table itself would answer
//! differently or would have to note that the source is alive ([`Known::until`]). Only stations that are known are
//! remembered.
//!
//! The memo has [`SLOTS`] places, one for each pair of addresses by their hash; the last conversation that needed a
//! place has it. Somebody who makes conversations collide, or the table change, takes away the shortcut and no more.

use super::fdb::{Known, Location};
use super::segment::{Segment, SourceElsewhere};
use crate::time::Moment;
use crate::wire::MacAddr;

/// Places, 96 KiB for a worker: they should stay in its core's cache.
const SLOTS: usize = 1 << BITS;
const BITS: u32 = 10;

/// A table in a certain state: which table, and how often it had changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which table; 0 is none.
    pub(crate) table: u64,
    /// Changes before this state.
    pub(crate) changes: u64,
}

/// A worker's memory of conversations. One without places remembers nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memo {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    stamp: Stamp,
    source: MacAddr,
    destination: MacAddr,
    ingress: Location,
    known: Known,
}

impl Memo {
    /// A memory without places.
    pub(crate) const fn none() -> Self {
        Self { slots: Vec::new() }
    }

    /// A memory in which nothing is remembered yet.
    pub(crate) fn new() -> Self {
        let known = Known { location: Location::NOWHERE, until: Moment::ZERO };
        let empty = Slot {
            stamp: Stamp::default(),
            source: MacAddr::ZERO,
            destination: MacAddr::ZERO,
            ingress: Location::NOWHERE,
            known,
        };
        Self { slots: vec![empty; SLOTS] }
    }

    /// [`Segment::consult`], from memory if that gives the same answer.
    #[inline]
    pub(crate) fn consult(
        &mut self,
        segment: &Segment,
        source: MacAddr,
        ingress: Location,
        destination: MacAddr,
        now: Moment,
    ) -> Result<Option<Location>, SourceElsewhere> {
        let stamp = segment.stamp();
        let slot = self.slots.get_mut(place(source, destination));
        if let Some(slot) = &slot
            && slot.stamp == stamp
            && slot.source == source
            && slot.destination == destination
            && slot.ingress == ingress
            && now < slot.known.until
        {
            return Ok(Some(slot.known.location));
        }
        let known = segment.consult(source, ingress, destination, now)?;
        if let (Some(slot), Some(known)) = (slot, known) {
            *slot = Slot { stamp, source, destination, ingress, known };
        }
        Ok(known.map(|known| known.location))
    }
}

/// Multiplicative hashing (Knuth 6.4): the best bits of a product are the highest.
#[inline]
const fn place(source: MacAddr, destination: MacAddr) -> usize {
    let key = source.to_u64() ^ destination.to_u64().rotate_left(24);
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - BITS)) as usize
}
