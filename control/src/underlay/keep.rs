//! The road, kept: built when it can be, given up when it does not hold, and followed in between.
//!
//! There is one way to mend whatever has changed: to give the road up, TAP and all, and to build a new one as at the
//! start. In the meantime everything goes through sockets, and the [`Outlook`] says why.

use std::future::pending;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout_at};
use weft_dataplane::io::uplink::Uplink;
use weft_dataplane::tunnel::Vtep;

use super::follow::Follower;
use super::news::{Beat, News, Scope};
use super::outlook::Outlook;
use super::road::{self, Refusal, Road};
use super::{Plan, TUNNEL_GSO};
use crate::packet::Dataplane;
use crate::sandbox::{Device, Link, Listener, Netns, SandboxError};

/// How often neighbours and paths in use are made sure of.
const VERIFY: Duration = Duration::from_secs(5);

/// Every this many times everything is read again and every neighbour is kept alive, whatever the notifications say. Less
/// than the kernel's default for forgetting an unused entry (60 s).
const REFRESH: u32 = 3;

/// The shortest time between two looks at what the notifications are about. The first after a silence is at once.
const SPACING: Duration = Duration::from_millis(50);

/// How long to wait before trying again after netlink has failed.
const RETRY: Duration = Duration::from_secs(1);

/// The shortest time between two roads, so that somebody who removes them costs little.
const PAUSE: Duration = Duration::from_secs(2);

/// The same after a trial, TAP or filter that failed: nothing tells when that is worth another try.
const LONG_PAUSE: Duration = Duration::from_secs(60);

/// Keeps the uplink of one dataplane.
#[derive(Debug)]
pub(super) struct Keeper {
    plan: Plan,
    dataplane: Weak<Dataplane>,
    workers: usize,
    outlook: Outlook,
    road: Option<Road>,
    /// The index of the underlay device, road or not.
    device: Option<u32>,
    follower: Follower,
    /// When the next road may be built.
    not_before: Instant,
    /// When to look again because it was too early.
    again: Option<Instant>,
}

/// Why keeping has ended.
enum Ended {
    /// Nobody wants a road any more, or there cannot be one.
    ForGood,
    /// No notification will come.
    Lost,
}

impl Keeper {
    pub(super) fn new(plan: Plan, dataplane: &Arc<Dataplane>) -> Self {
        Self {
            plan,
            dataplane: Arc::downgrade(dataplane),
            workers: dataplane.workers(),
            outlook: Outlook::default(),
            road: None,
            device: None,
            follower: Follower::default(),
            not_before: Instant::now(),
            again: None,
        }
    }

    pub(super) fn outlook(&self) -> Outlook {
        self.outlook.clone()
    }

    /// The first attempt.
    pub(super) async fn begin(&mut self) -> Result<(), Refusal> {
        let link = Netns::current()?.link()?;
        let begun = self.build(&link).await;
        if let Err(refusal) = &begun {
            self.outlook.close(told(refusal));
            // An adopted dataplane may still have the uplink of an earlier daemon, which nobody looks after.
            self.ask(Dataplane::close_uplink);
        }
        begun
    }

    /// Goes on until nobody wants it any more. Works in the network namespace of the thread that polls it. While netlink
    /// fails, no hop is known.
    pub(super) async fn run(mut self) {
        loop {
            match self.watch().await {
                Ok(Ended::ForGood) => return,
                Ok(Ended::Lost) => tracing::warn!("the kernel has closed a netlink socket; opening it again"),
                Err(error) => tracing::warn!(%error, "the way to the peers cannot be read; trying again"),
            }
            self.follower = Follower::default();
            if self.publish().is_none() {
                return;
            }
            sleep(RETRY).await;
        }
    }

    async fn watch(&mut self) -> Result<Ended, SandboxError> {
        let netns = Netns::current()?;
        let (mut listener, link) = (Listener::open(&netns)?, netns.link()?);
        let mut tick = interval(VERIFY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut ticks, mut earliest) = (0_u32, Instant::now());
        loop {
            let mut beat = Beat::None;
            let mut stale = tokio::select! {
                message = listener.next() => match message {
                    Some(message) => self.scope().meaning(&message),
                    None => return Ok(Ended::Lost),
                },
                _ = tick.tick() => {
                    beat = if ticks.is_multiple_of(REFRESH) { Beat::Refresh } else { Beat::Verify };
                    ticks = ticks.wrapping_add(1);
                    News::Nothing
                },
                () = until(self.again) => {
                    self.again = None;
                    News::Road
                },
            };
            // Whatever has come by then is answered at once, so that a storm of notifications costs little.
            while let Ok(message) = timeout_at(earliest, listener.next()).await {
                let Some(message) = message else { return Ok(Ended::Lost) };
                stale = stale.max(self.scope().meaning(&message));
            }
            let Some(used) = self.used(beat) else { return Ok(Ended::ForGood) };
            stale = stale.max(beat.stale(&used));
            if stale == News::Nothing {
                continue;
            }
            if self.look(&link, stale).await?.is_none() {
                return Ok(Ended::ForGood);
            }
            self.look_after_neighbors(&link, beat, &used).await;
            earliest = Instant::now() + SPACING;
        }
    }

