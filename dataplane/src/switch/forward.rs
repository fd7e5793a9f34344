//! From what is known of a destination to a verdict (IEEE 802.1D 7.7, RFC 7348 section 4).

use super::fdb::Location;
use super::storm::{Storm, StormLimit};
use crate::time::Moment;
use crate::verdict::{DropReason, Verdict};

/// Where a frame that entered through `ingress` goes when its destination is at `known`, or is not known or a group. BUM
/// frames ask `storm` first.
pub fn forward(
    known: Option<Location>,
    ingress: Location,
    storm: (&Storm, StormLimit),
    now: Moment,
) -> Verdict {
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
