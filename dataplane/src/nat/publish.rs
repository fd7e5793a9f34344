//! Published ports: outside ports that lead to an endpoint for whoever comes.
//!
//! A rule is a mapping that control makes and that no timer ends; anybody may use it (endpoint-independent filtering).
//! What the endpoint itself sends from the published inside port to somebody new leaves from the published outside port
//! too, so the mapping stays endpoint-independent (RFC 4787 REQ-1).
//!
//! A rule for one address goes before a rule for all of them. Rules are compared with the former ones: what has not
//! changed keeps its sessions, what leads elsewhere now ends them, so the next packet meets the new endpoint.

use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::Nat;
use super::key::{End, Ip, Net};
use super::rewrite::Protocol;
use super::table::{Mapping, Outside};
use super::timers::{Queue, Thread};
use super::types::Published;
use crate::tables::PortId;

/// What a rule is called by: an outside address, or all of them, and a port.
type Name = (Option<Ip>, u16, Net);

/// The rules, each of which is a mapping.
#[derive(Debug)]
pub(super) struct Rules {
    by_outside: HashMap<Name, (u32, Published), FixedState>,
    by_inside: HashMap<(PortId, End, Net), Vec<u32>, FixedState>,
}

impl Rules {
    pub(super) fn new(seed: &FixedState) -> Self {
        Self { by_outside: HashMap::with_hasher(seed.clone()), by_inside: HashMap::with_hasher(seed.clone()) }
    }

    pub(super) fn len(&self) -> usize {
        self.by_outside.len()
    }

    /// The rule for exactly this address, or else the one for all; that one is not for a loopback address.
    pub(super) fn find(&self, net: Net, outside: End) -> Option<u32> {
        if self.by_outside.is_empty() {
            return None;
        }
        let named = |ip| self.by_outside.get(&(ip, outside.port, net)).map(|&(mapping, _)| mapping);
        let all = || if net.address(outside.ip).is_loopback() { None } else { named(None) };
        named(Some(outside.ip)).or_else(all)
    }

    /// The rules that lead to this inside end.
    pub(super) fn leading_to(&self, port: PortId, inside: End, net: Net) -> &[u32] {
        if self.by_inside.is_empty() {
            return &[];
        }
        self.by_inside.get(&(port, inside, net)).map_or(&[], Vec::as_slice)
    }
}

fn name(rule: &Published) -> Name {
    (rule.outside.map(Ip::from), rule.outside_port, Net::new(rule.protocol, rule.inside))
}

/// Whether a rule makes sense by itself.
fn is_valid(rule: &Published) -> bool {
    let families = rule.outside.is_none_or(|outside| outside.is_ipv4() == rule.inside.is_ipv4());
    let known = |address: IpAddr| !address.is_unspecified() && !address.is_multicast();
    let addresses = known(rule.inside) && rule.outside.is_none_or(known);
    rule.protocol != Protocol::Icmp
        && rule.inside_port != 0
        && rule.outside_port != 0
        && families
        && addresses
}

impl Nat {
    /// Makes the published ports exactly `rules`; gives back those that are refused: nonsense, a second rule for the
    /// same outside end, or more than [`super::Limits::published`].
    ///
    /// A dynamic mapping on a port that is published now ends: published wins.
    pub fn publish(&mut self, rules: &[Published]) -> Vec<Published> {
        let mut wanted: HashMap<Name, Published, FixedState> = HashMap::with_hasher(self.seed.clone());
        let mut refused = Vec::new();
        for rule in rules {
            if is_valid(rule) && wanted.len() < self.limits.published && !wanted.contains_key(&name(rule)) {
                wanted.insert(name(rule), *rule);
            } else {
                refused.push(*rule);
            }
        }
        let stale: Vec<Published> = self
            .rules
            .by_outside
            .iter()
            .filter(|(n, (_, r))| wanted.get(*n) != Some(r))
            .map(|(_, &(_, rule))| rule)
            .collect();
        stale.iter().for_each(|rule| self.withdraw(rule));
        // In the order given, which decides between rules that lead to one inside end.
        for rule in rules.iter().filter(|rule| wanted.get(&name(rule)) == Some(rule)) {
            if !self.rules.by_outside.contains_key(&name(rule)) {
                self.install(rule);
            }
        }
        refused
    }

    fn install(&mut self, rule: &Published) {
        let (ip, outside_port, net) = name(rule);
        let inside = End::new(rule.inside, rule.inside_port);
        self.ports.withhold(ip, net, outside_port);
        let displaced = self.table.mappings.iter().filter(|(_, m)| {
            m.net == net
                && m.outside.port() == outside_port
                && matches!(m.outside, Outside::Lent(end) if ip.is_none_or(|ip| ip == end.ip))
        });
        for mapping in displaced.map(|(slot, _)| slot).collect::<Vec<_>>() {
            self.end_mapping(mapping);
            // Ended, its port was given back.
            self.ports.withhold(ip, net, outside_port);
        }
        if let Some(ip) = ip {
            self.end_shadowed(End { ip, port: outside_port }, net);
        }
        let owner = self.table.owner(rule.port);
        self.table.owners[owner].mappings += 1;
        let mapping = self.table.mappings.insert(Mapping {
            port: rule.port,
            inside,
            net,
            outside: Outside::Published { ip, port: outside_port },
            filtering: crate::gateway::Filtering::EndpointIndependent,
            owner,
            sessions: Queue::EMPTY,
            half_open: Queue::EMPTY,
        });
        self.rules.by_outside.insert((ip, outside_port, net), (mapping, *rule));
        self.rules.by_inside.entry((rule.port, inside, net)).or_default().push(mapping);
    }

    /// Ends what goes through `outside` by a rule for all addresses: from now on another one is for it.
    fn end_shadowed(&mut self, outside: End, net: Net) {
        let Some(&(general, _)) = self.rules.by_outside.get(&(None, outside.port, net)) else { return };
        let mut next = self.table.mappings[general].sessions.first();
        while let Some(slot) = next {
            next = Queue::next(&self.table.sessions, Thread::Mapping, slot);
            if self.table.sessions[slot].outside == outside.ip {
                self.end(slot);
            }
        }
    }

    fn withdraw(&mut self, rule: &Published) {
        let (ip, outside_port, net) = name(rule);
        let Some((mapping, _)) = self.rules.by_outside.remove(&(ip, outside_port, net)) else { return };
        self.end_mapping(mapping);
        let inside = (rule.port, End::new(rule.inside, rule.inside_port), net);
        if let Some(others) = self.rules.by_inside.get_mut(&inside) {
            others.retain(|&other| other != mapping);
            if others.is_empty() {
                self.rules.by_inside.remove(&inside);
            }
        }
        self.table.remove_mapping(mapping);
        let rules = &self.rules;
        self.ports
            .allow(ip, net, outside_port, |ip| rules.find(net, End { ip, port: outside_port }).is_some());
    }
}
