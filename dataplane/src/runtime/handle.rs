//! What control holds.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use serde::{Deserialize, Serialize};

use super::worker::{Command, Waker, Worker};
use super::{Capture, CaptureFilter, Engine, FdbRow, Shared, Totals, random_seed};
use crate::datapath::Datapath;
use crate::io::UnderlayTx;
use crate::io::tap::Tap;
use crate::io::udp::{Mode, SocketWatch, Sockets, SourcePorts, UdpRx, Underlay, UnderlayError};
use crate::io::uplink::{Uplink, UplinkShared, UplinkState, UplinkTx};
use crate::tables::{Ground, PortId, SegmentId, Tables, TablesError, TablesSpec};
use crate::tunnel::Vtep;
use crate::tunnel::outer::NextHop;
use crate::verdict::DropReason;

/// Workers that `workers = 0` starts at most: beyond a few, containers need the cores more than the switch does.
const WORKERS_DEFAULT_MAX: usize = 4;
/// Workers that may be asked for.
pub(crate) const WORKERS_MAX: usize = 64;

/// How to start a dataplane.
#[derive(Debug, Default)]
pub struct Config {
    /// Packet threads; 0: one for every two cores, at most four.
    pub workers: usize,
    /// The way to other hosts, if there is to be one.
    pub underlay: Option<UnderlayConfig>,
}

/// How this host reaches other VTEPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderlayConfig {
    /// This host's VTEP address.
    pub address: IpAddr,
    /// The tunnel's UDP port, the same on all hosts.
    pub port: u16,
    /// How frames cross. Those that allow [`Mode::TunnelGso`] begin with sockets, until there is an uplink
    /// ([`Handle::open_uplink`]).
    pub mode: Mode,
}

/// The underlay as it came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderlayInfo {
    /// This host's VTEP address.
    pub address: IpAddr,
    /// The tunnel's UDP port.
    pub port: u16,
    /// The mode in use.
    pub mode: Mode,
    /// The mode in use for VTEPs whose next hop is not known: [`Mode::UdpGso`] or [`Mode::Udp`].
    pub sockets: Mode,
    /// Why a better mode is not in use. That there is no uplink is not told: control knows why.
    pub reason: Option<String>,
}

/// Why a dataplane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No underlay.
    #[error(transparent)]
    Underlay(#[from] UnderlayError),
    /// More workers than make sense.
    #[error("{0} workers are too many: use at most {WORKERS_MAX}, or 0 to let weft decide")]
    TooManyWorkers(usize),
    /// No thread, or no descriptor for one.
    #[error("cannot start a packet thread: {0}")]
    Thread(io::Error),
}

/// Why a TAP is not served.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The TAP was made for another number of workers.
    #[error("the TAP has {queues} queues for {workers} workers")]
    Queues {
        /// What it has.
        queues: usize,
        /// What it needs.
        workers: usize,
    },
}

/// What control learns unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The port's device no longer exists: its namespace has died, or somebody deleted the link.
    PortGone(PortId),
    /// The NAT wants ports, or next hops to be resolved: [`Handle::take_wants`] says which.
    OutsideWants,
}

/// Counters, read at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Everything, networks that are gone included.
    pub total: Totals,
    /// Each network that is there.
    pub segments: Vec<(SegmentId, Totals)>,
}

/// A running dataplane.
pub struct Handle {
    pub(super) shared: Arc<Shared>,
    ground: Ground,
    pub(super) workers: Vec<Running>,
    events: Receiver<Event>,
    underlay: Option<OpenUnderlay>,
    watches: Vec<SocketWatch>,
    publishing: Mutex<()>,
}

pub(super) struct Running {
    commands: Sender<Command>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

impl Handle {
    /// Starts the workers, with sockets of the calling thread's network namespace.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let count = worker_count(config.workers)?;
        let open = |underlay: UnderlayConfig| {
            let UnderlayConfig { address, port, mode } = underlay;
            Ok::<_, UnderlayError>((underlay, Sockets::open(address, port, mode, count)?))
        };
        let underlay = config.underlay.map(open).transpose()?;
        Self::start_with(count, underlay)
    }

    /// Starts `count` workers with sockets that are open already, as many receiving ones as there are workers. Needs no
    /// privileges.
    pub fn start_with(count: usize, underlay: Option<(UnderlayConfig, Sockets)>) -> Result<Self, StartError> {
        let ends = underlay.map(|(config, sockets)| Ends::new(config, sockets)).transpose()?;
        let underlay = ends.as_ref().map(|ends| ends.underlay.clone());
        let ground = Ground {
            shards: count,
            seed: random_seed(),
            underlay: underlay.as_ref().map(|u| (Vtep::new(u.address), u.port)),
        };
        let (senders, events) = unbounded();
        let mut handle = Self {
            shared: Shared::new(Tables::empty(&ground), ground.underlay.map_or(0, |(_, port)| port)),
            ground,
            workers: Vec::new(),
            events,
            underlay,
            watches: Vec::new(),
            publishing: Mutex::new(()),
        };
        handle.spawn(count, ends, &senders)?;
        Ok(handle)
    }

