//! What NAT promises, written so that it can be checked by reading: one list of sessions, searched from end to end for
//! everything. TCP's own states are those of the tracker, which the stories hold.

use std::net::IpAddr;

use super::world::{At, ONE, OTHER, Pk, Seen, TWO, Two, at};
use crate::gateway::LinkId;
use crate::nat::conntrack::{self, Phase, Tracker, Way};
use crate::nat::ports::REST;
use crate::nat::rewrite::Tcp;
use crate::nat::timers::{Class, ticks};
use crate::nat::{Limits, Protocol, Published, SessionState, Timers};
use crate::verdict::DropReason;
use crate::wire::TcpFlags;

/// A session of an endpoint. A dynamic mapping is what sessions with the same inside and outside ends have in common.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) port: u32,
    pub(super) protocol: Protocol,
    pub(super) inside: At,
    pub(super) outside: At,
    pub(super) remote: At,
    pub(super) rule: Option<Published>,
    pub(super) class: Class,
    pub(super) stamp: u32,
    /// When it took its place in the order of its timeout, and among those that may be given up.
    pub(super) refreshed: u64,
    pub(super) queued: u64,
    pub(super) tcp: Tracker,
}

impl Entry {
    pub(super) fn state(&self) -> SessionState {
        match (self.class, self.tcp.phase) {
            (Class::HalfOpenTcp | Class::HalfOpenUdp, _) => SessionState::HalfOpen,
            (Class::Udp | Class::Dns | Class::Icmp, _) | (_, Phase::Open) => SessionState::Open,
            (_, Phase::Opening) => SessionState::Opening,
            (_, Phase::Closing) => SessionState::Closing,
            (_, Phase::Closed) => SessionState::Closed,
        }
    }
}

/// The reference.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) limits: Limits,
    pub(super) sessions: Vec<Entry>,
    /// In the order in which they came.
    pub(super) rules: Vec<Published>,
    /// Connections whose outside address has gone: the endpoint, its end and the remote one.
    pub(super) orphans: Vec<(u32, At, At)>,
    pub(super) two: Two,
    pub(super) lent: Vec<u16>,
    /// Since when which ports rest.
    pub(super) resting: Vec<(IpAddr, Protocol, u16, u32)>,
    pub(super) tick: u32,
    steps: u64,
}

/// Endpoints from this one on let anybody answer.
pub(super) const OPEN_FROM: u32 = 3;

