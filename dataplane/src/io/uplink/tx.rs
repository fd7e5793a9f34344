//! A worker's sender: the uplink where it can, sockets for everything else.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::header_of;
use super::lane::{OpenTap, UplinkShared};
use crate::io::udp::UdpTx;
use crate::io::{Loss, UnderlayTx};
use crate::offload::Offload;
use crate::tables::SegmentId;
use crate::tunnel::{Envelope, Vtep};
use crate::verdict::DropReason;
use crate::wire::ethernet;

/// A worker's sender.
#[derive(Debug)]
pub(crate) struct UplinkTx {
    /// Which queue of the uplink is this worker's.
    queue: usize,
    shared: Arc<UplinkShared>,
    sockets: UdpTx,
    id: u16,
    /// No frame that stands for one has been sent since the last flush.
    first: bool,
}

impl UplinkTx {
    /// The sender of the worker `queue`, which falls back on `sockets`.
    pub(crate) fn new(queue: usize, shared: Arc<UplinkShared>, sockets: UdpTx) -> Self {
        Self { queue, shared, sockets, id: 0, first: true }
    }

    /// Whether the write went well enough: a full queue is a loss like any other on the way out.
    fn judge(&mut self, written: io::Result<()>, tap: &OpenTap, segment: SegmentId) -> bool {
        let Err(error) = written else { return true };
        match Errno::from_io_error(&error) {
            Some(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => {
                self.sockets.lose(segment, DropReason::UnderlayFull, 1);
                true
            }
            _ => {
                if tap.give_up() {
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
        if offload.gso.is_none() && self.sockets.packs() && !std::mem::take(&mut self.first) {
            return false;
        }
        let lane = self.shared.lane();
        let Some(lane) = lane.as_deref() else { return false };
        let Some(queue) = lane.tap.queues.get(self.queue) else { return false };
        let Some(way) = self.shared.way(lane, to) else { return false };
        let Ok((header, largest)) = header_of(inner, offload, way.ends) else { return false };
        // The inner Ethernet header, the tunnel's headers and the packet; the outer Ethernet header does not count.
        let packet = largest + way.ends.headers_len() - ethernet::HEADER_LEN;
        if packet > usize::from(way.hop.mtu) || inner.len() > way.ends.inner_max() {
            return false;
        }
        self.id = self.id.wrapping_add(1);
        let source_port = self.sockets.source_port(envelope.source_port);
        let envelope = Envelope { source_port, ..*envelope };
        // What the flow has sent before goes before.
        self.sockets.flush();
        let written = way.write(queue, &header, &envelope, inner, self.id);
        self.judge(written, &lane.tap, segment)
    }

    fn stage(&mut self, len: usize) -> &mut [u8] {
        self.sockets.stage(len)
    }

    fn commit(&mut self, to: Vtep, envelope: &Envelope, segment: SegmentId, len: usize) {
        self.sockets.commit(to, envelope, segment, len);
    }

    fn flush(&mut self) {
        self.first = true;
        self.sockets.flush();
    }

    fn take_losses(&mut self) -> Vec<Loss> {
        self.sockets.take_losses()
    }
}
