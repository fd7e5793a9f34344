//! Who has an address: what the gateway answers, and what it asks other nodes.

use super::Visit;
use super::packet::address;
use crate::datapath::Datapath;
use crate::datapath::Frame;
use crate::datapath::made::{Made, To};
use crate::gateway::GATEWAY_MAC;
use crate::gateway::icmp::ErrorKind;
use crate::gateway::neighbor::{Held, Message, Question, Target};
use crate::switch::{Location, Segment};
use crate::tables::{PortKind, Tables};
use crate::time::Moment;
use crate::tunnel::Vtep;
use crate::verdict::{DropReason, Verdict};
use crate::wire::{Ethernet, MacAddr};

impl Datapath {
    /// What comes out of a tunnel for this node as a router: answers to its questions. `None`: it is for an endpoint.
    #[inline]
    pub(in crate::datapath) fn for_router(
        &mut self,
        tables: &Tables,
        segment: &Segment,
        sender: Vtep,
        frame: &[u8],
        now: Moment,
    ) -> Option<Result<Verdict, DropReason>> {
        segment.gateway.as_ref()?;
        let ethernet = Ethernet::parse(frame).ok()?;
        // Each node has the gateway's MAC for its own endpoints only.
        if ethernet.source() == GATEWAY_MAC || ethernet.destination() == GATEWAY_MAC {
            return Some(Err(DropReason::GatewayElsewhere));
        }
        if ethernet.destination() != tables.house.router() {
            return None;
        }
        // Learned, so that what waited finds its way.
        let source = ethernet.source();
        let learned = segment.consult(source, Location::Remote(sender), ethernet.destination(), now);
        if learned.is_err() {
            return Some(Err(DropReason::SourceConflict));
        }
        let message = Message::read(frame).and_then(|message| message.speaker);
        let Some((address, mac)) = message.filter(|&(_, mac)| mac == source) else {
            return Some(Err(DropReason::GatewayRefused));
        };
        let held = tables.house.neighbors().heard(Target { segment: segment.id, address }, mac, now);
        if let Some(held) = held {
            self.resume(tables, segment, sender, mac, held);
        }
        Some(Ok(Verdict::Consumed))
    }

    /// Sends on what waited for a neighbour.
    fn resume(&mut self, tables: &Tables, segment: &Segment, vtep: Vtep, mac: MacAddr, held: Held) {
        let Held { mut frame, offload, .. } = held;
        address(&mut frame, mac, tables.house.router());
        self.passed(Some(segment), frame.len());
        let made = Made { to: To::Vtep(vtep), segment: segment.id, bytes: frame, offload };
        self.outbox.push(made);
    }

    /// Asks neighbours again that have not answered, and gives up on those that never do: who has sent to them is told.
    pub fn poll_neighbors(&mut self, tables: &Tables, now: Moment) {
        let mut neighbors = tables.house.neighbors();
        let mut polled = neighbors.poll(now);
        polled.unanswered.extend(neighbors.retain(|segment| tables.segment(segment).is_some()));
        drop(neighbors);
        for question in polled.questions {
            self.ask(tables, Some(question), now);
        }
        for held in polled.unanswered {
            let segment = tables.segment(held.target.segment);
            self.lost(tables, segment, DropReason::GatewayUnresolved, 1);
            if let (Some(segment), Some(port)) = (segment, tables.port(held.from))
                && let Some(gateway) = &segment.gateway
            {
                // The frame has the addresses that it came with, and one hop less.
                let visit = Visit { tables, segment, gateway, port, now };
                self.tell(visit, ErrorKind::HostUnreachable, &held.frame);
            }
        }
    }

    /// Answers ARP and neighbour solicitations for the gateway and for other endpoints here.
    pub(super) fn answer(&mut self, visit: Visit<'_>, frame: &Frame<'_>) -> bool {
        let Visit { tables, segment, gateway, port, .. } = visit;
        let Some(message) = Message::read(frame.bytes) else { return false };
        let endpoint = |address| Some(tables.port(segment.port_at(address)?)?.binding.mac);
        let gateway = Some(gateway).filter(|_| port.kind == PortKind::Endpoint);
        let mut bytes = Vec::new();
        let answered = message.answer(gateway, endpoint, &mut bytes);
        if answered {
            self.make(To::Port(port.id), segment, bytes);
        }
        answered
    }

    /// Sends a question about a neighbour on its segment.
    pub(super) fn ask(&mut self, tables: &Tables, question: Option<Question>, now: Moment) {
        let Some(Question { segment, frame }) = question else { return };
        let Some(segment) = tables.segment(segment) else { return };
        let to =
            Ethernet::parse(&frame).ok().and_then(|ethernet| segment.locate(ethernet.destination(), now));
        let to = if let Some(Location::Remote(vtep)) = to { To::Vtep(vtep) } else { To::Vteps };
        self.make(to, segment, frame);
    }
}
