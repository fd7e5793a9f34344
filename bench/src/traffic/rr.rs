//! One datagram there and back at a time.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use super::protocol::Answer;
use super::tcp::v4;
use crate::measure::stats::percentile;

/// UDP payload in bytes.
const PAYLOAD: usize = 64;

/// After this a request counts as lost.
const LOST: Duration = Duration::from_millis(200);

/// Sends back what comes, on a thread that lives as long as the agent.
pub(super) fn echo(on: Ipv4Addr) -> io::Result<SocketAddrV4> {
    let socket = UdpSocket::bind((on, 0))?;
    let address = v4(socket.local_addr()?)?;
    let answer = move || {
        let mut buffer = [0; 2048];
        loop {
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                // A lost answer shows at the other end.
                let _ = socket.send_to(&buffer[..length], from);
            }
        }
    };
    thread::Builder::new().name("echo".into()).spawn(answer)?;
    Ok(address)
}

/// Asks for `warm_up` and then `measure` long, and says how long the answers took.
pub(super) fn request(to: SocketAddrV4, warm_up: Duration, measure: Duration) -> io::Result<Answer> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(LOST))?;
    let (started, mut lost, mut number) = (Instant::now(), 0, 0_u64);
    let mut nanoseconds = Vec::new();
    while started.elapsed() < warm_up + measure {
        number += 1;
        let asked = Instant::now();
        let answered = exchange(&socket, number)?;
        match answered {
            _ if asked.duration_since(started) < warm_up => {}
            true => nanoseconds.push(asked.elapsed().as_nanos() as u64),
            false => lost += 1,
        }
    }
    if nanoseconds.is_empty() {
        return Err(io::Error::other(format!("no answer from {to}")));
    }
    nanoseconds.sort_unstable();
    let us = |percent| percentile(&nanoseconds, percent) as f64 / 1e3;
    Ok(Answer::RoundTrips { count: nanoseconds.len(), lost, p50_us: us(50.0), p99_us: us(99.0) })
}

/// One request; false when its answer does not come in time. Answers to earlier ones are passed over.
fn exchange(socket: &UdpSocket, number: u64) -> io::Result<bool> {
    let mut buffer = [0; PAYLOAD];
    buffer[..8].copy_from_slice(&number.to_le_bytes());
    let sent = socket.send(&buffer);
    loop {
        match sent
            .as_ref()
            .map_err(io::Error::kind)
            .and_then(|_| socket.recv(&mut buffer).map_err(|e| e.kind()))
        {
            Ok(_) if buffer[..8] == number.to_le_bytes() => return Ok(true),
            Ok(_) => {}
            Err(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return Ok(false),
            Err(io::ErrorKind::ConnectionRefused) => return Ok(false),
            Err(kind) => return Err(kind.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_answers_every_request() {
        let address = echo(Ipv4Addr::LOCALHOST).unwrap();
        let answer = request(address, Duration::ZERO, Duration::from_millis(20)).unwrap();
        let Answer::RoundTrips { count, lost, p50_us, p99_us } = answer else { panic!("{answer:?}") };
        assert!(count > 0 && p50_us > 0.0 && p99_us >= p50_us, "{count} {p50_us} {p99_us}");
        assert_eq!(lost, 0);
    }

    #[test]
    fn nobody_there_is_an_error() {
        let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = v4(closed.local_addr().unwrap()).unwrap();
        drop(closed);
        assert!(request(address, Duration::ZERO, Duration::from_millis(1)).is_err());
    }
}
