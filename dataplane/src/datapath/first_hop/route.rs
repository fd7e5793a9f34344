//! Packets that go on: to another subnet of their network, or off the host.

use super::packet::{Header, L3, address, is_fragment, is_partial};
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
use crate::tables::{PortId, Tables};
use crate::time::Moment;
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
        header.comes_from_station()?;
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
                Ok(Verdict::Held)
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
        header.comes_from_station()?;
        let inside = Inside { port: port.id, filtering: gateway.spec().filtering };
        let partial = is_partial(frame.offload);
        let mut outside = tables.house.outside();
        tables.house.touch();
        let own = outside.nat.is_own(header.destination);
        let hop = outside.nat.egress().lookup(header.destination);
        if !own {
            header.outlives()?;
            match hop {
                Some(hop) => size::fits(frame, header, hop.mtu)?,
                // What has gone is more than the route.
                None if outside.nat.is_of_lost_connection(inside, &frame.bytes[L3..]) => {
                    return Err((DropReason::NatAddressGone, None));
                }
                None => return Err((DropReason::NoRoute, Some(ErrorKind::NetUnreachable))),
            }
        }
        // What comes back to this host is translated in any case: the answer would take another way.
        let begins = own || gateway.spec().translates(header.source);
        let policy = if begins { Policy::Begin } else { Policy::Answer };
        let quote = own.then(|| size::quote(tables.narrowest(), header, frame)).flatten();
        let outcome = outside.nat.outbound(inside, &mut frame.bytes[L3..], partial, policy, now);
        let released = outside.nat.released();
        if let Outcome::Leave(hop) = &outcome {
            outside.note(hop);
        }
        // A fragment would come back to a datagram that has been refused.
        let waits = matches!(outcome, Outcome::Drop(DropReason::NatPortsLate))
            && !is_fragment(frame.bytes)
            && outside.keep(port.id, frame.bytes, frame.offload, now);
        drop(outside);
        let verdict = match outcome {
            Outcome::Leave(hop) => Ok(self.leave(segment, &hop, header, frame)),
            Outcome::Deliver { port } => self.turn_back(visit, port, header, quote, frame),
            Outcome::Held => Ok(Verdict::Held),
            Outcome::Drop(_) if waits => Ok(Verdict::Held),
            // The host's own address, and neither published nor somebody's outside: the host itself.
            Outcome::Drop(DropReason::NatNotMapped | DropReason::NatUnsupported) if own => {
                self.for_host(visit)
            }
            Outcome::Drop(reason) => Err((reason, told_of(reason))),
        };
        for (packet, outcome) in released {
            self.release(tables, Some(segment), &packet, outcome);
        }
        verdict
    }

    /// To another endpoint here by its outside address (hairpin). The packet has been translated, and an error quotes what
    /// was sent.
    fn turn_back(
        &mut self,
        visit: Visit<'_>,
        port: PortId,
        header: Header,
        quote: Option<Vec<u8>>,
        frame: &mut Frame<'_>,
    ) -> Result<Verdict, Refusal> {
        let Some(port) = visit.tables.port(port) else { return Err((DropReason::PortGone, None)) };
        let mtu = visit.tables.segment_of(port).mtu;
        if let Err((reason, told)) = header.outlives().and_then(|()| size::fits(frame, header, mtu)) {
            if let (Some(kind), Some(quote)) = (told, quote) {
                self.tell(visit, kind, &quote);
            }
            return Err((reason, None));
        }
        Ok(self.hand_over(visit.tables, port, header, frame))
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

    /// Drops what has waited for an outside port for too long.
    pub fn expire_waiting(&self, tables: &Tables, now: Moment) {
        let expired = tables.house.outside().expired(now);
        for waiter in expired {
            let segment = tables.port(waiter.port).map(|port| tables.segment_of(port));
            self.lost(tables, segment, DropReason::NatPortsLate, 1);
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
        let to_port = match outcome {
            Outcome::Deliver { port } => tables.port(port),
            _ => None,
        };
        // Counted where the first fragment was; what is sent is the receiver's.
        let of = segment.or_else(|| to_port.map(|port| tables.segment_of(port)));
        let verdict = match (outcome, of, to_port) {
            (Outcome::Drop(reason), ..) => Verdict::Drop(reason),
            (Outcome::Deliver { .. }, _, None) => Verdict::Drop(DropReason::PortGone),
            _ if header.outlives().is_err() => Verdict::Drop(DropReason::TtlExceeded),
            (Outcome::Leave(hop), Some(segment), _) => self.leave(segment, &hop, header, &mut frame),
            (_, _, Some(port)) => self.hand_over(tables, port, header, &mut frame),
            (Outcome::Leave(_) | Outcome::Held, ..) => return,
        };
        let to = match verdict {
            Verdict::Drop(reason) => return self.lost(tables, of, reason, 1),
            Verdict::Deliver(port) => Some(To::Port(port)),
            Verdict::Leave(link) => Some(To::Link(link)),
            Verdict::ByHost(link) => Some(To::Host(link)),
            _ => None,
        };
        self.passed(of, bytes.len());
        if let (Some(to), Some(segment)) = (to, of) {
            self.make(to, segment, bytes);
        }
    }
}

/// What the sender of a packet that NAT has refused is told (RFC 5508 REQ-8).
const fn told_of(reason: DropReason) -> Option<ErrorKind> {
    match reason {
        DropReason::NatPorts | DropReason::NatSessions | DropReason::NatRate => Some(ErrorKind::Prohibited),
        DropReason::NatNoRoute => Some(ErrorKind::NetUnreachable),
        _ => None,
    }
}
