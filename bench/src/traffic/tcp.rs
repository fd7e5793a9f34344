//! Bulk TCP.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::GRACE;
use super::protocol::{Answer, End};
use crate::measure::cpu::Look;

/// Bytes per read and per write.
const BLOCK: usize = 128 * 1024;

/// How often the bytes that have come are looked at.
const TICK: Duration = Duration::from_millis(2);

/// How long a stream may stand still before its end looks at the clock.
const LOOK: Duration = Duration::from_millis(200);

/// Makes the connections of one end; `listening` is told the address of an end that listens, as soon as it does.
pub(super) fn meet(
    end: End,
    streams: usize,
    listening: impl FnOnce(SocketAddrV4) -> io::Result<()>,
) -> io::Result<Vec<TcpStream>> {
    match end {
        End::Connect(to) => (0..streams).map(|_| TcpStream::connect_timeout(&to.into(), GRACE)).collect(),
        End::Listen(on) => {
            let listener = TcpListener::bind(on)?;
            listener.set_nonblocking(true)?;
            listening(v4(listener.local_addr()?)?)?;
            accept(&listener, streams)
        }
    }
}

fn accept(listener: &TcpListener, streams: usize) -> io::Result<Vec<TcpStream>> {
    let deadline = Instant::now() + GRACE;
    let mut accepted = Vec::with_capacity(streams);
    while accepted.len() < streams {
        match listener.accept() {
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

/// Measures until `enough` bytes have come after the warm-up or `patience` is over, and closes the streams.
pub(super) fn receive(
    streams: Vec<TcpStream>,
    warm_up: Duration,
    enough: u64,
    patience: Duration,
    daemons: &[u32],
) -> io::Result<Answer> {
    for stream in &streams {
        stream.set_read_timeout(Some(LOOK))?;
        set_socket_linger(stream, Some(Duration::ZERO))?;
    }
    let (bytes, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let look = || Look::now(daemons).map_err(|error| io::Error::other(error.to_string()));
    thread::scope(|scope| {
        for stream in streams {
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

/// Sends on all streams until the receiver closes them, or for `limit` and a little longer.
pub(super) fn send(streams: Vec<TcpStream>, limit: Duration) -> io::Result<()> {
    for stream in &streams {
        stream.set_write_timeout(Some(LOOK))?;
    }
    let deadline = Instant::now() + limit + Duration::from_secs(1);
    thread::scope(|scope| {
        for mut stream in streams {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::mpsc;

    const ENOUGH: u64 = 1_000_000;
    const PATIENCE: Duration = Duration::from_secs(5);

    /// One transfer over loopback by whichever end listens; how many bytes were counted.
    fn transfer(receiver_listens: bool) -> u64 {
        let (tell, told) = mpsc::channel();
        let listen = move |streams| {
            let on = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
            meet(End::Listen(on), streams, |address| tell.send(address).map_err(io::Error::other))
        };
        let connect = move |streams| meet(End::Connect(told.recv().unwrap()), streams, |_| Ok(()));
        let receive = |streams| receive(streams, Duration::ZERO, ENOUGH, PATIENCE, &[]).unwrap();
        let answer = thread::scope(|scope| {
            if receiver_listens {
                scope.spawn(move || send(connect(2).unwrap(), PATIENCE).unwrap());
                receive(listen(2).unwrap())
            } else {
                scope.spawn(move || send(listen(2).unwrap(), PATIENCE).unwrap());
                receive(connect(2).unwrap())
            }
        });
        let Answer::Received { bytes, .. } = answer else { panic!("{answer:?}") };
        bytes
    }

    #[test]
    fn either_end_may_listen() {
        assert!(transfer(true) >= ENOUGH);
        assert!(transfer(false) >= ENOUGH);
    }
}
