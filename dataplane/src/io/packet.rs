//! Host interfaces: packet sockets that take and give whole super-frames.
//!
//! A [`PacketSocket`] sees a copy of what comes in on one interface, as far as its filter ([`super::filter`]) accepts it,
//! and puts frames on the interface's queue. The kernel keeps the original: whoever uses the copy also sees to it that
//! the host does not answer ([`super::reserve`]). Each frame has a virtio header of ten bytes (`PACKET_VNET_HDR`), so a
//! super-frame crosses in one piece, and checksums are left to the device, both ways.
//!
//! - What the host itself sends is not shown (`PACKET_IGNORE_OUTGOING`), nor what is for another MAC, for a group, or
//!   for a VLAN whose tag the device has taken off: that is another interface's. All of this the filter refuses.
//! - Frames longer than the interface's MTU that are no super-frames are refused by name, not sent.
//! - A link that is down is not the end: the socket works again when it is up. A link that has been deleted, or moved to
//!   another namespace, is. The kernel tells that only to a socket whose link is up until the last moment and not always
//!   then, so whoever opens the socket watches the link, too.
//! - What a NIC has merged by itself (LRO) comes without a partial checksum, so its virtio header is refused like any
//!   that nobody could cut by; `ethtool -K DEVICE lro off` is the remedy. What the kernel has merged (GRO) is whole.
//! - Neighbours are not resolved here; the frame's destination MAC is the caller's business.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use super::filter::{self, Interest};
use super::sys::{packet, sockopt};
use super::{FrameIo, Gone, Received, one_socket};
use crate::offload::{Offload, vnet};
use crate::verdict::DropReason;

/// Bytes of the virtio header on a packet socket: the first ten of [`vnet::LEN`].
const HEADER_LEN: usize = 10;

/// Socket buffers, in bytes: some 100 ms of 1 Gb/s, so that a worker that was not scheduled for a while loses little.
const BUFFER: usize = 16 << 20;

/// Instructions that fit what old kernels let one socket use for options (`net.core.optmem_max` of 20 KiB).
const FEW_INSTRUCTIONS: usize = 1_024;

/// How many packets that the kernel cannot describe by a virtio header are skipped in one call.
const SKIPS_MAX: usize = 16;

/// Why there is no socket on an interface.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// Not allowed.
    #[error("no permission to open {0}: run as root or grant CAP_NET_RAW")]
    NotPermitted(&'static str),
    /// It is not there, or is no Ethernet device.
    #[error("there is no interface {0}: it has been deleted or moved")]
    NoInterface(u32),
    /// Anything else.
    #[error("cannot {what}: {source}")]
    Io {
        /// Which step.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// One host interface.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
}

impl PacketSocket {
    /// Opens the interface of this index in the calling thread's network namespace, for the packets of `interest`.
    ///
    /// # Errors
    /// [`EdgeError`].
    pub fn open(index: u32, interest: &Interest) -> Result<Self, EdgeError> {
        // Without a protocol nothing is received until it is bound, which is when its filter is in place.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)
            .map_err(|e| open_error("a packet socket", e))?;
        let socket = Self { socket };
        socket.set_interest(interest)?;
        let fd = socket.descriptor();
        packet::set_vnet_header(fd).map_err(io_error("ask for virtio headers"))?;
        packet::ignore_outgoing(fd).map_err(io_error("leave out what the host sends"))?;
        sockopt::set_buffers(&socket.socket, BUFFER).map_err(io_error("size a socket's buffer"))?;
        packet::bind(fd, index).map_err(|e| match Errno::from_io_error(&e) {
            Some(Errno::NODEV | Errno::NXIO) => EdgeError::NoInterface(index),
            _ => EdgeError::Io { what: "bind a packet socket", source: e },
        })?;
        Ok(socket)
    }

    /// Replaces what is accepted, at once and without a gap. No privileges needed. Where the kernel has no room for a
    /// filter that long, more is accepted.
    ///
    /// # Errors
    /// [`EdgeError::Io`]; the former filter stays.
    pub fn set_interest(&self, interest: &Interest) -> Result<(), EdgeError> {
        let attach = |max| self.socket.attach_filter(&filter::native(&filter::build(interest, max)));
        let short = |error: io::Error| match Errno::from_io_error(&error) {
            Some(Errno::NOMEM) => attach(FEW_INSTRUCTIONS),
            _ => Err(error),
        };
        attach(filter::INSTRUCTIONS_MAX).or_else(short).map_err(io_error("attach a packet filter"))
    }

    /// The index of its interface; `None` when that has gone for good.
    #[must_use]
    pub fn interface(&self) -> Option<u32> {
        packet::interface(self.descriptor()).ok().flatten()
    }

    /// Packets dropped because the socket's queue was full, since it was opened.
    #[must_use]
    pub fn drops(&self) -> u64 {
        sockopt::drops(self.descriptor()).unwrap_or(0)
    }
}

one_socket!(PacketSocket, "what one has read the other has not");

impl FrameIo for PacketSocket {
    fn recv(&mut self, buffer: &mut [u8]) -> Result<Option<Received>, Gone> {
        for _ in 0..SKIPS_MAX {
            let mut header = [0; vnet::LEN];
            let mut parts = [IoSliceMut::new(&mut header[..HEADER_LEN]), IoSliceMut::new(buffer)];
            match rustix::io::readv(&self.socket, &mut parts) {
                Ok(len) if len >= HEADER_LEN => {
                    let len = len - HEADER_LEN;
                    return Ok(Some(Received { len, offload: vnet::parse(&header, &buffer[..len]) }));
                }
                // A super-frame of a kind that virtio headers do not know. It is off the queue.
                Ok(_) | Err(Errno::INVAL) => {}
                Err(Errno::NETDOWN) if self.interface().is_none() => return Err(Gone),
                Err(Errno::BADF | Errno::NOTSOCK) => return Err(Gone),
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    fn send(&mut self, frame: &[u8], offload: Offload) -> Result<(), DropReason> {
        let header = vnet::emit(offload);
        match rustix::io::writev(&self.socket, &[IoSlice::new(&header[..HEADER_LEN]), IoSlice::new(frame)]) {
            Ok(_) => Ok(()),
            Err(errno) => Err(loss(errno)),
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }
}

/// Why the kernel did not take a packet for the outside.
pub(super) fn loss(errno: Errno) -> DropReason {
    match errno {
        Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM => DropReason::UplinkFull,
        Errno::MSGSIZE => DropReason::UplinkMtu,
        Errno::NETDOWN | Errno::NXIO | Errno::NODEV => DropReason::UplinkDown,
        _ => DropReason::UplinkRefused,
    }
}

pub(super) fn open_error(what: &'static str, error: io::Error) -> EdgeError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => EdgeError::NotPermitted(what),
        _ => EdgeError::Io { what: "open a socket", source: error },
    }
}

pub(super) fn io_error(what: &'static str) -> impl Fn(io::Error) -> EdgeError {
    move |source| EdgeError::Io { what, source }
}
