//! The host's routing, followed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::packet_core::NetlinkMessage;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use weft_dataplane::gateway::LinkId;
use weft_dataplane::gateway::route::LINKS_MAX;
use weft_dataplane::io::reserve::{Admit, Reserved};
use weft_dataplane::nat::ports::ASKED_MAX;

use super::links::Links;
use super::news::Stale;
use super::ports::Ports;
use super::resolve::{Resolved, Tables};
use super::{Door, Handle, Plan, Want, snapshot};
use crate::sandbox::{Link, Listener, Neighbor, Netns, SandboxError};

/// How often the dataplane is asked what it wants, in case nobody says that it wants something.
const TICK: Duration = Duration::from_secs(1);

/// Every this many ticks the neighbours in use are made sure of.
const VERIFY: u32 = 5;

/// Every this many ticks everything is read again, whatever the notifications say.
const REFRESH: u32 = 15;

/// The shortest time between two looks at what the notifications are about. The first after a silence is at once.
const SPACING: Duration = Duration::from_millis(50);

/// A look that took long is followed by a rest of this many times as long.
const REST: u32 = 4;

/// How long to wait before trying again after netlink has failed.
const RETRY: Duration = Duration::from_secs(1);

/// The most neighbours that the kernel is told to ask at once, so that an endpoint that tries many addresses of a link
/// costs little. The others are found by what is sent raw.
const ASK_MAX: usize = 256;

/// The most ports that are lent at once: some 5 ms.
const LEND_MAX: usize = ASKED_MAX;

/// Follows for one dataplane.
pub(super) struct Keeper<D> {
    plan: Plan,
    netns: Netns,
    door: Weak<D>,
    handle: Handle,
    links: Links,
    ports: Ports,
    tables: Tables,
    /// The addresses of the host, those of links that are down included: what is reserved there stays.
    own: BTreeSet<IpAddr>,
    /// As last told.
    resolved: Resolved,
    ticks: u32,
}

/// Why following has ended.
enum Ended {
    /// Nobody wants to know any more.
    ForGood,
    /// No notification will come.
    Lost,
}

impl<D: Door> Keeper<D> {
    pub(super) fn new(plan: Plan, netns: Netns, door: &Arc<D>, handle: Handle) -> Self {
        Self {
            links: Links::new(plan.seed, door.links()),
            ports: Ports::new(plan.seed),
            plan,
            netns,
            door: Arc::downgrade(door),
            handle,
            tables: Tables::default(),
            own: BTreeSet::new(),
            resolved: Resolved::default(),
            ticks: 0,
        }
    }

    /// The first look, and the first ports.
    pub(super) async fn begin(&mut self) {
        let looked = match self.netns.link() {
            Ok(link) => self.look(&link, Stale::All).await,
            Err(error) => Err(error),
        };
        if let Err(error) = looked {
            tracing::warn!(%error, "the host's routing cannot be read yet");
        }
        // The first packet that leaves finds ports to leave by.
        if let Some(door) = self.door() {
            self.lend(&*door);
        }
    }

    /// Goes on until nobody wants it any more. While netlink fails, what was told last stands.
    pub(super) async fn run(mut self) {
        loop {
            match self.watch().await {
                Ok(Ended::ForGood) => return,
                Ok(Ended::Lost) => tracing::warn!("the kernel has closed a netlink socket; opening it again"),
                Err(error) => tracing::warn!(%error, "the host's routing cannot be read; trying again"),
            }
            if self.door().is_none() {
                return;
            }
            sleep(RETRY).await;
        }
    }

    async fn watch(&mut self) -> Result<Ended, SandboxError> {
        let (mut listener, link) = (Listener::open(&self.netns)?, self.netns.link()?);
        let nudge = Arc::clone(&self.handle.nudge);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What has happened before there was a listener was not heard.
        let (mut stale, mut earliest) = (Stale::All, Instant::now());
        loop {
            if stale > Stale::Nothing {
                let begun = Instant::now();
                self.look(&link, stale).await?;
                earliest = Instant::now() + SPACING.max(begun.elapsed() * REST);
            }
            stale = tokio::select! {
                message = listener.next() => match message {
                    Some(message) => self.stale_after(&message),
                    None => return Ok(Ended::Lost),
                },
                _ = tick.tick() => self.tick(&link).await,
                () = nudge.notified() => Stale::Nothing,
            };
            let Some(door) = self.door() else { return Ok(Ended::ForGood) };
            self.lend(&*door);
            self.find_missing(&*door, &link).await;
            drop(door);
            // Whatever has come by then is answered at once, so that a storm of notifications costs little.
            while stale > Stale::Nothing
                && let Ok(message) = timeout_at(earliest, listener.next()).await
            {
                let Some(message) = message else { return Ok(Ended::Lost) };
                stale = stale.max(self.stale_after(&message));
            }
        }
    }

