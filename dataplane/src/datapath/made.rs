//! Packets that the datapath makes itself: errors, questions, and what it had kept.

use std::collections::VecDeque;

use crate::gateway::route::LinkId;
use crate::offload::Offload;
use crate::tables::{PortId, SegmentId};
use crate::tunnel::Vtep;

/// Where a packet that was made goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To one local port.
    Port(PortId),
    /// To one VTEP.
    Vtep(Vtep),
    /// To every VTEP of the segment.
    Vteps,
    /// Off the host through a link.
    Link(LinkId),
    /// Off the host through a link, to a next hop that the kernel is to resolve: without the Ethernet header.
    Host(LinkId),
}

/// A packet that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Where it goes.
    pub to: To,
    /// On whose behalf.
    pub segment: SegmentId,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// What is left to do to it.
    pub offload: Offload,
}

/// Packets that were made while one frame was judged, in order: fragments and what a neighbour's answer releases are a
/// few dozen at most.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox(VecDeque<Made>);

impl Outbox {
    pub(super) fn push(&mut self, made: Made) {
        self.0.push_back(made);
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Made> {
        self.0.pop_front()
    }
}
