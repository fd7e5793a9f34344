//! What control tells NAT and asks of it.

use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use super::fragments::{FragmentLimits, Fragments};
use super::identify::Identifications;
use super::key::{End, Ip, Net};
use super::orphans::{Orphan, Orphans};
use super::ports::Ports;
use super::publish::Rules;
use super::rewrite::Protocol;
use super::table::{Mapping, Outside, Session, Table};
use super::timers::{Class, Queue, TICK, Thread, tick, ticks};
use super::types::{Counts, Limits, Outcome, SessionRow, SessionState, Timers, Want};
use super::{Nat, conntrack::Phase};
use crate::gateway::Egress;
use crate::tables::PortId;
use crate::time::Moment;
use crate::verdict::DropReason;

/// Sessions ended by the first packet of a tick, beside what [`Nat::expire`] does.
const SWEEP: usize = 16;

impl Nat {
    /// An empty one. `seed` must be unpredictable: it decides which ports are drawn, and protects the tables.
    #[must_use]
    pub fn new(seed: u64, limits: Limits, timers: Timers) -> Self {
        let state = FixedState::with_seed(seed);
        Self {
            limits,
            timers,
            egress: Egress::default(),
            gateways: HashSet::with_hasher(state.clone()),
            table: Table::new(state.clone()),
            ports: Ports::new(seed.rotate_left(32) ^ 0x6f75_7473_6964_6570, limits.lent),
            rules: Rules::new(&state),
            orphans: Orphans::new(state.clone()),
            fragments: Fragments::new(seed, FragmentLimits::default()),
            identifications: Identifications::new(state.clone()),
            released: Vec::new(),
            tick: 0,
            begun: 0,
            displaced: 0,
            reclaimed: 0,
            seed: state,
        }
    }

    /// The host's routing has changed. Sessions on an outside address that the host no longer has end, and the ports
    /// lent on it are forgotten; control may close their sockets. Unless there is such an address, what this costs does
    /// not depend on the sessions. Where the host has the address and nothing leaves by it any more, as while its link is
    /// down, sessions and ports stay.
    pub fn set_egress(&mut self, egress: Egress, now: Moment) {
        self.advance(now);
        let former = std::mem::replace(&mut self.egress, egress);
        // All sessions are at addresses that were the host's until now.
        if !self.egress.keeps(&former) {
            self.end_homeless();
        }
        self.ports.set_addresses(&self.egress);
    }

    /// The addresses of the networks' gateways have changed. At each of them the ports that are published at every
    /// address are reached, by endpoints, whether the host itself has the address or not. Sessions by one that is gone end.
    pub fn set_gateways(&mut self, gateways: impl IntoIterator<Item = IpAddr>) {
        let mut next = HashSet::with_hasher(self.seed.clone());
        next.extend(gateways);
        let former = std::mem::replace(&mut self.gateways, next);
        if former.iter().any(|&address| !self.is_own(address)) {
            self.end_homeless();
        }
    }

