//! What the gateways of one host share, whatever version the tables have: the NAT, the ways off the host, the
//! neighbours behind other VTEPs, and the budget for errors.
//!
//! Frames within a network touch none of it. What leaves a network takes the one lock of the NAT for the time of one
//! lookup or two, so workers wait for each other there and nowhere else.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use crate::gateway::limit::ErrorLimit;
use crate::gateway::neighbor::Neighbors;
use crate::gateway::route::{Hop, LinkId};
use crate::gateway::router_mac;
use crate::nat::{Limits, Nat, Protocol, Published, Timers, Want};
use crate::offload::Offload;
use crate::tables::{Ground, PortId, Tables};
use crate::time::Moment;
use crate::wire::MacAddr;

mod waiting;

pub(crate) use waiting::Waiter;
use waiting::Waiting;

/// Next hops that are remembered as used, or as not resolved, until control asks; beyond that, none is added.
const HOPS_MAX: usize = 4_096;

/// See the module's head.
#[derive(Debug)]
pub struct House {
    outside: Mutex<Outside>,
    neighbors: Mutex<Neighbors>,
    errors: Mutex<ErrorLimit>,
    router: MacAddr,
    /// Whether the NAT has changed since this was last asked.
    touched: AtomicBool,
    /// Whether frames have waited for ports that have come.
    resumes: AtomicBool,
}

/// The NAT, and what has gone through it.
#[derive(Debug)]
pub struct Outside {
    /// The NAT with the host's routing.
    pub nat: Nat,
    /// Next hops that frames were sent to.
    used: HashSet<(LinkId, IpAddr), FixedState>,
    /// Next hops that were not resolved.
    wanted: HashSet<(LinkId, IpAddr), FixedState>,
    /// What was noted last, so that a flow is noted once.
    last: Option<(LinkId, IpAddr, bool)>,
    /// Ports that the NAT has asked for.
    wants: Vec<Want>,
    /// Whether control has been called and has not asked yet.
    called: bool,
    waiting: Waiting,
}

/// What control is to look after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct OutsideWants {
    /// Resolved, and sent to.
    pub used: Vec<(LinkId, IpAddr)>,
    /// Not resolved: packets to them take the host's routing.
    pub wanted: Vec<(LinkId, IpAddr)>,
    /// Ports to be reserved.
    pub ports: Vec<Want>,
}

impl House {
    /// An empty one.
    #[must_use]
    pub fn new(ground: &Ground) -> Self {
        let set = || HashSet::with_hasher(FixedState::with_seed(ground.seed));
        let router = ground.underlay.map_or(MacAddr::ZERO, |(vtep, _)| router_mac(vtep));
        let nat = Nat::new(ground.seed, Limits::default(), Timers::default());
        let outside = Outside {
            nat,
            used: set(),
            wanted: set(),
            last: None,
            wants: Vec::new(),
            called: false,
            waiting: Waiting::default(),
        };
        Self {
            outside: Mutex::new(outside),
            neighbors: Mutex::new(Neighbors::new(router, ground.seed)),
            errors: Mutex::new(ErrorLimit::new()),
            router,
            touched: AtomicBool::new(false),
            resumes: AtomicBool::new(false),
        }
    }

    /// The NAT, to be changed or asked.
    pub fn outside(&self) -> MutexGuard<'_, Outside> {
        lock(&self.outside)
    }

    pub(crate) fn neighbors(&self) -> MutexGuard<'_, Neighbors> {
        lock(&self.neighbors)
    }

    pub(crate) fn errors(&self) -> MutexGuard<'_, ErrorLimit> {
        lock(&self.errors)
    }

    /// The MAC from which this node speaks as a router; zero without an underlay.
    #[must_use]
    pub const fn router(&self) -> MacAddr {
        self.router
    }

    /// Notes that a packet has gone through the NAT.
    pub(crate) fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    /// Whether packets have gone through the NAT since this was last asked.
    #[must_use]
    pub fn take_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed) && self.touched.swap(false, Ordering::Relaxed)
    }

    /// Lends ports to the NAT; true: frames have waited for such, and a worker is to go on with them.
    pub fn lend(&self, address: IpAddr, protocol: Protocol, ports: &[u16]) -> bool {
        let mut outside = self.outside();
        outside.lend(address, protocol, ports);
        let resumes = outside.waiting() > 0;
        if resumes {
            self.resumes.store(true, Ordering::Relaxed);
        }
        resumes
    }

    /// The frames that have waited for ports, when some have come since this was last asked.
    pub(crate) fn take_resumed(&self) -> VecDeque<Waiter> {
        if !self.resumes.load(Ordering::Relaxed) || !self.resumes.swap(false, Ordering::Relaxed) {
            return VecDeque::new();
        }
        self.outside().waiting.take()
    }

    /// Tells the NAT who is there and what is published; gives what it refuses.
    pub(crate) fn settle(&self, tables: &Tables, published: &[Published]) -> Vec<Published> {
        let mut outside = self.outside();
        outside.nat.retain(|port| tables.port(port).is_some());
        outside.nat.set_gateways(tables.gateways());
        self.touch();
        outside.nat.publish(published)
    }
}

impl Outside {
    /// Notes that a packet goes to `hop`.
    #[inline]
    pub(crate) fn note(&mut self, hop: &Hop) {
        let (what, resolved) = ((hop.link, hop.next), hop.mac.is_some());
        if self.last == Some((hop.link, hop.next, resolved)) {
            return;
        }
        self.last = Some((hop.link, hop.next, resolved));
        let set = if resolved { &mut self.used } else { &mut self.wanted };
        if set.len() < HOPS_MAX {
            set.insert(what);
        }
    }

    /// Whether control is wanted: next hops wait to be resolved. Once, until it has asked.
    #[must_use]
    pub fn wants_something(&mut self) -> bool {
        let wants = self.nat.wants();
        let called = !self.wanted.is_empty() || !wants.is_empty();
        self.wants.extend(wants);
        called && !std::mem::replace(&mut self.called, true)
    }

    /// How many frames wait for ports.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Keeps a copy of a frame from `port` until ports are lent; false: there is no room for it.
    pub(crate) fn keep(&mut self, port: PortId, frame: &[u8], offload: Offload, now: Moment) -> bool {
        self.waiting.keep(port, frame, offload, now)
    }

    /// The frames that have waited for ports too long.
    pub(crate) fn expired(&mut self, now: Moment) -> Vec<Waiter> {
        self.waiting.expired(now)
    }

    /// The NAT's wish for ports, if it is not told yet, is answered.
    fn lend(&mut self, address: IpAddr, protocol: Protocol, ports: &[u16]) {
        self.wants.retain(|want| (want.address, want.protocol) != (address, protocol));
        self.nat.lend(address, protocol, ports);
    }

    /// What control is wanted for since this was last asked.
    #[must_use]
    pub fn take_wants(&mut self) -> OutsideWants {
        self.called = false;
        let news = self.nat.wants();
        self.wants.extend(news);
        self.last = None;
        OutsideWants {
            used: self.used.drain().collect(),
            wanted: self.wanted.drain().collect(),
            ports: std::mem::take(&mut self.wants),
        }
    }
}

/// Their state changes in single steps, and what a panic elsewhere leaves is no worse than what packets can cause.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
