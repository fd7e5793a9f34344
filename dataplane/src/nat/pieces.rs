//! Packets carried out, whole or in parts.

use std::net::IpAddr;

use super::Nat;
use super::rewrite::{Kind, Packet, Side, parse, translate};
use super::types::Outcome;
use crate::tables::PortId;
use crate::time::Moment;
use crate::verdict::DropReason;
use crate::wire::ipv4;

/// What was decided about a packet of a flow: the ends that are to be written, and where it goes then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Through {
    pub(super) source: Option<(IpAddr, u16)>,
    pub(super) destination: Option<(IpAddr, u16)>,
    /// Of the datagram, if it is to have another one.
    pub(super) identification: Option<u16>,
    pub(super) outcome: Outcome,
}

impl Through {
    fn rewrite(&self, ip: &mut [u8], packet: &Packet, partial: bool) -> Outcome {
        // Later fragments have no ports.
        let has_port = matches!(packet.kind, Kind::Flow { .. });
        for (side, end) in [(Side::Source, self.source), (Side::Destination, self.destination)] {
            if let Some((address, port)) = end {
                translate(ip, packet, side, address, has_port.then_some(port), partial);
            }
        }
        if let Some(identification) = self.identification {
            ipv4::set_identification(ip, identification);
        }
        self.outcome
    }
}

impl Nat {
    /// Carries out what was decided about a packet, which may be the first fragment of more.
    pub(super) fn carry_out(
        &mut self,
        from: Option<PortId>,
        ip: &mut [u8],
        packet: &Packet,
        partial: bool,
        decided: Result<Through, DropReason>,
        now: Moment,
    ) -> Outcome {
        let decided = decided.map(|through| self.identify(packet, through, partial));
        let Some((key, part)) = packet.fragment(from) else {
            return match decided {
                Ok(through) => through.rewrite(ip, packet, partial),
                Err(reason) => Outcome::Drop(reason),
            };
        };
        match decided {
            Ok(through) => match self.fragments.first(key, part, through, now) {
                Ok(held) => {
                    held.into_iter().for_each(|held| self.release(held, &through));
                    through.rewrite(ip, packet, partial)
                }
                Err(reason) => Outcome::Drop(reason),
            },
            Err(reason) => {
                self.fragments.refuse(key, part, reason, now);
                Outcome::Drop(reason)
            }
        }
    }

    /// Gives a datagram under a shared source address, which may come in fragments, an identification of its own.
    fn identify(&mut self, packet: &Packet, through: Through, partial: bool) -> Through {
        let (Some((source, _)), Kind::Flow { protocol, .. }) = (through.source, packet.kind) else {
            return through;
        };
        if packet.atomic || source.is_ipv6() {
            return through;
        }
        let destination = through.destination.map_or(packet.destination, |(address, _)| address);
        let (ends, protocol) = ((source, destination), protocol.number(source));
        let taken = self.identifications.take(ends, protocol, packet.total, partial);
        Through { identification: Some(taken), ..through }
    }

    fn release(&mut self, mut ip: Box<[u8]>, through: &Through) {
        let outcome = match parse(&ip) {
            Ok(packet) => through.rewrite(&mut ip, &packet, false),
            Err(reason) => Outcome::Drop(reason),
        };
        self.released.push((ip, outcome));
    }

    /// A later fragment: it goes where the first one went.
    pub(super) fn later(
        &mut self,
        from: Option<PortId>,
        ip: &mut [u8],
        packet: &Packet,
        now: Moment,
    ) -> Outcome {
        let Some((key, part)) = packet.fragment(from) else {
            return Outcome::Drop(DropReason::NatUnsupported);
        };
        match self.fragments.later(key, part, &ip[..packet.total], now) {
            Ok(Some(through)) => through.rewrite(ip, packet, false),
            Ok(None) => Outcome::Held,
            Err(reason) => Outcome::Drop(reason),
        }
    }
}
