//! The ways off the host, as control has opened them: links, the host's routing, reserved ports, and the ledger that
//! sessions are written to.
//!
//! The workers have descriptors of their own of links and raw sockets. Those here keep ports reserved, change filters,
//! and are given back to whoever asks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam::channel::Sender;
use serde::{Deserialize, Serialize};

use super::Event;
use crate::gateway::route::LinkId;
use crate::gateway::{Egress, EgressSpec};
use crate::io::filter::Interest;
use crate::io::ledger::{Ledger, LedgerError};
use crate::io::link::LinkSockets;
use crate::io::reserve::Reserved;
use crate::nat::RECORD_LEN;
use crate::tables::{Tables, TablesSpec, Transport};

/// Records written after one round, at most; the others are after the next.
const CHANGES: usize = 65_536;

/// A reserved port of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HeldPort {
    /// The address; unspecified: all of its family.
    pub address: IpAddr,
    /// The transport.
    pub transport: Transport,
    /// The port.
    pub port: u16,
}

/// What a reserved port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// The NAT may use it outside.
    Lent,
    /// It leads to an endpoint.
    Published,
}

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    open: Mutex<Open>,
    /// Apart, since it is written to while workers wait.
    ledger: Mutex<Option<Ledger>>,
}

/// Reserved ports.
type Held = BTreeMap<HeldPort, (Purpose, Reserved)>;
/// The sockets of links.
type Links = BTreeMap<LinkId, LinkSockets>;

#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) spec: EgressSpec,
    pub(super) links: Links,
    pub(super) held: Held,
    /// What the filters go by, besides `spec`.
    routed: Vec<(IpAddr, u8)>,
    published: Vec<(u8, u16)>,
    tunnel_port: u16,
}

impl Doors {
    pub(super) fn new(tunnel_port: u16) -> Self {
        let open = Open { tunnel_port, ..Open::default() };
        Self { open: Mutex::new(open), ledger: Mutex::default() }
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Open> {
        // Changed in single steps.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Option<Ledger>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a round in which packets went through the NAT: writes down what has changed, and tells control when something
    /// is wanted of it.
    pub(crate) fn after_round(&self, tables: &Tables, shard: usize, events: &Sender<Event>) {
        if !tables.house.take_touched() {
            return;
        }
        let mut ledger = self.ledger();
        let mut outside = tables.house.outside();
        let (wanted, lost) = (outside.wants_something(), outside.nat.lost());
        // Without a ledger they wait for one.
        let changes = if ledger.is_some() { outside.nat.changes(CHANGES) } else { Vec::new() };
        drop(outside);
        if changes.len() == CHANGES {
            tables.house.touch();
        }
        let written = ledger.as_ref().map_or(Ok(()), |ledger| write(ledger, &changes));
        if let Err(error) = written {
            tracing::error!(%error, "sessions are written down no more: another packet process would not know them");
            *ledger = None;
        }
        drop(ledger);
        for (reason, count) in lost {
            tables.nowhere.shard(shard).dropped_many(reason, count);
        }
        if wanted {
            let _ = events.send(Event::OutsideWants);
        }
    }
}

impl Open {
    /// Takes over how packets leave, and sockets of links that are new; gives the ports and links that are no longer
    /// wanted.
    pub(super) fn lead(
        &mut self,
        spec: &EgressSpec,
        egress: &Egress,
        links: Vec<(LinkId, LinkSockets)>,
    ) -> (Held, Links) {
        let same = links.is_empty() && self.spec.same_ways(spec);
        self.spec = spec.clone();
        if same {
            return Default::default();
        }
        let lives = |port: &HeldPort| egress.has(port.address);
        let (dead, held) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|(port, (purpose, _))| *purpose == Purpose::Lent && !lives(port));
        self.held = held;
        self.links.extend(links);
        let named = |id: &LinkId| spec.links.iter().any(|link| link.id == *id);
        let (links, gone) = std::mem::take(&mut self.links).into_iter().partition(|(id, _)| named(id));
        self.links = links;
        self.refresh();
        (dead, gone)
    }

    /// The descriptors of a link.
    pub(super) fn link_descriptors(&self, id: LinkId) -> Option<Vec<BorrowedFd<'_>>> {
        self.links.get(&id).map(LinkSockets::descriptors)
    }

    /// The descriptors of those of `ports` that are held.
    pub(super) fn held_descriptors(&self, ports: &[HeldPort]) -> Vec<BorrowedFd<'_>> {
        ports.iter().filter_map(|port| self.held.get(port)).map(|(_, held)| held.descriptor()).collect()
    }

    /// Takes over what the tables say about packets from outside.
    pub(super) fn follow(&mut self, spec: &TablesSpec) {
        let gateways = spec.segments.iter().filter_map(|segment| segment.gateway.as_ref());
        let subnets = gateways.flat_map(|gateway| gateway.subnets.iter().map(move |(net, _)| (gateway, net)));
        let routed = subnets.filter(|(gateway, net)| !gateway.translates(net.address()));
        self.routed = routed.map(|(_, net)| (net.address(), net.len())).collect();
        let published = spec.published.iter().map(|p| (p.protocol.number(p.inside), p.outside_port));
        self.published = published.collect();
        self.published.sort_unstable();
        self.published.dedup();
        self.refresh();
    }

    /// Gives every link the filter that it should have.
    pub(super) fn refresh(&self) {
        for id in self.spec.links.iter().map(|link| link.id) {
            let Some(sockets) = self.links.get(&id) else { continue };
            if let Err(error) = sockets.packets.set_interest(&self.interest(id)) {
                tracing::error!(link = id.0, %error, "cannot change a link's filter");
            }
        }
    }

    fn interest(&self, link: LinkId) -> Interest {
        let lent = self.held.iter().filter(|(_, (purpose, _))| *purpose == Purpose::Lent);
        Interest {
            addresses: self.spec.outside_by(|id| id == link).into_iter().collect(),
            routed: self.routed.clone(),
            published: self.published.clone(),
            lent_from: lent.map(|(held, _)| held.port).min().unwrap_or(u16::MAX),
            tunnel_port: self.tunnel_port,
        }
    }
}

/// Runs of neighbouring slots are written at once.
fn write(ledger: &Ledger, changes: &[(u32, [u8; RECORD_LEN])]) -> Result<(), LedgerError> {
    let mut run = Vec::new();
    for piece in changes.chunk_by(|(a, _), (b, _)| *b == a + 1) {
        run.clear();
        piece.iter().for_each(|(_, record)| run.extend_from_slice(record));
        ledger.write(piece[0].0, &run)?;
    }
    Ok(())
}
