//! What goes into the table and comes out of it.

use std::net::IpAddr;

use crate::offload::Offload;
use crate::tables::{PortId, SegmentId};
use crate::wire::MacAddr;

/// An address on a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The segment.
    pub segment: SegmentId,
    /// The address.
    pub address: IpAddr,
}

/// A packet that is on its way to a target.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// The port it came from.
    pub from: PortId,
    /// The frame, whose Ethernet addresses are still to be set.
    pub frame: &'a [u8],
    /// What it owes.
    pub offload: Offload,
}

/// A packet that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where it was to go.
    pub target: Target,
    /// The port it came from.
    pub from: PortId,
    /// The frame, whose Ethernet addresses are still to be set.
    pub frame: Vec<u8>,
    /// What it owes.
    pub offload: Offload,
}

/// A frame to be sent on a segment: to the VTEP of its destination, or to all if that is a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The segment.
    pub segment: SegmentId,
    /// The frame.
    pub frame: Vec<u8>,
}

/// What [`Neighbors::resolve`](super::Neighbors::resolve) knows of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a question that is not asked gets no answer"]
pub enum Resolved {
    /// Its MAC, and now and then a question whether it is still there.
    Known(MacAddr, Option<Question>),
    /// The packet waits for the answer.
    Asking {
        /// What to ask, unless that was done within the last second.
        question: Option<Question>,
        /// Whether an earlier packet has given way to this one and is lost, as `gateway_unresolved`.
        replaced: bool,
    },
    /// There is no room to ask: the packet is lost, as `neighbors_full`.
    Full,
}

/// What has come due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// What to ask again.
    pub questions: Vec<Question>,
    /// Packets whose targets have been given up: lost, as `gateway_unresolved`.
    pub unanswered: Vec<Held>,
}

/// How much the table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Targets whose MAC is known.
    pub known: usize,
    /// Targets asked for; a packet waits for each.
    pub asking: usize,
}
