//! Everything a frame can leave through: the worker's ports, the host's links, and the worker's sender.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::engine::{Delivery, Round};
use crate::datapath::{Datapath, Frame, Judged, Made, To};
use crate::gateway::route::LinkId;
use crate::io::pcap::Direction;
use crate::io::{FRAME_MAX, FrameIo, PacketIo, UnderlayTx};
use crate::offload::checksum::complete;
use crate::offload::coalesce::Joined;
use crate::offload::{GsoKind, Offload, segments};
use crate::switch::Segment;
use crate::tables::PortId;
use crate::tunnel::Vtep;
use crate::verdict::{DropReason, Verdict};
use crate::wire::{ethernet, vxlan};

/// A worker's ways out.
pub(super) struct Outputs {
    pub(super) datapath: Datapath,
    pub(super) ports: HashMap<PortId, Box<dyn FrameIo>, FixedState>,
    pub(super) links: HashMap<LinkId, Box<dyn FrameIo>, FixedState>,
    /// The links again, for packets whose next hop the kernel is to resolve.
    pub(super) hosts: HashMap<LinkId, Box<dyn PacketIo>, FixedState>,
    pub(super) tx: Option<Box<dyn UnderlayTx>>,
    /// Kinds of super-frames that a port has refused: they are cut before they are delivered from then on.
    port_refuses: Vec<GsoKind>,
    /// The same of links.
    link_refuses: Vec<GsoKind>,
    /// Room for one piece of a super-frame.
    piece: Vec<u8>,
}

/// Where one frame goes.
#[derive(Clone, Copy)]
enum Exit {
    Port(PortId),
    Link(LinkId),
}

impl Outputs {
    pub(super) fn new(datapath: Datapath, tx: Option<Box<dyn UnderlayTx>>) -> Self {
        Self {
            datapath,
            ports: HashMap::with_hasher(FixedState::default()),
            links: HashMap::with_hasher(FixedState::default()),
            hosts: HashMap::with_hasher(FixedState::default()),
            tx,
            port_refuses: Vec::new(),
            link_refuses: Vec::new(),
            piece: Vec::new(),
        }
    }

    /// Does with a frame what its verdict says, and sends what the datapath has made meanwhile.
    pub(super) fn carry_out(&mut self, round: Round<'_>, mut judged: Judged<'_, '_>) {
        if let Some(segment) = judged.segment {
            let joined = Joined::from(&judged.frame);
            match judged.verdict {
                Verdict::Drop(_) | Verdict::Consumed | Verdict::Held => {}
                Verdict::Deliver(port) => self.send(round, segment, Exit::Port(port), &joined),
                Verdict::Leave(link) => self.send(round, segment, Exit::Link(link), &joined),
                Verdict::ByHost(link) => self.leave_to_host(round, segment, link, &judged.frame),
                Verdict::Transmit(vtep) => {
                    self.transmit(round, segment, &mut judged.frame, std::iter::once(vtep));
                }
                Verdict::Flood => {
                    for port in judged.flood_ports() {
                        self.send(round, segment, Exit::Port(port), &joined);
                    }
                    let vteps = judged.flood_vteps();
                    self.transmit(round, segment, &mut judged.frame, vteps);
                }
            }
        }
        self.send_made(round);
    }

    /// Delivers what came from the tunnel.
    pub(super) fn deliver_joined(&mut self, round: Round<'_>, joined: &Joined<'_, Delivery>) {
        // The segment was there when the round began, and the round's tables do not change.
        if let Some(segment) = round.tables.segment(joined.to.segment) {
            self.send(round, segment, Exit::Port(joined.to.port), joined);
        }
    }

    /// Sends the packets that the datapath has made itself.
    pub(super) fn send_made(&mut self, round: Round<'_>) {
        while let Some(Made { to, segment, mut bytes, offload }) = self.datapath.take_made() {
            let Some(segment) = round.tables.segment(segment) else { continue };
            let mut frame = Frame { bytes: &mut bytes, offload };
            match to {
                To::Port(port) => self.send(round, segment, Exit::Port(port), &Joined::from(&frame)),
                To::Link(link) => self.send(round, segment, Exit::Link(link), &Joined::from(&frame)),
                To::Host(link) => self.leave_to_host(round, segment, link, &frame),
                To::Vtep(vtep) => self.transmit(round, segment, &mut frame, std::iter::once(vtep)),
                To::Vteps => self.transmit(round, segment, &mut frame, segment.vteps()),
            }
        }
    }

    fn send<K>(&mut self, round: Round<'_>, segment: &Segment, to: Exit, frame: &Joined<'_, K>) {
        let (io, refused, gone) = match to {
            Exit::Port(port) => (self.ports.get_mut(&port), &mut self.port_refuses, DropReason::PortGone),
            Exit::Link(link) => (self.links.get_mut(&link), &mut self.link_refuses, DropReason::UplinkDown),
        };
        let Some(io) = io else {
            return self.datapath.lost(round.tables, Some(segment), gone, frame.count);
        };
        let kind = frame.offload.gso.map(|gso| gso.kind);
        let whole = kind.is_none_or(|kind| !refused.contains(&kind));
        let sent = if whole { io.send(frame.bytes, frame.offload) } else { Err(DropReason::PortRefused) };
        match (sent, kind) {
            (Ok(()), _) => {
                if let Exit::Port(port) = to {
                    round.record(segment, port, Direction::Outbound, frame.bytes);
                }
            }
            (Err(DropReason::PortRefused | DropReason::UplinkRefused), Some(kind)) => {
                if whole {
                    tracing::warn!(?kind, "a device refuses a super-frame; cutting them from here on");
                    refused.push(kind);
                }
                let send = |piece: &[u8]| io.send(piece, Offload::NONE);
                let lost = send_pieces(frame.bytes, frame.offload, &mut self.piece, send);
                if let Some((reason, count)) = lost {
                    self.datapath.lost(round.tables, Some(segment), reason, count);
                }
            }
            (Err(reason), _) => self.datapath.lost(round.tables, Some(segment), reason, frame.count),
        }
    }

    /// Gives the packet to the kernel, piece by piece.
    fn leave_to_host(&mut self, round: Round<'_>, segment: &Segment, link: LinkId, frame: &Frame<'_>) {
        let Some(host) = self.hosts.get_mut(&link) else {
            return self.datapath.lost(round.tables, Some(segment), DropReason::UplinkDown, 1);
        };
        let send = |piece: &[u8]| host.send(piece.get(ethernet::HEADER_LEN..).unwrap_or_default());
        if let Some((reason, count)) = send_pieces(frame.bytes, frame.offload, &mut self.piece, send) {
            self.datapath.lost(round.tables, Some(segment), reason, count);
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

/// Sends a frame piece by piece, with its checksums; returns what was lost, and why.
fn send_pieces(
    bytes: &[u8],
    offload: Offload,
    room: &mut Vec<u8>,
    mut send: impl FnMut(&[u8]) -> Result<(), DropReason>,
) -> Option<(DropReason, u64)> {
    let pieces = match segments(bytes, offload) {
        Ok(pieces) => pieces,
        Err(e) => return Some((e.into(), 1)),
    };
    room.resize(FRAME_MAX, 0);
    let mut lost: Option<(DropReason, u64)> = None;
    for index in 0..pieces.len() {
        let len = pieces.write(index, room);
        if let Err(reason) = send(&room[..len]) {
            let before = lost.map_or(0, |(_, count)| count);
            lost = Some((reason, before + 1));
        }
    }
    lost
}
