//! One broadcast domain.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::fdb::{Fdb, FdbRow, Known, Learned, Location, Refresh};
use super::memo::Stamp;
use super::storm::{Storm, StormLimit, VTEP_SHARE};
use crate::counters::{Counters, Shard, Totals};
use crate::gateway::Gateway;
use crate::tables::{PortId, SegmentId, SegmentOptions, VlanPolicy};
use crate::time::Moment;
use crate::tunnel::Vtep;
use crate::wire::{MacAddr, Vni};

/// A segment as workers see it: who its members are, frozen, and the state that all table versions share.
#[derive(Debug)]
pub struct Segment {
    /// Its name among segments.
    pub id: SegmentId,
    /// Its VNI; `None` for a network that stays on this host.
    pub vni: Option<Vni>,
    /// The MTU of its endpoints: bytes of an inner IP packet.
    pub mtu: u16,
    /// Its gateway, if there is a way out of it.
    pub gateway: Option<Gateway>,
    /// Its members here, ascending.
    pub ports: Vec<PortId>,
    /// Its members here by their IP addresses, link-local ones included.
    pub(crate) addresses: HashMap<IpAddr, PortId, FixedState>,
    /// Its members elsewhere, ascending by VTEP.
    pub(crate) vteps: Vec<(Vtep, Arc<Storm>)>,
    pub(crate) options: SegmentOptions,
    pub(crate) state: Arc<SegmentState>,
}

/// What outlives a change of tables.
#[derive(Debug)]
pub(crate) struct SegmentState {
    fdb: RwLock<Fdb>,
    /// Which table this is among all that there have been; not 0.
    serial: u64,
    /// How often `fdb` has changed.
    changes: AtomicU64,
    pub(crate) counters: Counters,
}

impl SegmentState {
    pub(crate) fn new(serial: u64, fdb_limit: usize, shards: usize, seed: u64) -> Self {
        let fdb = RwLock::new(Fdb::new(fdb_limit, seed));
        Self { fdb, serial, changes: AtomicU64::new(0), counters: Counters::new(shards) }
    }

    /// Changes the table. A panic elsewhere cannot leave it half-changed in a way that matters: every entry is
    /// re-learnable, so a poisoned lock is taken all the same.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Fdb) -> T) -> T {
        let mut fdb = self.fdb.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut fdb);
        // Before the lock is let go: who reads the new table finds the old stamp at worst, and remembers nothing by it.
        self.changes.fetch_add(1, Ordering::Release);
        result
    }

    fn read<T>(&self, read: impl FnOnce(&Fdb) -> T) -> T {
        read(&self.fdb.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A static entry says that the source of a frame is elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceElsewhere;

impl Segment {
    /// The shard of this segment's counters that worker `shard` writes.
    #[must_use]
    pub fn counters(&self, shard: usize) -> &Shard {
        self.state.counters.shard(shard)
    }

    /// What all workers have counted on this segment.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.state.counters.totals()
    }

    /// The VTEPs that are members.
    pub fn vteps(&self) -> impl Iterator<Item = Vtep> + '_ {
        self.vteps.iter().map(|&(vtep, _)| vtep)
    }

    /// The port here whose endpoint has `address`.
    #[must_use]
    pub fn port_at(&self, address: IpAddr) -> Option<PortId> {
        self.addresses.get(&address).copied()
    }

    /// The storm limiter of `vtep`, if it is a member: the one question asked of a datagram's sender.
    pub(crate) fn member(&self, vtep: Vtep) -> Option<&Storm> {
        let index = self.vteps.binary_search_by_key(&vtep, |&(v, _)| v).ok()?;
        Some(&self.vteps[index].1)
    }

    /// What a port may flood.
    #[must_use]
    pub fn port_storm(&self) -> StormLimit {
        StormLimit::kpps(self.options.storm_kpps)
    }

    /// What a VTEP may flood.
    #[must_use]
    pub fn vtep_storm(&self) -> StormLimit {
        StormLimit::kpps(self.options.storm_kpps.saturating_mul(VTEP_SHARE))
    }

    /// Whether endpoints are held to their addresses.
    #[must_use]
    pub fn anti_spoof(&self) -> bool {
        self.options.anti_spoof
    }

    /// Whether inner VLAN tags pass.
    #[must_use]
    pub fn passes_vlan(&self) -> bool {
        self.options.vlan == VlanPolicy::Pass
    }

    /// Where `mac` is.
    #[must_use]
    pub fn locate(&self, mac: MacAddr, now: Moment) -> Option<Location> {
        self.state.read(|fdb| fdb.lookup(mac, now))
    }

    /// Notes that `source` spoke from `location` and says where `destination` is: one look at the table for a frame of
    /// known stations. A group is nowhere in particular.
    pub fn consult(
        &self,
        source: MacAddr,
        location: Location,
        destination: MacAddr,
        now: Moment,
    ) -> Result<Option<Known>, SourceElsewhere> {
        let fresh = self.state.read(|fdb| match fdb.renew(source, location, now) {
            Ok(until) => Ok(Some(fdb.known(destination, now).map(|known| known.before(until)))),
            Err(Refresh::Conflict) => Err(SourceElsewhere),
            Err(_) => Ok(None),
        })?;
        match fresh {
            Some(known) => Ok(known),
            None => self.state.change(|fdb| match fdb.learn(source, location, now) {
                Learned::Conflict => Err(SourceElsewhere),
                // The table has changed, so nobody can remember this answer.
                _ => Ok(fdb.known(destination, now)),
            }),
        }
    }

    /// The state of the forwarding table, to be read before it is consulted.
    #[inline]
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { table: self.state.serial, changes: self.state.changes.load(Ordering::Acquire) }
    }

    /// Removes aged entries, at most `budget`; returns how many.
    pub fn expire(&self, now: Moment, budget: usize) -> usize {
        self.state.change(|fdb| fdb.expire(now, budget))
    }

    /// The entries an operator sees.
    #[must_use]
    pub fn fdb_rows(&self, now: Moment) -> Vec<FdbRow> {
        self.state.read(|fdb| fdb.rows(now).collect())
    }
}