    /// Makes `spec` the whole truth. Nothing changes if it is refused.
    pub fn publish(&self, spec: &TablesSpec) -> Result<(), TablesError> {
        let _one_at_a_time = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = self.shared.tables.load();
        let tables = Tables::build(spec, &previous, &self.ground)?;
        for refused in tables.take_effect(spec) {
            tracing::error!(?refused, "this port cannot be published");
        }
        self.shared.tables.store(Arc::new(tables));
        self.shared.doors.open().follow(spec);
        Ok(())
    }

    /// Serves `port`, which the published tables should know, from `tap`, which must have a queue for each worker.
    pub fn attach(&self, port: PortId, tap: Tap) -> Result<(), AttachError> {
        let queues = tap.into_queues();
        if queues.len() != self.workers.len() {
            return Err(AttachError::Queues { queues: queues.len(), workers: self.workers.len() });
        }
        for (worker, queue) in self.workers.iter().zip(queues) {
            worker.tell(Command::Attach(port, Box::new(queue)));
        }
        Ok(())
    }

    /// Stops serving `port`. When this returns, every worker has let go and the TAP's descriptors are closed.
    pub fn detach(&self, port: PortId) {
        let (done, wait) = bounded(0);
        for worker in &self.workers {
            worker.tell(Command::Detach(port, done.clone()));
        }
        drop(done);
        // Ends with an error when the last worker has dropped its sender, which is the news waited for.
        let _ = wait.recv();
    }

    /// What control learns unasked. One receiver gets each event.
    #[must_use]
    pub fn events(&self) -> Receiver<Event> {
        self.events.clone()
    }

    /// Reads the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let tables = self.shared.tables.load();
        let mut total = tables.totals();
        let unread: u64 = self.watches.iter().map(SocketWatch::drops).sum();
        total.drops[DropReason::UnderlaySocket.index()] += unread;
        let segments = tables.segments().iter().map(|s| (s.id, s.totals())).collect();
        Stats { total, segments }
    }

    /// The forwarding database of `segment`; empty if there is no such segment.
    #[must_use]
    pub fn fdb(&self, segment: SegmentId) -> Vec<FdbRow> {
        let tables = self.shared.tables.load();
        tables.segment(segment).map_or_else(Vec::new, |s| s.fdb_rows(self.shared.now()))
    }

    /// Starts a capture; `None`: [`super::capture::CAPTURES_MAX`] run already. `label` names a port in the capture.
    #[must_use]
    pub fn capture(
        &self,
        filter: CaptureFilter,
        label: impl Fn(PortId) -> String + Send + 'static,
    ) -> Option<Capture> {
        Capture::start(Arc::clone(&self.shared), filter, Box::new(label))
    }

    /// How many workers there are, which is how many queues a TAP needs.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The underlay, if there is one, as it is at the moment.
    #[must_use]
    pub fn underlay(&self) -> Option<UnderlayInfo> {
        self.underlay.as_ref().map(OpenUnderlay::info)
    }

    /// Sends through `uplink`, which leads to the underlay device and must have a queue for each worker, what goes to
    /// VTEPs whose next hop is known; it replaces the one before. Does nothing unless the mode allows it.
    pub fn open_uplink(&self, uplink: Uplink) -> Result<(), AttachError> {
        let (queues, workers) = (uplink.queues(), self.workers.len());
        if queues != workers {
            return Err(AttachError::Queues { queues, workers });
        }
        if let Some(shared) = self.uplink() {
            shared.open(uplink);
        }
        Ok(())
    }

    /// Sends everything through sockets. The uplink's TAP goes as soon as no worker is writing to it.
    pub fn close_uplink(&self) {
        if let Some(shared) = self.uplink() {
            shared.close();
        }
    }

    /// Says how VTEPs are reached on the underlay's link. Those that `hops` does not name are reached through sockets.
    /// Without an uplink nothing happens.
    pub fn set_next_hops(&self, hops: impl IntoIterator<Item = (Vtep, NextHop)>) {
        if let Some(shared) = self.uplink() {
            shared.set_next_hops(hops.into_iter().collect());
        }
    }

    /// The VTEPs that were sent to by way of their next hops since this was asked last.
    #[must_use]
    pub fn take_used_next_hops(&self) -> Vec<Vtep> {
        self.uplink().map_or_else(Vec::new, UplinkShared::take_used)
    }

    fn uplink(&self) -> Option<&UplinkShared> {
        self.underlay.as_ref()?.uplink.as_deref()
    }

    fn spawn(&mut self, count: usize, ends: Option<Ends>, events: &Sender<Event>) -> Result<(), StartError> {
        let (mut receivers, mut senders) =
            ends.map_or_else(Default::default, |ends| (ends.receivers, ends.senders));
        for index in (0..count).rev() {
            let (rx, tx) = (receivers.pop(), senders.pop());
            if let Some(rx) = &rx {
                self.watches.push(rx.watch()?);
            }
            let datapath = Datapath::new(index, self.ground.seed).remembering();
            let engine = Engine::new(datapath, tx);
            let (commands, orders) = unbounded();
            let rx = rx.map(|rx| Box::new(rx) as _);
            let shared = Arc::clone(&self.shared);
            let (worker, waker) =
                Worker::new(index, shared, engine, rx, orders, events.clone()).map_err(StartError::Thread)?;
            let thread = std::thread::Builder::new()
                .name(format!("weft-worker-{index}"))
                .spawn(move || worker.run())
                .map_err(StartError::Thread)?;
            self.workers.push(Running { commands, waker, thread: Some(thread) });
        }
        Ok(())
    }
}

