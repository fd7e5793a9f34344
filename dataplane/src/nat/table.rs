//! Mappings, sessions and who owns them: what is there, and how it is found.
//!
//! ```text
//!   inside end + outside address --+                        +-- remote end
//!                                  +--> mapping --sessions--+
//!   outside end -------------------+                        +-- remote address (address-dependent filtering)
//! ```
//!
//! A dynamic mapping lives as long as it has a session; a published one as long as its rule. Everything here takes
//! constant time and knows no policy: limits are kept by [`super::quota`], time by [`super::timers`].

#[cfg(test)]
mod audit;
mod parts;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

use super::conntrack::Tracker;
use super::key::{End, Index, Ip, Net, hash, spread};
use super::quota::Owner;
use super::slab::Slab;
use super::timers::{Class, Link, Queue, Thread};
use super::types::Inside;
use crate::tables::PortId;
pub(super) use parts::{Mapping, Outside, Session};

/// How many sessions a dynamic mapping has with one remote address.
#[derive(Debug)]
struct Peer {
    hash: u32,
    mapping: u32,
    ip: Ip,
    sessions: u32,
}

/// The tables.
#[derive(Debug)]
pub(super) struct Table {
    seed: FixedState,
    pub(super) mappings: Slab<Mapping>,
    pub(super) sessions: Slab<Session>,
    pub(super) owners: Slab<Owner>,
    owner_of: HashMap<PortId, u32, FixedState>,
    by_inside: Index,
    by_outside: Index,
    by_remote: Index,
    peers: HashTable<Peer>,
    pub(super) classes: [Queue; Class::ALL.len()],
    /// Slots whose records are to be written, and a bit for each of them.
    changed: Vec<u32>,
    is_changed: Vec<u64>,
}

impl Table {
    pub(super) fn new(seed: FixedState) -> Self {
        Self {
            mappings: Slab::default(),
            sessions: Slab::default(),
            owners: Slab::default(),
            owner_of: HashMap::with_hasher(seed.clone()),
            by_inside: Index::default(),
            by_outside: Index::default(),
            by_remote: Index::default(),
            peers: HashTable::new(),
            classes: [Queue::EMPTY; Class::ALL.len()],
            changed: Vec::new(),
            is_changed: Vec::new(),
            seed,
        }
    }

    /// The dynamic mapping of an inside end at an outside address.
    pub(super) fn by_inside(&self, port: PortId, inside: End, net: Net, outside: Ip) -> Option<u32> {
        let hash = hash(&self.seed, (port.0, inside, net, outside));
        self.by_inside.find(hash, |slot| {
            let m = &self.mappings[slot];
            (m.inside, m.port, m.net) == (inside, port, net)
                && matches!(m.outside, Outside::Lent(end) if end.ip == outside)
        })
    }

    /// The dynamic mapping that an outside end stands for.
    pub(super) fn by_outside(&self, net: Net, outside: End) -> Option<u32> {
        self.by_outside.find(hash(&self.seed, (net, outside)), |slot| {
            let m = &self.mappings[slot];
            m.net == net && m.outside == Outside::Lent(outside)
        })
    }

    /// The session of a mapping with a remote end.
    pub(super) fn session(&self, mapping: u32, remote: End) -> Option<u32> {
        self.by_remote.find(hash(&self.seed, (mapping, remote)), |slot| {
            let session = &self.sessions[slot];
            session.mapping == mapping && session.remote == remote
        })
    }

    /// Whether a dynamic mapping has a session with any port of a remote address.
    pub(super) fn has_peer(&self, mapping: u32, ip: Ip) -> bool {
        let hash = hash(&self.seed, (mapping, ip));
        self.peers.find(spread(hash), |p| p.mapping == mapping && p.ip == ip).is_some()
    }

    /// The owner that is this port, a new one if need be, which the caller is about to give a mapping.
    pub(super) fn owner(&mut self, port: PortId) -> u32 {
        *self.owner_of.entry(port).or_insert_with(|| self.owners.insert(Owner::default()))
    }

    /// The owner that is this port, if it has a mapping.
    pub(super) fn find_owner(&self, port: PortId) -> Option<u32> {
        self.owner_of.get(&port).copied()
    }

