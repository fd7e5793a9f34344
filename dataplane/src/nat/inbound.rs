//! From the world to an endpoint.

use super::Nat;
use super::conntrack::{self, Phase, Way};
use super::key::{End, Net};
use super::outbound::Flow;
use super::pieces::Through;
use super::rewrite::{Kind, Packet, Protocol, parse};
use super::table::Outside;
use super::timers::Class;
use super::types::Outcome;
use crate::gateway::LinkId;
use crate::tables::PortId;
use crate::time::Moment;
use crate::verdict::DropReason;
use crate::wire::TcpFlags;

impl Nat {
    /// Translates a packet that came by a link. The rest as [`Nat::outbound`].
    ///
    /// What is not for an endpoint is dropped as [`DropReason::NatNotMapped`]: the host has its own copy.
    pub fn inbound(&mut self, link: LinkId, ip: &mut [u8], partial: bool, now: Moment) -> Outcome {
        self.advance(now);
        let packet = match parse(ip) {
            Ok(packet) => packet,
            Err(reason) => return Outcome::Drop(reason),
        };
        if self.egress.link(link).is_none() {
            return Outcome::Drop(DropReason::NatNoRoute);
        }
        if self.egress.is_own(packet.source) {
            return Outcome::Drop(DropReason::NatMartian);
        }
        if let Kind::Later(_) = packet.kind {
            return self.later(None, ip, &packet, now);
        }
        if let Kind::Error { .. } = packet.kind {
            return self.inbound_error(ip, &packet, partial);
        }
        let decided = match Flow::of(ip, &packet) {
            Some(flow) => self.decide_inbound(&packet, &flow),
            None => Err(DropReason::NatUnsupported),
        };
        self.carry_out(None, ip, &packet, partial, decided, now)
    }

    fn decide_inbound(&mut self, packet: &Packet, flow: &Flow) -> Result<Through, DropReason> {
        debug_assert_eq!(flow.net.address(flow.destination.ip), packet.destination);
        let (port, inside) = self.enter(flow)?;
        let outcome = Outcome::Deliver { port };
        let destination = Some(inside.under(flow.net));
        Ok(Through { source: None, destination, identification: None, outcome })
    }

    /// What an outside end of this host stands for: a published port first.
    pub(super) fn mapping_at(&self, net: Net, outside: End) -> Option<u32> {
        let address = net.address(outside.ip);
        let published = || self.is_own(address).then(|| self.rules.find(net, outside))?;
        published().or_else(|| self.table.by_outside(net, outside))
    }

    /// The endpoint, and the inside end, that a packet from outside goes to.
    pub(super) fn enter(&mut self, flow: &Flow) -> Result<(PortId, End), DropReason> {
        let mapping = self.mapping_at(flow.net, flow.destination).ok_or(DropReason::NatNotMapped)?;
        if flow.net.protocol == Protocol::Icmp && flow.request {
            return Err(DropReason::NatNotMapped);
        }
        if flow.tcp.is_some_and(|tcp| conntrack::nonsense(tcp.flags)) {
            return Err(DropReason::NatTcpFlags);
        }
        let goal = (self.table.mappings[mapping].port, self.table.mappings[mapping].inside);
        let remote = flow.remote(Way::In);
        let found = self.table.session(mapping, remote);
        match self.alive(found) {
            Some(slot) => self.keep_apart(slot, flow)?,
            // Its last session was over, and with it the mapping.
            None if self.table.mappings.get(mapping).is_none() => return Err(DropReason::NatNotMapped),
            None => self.enter_new(mapping, remote, flow)?,
        }
        Ok(goal)
    }

    /// A packet of a session: the inside end cannot tell by which outside address it came, so there is but one.
    fn keep_apart(&mut self, slot: u32, flow: &Flow) -> Result<(), DropReason> {
        let session = &mut self.table.sessions[slot];
        if session.outside != flow.destination.ip {
            if flow.tcp.is_some() && !(session.tcp.phase == Phase::Closed && flow.opens()) {
                return Err(DropReason::NatClash);
            }
            // Answers go from the address that was asked last.
            session.outside = flow.destination.ip;
            self.table.note_change(slot);
        }
        self.go_on(slot, flow, Way::In);
        Ok(())
    }

    /// A packet without a session.
    fn enter_new(&mut self, mapping: u32, remote: End, flow: &Flow) -> Result<(), DropReason> {
        if !self.admits(mapping, remote) {
            return Err(DropReason::NatFiltered);
        }
        let published = matches!(self.table.mappings[mapping].outside, Outside::Published { .. });
        let class = match flow.tcp {
            // Only a published port needs a note of who asked, to answer from the address that was asked.
            None if !published => return Ok(()),
            None => Class::HalfOpenUdp,
            Some(_) if flow.opens() => Class::HalfOpenTcp,
            // Its half-open session had to give way, or is of a former process: the endpoint will know.
            Some(_) if published && !flow.has(TcpFlags::SYN) && !flow.has(TcpFlags::RST) => {
                Class::HalfOpenTcp
            }
            Some(_) => return Err(DropReason::NatNoSession),
        };
        self.end_rivals(mapping, remote, flow)?;
        self.room_for_stranger(mapping)?;
        if self.table.mappings.get(mapping).is_none() {
            return Err(DropReason::NatSessions);
        }
        let slot = self.begin(mapping, remote, flow.destination.ip, class);
        self.go_on(slot, flow, Way::In);
        Ok(())
    }

    /// Sees to it that the remote end uses no other published port that leads to the same inside end.
    fn end_rivals(&mut self, mapping: u32, remote: End, flow: &Flow) -> Result<(), DropReason> {
        let mapped = &self.table.mappings[mapping];
        let rules = self.rules.leading_to(mapped.port, mapped.inside, mapped.net);
        let rivals = rules.iter().filter(|&&rule| rule != mapping);
        let rival = rivals.filter_map(|&rule| self.table.session(rule, remote)).next();
        if let Some(slot) = self.alive(rival) {
            if flow.tcp.is_some() && self.table.sessions[slot].tcp.phase != Phase::Closed {
                return Err(DropReason::NatClash);
            }
            self.end(slot);
        }
        Ok(())
    }
}
