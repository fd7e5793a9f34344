//! Packets that go on: to another subnet of their network, or off the host.

use super::packet::{Header, L3, address, is_partial};
use super::{Refusal, Visit, size};
use crate::datapath::made::To;
use crate::datapath::{Datapath, Frame};
use crate::gateway::GATEWAY_MAC;
use crate::gateway::icmp::ErrorKind;
use crate::gateway::neighbor::{Resolved, Target, Waiting};
use crate::gateway::route::Hop;
use crate::nat::{Inside, Outcome, Policy};
use crate::offload::Offload;
use crate::switch::{Location, Segment};
use crate::tables::Tables;
use crate::verdict::{DropReason, Verdict};
use crate::wire::{EtherType, MacAddr, ethernet};

impl Datapath {
    pub(super) fn route_inside(
        &mut self,
        visit: Visit<'_>,
        header: Header,
        frame: &mut Frame<'_>,
    ) -> Result<Verdict, Refusal> {
        let Visit { tables, segment, now, .. } = visit;
        header.outlives()?;
        size::fits(frame, header, segment.mtu)?;
        if let Some(port) = segment.port_at(header.destination).and_then(|id| tables.port(id)) {
            header.decrement(frame.bytes);
            address(frame.bytes, port.binding.mac, GATEWAY_MAC);
            return Ok(Verdict::Deliver(port.id));
        }
        if segment.vteps().next().is_none() {
            return Err((DropReason::GatewayUnresolved, Some(ErrorKind::HostUnreachable)));
        }
        header.decrement(frame.bytes);
        let target = Target { segment: segment.id, address: header.destination };
        let waiting = Waiting { from: visit.port.id, frame: frame.bytes, offload: frame.offload };
        let resolved = tables.house.neighbors().resolve(target, waiting, now);
        match resolved {
            Resolved::Known(mac, question) => {
                self.ask(tables, question, now);
                address(frame.bytes, mac, tables.house.router());
                // Silent for longer than the forwarding table remembers: the question brings it back.
                let vtep = segment.locate(mac, now);
                Ok(match vtep {
                    Some(Location::Remote(vtep)) => Verdict::Transmit(vtep),
                    _ => Verdict::Drop(DropReason::GatewayUnresolved),
                })
            }
            Resolved::Asking { question, replaced } => {
                if replaced {
                    self.lost(tables, Some(segment), DropReason::GatewayUnresolved, 1);
                }
                self.ask(tables, question, now);
                Ok(Verdict::Consumed)
            }
            Resolved::Full => Err((DropReason::NeighborsFull, None)),
        }
    }

    pub(super) fn route_outside(
        &mut self,
        visit: Visit<'_>,
        header: Header,
        frame: &mut Frame<'_>,
    ) -> Result<Verdict, Refusal> {
        let Visit { tables, segment, gateway, port, now } = visit;
        let inside = Inside { port: port.id, filtering: gateway.spec().filtering };
        let partial = is_partial(frame.offload);
        let mut outside = tables.house.outside();
        tables.house.touch();
        let own = outside.nat.egress().is_own(header.destination);
        let hop = outside.nat.egress().lookup(header.destination);
        if !own {
            header.outlives()?;
            let no_route = (DropReason::NoRoute, Some(ErrorKind::NetUnreachable));
            size::fits(frame, header, hop.ok_or(no_route)?.mtu)?;
        }
        let policy = if gateway.spec().translates(header.source) { Policy::Begin } else { Policy::Answer };
        let outcome = outside.nat.outbound(inside, &mut frame.bytes[L3..], partial, policy, now);
        let released = outside.nat.released();
        let left = match (outcome, hop) {
            (Outcome::Leave(hop), _) => Some(hop),
            // Nobody's session, and none is wanted: it leaves as it is.
            (Outcome::Drop(DropReason::NatNotMapped), Some(hop)) if !own && policy == Policy::Answer => {
                Some(hop)
            }
            _ => None,
        };
        left.iter().for_each(|hop| outside.note(hop));
        drop(outside);
        let verdict = match (left, outcome) {
            (Some(hop), _) => Ok(self.leave(segment, &hop, header, frame)),
            (None, Outcome::Deliver { port }) => Ok(self.deliver(tables, port, frame)),
            (None, Outcome::Held | Outcome::Leave(_)) => Ok(Verdict::Consumed),
            // The host's own address, and neither published nor somebody's outside: the host itself.
            (None, Outcome::Drop(DropReason::NatNotMapped)) if own => self.for_host(visit),
            (None, Outcome::Drop(reason)) => Err((reason, told_of(reason))),
        };
        for (packet, outcome) in released {
            self.release(tables, Some(segment), &packet, outcome);
        }
        verdict
    }

