//! From a destination address to a verdict (IEEE 802.1D 7.7, RFC 7348 section 4).

use super::fdb::Location;
use super::segment::Segment;
use super::storm::{Storm, StormLimit};
use crate::time::Moment;
use crate::verdict::{DropReason, Verdict};
use crate::wire::MacAddr;

/// Where a frame for `destination` that entered through `ingress` goes. BUM frames ask `storm` first.
pub fn forward(
    segment: &Segment,
    ingress: Location,
    destination: MacAddr,
    storm: (&Storm, StormLimit),
    now: Moment,
) -> Verdict {
    if destination.is_reserved_group() {
        return Verdict::Drop(DropReason::ReservedGroup);
    }
    let known = if destination.is_multicast() { None } else { segment.locate(destination, now) };
    match (known, ingress) {
        (Some(location), _) if location == ingress => Verdict::Drop(DropReason::SamePort),
        (Some(Location::Local(port)), _) => Verdict::Deliver(port),
        (Some(Location::Remote(vtep)), Location::Local(_)) => Verdict::Transmit(vtep),
        // Never from tunnel to tunnel: the sender replicates to every member by itself.
        (Some(Location::Remote(_)), Location::Remote(_)) => Verdict::Drop(DropReason::SplitHorizon),
        (None, _) if storm.0.admit(storm.1, now) => Verdict::Flood,
        (None, _) => Verdict::Drop(DropReason::Storm),
    }
}
