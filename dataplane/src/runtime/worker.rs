//! One packet thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;

use super::engine::{Engine, Progress, Round};
use super::pace::{self, Pace};
use super::seat::Seat;
use super::{Event, Shared};
use crate::gateway::route::LinkId;
use crate::io::{FrameIo, PacketIo, UnderlayRx};
use crate::tables::PortId;
use crate::time::Moment;

/// Descriptors whose readiness one wait reports.
const EVENTS: usize = 64;
/// How often aged FDB entries are swept, by the first worker.
const SWEEP: Duration = Duration::from_secs(1);
/// Entries one sweep handles per segment, which bounds how long the table is locked.
const SWEEP_BUDGET: usize = 4_096;

const WAKE: u64 = u64::MAX;
const UNDERLAY: u64 = u64::MAX - 1;
/// Added to the id of a link; ports have their ids.
const LINK: u64 = 1 << 32;

/// What control asks of a worker.
pub(super) enum Command {
    /// Serve a port.
    Attach(PortId, Box<dyn FrameIo>),
    /// Let go of a port, and say so by dropping the sender.
    Detach(PortId, Sender<()>),
    /// Use a link of the host; one worker of all reads from it.
    AttachLink(LinkId, Box<dyn FrameIo>, Box<dyn PacketIo>, Reads),
    /// Let go of a link.
    DetachLink(LinkId),
    /// End.
    Stop,
}

/// Whether a worker reads from a link that it writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    Yes,
    No,
}

/// What control keeps of a worker.
#[derive(Debug)]
pub(super) struct Waker(Arc<OwnedFd>);

impl Waker {
    pub(super) fn wake(&self) {
        // A full counter is a worker that is already being woken.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

/// A worker before and while it runs.
pub(super) struct Worker {
    index: usize,
    shared: Arc<Shared>,
    engine: Engine,
    rx: Option<Box<dyn UnderlayRx>>,
    commands: Receiver<Command>,
    events: Sender<Event>,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    next_sweep: Moment,
    pace: Pace,
    seat: Seat,
}

impl Worker {
    pub(super) fn new(
        index: usize,
        shared: Arc<Shared>,
        engine: Engine,
        rx: Option<Box<dyn UnderlayRx>>,
        commands: Receiver<Command>,
        events: Sender<Event>,
    ) -> io::Result<(Self, Waker)> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        watch(&epoll, wake.as_fd(), WAKE)?;
        if let Some(fd) = rx.as_ref().and_then(|rx| rx.descriptor()) {
            watch(&epoll, fd, UNDERLAY)?;
        }
        let waker = Waker(Arc::clone(&wake));
        let next_sweep = shared.now();
        let worker = Self {
            index,
            shared,
            engine,
            rx,
            commands,
            events,
            epoll,
            wake,
            next_sweep,
            pace: Pace::default(),
            seat: Seat::default(),
        };
        Ok((worker, waker))
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        let mut ready = Vec::with_capacity(EVENTS);
        loop {
            self.wait(&mut ready);
            if ready.contains(&WAKE) {
                self.clear_wake();
            }
            if !self.obey() {
                return;
            }
            self.round(&ready);
            // A round that brought nothing says nothing.
            let received = self.engine.take_received();
            if received > 0 {
                self.pace.round(received);
                self.seat.after(pace::is_heavy(received), self.shared.now());
            }
        }
    }

    /// Waits for events, awake for a while if that has been worth it.
    fn wait(&mut self, ready: &mut Vec<u64>) {
        if self.pace.looks() {
            let found = self.look(ready);
            self.pace.looked(found);
            if found {
                return;
            }
        }
        let patience = (self.index == 0).then(|| self.next_sweep.since(self.shared.now()));
        self.collect(ready, patience);
    }

    /// Asks for events until there are some or the window has passed.
    fn look(&self, ready: &mut Vec<u64>) -> bool {
        let start = self.shared.now();
        loop {
            self.collect(ready, Some(Duration::ZERO));
            if !ready.is_empty() || self.shared.now().since(start) > pace::WINDOW {
                return !ready.is_empty();
            }
            std::thread::yield_now();
        }
    }

    /// What is ready, after at most `patience`; `None`: as long as it takes.
    fn collect(&self, ready: &mut Vec<u64>, patience: Option<Duration>) {
        let patience = patience.and_then(|p| Timespec::try_from(p).ok());
        let mut events =
            [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; EVENTS];
        let count = match epoll::wait(&self.epoll, &mut events[..], patience.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(error) => {
                tracing::error!(%error, worker = self.index, "epoll failed");
                0
            }
        };
        ready.clear();
        ready.extend(events[..count].iter().map(|e| e.data.u64()));
    }

    /// One batch from everything that is ready, or until control asks for something: who floods a thousand ports must not
    /// keep it waiting. What is left out is still ready then.
    fn round(&mut self, ready: &[u64]) {
        let shared = Arc::clone(&self.shared);
        let tables = shared.tables.load();
        let captures = shared.captures.load();
        let round = Round { tables: &tables, captures: &captures, now: shared.now() };
        for &token in ready {
            if !self.commands.is_empty() {
                break;
            }
            match token {
                WAKE => {}
                UNDERLAY => {
                    if let Some(rx) = &mut self.rx {
                        self.engine.underlay_round(round, &mut **rx);
                    }
                }
                link if link >= LINK => {
                    let id = LinkId(link as u32);
                    if self.engine.link_round(round, id) == Progress::Gone {
                        self.unwatch(self.engine.link(id));
                    }
                }
                port => {
                    let id = PortId(port as u32);
                    let commands = &self.commands;
                    if self.engine.port_round(round, id, || !commands.is_empty()) == Progress::Gone {
                        self.release(id);
                    }
                }
            }
        }
        self.engine.resume(round);
        if self.index == 0 && round.now >= self.next_sweep {
            for segment in tables.segments() {
                segment.expire(round.now, SWEEP_BUDGET);
            }
            self.engine.sweep(round, SWEEP_BUDGET);
            self.next_sweep = round.now.after(SWEEP);
        }
        self.engine.flush(&tables);
        shared.doors.after_round(&tables, self.index, &self.events);
    }

    /// From here on it is woken again: before what it was woken for is done, so that nothing is overlooked.
    fn clear_wake(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&*self.wake, &mut count);
    }

