//! A bad wire between two hosts.
//!
//! ```text
//!  host 0 === p0 ... relay ... p1 === host 1
//! ```
//!
//! A thread reads frames at one end of the gap of a [severed](Underlay::severed) underlay and writes them at the other.
//! What it may lose, double and delay is TCP and UDP inside the tunnel; everything else passes, ARP and neighbour
//! discovery above all, so that a test waits for no retry of theirs. It keeps the order in which numbered datagrams
//! came and went, so that a test can tell what the switches did from what the wire did.
//!
//! The frames are those of a copper wire, and the relay says when one is not: too long, or with a wrong checksum.

use crate::frame::Tunnelled;
use crate::impairment::{Fates, Impairment, Lane};
use crate::raw::RawSocket;
use crate::underlay::Underlay;
use crate::wait::PATIENCE;
use etherparse::{SlicedPacket, TransportSlice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A frame of the wire: an Ethernet header and the MTU.
const LONGEST: usize = 1514;

/// After this long without a further frame, what is held back leaves.
const QUIET: Duration = Duration::from_millis(5);

/// Frames carried one way before the other way has its turn.
const BATCH: usize = 32;

/// Faults remembered; the first few say enough.
const FAULTS_MAX: usize = 8;

/// What went one way since the impairment was last set.
#[derive(Clone, Debug, Default)]
pub struct Crossing {
    /// What became of the TCP and UDP inside the tunnel.
    pub fates: Fates,
    /// The first eight bytes of each inner UDP datagram, in the order in which they came.
    pub came: Vec<u64>,
    /// The same of those that were passed on, in the order in which they were.
    pub went: Vec<u64>,
    /// What should not be on a wire, and what the far end did not take.
    pub faults: Vec<String>,
}

/// The wire. Dropping it cuts it.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    ways: Mutex<[Way; 2]>,
    /// A frame was carried.
    moved: Condvar,
    stop: AtomicBool,
}

#[derive(Debug)]
struct Way {
    lane: Lane,
    crossing: Crossing,
    last: Instant,
}

/// What a frame carries, as far as a bad wire cares.
enum Freight {
    /// UDP inside the tunnel: the first eight bytes of its payload.
    Datagram(u64),
    /// TCP inside the tunnel.
    Stream,
    /// Anything else, in the tunnel or beside it.
    Spared,
}

impl Relay {
    /// Joins two severed hosts by a good wire.
    ///
    /// # Panics
    /// When the underlay has no gap.
    #[track_caller]
    pub fn start(underlay: &Underlay) -> Self {
        let gap = underlay.middle.as_ref().expect("a severed underlay");
        let ends = ["p0", "p1"].map(|end| RawSocket::open(gap, end));
        let ways = Mutex::new([0, 1].map(|way| Way::new(Impairment::NONE, way)));
        let shared = Arc::new(Shared { ways, moved: Condvar::new(), stop: AtomicBool::new(false) });
        let for_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || for_thread.carry(&ends));
        Relay { shared, thread: Some(thread) }
    }

    /// From now on the wire is this bad, and all records begin anew.
    pub fn impair(&self, impairment: Impairment) {
        *self.shared.ways() = [0, 1].map(|way| Way::new(impairment, way));
    }

    /// From now on the wire is good; the records go on.
    pub fn heal(&self) {
        self.shared.ways().iter_mut().for_each(|way| way.lane.impairment = Impairment::NONE);
    }

    /// What has gone since the impairment was set from the host with this index to the other.
    pub fn crossing(&self, from: usize) -> Crossing {
        self.shared.ways()[from].record()
    }

    /// Waits until so many numbered datagrams have come from the host with this index. False when they do not come.
    pub fn await_datagrams(&self, from: usize, count: usize) -> bool {
        self.await_way(from, |way| way.crossing.came.len() >= count)
    }

    /// Waits until nothing of what came from the host with this index is held back. False when it does not end.
    pub fn await_release(&self, from: usize) -> bool {
        self.await_way(from, |way| way.lane.held() == 0)
    }

    fn await_way(&self, from: usize, mut there: impl FnMut(&Way) -> bool) -> bool {
        let ways = self.shared.ways();
        let waited = self.shared.moved.wait_timeout_while(ways, PATIENCE, |ways| !there(&ways[from]));
        !waited.expect("the relay does not panic").1.timed_out()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn ways(&self) -> MutexGuard<'_, [Way; 2]> {
        self.ways.lock().expect("the relay does not panic")
    }

    fn carry(&self, ends: &[RawSocket; 2]) {
        stay_on_one_cpu();
        let mut buffer = vec![0; 2 * LONGEST];
        let timeout = PollTimeout::try_from(QUIET).expect("a short time");
        while !self.stop.load(Ordering::Relaxed) {
            let mut ready = ends.each_ref().map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
            // An interrupted wait is one that ends early.
            let _ = poll(&mut ready, timeout);
            for from in [0, 1] {
                for _ in 0..BATCH {
                    let Some(length) = ends[from].next_into(&mut buffer) else { break };
                    self.through(from, &ends[1 - from], |way, out| way.take(&buffer[..length], out));
                }
                self.through(from, &ends[1 - from], Way::release_when_quiet);
            }
        }
    }

    /// Has a way put out what is to leave, and sends it.
    fn through(&self, from: usize, far: &RawSocket, step: impl FnOnce(&mut Way, &mut Vec<Vec<u8>>)) {
        let mut out = Vec::new();
        let mut ways = self.ways();
        let way = &mut ways[from];
        step(way, &mut out);
        for frame in out {
            if let Freight::Datagram(head) = Freight::of(&frame) {
                way.crossing.went.push(head);
            }
            if let Err(error) = far.try_send(&frame) {
                way.fault(format!("{} bytes were not taken: {error}", frame.len()));
            }
        }
        drop(ways);
        self.moved.notify_all();
    }
}

