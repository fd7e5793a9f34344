//! The road through the rooms, in order, with nothing else on it.
//!
//! ```text
//!  from_port  : tags > guard > size > first hop? > reserved? > learn > forward
//!  from_tunnel: decap (I flag, VNI, peer, source, tag, ECN) > offload state > for us? > learn > forward (split horizon)
//!  from_link  : NAT or routed > ttl > size > deliver
//! ```
//!
//! A [`Datapath`] is a worker's view: its answer depends on (tables, frame, now) alone, and it counts every answer it
//! gives, once. What it remembers of earlier frames makes it faster, never different.

use crate::offload::checksum::recognise;
use crate::offload::{Offload, OffloadError};
use crate::switch::memo::Memo;
use crate::switch::segment::SourceElsewhere;
use crate::switch::storm::{Storm, StormLimit};
use crate::switch::{Location, Port, Segment, forward, guard};
use crate::tables::{PortId, PortKind, Tables};
use crate::time::Moment;
use crate::tunnel::{Envelope, Inner, Vtep, decap};
use crate::verdict::{DropReason, Verdict};
use crate::wire::{Ecn, Ethernet, MacAddr, ethernet, vlan};

mod first_hop;
mod made;

pub use made::{Made, To};

/// One Ethernet frame, or one super-frame, and how far its checksums and segmentation have got.
#[derive(Debug)]
pub struct Frame<'f> {
    /// From the Ethernet header on.
    pub bytes: &'f mut [u8],
    /// What is left to do to it.
    pub offload: Offload,
}

/// A frame with its verdict.
#[derive(Debug)]
pub struct Judged<'t, 'f> {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The segment it belongs to, unless it was refused before that was known.
    pub segment: Option<&'t Segment>,
    /// Where it came from, which is where it must not go; `None`: through a link of the host.
    pub ingress: Option<Location>,
    /// The frame as it is to be sent on.
    pub frame: Frame<'f>,
}

/// The pure core as one worker uses it.
#[derive(Clone, Debug)]
pub struct Datapath {
    shard: usize,
    seed: u64,
    memo: Memo,
    outbox: made::Outbox,
}

impl Datapath {
    /// For the worker whose counters are shard `shard`. `seed` is the same on all workers of a host, so that a flow
    /// keeps its outer source port.
    #[must_use]
    pub fn new(shard: usize, seed: u64) -> Self {
        Self { shard, seed, memo: Memo::none(), outbox: made::Outbox::default() }
    }

    /// The same, remembering conversations: for a worker, which sees many frames of each.
    #[must_use]
    pub fn remembering(self) -> Self {
        Self { memo: Memo::new(), ..self }
    }

    /// The shard that this datapath counts on.
    #[must_use]
    pub const fn shard(&self) -> usize {
        self.shard
    }

    /// Judges a frame that the endpoint of `port` sent.
    #[must_use]
    pub fn from_port<'t, 'f>(
        &mut self,
        tables: &'t Tables,
        port: &'t Port,
        mut frame: Frame<'f>,
        now: Moment,
    ) -> Judged<'t, 'f> {
        let segment = tables.segment_of(port);
        let ingress = Location::Local(port.id);
        if !segment.passes_vlan() && vlan::is_tagged(frame.bytes) {
            let (bytes, removed) = vlan::strip(frame.bytes);
            frame = Frame { bytes, offload: frame.offload.shift(removed) };
        }
        let verdict = self.port_verdict(tables, segment, port, &mut frame, now).unwrap_or_else(Verdict::Drop);
        self.judged(tables, verdict, Some(segment), Some(ingress), frame)
    }

    /// Judges a datagram that `sender` sent to the tunnel port under the outer ECN field `outer`.
    #[must_use]
    pub fn from_tunnel<'t, 'f>(
        &mut self,
        tables: &'t Tables,
        sender: Vtep,
        outer: Ecn,
        datagram: &'f mut [u8],
        now: Moment,
    ) -> Judged<'t, 'f> {
        let ingress = Location::Remote(sender);
        let Inner { segment, storm, frame } = match decap(tables, sender, outer, datagram) {
            Ok(inner) => inner,
            Err((segment, reason)) => {
                let frame = Frame { bytes: &mut [], offload: Offload::NONE };
                return self.judged(tables, Verdict::Drop(reason), segment, Some(ingress), frame);
            }
        };
        let (verdict, offload) = match recognise(frame, segment.mtu) {
            Ok(offload) => {
                let storm = (storm, segment.vtep_storm());
                let verdict = match self.for_router(tables, segment, sender, frame, now) {
                    Some(verdict) => verdict,
                    None => self.switched(segment, ingress, frame, storm, now),
                };
                (verdict.unwrap_or_else(Verdict::Drop), offload)
            }
            Err(e) => (Verdict::Drop(e.into()), Offload::NONE),
        };
        self.judged(tables, verdict, Some(segment), Some(ingress), Frame { bytes: frame, offload })
    }

    /// The next packet that the datapath has made itself since the last call, in order. To be asked after each frame.
    #[must_use]
    #[inline]
    pub fn take_made(&mut self) -> Option<Made> {
        self.outbox.pop()
    }