    /// Does what control asks; false: stop. Cheap when it asks for nothing, so it need not wait for its turn among
    /// thousands of ports.
    fn obey(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Stop => return false,
                Command::Attach(id, io) => self.attach(id, io),
                Command::AttachLink(id, io, host, reads) => self.attach_link(id, io, host, reads),
                Command::DetachLink(id) => {
                    self.unwatch(self.engine.link(id));
                    self.engine.detach_link(id);
                }
                Command::Detach(id, done) => {
                    self.unwatch(self.engine.port(id));
                    drop(self.engine.detach(id));
                    drop(done);
                }
            }
        }
        true
    }

    fn attach(&mut self, id: PortId, io: Box<dyn FrameIo>) {
        if let Some(Err(error)) = io.descriptor().map(|fd| watch(&self.epoll, fd, u64::from(id.0))) {
            tracing::error!(%error, port = id.0, "cannot watch a port");
            let _ = self.events.send(Event::PortGone(id));
            return;
        }
        self.engine.attach(id, io);
    }

    fn attach_link(&mut self, id: LinkId, io: Box<dyn FrameIo>, host: Box<dyn PacketIo>, reads: Reads) {
        self.unwatch(self.engine.link(id));
        let fd = io.descriptor().filter(|_| reads == Reads::Yes);
        if let Some(Err(error)) = fd.map(|fd| watch(&self.epoll, fd, LINK | u64::from(id.0))) {
            tracing::error!(%error, link = id.0, "cannot watch a link: nothing comes back through it");
        }
        self.engine.attach_link(id, io, host);
    }

    /// Stops watching a port whose device has gone, and tells control, which will detach it.
    fn release(&mut self, id: PortId) {
        self.unwatch(self.engine.port(id));
        let _ = self.events.send(Event::PortGone(id));
    }

    fn unwatch(&self, io: Option<&dyn FrameIo>) {
        if let Some(fd) = io.and_then(FrameIo::descriptor) {
            // Already unwatched if it was released before.
            let _ = epoll::delete(&self.epoll, fd);
        }
    }
}

fn watch(epoll: &OwnedFd, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
    Ok(epoll::add(epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?)
}
