//! Datagrams to other VTEPs.
//!
//! Payloads are written one behind the other into one arena, so that datagrams of equal size for one peer and flow need
//! nothing but a segment size to leave as one (`UDP_SEGMENT`): segments of a super-frame and small frames alike.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::SourcePorts;
use crate::io::sys::mmsg::{Outgoing, SendBatch};
use crate::io::{Loss, UnderlayTx};
use crate::tables::SegmentId;
use crate::tunnel::{Envelope, Vtep};
use crate::verdict::DropReason;

/// Collected payload bytes: four full super-frames, which stay in a core's L2 cache.
const ARENA: usize = 256 << 10;
/// Collected sends.
const ENTRIES: usize = 64;
/// Datagrams that may leave as one: what every kernel with `UDP_SEGMENT` takes (newer ones take 128).
const SEGMENTS_MAX: usize = 64;
/// Payload bytes that may leave as one: with its outer headers an Ethernet frame below 64 KiB, beyond which the kernel
/// cuts it up before the device sees it.
const GSO_MAX: usize = 65_400;

/// A worker's sender.
pub struct UdpTx {
    sources: Arc<SourcePorts>,
    port: u16,
    arena: Vec<u8>,
    used: usize,
    entries: Vec<Entry>,
    batch: SendBatch,
    losses: Vec<Loss>,
}

/// One send: datagrams of `size` bytes, the last may be shorter.
#[derive(Clone, Copy, Debug)]
struct Entry {
    to: SocketAddr,
    socket: usize,
    tos: u8,
    segment: SegmentId,
    start: usize,
    len: usize,
    size: usize,
    count: usize,
}

impl std::fmt::Debug for UdpTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdpTx")
            .field("mode", &self.sources.mode())
            .field("entries", &self.entries.len())
            .finish()
    }
}

impl UdpTx {
    pub(super) fn new(sources: Arc<SourcePorts>, port: u16) -> Self {
        Self {
            sources,
            port,
            arena: vec![0; ARENA],
            used: 0,
            entries: Vec::with_capacity(ENTRIES),
            batch: SendBatch::new(ENTRIES),
            losses: Vec::new(),
        }
    }

    fn send_run(&mut self, first: usize, last: usize) {
        let mut next = first;
        while next < last {
            let socket = self.sources.socket(self.entries[next].socket);
            let arena = &self.arena;
            let messages = self.entries[next..last].iter().map(|e| e.outgoing(arena));
            match self.batch.send(socket, messages) {
                Ok(0) => return self.lose_run(next, last, DropReason::UnderlayFull),
                Ok(count) => next += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if self.entries[next].count > 1 && may_refuse_gso(&e) => {
                    if self.send_singly(next) && self.sources.give_up_segments() {
                        tracing::warn!(error = %e, "the underlay refuses UDP segmentation; sending single datagrams");
                    }
                    next += 1;
                }
                Err(e) => {
                    self.lose_run(next, next + 1, reason_of(&e));
                    next += 1;
                }
            }
        }
    }

    /// Sends the datagrams of one entry one by one; tells whether the kernel took the first, which is of full size.
    fn send_singly(&mut self, index: usize) -> bool {
        let entry = self.entries[index];
        let payload = &self.arena[entry.start..entry.start + entry.len];
        let socket = self.sources.socket(entry.socket);
        let mut lost = Vec::new();
        let mut first_taken = false;
        for (number, payload) in payload.chunks(entry.size).enumerate() {
            let single = Outgoing { to: entry.to, tos: entry.tos, segment: None, payload };
            match self.batch.send(socket, std::iter::once(single)) {
                Ok(0) => lost.push(DropReason::UnderlayFull),
                Ok(_) => first_taken |= number == 0,
                Err(e) => lost.push(reason_of(&e)),
            }
        }
        lost.into_iter().for_each(|reason| self.lose(entry.segment, reason, 1));
        first_taken
    }

    fn lose_run(&mut self, first: usize, last: usize, reason: DropReason) {
        for index in first..last {
            let Entry { segment, count, .. } = self.entries[index];
            self.lose(segment, reason, count as u64);
        }
    }

    /// Whether small datagrams of a batch leave as one.
    pub(crate) fn packs(&self) -> bool {
        self.sources.segments()
    }

    /// The outer source port of the flow whose port would be `flow` if there were a socket for each.
    pub(crate) fn source_port(&self, flow: u16) -> u16 {
        self.sources.port(self.sources.index(flow))
    }

    pub(crate) fn lose(&mut self, segment: SegmentId, reason: DropReason, count: u64) {
        match self.losses.iter_mut().find(|l| l.segment == segment && l.reason == reason) {
            Some(loss) => loss.count += count,
            None => self.losses.push(Loss { segment, reason, count }),
        }
    }
}

impl UnderlayTx for UdpTx {
    fn stage(&mut self, len: usize) -> &mut [u8] {
        if self.used + len > self.arena.len() || self.entries.len() == ENTRIES {
            self.flush();
        }
        &mut self.arena[self.used..self.used + len]
    }

    fn commit(&mut self, to: Vtep, envelope: &Envelope, segment: SegmentId, len: usize) {
        let entry = Entry {
            to: SocketAddr::new(to.address(), self.port),
            socket: self.sources.index(envelope.source_port),
            tos: envelope.ecn.bits(),
            segment,
            start: self.used,
            len,
            size: len,
            count: 1,
        };
        self.used += len;
        match self.entries.last_mut() {
            Some(last) if self.sources.segments() && last.takes(&entry) => {
                last.len += len;
                last.count += 1;
            }
            _ => self.entries.push(entry),
        }
    }

    fn flush(&mut self) {
        // Within a socket the order of the arena, so that every flow stays in order.
        self.entries.sort_unstable_by_key(|e| (e.socket, e.start));
        let mut first = 0;
        while first < self.entries.len() {
            let socket = self.entries[first].socket;
            let run = self.entries[first..].iter().take_while(|e| e.socket == socket).count();
            self.send_run(first, first + run);
            first += run;
        }
        self.entries.clear();
        self.used = 0;
    }

    fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }
}

impl Entry {
    /// Whether `next`, which lies behind this entry in the arena, may leave with it.
    fn takes(&self, next: &Self) -> bool {
        let whole = self.len == self.size * self.count;
        let same = self.to == next.to && self.socket == next.socket && self.tos == next.tos;
        let fits = self.count < SEGMENTS_MAX && self.len + next.len <= GSO_MAX;
        whole && same && fits && self.segment == next.segment && next.len <= self.size
    }

    fn outgoing<'a>(&self, arena: &'a [u8]) -> Outgoing<'a> {
        Outgoing {
            to: self.to,
            tos: self.tos,
            segment: (self.count > 1).then_some(self.size as u16),
            payload: &arena[self.start..self.start + self.len],
        }
    }
}

/// These answers can also mean that the datagram could not be sent alone either.
fn may_refuse_gso(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL))
}

fn reason_of(error: &io::Error) -> DropReason {
    match error.raw_os_error() {
        Some(libc::EMSGSIZE) => DropReason::UnderlayMtu,
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => DropReason::UnderlayFull,
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EADDRNOTAVAIL) => {
            DropReason::UnderlayUnreachable
        }
        _ => DropReason::UnderlayRefused,
    }
}
