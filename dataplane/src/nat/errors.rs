//! ICMP errors, which go with the session of the packet that they are about, and do nothing to it (RFC 5508 section 4,
//! RFC 4787 REQ-12, RFC 5382 REQ-10).
//!
//! The packet that an error quotes travelled the other way: what stands for an inside end is its source if the error
//! comes from outside, and its destination if it goes there. One that goes from endpoint to endpoint by their outside
//! addresses is rewritten on both ends (RFC 5508 REQ-7).

use std::net::IpAddr;

use super::Nat;
use super::key::{End, Ip, Net};
use super::rewrite::{Embedded, Kind, Packet, Protocol, Side, translate, translate_embedded};
use super::types::{Inside, Outcome};
use crate::verdict::DropReason;

/// What is to be written into an error.
#[derive(Clone, Copy, Debug)]
struct Errand {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    embedded_source: Option<(IpAddr, u16)>,
    embedded_destination: Option<(IpAddr, u16)>,
    outcome: Outcome,
}

impl Errand {
    fn rewrite(&self, ip: &mut [u8], packet: &Packet, partial: bool) -> Outcome {
        for (side, end) in
            [(Side::Source, self.embedded_source), (Side::Destination, self.embedded_destination)]
        {
            if let Some((address, port)) = end {
                translate_embedded(ip, packet, side, address, port);
            }
        }
        for (side, address) in [(Side::Source, self.source), (Side::Destination, self.destination)] {
            if let Some(address) = address {
                translate(ip, packet, side, address, None, partial);
            }
        }
        self.outcome
    }
}

/// Of an ICMP query, sessions know no remote port.
fn remote(net: Net, address: IpAddr, port: u16) -> End {
    End::new(address, if net.protocol == Protocol::Icmp { 0 } else { port })
}

impl Nat {
    pub(super) fn outbound_error(
        &mut self,
        from: Inside,
        ip: &mut [u8],
        packet: &Packet,
        partial: bool,
    ) -> Outcome {
        let Kind::Error { embedded, .. } = packet.kind else {
            return Outcome::Drop(DropReason::NatUnsupported);
        };
        match self.decide_outbound_error(from, packet, &embedded) {
            Ok(errand) => errand.rewrite(ip, packet, partial),
            Err(reason) => Outcome::Drop(reason),
        }
    }

    pub(super) fn inbound_error(&mut self, ip: &mut [u8], packet: &Packet, partial: bool) -> Outcome {
        let Kind::Error { embedded, .. } = packet.kind else {
            return Outcome::Drop(DropReason::NatUnsupported);
        };
        let net = Net::new(embedded.protocol, embedded.source);
        match self.decide_inbound_error(net, &embedded, (embedded.destination, embedded.destination_port)) {
            Ok(errand) => errand.rewrite(ip, packet, partial),
            Err(reason) => Outcome::Drop(reason),
        }
    }

    /// An error about a packet that an endpoint has sent to `to`.
    fn decide_inbound_error(
        &self,
        net: Net,
        embedded: &Embedded,
        to: (IpAddr, u16),
    ) -> Result<Errand, DropReason> {
        let outside = End::new(embedded.source, embedded.source_port);
        let mapping = self.mapping_at(net, outside).ok_or(DropReason::NatNotMapped)?;
        let session =
            self.table.session(mapping, remote(net, to.0, to.1)).map(|slot| &self.table.sessions[slot]);
        session
            .filter(|session| session.outside == outside.ip && !self.is_over(session, self.tick))
            .ok_or(DropReason::NatNoSession)?;
        let mapping = &self.table.mappings[mapping];
        let inside = mapping.inside.under(net);
        Ok(Errand {
            source: None,
            destination: Some(inside.0),
            embedded_source: Some(inside),
            embedded_destination: None,
            outcome: Outcome::Deliver { port: mapping.port },
        })
    }

    /// An error about a packet that an endpoint has received; one that the host itself has sent is not mapped.
    fn decide_outbound_error(
        &self,
        from: Inside,
        packet: &Packet,
        embedded: &Embedded,
    ) -> Result<Errand, DropReason> {
        let net = Net::new(embedded.protocol, embedded.destination);
        let hairpin = self.is_own(packet.destination);
        let sender = End::new(embedded.source, embedded.source_port);
        if hairpin && self.mapping_at(net, sender).is_none() {
            return Err(DropReason::NatNotMapped);
        }
        let hop = self.egress.lookup(packet.destination).filter(|_| !hairpin);
        let address = match hop {
            Some(hop) => hop.source,
            None if hairpin => self.hairpin_source(packet.destination).ok_or(DropReason::NatNoRoute)?,
            None => return Err(DropReason::NatNoRoute),
        };
        let inside = End::new(embedded.destination, embedded.destination_port);
        let peer = remote(net, embedded.source, embedded.source_port);
        let outside =
            self.outside_of(from, net, inside, peer, address.into()).ok_or(DropReason::NatNoSession)?;
        let outside = outside.under(net);
        let errand = Errand {
            source: Some(outside.0),
            destination: None,
            embedded_source: None,
            embedded_destination: Some(outside),
            outcome: hop.map_or(Outcome::Drop(DropReason::NatNoRoute), Outcome::Leave),
        };
        if !hairpin {
            return Ok(errand);
        }
        let back = self.decide_inbound_error(net, embedded, outside)?;
        Ok(Errand { source: errand.source, embedded_destination: errand.embedded_destination, ..back })
    }

    /// By which outside end something from `remote` has reached an inside end, if it may have.
    fn outside_of(&self, from: Inside, net: Net, inside: End, remote: End, address: Ip) -> Option<End> {
        let rules = self.rules.leading_to(from.port, inside, net);
        let lent = self.table.by_inside(from.port, inside, net, address);
        let sessions =
            rules.iter().copied().chain(lent).filter_map(|mapping| self.table.session(mapping, remote));
        let mut sessions = sessions.map(|slot| &self.table.sessions[slot]);
        if let Some(session) = sessions.find(|session| !self.is_over(session, self.tick)) {
            let port = self.table.mappings[session.mapping].outside.port();
            return Some(End { ip: session.outside, port });
        }
        let mapping = lent.filter(|&mapping| self.admits(mapping, remote));
        let mapping = mapping.or_else(|| self.rule_from(from, net, inside, address))?;
        Some(End { ip: address, port: self.table.mappings[mapping].outside.port() })
    }
}