/// What stays of the underlay when the workers have their ends of it.
#[derive(Clone)]
struct OpenUnderlay {
    address: IpAddr,
    port: u16,
    sources: Arc<SourcePorts>,
    refusal: Option<String>,
    uplink: Option<Arc<UplinkShared>>,
}

impl OpenUnderlay {
    fn info(&self) -> UnderlayInfo {
        let sockets = self.sources.mode();
        let refused = || "udp-gso: the kernel has refused to segment a datagram".to_owned();
        let by_sockets = self.sources.refused().then(refused).or_else(|| self.refusal.clone());
        let (mode, reason) = match self.uplink.as_deref().map_or(UplinkState::Closed, UplinkShared::state) {
            UplinkState::Open => (Mode::TunnelGso, None),
            UplinkState::Refused => (sockets, Some("tunnel-gso: the kernel has refused a frame".to_owned())),
            UplinkState::Closed => (sockets, by_sockets),
        };
        UnderlayInfo { address: self.address, port: self.port, mode, sockets, reason }
    }
}

/// The underlay, ready to be given to the workers.
struct Ends {
    receivers: Vec<UdpRx>,
    senders: Vec<Box<dyn UnderlayTx>>,
    underlay: OpenUnderlay,
}

impl Ends {
    fn new(config: UnderlayConfig, sockets: Sockets) -> Result<Self, StartError> {
        let UnderlayConfig { address, port, mode } = config;
        let Underlay { receivers, senders, sources, reason } = Underlay::over(sockets)?;
        let may_have_uplink = matches!(mode, Mode::Auto | Mode::TunnelGso);
        let uplink = may_have_uplink.then(|| Arc::new(UplinkShared::new(address, port)));
        let sender = |(queue, tx)| match &uplink {
            Some(shared) => Box::new(UplinkTx::new(queue, Arc::clone(shared), tx)) as _,
            None => Box::new(tx) as _,
        };
        let senders = senders.into_iter().enumerate().map(sender).collect();
        let underlay = OpenUnderlay { address, port, sources, refusal: reason, uplink };
        Ok(Self { receivers, senders, underlay })
    }
}

impl Drop for Handle {
    /// Stops the workers and closes everything they held.
    fn drop(&mut self) {
        self.workers.iter().for_each(|worker| worker.tell(Command::Stop));
        for thread in self.workers.iter_mut().filter_map(|worker| worker.thread.take()) {
            if thread.join().is_err() {
                tracing::error!("a packet thread had panicked");
            }
        }
    }
}

impl Running {
    /// A worker that has ended needs no orders.
    pub(super) fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
        self.waker.wake();
    }

    /// Has the worker go round once.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }
}

/// How many workers `wanted` means, 0 being "decide".
///
/// # Errors
/// [`StartError::TooManyWorkers`].
pub fn worker_count(wanted: usize) -> Result<usize, StartError> {
    match wanted {
        0 => {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            Ok((cores / 2).clamp(1, WORKERS_DEFAULT_MAX))
        }
        wanted if wanted > WORKERS_MAX => Err(StartError::TooManyWorkers(wanted)),
        wanted => Ok(wanted),
    }
}
