//! The sockets that datagrams leave by.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::Socket;

use super::{Mode, UnderlayError, bind_error, io_error, udp_socket};
use crate::io::filter;
use crate::io::sys::sockopt;
use crate::tunnel::encap::TTL;

/// Outer source ports in use at a time; the least that spreads flows over a peer's receive queues.
pub const SOURCE_PORTS: usize = 16;

/// First of the dynamic ports, which RFC 7348 asks for.
const FIRST_PORT: u16 = 49_152;

/// Sockets that only send, each from a source port of its own; all senders of a host share them.
#[derive(Debug)]
pub struct SourcePorts {
    sockets: Vec<(Socket, u16)>,
    gso: bool,
    refused: AtomicBool,
}

impl SourcePorts {
    /// Sends by `sockets`, which [`bind_all`] has opened.
    pub(super) fn over(sockets: Vec<Socket>, gso: bool) -> Result<Self, UnderlayError> {
        let with_port = |socket: Socket| {
            let address = socket.local_addr().map_err(io_error("read a socket's address"))?;
            Ok((socket, address.as_socket().map_or(0, |address| address.port())))
        };
        let sockets = sockets.into_iter().map(with_port).collect::<Result<_, _>>()?;
        Ok(Self { sockets, gso, refused: AtomicBool::new(false) })
    }

    /// The mode in use at the moment: [`Mode::UdpGso`] or [`Mode::Udp`].
    #[must_use]
    pub fn mode(&self) -> Mode {
        if self.segments() { Mode::UdpGso } else { Mode::Udp }
    }

    /// Whether segmentation was given up because the kernel refused it at run time.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether datagrams may leave as one.
    pub(super) fn segments(&self) -> bool {
        self.gso && !self.refused()
    }

    /// The kernel does not segment: nobody asks it to again. Tells whether this is news.
    pub(super) fn give_up_segments(&self) -> bool {
        !self.refused.swap(true, Ordering::Relaxed)
    }

    /// Which socket sends for the flow whose source port would be `flow` if there were a socket for each.
    pub(super) fn index(&self, flow: u16) -> usize {
        usize::from(flow) % self.sockets.len()
    }

    pub(super) fn socket(&self, index: usize) -> BorrowedFd<'_> {
        self.sockets[index].0.as_fd()
    }

    pub(super) fn port(&self, index: usize) -> u16 {
        self.sockets[index].1
    }
}

/// One socket from each sixteenth of the range, so that the ports differ in their upper bits too.
pub(super) fn bind_all(address: IpAddr, gso: bool) -> Result<Vec<Socket>, UnderlayError> {
    let share = (u16::MAX - FIRST_PORT) / SOURCE_PORTS as u16 + 1;
    (0..SOURCE_PORTS as u16)
        .map(|index| bind_within(address, FIRST_PORT + index * share, share, gso))
        .collect()
}

fn bind_within(address: IpAddr, first: u16, count: u16, gso: bool) -> Result<Socket, UnderlayError> {
    let socket = udp_socket(address)?;
    set_envelope(&socket, address, gso)?;
    // These ports are for sending: whatever is sent to them is dropped before it is queued.
    socket.attach_filter(&filter::native(&filter::nothing())).map_err(io_error("attach a socket filter"))?;
    for port in first..=first + (count - 1) {
        match socket.bind(&SocketAddr::new(address, port).into()) {
            Ok(()) => return Ok(socket),
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
            Err(e) => return Err(bind_error(e, address, port)),
        }
    }
    Err(UnderlayError::PortInUse { address, port: first })
}

/// What the outer headers of everything sent by `socket` have in common.
fn set_envelope(socket: &Socket, address: IpAddr, gso: bool) -> Result<(), UnderlayError> {
    let ttl = libc::c_int::from(TTL);
    let options: &[(libc::c_int, libc::c_int, libc::c_int)] = match address {
        IpAddr::V4(_) => &[
            (libc::SOL_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO),
            (libc::SOL_IP, libc::IP_TTL, ttl),
            // The kernel cannot segment what has no checksum.
            (libc::SOL_SOCKET, libc::SO_NO_CHECK, libc::c_int::from(!gso)),
        ],
        IpAddr::V6(_) => &[
            (libc::SOL_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO),
            (libc::SOL_IPV6, libc::IPV6_DONTFRAG, 1),
            (libc::SOL_IPV6, libc::IPV6_UNICAST_HOPS, ttl),
        ],
    };
    for &(level, name, value) in options {
        sockopt::set_int(socket.as_fd(), level, name, value).map_err(io_error("set the outer headers"))?;
    }
    Ok(())
}
