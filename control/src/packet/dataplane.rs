//! The verbs, on whichever packet process there is.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, getrlimit, setrlimit};
use weft_dataplane::io::tap::Tap;
use weft_dataplane::io::udp::Sockets;
use weft_dataplane::io::uplink::Uplink;
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
use super::watch::watch;
use super::{Options, PATIENCE, PacketError, SOCKET_NAME};
use crate::network::ServedPort;

/// A dataplane in a process of its own that is there again when it has ended.
///
/// To be ended by [`Dataplane::close`] or [`Dataplane::leave`]. Without either, dropping it ends a process that it has
/// started and leaves one that it has adopted: a daemon that fails at its start does no harm.
pub struct Dataplane {
    shared: Arc<Shared>,
    watcher: Mutex<Option<JoinHandle<()>>>,
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
    /// Adopts the packet process that an earlier daemon has left, if it fits and `claims` wants the ports that it serves;
    /// otherwise ends that one and starts a new one, with sockets of the calling thread's network namespace.
    ///
    /// # Errors
    /// [`PacketError`]; no packet process is left then.
    pub fn open(
        options: Options,
        claims: impl FnOnce(&[ServedPort]) -> bool,
    ) -> Result<(Self, Receiver<Event>), PacketError> {
        let run_dir = File::open(&options.run_dir).map_err(io("open the run directory"))?;
        flock(&run_dir, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| PacketError::Busy(options.run_dir.clone()))?;
        raise_descriptor_limit();
        let path = options.run_dir.join(SOCKET_NAME);
        let found = adopt(&path, &options, claims);
        let adopted = found.is_some();
        let (client, process, memory) = found.map_or_else(|| begin_anew(&path, &options), Ok)?;
        let (events, heard) = channel();
        let state =
            State { memory, client: None, process: Some(process), restarts: 0, reason: None, ending: false };
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|e| io("make an event descriptor")(e.into()))?;
        let shared =
            Shared { path, options, state: Mutex::new(state), changed: Condvar::new(), stop, events };
        let (shared, watcher) = (Arc::new(shared), Mutex::default());
        let dataplane = Self { shared, watcher, adopted, _run_dir: run_dir };
        dataplane.shared.begin(&mut dataplane.shared.lock(), client)?;
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
        let state = self.shared.lock();
        let pid = state.process.as_ref().filter(|_| state.client.is_some()).map(Process::id);
        Report { pid, restarts: state.restarts, reason: state.reason.clone() }
    }

    /// The ports that are served, with the names their TAPs were created under.
    #[must_use]
    pub fn ports(&self) -> Vec<ServedPort> {
        let state = self.shared.lock();
        let served = |(port, tap): (&PortId, &Tap)| ServedPort { port: *port, tap: tap.name().to_owned() };
        state.memory.taps.iter().map(served).collect()
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

    /// Stops serving `port`. When this returns, every descriptor of its TAP is closed.
    pub fn detach(&self, port: PortId) {
        let mut tap = None;
        self.shared.tell(|memory| tap = memory.taps.remove(&port), |client, _| client.detach(port));
        // Last, and without the lock: here the kernel removes the link, which takes its time.
        drop(tap);
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
        self.shared.lock().memory.stats.clone()
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
        self.shared.lock().memory.underlay.clone()
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
        self.shared.lock().ending
    }

    /// Leaves the packet process to the next daemon: it goes on forwarding.
    pub fn leave(&self) {
        self.end(|_| ());
    }

    /// Ends the packet process and waits for it. What it served goes with it, as soon as what is remembered here does.
    pub fn close(&self) {
        let process = self.end(|client| {
            // If it does not listen it is killed.
            let _ = client.end();
        });
        let Some(process) = process else { return };
        process.wait();
        self.shared.lock().memory = Memory::default();
        if let Err(error) = remove(&self.shared.path) {
            tracing::warn!(%error, socket = %self.shared.path.display(), "cannot remove the packet process's socket");
        }
    }

    /// No verb does anything from here on. Gives the process, if there is one.
    fn end(&self, farewell: impl FnOnce(Client)) -> Option<Process> {
        let process = self.shared.lock().end(farewell);
        self.shared.wake();
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
    let mut memory = Memory { sockets, ..Memory::default() };
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

/// What the verbs and the watcher share.
pub(super) struct Shared {
    path: PathBuf,
    options: Options,
    state: Mutex<State>,
    /// There is a client, or there will be none.
    changed: Condvar,
    /// Readable when the watcher is to look up.
    stop: OwnedFd,
    events: Sender<Event>,
}

struct State {
    memory: Memory,
    /// `None` while there is no packet process.
    client: Option<Client>,
    process: Option<Process>,
    restarts: u64,
    /// Why there is no packet process.
    reason: Option<String>,
    /// Nothing is started any more.
    ending: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held is a bug, but the state is changed in single steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the packet process, or, if it does not live through that, the next one.
    fn ask<T>(
        &self,
        mut what: impl FnMut(&mut Client, &mut Memory) -> Result<T, RemoteError>,
    ) -> Result<T, PacketError> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            match state.try_ask(&mut what) {
                Some(Err(error)) if error.is_final() => state.give_up(&error),
                Some(answer) => return Ok(answer?),
                None => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ending {
                return Err(PacketError::Ending);
            }
            if left.is_zero() {
                return Err(PacketError::Down(state.reason.clone().unwrap_or_default()));
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Remembers something, and tells the packet process if there is one: the next one is told all that is remembered.
    fn tell<T>(
        &self,
        remember: impl FnOnce(&mut Memory),
        mut what: impl FnMut(&mut Client, &mut Memory) -> Result<T, RemoteError>,
    ) -> Option<T> {
        let mut state = self.lock();
        remember(&mut state.memory);
        match state.try_ask(&mut what)? {
            Ok(answer) => Some(answer),
            Err(error) => {
                if error.is_final() {
                    state.give_up(&error);
                }
                None
            }
        }
    }

    /// From here on `client` is asked, and what it says unasked is passed on.
    fn begin(&self, state: &mut State, mut client: Client) -> Result<(), PacketError> {
        let (told, events) = (client.events()?, self.events.clone());
        let listen = move || told.into_iter().try_for_each(|event| events.send(event));
        let listener = thread::Builder::new().name("weft-packet-news".into());
        listener.spawn(listen).map_err(io("start a thread for events"))?;
        (state.client, state.reason) = (Some(client), None);
        self.changed.notify_all();
        Ok(())
    }

    /// A descriptor that becomes readable when the packet process ends; `None` when that is no longer of interest.
    pub(super) fn end_of_process(&self) -> Option<OwnedFd> {
        let state = self.lock();
        let process = state.process.as_ref().filter(|_| !state.ending)?;
        process.end().try_clone_to_owned().ok()
    }

    pub(super) fn stop(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }

    fn wake(&self) {
        self.changed.notify_all();
        // A full counter is a watcher that is already being woken.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
    }

    /// The packet process has ended: says how; `None` when none is to follow.
    pub(super) fn bury(&self) -> Option<String> {
        let mut state = self.lock();
        state.client = None;
        if state.ending {
            return None;
        }
        let process = state.process.take()?;
        let pid = process.id();
        let how = process.wait().unwrap_or_else(|| "it has ended".to_owned());
        tracing::warn!(pid, how, "the packet process has ended; starting another one");
        state.reason = Some(how.clone());
        Some(how)
    }

    /// Starts the next packet process; `None` when there shall be none.
    pub(super) fn revive(&self) -> Option<Result<(), PacketError>> {
        let mut state = self.lock();
        if state.ending {
            return None;
        }
        let begun = Instant::now();
        let launched = launch(&self.path, &self.options, &mut state.memory);
        Some(launched.and_then(|(client, process)| {
            let (pid, ports) = (process.id(), state.memory.taps.len());
            state.process = Some(process);
            state.restarts += 1;
            self.begin(&mut state, client)?;
            tracing::info!(pid, ports, took = ?begun.elapsed(), "the packet process forwards again");
            Ok(())
        }))
    }

    /// Waits for `pause`, telling why; true: nothing is to be started any more.
    pub(super) fn rest(&self, reason: &str, pause: Duration) -> bool {
        let mut state = self.lock();
        state.reason = Some(reason.to_owned());
        let rested = self.changed.wait_timeout_while(state, pause, |state| !state.ending);
        rested.unwrap_or_else(PoisonError::into_inner).0.ending
    }
}

impl State {
    fn try_ask<T>(
        &mut self,
        what: &mut impl FnMut(&mut Client, &mut Memory) -> Result<T, RemoteError>,
    ) -> Option<Result<T, RemoteError>> {
        self.client.as_mut().map(|client| what(client, &mut self.memory))
    }

    /// Whoever cannot be spoken to is replaced: the watcher sees to that.
    fn give_up(&mut self, error: &RemoteError) {
        self.client = None;
        if let Some(process) = self.process.as_ref().filter(|_| !self.ending) {
            tracing::warn!(pid = process.id(), %error, "the packet process is given up");
            process.kill();
        }
    }

    /// Nothing is started from here on. Returns the process, if there is one.
    fn end(&mut self, farewell: impl FnOnce(Client)) -> Option<Process> {
        self.ending = true;
        if let Some(client) = self.client.take() {
            farewell(client);
        }
        self.process.take()
    }
}

/// Every port takes descriptors here and in the packet process, which inherits the limit.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of descriptors stays as it is");
    }
}
