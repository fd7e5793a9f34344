//! The verbs, on whichever packet process there is.

use std::fmt;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use weft_dataplane::io::ledger::Ledger;
use weft_dataplane::io::tap::Tap;
use weft_dataplane::io::udp::Sockets;
use weft_dataplane::io::uplink::Uplink;
use weft_dataplane::nat::RECORD_LEN;
use weft_dataplane::runtime::remote::{Client, RemoteCapture, RemoteError};
use weft_dataplane::runtime::{CaptureFilter, Event, FdbRow, Stats, UnderlayConfig, UnderlayInfo};
use weft_dataplane::tables::{PortId, SegmentId, TablesSpec};
use weft_dataplane::tunnel::Vtep;
use weft_dataplane::tunnel::outer::NextHop;

use super::adopt::{Adopted, adopt};
use super::error::io;
use super::launch::{launch, remove};
use super::memory::Memory;
use super::process::Process;
use super::reaper::Reaper;
use super::shared::Shared;
use super::watch::watch;
use super::{Options, PacketError, SOCKET_NAME};
use crate::network::ServedPort;

/// Descriptors that are asked for: as many ports of endpoints and outside ports as one host may have.
const DESCRIPTORS: u64 = 1 << 20;

/// A dataplane in a process of its own that is there again when it has ended.
///
/// To be ended by [`Dataplane::close`] or [`Dataplane::leave`]. Without either, dropping it ends a process that it has
/// started and leaves one that it has adopted: a daemon that fails at its start does no harm.
pub struct Dataplane {
    pub(super) shared: Arc<Shared>,
    watcher: Mutex<Option<JoinHandle<()>>>,
    reaper: Reaper,
    adopted: bool,
    /// No other daemon uses the run directory as long as this is open.
    _run_dir: File,
}

/// How the packet process fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Its process id; `None` while there is none.
    pub pid: Option<u32>,
    /// How many have followed the first.
    pub restarts: u64,
    /// Why there is none.
    pub reason: Option<String>,
}

