//! Room for what is new: who is refused, and what gives way.
//!
//! What gives way is never a session that lives: a closed one, or one that a stranger has begun and nobody answered.

use super::Nat;
use super::key::{End, Ip, Net};
use super::ports::Lack;
use super::quota::FEW;
use super::rewrite::Protocol;
use super::table::Outside;
use super::timers::Class;
use super::types::Inside;
use crate::gateway::Filtering;
use crate::time::Moment;
use crate::verdict::DropReason;

/// Closed sessions that one packet gives up at most in search of a port.
const RECLAIMS: usize = 64;

impl Nat {
    /// Sees to it that the endpoint behind `from` may begin one more session.
    pub(super) fn room_for(&mut self, from: Inside, now: Moment) -> Result<(), DropReason> {
        let Some(owner) = self.table.find_owner(from.port) else { return self.room_in_all(0, None) };
        if !self.table.owners[owner].admit(self.limits.endpoint_rate, now) {
            return Err(DropReason::NatRate);
        }
        self.room_at(owner)
    }

    /// Sees to it that an owner may have one more session.
    fn room_at(&mut self, owner: u32) -> Result<(), DropReason> {
        let closed = self.table.owners[owner].closed.first();
        if self.table.owners[owner].sessions as usize >= self.limits.endpoint_sessions {
            return self.reclaim(closed.ok_or(DropReason::NatSessions)?);
        }
        self.room_in_all(self.table.owners[owner].sessions, closed)
    }

    /// Sees to it that there may be one more session in all, for an owner that has `owned` ones.
    fn room_in_all(&mut self, owned: u32, closed: Option<u32>) -> Result<(), DropReason> {
        let (used, limit) = (self.table.sessions.len(), self.limits.sessions);
        if used < limit - limit / 8 || used < limit && owned < FEW {
            return Ok(());
        }
        if let Some(closed) = closed {
            return self.reclaim(closed);
        }
        if used < limit || owned >= FEW {
            return Err(DropReason::NatSessions);
        }
        let oldest = |class: Class| self.table.classes[class as usize].first();
        if let Some(closed) = oldest(Class::Closed) {
            return self.reclaim(closed);
        }
        let half_open = oldest(Class::HalfOpenTcp).or_else(|| oldest(Class::HalfOpenUdp));
        self.displace(half_open.ok_or(DropReason::NatSessions)?);
        Ok(())
    }

    /// Sees to it that a stranger may begin one more session with `mapping`.
    pub(super) fn room_for_stranger(&mut self, mapping: u32) -> Result<(), DropReason> {
        let owner = self.table.mappings[mapping].owner;
        let queue = *self.table.half_open(mapping);
        if let Some(oldest) = queue.first()
            && queue.len as usize >= self.limits.half_open
        {
            self.displace(oldest);
            return Ok(());
        }
        let room = self.room_at(owner);
        if let (Err(_), Some(oldest)) = (room, queue.first()) {
            self.displace(oldest);
            return Ok(());
        }
        room
    }

    fn reclaim(&mut self, closed: u32) -> Result<(), DropReason> {
        self.reclaimed += 1;
        self.end(closed);
        Ok(())
    }

    fn displace(&mut self, half_open: u32) {
        self.displaced += 1;
        self.end(half_open);
    }

    /// A new dynamic mapping of an inside end at the outside address `ip`. The caller gives it a session.
    pub(super) fn draw(&mut self, from: Inside, inside: End, net: Net, ip: Ip) -> Result<u32, DropReason> {
        let mut port = self.draw_port(from, inside, net, ip);
        // Only TCP knows when a session is over.
        for _ in 0..if net.protocol == Protocol::Tcp { RECLAIMS } else { 0 } {
            if port.is_ok() {
                break;
            }
            let owner = self.table.find_owner(from.port);
            let own = owner.and_then(|owner| self.table.owners[owner].closed.first());
            let full = owner.is_some_and(|o| self.at_port_limit(o, net));
            let any = self.table.classes[Class::Closed as usize].first().filter(|_| !full);
            let Some(closed) = own.or(any) else { break };
            self.reclaim(closed)?;
            port = self.draw_port(from, inside, net, ip);
        }
        let outside = End { ip, port: port? };
        Ok(self.table.add_lent(from, inside, net, outside))
    }

    pub(super) fn at_port_limit(&self, owner: u32, net: Net) -> bool {
        self.table.owners[owner].ports[net.protocol as usize] as usize >= self.limits.endpoint_ports
    }

    fn draw_port(&mut self, from: Inside, inside: End, net: Net, ip: Ip) -> Result<u16, Lack> {
        let owner = self.table.find_owner(from.port);
        if owner.is_some_and(|owner| self.at_port_limit(owner, net)) {
            return Err(Lack::Final);
        }
        let owned = owner.map_or(0, |owner| self.table.owners[owner].ports[net.protocol as usize]);
        self.ports.take(ip, net, inside.port, owned, self.tick)
    }

    /// Whether somebody at `remote` with whom there is no session may reach a mapping.
    pub(super) fn admits(&self, mapping: u32, remote: End) -> bool {
        let mapped = &self.table.mappings[mapping];
        match (mapped.outside, mapped.filtering) {
            (Outside::Published { .. }, _) | (_, Filtering::EndpointIndependent) => true,
            (Outside::Lent(_), Filtering::AddressDependent) => self.table.has_peer(mapping, remote.ip),
        }
    }
}

impl From<Lack> for DropReason {
    fn from(lack: Lack) -> Self {
        match lack {
            Lack::Final => Self::NatPorts,
            Lack::Awaited => Self::NatPortsLate,
        }
    }
}
