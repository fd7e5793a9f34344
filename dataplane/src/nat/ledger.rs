//! Sessions as records, so that another process can go on with them.
//!
//! A record has a fixed length and its session's slot as its place, so that only what has changed is written: sessions
//! that begin, end, or come another step further; not their every packet. What a record says is believed only if its
//! checksum fits, it makes sense, and it fits what is configured now: the address is the host's, the port is lent and
//! free, the rule is there. Anything else is skipped.
//!
//! Not in a record: time (a restored session starts its timeout anew), sequence numbers, quotas' rates.

use super::Nat;
use super::conntrack::{Phase, Tracker};
use super::key::{End, Ip, Net};
use super::rewrite::Protocol;
use super::table::{Outside, Session};
use super::timers::Class;
use super::types::{Inside, Restored};
use crate::gateway::Filtering;
use crate::tables::PortId;
use crate::time::Moment;

/// Bytes of a record.
pub const RECORD_LEN: usize = 72;
/// One session; all zeros for none.
pub type Record = [u8; RECORD_LEN];

/// The layout; another one has another number.
const VERSION: u8 = 1;
/// Where the checksum stands.
const CHECKSUM: usize = RECORD_LEN - 8;
const V6: u8 = 1 << 2;
const PUBLISHED: u8 = 1 << 3;
const ANYBODY: u8 = 1 << 4;

/// A record, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    net: Net,
    published: bool,
    filtering: Filtering,
    class: Class,
    phase: Phase,
    port: PortId,
    inside: End,
    outside: End,
    remote: End,
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp];
const PHASES: [Phase; 4] = [Phase::Opening, Phase::Open, Phase::Closing, Phase::Closed];

/// FNV-1a (G. Fowler, L. C. Noll, K.-P. Vo): the same in every process, and never 0 for an empty record.
fn checksum(bytes: &[u8]) -> [u8; 8] {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step).to_le_bytes()
}

impl Entry {
    fn write(&self) -> Record {
        let mut record = [0; RECORD_LEN];
        let flags = [
            (self.net.v6, V6),
            (self.published, PUBLISHED),
            (self.filtering == Filtering::EndpointIndependent, ANYBODY),
        ];
        let flags =
            flags.iter().filter(|(set, _)| *set).fold(self.net.protocol as u8, |flags, (_, bit)| flags | bit);
        record[..4].copy_from_slice(&[VERSION, flags, self.class as u8, self.phase as u8]);
        record[4..8].copy_from_slice(&self.port.0.to_le_bytes());
        for (at, end) in [(8, self.inside), (26, self.outside), (44, self.remote)] {
            record[at..at + 16].copy_from_slice(&end.ip.0);
            record[at + 16..at + 18].copy_from_slice(&end.port.to_le_bytes());
        }
        let sum = checksum(&record[..CHECKSUM]);
        record[CHECKSUM..].copy_from_slice(&sum);
        record
    }

    fn read(record: &Record) -> Option<Self> {
        let (body, sum) = record.split_at(CHECKSUM);
        let [version, flags, class, phase, ..] = *record;
        if version != VERSION || sum != checksum(body) || flags >= ANYBODY << 1 {
            return None;
        }
        let protocol = *PROTOCOLS.get(usize::from(flags & 3))?;
        let end = |at: usize| {
            let mut ip = Ip::default();
            ip.0.copy_from_slice(&record[at..at + 16]);
            End { ip, port: u16::from_le_bytes([record[at + 16], record[at + 17]]) }
        };
        let anybody = flags & ANYBODY != 0;
        let entry = Self {
            net: Net { protocol, v6: flags & V6 != 0 },
            published: flags & PUBLISHED != 0,
            filtering: if anybody { Filtering::EndpointIndependent } else { Filtering::AddressDependent },
            class: *Class::ALL.get(usize::from(class))?,
            phase: *PHASES.get(usize::from(phase))?,
            port: PortId(u32::from_le_bytes([record[4], record[5], record[6], record[7]])),
            inside: end(8),
            outside: end(26),
            remote: end(44),
        };
        entry.makes_sense().then_some(entry)
    }

