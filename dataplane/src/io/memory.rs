//! Ports and an underlay that live in memory: whole hosts in one test, without a kernel.

use std::collections::{HashMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Datagram, FrameIo, Gone, Loss, Received, UnderlayRx, UnderlayTx};
use crate::offload::Offload;
use crate::tables::SegmentId;
use crate::tunnel::{Envelope, Vtep};
use crate::verdict::DropReason;
use crate::wire::Ecn;

/// Frames a ring holds; what is sent to a full one is lost, as with a TAP's queue.
pub const RING_FRAMES: usize = 1_024;

/// Frames in flight one way.
type Ring<T> = Arc<Mutex<VecDeque<T>>>;

fn lock<T>(ring: &Mutex<T>) -> MutexGuard<'_, T> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One end of a link; what it sends, the other end receives.
#[derive(Clone, Debug, Default)]
pub struct MemoryPort {
    incoming: Ring<(Vec<u8>, Offload)>,
    outgoing: Ring<(Vec<u8>, Offload)>,
}

impl MemoryPort {
    /// The two ends of a link.
    #[must_use]
    pub fn pair() -> (Self, Self) {
        let near = Self::default();
        let far = Self { incoming: Arc::clone(&near.outgoing), outgoing: Arc::clone(&near.incoming) };
        (near, far)
    }

    /// Takes the next frame, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<(Vec<u8>, Offload)> {
        lock(&self.incoming).pop_front()
    }
}

impl FrameIo for MemoryPort {
    fn recv(&mut self, buffer: &mut [u8]) -> Result<Option<Received>, Gone> {
        Ok(self.take().map(|(frame, offload)| {
            buffer[..frame.len()].copy_from_slice(&frame);
            Received { len: frame.len(), offload: Ok(offload) }
        }))
    }

    fn send(&mut self, frame: &[u8], offload: Offload) -> Result<(), DropReason> {
        let mut ring = lock(&self.outgoing);
        if ring.len() == RING_FRAMES {
            return Err(DropReason::PortFull);
        }
        ring.push_back((frame.to_vec(), offload));
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A datagram with the outer headers that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Who sent it.
    pub sender: Vtep,
    /// Its outer source port.
    pub source_port: u16,
    /// Its outer ECN field.
    pub ecn: Ecn,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

/// An underlay that joins the VTEPs attached to it.
#[derive(Clone, Debug, Default)]
pub struct MemoryUnderlay {
    inboxes: Arc<Mutex<HashMap<Vtep, Ring<Carried>>>>,
}

impl MemoryUnderlay {
    /// An underlay without VTEPs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Attaches `vtep`; returns its two halves.
    #[must_use]
    pub fn attach(&self, vtep: Vtep) -> (MemoryRx, MemoryTx) {
        let inbox = Ring::default();
        lock(&self.inboxes).insert(vtep, Arc::clone(&inbox));
        let tx = MemoryTx { vtep, underlay: self.clone(), staged: Vec::new(), losses: Vec::new() };
        (MemoryRx { inbox, batch: Vec::new() }, tx)
    }

    /// Sends `datagram` to `to` from outside; false if nobody is there.
    pub fn inject(&self, to: Vtep, datagram: Carried) -> bool {
        let inbox = lock(&self.inboxes).get(&to).cloned();
        inbox.is_some_and(|inbox| {
            lock(&inbox).push_back(datagram);
            true
        })
    }
}

/// The receiving half of a VTEP.
#[derive(Debug)]
pub struct MemoryRx {
    inbox: Ring<Carried>,
    batch: Vec<Carried>,
}

impl MemoryRx {
    /// Takes the next datagram instead of the switch.
    #[must_use]
    pub fn take(&self) -> Option<Carried> {
        lock(&self.inbox).pop_front()
    }
}

impl UnderlayRx for MemoryRx {
    fn fill(&mut self) -> usize {
        self.batch = lock(&self.inbox).drain(..).collect();
        self.batch.len()
    }

    fn datagram(&mut self, index: usize) -> Datagram<'_> {
        let Carried { sender, ecn, payload, .. } = &mut self.batch[index];
        Datagram { sender: *sender, ecn: *ecn, payload }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// The sending half of a VTEP.
#[derive(Debug)]
pub struct MemoryTx {
    vtep: Vtep,
    underlay: MemoryUnderlay,
    staged: Vec<u8>,
    losses: Vec<Loss>,
}

impl UnderlayTx for MemoryTx {
    fn stage(&mut self, len: usize) -> &mut [u8] {
        self.staged.resize(len, 0);
        &mut self.staged
    }

    fn commit(&mut self, to: Vtep, envelope: &Envelope, segment: SegmentId, len: usize) {
        let datagram = Carried {
            sender: self.vtep,
            source_port: envelope.source_port,
            ecn: envelope.ecn,
            payload: self.staged[..len].to_vec(),
        };
        if !self.underlay.inject(to, datagram) {
            self.losses.push(Loss { segment, reason: DropReason::UnderlayUnreachable, count: 1 });
        }
    }

    fn flush(&mut self) {}

    fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }
}