    /// The dataplane, unless it has come to its end.
    fn door(&self) -> Option<Arc<D>> {
        self.door.upgrade().filter(|door| !door.is_closed())
    }

    fn stale_after(&self, message: &NetlinkMessage<RouteNetlinkMessage>) -> Stale {
        Stale::after(message, |index| self.links.id_of(index).is_some())
    }

    /// What the clock asks for.
    async fn tick(&mut self, link: &Link) -> Stale {
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(VERIFY)
            && let Some(door) = self.door()
        {
            self.verify(door.take_used(), link).await;
        }
        if !self.ticks.is_multiple_of(REFRESH) {
            return Stale::Nothing;
        }
        self.ports.retry();
        self.remind(self.routers(), link).await;
        Stale::All
    }

    /// Reads what is stale and tells what follows, if anything does.
    async fn look(&mut self, link: &Link, stale: Stale) -> Result<(), SandboxError> {
        let only = self.plan.interface.as_ref().map(|name| name.as_str());
        let mut opened = Vec::new();
        if stale == Stale::Neighbors {
            self.tables.neighbors = link.neighbors().await?;
        } else {
            self.tables = snapshot::read(link).await?;
        }
        let mut links = self.tables.links(only);
        let excess = links.len().saturating_sub(LINKS_MAX);
        links.truncate(LINKS_MAX);
        if stale == Stale::All {
            self.own = self.tables.own().collect();
            opened = self.links.set(&self.netns, &links);
        }
        let mut resolved = self.tables.resolve(only, |index| self.links.id_of(index));
        if excess > 0 {
            resolved.left_out.push(("links", excess));
        }
        if resolved == self.resolved && opened.is_empty() {
            return Ok(());
        }
        let Some(door) = self.door() else { return Ok(()) };
        if resolved.left_out != self.resolved.left_out {
            tracing::warn!(left_out = ?resolved.left_out, "the host's routing is larger than the dataplane takes");
        }
        self.ports.retain(|address| self.own.contains(&address));
        self.resolved = resolved;
        door.set_egress(self.resolved.spec.clone(), opened);
        let unknown = self
            .routers()
            .into_iter()
            .filter(|&(index, address)| self.tables.neighbor(index, address).is_none());
        self.remind(unknown.collect(), link).await;
        Ok(())
    }

    /// Answers every want.
    fn lend(&mut self, door: &D) {
        for Want { address, transport, count } in door.take_wants() {
            let reserve = |port| Reserved::open(transport, address, port, Admit::Nothing);
            let (ports, netns) = (&mut self.ports, &self.netns);
            // An address that has gone meanwhile is no longer reserved on.
            let count = if self.own.contains(&address) { count.min(LEND_MAX) } else { 0 };
            let reserved =
                netns.run(|| ports.take(address, transport, count, reserve)).unwrap_or_else(|error| {
                    tracing::warn!(%error, %address, %transport, "no outside port can be reserved");
                    Vec::new()
                });
            tracing::debug!(%address, %transport, wanted = count, reserved = reserved.len(), "outside ports are lent");
            door.lend(address, transport, reserved);
        }
    }

    /// Has the kernel look for what the dataplane has no MAC of.
    async fn find_missing(&self, door: &D, link: &Link) {
        let missing = door.take_missing().into_iter().take(ASK_MAX);
        let by_index = missing.filter_map(|(id, address)| Some((self.links.index_of(id)?, address)));
        self.remind(by_index.collect(), link).await;
    }

    /// The next hops of routes.
    fn routers(&self) -> BTreeSet<(u32, IpAddr)> {
        let routes = self.resolved.spec.routes.iter();
        routes.filter_map(|route| Some((self.links.index_of(route.link?)?, route.via?))).collect()
    }

    /// Has the kernel look for neighbours, unless they are set by hand. A refusal changes nothing: it looks for them by
    /// itself when a packet is for it to route.
    async fn remind(&self, neighbors: BTreeSet<(u32, IpAddr)>, link: &Link) {
        for (index, address) in neighbors {
            let fixed = self.tables.neighbor(index, address).is_some_and(|known| !known.is_dynamic());
            if !fixed && let Err(error) = link.remind(index, address).await {
                tracing::debug!(%error, "the kernel does not look for a neighbour");
            }
        }
    }

    /// Has the kernel ask the neighbours that were sent to whether they are still there.
    async fn verify(&self, used: Vec<(LinkId, IpAddr)>, link: &Link) {
        for (id, address) in used.into_iter().take(ASK_MAX) {
            let Some(index) = self.links.index_of(id) else { continue };
            if self.tables.neighbor(index, address).is_some_and(Neighbor::is_dynamic)
                && let Err(error) = link.verify(index, address).await
            {
                tracing::debug!(%error, "the kernel does not ask a neighbour");
            }
        }
    }
}
