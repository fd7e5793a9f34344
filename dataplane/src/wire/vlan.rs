//! VLAN tags: four bytes between the addresses and the EtherType, at most two deep here.

use super::{EtherType, be16, ethernet};

/// Bytes of one tag.
pub const TAG_LEN: usize = 4;

/// Tags that are looked through: one service tag and one customer tag.
pub const MAX_TAGS: usize = 2;

/// The pre-standard service tag, still sent by old switches.
const QINQ_OLD: u16 = 0x9100;

/// Where the EtherType of an untagged frame stands, right after the two addresses.
const TYPE_AT: usize = 12;

/// Whether this EtherType announces a tag rather than a payload.
#[must_use]
#[inline]
pub fn is_tag(ether_type: EtherType) -> bool {
    ether_type == EtherType::VLAN || ether_type == EtherType::QINQ || ether_type.0 == QINQ_OLD
}

/// Whether the frame's first EtherType is a tag, even one that the frame is too short to hold.
#[must_use]
#[inline]
pub fn is_tagged(frame: &[u8]) -> bool {
    frame.len() >= ethernet::HEADER_LEN && is_tag(EtherType(be16(frame, TYPE_AT)))
}

/// Complete tags in front of the real EtherType, at most [`MAX_TAGS`].
#[inline]
fn tags(frame: &[u8]) -> usize {
    let mut count = 0;
    while count < MAX_TAGS {
        let at = TYPE_AT + count * TAG_LEN;
        if frame.len() < at + 2 + TAG_LEN || !is_tag(EtherType(be16(frame, at))) {
            break;
        }
        count += 1;
    }
    count
}

/// Removes up to two tags in place, by moving the addresses towards the payload.
///
/// Returns the shortened frame and the number of bytes removed: 0, 4 or 8. A tag that the frame is too short to hold
/// and a third tag stay, so [`is_tagged`] is still true of such a frame.
#[inline]
pub fn strip(frame: &mut [u8]) -> (&mut [u8], usize) {
    let removed = tags(frame) * TAG_LEN;
    if removed > 0 {
        frame.copy_within(..TYPE_AT, removed);
    }
    (&mut frame[removed..], removed)
}

/// The EtherType after up to two tags, and where its payload (layer 3) begins.
///
/// `None` when the frame ends before that: below 14 bytes, or inside a tag.
#[must_use]
#[inline]
pub fn untagged(frame: &[u8]) -> Option<(EtherType, usize)> {
    if frame.len() < ethernet::HEADER_LEN {
        return None;
    }
    let first = EtherType(be16(frame, TYPE_AT));
    if is_tag(first) { behind_tags(frame) } else { Some((first, ethernet::HEADER_LEN)) }
}

/// [`untagged`] for a frame with a tag.
#[cold]
fn behind_tags(frame: &[u8]) -> Option<(EtherType, usize)> {
    let count = tags(frame);
    let at = TYPE_AT + count * TAG_LEN;
    let ether_type = EtherType(be16(frame, at));
    if count < MAX_TAGS && is_tag(ether_type) {
        return None;
    }
    Some((ether_type, at + 2))
}
