//! Ordinary sockets in a namespace, with a patience.

use crate::outcome::{Miss, OrBreaks, Outcome};
use harness::frame;
use harness::netns::Namespace;
use harness::wait;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// A UDP socket that is not connected and is told of ICMP errors all the same.
pub(crate) struct Udp {
    socket: UdpSocket,
    patience: Duration,
}

impl Udp {
    #[track_caller]
    pub(crate) fn bind(ns: &Namespace, to: SocketAddr, patience: Duration) -> Self {
        // A process that another test is starting may hold a copy of a former socket for a moment.
        let socket = wait::until(&format!("binding {to}"), || ns.enter(|| UdpSocket::bind(to)).ok());
        if to.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true).expect("any socket takes it");
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true).expect("any socket takes it");
        }
        Udp { socket, patience }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    pub(crate) fn send(&self, to: SocketAddr, payload: &[u8]) -> Outcome {
        // An error of an earlier datagram is told at the next call, whatever that is.
        let sent = self.socket.send_to(payload, to).or_else(|_| self.socket.send_to(payload, to));
        sent.map(drop).or_breaks(format!("sending to {to}"))
    }

    /// The next thing that happens to the socket within `limit`.
    fn next(&self, limit: Duration) -> io::Result<(Vec<u8>, SocketAddr)> {
        self.socket.set_read_timeout(Some(limit.max(Duration::from_millis(1))))?;
        let mut buffer = vec![0; 65_536];
        let (length, from) = self.socket.recv_from(&mut buffer)?;
        buffer.truncate(length);
        Ok((buffer, from))
    }

    /// Waits for a datagram with this payload, passing over others, and returns who sent it.
    pub(crate) fn awaits(&self, payload: &[u8]) -> Outcome<SocketAddr> {
        self.awaits_within(self.patience, payload)
    }

    /// The same with another patience.
    pub(crate) fn awaits_within(&self, limit: Duration, payload: &[u8]) -> Outcome<SocketAddr> {
        let deadline = Instant::now() + limit;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Ok((bytes, from)) if bytes == payload => return Ok(from),
                _ if Instant::now() < deadline => {}
                _ => {
                    return Err(Miss::Breaks(format!("{} did not reach {}", shown(payload), self.address())));
                }
            }
        }
    }

    /// The same with room for thousands of datagrams.
    pub(crate) fn roomy(self) -> Self {
        setsockopt(&self.socket, sockopt::RcvBufForce, &(4 << 20)).expect("the tests run as root");
        self
    }

    /// Waits until each of these payloads has come, in whatever order.
    pub(crate) fn gathers(&self, mut payloads: BTreeSet<Vec<u8>>) -> Outcome {
        let deadline = Instant::now() + self.patience;
        while !payloads.is_empty() && Instant::now() < deadline {
            if let Ok((bytes, _)) = self.next(deadline.saturating_duration_since(Instant::now())) {
                payloads.remove(&bytes);
            }
        }
        crate::outcome::hold!(payloads.is_empty(), "{} did not reach {}", payloads.len(), self.address());
        Ok(())
    }

    /// Every payload that comes before this one.
    pub(crate) fn before(&self, payload: &[u8]) -> Outcome<Vec<Vec<u8>>> {
        let (deadline, mut before) = (Instant::now() + self.patience, Vec::new());
        while Instant::now() < deadline {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Ok((bytes, _)) if bytes == payload => return Ok(before),
                Ok((bytes, _)) => before.push(bytes),
                Err(_) => {}
            }
        }
        Err(Miss::Breaks(format!("{} did not reach {}", shown(payload), self.address())))
    }

    /// Waits until the socket is told that a port is closed.
    pub(crate) fn is_refused(&self) -> Outcome {
        let refused = wait::within(self.patience, || match self.next(Duration::from_millis(50)) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Some(()),
            _ => None,
        });
        refused.or_breaks("the socket was not told that the port is closed")
    }
}

/// A payload for people: as text, if it is text.
fn shown(payload: &[u8]) -> String {
    match std::str::from_utf8(payload) {
        Ok(text) => text.into(),
        Err(_) => format!("a datagram of {} bytes", payload.len()),
    }
}

/// Listens in a namespace.
#[track_caller]
pub(crate) fn listen(ns: &Namespace, at: SocketAddr) -> TcpListener {
    // A process that another test is starting may hold a copy of a former listener for a moment.
    let listener = wait::until(&format!("listening on {at}"), || ns.enter(|| TcpListener::bind(at)).ok());
    listener.set_nonblocking(true).expect("a socket can");
    listener
}

/// Waits for the next connection, and returns it with its other end.
pub(crate) fn accept(listener: &TcpListener, patience: Duration) -> Outcome<(TcpStream, SocketAddr)> {
    let at = listener.local_addr().expect("bound");
    let accepted = wait::within(patience, || listener.accept().ok());
    let (stream, from) = accepted.or_breaks(format!("nobody connected to {at}"))?;
    stream.set_nonblocking(false).expect("a socket can");
    stream.set_read_timeout(Some(patience)).expect("not zero");
    Ok((stream, from))
}

/// Connects from a chosen port, or with port 0 from any.
pub(crate) fn connect_from(
    ns: &Namespace,
    from: SocketAddr,
    to: SocketAddr,
    patience: Duration,
) -> Outcome<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = ns
        .enter(|| socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None))
        .expect("a socket can be made");
    let limit = TimeVal::milliseconds(patience.as_millis() as i64);
    setsockopt(&socket, sockopt::ReuseAddr, &true).expect("any socket takes it");
    setsockopt(&socket, sockopt::SendTimeout, &limit).expect("any socket takes it");
    bind(socket.as_raw_fd(), &SockaddrStorage::from(from)).or_breaks(format!("binding {from}"))?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to))
        .or_breaks(format!("connecting {from} to {to}"))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(patience)).expect("not zero");
    Ok(stream)
}

/// Each end hears what the other says.
pub(crate) fn talks(a: &mut TcpStream, b: &mut TcpStream) -> Outcome {
    one_way(a, b)?;
    one_way(b, a)
}

fn one_way(from: &mut TcpStream, to: &mut TcpStream) -> Outcome {
    let said = frame::cookie("said");
    from.write_all(&said).or_breaks("saying something")?;
    let mut heard = vec![0; said.len()];
    to.read_exact(&mut heard).or_breaks("hearing it")?;
    crate::outcome::hold!(heard == said, "other bytes came than were sent");
    Ok(())
}

/// True when one ping of this payload is answered.
pub(crate) fn pings(ns: &Namespace, to: IpAddr, size: usize) -> bool {
    ns.exec(&["ping", "-n", "-c", "1", "-W", "5", "-s", &size.to_string(), &to.to_string()]).ok()
}

/// True when a ping is not answered within a second.
pub(crate) fn hears_nothing(ns: &Namespace, of: IpAddr) -> bool {
    !ns.exec(&["ping", "-n", "-c", "1", "-W", "1", &of.to_string()]).ok()
}
