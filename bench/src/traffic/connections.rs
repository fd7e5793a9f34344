//! Short TCP connections: connect, 64 bytes there and back, close.
//!
//! The server closes first, so that the port of the one who connects is free at once and the one that waits (TIME_WAIT)
//! is the server's. Nothing is reset: what is between them sees two ordinary ends.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::protocol::Answer;
use super::tcp::v4;
use crate::measure::cpu::Look;

/// Bytes each way.
const PAYLOAD: usize = 64;

/// How many connections the server has in hand at once.
const SERVERS: usize = 16;

/// After this a connection counts as failed: longer than a lost SYN's first repetition (1 s).
const FAILED: Duration = Duration::from_secs(2);

/// How long who failed waits, so that a refusal does not become a busy loop.
const PAUSE: Duration = Duration::from_millis(1);

/// Serves, on threads that live as long as the agent.
pub(super) fn serve(on: Ipv4Addr) -> io::Result<SocketAddrV4> {
    let listener = Arc::new(TcpListener::bind((on, 0))?);
    for _ in 0..SERVERS {
        let listener = Arc::clone(&listener);
        let work = move || {
            loop {
                // What goes wrong shows at the other end.
                let _ = listener.accept().and_then(|(stream, _)| answer(stream));
            }
        };
        thread::Builder::new().name("server".into()).spawn(work)?;
    }
    v4(listener.local_addr()?)
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; PAYLOAD];
    stream.set_read_timeout(Some(FAILED))?;
    stream.read_exact(&mut buffer)?;
    stream.write_all(&buffer)
}

/// What has been done so far.
#[derive(Default)]
struct Tally {
    made: AtomicU64,
    failed: AtomicU64,
    over: AtomicBool,
    /// Why the last one failed.
    why: Mutex<String>,
}

impl Tally {
    fn counts(&self) -> (u64, u64) {
        (self.made.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// One connection after the other, and at least one.
    fn work(&self, to: SocketAddrV4) {
        loop {
            match exchange(to) {
                Ok(()) => {
                    self.made.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    *self.why.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
                    thread::sleep(PAUSE);
                }
            }
            if self.over.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// Makes connections, `concurrent` at a time, and counts those that end between `warm_up` and `measure` later.
///
/// # Errors
/// When not one is made.
pub(super) fn connect(
    to: SocketAddrV4,
    concurrent: usize,
    warm_up: Duration,
    measure: Duration,
    daemons: &[u32],
) -> io::Result<Answer> {
    let tally = Tally::default();
    let look = || Look::now(daemons).map_err(|error| io::Error::other(error.to_string()));
    let window = || {
        thread::sleep(warm_up);
        let (from, first, before) = (Instant::now(), tally.counts(), look()?);
        thread::sleep(measure);
        let (seconds, last) = (from.elapsed().as_secs_f64(), tally.counts());
        let (made, failed) = (last.0 - first.0, last.1 - first.1);
        Ok(Answer::Connected { made, failed, seconds, usage: look()?.since(before) })
    };
    let answer = thread::scope(|scope| {
        for _ in 0..concurrent {
            scope.spawn(|| tally.work(to));
        }
        let answer = window();
        tally.over.store(true, Ordering::Relaxed);
        answer
    });
    if tally.counts().0 == 0 {
        let why = tally.why.lock().unwrap_or_else(PoisonError::into_inner);
        return Err(io::Error::other(format!("no connection to {to}: {why}")));
    }
    answer
}

fn exchange(to: SocketAddrV4) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to.into(), FAILED)?;
    stream.set_read_timeout(Some(FAILED))?;
    stream.write_all(&[0x5a; PAYLOAD])?;
    let mut answer = Vec::with_capacity(PAYLOAD);
    stream.read_to_end(&mut answer)?;
    if answer.len() == PAYLOAD { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(50);

    #[test]
    fn connections_over_loopback_do_not_fail() {
        let address = serve(Ipv4Addr::LOCALHOST).unwrap();
        let answer = connect(address, 4, Duration::ZERO, WINDOW, &[]).unwrap();
        // On a busy machine none may end within the window, but one was made, or this were an error.
        let Answer::Connected { failed, seconds, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(failed, 0);
        assert!(seconds >= WINDOW.as_secs_f64(), "{seconds}");
    }

    #[test]
    fn nobody_there_is_an_error_that_says_why() {
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = v4(closed.local_addr().unwrap()).unwrap();
        drop(closed);
        let error = connect(address, 2, Duration::ZERO, WINDOW, &[]).unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
    }

    #[test]
    fn an_answer_that_is_cut_short_is_a_failure() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = v4(listener.local_addr().unwrap()).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; PAYLOAD];
            stream.read_exact(&mut buffer).unwrap();
            stream.write_all(&buffer[1..]).unwrap();
        });
        assert_eq!(exchange(address).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        server.join().unwrap();
    }
}