    fn makes_sense(&self) -> bool {
        let fits = match self.net.protocol {
            Protocol::Tcp => matches!(
                (self.class, self.phase),
                (Class::HalfOpenTcp | Class::Transitory, Phase::Opening)
                    | (Class::Established, Phase::Open)
                    | (Class::Transitory, Phase::Closing)
                    | (Class::Closed, Phase::Closed)
            ),
            Protocol::Udp => {
                let half_open = self.class == Class::HalfOpenUdp && self.published;
                self.phase == Phase::Opening && (half_open || matches!(self.class, Class::Udp | Class::Dns))
            }
            Protocol::Icmp => {
                (self.class, self.phase, self.published) == (Class::Icmp, Phase::Opening, false)
            }
        };
        let query = self.net.protocol == Protocol::Icmp;
        let ports = self.outside.port != 0
            && (query && self.remote.port == 0 || !query && self.inside.port != 0 && self.remote.port != 0);
        let station = |end: End| {
            let address = self.net.address(end.ip);
            let clean = self.net.v6 || end.ip.0[4..].iter().all(|&byte| byte == 0);
            clean && crate::gateway::spec::is_station(address)
        };
        fits && ports && [self.inside, self.outside, self.remote].into_iter().all(station)
    }
}

impl Nat {
    /// Records of slots that have changed since they were last given here, at most `budget` of them, to be written at
    /// slot times [`RECORD_LEN`]. A slot that is empty now has a record of zeros.
    pub fn changes(&mut self, budget: usize) -> Vec<(u32, Record)> {
        let slots = self.table.take_changes(budget);
        slots.into_iter().map(|slot| (slot, self.record(slot))).collect()
    }

    /// Has the records of all sessions given by [`Nat::changes`] once more: for a ledger that knows none of them.
    pub fn change_all(&mut self) {
        let slots: Vec<u32> = self.table.sessions.iter().map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.table.note_change(slot));
    }

    fn record(&self, slot: u32) -> Record {
        let Some(session) = self.table.sessions.get(slot) else { return [0; RECORD_LEN] };
        let mapping = &self.table.mappings[session.mapping];
        let Session { class, remote, outside, ref tcp, .. } = *session;
        let entry = Entry {
            net: mapping.net,
            published: matches!(mapping.outside, Outside::Published { .. }),
            filtering: mapping.filtering,
            class,
            phase: tcp.phase,
            port: mapping.port,
            inside: mapping.inside,
            outside: End { ip: outside, port: mapping.outside.port() },
            remote,
        };
        entry.write()
    }

    /// Goes on with the sessions of a former process. To be called after [`Nat::set_egress`], [`Nat::lend`] and
    /// [`Nat::publish`], and before packets. Sessions get new slots, so the records are to be written afresh
    /// ([`Nat::changes`]) where no old one is left.
    pub fn restore<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>, now: Moment) -> Restored {
        self.advance(now);
        let mut restored = Restored::default();
        for record in records.into_iter().filter(|record| record.iter().any(|&byte| byte != 0)) {
            match Entry::read(record).and_then(|entry| self.resume(&entry)) {
                Some(()) => restored.sessions += 1,
                None => restored.skipped += 1,
            }
        }
        restored
    }

    fn resume(&mut self, entry: &Entry) -> Option<()> {
        if self.table.sessions.len() >= self.limits.sessions {
            return None;
        }
        let mapping = if entry.published { self.published_of(entry)? } else { self.lent_to(entry)? };
        if self.table.session(mapping, entry.remote).is_some() {
            return None;
        }
        let owner = &self.table.owners[self.table.mappings[mapping].owner];
        let full = match entry.class.is_half_open() {
            true => self.table.half_open(mapping).len as usize >= self.limits.half_open,
            false => owner.sessions as usize >= self.limits.endpoint_sessions,
        };
        if full {
            self.end_if_unused(mapping);
            return None;
        }
        let tcp = Tracker::resumed(entry.phase);
        self.table.add_session(mapping, entry.remote, entry.outside.ip, entry.class, tcp, self.tick);
        Some(())
    }

    /// The published port that an entry is about.
    fn published_of(&self, entry: &Entry) -> Option<u32> {
        let mapping = self.mapping_at(entry.net, entry.outside)?;
        let mapped = &self.table.mappings[mapping];
        let same = (mapped.port, mapped.inside) == (entry.port, entry.inside);
        (same && matches!(mapped.outside, Outside::Published { .. })).then_some(mapping)
    }

    /// The dynamic mapping that an entry is about: there already, or its port is lent and free.
    fn lent_to(&mut self, entry: &Entry) -> Option<u32> {
        let Entry { net, port, inside, outside, filtering, .. } = *entry;
        let known = self.table.by_inside(port, inside, net, outside.ip);
        if known.is_some() || self.table.by_outside(net, outside).is_some() {
            return known.filter(|&known| self.table.by_outside(net, outside) == Some(known));
        }
        let usable = self.egress.has(net.address(outside.ip));
        let owner = self.table.find_owner(port);
        if !usable
            || owner.is_some_and(|owner| self.at_port_limit(owner, net))
            || !self.ports.claim(outside.ip, net, outside.port)
        {
            return None;
        }
        Some(self.table.add_lent(Inside { port, filtering }, inside, net, outside))
    }
}

#[cfg(test)]
mod tests;
