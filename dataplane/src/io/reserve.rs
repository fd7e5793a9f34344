//! Ports that are ours and not the kernel's.
//!
//! A port that NAT uses outside must be nobody else's on this host, and the host must not answer for it: no RST for a
//! segment, no "port unreachable" for a datagram. A real socket does both: a listening one for TCP (a bound one would not
//! keep the kernel from answering), a bound one for UDP, with a filter that drops everything before it is queued. No
//! netfilter rule is needed, and the kernel gives the port to nobody else, also not as the source of a connection.
//!
//! A port that is published is also reached from the host itself, where no packet socket sees it. Its socket lets in what
//! comes by the loopback interface ([`Admit::Loopback`]), and connections can be accepted on it.
//!
//! Each costs a descriptor and some 3 KiB of kernel memory. A raw or packet socket of another process sees the packets
//! all the same.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::LazyLock;

use socket2::{Domain, Protocol, Socket, Type};

use super::sys::bpf;
use super::{filter, one_socket};
pub use crate::tables::Transport;

/// Connections that may wait to be accepted; the kernel takes less if `net.core.somaxconn` says so.
const BACKLOG: i32 = 4_096;

/// What all sockets that let nothing in share; absent where the kernel loads no programs, and each has its own then.
static NOTHING: LazyLock<Option<OwnedFd>> = LazyLock::new(|| bpf::nothing().ok());

/// What a reserving socket lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Nothing.
    Nothing,
    /// What the host sends itself, to the loopback address or to any other one of its own.
    Loopback,
}

/// Why a port is not ours.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// Somebody else has it.
    #[error("{transport} port {port} on {address} is in use: stop what uses it or choose another port")]
    InUse {
        /// Whose port.
        transport: Transport,
        /// The address it was wanted on.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// The address is not this host's.
    #[error("{0} is not an address of this host: choose one that is")]
    NotLocal(IpAddr),
    /// A port below `net.ipv4.ip_unprivileged_port_start`.
    #[error("no permission to use {0} port {1}: run as root or grant CAP_NET_BIND_SERVICE")]
    NotPermitted(Transport, u16),
    /// Anything else.
    #[error("cannot {what}: {source}")]
    Io {
        /// Which step.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// A reserved port, for as long as this or a clone of it lives.
#[derive(Debug)]
pub struct Reserved {
    socket: Socket,
}

impl Reserved {
    /// Reserves `port` on `address` (unspecified: on all of that IP version), in the calling thread's network namespace.
    /// Port 0: one that the kernel chooses.
    ///
    /// # Errors
    /// [`ReserveError`].
    pub fn open(
        transport: Transport,
        address: IpAddr,
        port: u16,
        admit: Admit,
    ) -> Result<Self, ReserveError> {
        let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let (kind, protocol) = match transport {
            Transport::Tcp => (Type::STREAM, Protocol::TCP),
            Transport::Udp => (Type::DGRAM, Protocol::UDP),
        };
        let socket = Socket::new(domain, kind.nonblocking().cloexec(), Some(protocol))
            .map_err(io_error("open a socket"))?;
        if address.is_ipv6() {
            socket.set_only_v6(true).map_err(io_error("keep a socket to IPv6"))?;
        }
        admit.guard(&socket, NOTHING.as_ref()).map_err(io_error("attach a socket filter"))?;
        if (transport, admit) == (Transport::Tcp, Admit::Loopback) {
            // Connections of a former proxy that are still closing are no reason to refuse.
            socket.set_reuse_address(true).map_err(io_error("reuse an address"))?;
        }
        let refused = |error| bind_error(error, transport, address, port);
        socket.bind(&SocketAddr::new(address, port).into()).map_err(refused)?;
        if transport == Transport::Tcp {
            // Two may have bound it, but only one listens.
            socket.listen(if admit == Admit::Nothing { 1 } else { BACKLOG }).map_err(refused)?;
        }
        Ok(Self { socket })
    }

    /// What is reserved; port and address unspecified if it is no socket of that kind.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        let nothing = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        self.socket.local_addr().ok().and_then(|address| address.as_socket()).unwrap_or(nothing)
    }
}

one_socket!(Reserved, "the port is ours until both are closed");

impl From<Reserved> for OwnedFd {
    fn from(reserved: Reserved) -> Self {
        reserved.socket.into()
    }
}

impl Admit {
    /// Sees to it that `socket` gets what it lets in and nothing else; `nothing` is the program for that, if there is one.
    fn guard(self, socket: &Socket, nothing: Option<&OwnedFd>) -> io::Result<()> {
        match (self, nothing) {
            (Self::Nothing, Some(program)) => bpf::attach(socket.as_fd(), program.as_fd()),
            (Self::Nothing, None) => socket.attach_filter(&filter::native(&filter::nothing())),
            (Self::Loopback, _) => socket.attach_filter(&filter::native(&filter::loopback())),
        }
    }
}

fn bind_error(error: io::Error, transport: Transport, address: IpAddr, port: u16) -> ReserveError {
    match error.kind() {
        io::ErrorKind::AddrInUse => ReserveError::InUse { transport, address, port },
        io::ErrorKind::AddrNotAvailable => ReserveError::NotLocal(address),
        io::ErrorKind::PermissionDenied => ReserveError::NotPermitted(transport, port),
        _ => ReserveError::Io { what: "bind a port", source: error },
    }
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> ReserveError {
    move |source| ReserveError::Io { what, source }
}

#[cfg(test)]
mod tests;
