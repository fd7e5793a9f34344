//! Verdicts, carried out.
//!
//! An [`Engine`] is a worker without its event loop: ports, an underlay, a datapath. It does what it is told to when it
//! is told to, so a test can drive several of them over memory and see every step.

use std::fmt;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::capture::CaptureTap;
use crate::datapath::{Datapath, Frame, Judged};
use crate::io::pcap::Direction;
use crate::io::{FRAME_MAX, FrameIo, UnderlayRx, UnderlayTx};
use crate::offload::checksum::complete;
use crate::offload::coalesce::{Coalescer, Joined};
use crate::offload::segments;
use crate::switch::Segment;
use crate::tables::{PortId, SegmentId, Tables};
use crate::time::Moment;
use crate::tunnel::Vtep;
use crate::verdict::{DropReason, Verdict};
use crate::wire::vxlan;

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
}

/// Where a frame from the tunnel is delivered, and whose loss it would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Delivery {
    port: PortId,
    segment: SegmentId,
}

/// Everything a frame can leave through.
struct Outputs {
    datapath: Datapath,
    ports: HashMap<PortId, Box<dyn FrameIo>, FixedState>,
    tx: Option<Box<dyn UnderlayTx>>,
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
        let ports = HashMap::with_hasher(FixedState::default());
        let outputs = Outputs { datapath, ports, tx };
        Self { buffer: vec![0; FRAME_MAX].into(), joining: Coalescer::default(), outputs }
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

    /// Switches up to [`BUDGET`] frames that the endpoint of `id` has sent.
    pub fn drain_port(&mut self, tables: &Tables, id: PortId, now: Moment) -> Progress {
        self.port_round(Round { tables, captures: &[], now }, id)
    }

    /// Switches one batch of datagrams from `rx`; returns how many it had.
    pub fn drain_underlay(&mut self, tables: &Tables, rx: &mut dyn UnderlayRx, now: Moment) -> usize {
        self.underlay_round(Round { tables, captures: &[], now }, rx)
    }

    /// Sends what was collected for the underlay.
    pub fn flush(&mut self, tables: &Tables) {
        let Some(tx) = &mut self.outputs.tx else { return };
        tx.flush();
        for loss in tx.take_losses() {
            self.outputs.datapath.lost(tables, tables.segment(loss.segment), loss.reason, loss.count);
        }
    }

    pub(crate) fn port_round(&mut self, round: Round<'_>, id: PortId) -> Progress {
        let Some(port) = round.tables.port(id) else { return Progress::Gone };
        let segment = round.tables.segment_of(port);
        for _ in 0..BUDGET {
            let Some(io) = self.outputs.ports.get_mut(&id) else { return Progress::Gone };
            let received = match io.recv(&mut self.buffer) {
                Ok(Some(received)) => received,
                Ok(None) => return Progress::Empty,
                Err(_) => return Progress::Gone,
            };
            let bytes = &mut self.buffer[..received.len];
            round.record(segment, id, Direction::Inbound, bytes);
            let Ok(offload) = received.offload else {
                self.outputs.datapath.lost(round.tables, Some(segment), DropReason::BadVirtioHeader, 1);
                continue;
            };
            let frame = Frame { bytes, offload };
            let judged = self.outputs.datapath.from_port(round.tables, port, frame, round.now);
            self.outputs.carry_out(round, judged);
        }
        Progress::More
    }

    pub(crate) fn underlay_round(&mut self, round: Round<'_>, rx: &mut dyn UnderlayRx) -> usize {
        let Self { joining, outputs, .. } = self;
        let count = rx.fill();
        for index in 0..count {
            let datagram = rx.datagram(index);
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
    fn record(&self, segment: &Segment, port: PortId, direction: Direction, frame: &[u8]) {
        for capture in self.captures {
            capture.offer(segment.id, port, direction, frame);
        }
    }
}

impl Outputs {
    fn carry_out(&mut self, round: Round<'_>, mut judged: Judged<'_, '_>) {
        let Some(segment) = judged.segment else { return };
        match judged.verdict {
            Verdict::Drop(_) => {}
            Verdict::Deliver(port) => self.deliver(round, segment, port, &Joined::from(&judged.frame)),
            Verdict::Transmit(vtep) => {
                self.transmit(round, segment, &mut judged.frame, std::iter::once(vtep));
            }
            Verdict::Flood => {
                for port in judged.flood_ports() {
                    self.deliver(round, segment, port, &Joined::from(&judged.frame));
                }
                let vteps = judged.flood_vteps();
                self.transmit(round, segment, &mut judged.frame, vteps);
            }
        }
    }

    fn deliver_joined(&mut self, round: Round<'_>, joined: &Joined<'_, Delivery>) {
        // The segment was there when the round began, and the round's tables do not change.
        if let Some(segment) = round.tables.segment(joined.to.segment) {
            self.deliver(round, segment, joined.to.port, joined);
        }
    }

    fn deliver<K>(&mut self, round: Round<'_>, segment: &Segment, port: PortId, frame: &Joined<'_, K>) {
        let sent = match self.ports.get_mut(&port) {
            Some(io) => io.send(frame.bytes, frame.offload),
            None => Err(DropReason::PortGone),
        };
        match sent {
            Ok(()) => round.record(segment, port, Direction::Outbound, frame.bytes),
            Err(reason) => self.datapath.lost(round.tables, Some(segment), reason, frame.count),
        }
    }

    /// Sends the frame to each of `vteps`: whole where the underlay takes it so, otherwise cut into what it can carry.
    fn transmit(
        &mut self,
        round: Round<'_>,
        segment: &Segment,
        frame: &mut Frame<'_>,
        vteps: impl Iterator<Item = Vtep>,
    ) {
        let lost = |reason| self.datapath.lost(round.tables, Some(segment), reason, 1);
        let mut vteps = vteps.peekable();
        let Some(envelope) = self.datapath.envelope(segment, frame.bytes) else { return };
        if vteps.peek().is_none() {
            return;
        }
        let Some(tx) = &mut self.tx else { return lost(DropReason::UnderlayUnreachable) };
        if frame.offload.gso.is_none() {
            complete(frame.bytes, &mut frame.offload);
        }
        let pieces = match segments(frame.bytes, frame.offload) {
            Ok(pieces) => pieces,
            Err(e) => return lost(e.into()),
        };
        for vtep in vteps {
            if tx.send_whole(vtep, &envelope, segment.id, frame.bytes, frame.offload) {
                continue;
            }
            for index in 0..pieces.len() {
                let room = tx.stage(vxlan::HEADER_LEN + pieces.max_len());
                let (header, inner) = room.split_at_mut(vxlan::HEADER_LEN);
                header.copy_from_slice(&envelope.vxlan);
                let len = pieces.write(index, inner);
                tx.commit(vtep, &envelope, segment.id, vxlan::HEADER_LEN + len);
            }
        }
    }
}

#[cfg(test)]
mod tests;
