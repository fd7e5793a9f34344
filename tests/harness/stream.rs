//! A TCP stream that is hashed at both ends. No part of it is like another, so what is lost, doubled or displaced
//! changes the hash.

use crate::random::Random;
use crate::traffic::End;
use crate::wait;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// How long a stream may stand still: longer than the kernel's repeated retransmission of the same segment takes.
const STALL: Duration = Duration::from_secs(30);

/// Bytes hashed at once, the same at both ends.
const BLOCK: usize = 64 * 1024;

/// Carries `blocks` times 64 KiB over one connection and compares the hashes of what was sent and what arrived.
///
/// # Panics
/// When the connection breaks or stands still, or the hashes differ.
#[track_caller]
pub fn carry(from: End<'_>, to: End<'_>, blocks: u64) {
    let listener = to.ns.enter(|| TcpListener::bind((to.ip, 0)).expect("the address is there"));
    let address = listener.local_addr().expect("bound");
    let (sent, arrived) = thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&listener, blocks));
        let sent = from.ns.enter(|| send(address, blocks));
        (sent, receiver.join().expect("the receiver does not panic"))
    });
    let told = |result: io::Result<u64>, end: &str| {
        result.unwrap_or_else(|error| panic!("{} -> {}: the {end}: {error}", from.ip, to.ip))
    };
    let (arrived, sent) = (told(arrived, "receiver"), told(sent, "sender"));
    assert_eq!(arrived, sent, "{} -> {}: the hash of {blocks} blocks", from.ip, to.ip);
}

fn send(to: SocketAddr, blocks: u64) -> io::Result<u64> {
    let mut stream = TcpStream::connect_timeout(&to, STALL)?;
    stream.set_write_timeout(Some(STALL))?;
    stream.set_read_timeout(Some(STALL))?;
    let mut hasher = DefaultHasher::new();
    for number in 0..blocks {
        let block = Random::new(number).bytes(BLOCK);
        hasher.write(&block);
        stream.write_all(&block)?;
    }
    stream.shutdown(Shutdown::Write)?;
    // The receiver closes when it has seen the end, so that nothing is cut off at the close.
    stream.read_to_end(&mut Vec::new())?;
    Ok(hasher.finish())
}

fn receive(listener: &TcpListener, blocks: u64) -> io::Result<u64> {
    listener.set_nonblocking(true)?;
    let accepted = wait::within(STALL, || listener.accept().ok());
    let (mut stream, _) = accepted.ok_or(io::ErrorKind::TimedOut)?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(STALL))?;
    let mut hasher = DefaultHasher::new();
    let mut block = vec![0; BLOCK];
    for _ in 0..blocks {
        stream.read_exact(&mut block)?;
        hasher.write(&block);
    }
    match stream.read(&mut block)? {
        0 => Ok(hasher.finish()),
        more => Err(io::Error::other(format!("{more} bytes more than were sent"))),
    }
}
