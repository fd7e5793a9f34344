//! The kernel at arm's length.
//!
//! Two seams, each small enough to hold in the head, stand between the switch and the world:
//!
//! - [`FrameIo`]: frames of one port, in and out. A TAP queue ([`tap`]), an in-memory ring ([`memory`]), or a wrapper
//!   around another one that records ([`pcap`]) or misbehaves on purpose ([`fault`]). A host interface, too ([`packet`]).
//! - [`UnderlayRx`] and [`UnderlayTx`]: datagrams from and to other VTEPs. UDP sockets ([`udp`]) or an in-memory network.
//!
//! What leaves for the outside otherwise has sockets of its own: [`raw`] for packets that the kernel is to route, and
//! [`reserve`] for ports that are ours and not the kernel's. A [`ledger`] is a file in memory that outlives a process.
//!
//! Nothing here blocks, and nothing here decides where a frame goes. All of the crate's `unsafe` is in this folder,
//! most of it in [`sys`].

pub(crate) mod cpu;
pub mod ethtool;
pub mod fault;
pub mod filter;
pub mod ledger;
pub mod link;
pub mod memory;
pub mod netns;
pub mod packet;
pub mod pcap;
pub mod raw;
pub mod reserve;
pub(crate) mod sys;
pub mod tap;
pub mod udp;
pub mod uplink;

use std::os::fd::BorrowedFd;

use crate::offload::Offload;
use crate::offload::vnet::VnetError;
use crate::tables::SegmentId;
use crate::tunnel::{Envelope, Vtep};
use crate::verdict::DropReason;
use crate::wire::Ecn;

/// Bytes that hold any frame: a 64 KiB super-frame with its Ethernet header and tags.
pub const FRAME_MAX: usize = 65_536 + 64;

/// A frame that was read.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Its length in the buffer, from the Ethernet header on.
    pub len: usize,
    /// What its virtio header says is left to do, or why that header is refused.
    pub offload: Result<Offload, VnetError>,
}

/// A port that will bring no frame again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the port has gone")]
pub struct Gone;

/// What a type with a field `socket` and nothing else has for handing it to another process. The text says what a second
/// descriptor of the same socket means.
macro_rules! one_socket {
    ($type:ident, $shared:literal) => {
        impl $type {
            /// The socket that another process has opened.
            #[must_use]
            pub fn from_descriptor(descriptor: std::os::fd::OwnedFd) -> Self {
                Self { socket: descriptor.into() }
            }

            /// Its descriptor.
            #[must_use]
            pub fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
                std::os::fd::AsFd::as_fd(&self.socket)
            }

            #[doc = concat!("The same socket by a second descriptor: ", $shared, ".")]
            ///
            /// # Errors
            /// `EMFILE` when there are no more descriptors.
            pub fn try_clone(&self) -> std::io::Result<Self> {
                Ok(Self { socket: self.socket.try_clone()? })
            }
        }
    };
}
use one_socket;

/// Frames of one port, as one worker reads and writes them.
pub trait FrameIo: Send {
    /// Reads one frame into `buffer` ([`FRAME_MAX`] bytes); `None` when there is none for now.
    fn recv(&mut self, buffer: &mut [u8]) -> Result<Option<Received>, Gone>;

    /// Writes one frame, or says why it is lost.
    fn send(&mut self, frame: &[u8], offload: Offload) -> Result<(), DropReason>;

    /// What becomes readable when there is a frame; `None` for ports that live in memory.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
}

/// IP packets that the host's own routing takes to where they are addressed.
pub trait PacketIo: Send {
    /// Sends one packet, from its IP header on, with its checksums; or says why it is lost.
    fn send(&mut self, packet: &[u8]) -> Result<(), DropReason>;
}

/// One datagram that came to the tunnel port.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Who sent it, as far as the underlay can be trusted.
    pub sender: Vtep,
    /// Its outer ECN field.
    pub ecn: Ecn,
    /// The UDP payload.
    pub payload: &'a mut [u8],
}

/// Datagrams from other VTEPs.
pub trait UnderlayRx: Send {
    /// Receives a batch; returns how many datagrams it has. Zero: none for now. Errors of single datagrams are counted
    /// by the kernel, not returned.
    fn fill(&mut self) -> usize;

    /// Datagram `index` of the batch.
    fn datagram(&mut self, index: usize) -> Datagram<'_>;

    /// What becomes readable when there is a datagram.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
}

/// Datagrams to other VTEPs, collected and sent in batches.
pub trait UnderlayTx: Send {
    /// Sends `inner`, super-frame or not, in one piece and at once, if that is possible; a frame that is no super-frame
    /// has its checksum. False: it is to be cut, staged and committed.
    fn send_whole(
        &mut self,
        _to: Vtep,
        _envelope: &Envelope,
        _segment: SegmentId,
        _inner: &[u8],
        _offload: Offload,
    ) -> bool {
        false
    }

    /// Room for one datagram payload of `len` bytes. Sends what was collected when there is no room beside it.
    fn stage(&mut self, len: usize) -> &mut [u8];

    /// Adds the first `len` bytes of what [`Self::stage`] returned last, for `to`, on behalf of `segment`.
    fn commit(&mut self, to: Vtep, envelope: &Envelope, segment: SegmentId, len: usize);

    /// Sends what was collected.
    fn flush(&mut self);

    /// Takes the list of what was lost since the last call.
    fn take_losses(&mut self) -> Vec<Loss>;
}

/// Datagrams that the underlay did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Whose they were.
    pub segment: SegmentId,
    /// Why.
    pub reason: DropReason,
    /// How many.
    pub count: u64,
}
