//! What control holds.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use super::worker::{Command, Waker, Worker};
use super::{Capture, CaptureFilter, Engine, FdbRow, Shared, Totals};
use crate::datapath::Datapath;
use crate::io::tap::Tap;
use crate::io::udp::{self, Mode, SocketWatch, Underlay, UnderlayError};
use crate::tables::{Ground, PortId, SegmentId, Tables, TablesError, TablesSpec};
use crate::tunnel::Vtep;
use crate::verdict::DropReason;

/// Workers that `workers = 0` starts at most: beyond a few, containers need the cores more than the switch does.
const WORKERS_DEFAULT_MAX: usize = 4;
/// Workers that may be asked for.
pub(crate) const WORKERS_MAX: usize = 64;

/// How to start a dataplane.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Packet threads; 0: one for every two cores, at most four.
    pub workers: usize,
    /// The way to other hosts, if there is to be one.
    pub underlay: Option<UnderlayConfig>,
}

/// How this host reaches other VTEPs.
#[derive(Clone, Debug)]
pub struct UnderlayConfig {
    /// This host's VTEP address.
    pub address: IpAddr,
    /// The tunnel's UDP port, the same on all hosts.
    pub port: u16,
    /// How frames cross.
    pub mode: Mode,
}

/// The underlay as it came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderlayInfo {
    /// This host's VTEP address.
    pub address: IpAddr,
    /// The tunnel's UDP port.
    pub port: u16,
    /// The mode in use.
    pub mode: Mode,
    /// Why a better mode is not in use.
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

/// Why a port is not served.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The port's device no longer exists: its namespace has died, or somebody deleted the link.
    PortGone(PortId),
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
    shared: Arc<Shared>,
    ground: Ground,
    workers: Vec<Running>,
    events: Receiver<Event>,
    underlay: Option<UnderlayInfo>,
    watches: Vec<SocketWatch>,
    publishing: Mutex<()>,
}

struct Running {
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
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let count = worker_count(config.workers)?;
        let underlay = match &config.underlay {
            Some(u) => Some((udp::open(u.address, u.port, u.mode, count)?, u)),
            None => None,
        };
        let ground = Ground {
            shards: count,
            seed: random_seed(),
            underlay: underlay.as_ref().map(|(_, u)| (Vtep::new(u.address), u.port)),
        };
        let info = underlay.as_ref().map(|(open, u)| UnderlayInfo {
            address: u.address,
            port: u.port,
            mode: open.mode,
            reason: open.reason.clone(),
        });
        let (senders, events) = unbounded();
        let mut handle = Self {
            shared: Shared::new(Tables::empty(&ground)),
            ground,
            workers: Vec::new(),
            events,
            underlay: info,
            watches: Vec::new(),
            publishing: Mutex::new(()),
        };
        handle.spawn(count, underlay.map(|(open, _)| open), &senders)?;
        Ok(handle)
    }

    /// Makes `spec` the whole truth. Nothing changes if it is refused.
    pub fn publish(&self, spec: &TablesSpec) -> Result<(), TablesError> {
        let _one_at_a_time = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = self.shared.tables.load();
        let tables = Tables::build(spec, &previous, &self.ground)?;
        self.shared.tables.store(Arc::new(tables));
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

    /// The underlay, if there is one.
    #[must_use]
    pub fn underlay(&self) -> Option<&UnderlayInfo> {
        self.underlay.as_ref()
    }

    fn spawn(
        &mut self,
        count: usize,
        underlay: Option<Underlay>,
        events: &Sender<Event>,
    ) -> Result<(), StartError> {
        let (mut receivers, mut senders) =
            underlay.map_or_else(Default::default, |u| (u.receivers, u.senders));
        for index in (0..count).rev() {
            let (rx, tx) = (receivers.pop(), senders.pop());
            if let Some(rx) = &rx {
                self.watches.push(rx.watch()?);
            }
            let datapath = Datapath::new(index, self.ground.seed);
            let engine = Engine::new(datapath, tx.map(|tx| Box::new(tx) as _));
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
    fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
        self.waker.wake();
    }
}

fn worker_count(wanted: usize) -> Result<usize, StartError> {
    match wanted {
        0 => {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            Ok((cores / 2).clamp(1, WORKERS_DEFAULT_MAX))
        }
        wanted if wanted > WORKERS_MAX => Err(StartError::TooManyWorkers(wanted)),
        wanted => Ok(wanted),
    }
}

/// Unpredictable to endpoints, which choose the keys of the tables: the standard library's hash keys are.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
