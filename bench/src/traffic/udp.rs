//! Paced datagrams and their counting.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::num::NonZeroU64;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::RcvBufForce;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, setsockopt};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use super::protocol::Answer;
use super::tcp::v4;

/// The largest burst, in datagrams.
pub(super) const BATCH: usize = 32;

/// The receiver's socket buffer in bytes: some ten thousand small datagrams, so that a receiver that sleeps for a moment
/// is not counted against the network.
const BUFFER: usize = 4 << 20;

/// The longest a paced sender sleeps; short, because what has become due meanwhile leaves in one burst.
const NAP: Duration = Duration::from_micros(100);

/// Silence after which no more is expected.
const SILENCE: Duration = Duration::from_millis(60);

/// Sends datagrams of `payload` bytes for `time`, at `rate` per second or as fast as the kernel takes them.
pub(super) fn send(
    to: SocketAddrV4,
    payload: usize,
    rate: Option<f64>,
    time: Duration,
    mark: u64,
) -> io::Result<Answer> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(to)?;
    // The default slack of 50 us would turn every nap into a longer one.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000))?;
    let mut bytes = vec![0; payload.max(8)];
    bytes[..8].copy_from_slice(&mark.to_le_bytes());
    let one = [IoSlice::new(&bytes)];
    let mut controls: [SendAncillaryBuffer<'_, '_, '_>; BATCH] = Default::default();
    let mut batch: Vec<_> = controls.iter_mut().map(|control| MMsgHdr::new(&one, control)).collect();

    let started = Instant::now();
    let mut sent = 0;
    // What a paced sender could not send stays unsent: `taken` counts turns, `sent` datagrams.
    let mut taken = 0;
    loop {
        let elapsed = started.elapsed();
        if elapsed >= time {
            return Ok(Answer::Sent { sent, seconds: elapsed.as_secs_f64() });
        }
        let due = rate.map_or(u64::MAX, |rate| (elapsed.as_secs_f64() * rate) as u64).saturating_sub(taken);
        if due == 0 {
            thread::sleep(NAP);
            continue;
        }
        let size = due.min(BATCH as u64) as usize;
        match sendmmsg(&socket, &mut batch[..size], SendFlags::empty()) {
            Ok(count) => {
                sent += count as u64;
                taken += count as u64;
            }
            // The queue is full, or a port that closed said so: those are losses of this moment, not of the trial.
            Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::AGAIN | rustix::io::Errno::CONNREFUSED) => {
                taken += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A thread that counts what arrives, mark by mark.
pub(super) struct Counter {
    address: SocketAddrV4,
    tally: Arc<Mutex<Tally>>,
}

/// What arrived with the newest mark.
#[derive(Clone, Copy, Debug)]
struct Tally {
    mark: u64,
    received: u64,
    first: Instant,
    last: Instant,
}

impl Tally {
    fn new(mark: u64, now: Instant) -> Self {
        Self { mark, received: 0, first: now, last: now }
    }

    /// Marks only grow; what carries an older one is late and does not count.
    fn add(&mut self, mark: u64, now: Instant) {
        if mark > self.mark {
            *self = Self::new(mark, now);
        }
        if mark == self.mark {
            self.received += 1;
            self.last = now;
        }
    }
}

impl Counter {
    /// Starts one, on a port of the kernel's choice. Its thread lives as long as the agent.
    pub(super) fn start(on: Ipv4Addr) -> io::Result<Self> {
        let socket = UdpSocket::bind((on, 0))?;
        setsockopt(&socket, RcvBufForce, &BUFFER)?;
        let address = v4(socket.local_addr()?)?;
        let tally = Arc::new(Mutex::new(Tally::new(0, Instant::now())));
        let shared = Arc::clone(&tally);
        thread::Builder::new().name("counter".into()).spawn(move || receive(&socket, &shared))?;
        Ok(Self { address, tally })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Waits until all of `sent` have come, or nothing has for a while, and says how many.
    pub(super) fn count(&self, mark: u64, sent: u64) -> Answer {
        let asked = Instant::now();
        loop {
            let tally = *self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            let (received, last) = if tally.mark == mark { (tally.received, tally.last) } else { (0, asked) };
            if received >= sent || last.max(asked).elapsed() >= SILENCE {
                let seconds = last.saturating_duration_since(tally.first).as_secs_f64();
                return Answer::Counted { received, seconds };
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn receive(socket: &UdpSocket, tally: &Mutex<Tally>) {
    let mut buffers = [[0; 2048]; BATCH];
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    loop {
        let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let flags = MsgFlags::MSG_WAITFORONE;
        let count = match recvmmsg(socket.as_raw_fd(), &mut headers, &mut slices, flags, None) {
            Ok(results) => results.count(),
            Err(Errno::EINTR | Errno::ECONNREFUSED) => continue,
            // The socket is ours and open: whatever this is, counting has ended, and the trial shows nothing received.
            Err(_) => return,
        };
        let now = Instant::now();
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        for buffer in &buffers[..count] {
            let [a, b, c, d, e, f, g, h, ..] = *buffer;
            tally.add(u64::from_le_bytes([a, b, c, d, e, f, g, h]), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latecomers_do_not_count() {
        let start = Instant::now();
        let mut tally = Tally::new(0, start);
        for mark in [1, 1, 2, 1, 2, 2] {
            tally.add(mark, start);
        }
        assert_eq!((tally.mark, tally.received), (2, 3));
    }

    #[test]
    fn what_is_sent_at_a_low_rate_over_loopback_is_counted() {
        let counter = Counter::start(Ipv4Addr::LOCALHOST).unwrap();
        let time = Duration::from_millis(100);
        let Answer::Sent { sent, .. } = send(counter.address(), 64, Some(5_000.0), time, 7).unwrap() else {
            panic!("a sender says what it sent");
        };
        let Answer::Counted { received, .. } = counter.count(7, sent) else { panic!("a counter counts") };
        assert!(sent > 0 && sent <= 500, "{sent}");
        assert_eq!(received, sent);
    }
}
