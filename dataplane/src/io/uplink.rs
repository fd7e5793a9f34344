//! Underlay mode `tunnel-gso`: whole encapsulated super-frames, written to a TAP of ours.
//!
//! ```text
//!   worker --write--> uplink TAP --ingress filter: redirect--> underlay device --> wire
//!   worker <--------- UDP socket on the tunnel port <--------------------------------
//! ```
//!
//! The outer headers are ours, so the source port takes all of 49152-65535, and a super-frame crosses the host without a
//! look at its payload; the underlay device, or the kernel before it, cuts it. The filter belongs to the TAP and the TAP
//! to our descriptors, so nothing of it outlives the process.
//!
//! No socket means no routing: control resolves next hops and tells us ([`NextHops`]). A VTEP whose next hop is not
//! known, a frame larger than the link takes and everything after a refused write go through the UDP sockets, which
//! know about routes, neighbors and path MTUs by themselves.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use rustix::io::Errno;

use super::sys::tun;
use super::tap::{Tap, TapError};
use super::udp::UdpTx;
use super::{Loss, UnderlayTx};
use crate::offload::tunnel::{self, Outer};
use crate::offload::{Offload, OffloadError};
use crate::tables::SegmentId;
use crate::tunnel::outer::{self, Ends, NextHop};
use crate::tunnel::{Envelope, Vtep};

/// Next hops by VTEP, ascending. The list is as long as the list of peers.
pub type NextHops = Vec<(Vtep, NextHop)>;

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

    /// A sender for each queue, with a UDP sender to fall back on for each.
    pub(crate) fn into_senders(self, shared: &Arc<UplinkShared>, sockets: Vec<UdpTx>) -> Vec<UplinkTx> {
        let pairs = self.queues.into_iter().zip(sockets);
        let sender = |(queue, sockets)| UplinkTx { queue, shared: Arc::clone(shared), sockets, id: 0 };
        pairs.map(sender).collect()
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

/// What all senders of a host know.
#[derive(Debug)]
pub(crate) struct UplinkShared {
    pub(crate) own: IpAddr,
    pub(crate) port: u16,
    pub(crate) hops: ArcSwap<NextHops>,
    /// The kernel has refused a write.
    pub(crate) refused: AtomicBool,
}

impl UplinkShared {
    /// For the VTEP `own` and the tunnel's UDP port; no next hop is known yet.
    pub(crate) fn new(own: IpAddr, port: u16) -> Self {
        Self { own, port, hops: ArcSwap::default(), refused: AtomicBool::new(false) }
    }
}

/// A worker's sender.
#[derive(Debug)]
pub(crate) struct UplinkTx {
    queue: OwnedFd,
    shared: Arc<UplinkShared>,
    sockets: UdpTx,
    id: u16,
}

impl UplinkTx {
    fn way(&self, to: Vtep) -> Option<Way> {
        if self.shared.refused.load(Ordering::Relaxed) {
            return None;
        }
        let hops = self.shared.hops.load();
        let index = hops.binary_search_by_key(&to, |&(vtep, _)| vtep).ok()?;
        let ends = Ends::new(self.shared.own, to.address())?;
        Some(Way { ends, hop: hops[index].1, port: self.shared.port })
    }

    /// Whether the write went well enough: a full queue is a loss like any other on the way out.
    fn judge(&mut self, written: io::Result<()>, segment: SegmentId, count: u64) -> bool {
        let Err(error) = written else { return true };
        match Errno::from_io_error(&error) {
            Some(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => {
                self.sockets.lose(segment, crate::verdict::DropReason::UnderlayFull, count);
                true
            }
            _ => {
                if !self.shared.refused.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the uplink refuses a frame; sending through UDP sockets from here on");
                }
                false
            }
        }
    }
}

impl UnderlayTx for UplinkTx {
    fn send_whole(
        &mut self,
        to: Vtep,
        envelope: &Envelope,
        segment: SegmentId,
        inner: &[u8],
        offload: Offload,
    ) -> bool {
        let Some(way) = self.way(to) else { return false };
        let Ok((header, largest)) = header_of(inner, offload, way.ends) else { return false };
        // The inner Ethernet header, the tunnel's headers and the packet; the outer Ethernet header does not count.
        let packet = largest + way.ends.headers_len() - crate::wire::ethernet::HEADER_LEN;
        if packet > usize::from(way.hop.mtu) || inner.len() > way.ends.inner_max() {
            return false;
        }
        self.id = self.id.wrapping_add(1);
        let written = way.write(&self.queue, &header, envelope, inner, self.id);
        self.judge(written, segment, 1)
    }

    fn stage(&mut self, len: usize) -> &mut [u8] {
        self.sockets.stage(len)
    }

    fn commit(&mut self, to: Vtep, envelope: &Envelope, segment: SegmentId, len: usize) {
        self.sockets.commit(to, envelope, segment, len);
    }

    fn flush(&mut self) {
        self.sockets.flush();
    }

    fn take_losses(&mut self) -> Vec<Loss> {
        self.sockets.take_losses()
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