impl Model {
    pub(super) fn new(limits: Limits, lent: &[u16], tick: u32) -> Self {
        let (sessions, rules, resting) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            limits,
            sessions,
            rules,
            orphans: Vec::new(),
            two: Two::Up,
            lent: lent.to_vec(),
            resting,
            tick,
            steps: 0,
        }
    }

    fn step(&mut self) -> u64 {
        self.steps += 1;
        self.steps
    }

    fn is_own(&self, address: IpAddr) -> bool {
        address == at(ONE, 0).0
            || address == at(OTHER, 0).0
            || self.two != Two::Gone && address == at(TWO, 0).0
    }

    /// The link to `to`, and the outside address there.
    fn way(&self, to: IpAddr) -> (LinkId, IpAddr) {
        let two = self.two == Two::Up && matches!(to, IpAddr::V4(v4) if v4.octets()[..3] == [203, 0, 113]);
        (LinkId(if two { 2 } else { 1 }), at(if two { TWO } else { ONE }, 0).0)
    }

    /// Packets from an endpoint. `drawn` is the outside port of its session now, which is random.
    pub(super) fn out(&mut self, from: u32, pk: Pk, drawn: Option<u16>) -> Seen {
        if !self.is_own(pk.destination.0) {
            let (link, address) = self.way(pk.destination.0);
            return match self.leave(from, pk, address, drawn) {
                Ok(outside) if pk.protocol == Protocol::Icmp => {
                    Seen::Left(link, outside, (pk.destination.0, outside.1))
                }
                Ok(outside) => Seen::Left(link, outside, pk.destination),
                Err(reason) => Seen::Dropped(reason),
            };
        }
        if pk.protocol == Protocol::Icmp || !self.is_mapped(pk.protocol, pk.destination) {
            return Seen::Dropped(DropReason::NatNotMapped);
        }
        let address = self.way(pk.destination.0).1;
        let outside = match self.leave(from, pk, address, drawn) {
            Ok(outside) => outside,
            Err(reason) => return Seen::Dropped(reason),
        };
        self.back(Pk { source: outside, ..pk })
    }

    /// Packets from outside.
    pub(super) fn back(&mut self, pk: Pk) -> Seen {
        match self.enter(pk) {
            Ok((port, inside)) if pk.protocol == Protocol::Icmp => {
                Seen::Delivered(port, (pk.source.0, inside.1), inside)
            }
            Ok((port, inside)) => Seen::Delivered(port, pk.source, inside),
            Err(reason) => Seen::Dropped(reason),
        }
    }

    fn is_mapped(&self, protocol: Protocol, outside: At) -> bool {
        self.rule(protocol, outside).is_some()
            || self
                .sessions
                .iter()
                .any(|s| s.rule.is_none() && (s.protocol, s.outside) == (protocol, outside))
    }

    fn rule(&self, protocol: Protocol, outside: At) -> Option<Published> {
        let fits =
            |r: &&Published| r.protocol == protocol && r.outside_port == outside.1 && self.is_own(outside.0);
        let exact = self.rules.iter().filter(fits).find(|r| r.outside == Some(outside.0));
        exact.or_else(|| self.rules.iter().filter(fits).find(|r| r.outside.is_none())).copied()
    }

    fn leave(&mut self, from: u32, pk: Pk, address: IpAddr, drawn: Option<u16>) -> Result<At, DropReason> {
        if pk.protocol == Protocol::Tcp && conntrack::nonsense(pk.flags) {
            return Err(DropReason::NatTcpFlags);
        }
        let remote = (pk.destination.0, if pk.protocol == Protocol::Icmp { 0 } else { pk.destination.1 });
        let mine =
            |s: &Entry| (s.port, s.protocol, s.inside, s.remote) == (from, pk.protocol, pk.source, remote);
        let published = self.sessions.iter().position(|s| mine(s) && s.rule.is_some());
        let lent =
            || self.sessions.iter().position(|s| mine(s) && s.rule.is_none() && s.outside.0 == address);
        if let Some(found) = published.or_else(lent) {
            return Ok(self.go_on(found, pk, Way::Out));
        }
        let rule = self.rules.iter().copied().find(|r| {
            (r.port.0, r.protocol, (r.inside, r.inside_port)) == (from, pk.protocol, pk.source)
                && self.rule(pk.protocol, (address, r.outside_port)) == Some(*r)
        });
        let tcp = pk.protocol == Protocol::Tcp;
        let goes_on = tcp && !conntrack::is_opening(pk.flags) && !pk.flags.contains(TcpFlags::RST);
        if goes_on && self.orphans.contains(&(from, pk.source, remote)) {
            return Err(DropReason::NatAddressGone);
        }
        let idle = |s: &Entry| mine(s) && s.rule.is_none() && s.outside.0 == at(TWO, 0).0;
        if goes_on && self.two == Two::Down && self.sessions.iter().any(idle) {
            return Err(DropReason::NatNoRoute);
        }
        let answer = pk.flags.contains(TcpFlags::RST) || pk.flags.contains(TcpFlags::SYN.with(TcpFlags::ACK));
        if let Some(rule) = rule.filter(|_| tcp && answer) {
            return Ok((address, rule.outside_port));
        }
        let opens = conntrack::is_opening(pk.flags);
        if rule.is_none() && tcp && !opens || pk.protocol == Protocol::Icmp && !pk.request {
            return Err(DropReason::NatNoSession);
        }
        if !self.room(from) {
            return Err(DropReason::NatSessions);
        }
        let known = self.sessions.iter().find(|s| {
            s.rule.is_none()
                && (s.port, s.protocol, s.inside, s.outside.0) == (from, pk.protocol, pk.source, address)
        });
        let outside = match (rule, known) {
            (Some(rule), _) => (address, rule.outside_port),
            (None, Some(known)) => known.outside,
            (None, None) => self.draw(from, pk, address, drawn)?,
        };
        let class = match pk.protocol {
            Protocol::Tcp => Class::Transitory,
            Protocol::Udp if remote.1 == 53 => Class::Dns,
            Protocol::Udp => Class::Udp,
            Protocol::Icmp => Class::Icmp,
        };
        let begun = self.begin(from, pk, pk.source, outside, remote, rule, class);
        Ok(self.go_on(begun, pk, Way::Out))
    }

    #[expect(clippy::too_many_arguments, reason = "a session is that many things")]
    fn begin(
        &mut self,
        port: u32,
        pk: Pk,
        inside: At,
        outside: At,
        remote: At,
        rule: Option<Published>,
        class: Class,
    ) -> usize {
        let (refreshed, stamp) = (self.step(), self.tick);
        let tcp = Tracker::new(false);
        let protocol = pk.protocol;
        let queued = refreshed;
        let entry =
            Entry { port, protocol, inside, outside, remote, rule, class, stamp, refreshed, queued, tcp };
        self.sessions.push(entry);
        self.sessions.len() - 1
    }

    fn go_on(&mut self, at: usize, pk: Pk, way: Way) -> At {
        let (step, tick) = (self.step(), self.tick);
        let session = &mut self.sessions[at];
        let class = session.class;
        let (next, refreshes) = if pk.protocol == Protocol::Tcp {
            let tcp = Tcp {
                flags: pk.flags,
                sequence: pk.sequence,
                acknowledgement: pk.acknowledgement,
                window: 65_535,
                payload: pk.payload as u32,
            };
            let believed = session.tcp.observe(way, &tcp, 0);
            let next = match session.tcp.phase {
                Phase::Opening if class == Class::HalfOpenTcp => Class::HalfOpenTcp,
                Phase::Opening | Phase::Closing => Class::Transitory,
                Phase::Open => Class::Established,
                Phase::Closed => Class::Closed,
            };
            (next, believed || next != class)
        } else {
            let answered = way == Way::Out && class == Class::HalfOpenUdp;
            (if answered { Class::Udp } else { class }, way == Way::Out)
        };
        if next != class {
            session.queued = step;
        }
        if next != class || refreshes && session.stamp != tick {
            (session.class, session.stamp, session.refreshed) = (next, tick, step);
        }
        session.outside
    }

    fn enter(&mut self, pk: Pk) -> Result<(u32, At), DropReason> {
        let rule = self.rule(pk.protocol, pk.destination);
        let lent = self.sessions.iter().find(|s| {
            rule.is_none() && s.rule.is_none() && (s.protocol, s.outside) == (pk.protocol, pk.destination)
        });
        let goal = match (rule, lent) {
            (Some(rule), _) => (rule.port.0, (rule.inside, rule.inside_port)),
            (None, Some(lent)) => (lent.port, lent.inside),
            (None, None) => return Err(DropReason::NatNotMapped),
        };
        let tcp = pk.protocol == Protocol::Tcp;
        let remote = (pk.source.0, if pk.protocol == Protocol::Icmp { 0 } else { pk.source.1 });
        if pk.protocol == Protocol::Icmp && pk.request {
            return Err(DropReason::NatNotMapped);
        }
        if tcp && conntrack::nonsense(pk.flags) {
            return Err(DropReason::NatTcpFlags);
        }
        let opens = conntrack::is_opening(pk.flags);
        let same = |s: &Entry| {
            let here = rule.is_some() || s.outside == pk.destination;
            s.rule == rule && here && (s.protocol, s.remote) == (pk.protocol, remote)
        };
        if let Some(found) = self.sessions.iter().position(same) {
            let session = &mut self.sessions[found];
            if session.outside != pk.destination {
                if tcp && !(session.tcp.phase == Phase::Closed && opens) {
                    return Err(DropReason::NatClash);
                }
                session.outside = pk.destination;
            }
            self.go_on(found, pk, Way::In);
            return Ok(goal);
        }
        let peer = |s: &Entry| {
            s.rule.is_none()
                && (s.protocol, s.outside) == (pk.protocol, pk.destination)
                && s.remote.0 == remote.0
        };
        if rule.is_none() && goal.0 < OPEN_FROM && !self.sessions.iter().any(peer) {
            return Err(DropReason::NatFiltered);
        }
        if !tcp && rule.is_none() {
            return Ok(goal);
        }
        let pickable =
            rule.is_some() && !pk.flags.contains(TcpFlags::SYN) && !pk.flags.contains(TcpFlags::RST);
        if tcp && !opens && !pickable {
            return Err(DropReason::NatNoSession);
        }
        self.end_rival(goal, pk, remote, rule)?;
        if !self.room_for_stranger(goal.0, rule) {
            return Err(DropReason::NatSessions);
        }
        if rule.is_none() && !self.is_mapped(pk.protocol, pk.destination) {
            return Err(DropReason::NatSessions);
        }
        let class = if tcp { Class::HalfOpenTcp } else { Class::HalfOpenUdp };
        let begun = self.begin(goal.0, pk, goal.1, pk.destination, remote, rule, class);
        self.go_on(begun, pk, Way::In);
        Ok(goal)
    }

    /// Another published port of the same inside end, in use by the same remote end.
    fn end_rival(
        &mut self,
        goal: (u32, At),
        pk: Pk,
        remote: At,
        rule: Option<Published>,
    ) -> Result<(), DropReason> {
        let rival = self.sessions.iter().position(|s| {
            s.rule.is_some()
                && s.rule != rule
                && (s.port, s.inside, s.protocol, s.remote) == (goal.0, goal.1, pk.protocol, remote)
        });
        if let Some(rival) = rival {
            if pk.protocol == Protocol::Tcp && self.sessions[rival].tcp.phase != Phase::Closed {
                return Err(DropReason::NatClash);
            }
            self.end(rival);
        }
        Ok(())
    }

    fn oldest(&self, is: impl Fn(&Entry) -> bool, key: impl Fn(&Entry) -> u64) -> Option<usize> {
        let found = self.sessions.iter().enumerate().filter(|(_, s)| is(s));
        found.min_by_key(|(_, s)| key(s)).map(|(at, _)| at)
    }

    /// Whether an endpoint may have one more session; something may have to give way.
    fn room(&mut self, port: u32) -> bool {
        let own = self.oldest(|s| s.port == port && s.class == Class::Closed, |s| s.queued);
        let owned = self.sessions.iter().filter(|s| s.port == port && !s.class.is_half_open()).count();
        if owned >= self.limits.endpoint_sessions {
            return own.map(|own| self.end(own)).is_some();
        }
        if self.sessions.len() < self.limits.sessions {
            return true;
        }
        let class = |class: Class| self.oldest(|s| s.class == class, |s| s.refreshed);
        let spare = own
            .or_else(|| class(Class::Closed))
            .or_else(|| class(Class::HalfOpenTcp))
            .or_else(|| class(Class::HalfOpenUdp));
        spare.map(|spare| self.end(spare)).is_some()
    }

    fn room_for_stranger(&mut self, port: u32, rule: Option<Published>) -> bool {
        let rival = |s: &Entry| s.class.is_half_open() && s.rule == rule && s.port == port;
        let oldest = self.oldest(rival, |s| s.queued);
        if self.sessions.iter().filter(|s| rival(s)).count() >= self.limits.half_open {
            return oldest.map(|oldest| self.end(oldest)).is_some();
        }
        let before = self.sessions.len();
        if self.room(port) {
            return true;
        }
        assert_eq!(before, self.sessions.len());
        oldest.map(|oldest| self.end(oldest)).is_some()
    }

    fn draw(&mut self, port: u32, pk: Pk, address: IpAddr, drawn: Option<u16>) -> Result<At, DropReason> {
        for _ in 0..=64 {
            let full = self.mappings(port, pk.protocol) >= self.limits.endpoint_ports;
            if !full && self.check_drawn(pk, address, drawn) {
                return Ok((address, drawn.expect("checked")));
            }
            if pk.protocol != Protocol::Tcp {
                break;
            }
            let own = self.oldest(|s| s.port == port && s.class == Class::Closed, |s| s.queued);
            let any = self.oldest(|s| s.class == Class::Closed, |s| s.refreshed).filter(|_| !full);
            let Some(closed) = own.or(any) else { break };
            self.end(closed);
        }
        // Control is asked for more, unless they would not help.
        let full = self.mappings(port, pk.protocol) >= self.limits.endpoint_ports;
        Err(if full { DropReason::NatPorts } else { DropReason::NatPortsLate })
    }

    /// How many dynamic mappings an endpoint has.
    fn mappings(&self, port: u32, protocol: Protocol) -> usize {
        let mine =
            self.sessions.iter().filter(|s| s.rule.is_none() && (s.port, s.protocol) == (port, protocol));
        let mut outside: Vec<At> = mine.map(|s| s.outside).collect();
        outside.sort_unstable();
        outside.dedup();
        outside.len()
    }

    /// Whether there is a free port, and then that the one drawn is among the best.
    fn check_drawn(&self, pk: Pk, address: IpAddr, drawn: Option<u16>) -> bool {
        let free = |port: u16| !self.is_mapped(pk.protocol, (address, port));
        if pk.protocol == Protocol::Icmp {
            assert!(drawn.is_some_and(|id| id >= 1_024 && free(id)), "{drawn:?} is no free id");
            return true;
        }
        let rests = |port: u16| {
            self.resting.iter().any(|&(a, p, n, since)| {
                (a, p, n) == (address, pk.protocol, port) && self.tick - since < ticks(REST)
            })
        };
        let rank = |port: u16| ((port < 1_024) != (pk.source.1 < 1_024), port % 2 != pk.source.1 % 2);
        let (tired, rested): (Vec<u16>, Vec<u16>) =
            self.lent.iter().copied().filter(|&port| free(port)).partition(|&port| rests(port));
        let best = rested.iter().map(|&port| rank(port)).min();
        let choice: Vec<u16> = rested.into_iter().filter(|&port| Some(rank(port)) == best).collect();
        let choice = if choice.is_empty() { tired } else { choice };
        if !choice.is_empty() {
            let port = drawn.unwrap_or_else(|| panic!("{choice:?} were free"));
            assert!(choice.contains(&port), "{port} was drawn, {choice:?} were better");
        }
        !choice.is_empty()
    }

    pub(super) fn end(&mut self, at: usize) {
        let s = self.sessions.remove(at);
        let last = s.rule.is_none()
            && !self
                .sessions
                .iter()
                .any(|o| o.rule.is_none() && (o.protocol, o.outside) == (s.protocol, s.outside));
        if last && s.protocol == Protocol::Udp {
            self.resting.retain(|&(a, p, n, _)| (a, p, n) != (s.outside.0, s.protocol, s.outside.1));
            self.resting.push((s.outside.0, s.protocol, s.outside.1, self.tick));
        }
    }

    fn end_all(&mut self, is: impl Fn(&Self, &Entry) -> bool) {
        while let Some(found) = self.sessions.iter().position(|s| is(self, s)) {
            self.end(found);
        }
    }

    pub(super) fn wait(&mut self, tick: u32) {
        self.tick = tick;
        let timers = Timers::default();
        self.end_all(|model, s| model.tick - s.stamp > ticks(s.class.timeout(&timers)));
    }

    pub(super) fn publish(&mut self, rules: &[Published]) {
        let gone: Vec<Published> = self.rules.iter().copied().filter(|r| !rules.contains(r)).collect();
        self.end_all(|_, s| s.rule.is_some_and(|rule| gone.contains(&rule)));
        self.rules.retain(|rule| rules.contains(rule));
        let new: Vec<Published> = rules.iter().copied().filter(|rule| !self.rules.contains(rule)).collect();
        let names = |rules: &[Published], s: (Protocol, At)| {
            let named = |r: &Published| {
                r.outside.is_none_or(|o| o == s.1.0) && (r.protocol, r.outside_port) == (s.0, s.1.1)
            };
            rules.iter().any(named)
        };
        self.end_all(|_, s| s.rule.is_none() && names(&new, (s.protocol, s.outside)));
        // What went through the rule for all addresses now belongs to the one for this address.
        let special: Vec<Published> = new.iter().copied().filter(|rule| rule.outside.is_some()).collect();
        self.end_all(|_, s| {
            s.rule.is_some_and(|r| r.outside.is_none()) && names(&special, (s.protocol, s.outside))
        });
        // A port that is or was published does not rest.
        self.resting.retain(|&(a, p, n, _)| !names(&new, (p, (a, n))) && !names(&gone, (p, (a, n))));
        self.rules.extend(new);
    }

    pub(super) fn set_two(&mut self, two: Two) {
        self.two = two;
        let lost =
            |s: &&Entry| s.protocol == Protocol::Tcp && s.class != Class::Closed && !self.is_own(s.outside.0);
        let lost: Vec<_> = self.sessions.iter().filter(lost).map(|s| (s.port, s.inside, s.remote)).collect();
        self.orphans.extend(lost);
        self.end_all(|model, s| !model.is_own(s.outside.0));
        if two == Two::Gone {
            self.resting.retain(|&(a, ..)| a != at(TWO, 0).0);
        }
    }

    pub(super) fn retain(&mut self, dead: u32) {
        self.orphans.retain(|orphan| orphan.0 != dead);
        self.end_all(|_, s| s.port == dead);
    }
}
