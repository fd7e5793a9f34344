//! From an endpoint to the world, or back to another endpoint by the outside address of that (hairpin).

use std::net::IpAddr;

use super::Nat;
use super::conntrack::{self, Phase, Tracker, Way};
use super::key::{End, Ip, Net};
use super::pieces::Through;
use super::rewrite::{Kind, Packet, Protocol, Tcp, parse};
use super::table::Outside;
use super::timers::Class;
use super::types::{Inside, Outcome, Policy};
use crate::time::Moment;
use crate::verdict::DropReason;
use crate::wire::TcpFlags;

/// Where one question has one answer (RFC 1035 section 4.2.1).
const DNS: u16 = 53;

/// A packet of a flow, as the table sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) net: Net,
    pub(super) source: End,
    pub(super) destination: End,
    /// Whether an ICMP query asks.
    pub(super) request: bool,
    pub(super) tcp: Option<Tcp>,
    /// The window scale option of a SYN.
    pub(super) scale: u8,
}

impl Flow {
    /// `None` when the packet is not of a flow.
    pub(super) fn of(ip: &[u8], packet: &Packet) -> Option<Self> {
        let Kind::Flow { protocol, source, destination, request, tcp } = packet.kind else { return None };
        let net = Net::new(protocol, packet.source);
        // A fragment does not tell how long its segment is: as long as one can be.
        let whole = packet.part.is_none();
        let tcp = tcp.map(|tcp| Tcp { payload: if whole { tcp.payload } else { u16::MAX.into() }, ..tcp });
        let options = tcp.filter(|tcp| whole && tcp.flags.contains(TcpFlags::SYN)).and_then(|tcp| {
            let end = packet.total - tcp.payload as usize;
            ip.get(packet.l4 + crate::wire::tcp::HEADER_LEN..end)
        });
        Some(Self {
            net,
            source: End::new(packet.source, source),
            destination: End::new(packet.destination, destination),
            request,
            tcp,
            scale: options.map_or(0, conntrack::window_scale),
        })
    }

    /// Its remote end as sessions have it: ICMP queries have no port there.
    pub(super) fn remote(&self, way: Way) -> End {
        let end = if way == Way::Out { self.destination } else { self.source };
        if self.net.protocol == Protocol::Icmp { End { port: 0, ..end } } else { end }
    }

    pub(super) fn has(&self, flags: TcpFlags) -> bool {
        self.tcp.is_some_and(|tcp| tcp.flags.contains(flags))
    }

    pub(super) fn opens(&self) -> bool {
        self.tcp.is_some_and(|tcp| conntrack::is_opening(tcp.flags))
    }
}

impl Nat {
    /// Translates a packet from an endpoint. `ip` is an IP packet, whose TTL and size the caller has seen to; `partial`
    /// says that its transport checksum is still to be completed. The bytes are rewritten unless the outcome is held or
    /// dropped.
    ///
    /// The caller vouches for the source address; it is not looked at beyond being part of the inside end. A packet to
    /// an address of this host that nothing is mapped to is dropped as [`DropReason::NatNotMapped`]: it is the host's.
    pub fn outbound(
        &mut self,
        from: Inside,
        ip: &mut [u8],
        partial: bool,
        policy: Policy,
        now: Moment,
    ) -> Outcome {
        self.advance(now);
        let packet = match parse(ip) {
            Ok(packet) => packet,
            Err(reason) => return Outcome::Drop(reason),
        };
        if let Kind::Later(_) = packet.kind {
            return self.later(Some(from.port), ip, &packet, now);
        }
        if let Kind::Error { .. } = packet.kind {
            return match self.outbound_error(from, ip, &packet, partial) {
                Outcome::Drop(reason) => match self.as_it_is(&packet, policy, reason) {
                    Ok(through) => through.outcome,
                    Err(reason) => Outcome::Drop(reason),
                },
                outcome => outcome,
            };
        }
        let decided = match Flow::of(ip, &packet) {
            Some(flow) => self.decide_outbound(from, &packet, &flow, policy, now),
            None => Err(DropReason::NatUnsupported),
        };
        let decided = decided.or_else(|reason| self.as_it_is(&packet, policy, reason));
        self.carry_out(Some(from.port), ip, &packet, partial, decided, now)
    }

