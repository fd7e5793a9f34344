//! Raw IP sockets: packets whose next hop the kernel is to find, ask for its MAC, and wait for.
//!
//! The way out of a link for a packet whose next hop's MAC is not known yet: the kernel asks for it and keeps the packet
//! meanwhile, and once it has the answer, frames go by packet socket. The packet's own header is sent (`IP_HDRINCL`,
//! `IPV6_HDRINCL`), with the source address it has. Which of the link's next hops it is, the host's routing says; no
//! other link is used (`SO_BINDTOIFINDEX`). A destination to which no route leaves by the link is refused over IPv6, and
//! taken to be on the link over IPv4. Nothing is received here.
//!
//! There is no segmentation offload and no checksum offload: each packet must be whole, with every checksum in place,
//! and no longer than the MTU. Packets of an IP version that the host does not have are refused.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::SendFlags;
use socket2::{Domain, Protocol, Socket, Type};

use super::PacketIo;
use super::packet::{EdgeError, loss, open_error};
use crate::verdict::DropReason;

/// `IPPROTO_RAW`: the header says which protocol it is.
const ANY_PROTOCOL: i32 = 255;

/// One socket for each IP version that the host has.
#[derive(Debug)]
pub struct RawSockets {
    v4: Socket,
    v6: Option<Socket>,
}

impl RawSockets {
    /// Opens them for the interface of this index in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`EdgeError`].
    pub fn open(index: u32) -> Result<Self, EdgeError> {
        let link = NonZeroU32::new(index).ok_or(EdgeError::NoInterface(index))?;
        let open = |domain| {
            Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(ANY_PROTOCOL)))
        };
        let failed = |e| open_error("a raw IP socket", e);
        let stay = |bound: io::Result<()>| {
            bound.map_err(|e| match Errno::from_io_error(&e) {
                Some(Errno::NODEV) => EdgeError::NoInterface(index),
                _ => EdgeError::Io { what: "bind a raw IP socket", source: e },
            })
        };
        let v4 = open(Domain::IPV4).map_err(failed)?;
        stay(v4.bind_device_by_index_v4(Some(link)))?;
        let v6 = match open(Domain::IPV6) {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::AFNOSUPPORT) => None,
            other => Some(other.map_err(failed)?),
        };
        if let Some(v6) = &v6 {
            stay(v6.bind_device_by_index_v6(Some(link)))?;
        }
        Ok(Self { v4, v6 })
    }

    /// Those that [`RawSockets::descriptors`] are; `None` for none or too many.
    #[must_use]
    pub fn from_descriptors(descriptors: Vec<OwnedFd>) -> Option<Self> {
        let mut descriptors = descriptors.into_iter().map(Socket::from);
        let sockets = Self { v4: descriptors.next()?, v6: descriptors.next() };
        descriptors.next().is_none().then_some(sockets)
    }

    /// Their descriptors, in an order of our own.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        std::iter::once(&self.v4).chain(&self.v6).map(AsFd::as_fd).collect()
    }

    /// The same sockets by other descriptors.
    ///
    /// # Errors
    /// `EMFILE` when there are no more descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let v6 = self.v6.as_ref().map(Socket::try_clone).transpose()?;
        Ok(Self { v4: self.v4.try_clone()?, v6 })
    }
}

impl PacketIo for RawSockets {
    /// [`DropReason::UplinkMtu`] and its like, or [`DropReason::Malformed`] when it is no IP packet.
    fn send(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        let to = destination(packet).ok_or(DropReason::Malformed)?;
        let socket = match to {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => self.v6.as_ref().ok_or(DropReason::UplinkRefused)?,
        };
        match rustix::net::sendto(socket, packet, SendFlags::empty(), &SocketAddr::new(to, 0)) {
            Ok(_) => Ok(()),
            Err(errno) => Err(loss(errno)),
        }
    }
}

/// Where an IP packet is going.
fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => packet.get(16..)?.first_chunk().map(|bytes: &[u8; 4]| Ipv4Addr::from(*bytes).into()),
        6 => packet.get(24..)?.first_chunk().map(|bytes: &[u8; 16]| Ipv6Addr::from(*bytes).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_is_read_only_where_it_is() {
        let mut v4 = [0x45; 20];
        v4[16..].copy_from_slice(&[192, 0, 2, 1]);
        assert_eq!(destination(&v4), Some([192, 0, 2, 1].into()));
        assert_eq!(destination(&v4[..19]), None);
        let mut v6 = [0x60; 40];
        v6[24..].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        assert_eq!(destination(&v6), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(destination(&v6[..39]), None);
        assert_eq!(destination(&[0x50; 40]), None);
        assert_eq!(destination(&[]), None);
    }
}
