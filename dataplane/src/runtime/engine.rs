//! Verdicts, carried out.
//!
//! An [`Engine`] is a worker without its event loop: ports, an underlay, a datapath. It does what it is told to when it
//! is told to, so a test can drive several of them over memory and see every step.

use std::fmt;

use super::capture::CaptureTap;
use super::outputs::Outputs;
use crate::datapath::{Datapath, Frame};
use crate::gateway::route::LinkId;
use crate::io::pcap::Direction;
use crate::io::{FRAME_MAX, FrameIo, PacketIo, UnderlayRx, UnderlayTx};
use crate::offload::coalesce::{Coalescer, Joined};
use crate::switch::Segment;
use crate::tables::{PortId, SegmentId, Tables};
use crate::time::Moment;
use crate::verdict::{DropReason, Verdict};

/// Frames taken from one port before the next one has its turn.
pub(crate) const BUDGET: usize = 64;

/// How far a port was emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has nothing more for now.
    Empty,
    /// The budget was used up.
    More,
    /// It will bring nothing again.
    Gone,
}

/// One worker's ports and underlay, and the datapath between them.
pub struct Engine {
    buffer: Box<[u8]>,
    joining: Coalescer<Delivery>,
    outputs: Outputs,
    received: usize,
}

/// Where a frame from the tunnel is delivered, and whose loss it would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) port: PortId,
    pub(super) segment: SegmentId,
}