    /// What belongs to no session leaves untouched if it may not begin one.
    fn as_it_is(&self, packet: &Packet, policy: Policy, reason: DropReason) -> Result<Through, DropReason> {
        let of_none =
            matches!(reason, DropReason::NatPolicy | DropReason::NatNoSession | DropReason::NatUnsupported);
        let routed = of_none && policy == Policy::Answer && !self.is_own(packet.destination);
        let hop = self.egress.lookup(packet.destination).filter(|_| routed).ok_or(reason)?;
        Ok(Through { source: None, destination: None, identification: None, outcome: Outcome::Leave(hop) })
    }

    fn decide_outbound(
        &mut self,
        from: Inside,
        packet: &Packet,
        flow: &Flow,
        policy: Policy,
        now: Moment,
    ) -> Result<Through, DropReason> {
        if !self.is_own(packet.destination) {
            let Some(hop) = self.egress.lookup(packet.destination) else {
                let gone = self.is_orphan(from, flow);
                return Err(if gone { DropReason::NatAddressGone } else { DropReason::NatNoRoute });
            };
            let outside = self.leave(from, flow, hop.source.into(), policy, now)?;
            let source = outside.under(flow.net);
            return Ok(Through {
                source: Some(source),
                destination: None,
                identification: None,
                outcome: Outcome::Leave(hop),
            });
        }
        if self.mapping_at(flow.net, flow.destination).is_none() || flow.net.protocol == Protocol::Icmp {
            return Err(DropReason::NatNotMapped);
        }
        let address = self.hairpin_source(packet.destination).ok_or(DropReason::NatNoRoute)?;
        let outside = self.leave(from, flow, address.into(), policy, now)?;
        let (port, inside) = self.enter(&Flow { source: outside, ..*flow })?;
        Ok(Through {
            source: Some(outside.under(flow.net)),
            destination: Some(inside.under(flow.net)),
            identification: None,
            outcome: Outcome::Deliver { port },
        })
    }

    /// The outside address of a packet to the host's own address `to`: what routing says, or else the first one of the
    /// link that has it, or of any link.
    pub(super) fn hairpin_source(&self, to: IpAddr) -> Option<IpAddr> {
        let routed = self.egress.lookup(to).map(|hop| hop.source);
        let of_family = |link: &crate::gateway::LinkSpec| {
            link.addresses.iter().copied().find(|address| address.is_ipv4() == to.is_ipv4())
        };
        let near = || self.egress.links().find(|link| link.addresses.contains(&to)).and_then(of_family);
        routed.or_else(near).or_else(|| self.egress.links().find_map(of_family))
    }

    /// The outside end from which a packet goes on.
    fn leave(
        &mut self,
        from: Inside,
        flow: &Flow,
        address: Ip,
        policy: Policy,
        now: Moment,
    ) -> Result<End, DropReason> {
        if flow.tcp.is_some_and(|tcp| conntrack::nonsense(tcp.flags)) {
            return Err(DropReason::NatTcpFlags);
        }
        let remote = flow.remote(Way::Out);
        if let Some(slot) = self.session_of(from, flow.source, flow.net, address, remote) {
            return Ok(self.go_on(slot, flow, Way::Out));
        }
        if self.is_orphan(from, flow) {
            return Err(DropReason::NatAddressGone);
        }
        if self.is_idle(from, flow) {
            return Err(DropReason::NatNoRoute);
        }
        // Whoever is reached by its own address answers from it.
        if policy == Policy::Answer {
            return Err(DropReason::NatPolicy);
        }
        let rule = self.rule_from(from, flow.net, flow.source, address);
        match (rule, flow.tcp) {
            // A server answers: also when the half-open session had to give way to others, or is of a former process.
            (Some(rule), Some(tcp))
                if tcp.flags.contains(TcpFlags::RST) || flow.has(TcpFlags::SYN) && !flow.opens() =>
            {
                return Ok(End { ip: address, port: self.table.mappings[rule].outside.port() });
            }
            (None, Some(_)) if !flow.opens() => return Err(DropReason::NatNoSession),
            (_, None) if flow.net.protocol == Protocol::Icmp && !flow.request => {
                return Err(DropReason::NatNoSession);
            }
            _ => {}
        }
        self.room_for(from, now)?;
        let mapping = match rule.or_else(|| self.table.by_inside(from.port, flow.source, flow.net, address)) {
            Some(mapping) => mapping,
            None => self.draw(from, flow.source, flow.net, address)?,
        };
        if let Outside::Lent(_) = self.table.mappings[mapping].outside {
            self.table.mappings[mapping].filtering = from.filtering;
        }
        let class = match flow.net.protocol {
            Protocol::Tcp => Class::Transitory,
            Protocol::Udp if remote.port == DNS => Class::Dns,
            Protocol::Udp => Class::Udp,
            Protocol::Icmp => Class::Icmp,
        };
        let slot = self.begin(mapping, remote, address, class);
        Ok(self.go_on(slot, flow, Way::Out))
    }

