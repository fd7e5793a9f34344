//! TCP connections that have lost their outside address: their endpoints are told at their next segment.
//!
//! Where the host has the address still and only nothing leaves by it, as while its link is down, the connection is not
//! lost: its segments are refused as if there were no route, whatever other ways there are, and it goes on when the link
//! does.
//!
//! A connection cannot go on from another address, and what comes to the former one is no longer this host's. So that
//! the endpoint need not find out by minutes of silence, its end of the connection is remembered. There is no other time
//! limit than [`ORPHANS_MAX`], at which the oldest is forgotten: its endpoint meets silence.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use super::Nat;
use super::key::{End, Net};
use super::outbound::Flow;
use super::rewrite::parse;
use super::types::Inside;
use crate::tables::PortId;
use crate::wire::TcpFlags;

/// Connections that are remembered; some 2 MiB.
pub(super) const ORPHANS_MAX: usize = 16_384;

/// An endpoint's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Orphan {
    pub(super) port: PortId,
    pub(super) net: Net,
    pub(super) inside: End,
    pub(super) remote: End,
}

/// Those that are remembered.
#[derive(Debug)]
pub(super) struct Orphans {
    known: HashSet<Orphan, FixedState>,
    order: VecDeque<Orphan>,
}

impl Orphans {
    pub(super) fn new(seed: FixedState) -> Self {
        Self { known: HashSet::with_hasher(seed), order: VecDeque::new() }
    }

    pub(super) fn add(&mut self, orphan: Orphan) {
        if !self.known.insert(orphan) {
            return;
        }
        self.order.push_back(orphan);
        if self.order.len() > ORPHANS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(super) fn has(&self, orphan: &Orphan) -> bool {
        self.known.contains(orphan)
    }

    /// Forgets those of endpoints that no longer live.
    pub(super) fn retain(&mut self, lives: impl Fn(PortId) -> bool) {
        self.order.retain(|orphan| lives(orphan.port));
        self.known.retain(|orphan| lives(orphan.port));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

impl Nat {
    /// Whether the packet `ip` of an endpoint is of a connection whose outside address has gone.
    #[must_use]
    pub fn is_of_lost_connection(&self, from: Inside, ip: &[u8]) -> bool {
        let flow = || Flow::of(ip, &parse(ip).ok()?);
        !self.orphans.is_empty() && flow().is_some_and(|flow| self.is_orphan(from, &flow))
    }

    pub(super) fn is_orphan(&self, from: Inside, flow: &Flow) -> bool {
        let Flow { net, source: inside, destination: remote, .. } = *flow;
        goes_on(flow) && self.orphans.has(&Orphan { port: from.port, net, inside, remote })
    }

    /// Whether a packet is of a connection from an address by which nothing leaves at the moment: another way than that
    /// of its address is none.
    pub(super) fn is_idle(&self, from: Inside, flow: &Flow) -> bool {
        let session = |ip| {
            let mapping = self.table.by_inside(from.port, flow.source, flow.net, ip)?;
            self.table.session(mapping, flow.destination)
        };
        let alive = |slot: u32| !self.is_over(&self.table.sessions[slot], self.tick);
        goes_on(flow) && self.ports.idle(flow.net).filter_map(session).any(alive)
    }
}

/// Whether it is a segment of a connection that there should be.
fn goes_on(flow: &Flow) -> bool {
    flow.tcp.is_some() && !flow.opens() && !flow.has(TcpFlags::RST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::Protocol;

    #[test]
    fn the_oldest_is_forgotten_at_the_limit_and_those_of_the_dead_at_once() {
        let orphan = |n: usize| Orphan {
            port: PortId(n as u32 % 2),
            net: Net { protocol: Protocol::Tcp, v6: false },
            inside: End { port: n as u16, ..End::default() },
            remote: End::default(),
        };
        let mut orphans = Orphans::new(FixedState::with_seed(1));
        (0..=ORPHANS_MAX).chain(5..9).for_each(|n| orphans.add(orphan(n)));
        assert!(!orphans.has(&orphan(0)) && orphans.has(&orphan(1)) && orphans.has(&orphan(ORPHANS_MAX)));
        assert_eq!((orphans.order.len(), orphans.known.len()), (ORPHANS_MAX, ORPHANS_MAX));
        orphans.retain(|port| port == PortId(1));
        assert!(orphans.has(&orphan(1)) && !orphans.has(&orphan(2)));
        assert_eq!(orphans.order.len(), orphans.known.len());
    }
}