/// What a round works with.
#[derive(Clone, Copy)]
pub(crate) struct Round<'t> {
    pub(crate) tables: &'t Tables,
    pub(crate) captures: &'t [std::sync::Arc<CaptureTap>],
    pub(crate) now: Moment,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("ports", &self.outputs.ports.len()).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without ports.
    #[must_use]
    pub fn new(datapath: Datapath, tx: Option<Box<dyn UnderlayTx>>) -> Self {
        let outputs = Outputs::new(datapath, tx);
        Self { buffer: vec![0; FRAME_MAX].into(), joining: Coalescer::default(), outputs, received: 0 }
    }

    /// Adds a port, or replaces it.
    pub fn attach(&mut self, id: PortId, io: Box<dyn FrameIo>) {
        self.outputs.ports.insert(id, io);
    }

    /// Gives a port back.
    pub fn detach(&mut self, id: PortId) -> Option<Box<dyn FrameIo>> {
        self.outputs.ports.remove(&id)
    }

    /// The port's I/O.
    #[must_use]
    pub fn port(&self, id: PortId) -> Option<&dyn FrameIo> {
        self.outputs.ports.get(&id).map(|io| &**io)
    }

    /// Adds a link of the host, or replaces it: `io` for frames, `host` for packets whose next hop is not resolved.
    pub fn attach_link(&mut self, id: LinkId, io: Box<dyn FrameIo>, host: Box<dyn PacketIo>) {
        self.outputs.links.insert(id, io);
        self.outputs.hosts.insert(id, host);
    }

    /// Lets go of a link.
    pub fn detach_link(&mut self, id: LinkId) {
        self.outputs.links.remove(&id);
        self.outputs.hosts.remove(&id);
    }

    /// The link's I/O.
    #[must_use]
    pub fn link(&self, id: LinkId) -> Option<&dyn FrameIo> {
        self.outputs.links.get(&id).map(|io| &**io)
    }

    /// Takes up to [`BUDGET`] frames that have come to the host through link `id`.
    pub fn drain_link(&mut self, tables: &Tables, id: LinkId, now: Moment) -> Progress {
        self.link_round(Round { tables, captures: &[], now }, id)
    }

    /// Switches up to [`BUDGET`] frames that the endpoint of `id` has sent.
    pub fn drain_port(&mut self, tables: &Tables, id: PortId, now: Moment) -> Progress {
        self.port_round(Round { tables, captures: &[], now }, id, || false)
    }

    /// Switches one batch of datagrams from `rx`; returns how many it had.
    pub fn drain_underlay(&mut self, tables: &Tables, rx: &mut dyn UnderlayRx, now: Moment) -> usize {
        self.underlay_round(Round { tables, captures: &[], now }, rx)
    }

    /// How many bytes have come in since this was last asked.
    pub(crate) fn take_received(&mut self) -> usize {
        std::mem::take(&mut self.received)
    }

    /// Sends what was collected for the underlay.
    pub fn flush(&mut self, tables: &Tables) {
        let Some(tx) = &mut self.outputs.tx else { return };
        tx.flush();
        for loss in tx.take_losses() {
            self.outputs.datapath.lost(tables, tables.segment(loss.segment), loss.reason, loss.count);
        }
    }

    /// What is to be done about once a second, by one worker.
    pub(crate) fn sweep(&mut self, round: Round<'_>, budget: usize) {
        let house = &round.tables.house;
        house.outside().nat.expire(round.now, budget);
        // Fragments may have been given up, and ports may be wanted again.
        house.touch();
        self.outputs.datapath.expire_waiting(round.tables, round.now);
        self.outputs.datapath.poll_neighbors(round.tables, round.now);
        self.outputs.send_made(round);
    }

    /// Switches the frames that have waited for outside ports, when some have come.
    pub(crate) fn resume(&mut self, round: Round<'_>) {
        for mut waiter in round.tables.house.take_resumed() {
            let Some(port) = round.tables.port(waiter.port) else {
                self.outputs.datapath.lost(round.tables, None, DropReason::PortGone, 1);
                continue;
            };
            let frame = Frame { bytes: &mut waiter.bytes, offload: waiter.offload };
            let judged = self.outputs.datapath.from_port(round.tables, port, frame, round.now);
            self.outputs.carry_out(round, judged);
        }
    }

    /// As [`Engine::drain_port`], but stops after a frame as soon as it is `pressed` for time: one may go to thousands of
    /// ports.
    pub(crate) fn port_round(
        &mut self,
        round: Round<'_>,
        id: PortId,
        pressed: impl Fn() -> bool,
    ) -> Progress {
        let Some(port) = round.tables.port(id) else { return Progress::Gone };
        let segment = round.tables.segment_of(port);
        for _ in 0..BUDGET {
            let Some(io) = self.outputs.ports.get_mut(&id) else { return Progress::Gone };
            let received = match io.recv(&mut self.buffer) {
                Ok(Some(received)) => received,
                Ok(None) => return Progress::Empty,
                Err(_) => return Progress::Gone,
            };
            self.received += received.len;
            let bytes = &mut self.buffer[..received.len];
            round.record(segment, id, Direction::Inbound, bytes);
            let Ok(offload) = received.offload else {
                self.outputs.datapath.lost(round.tables, Some(segment), DropReason::BadVirtioHeader, 1);
                continue;
            };
            let frame = Frame { bytes, offload };
            let judged = self.outputs.datapath.from_port(round.tables, port, frame, round.now);
            self.outputs.carry_out(round, judged);
            if pressed() {
                break;
            }
        }
        Progress::More
    }

    pub(crate) fn link_round(&mut self, round: Round<'_>, id: LinkId) -> Progress {
        for _ in 0..BUDGET {
            let Some(io) = self.outputs.links.get_mut(&id) else { return Progress::Gone };
            let received = match io.recv(&mut self.buffer) {
                Ok(Some(received)) => received,
                Ok(None) => return Progress::Empty,
                Err(_) => return Progress::Gone,
            };
            self.received += received.len;
            let Ok(offload) = received.offload else {
                self.outputs.datapath.lost(round.tables, None, DropReason::BadVirtioHeader, 1);
                continue;
            };
            let frame = Frame { bytes: &mut self.buffer[..received.len], offload };
            let judged = self.outputs.datapath.from_link(round.tables, id, frame, round.now);
            self.outputs.carry_out(round, judged);
        }
        Progress::More
    }

    pub(crate) fn underlay_round(&mut self, round: Round<'_>, rx: &mut dyn UnderlayRx) -> usize {
        let Self { joining, outputs, received, .. } = self;
        let count = rx.fill();
        for index in 0..count {
            let datagram = rx.datagram(index);
            *received += datagram.payload.len();
            let (sender, ecn) = (datagram.sender, datagram.ecn);
            let judged = outputs.datapath.from_tunnel(round.tables, sender, ecn, datagram.payload, round.now);
            match (judged.verdict, judged.segment) {
                (Verdict::Drop(_), _) => {}
                (Verdict::Deliver(port), Some(segment)) => {
                    let to = Delivery { port, segment: segment.id };
                    let Frame { bytes, offload } = &judged.frame;
                    joining.push(to, bytes, *offload, |joined| outputs.deliver_joined(round, &joined));
                }
                _ => {
                    joining.flush(|joined| outputs.deliver_joined(round, &joined));
                    outputs.carry_out(round, judged);
                }
            }
        }
        joining.flush(|joined| outputs.deliver_joined(round, &joined));
        count
    }
}

impl<'f> From<&'f Frame<'_>> for Joined<'f, ()> {
    fn from(frame: &'f Frame<'_>) -> Self {
        Joined { to: (), bytes: frame.bytes, offload: frame.offload, count: 1 }
    }
}

impl Round<'_> {
    pub(super) fn record(&self, segment: &Segment, port: PortId, direction: Direction, frame: &[u8]) {
        for capture in self.captures {
            capture.offer(segment.id, port, direction, frame);
        }
    }
}

#[cfg(test)]
mod tests;