    /// Towards `hop`, in one piece or in several.
    fn leave(&mut self, segment: &Segment, hop: &Hop, header: Header, frame: &mut Frame<'_>) -> Verdict {
        header.decrement(frame.bytes);
        let to = match hop.mac {
            Some(mac) => {
                address(frame.bytes, mac, hop.link_mac);
                To::Link(hop.link)
            }
            None => To::Host(hop.link),
        };
        self.through(segment, to, hop.mtu, frame)
    }

    /// Through a link that may be narrower than the packet, which may be cut then.
    pub(super) fn through(&mut self, segment: &Segment, to: To, mtu: u16, frame: &Frame<'_>) -> Verdict {
        if size::exceeds(frame, mtu) {
            return match size::cut(frame, mtu) {
                Ok(pieces) => {
                    pieces.into_iter().for_each(|bytes| self.make(to, segment, bytes));
                    Verdict::Consumed
                }
                Err(reason) => Verdict::Drop(reason),
            };
        }
        match to {
            To::Port(port) => Verdict::Deliver(port),
            To::Link(link) => Verdict::Leave(link),
            To::Host(link) => Verdict::ByHost(link),
            To::Vtep(vtep) => Verdict::Transmit(vtep),
            To::Vteps => Verdict::Flood,
        }
    }

    /// A fragment that was held until the first of its datagram came.
    pub(super) fn release(
        &mut self,
        tables: &Tables,
        segment: Option<&Segment>,
        packet: &[u8],
        outcome: Outcome,
    ) {
        let is_v6 = packet.first().is_some_and(|first| first >> 4 == 6);
        let ether_type = if is_v6 { EtherType::IPV6 } else { EtherType::IPV4 };
        let mut bytes = ethernet::header(MacAddr::ZERO, MacAddr::ZERO, ether_type).to_vec();
        bytes.extend_from_slice(packet);
        let mut frame = Frame { bytes: &mut bytes, offload: Offload::NONE };
        let Ok(header) = Header::of(frame.bytes) else { return };
        let (verdict, segment) = match (outcome, segment) {
            (Outcome::Leave(hop), Some(segment)) => {
                (self.leave(segment, &hop, header, &mut frame), Some(segment))
            }
            (Outcome::Deliver { port }, _) => {
                header.decrement(frame.bytes);
                let verdict = self.deliver(tables, port, &mut frame);
                (verdict, tables.port(port).map(|port| tables.segment_of(port)))
            }
            (Outcome::Drop(reason), segment) => (Verdict::Drop(reason), segment),
            (Outcome::Leave(_) | Outcome::Held, segment) => (Verdict::Consumed, segment),
        };
        let to = match verdict {
            Verdict::Drop(reason) => return self.lost(tables, segment, reason, 1),
            Verdict::Deliver(port) => To::Port(port),
            Verdict::Leave(link) => To::Link(link),
            Verdict::ByHost(link) => To::Host(link),
            _ => return,
        };
        if let Some(segment) = segment {
            self.make(to, segment, bytes);
        }
    }
}

/// What the sender of a packet that NAT has refused is told (RFC 5508 REQ-8).
fn told_of(reason: DropReason) -> Option<ErrorKind> {
    matches!(reason, DropReason::NatPorts | DropReason::NatSessions | DropReason::NatRate)
        .then_some(ErrorKind::Prohibited)
}
