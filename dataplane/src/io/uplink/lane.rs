//! What all senders of a host know about their uplink, replaced as a whole.
//!
//! Control opens, guides and closes; workers read one pointer for each frame. A worker that is in the middle of a write
//! when the uplink is closed finishes it; the TAP goes with the last descriptor.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwapOption, Guard};

use super::{Uplink, Way};
use crate::tunnel::Vtep;
use crate::tunnel::outer::{Ends, NextHop};

/// Shared by control and all senders.
#[derive(Debug)]
pub(crate) struct UplinkShared {
    own: IpAddr,
    port: u16,
    lane: ArcSwapOption<Lane>,
}

/// How an uplink fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UplinkState {
    /// There is none.
    Closed,
    /// It is used for every VTEP whose next hop is known.
    Open,
    /// The kernel has refused a write: it is not used any more.
    Refused,
}

impl UplinkShared {
    /// For the VTEP `own` and the tunnel's UDP port; there is no uplink yet.
    pub(crate) fn new(own: IpAddr, port: u16) -> Self {
        Self { own, port, lane: ArcSwapOption::empty() }
    }

    /// From here on frames leave through `uplink` as soon as next hops are known.
    pub(crate) fn open(&self, uplink: Uplink) {
        let tap = OpenTap { queues: uplink.queues, refused: AtomicBool::new(false) };
        self.lane.store(Some(Arc::new(Lane { tap: Arc::new(tap), hops: Vec::new() })));
    }

    /// From here on every frame leaves through sockets.
    pub(crate) fn close(&self) {
        self.lane.store(None);
    }

    /// Replaces the next hops. Without an uplink nothing happens.
    pub(crate) fn set_next_hops(&self, mut hops: Vec<(Vtep, NextHop)>) {
        hops.sort_unstable_by_key(|&(vtep, _)| vtep);
        self.lane.rcu(|lane| lane.as_ref().map(|lane| Arc::new(lane.with(&hops))));
    }

    /// The VTEPs that frames were sent to through the uplink since this was asked last.
    pub(crate) fn take_used(&self) -> Vec<Vtep> {
        let lane = self.lane.load();
        let hops = lane.iter().flat_map(|lane| &lane.hops);
        hops.filter(|hop| hop.used.swap(false, Ordering::Relaxed)).map(|hop| hop.vtep).collect()
    }

    pub(crate) fn state(&self) -> UplinkState {
        match self.lane.load().as_ref() {
            None => UplinkState::Closed,
            Some(lane) if lane.tap.is_refused() => UplinkState::Refused,
            Some(_) => UplinkState::Open,
        }
    }

    /// The uplink of the moment.
    pub(super) fn lane(&self) -> Guard<Option<Arc<Lane>>> {
        self.lane.load()
    }

    /// The way to `to` on `lane`; `None`: through a socket.
    pub(super) fn way(&self, lane: &Lane, to: Vtep) -> Option<Way> {
        if lane.tap.is_refused() {
            return None;
        }
        let (hop, ends) = (lane.find(to)?, Ends::new(self.own, to.address())?);
        hop.mark();
        Some(Way { ends, hop: hop.next, port: self.port })
    }
}

/// An uplink and where it leads.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) tap: Arc<OpenTap>,
    /// Ascending by VTEP; as many as there are peers at most.
    hops: Vec<Hop>,
}

impl Lane {
    fn find(&self, vtep: Vtep) -> Option<&Hop> {
        self.hops.binary_search_by_key(&vtep, |hop| hop.vtep).ok().map(|index| &self.hops[index])
    }

    /// The same uplink with other next hops; what was in use stays so.
    fn with(&self, hops: &[(Vtep, NextHop)]) -> Self {
        let was_used = |vtep| self.find(vtep).is_some_and(|hop| hop.used.load(Ordering::Relaxed));
        let hop = |&(vtep, next)| Hop { vtep, next, used: AtomicBool::new(was_used(vtep)) };
        Self { tap: Arc::clone(&self.tap), hops: hops.iter().map(hop).collect() }
    }
}

/// The queues of an uplink's TAP, one for each worker.
#[derive(Debug)]
pub(super) struct OpenTap {
    pub(super) queues: Vec<OwnedFd>,
    refused: AtomicBool,
}

impl OpenTap {
    fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// The kernel does not take frames: nobody writes any more. Tells whether this is news.
    pub(super) fn give_up(&self) -> bool {
        !self.refused.swap(true, Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Hop {
    vtep: Vtep,
    next: NextHop,
    used: AtomicBool,
}

impl Hop {
    /// Writes only when there is something to change, so that workers do not take the cache line from each other.
    fn mark(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }
}
