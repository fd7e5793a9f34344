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
use crate::wire::Ethernet;

/// Places: 360 KiB for a worker, of which it touches what its conversations need.
const SLOTS: usize = 1 << BITS;
const BITS: u32 = 12;

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
    addresses: [u8; 12],
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
        let empty = Slot { stamp: Stamp::default(), addresses: [0; 12], ingress: Location::NOWHERE, known };
        Self { slots: vec![empty; SLOTS] }
    }

    /// How many conversations are remembered.
    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        self.slots.iter().filter(|slot| slot.stamp != Stamp::default()).count()
    }

    /// [`Segment::consult`] for `frame`, from memory if that gives the same answer.
    #[inline]
    pub(crate) fn consult(
        &mut self,
        segment: &Segment,
        frame: Ethernet<'_>,
        ingress: Location,
        now: Moment,
    ) -> Result<Option<Location>, SourceElsewhere> {
        let stamp = segment.stamp();
        let addresses = frame.addresses();
        let slot = self.slots.get_mut(place(addresses));
        if let Some(slot) = &slot
            && slot.stamp == stamp
            && slot.addresses == addresses
            && slot.ingress == ingress
            && now < slot.known.until
        {
            return Ok(Some(slot.known.location));
        }
        let known = segment.consult(frame.source(), ingress, frame.destination(), now)?;
        if let (Some(slot), Some(known)) = (slot, known) {
            *slot = Slot { stamp, addresses, ingress, known };
        }
        Ok(known.map(|known| known.location))
    }
}

/// Multiplicative hashing (Knuth 6.4): the best bits of a product are the highest.
#[inline]
fn place(addresses: [u8; 12]) -> usize {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = addresses;
    let (front, back) = (u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u32::from_ne_bytes([i, j, k, l]));
    let key = front.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(back);
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - BITS)) as usize
}
