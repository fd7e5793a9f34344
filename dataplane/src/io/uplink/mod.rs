//! Underlay mode `tunnel-gso`: whole encapsulated super-frames, written to a TAP of ours.
//!
//! ```text
//!   worker --write--> uplink TAP --ingress filter: redirect--> underlay device --> wire
//!   worker <--------- UDP socket on the tunnel port <--------------------------------
//! ```
//!
//! A super-frame crosses the host without a look at its payload; the underlay device, or the kernel before it, cuts it.
//! The filter belongs to the TAP and the TAP to our descriptors, so nothing of it outlives the process.
//!
//! The outer headers are ours, but the source port is the one that the flow has through sockets ([`super::udp`]): a flow
//! keeps its port whichever way it takes, and when a router answers that a frame is too big for the path, the kernel
//! finds the socket that the answer is for and remembers the path's MTU, which control reads back. The price is entropy:
//! 16 ports, where headers of our own could have 16384.
//!
//! Of the frames of a round that stand for one only, the first takes the uplink and the others are left to the sockets if
//! they can pack several into one datagram with `UDP_SEGMENT`: a write costs as much for 60 bytes as for 60,000.
//!
//! No socket means no routing: control resolves next hops and tells us, and it may take the uplink away or put another
//! one in its place at any time ([`Handle`](crate::runtime::Handle)). A VTEP whose next hop is not known, a frame larger
//! than its path takes and everything after a refused write go through the UDP sockets, which know about routes,
//! neighbors and path MTUs by themselves.

mod lane;
#[cfg(test)]
mod tests;
mod tx;

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

pub(crate) use lane::{UplinkShared, UplinkState};
pub(crate) use tx::UplinkTx;

use super::sys::tun;
use super::tap::{Tap, TapError};
use crate::offload::tunnel::{self, Outer};
use crate::offload::{Offload, OffloadError};
use crate::tunnel::Envelope;
use crate::tunnel::outer::{self, Ends, NextHop};

/// A TAP that takes encapsulated super-frames.
#[derive(Debug)]
pub struct Uplink {
    name: String,
    queues: Vec<OwnedFd>,
}

impl Uplink {
    /// Creates the device `name` with `queues` queues in the calling thread's network namespace. The link is down and
    /// leads nowhere yet.
    ///
    /// # Errors
    /// [`TapError::Io`] with `EINVAL` where the kernel does not know GSO over UDP tunnels (before Linux 6.17).
    pub fn create(name: &str, queues: usize) -> Result<Self, TapError> {
        let queues = Tap::create(name, queues)?.into_descriptors();
        let fail = |source| TapError::Io { what: "make an uplink of", name: name.to_owned(), source };
        for fd in &queues {
            tun::set_header_len(fd.as_fd(), tunnel::LEN).map_err(fail)?;
        }
        let mask = tun::OFFLOAD_TSO | tun::OFFLOAD_USO | tun::OFFLOAD_UDP_TUNNEL;
        tun::set_offload(queues[0].as_fd(), mask).map_err(fail)?;
        Ok(Self { name: name.to_owned(), queues })
    }

    /// The link's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The uplink whose queues another process has opened. `name` is the link's.
    #[must_use]
    pub fn from_descriptors(name: String, queues: Vec<OwnedFd>) -> Self {
        Self { name, queues }
    }

    /// The descriptors of its queues.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.queues.iter().map(AsFd::as_fd).collect()
    }

    /// The same device by a second set of descriptors. It then lives until both sets are closed.
    ///
    /// # Errors
    /// `EMFILE` when there are no more descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let queues = self.queues.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
        Ok(Self { name: self.name.clone(), queues })
    }

    /// How many queues it has.
    #[must_use]
    pub fn queues(&self) -> usize {
        self.queues.len()
    }

    /// Writes one frame as a worker would, for a trial before anything depends on it. `inner` must be as `offload` says.
    ///
    /// # Errors
    /// What the kernel answers; `EINVAL` also when `offload` is not that of `inner`.
    pub fn send(&self, way: &Way, envelope: &Envelope, inner: &[u8], offload: Offload) -> io::Result<()> {
        let (header, _) = header_of(inner, offload, way.ends).map_err(|_| io::Error::from(Errno::INVAL))?;
        way.write(&self.queues[0], &header, envelope, inner, 1)
    }
}

/// The way to one VTEP.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The outer addresses.
    pub ends: Ends,
    /// The outer MACs.
    pub hop: NextHop,
    /// The UDP port there.
    pub port: u16,
}

impl Way {
    fn write(
        &self,
        queue: &OwnedFd,
        header: &[u8],
        envelope: &Envelope,
        inner: &[u8],
        id: u16,
    ) -> io::Result<()> {
        let mut outer = [0; outer::MAX];
        let len = outer::write(&mut outer, self.ends, &self.hop, self.port, envelope, inner.len(), id);
        let parts = [IoSlice::new(header), IoSlice::new(&outer[..len]), IoSlice::new(inner)];
        rustix::io::writev(queue, &parts)?;
        Ok(())
    }
}

/// The virtio header for `inner`, and the length of the largest frame that will travel alone.
fn header_of(inner: &[u8], offload: Offload, ends: Ends) -> Result<([u8; tunnel::LEN], usize), OffloadError> {
    let outer = Outer { len: ends.headers_len(), udp: ends.udp_offset(), v6: matches!(ends, Ends::V6(..)) };
    match offload.gso {
        Some(gso) => {
            let largest = usize::from(gso.header_len) + usize::from(gso.size);
            Ok((tunnel::emit(inner, offload, outer)?, largest))
        }
        None => Ok((tunnel::emit_single(outer), inner.len())),
    }
}
