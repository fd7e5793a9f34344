//! Honest traffic between two containers: pings, datagrams of every size, and a bulk transfer compared byte by byte.

use crate::netns::Namespace;
use crate::random::Random;
use crate::wait;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How long one answer may take before it counts as lost.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a bulk transfer may stand still.
const STALL: Duration = Duration::from_secs(60);

/// The repeating unit of a bulk transfer. A prime, so that no segment size divides it and a displaced, doubled or lost
/// segment shows as a difference.
const PATTERN: usize = 1_000_003;

/// One end of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Where it stands.
    pub ns: &'a Namespace,
    /// Its address there.
    pub ip: IpAddr,
}

/// Waits until `from` can ping `to`, then sends five more of which none may be lost.
#[track_caller]
pub fn ping(from: End<'_>, to: End<'_>) {
    let target = to.ip.to_string();
    wait::until_true(&format!("{} reaches {target}", from.ip), || {
        from.ns.exec(&["ping", "-n", "-c", "1", "-W", "1", &target]).ok()
    });
    for _ in 0..5 {
        // One by one: having seen answers, ping(8) waits for the last of several for no more than two round trips.
        from.ns.exec(&["ping", "-n", "-c", "1", "-W", "5", &target]).must();
    }
}

/// True when a single ping is answered.
pub fn can_ping(from: &Namespace, to: IpAddr) -> bool {
    from.exec(&["ping", "-n", "-c", "1", "-W", "1", &to.to_string()]).ok()
}

/// Sends one datagram of every payload size up to what fits `mtu`, has each echoed, and compares each. None may be
/// lost: nothing is sent twice.
#[track_caller]
pub fn udp_of_every_size(from: End<'_>, to: End<'_>, mtu: usize) {
    let headers = if to.ip.is_ipv4() { 28 } else { 48 };
    let echo = to.ns.enter(|| UdpSocket::bind((to.ip, 0)).expect("the address is there"));
    let client = from.ns.enter(|| UdpSocket::bind((from.ip, 0)).expect("the address is there"));
    client.connect(echo.local_addr().expect("bound")).expect("a route");
    client.set_read_timeout(Some(ANSWER)).expect("not zero");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| echo_until(&echo, &done));
        let result = (1..=mtu - headers).try_for_each(|size| exchange(&client, size));
        done.store(true, Ordering::Relaxed);
        if let Err(reason) = result {
            panic!("{} -> {}: {reason}", from.ip, to.ip);
        }
    });
}

/// Carries `bytes` over one TCP connection and compares every byte at the other end.
#[track_caller]
pub fn tcp_bulk(from: End<'_>, to: End<'_>, bytes: usize) {
    let pattern = pattern();
    let listener = to.ns.enter(|| TcpListener::bind((to.ip, 0)).expect("the address is there"));
    let address = listener.local_addr().expect("bound");
    let result = thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&listener, &pattern));
        let sent = from.ns.enter(|| transmit(address, &pattern, bytes));
        if sent.is_err() {
            // Lets the receiver go that may still be waiting for a connection.
            let _ = to.ns.enter(|| TcpStream::connect(address));
        }
        let received = receiver.join().expect("the receiver does not panic");
        sent.map_err(|error| format!("sending: {error}")).and(received)
    });
    match result {
        Ok(arrived) => assert_eq!(arrived, bytes, "{} -> {}: bytes arrived", from.ip, to.ip),
        Err(reason) => panic!("{} -> {}: {reason}", from.ip, to.ip),
    }
}

/// Datagrams this many bytes long differ from each other in every byte position over a few sizes.
fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at.wrapping_mul(31) ^ size.wrapping_mul(7) ^ (at >> 5)) as u8).collect()
}

fn exchange(client: &UdpSocket, size: usize) -> Result<(), String> {
    let sent = payload(size);
    client.send(&sent).map_err(|error| format!("sending {size} bytes: {error}"))?;
    let mut answer = vec![0; 65_536];
    let length =
        receive_one(client, &mut answer).map_err(|error| format!("no echo of {size} bytes: {error}"))?;
    if answer[..length] != sent {
        return Err(format!("the echo of {size} bytes has {length} bytes or differs"));
    }
    Ok(())
}

/// A receive with a time limit is not restarted by the kernel when something interrupts the thread.
fn receive_one(socket: &UdpSocket, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match socket.recv(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn echo_until(socket: &UdpSocket, done: &AtomicBool) {
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("not zero");
    let mut buffer = vec![0; 65_536];
    while !done.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            // A failed echo shows at the other end, which names the size.
            let _ = socket.send_to(&buffer[..length], from);
        }
    }
}

fn pattern() -> Vec<u8> {
    Random::new(1).bytes(PATTERN)
}

fn transmit(to: SocketAddr, pattern: &[u8], bytes: usize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, STALL)?;
    stream.set_write_timeout(Some(STALL))?;
    stream.set_read_timeout(Some(STALL))?;
    let mut left = bytes;
    while left > 0 {
        let part = left.min(PATTERN);
        stream.write_all(&pattern[..part])?;
        left -= part;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    // The receiver answers with one byte when it has seen everything, so that nothing is cut off at the close.
    stream.read_exact(&mut [0])
}

fn receive(listener: &TcpListener, pattern: &[u8]) -> Result<usize, String> {
    let (mut stream, _) = listener.accept().map_err(|error| format!("accepting: {error}"))?;
    stream.set_read_timeout(Some(STALL)).map_err(|error| error.to_string())?;
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        let length = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(format!("receiving stopped after {total} bytes: {error}")),
        };
        if !matches_pattern(&buffer[..length], total, pattern) {
            return Err(format!("a difference between bytes {total} and {}", total + length));
        }
        total += length;
    }
    stream.write_all(&[1]).map_err(|error| format!("answering: {error}"))?;
    Ok(total)
}

fn matches_pattern(mut bytes: &[u8], mut offset: usize, pattern: &[u8]) -> bool {
    while !bytes.is_empty() {
        let expected = &pattern[offset % PATTERN..];
        let length = expected.len().min(bytes.len());
        if bytes[..length] != expected[..length] {
            return false;
        }
        bytes = &bytes[length..];
        offset += length;
    }
    true
}