    fn scope(&self) -> Scope {
        let uplink = self.road.as_ref().map(|road| road.uplink);
        Scope { address: self.plan.address, device: self.device, uplink }
    }

    /// The peers in use since the last beat; `None`: nobody wants a road any more.
    fn used(&self, beat: Beat) -> Option<Vec<Vtep>> {
        if beat == Beat::None { Some(Vec::new()) } else { self.ask(Dataplane::take_used_next_hops) }
    }

    /// Looks at what is stale and does what follows; `None`: it was for the last time.
    async fn look(&mut self, link: &Link, stale: News) -> Result<Option<()>, SandboxError> {
        if stale == News::Road
            && !self.holds(link).await
            && let Err(refusal) = self.build(link).await
        {
            self.give_up(&refusal);
            if refusal.is_final() {
                return Ok(None);
            }
        }
        let Some(road) = &self.road else { return Ok(Some(())) };
        let changed = self.follower.update(link, &self.plan, road.device, stale).await?;
        Ok(if changed { self.publish() } else { Some(()) })
    }

    async fn look_after_neighbors(&self, link: &Link, beat: Beat, used: &[Vtep]) {
        let Some(road) = &self.road else { return };
        self.follower.remind(link, road.device, beat == Beat::Refresh).await;
        self.follower.verify(link, road.device, used).await;
    }

    /// Whether there is a road that holds; one that does not is given up.
    async fn holds(&mut self, link: &Link) -> bool {
        let Some(road) = &self.road else { return false };
        match road.check(link, self.plan.address, self.plan.is_forced()).await {
            Ok(()) => true,
            Err(refusal) => {
                self.give_up(&refusal);
                false
            }
        }
    }

    /// Builds a road, if that can be done and it is not too early.
    async fn build(&mut self, link: &Link) -> Result<(), Refusal> {
        let found = road::find(link, self.plan.address).await;
        self.device = found.as_ref().ok().map(|device| device.index);
        let device = found?;
        road::admit(&device, self.plan.is_forced())?;
        if Instant::now() < self.not_before {
            self.again = Some(self.not_before);
            return Ok(());
        }
        let built = Road::build(link, &device, self.plan.address, self.workers).await;
        self.not_before = Instant::now() + if built.is_ok() { PAUSE } else { LONG_PAUSE };
        let (road, uplink) = built?;
        self.take(road, uplink, &device)
    }

    fn take(&mut self, road: Road, uplink: Uplink, device: &Device) -> Result<(), Refusal> {
        self.ask(|dataplane| dataplane.open_uplink(uplink)).transpose()?;
        if self.outlook.view().refusal.is_some() {
            tracing::info!(device = %device.name, "{TUNNEL_GSO} is used from here on");
        }
        self.outlook.open(&device.name);
        (self.road, self.follower) = (Some(road), Follower::default());
        Ok(())
    }

    fn give_up(&mut self, refusal: &Refusal) {
        (self.road, self.follower) = (None, Follower::default());
        let wanted = self.ask(Dataplane::close_uplink).is_some();
        if self.outlook.close(told(refusal)) && wanted {
            tracing::warn!("frames go through UDP sockets: {}", told(refusal));
        }
    }

    /// Tells what the follower knows; `None`: nobody wants to know.
    fn publish(&self) -> Option<()> {
        let hops = self.follower.hops();
        tracing::debug!(known = hops.len(), peers = self.plan.peers.len(), "next hops have changed");
        self.outlook.set_reaches(self.follower.reaches().to_vec());
        self.ask(|dataplane| dataplane.set_next_hops(hops))
    }

    /// Asks the dataplane, unless it has come to its end. That is another process, which answers within microseconds, or
    /// milliseconds while it is being replaced.
    fn ask<T>(&self, what: impl FnOnce(&Dataplane) -> T) -> Option<T> {
        let dataplane = self.dataplane.upgrade().filter(|dataplane| !dataplane.is_ending())?;
        Some(what(&dataplane))
    }
}

/// The refusal as `weft status` has it.
fn told(refusal: &Refusal) -> String {
    format!("{TUNNEL_GSO}: {refusal}")
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}
