//! All sockets of one link of the host.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::packet::PacketSocket;
use super::raw::RawSockets;

/// The sockets of a link: for frames both ways, and for packets whose next hop is not resolved.
#[derive(Debug)]
pub struct LinkSockets {
    /// For frames.
    pub packets: PacketSocket,
    /// For packets to a next hop whose MAC is not known.
    pub raw: RawSockets,
}

impl LinkSockets {
    /// Those that [`LinkSockets::descriptors`] are; `None` for too few or too many.
    #[must_use]
    pub fn from_descriptors(descriptors: Vec<OwnedFd>) -> Option<Self> {
        let mut descriptors = descriptors.into_iter();
        let packets = PacketSocket::from_descriptor(descriptors.next()?);
        Some(Self { packets, raw: RawSockets::from_descriptors(descriptors.collect())? })
    }

    /// Their descriptors, in an order of our own.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        std::iter::once(self.packets.descriptor()).chain(self.raw.descriptors()).collect()
    }

    /// The same sockets by other descriptors.
    ///
    /// # Errors
    /// `EMFILE` when there are no more descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { packets: self.packets.try_clone()?, raw: self.raw.try_clone()? })
    }
}
