//! The gateway's part of the road: what endpoints send to their first hop, and what comes back to them.
//!
//! ```text
//!  to GATEWAY_MAC: whither? > own:     echo | a published port (nat.outbound) | the host's leg | refused
//!                           > inside:  ttl > size > routed to the endpoint, here or behind another VTEP
//!                           > outside: ttl > size > nat.outbound > the next hop's MAC
//!                             (of a connection whose outside address has gone: reset)
//!  from a link:               nat.inbound | routed > ttl > size > the endpoint's MAC
//! ```
//!
//! A packet is refused before anything of it is changed, so that the error quotes what was sent. All of it works on
//! super-frames as on small ones: nothing looks at the payload, unless the packet must be cut for a narrower link.

mod arrival;
mod neighbors;
mod packet;
mod route;
mod size;

use self::packet::{Header, L3, address, is_partial};
use super::made::{Made, To};
use super::{Datapath, Frame};
use crate::gateway::icmp::{self, ErrorKind};
use crate::gateway::spec::{Gateway, Whither};
use crate::gateway::{GATEWAY_MAC, echo, reset};
use crate::offload::Offload;
use crate::switch::{Port, Segment};
use crate::tables::{PortKind, Tables};
use crate::time::Moment;
use crate::verdict::{DropReason, Verdict};
use crate::wire::{EtherType, Ethernet};

/// An endpoint at its first hop.
#[derive(Clone, Copy)]
struct Visit<'t> {
    tables: &'t Tables,
    segment: &'t Segment,
    gateway: &'t Gateway,
    port: &'t Port,
    now: Moment,
}

/// Why a packet goes no further, and what its sender is told.
type Refusal = (DropReason, Option<ErrorKind>);

impl Datapath {
    /// What the gateway does with a frame from `port`; `None`: the frame is not the gateway's.
    #[inline]
    pub(super) fn first_hop(
        &mut self,
        tables: &Tables,
        segment: &Segment,
        port: &Port,
        frame: &mut Frame<'_>,
        now: Moment,
    ) -> Option<Result<Verdict, DropReason>> {
        let gateway = segment.gateway.as_ref()?;
        let to = Ethernet::parse(frame.bytes).ok()?.destination();
        let visit = Visit { tables, segment, gateway, port, now };
        if to == GATEWAY_MAC && port.kind == PortKind::Endpoint {
            return Some(self.visit(visit, frame));
        }
        if to.is_multicast() && self.answer(visit, frame) {
            return Some(Ok(Verdict::Consumed));
        }
        None
    }

    fn visit(&mut self, visit: Visit<'_>, frame: &mut Frame<'_>) -> Result<Verdict, DropReason> {
        // A question to one station confirms what is known.
        if self.answer(visit, frame) {
            return Ok(Verdict::Consumed);
        }
        if Ethernet::parse(frame.bytes).is_ok_and(|ethernet| ethernet.ether_type() == EtherType::ARP) {
            // To a question of the host, which has the gateway's MAC.
            return self.for_host(visit).map_err(|(reason, _)| reason);
        }
        let header = Header::of(frame.bytes)?;
        let way = match visit.gateway.whither(header.destination) {
            Whither::Own(_) => self.for_gateway(visit, header, frame),
            Whither::Inside => self.route_inside(visit, header, frame),
            Whither::Outside if visit.tables.segment_around(header.destination).is_some() => {
                Err((DropReason::OtherNetwork, Some(ErrorKind::Prohibited)))
            }
            Whither::Outside => self.route_outside(visit, header, frame),
            Whither::Multicast | Whither::Martian => Err((DropReason::Martian, None)),
        };
        way.map_err(|(reason, told)| {
            if let Some(kind) = told {
                self.tell(visit, kind, frame.bytes);
            }
            if reason == DropReason::NatAddressGone {
                self.reset(visit, frame.bytes);
            }
            reason
        })
    }

    /// The gateway's address answers echo requests, is a way to every published port, and otherwise the host's own.
    fn for_gateway(
        &mut self,
        visit: Visit<'_>,
        header: Header,
        frame: &mut Frame<'_>,
    ) -> Result<Verdict, Refusal> {
        // A later fragment does not tell whether it is of a question or of an answer to the host.
        let of_host = visit.gateway.spec().host.is_some() && packet::is_fragment(frame.bytes);
        if !of_host && echo::echo(&mut frame.bytes[L3..], is_partial(frame.offload)) {
            frame.bytes.copy_within(6..12, 0);
            frame.bytes[6..12].copy_from_slice(&GATEWAY_MAC.0);
            return Ok(Verdict::Deliver(visit.port.id));
        }
        let published = visit.tables.house.outside().nat.publishes_at(header.destination);
        if published && header.comes_from_station().is_ok() {
            return self.route_outside(visit, header, frame);
        }
        self.for_host(visit)
    }

    /// The host itself, where it stands on the network. Its link has the gateway's MAC, to which the frame is addressed.
    fn for_host(&self, visit: Visit<'_>) -> Result<Verdict, Refusal> {
        let refused = (DropReason::GatewayRefused, Some(ErrorKind::PortUnreachable));
        visit.gateway.spec().host.map(Verdict::Deliver).ok_or(refused)
    }

    /// To an endpoint here, over a network that may be narrower than where the packet came from. It outlives.
    fn hand_over(&mut self, tables: &Tables, port: &Port, header: Header, frame: &mut Frame<'_>) -> Verdict {
        let segment = tables.segment_of(port);
        header.decrement(frame.bytes);
        address(frame.bytes, port.binding.mac, GATEWAY_MAC);
        self.through(segment, To::Port(port.id), segment.mtu, frame)
    }

    /// Tells the endpoint why its packet, the one in the frame `bytes`, goes no further, if it may be told and has not been
    /// told too much.
    fn tell(&mut self, visit: Visit<'_>, kind: ErrorKind, bytes: &[u8]) {
        let Visit { tables, segment, gateway, port, now } = visit;
        let (Ok(header), Ok(ethernet)) = (Header::of(bytes), Ethernet::parse(bytes)) else { return };
        let Some(own) = gateway.address_for(header.source) else { return };
        let mut error = packet::ethernet(ethernet.source(), GATEWAY_MAC, own);
        if icmp::error(kind, own, &bytes[L3..], &mut error) && tables.house.errors().admit(port.id, now) {
            self.make(To::Port(port.id), segment, error);
        }
    }

    /// Ends the connection of which the endpoint has sent the segment in the frame `bytes`, unless it has been told too
    /// much.
    fn reset(&mut self, visit: Visit<'_>, bytes: &[u8]) {
        let Visit { tables, segment, port, now, .. } = visit;
        let (Ok(header), Ok(ethernet)) = (Header::of(bytes), Ethernet::parse(bytes)) else { return };
        let mut answer = packet::ethernet(ethernet.source(), GATEWAY_MAC, header.source);
        if reset::reset(&bytes[L3..], &mut answer) && tables.house.errors().admit(port.id, now) {
            self.make(To::Port(port.id), segment, answer);
        }
    }

    fn make(&mut self, to: To, segment: &Segment, bytes: Vec<u8>) {
        self.outbox.push(Made { to, segment: segment.id, bytes, offload: Offload::NONE });
    }
}

#[cfg(test)]
mod tests;
