//! The underlay by UDP sockets.
//!
//! ```text
//!              +-- SourcePorts: 16 sockets on 49152-65535, chosen by inner flow --> peers:4789
//!  host -------+
//!              +-- one socket per worker on address:4789 (SO_REUSEPORT) <---------- peers
//! ```
//!
//! | what | how |
//! |---|---|
//! | outer TTL 64, DF set, never a fragment | `IP_TTL`, `IP_MTU_DISCOVER = DO`; what exceeds the path MTU is refused with `EMSGSIZE` and counted |
//! | outer ECN | one control message each way (`IP_TOS`, `IPV6_TCLASS`) |
//! | outer source port | the socket; one flow stays on one socket, so it stays in order |
//! | outer UDP checksum | mode `udp` over IPv4: zero on send (RFC 7348 section 4.1); otherwise computed. On receipt zero is accepted over IPv4, any other value is verified by the kernel; over IPv6 zero is refused (RFC 6935: only if both ends agree) |
//!
//! [`Mode::UdpGso`] lets datagrams of equal size for one peer and flow leave as one (`UDP_SEGMENT`) and arrive as one
//! (`UDP_GRO`). When the kernel refuses such a send at run time and takes its first datagram alone, segmentation is given
//! up for good, with a log line; nothing is lost. A refusal that the datagram alone meets too is about something else (the
//! address has gone, the path MTU has shrunk) and changes nothing.

mod probe;
mod rx;
mod sockets;
mod sources;
mod tx;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

pub use rx::{SocketWatch, UdpRx};
pub use sockets::{Sockets, Terms};
pub use sources::{SOURCE_PORTS, SourcePorts};
pub use tx::UdpTx;

use super::sys::sockopt;

/// Socket buffers, in bytes: 100 ms of 1 Gb/s, so that a worker that was not scheduled for a while loses nothing.
const BUFFER: usize = 16 << 20;

/// How frames cross the underlay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Let the dataplane choose.
    #[default]
    Auto,
    /// Whole super-frames through an uplink TAP.
    TunnelGso,
    /// Batches of datagrams as one.
    UdpGso,
    /// Single datagrams.
    Udp,
}

/// No such mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no underlay mode: use auto, tunnel-gso, udp-gso or udp")]
pub struct NoSuchMode(String);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::TunnelGso => "tunnel-gso",
            Self::UdpGso => "udp-gso",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Mode {
    type Err = NoSuchMode;

    fn from_str(text: &str) -> Result<Self, NoSuchMode> {
        [Self::Auto, Self::TunnelGso, Self::UdpGso, Self::Udp]
            .into_iter()
            .find(|mode| mode.to_string() == text)
            .ok_or_else(|| NoSuchMode(text.to_owned()))
    }
}

/// Why there is no underlay.
#[derive(Debug, thiserror::Error)]
pub enum UnderlayError {
    /// Somebody else has the port.
    #[error("UDP port {port} on {address} is in use: stop what listens there or set underlay.port")]
    PortInUse {
        /// This host's VTEP address.
        address: IpAddr,
        /// The tunnel port.
        port: u16,
    },
    /// The address is not this host's.
    #[error("underlay address {0} is not an address of this host: set underlay.address to one that is")]
    NotLocal(IpAddr),
    /// The mode was asked for by name and does not work here.
    #[error("underlay mode {mode} cannot be used: {reason}; set underlay.mode to auto")]
    Mode {
        /// The mode.
        mode: Mode,
        /// Why not.
        reason: String,
    },
    /// Anything else.
    #[error("cannot {what}: {source}")]
    Io {
        /// Which step.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// The sockets of one host's underlay.
#[derive(Debug)]
pub struct Underlay {
    /// One receiver per worker.
    pub receivers: Vec<UdpRx>,
    /// One sender per worker.
    pub senders: Vec<UdpTx>,
    /// What they send by; it knows the mode in use at any moment.
    pub sources: Arc<SourcePorts>,
    /// Why a better mode was not chosen.
    pub reason: Option<String>,
}

impl Underlay {
    /// Puts open sockets to use: a receiver and a sender for each worker they were opened for.
    ///
    /// # Errors
    /// [`UnderlayError::Io`] when a socket is none of those.
    pub fn over(sockets: Sockets) -> Result<Self, UnderlayError> {
        let Sockets { receivers, sources, terms } = sockets;
        let workers = receivers.len();
        let sources = Arc::new(SourcePorts::over(sources, terms.gso)?);
        let receivers =
            receivers.into_iter().map(|socket| UdpRx::new(socket, terms.gso)).collect::<Result<_, _>>()?;
        let senders = (0..workers).map(|_| UdpTx::new(Arc::clone(&sources), terms.port)).collect();
        Ok(Self { receivers, senders, sources, reason: terms.reason })
    }
}

/// Opens the sockets of the underlay in the calling thread's network namespace for `workers` workers, and puts them to
/// use.
pub fn open(address: IpAddr, port: u16, mode: Mode, workers: usize) -> Result<Underlay, UnderlayError> {
    Underlay::over(Sockets::open(address, port, mode, workers)?)
}

fn choose(address: IpAddr, wanted: Mode) -> Result<(Mode, Option<String>), UnderlayError> {
    match wanted {
        Mode::Udp => Ok((Mode::Udp, None)),
        Mode::UdpGso => probe::segmentation(address)
            .map(|()| (wanted, None))
            .map_err(|reason| UnderlayError::Mode { mode: wanted, reason: reason.to_string() }),
        // An uplink falls back on the best that sockets can do.
        Mode::Auto | Mode::TunnelGso => Ok(match probe::segmentation(address) {
            Ok(()) => (Mode::UdpGso, None),
            Err(reason) => (Mode::Udp, Some(format!("udp-gso: {reason}"))),
        }),
    }
}

fn listen(address: IpAddr, port: u16, shared: bool) -> Result<Socket, UnderlayError> {
    let socket = udp_socket(address)?;
    if shared {
        socket.set_reuse_port(true).map_err(io_error("share the tunnel port between workers"))?;
    }
    socket.bind(&SocketAddr::new(address, port).into()).map_err(|e| bind_error(e, address, port))?;
    Ok(socket)
}

fn udp_socket(address: IpAddr) -> Result<Socket, UnderlayError> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))
        .map_err(io_error("open a UDP socket"))?;
    if address.is_ipv6() {
        socket.set_only_v6(true).map_err(io_error("keep a socket to IPv6"))?;
    }
    sockopt::set_buffers(&socket, BUFFER).map_err(io_error("size a socket's buffer"))?;
    Ok(socket)
}

fn bind_error(error: io::Error, address: IpAddr, port: u16) -> UnderlayError {
    match error.kind() {
        io::ErrorKind::AddrInUse => UnderlayError::PortInUse { address, port },
        io::ErrorKind::AddrNotAvailable => UnderlayError::NotLocal(address),
        _ => UnderlayError::Io { what: "bind the tunnel port", source: error },
    }
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> UnderlayError {
    move |source| UnderlayError::Io { what, source }
}

#[cfg(test)]
mod tests;