impl Way {
    fn new(impairment: Impairment, way: u64) -> Self {
        let lane = Lane::new(impairment, 11 + way);
        Way { lane, crossing: Crossing::default(), last: Instant::now() }
    }

    fn take(&mut self, frame: &[u8], out: &mut Vec<Vec<u8>>) {
        self.last = Instant::now();
        self.inspect(frame);
        match Freight::of(frame) {
            Freight::Spared => return out.push(frame.to_vec()),
            Freight::Datagram(head) => self.crossing.came.push(head),
            Freight::Stream => {}
        }
        self.lane.take(frame.to_vec(), out);
    }

    fn release_when_quiet(&mut self, out: &mut Vec<Vec<u8>>) {
        if self.lane.held() > 0 && self.last.elapsed() >= QUIET {
            self.lane.release(out);
        }
    }

    fn inspect(&mut self, frame: &[u8]) {
        if frame.len() > LONGEST {
            self.fault(format!("a frame of {} bytes", frame.len()));
        } else if let Some(datagram) = Tunnelled::parse(frame)
            && datagram.checksum != 0
            && !datagram.checksum_is_right
        {
            self.fault(format!("a wrong outer checksum from {:?}", datagram.ips.0));
        }
    }

    fn fault(&mut self, fault: String) {
        if self.crossing.faults.len() < FAULTS_MAX {
            self.crossing.faults.push(fault);
        }
    }

    fn record(&self) -> Crossing {
        Crossing { fates: self.lane.fates, ..self.crossing.clone() }
    }
}

impl Freight {
    fn of(frame: &[u8]) -> Self {
        let Some(datagram) = Tunnelled::parse(frame) else { return Freight::Spared };
        let Ok(inner) = SlicedPacket::from_ethernet(&datagram.inner) else { return Freight::Spared };
        match inner.transport {
            Some(TransportSlice::Tcp(_)) => Freight::Stream,
            Some(TransportSlice::Udp(udp)) => match udp.payload().first_chunk() {
                Some(head) => Freight::Datagram(u64::from_be_bytes(*head)),
                None => Freight::Spared,
            },
            _ => Freight::Spared,
        }
    }
}

/// Frames that one thread sends from two CPUs can overtake each other in the kernel's queues, one for each CPU.
fn stay_on_one_cpu() {
    let this_thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(this_thread).expect("our own thread");
    let first = (0..CpuSet::count()).find(|&cpu| allowed.is_set(cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(first.expect("we are running on one")).expect("it is in the set");
    sched_setaffinity(this_thread, &one).expect("our own thread");
}
