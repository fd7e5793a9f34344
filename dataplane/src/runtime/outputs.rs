//! Everything a frame can leave through: the worker's ports and its sender.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::engine::{Delivery, Round};
use crate::datapath::{Datapath, Frame, Judged};
use crate::io::pcap::Direction;
use crate::io::{FRAME_MAX, FrameIo, UnderlayTx};
use crate::offload::checksum::complete;
use crate::offload::coalesce::Joined;
use crate::offload::{GsoKind, Offload, segments};
use crate::switch::Segment;
use crate::tables::PortId;
use crate::tunnel::Vtep;
use crate::verdict::{DropReason, Verdict};
use crate::wire::vxlan;

/// A worker's ways out.
pub(super) struct Outputs {
    pub(super) datapath: Datapath,
    pub(super) ports: HashMap<PortId, Box<dyn FrameIo>, FixedState>,
    pub(super) tx: Option<Box<dyn UnderlayTx>>,
    /// Kinds of super-frames that a port has refused: they are cut before they are delivered from then on.
    refused: Vec<GsoKind>,
    /// Room for one piece of a super-frame.
    piece: Vec<u8>,
}

impl Outputs {
    pub(super) fn new(datapath: Datapath, tx: Option<Box<dyn UnderlayTx>>) -> Self {
        let ports = HashMap::with_hasher(FixedState::default());
        Self { datapath, ports, tx, refused: Vec::new(), piece: Vec::new() }
    }

    /// Does with a frame what its verdict says.
    pub(super) fn carry_out(&mut self, round: Round<'_>, mut judged: Judged<'_, '_>) {
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

    /// Delivers what came from the tunnel.
    pub(super) fn deliver_joined(&mut self, round: Round<'_>, joined: &Joined<'_, Delivery>) {
        // The segment was there when the round began, and the round's tables do not change.
        if let Some(segment) = round.tables.segment(joined.to.segment) {
            self.deliver(round, segment, joined.to.port, joined);
        }
    }

    fn deliver<K>(&mut self, round: Round<'_>, segment: &Segment, port: PortId, frame: &Joined<'_, K>) {
        let Some(io) = self.ports.get_mut(&port) else {
            return self.datapath.lost(round.tables, Some(segment), DropReason::PortGone, frame.count);
        };
        let kind = frame.offload.gso.map(|gso| gso.kind);
        let whole = kind.is_none_or(|kind| !self.refused.contains(&kind));
        let sent = if whole { io.send(frame.bytes, frame.offload) } else { Err(DropReason::PortRefused) };
        match (sent, kind) {
            (Ok(()), _) => round.record(segment, port, Direction::Outbound, frame.bytes),
            (Err(DropReason::PortRefused), Some(kind)) => {
                if whole {
                    tracing::warn!(?kind, "a port refuses a super-frame; cutting them from here on");
                    self.refused.push(kind);
                }
                let lost = send_pieces(&mut **io, frame.bytes, frame.offload, &mut self.piece);
                if let Some((reason, count)) = lost {
                    self.datapath.lost(round.tables, Some(segment), reason, count);
                }
            }
            (Err(reason), _) => self.datapath.lost(round.tables, Some(segment), reason, frame.count),
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

/// Sends a super-frame piece by piece; returns what was lost, and why.
fn send_pieces(
    io: &mut dyn FrameIo,
    bytes: &[u8],
    offload: Offload,
    room: &mut Vec<u8>,
) -> Option<(DropReason, u64)> {
    let pieces = match segments(bytes, offload) {
        Ok(pieces) => pieces,
        Err(e) => return Some((e.into(), 1)),
    };
    room.resize(FRAME_MAX, 0);
    let mut lost: Option<(DropReason, u64)> = None;
    for index in 0..pieces.len() {
        let len = pieces.write(index, room);
        if let Err(reason) = io.send(&room[..len], Offload::NONE) {
            let before = lost.map_or(0, |(_, count)| count);
            lost = Some((reason, before + 1));
        }
    }
    lost
}
