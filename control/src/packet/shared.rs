//! What the verbs and the watcher share: the packet process of the moment, and what the next one is to be told.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use weft_dataplane::runtime::Event;
use weft_dataplane::runtime::remote::{Client, RemoteError};

use super::error::io;
use super::launch::launch;
use super::memory::Memory;
use super::process::Process;
use super::{Options, PATIENCE, PacketError, Report};

/// What the verbs and the watcher share.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) options: Options,
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
    /// With a packet process that runs but is not spoken to yet ([`Shared::begin`]). What it says unasked goes to
    /// `events`; `stop` is an event descriptor that wakes the watcher.
    pub(super) fn new(
        path: PathBuf,
        options: Options,
        (process, memory): (Process, Memory),
        events: Sender<Event>,
        stop: OwnedFd,
    ) -> Self {
        let process = Some(process);
        let state = State { memory, client: None, process, restarts: 0, reason: None, ending: false };
        Self { path, options, state: Mutex::new(state), changed: Condvar::new(), stop, events }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held is a bug, but the state is changed in single steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the packet process, or, if it does not live through that, the next one.
    pub(super) fn ask<T>(
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
    pub(super) fn tell<T>(
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

    /// What is remembered.
    pub(super) fn recall<T>(&self, look: impl FnOnce(&Memory) -> T) -> T {
        look(&self.lock().memory)
    }

    /// Gives away all that is remembered.
    pub(super) fn forget(&self) -> Memory {
        std::mem::take(&mut self.lock().memory)
    }

    pub(super) fn report(&self) -> Report {
        let state = self.lock();
        let pid = state.process.as_ref().filter(|_| state.client.is_some()).map(Process::id);
        Report { pid, restarts: state.restarts, reason: state.reason.clone() }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.lock().ending
    }

    /// Nothing is asked, told or started from here on. Gives the process, if there is one.
    pub(super) fn end(&self, farewell: impl FnOnce(Client)) -> Option<Process> {
        let process = self.lock().end(farewell);
        self.changed.notify_all();
        // A full counter is a watcher that is already being woken.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        process
    }

    /// From here on `client` is asked, and what it says unasked is passed on.
    pub(super) fn begin(&self, client: Client) -> Result<(), PacketError> {
        self.begin_in(&mut self.lock(), client)
    }

    fn begin_in(&self, state: &mut State, mut client: Client) -> Result<(), PacketError> {
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
            if let Err(error) = self.begin_in(&mut state, client) {
                process.kill();
                process.wait();
                return Err(error);
            }
            let (pid, ports) = (process.id(), state.memory.taps.len());
            state.process = Some(process);
            state.restarts += 1;
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

    fn end(&mut self, farewell: impl FnOnce(Client)) -> Option<Process> {
        self.ending = true;
        if let Some(client) = self.client.take() {
            farewell(client);
        }
        self.process.take()
    }
}