impl Dataplane {
    /// Adopts the packet process that an earlier daemon has left, if it fits;
    /// otherwise ends that one and starts a new one, with sockets of the calling thread's network namespace.
    ///
    /// # Errors
    /// [`PacketError`]; no packet process is left then.
    pub fn open(options: Options) -> Result<(Self, Receiver<Event>), PacketError> {
        let run_dir = File::open(&options.run_dir).map_err(io("open the run directory"))?;
        flock(&run_dir, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| PacketError::Busy(options.run_dir.clone()))?;
        raise_descriptor_limit();
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|e| io("make an event descriptor")(e.into()))?;
        let path = options.run_dir.join(SOCKET_NAME);
        let reaper = Reaper::default();
        let found = adopt(&path, &options, &reaper);
        let adopted = found.is_some();
        let (client, process, memory) = found.map_or_else(|| begin_anew(&path, &options), Ok)?;
        let (events, heard) = channel();
        let shared = Arc::new(Shared::new(path, options, (process, memory), events, stop));
        let dataplane = Self { shared, watcher: Mutex::default(), reaper, adopted, _run_dir: run_dir };
        dataplane.shared.begin(client)?;
        let watched = Arc::clone(&dataplane.shared);
        let watcher = thread::Builder::new().name("weft-packet".into()).spawn(move || watch(&watched));
        *dataplane.watcher() = Some(watcher.map_err(io("start the packet process's watcher"))?);
        Ok((dataplane, heard))
    }

    /// How many workers there are, which is how many queues a TAP needs.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.options.workers
    }

    /// How the packet process fares.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.report()
    }

    /// The ports that are served, with what their TAPs are called.
    #[must_use]
    pub fn ports(&self) -> Vec<ServedPort> {
        let served = |(port, tap): (&PortId, &Tap)| ServedPort { port: *port, tap: tap.name().to_owned() };
        self.shared.recall(|memory| memory.taps.iter().map(served).collect())
    }

    /// Where the link of `port` is: its network namespace, and its name there. `None` when there is no such port or link.
    #[must_use]
    pub fn place(&self, port: PortId) -> Option<(OwnedFd, String)> {
        self.shared.recall(|memory| memory.taps.get(&port)?.place().ok())
    }

    /// Makes `tables` the whole truth.
    ///
    /// # Errors
    /// [`PacketError`]; the former truth stays.
    pub fn publish(&self, tables: &TablesSpec) -> Result<(), PacketError> {
        self.shared.ask(|client, memory| {
            client.publish(tables)?;
            memory.tables = tables.clone();
            Ok(())
        })
    }

    /// Serves `port` from `tap`, which must have a queue for each worker, until it is detached.
    ///
    /// # Errors
    /// [`PacketError`]; nothing is left of the TAP.
    pub fn attach(&self, port: PortId, tap: Tap) -> Result<(), PacketError> {
        let mut tap = Some(tap);
        self.shared.ask(|client, memory| {
            if let Some(tap) = &tap {
                client.attach(port, tap)?;
            }
            memory.taps.extend(tap.take().map(|tap| (port, tap)));
            Ok(())
        })
    }

    /// Stops serving `port`. When this returns, its TAP's link is gone from its namespace; what else the kernel does to
    /// remove it goes on by itself.
    pub fn detach(&self, port: PortId) {
        let mut tap = None;
        self.shared.tell(|memory| tap = memory.taps.remove(&port), |client, _| client.detach(port));
        // Last, and without the lock.
        tap.into_iter().for_each(|tap| self.reaper.bury(tap));
    }

    /// The counters; while there is no packet process, as they were last read.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        self.shared.tell(
            |_| (),
            |client, memory| {
                memory.stats = Some(client.stats()?);
                Ok(())
            },
        );
        self.shared.recall(|memory| memory.stats.clone())
    }

    /// The forwarding database of `segment`; empty if there is none at the moment.
    #[must_use]
    pub fn fdb(&self, segment: SegmentId) -> Vec<FdbRow> {
        self.shared.tell(|_| (), |client, _| client.fdb(segment)).unwrap_or_default()
    }

    /// The underlay, if there is one; while there is no packet process, as it last was.
    #[must_use]
    pub fn underlay(&self) -> Option<UnderlayInfo> {
        self.shared.tell(
            |_| (),
            |client, memory| {
                memory.underlay = client.underlay()?;
                Ok(())
            },
        );
        self.shared.recall(|memory| memory.underlay.clone())
    }

    /// As [`Handle::open_uplink`](weft_dataplane::runtime::Handle::open_uplink).
    ///
    /// # Errors
    /// [`PacketError`]; nothing is left of the uplink.
    pub fn open_uplink(&self, uplink: Uplink) -> Result<(), PacketError> {
        let mut uplink = Some(uplink);
        self.shared.ask(|client, memory| {
            if let Some(uplink) = &uplink {
                client.open_uplink(uplink)?;
            }
            (memory.uplink, memory.hops) = (uplink.take(), Vec::new());
            Ok(())
        })
    }

    /// As [`Handle::close_uplink`](weft_dataplane::runtime::Handle::close_uplink).
    pub fn close_uplink(&self) {
        self.shared.tell(
            |memory| (memory.uplink, memory.hops) = (None, Vec::new()),
            |client, _| client.close_uplink(),
        );
    }

    /// As [`Handle::set_next_hops`](weft_dataplane::runtime::Handle::set_next_hops).
    pub fn set_next_hops(&self, hops: Vec<(Vtep, NextHop)>) {
        self.shared.tell(|memory| memory.hops = hops, |client, memory| client.set_next_hops(&memory.hops));
    }

    /// As [`Handle::take_used_next_hops`](weft_dataplane::runtime::Handle::take_used_next_hops).
    #[must_use]
    pub fn take_used_next_hops(&self) -> Vec<Vtep> {
        self.shared.tell(|_| (), |client, _| client.take_used_next_hops()).unwrap_or_default()
    }

    pub(super) fn capture(
        &self,
        filter: CaptureFilter,
        labels: &[(PortId, String)],
    ) -> Result<RemoteCapture, PacketError> {
        self.shared.ask(|client, _| client.capture(filter, labels.to_vec()))
    }

    /// Whether it was closed or left.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.shared.is_ending()
    }

    /// Leaves the packet process to the next daemon: it goes on forwarding.
    pub fn leave(&self) {
        self.end(|_| ());
        self.reaper.wait();
    }

    /// Ends the packet process and waits for it, and until the links of all that it served are removed.
    pub fn close(&self) {
        let process = self.end(|client| {
            // If it does not listen it is killed.
            let _ = client.end();
        });
        let Some(process) = process else { return };
        process.wait();
        self.shared.forget().taps.into_values().for_each(|tap| self.reaper.close(tap));
        self.reaper.wait();
        if let Err(error) = remove(&self.shared.path) {
            tracing::warn!(%error, socket = %self.shared.path.display(), "cannot remove the packet process's socket");
        }
    }

    /// No verb does anything from here on. Gives the process, if there is one.
    fn end(&self, farewell: impl FnOnce(Client)) -> Option<Process> {
        let process = self.shared.end(farewell);
        if let Some(watcher) = self.watcher().take() {
            // It does not panic; if it did, there is nothing to add.
            let _ = watcher.join();
        }
        process
    }

    fn watcher(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new packet process, and what it was given: the sockets of the underlay.
fn begin_anew(path: &Path, options: &Options) -> Result<Adopted, PacketError> {
    let open = |u: UnderlayConfig| Sockets::open(u.address, u.port, u.mode, options.workers);
    let sockets = options.underlay.map(open).transpose()?;
    let ledger = Ledger::create("weft-sessions", RECORD_LEN).map_err(RemoteError::from)?;
    let mut memory = Memory { sockets, ledger: Some(ledger), ..Memory::default() };
    let (client, process) = launch(path, options, &mut memory)?;
    Ok((client, process, memory))
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        if self.adopted { self.leave() } else { self.close() }
    }
}

impl fmt::Debug for Dataplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataplane").field("report", &self.report()).finish_non_exhaustive()
    }
}

/// Every port of an endpoint takes descriptors here and in the packet process, which inherits the limit, and so does
/// every outside port that is reserved.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map(|hard| hard.max(DESCRIPTORS.min(descriptors_max())));
    let set = |most| setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
    // Beyond the hard limit takes CAP_SYS_RESOURCE.
    if let Err(error) = set(most).or_else(|_| set(limit.maximum)) {
        tracing::warn!(%error, "the limit of descriptors stays as it is");
    }
}

/// What the kernel allows any process; nothing when that cannot be read.
fn descriptors_max() -> u64 {
    std::fs::read_to_string("/proc/sys/fs/nr_open")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}
