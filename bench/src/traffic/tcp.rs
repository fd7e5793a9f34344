//! Bulk TCP.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::GRACE;
use super::protocol::Answer;
use crate::measure::cpu::Look;

/// Bytes per read and per write.
const BLOCK: usize = 128 * 1024;

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

    /// Accepts the streams, counts their bytes for the window asked for, and closes them.
    pub(super) fn measure(
        self,
        streams: usize,
        warm_up: Duration,
        window: Duration,
        daemons: &[u32],
    ) -> io::Result<Answer> {
        let accepted = self.accept(streams)?;
        let bytes = Arc::new(AtomicU64::new(0));
        let readers: Vec<_> = accepted
            .iter()
            .map(|stream| {
                let (stream, bytes) = (stream.try_clone()?, Arc::clone(&bytes));
                Ok(thread::spawn(move || drain(stream, &bytes)))
            })
            .collect::<io::Result<_>>()?;
        let look = || Look::now(daemons).map_err(|error| io::Error::other(error.to_string()));
        thread::sleep(warm_up);
        let (from, first, before) = (Instant::now(), bytes.load(Ordering::Relaxed), look()?);
        thread::sleep(window);
        let (seconds, last, after) = (from.elapsed().as_secs_f64(), bytes.load(Ordering::Relaxed), look()?);
        for stream in &accepted {
            // It may have ended by itself, which the count of bytes shows.
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(accepted);
        for reader in readers {
            reader.join().map_err(|_| io::Error::other("a reader panicked"))?;
        }
        Ok(Answer::Received { bytes: last - first, seconds, usage: after.since(before) })
    }

    fn accept(&self, streams: usize) -> io::Result<Vec<TcpStream>> {
        let deadline = Instant::now() + GRACE;
        let mut accepted = Vec::with_capacity(streams);
        while accepted.len() < streams {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
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

/// Reads until the stream ends, however that happens.
fn drain(mut stream: TcpStream, bytes: &AtomicU64) {
    let mut block = vec![0; BLOCK];
    while let Ok(length @ 1..) = stream.read(&mut block) {
        bytes.fetch_add(length as u64, Ordering::Relaxed);
    }
}

/// Sends on so many streams until the receiver closes them, or `limit` has passed.
pub(super) fn send(to: SocketAddrV4, streams: usize, limit: Duration) -> io::Result<()> {
    let deadline = Instant::now() + limit + GRACE;
    let connected = (0..streams)
        .map(|_| {
            let stream = TcpStream::connect_timeout(&to.into(), GRACE)?;
            stream.set_write_timeout(Some(limit + GRACE))?;
            Ok(stream)
        })
        .collect::<io::Result<Vec<_>>>()?;
    thread::scope(|scope| {
        for mut stream in connected {
            scope.spawn(move || {
                let block = vec![0x5a; BLOCK];
                while Instant::now() < deadline && stream.write_all(&block).is_ok() {}
            });
        }
    });
    Ok(())
}

/// The IPv4 form of an address; the lab uses no other.
pub(super) fn v4(address: SocketAddr) -> io::Result<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => Err(io::Error::other("an IPv6 address where IPv4 was asked for")),
    }
}