    /// What the outer headers say when `inner`, a frame of `segment`, enters a tunnel.
    #[must_use]
    pub fn envelope(&self, segment: &Segment, inner: &[u8]) -> Option<Envelope> {
        Envelope::of(segment, inner, self.seed)
    }

    /// Counts `count` frames that were lost after their verdict or before one could be asked for.
    pub fn lost(&self, tables: &Tables, segment: Option<&Segment>, reason: DropReason, count: u64) {
        let shard = segment.map_or_else(|| tables.nowhere.shard(self.shard), |s| s.counters(self.shard));
        shard.dropped_many(reason, count);
    }

    /// Counts a frame that goes somewhere; one of no segment is the host's own.
    #[inline]
    fn passed(&self, segment: Option<&Segment>, bytes: usize) {
        if let Some(segment) = segment {
            segment.counters(self.shard).passed(bytes);
        }
    }

    fn port_verdict(
        &mut self,
        tables: &Tables,
        segment: &Segment,
        port: &Port,
        frame: &mut Frame<'_>,
        now: Moment,
    ) -> Result<Verdict, DropReason> {
        let bytes = &*frame.bytes;
        if !segment.passes_vlan() && vlan::is_tagged(bytes) {
            return Err(DropReason::VlanTagged);
        }
        let source = source_of(bytes)?;
        if segment.anti_spoof() && port.kind == PortKind::Endpoint {
            guard::check(bytes, &port.binding, tables.vtep_ports())?;
        } else if source.is_multicast() || source.is_zero() {
            return Err(DropReason::BadSourceMac);
        }
        if oversize(frame, segment.mtu) {
            return Err(DropReason::Oversize);
        }
        if let Some(verdict) = self.first_hop(tables, segment, port, frame, now) {
            return verdict;
        }
        self.switched(
            segment,
            Location::Local(port.id),
            frame.bytes,
            (&port.storm, segment.port_storm()),
            now,
        )
    }

    /// Reserved group addresses end before learning: a station that speaks to its bridge is not thereby a destination.
    // As a whole: half of a small frame's time would go into handing structures from room to room.
    #[inline(always)]
    fn switched(
        &mut self,
        segment: &Segment,
        ingress: Location,
        bytes: &[u8],
        storm: (&Storm, StormLimit),
        now: Moment,
    ) -> Result<Verdict, DropReason> {
        let ethernet = Ethernet::parse(bytes).map_err(|_| DropReason::Runt)?;
        if ethernet.destination().is_reserved_group() {
            return Err(DropReason::ReservedGroup);
        }
        let known = self
            .memo
            .consult(segment, ethernet, ingress, now)
            .map_err(|SourceElsewhere| DropReason::SourceConflict)?;
        Ok(forward(known, ingress, storm, now))
    }

    #[inline]
    fn judged<'t, 'f>(
        &self,
        tables: &Tables,
        verdict: Verdict,
        segment: Option<&'t Segment>,
        ingress: Option<Location>,
        frame: Frame<'f>,
    ) -> Judged<'t, 'f> {
        match verdict {
            Verdict::Drop(reason) => self.lost(tables, segment, reason, 1),
            Verdict::Held => {}
            _ => self.passed(segment, frame.bytes.len()),
        }
        Judged { verdict, segment, ingress, frame }
    }
}

impl<'t> Judged<'t, '_> {
    /// The local ports that a flooded frame is copied to.
    pub fn flood_ports(&self) -> impl Iterator<Item = PortId> + use<'t> {
        let ingress = self.ingress;
        let ports = self.segment.map_or(&[][..], |s| &s.ports);
        ports.iter().copied().filter(move |&port| Some(Location::Local(port)) != ingress)
    }

    /// The VTEPs that a flooded frame is replicated to: none if it came from one (split horizon).
    pub fn flood_vteps(&self) -> impl Iterator<Item = Vtep> + use<'t> {
        let local = matches!(self.ingress, Some(Location::Local(_)));
        self.segment.filter(|_| local).into_iter().flat_map(Segment::vteps)
    }
}

impl From<OffloadError> for DropReason {
    fn from(error: OffloadError) -> Self {
        match error {
            OffloadError::Oversize => Self::Oversize,
            OffloadError::BadChecksum => Self::BadInnerChecksum,
            _ => Self::Unsegmentable,
        }
    }
}

/// Whether the frame, or what a super-frame will be cut into, exceeds the MTU.
fn oversize(frame: &Frame<'_>, mtu: u16) -> bool {
    let len = largest(frame);
    len > ethernet::HEADER_LEN + usize::from(mtu)
        && vlan::untagged(frame.bytes).is_none_or(|(_, l3)| len > l3 + usize::from(mtu))
}

/// Bytes of the frame, or of the longest frame that a super-frame will be cut into.
#[inline]
fn largest(frame: &Frame<'_>) -> usize {
    let len = frame.offload.gso.map_or(usize::MAX, |gso| usize::from(gso.header_len) + usize::from(gso.size));
    len.min(frame.bytes.len())
}

fn source_of(bytes: &[u8]) -> Result<MacAddr, DropReason> {
    Ethernet::parse(bytes).map(|e| e.source()).map_err(|_| DropReason::Runt)
}

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;