    /// The published port from which an inside end speaks at an outside address: one that leads there by it, too.
    pub(super) fn rule_from(&self, from: Inside, net: Net, inside: End, ip: Ip) -> Option<u32> {
        self.rules.leading_to(from.port, inside, net).iter().copied().find(|&rule| {
            let port = self.table.mappings[rule].outside.port();
            self.mapping_at(net, End { ip, port }) == Some(rule)
        })
    }

    /// The session of an inside end with a remote end: of a published port that leads there, or of the dynamic mapping
    /// at the outside address that routing says.
    pub(super) fn session_of(
        &mut self,
        from: Inside,
        inside: End,
        net: Net,
        address: Ip,
        remote: End,
    ) -> Option<u32> {
        let published = self.rules.leading_to(from.port, inside, net);
        let found = published
            .iter()
            .find_map(|&rule| self.table.session(rule, remote))
            .or_else(|| self.table.session(self.table.by_inside(from.port, inside, net, address)?, remote));
        self.alive(found)
    }

    /// A session that was found, unless its time is over: then it ends here.
    pub(super) fn alive(&mut self, found: Option<u32>) -> Option<u32> {
        let slot = found?;
        if self.is_over(&self.table.sessions[slot], self.tick) {
            self.end(slot);
            return None;
        }
        Some(slot)
    }

    pub(super) fn begin(&mut self, mapping: u32, remote: End, outside: Ip, class: Class) -> u32 {
        self.begun += 1;
        self.table.add_session(mapping, remote, outside, class, Tracker::new(false), self.tick)
    }

    /// A packet of a session: notes what it does to it; gives the session's outside end.
    pub(super) fn go_on(&mut self, slot: u32, flow: &Flow, way: Way) -> End {
        let session = &mut self.table.sessions[slot];
        let class = session.class;
        let next = match flow.tcp {
            Some(tcp) => {
                let phase = session.tcp.phase;
                let believed = session.tcp.observe(way, &tcp, flow.scale);
                let next = class_of(session.tcp.phase, class);
                if session.tcp.phase != phase {
                    self.table.note_change(slot);
                }
                (believed || next != class).then_some(next)
            }
            // Only what comes from inside refreshes (RFC 4787 REQ-6), and answers what a stranger has begun.
            None if way == Way::Out => Some(if class == Class::HalfOpenUdp { Class::Udp } else { class }),
            None => None,
        };
        if let Some(next) = next {
            self.table.refresh(slot, next, self.tick);
        }
        let session = &self.table.sessions[slot];
        End { ip: session.outside, port: self.table.mappings[session.mapping].outside.port() }
    }
}

/// The timeout of a connection in `phase` that now has that of `class`.
fn class_of(phase: Phase, class: Class) -> Class {
    match phase {
        Phase::Opening if class.is_half_open() => Class::HalfOpenTcp,
        Phase::Opening | Phase::Closing => Class::Transitory,
        Phase::Open => Class::Established,
        Phase::Closed => Class::Closed,
    }
}