    /// Whether `address` is one of the host's, or of a gateway.
    #[must_use]
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.egress.is_own(address) || self.gateways.contains(&address)
    }

    /// Whether some port may be published at the gateway's address `address`.
    #[must_use]
    pub fn publishes_at(&self, address: IpAddr) -> bool {
        self.rules.len() > 0 && self.gateways.contains(&address)
    }

    /// Ends the sessions whose outside address is the host's no more; endpoints are told when they go on with them.
    pub(super) fn end_homeless(&mut self) {
        let gone = |session: &Session| {
            let mapping = &self.table.mappings[session.mapping];
            let address = mapping.net.address(session.outside);
            match mapping.outside {
                Outside::Lent(_) => !self.egress.has(address),
                Outside::Published { .. } => !self.is_own(address),
            }
        };
        let gone: Vec<u32> =
            self.table.sessions.iter().filter(|(_, session)| gone(session)).map(|(slot, _)| slot).collect();
        for slot in gone {
            let Session { mapping, remote, class, .. } = self.table.sessions[slot];
            let Mapping { port, net, inside, .. } = self.table.mappings[mapping];
            if net.protocol == Protocol::Tcp && class != Class::Closed {
                self.orphans.add(Orphan { port, net, inside, remote });
            }
            self.end(slot);
        }
    }

    /// The host's routing.
    #[must_use]
    pub const fn egress(&self) -> &Egress {
        &self.egress
    }

    /// Outside ports that control has reserved for `protocol` (TCP or UDP) at `address`. What [`Nat::wants`] asked for
    /// is thereby answered, also by fewer ports than asked, or none: then control is asked again only after a while.
    /// Ports at an address that is not the host's are ignored.
    pub fn lend(&mut self, address: IpAddr, protocol: Protocol, ports: &[u16]) {
        if protocol == Protocol::Icmp || !self.egress.has(address) {
            return;
        }
        let (ip, net) = (Ip::from(address), Net::new(protocol, address));
        let rules = &self.rules;
        self.ports.lend(ip, net, ports, self.tick, |port| rules.find(net, End { ip, port }).is_some());
    }

    /// Outside ports that control should reserve and lend, at outside addresses. Each want is told once until it is
    /// answered.
    pub fn wants(&mut self) -> Vec<Want> {
        self.ports.wants(self.tick, |address| self.egress.is_outside(address))
    }

    /// Ends the sessions of endpoints that no longer live. Their published ports stay until [`Nat::publish`] says so.
    pub fn retain(&mut self, lives: impl Fn(PortId) -> bool) {
        self.orphans.retain(&lives);
        // Endpoints are fewer than mappings by far.
        if self.table.owners().all(&lives) {
            return;
        }
        let dead = self.table.mappings.iter().filter(|(_, mapping)| !lives(mapping.port));
        for mapping in dead.map(|(slot, _)| slot).collect::<Vec<_>>() {
            self.end_mapping(mapping);
        }
    }

    /// Ends at most `budget` sessions whose time is over; returns how many.
    pub fn expire(&mut self, now: Moment, budget: usize) -> usize {
        self.tick = self.tick.max(tick(now));
        self.fragments.expire(now);
        self.sweep(budget)
    }

    /// Fragments that were held and then lost since the last call, by reason.
    pub fn lost(&mut self) -> Vec<(DropReason, u64)> {
        self.fragments.lost()
    }

    /// Fragments that the packet just handled has released: IP packets, rewritten, with what becomes of each.
    pub fn released(&mut self) -> Vec<(Box<[u8]>, Outcome)> {
        std::mem::take(&mut self.released)
    }

    /// The sessions that are not over, in no particular order.
    pub fn sessions(&self, now: Moment) -> impl Iterator<Item = SessionRow> + '_ {
        let now = self.tick.max(tick(now));
        let alive = move |(_, session): &(u32, &Session)| !self.is_over(session, now);
        self.table.sessions.iter().filter(alive).map(move |(_, session)| self.row(session, now))
    }

    /// How much there is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (lent, free) = self.ports.counts();
        let class = |class: Class| self.table.classes[class as usize].len as usize;
        Counts {
            sessions: self.table.sessions.len(),
            closed: class(Class::Closed),
            half_open: class(Class::HalfOpenTcp) + class(Class::HalfOpenUdp),
            mappings: self.table.mappings.len() - self.rules.len(),
            published: self.rules.len(),
            endpoints: self.table.owners.len(),
            lent,
            free,
            fragments: self.fragments.held(),
            begun: self.begun,
            displaced: self.displaced,
            reclaimed: self.reclaimed,
        }
    }

    fn row(&self, session: &Session, now: u32) -> SessionRow {
        let mapping = &self.table.mappings[session.mapping];
        let (net, idle) = (mapping.net, now.saturating_sub(session.stamp));
        let timeout = ticks(session.class.timeout(&self.timers));
        let outside = End { ip: session.outside, port: mapping.outside.port() };
        SessionRow {
            protocol: net.protocol,
            port: mapping.port,
            inside: mapping.inside.under(net),
            outside: outside.under(net),
            remote: session.remote.under(net),
            published: matches!(mapping.outside, Outside::Published { .. }),
            state: state(session),
            idle: TICK * idle,
            expires: TICK * timeout.saturating_sub(idle),
        }
    }

    /// Takes note of the time; time that runs backwards stands still.
    pub(super) fn advance(&mut self, now: Moment) {
        let now = tick(now);
        if now > self.tick {
            self.tick = now;
            self.sweep(SWEEP);
        }
    }

    fn sweep(&mut self, budget: usize) -> usize {
        let mut ended = 0;
        for class in Class::ALL {
            while let Some(slot) = self.table.classes[class as usize].first() {
                if ended == budget || !self.is_over(&self.table.sessions[slot], self.tick) {
                    break;
                }
                self.end(slot);
                ended += 1;
            }
        }
        ended
    }

    /// Whether a session's time is over, be it swept or not. What happened within one tick has one stamp, so the tick
    /// in which the timeout would end is granted too.
    pub(super) fn is_over(&self, session: &Session, now: u32) -> bool {
        now.saturating_sub(session.stamp) > ticks(session.class.timeout(&self.timers))
    }

    /// Ends a session, and with it its mapping if that is dynamic and has no other.
    pub(super) fn end(&mut self, slot: u32) {
        let mapping = self.table.sessions[slot].mapping;
        self.table.remove_session(slot);
        self.end_if_unused(mapping);
    }

    /// Ends a dynamic mapping that has no session, and gives its port back.
    pub(super) fn end_if_unused(&mut self, mapping: u32) {
        let Some(mapped) = self.table.mappings.get(mapping) else { return };
        let net = mapped.net;
        if let (Outside::Lent(outside), 0) = (mapped.outside, mapped.sessions.len) {
            self.table.remove_mapping(mapping);
            let withheld = self.rules.find(net, outside).is_some();
            self.ports.give_back(outside.ip, net, outside.port, self.tick);
            if withheld {
                self.ports.withhold(Some(outside.ip), net, outside.port);
            }
        }
    }

    /// Ends every session of a mapping, and so the mapping itself unless it is published.
    pub(super) fn end_mapping(&mut self, mapping: u32) {
        let mut next = self.table.mappings.get(mapping).and_then(|mapping| mapping.sessions.first());
        while let Some(slot) = next {
            next = Queue::next(&self.table.sessions, Thread::Mapping, slot);
            self.end(slot);
        }
    }
}

fn state(session: &Session) -> SessionState {
    match (session.class, session.tcp.phase) {
        (Class::HalfOpenTcp | Class::HalfOpenUdp, _) => SessionState::HalfOpen,
        (Class::Udp | Class::Dns | Class::Icmp, _) | (_, Phase::Open) => SessionState::Open,
        (_, Phase::Opening) => SessionState::Opening,
        (_, Phase::Closing) => SessionState::Closing,
        (_, Phase::Closed) => SessionState::Closed,
    }
}
