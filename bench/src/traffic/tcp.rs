//! Bulk TCP.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::GRACE;
use super::protocol::Answer;
use crate::measure::cpu::Look;

/// Bytes per read and per write.
const BLOCK: usize = 128 * 1024;

/// How often the bytes that have come are looked at.
const TICK: Duration = Duration::from_millis(2);

/// How long a stream may stand still before its end looks at the clock.
const LOOK: Duration = Duration::from_millis(200);

/// A listening socket that is about to measure.
pub(super) struct Receiver {
    listener: TcpListener,
}

impl Receiver {
    /// Listens on a port of the kernel's choice.
    pub(super) fn listen(on: Ipv4Addr) -> io::Result<Self> {
        let listener = TcpListener::bind((on, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> io::Result<SocketAddrV4> {
        v4(self.listener.local_addr()?)
    }

    /// Accepts the streams, measures until `enough` bytes have come after the warm-up or `patience` is over, and closes
    /// them.
    pub(super) fn measure(
        self,
        streams: usize,
        warm_up: Duration,
        enough: u64,
        patience: Duration,
        daemons: &[u32],
    ) -> io::Result<Answer> {
        let accepted = self.accept(streams)?;
        let (bytes, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let look = || Look::now(daemons).map_err(|error| io::Error::other(error.to_string()));
        thread::scope(|scope| {
            for stream in accepted {
                scope.spawn(|| drain(stream, &bytes, &over));
            }
            let window = || {
                thread::sleep(warm_up);
                let (from, first, before) = (Instant::now(), bytes.load(Ordering::Relaxed), look()?);
                while bytes.load(Ordering::Relaxed) - first < enough && from.elapsed() < patience {
                    thread::sleep(TICK);
                }
                let (seconds, last) = (from.elapsed().as_secs_f64(), bytes.load(Ordering::Relaxed));
                Ok(Answer::Received { bytes: last - first, seconds, usage: look()?.since(before) })
            };
            let received = window();
            over.store(true, Ordering::Relaxed);
            received
        })
    }

    fn accept(&self, streams: usize) -> io::Result<Vec<TcpStream>> {
        let deadline = Instant::now() + GRACE;
        let mut accepted = Vec::with_capacity(streams);
        while accepted.len() < streams {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    stream.set_read_timeout(Some(LOOK))?;
                    set_socket_linger(&stream, Some(Duration::ZERO))?;
                    accepted.push(stream);
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if Instant::now() >= deadline => {
                    let came = accepted.len();
                    return Err(io::Error::other(format!("{came} of {streams} connections came")));
                }
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
        Ok(accepted)
    }
}

/// Reads until the stream ends, however that happens, or the measurement is over. Closing then resets the connection, which tells
/// the sender at once.
fn drain(mut stream: TcpStream, bytes: &AtomicU64, over: &AtomicBool) {
    let mut block = vec![0; BLOCK];
    while !over.load(Ordering::Relaxed) {
        match stream.read(&mut block) {
            Ok(0) => return,
            Ok(length) => {
                bytes.fetch_add(length as u64, Ordering::Relaxed);
            }
            Err(error) if is_timeout(&error) => {}
            Err(_) => return,
        }
    }
}

/// Sends on so many streams until the receiver closes them, or for `limit` and a little longer.
pub(super) fn send(to: SocketAddrV4, streams: usize, limit: Duration) -> io::Result<()> {
    let connected = (0..streams)
        .map(|_| {
            let stream = TcpStream::connect_timeout(&to.into(), GRACE)?;
            stream.set_write_timeout(Some(LOOK))?;
            Ok(stream)
        })
        .collect::<io::Result<Vec<_>>>()?;
    let deadline = Instant::now() + limit + Duration::from_secs(1);
    thread::scope(|scope| {
        for mut stream in connected {
            scope.spawn(move || {
                let block = vec![0x5a; BLOCK];
                while Instant::now() < deadline {
                    match stream.write(&block) {
                        Err(error) if !is_timeout(&error) => return,
                        _ => {}
                    }
                }
            });
        }
    });
    Ok(())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The IPv4 form of an address; the lab uses no other.
pub(super) fn v4(address: SocketAddr) -> io::Result<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => Err(io::Error::other("an IPv6 address where IPv4 was asked for")),
    }
}