    /// The ports that are owners.
    pub(super) fn owners(&self) -> impl Iterator<Item = PortId> + '_ {
        self.owner_of.keys().copied()
    }

    /// Adds a dynamic mapping, which the caller is about to give a session.
    pub(super) fn add_lent(&mut self, from: Inside, inside: End, net: Net, outside: End) -> u32 {
        let Inside { port, filtering } = from;
        let owner = self.owner(port);
        self.owners[owner].mappings += 1;
        self.owners[owner].ports[net.protocol as usize] += 1;
        let mapping = self.mappings.insert(Mapping {
            port,
            inside,
            net,
            outside: Outside::Lent(outside),
            filtering,
            owner,
            sessions: Queue::EMPTY,
            half_open: Queue::EMPTY,
        });
        self.by_inside.insert(hash(&self.seed, (port.0, inside, net, outside.ip)), mapping);
        self.by_outside.insert(hash(&self.seed, (net, outside)), mapping);
        mapping
    }

    /// Removes a mapping that has no session (left).
    pub(super) fn remove_mapping(&mut self, slot: u32) {
        let Some(mapping) = self.mappings.remove(slot) else { return };
        let Mapping { port, inside, net, outside, owner, .. } = mapping;
        if let Outside::Lent(outside) = outside {
            self.by_inside.remove(hash(&self.seed, (port.0, inside, net, outside.ip)), slot);
            self.by_outside.remove(hash(&self.seed, (net, outside)), slot);
            self.owners[owner].ports[net.protocol as usize] -= 1;
        }
        self.owners[owner].mappings -= 1;
        if self.owners[owner].mappings == 0 {
            self.owners.remove(owner);
            self.owner_of.remove(&port);
        }
    }

    /// Adds a session that is not there.
    pub(super) fn add_session(
        &mut self,
        mapping: u32,
        remote: End,
        outside: Ip,
        class: Class,
        tcp: Tracker,
        tick: u32,
    ) -> u32 {
        let links = [Link::LOOSE; 3];
        let session = Session { mapping, remote, outside, class, stamp: tick, links, tcp };
        let slot = self.sessions.insert(session);
        self.by_remote.insert(hash(&self.seed, (mapping, remote)), slot);
        self.mappings[mapping].sessions.push(&mut self.sessions, Thread::Mapping, slot);
        if let Outside::Lent(_) = self.mappings[mapping].outside {
            self.count_peer(mapping, remote.ip);
        }
        self.enter(slot);
        slot
    }

    /// Removes a session; its mapping stays.
    pub(super) fn remove_session(&mut self, slot: u32) {
        self.leave(slot);
        self.note_change(slot);
        let (mapping, remote) = (self.sessions[slot].mapping, self.sessions[slot].remote);
        self.mappings[mapping].sessions.unlink(&mut self.sessions, Thread::Mapping, slot);
        self.by_remote.remove(hash(&self.seed, (mapping, remote)), slot);
        if let Outside::Lent(_) = self.mappings[mapping].outside {
            self.forget_peer(mapping, remote.ip);
        }
        self.sessions.remove(slot);
    }

    /// Gives a session another timeout, or starts the one it has anew.
    pub(super) fn refresh(&mut self, slot: u32, class: Class, tick: u32) {
        let session = &mut self.sessions[slot];
        if session.class != class {
            self.leave(slot);
            let session = &mut self.sessions[slot];
            (session.class, session.stamp) = (class, tick);
            self.enter(slot);
        } else if session.stamp != tick {
            session.stamp = tick;
            let queue = &mut self.classes[class as usize];
            queue.unlink(&mut self.sessions, Thread::Timer, slot);
            queue.push(&mut self.sessions, Thread::Timer, slot);
        }
    }

    /// The queue of half-open sessions that those of `mapping` stand in.
    pub(super) fn half_open(&mut self, mapping: u32) -> &mut Queue {
        let mapping = &mut self.mappings[mapping];
        match mapping.outside {
            Outside::Published { .. } => &mut mapping.half_open,
            Outside::Lent(_) => &mut self.owners[mapping.owner].half_open,
        }
    }

    /// Puts a session into the queues of its class.
    fn enter(&mut self, slot: u32) {
        self.note_change(slot);
        let Session { class, mapping, .. } = self.sessions[slot];
        self.classes[class as usize].push(&mut self.sessions, Thread::Timer, slot);
        let owner = self.mappings[mapping].owner;
        if class.is_half_open() {
            let mut queue = *self.half_open(mapping);
            queue.push(&mut self.sessions, Thread::Spare, slot);
            *self.half_open(mapping) = queue;
            return;
        }
        self.owners[owner].sessions += 1;
        if class == Class::Closed {
            self.owners[owner].closed.push(&mut self.sessions, Thread::Spare, slot);
        }
    }

    /// Takes a session out of the queues of its class.
    fn leave(&mut self, slot: u32) {
        let Session { class, mapping, .. } = self.sessions[slot];
        self.classes[class as usize].unlink(&mut self.sessions, Thread::Timer, slot);
        let owner = self.mappings[mapping].owner;
        if class.is_half_open() {
            let mut queue = *self.half_open(mapping);
            queue.unlink(&mut self.sessions, Thread::Spare, slot);
            *self.half_open(mapping) = queue;
            return;
        }
        self.owners[owner].sessions -= 1;
        if class == Class::Closed {
            self.owners[owner].closed.unlink(&mut self.sessions, Thread::Spare, slot);
        }
    }

    /// Has the record of a session written.
    pub(super) fn note_change(&mut self, slot: u32) {
        let (word, bit) = (slot as usize / 64, 1 << (slot % 64));
        if word >= self.is_changed.len() {
            self.is_changed.resize(word + 1, 0);
        }
        if self.is_changed[word] & bit == 0 {
            self.is_changed[word] |= bit;
            self.changed.push(slot);
        }
    }

    /// At most `budget` slots whose records are to be written; they count as written now.
    pub(super) fn take_changes(&mut self, budget: usize) -> Vec<u32> {
        let slots = self.changed.split_off(self.changed.len().saturating_sub(budget));
        for &slot in &slots {
            self.is_changed[slot as usize / 64] &= !(1 << (slot % 64));
        }
        slots
    }

    fn count_peer(&mut self, mapping: u32, ip: Ip) {
        let hash = hash(&self.seed, (mapping, ip));
        let is = |p: &Peer| p.mapping == mapping && p.ip == ip;
        let new = || Peer { hash, mapping, ip, sessions: 0 };
        self.peers.entry(spread(hash), is, |p| spread(p.hash)).or_insert_with(new).get_mut().sessions += 1;
    }

    fn forget_peer(&mut self, mapping: u32, ip: Ip) {
        let hash = hash(&self.seed, (mapping, ip));
        if let Ok(mut peer) = self.peers.find_entry(spread(hash), |p| p.mapping == mapping && p.ip == ip) {
            peer.get_mut().sessions -= 1;
            if peer.get().sessions == 0 {
                peer.remove();
            }
        }
    }
}
