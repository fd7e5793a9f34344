//! Datagrams from other VTEPs.

use std::os::fd::{AsFd, BorrowedFd};

use socket2::Socket;

use super::{UnderlayError, io_error};
use crate::io::sys::mmsg::RecvBatch;
use crate::io::sys::sockopt;
use crate::io::{Datagram, UnderlayRx};
use crate::tunnel::Vtep;
use crate::wire::Ecn;

/// Datagrams per system call. Each has a slot for the largest there is, because a peer on this machine sends
/// super-frames whole; a slot costs memory only once something large was in it.
const BATCH: usize = 64;
const SLOT: usize = 65_536;

/// A receiving socket on the tunnel port.
pub struct UdpRx {
    socket: Socket,
    batch: RecvBatch,
    ready: Vec<Ready>,
}

/// Where a received datagram lies.
#[derive(Clone, Copy, Debug)]
struct Ready {
    slot: usize,
    start: usize,
    len: usize,
    sender: Vtep,
    ecn: Ecn,
}

impl std::fmt::Debug for UdpRx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdpRx").field("socket", &self.socket).field("ready", &self.ready.len()).finish()
    }
}

impl UdpRx {
    pub(super) fn new(socket: Socket, gro: bool) -> Result<Self, UnderlayError> {
        let v4 = socket.local_addr().ok().and_then(|a| a.as_socket()).is_some_and(|a| a.is_ipv4());
        let (level, name) =
            if v4 { (libc::SOL_IP, libc::IP_RECVTOS) } else { (libc::SOL_IPV6, libc::IPV6_RECVTCLASS) };
        sockopt::set_int(socket.as_fd(), level, name, 1).map_err(io_error("ask for the outer ECN field"))?;
        if gro {
            sockopt::set_int(socket.as_fd(), libc::SOL_UDP, sockopt::UDP_GRO, 1)
                .map_err(io_error("let datagrams arrive as one"))?;
        }
        Ok(Self { socket, batch: RecvBatch::new(BATCH, SLOT), ready: Vec::with_capacity(BATCH) })
    }

    /// A second handle on the socket, to ask it for what it dropped.
    pub fn watch(&self) -> Result<SocketWatch, UnderlayError> {
        Ok(SocketWatch(self.socket.try_clone().map_err(io_error("duplicate a socket"))?))
    }
}

/// Answers for one socket how much the kernel dropped on it.
#[derive(Debug)]
pub struct SocketWatch(Socket);

impl SocketWatch {
    /// Datagrams dropped since the socket was opened.
    #[must_use]
    pub fn drops(&self) -> u64 {
        sockopt::drops(self.0.as_fd()).unwrap_or(0)
    }
}

impl UnderlayRx for UdpRx {
    fn fill(&mut self) -> usize {
        self.ready.clear();
        // An error that is not "none for now" belongs to one datagram, which the kernel has counted; the next is tried
        // when the socket is next reported readable.
        let count = self.batch.recv(self.socket.as_fd()).unwrap_or(0);
        for slot in 0..count {
            let Some(meta) = self.batch.meta(slot).filter(|m| !m.truncated) else { continue };
            let sender = Vtep::new(meta.sender);
            let ecn = Ecn::from_bits(meta.tos);
            let size = meta.segment.unwrap_or(meta.len).max(1);
            let mut start = 0;
            loop {
                let len = size.min(meta.len - start);
                self.ready.push(Ready { slot, start, len, sender, ecn });
                start += len;
                if start >= meta.len {
                    break;
                }
            }
        }
        self.ready.len()
    }

    fn datagram(&mut self, index: usize) -> Datagram<'_> {
        let Ready { slot, start, len, sender, ecn } = self.ready[index];
        Datagram { sender, ecn, payload: &mut self.batch.slot(slot)[start..start + len] }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }
}
