//! Joining frames of one flow into super-frames: what a device with LRO, or the kernel's GRO, would do.
//!
//! A write to a TAP costs about the same for 1 KB as for 60 KB, so what came in one batch from the underlay is joined
//! before it is delivered. Nothing is held back: the caller flushes at the end of every batch.
//!
//! # What is joined
//!
//! Whole TCP segments that follow each other without a gap, and UDP datagrams of one flow and equal length, whose
//! headers are equal but for the fields that segmentation changes, so that cutting the result again gives back what
//! came in (the IPv4 identification of packets that must not be fragmented excepted, which has no meaning: RFC 6864
//! section 4.1). A shorter payload, PSH or FIN ends a super-frame. Everything else, from a bare ACK to an unusual flag
//! to a UDP datagram without checksum, goes through as it is.
//!
//! UDP to or from a tunnel's port ([`TUNNEL_PORTS`]) is never joined: a kernel that decapsulates what is in it stumbles
//! over super-frames (CVE-2024-35884).
//!
//! A payload is joined only if its checksum is partial or has been verified here. Corruption is passed on as it came,
//! never given a new checksum.
//!
//! # Order
//!
//! Frames of one flow leave in the order in which they came: one that cannot be joined makes what is held of its flow
//! leave first, and one whose flow cannot be told makes everything leave first.
//!
//! # Limits
//!
//! [`FLOWS_MAX`] super-frames grow at a time; one more flow makes the oldest leave.

use super::layout::Layout;
use super::{Checksum, GsoKind, Offload};
use crate::wire::{TcpFlags, be16, be32, ipv4, ipv6, protocol, put16, tcp, udp};

/// Super-frames that grow at a time: more than the flows that a batch of 64 datagrams usually brings.
pub const FLOWS_MAX: usize = 16;
/// Bytes of a super-frame: what fits an IPv4 packet with room for the headers of a tunnel further on.
const FRAME_MAX: usize = 65_280;
/// Datagrams of one UDP super-frame: what every kernel with USO takes.
const DATAGRAMS_MAX: u64 = 64;
/// Ports of VXLAN, VXLAN as older Linux had it, Geneve and WireGuard.
pub const TUNNEL_PORTS: [u16; 4] = [4_789, 8_472, 6_081, 51_820];
/// Bytes of a MAC address; a frame begins with two.
const MAC_LEN: usize = 6;

/// Joins frames on their way to destinations of type `K`.
#[derive(Debug)]
pub struct Coalescer<K> {
    /// The first `used` are growing, oldest first; the others keep their memory for later.
    flows: Vec<Growing<K>>,
    used: usize,
}

/// A frame that may grow.
#[derive(Debug)]
struct Growing<K> {
    to: K,
    bytes: Vec<u8>,
    offload: Offload,
    /// Where the headers stand; those of the first frame are those of all.
    part: Part,
    /// Frames joined so far.
    count: u64,
    /// No further frame may follow.
    closed: bool,
}

/// A TCP segment or UDP datagram as far as joining is concerned.
#[derive(Clone, Copy, Debug)]
struct Part {
    l3: usize,
    l4: usize,
    headers: usize,
    payload: usize,
    kind: GsoKind,
    v4: bool,
    /// No flags at all for UDP.
    flags: TcpFlags,
}

/// Something that leaves the coalescer.
#[derive(Debug)]
pub struct Joined<'a, K> {
    /// Where it goes.
    pub to: K,
    /// The frame.
    pub bytes: &'a [u8],
    /// What is left to do to it.
    pub offload: Offload,
    /// How many frames it stands for.
    pub count: u64,
}

impl<K> Default for Coalescer<K> {
    fn default() -> Self {
        Self { flows: Vec::with_capacity(FLOWS_MAX), used: 0 }
    }
}

impl<K: Copy + Eq> Coalescer<K> {
    /// Takes the next frame for `to`. Whatever must leave now, this frame or others before it, is given to `out`.
    pub fn push(&mut self, to: K, bytes: &[u8], offload: Offload, mut out: impl FnMut(Joined<'_, K>)) {
        let alone = Joined { to, bytes, offload, count: 1 };
        let flows = [protocol::TCP, protocol::UDP];
        let Some(layout) = Layout::of(bytes).filter(|l| !l.fragment && flows.contains(&l.protocol)) else {
            self.flush(&mut out);
            return out(alone);
        };
        let Some(part) = Part::of(bytes, &layout, offload) else {
            self.flush_flow(to, bytes, &layout, &mut out);
            return out(alone);
        };
        match self.find(to, bytes, &layout) {
            Some(index) if self.flows[index].takes(bytes, &part) => {
                if !verified(bytes, &layout, offload) {
                    self.release(index, &mut out);
                    return out(alone);
                }
                self.flows[index].join(bytes, &part);
            }
            Some(index) => {
                self.release(index, &mut out);
                self.start(alone, part, &layout, &mut out);
            }
            None => self.start(alone, part, &layout, &mut out),
        }
    }

    /// Lets everything leave, in the order in which it began.
    pub fn flush(&mut self, mut out: impl FnMut(Joined<'_, K>)) {
        self.flows[..self.used].iter_mut().for_each(|flow| flow.leave(&mut out));
        self.used = 0;
    }

    fn find(&self, to: K, bytes: &[u8], layout: &Layout) -> Option<usize> {
        self.flows[..self.used].iter().position(|flow| flow.to == to && flow.same_flow(bytes, layout))
    }

    fn flush_flow(&mut self, to: K, bytes: &[u8], layout: &Layout, out: &mut impl FnMut(Joined<'_, K>)) {
        if let Some(index) = self.find(to, bytes, layout) {
            self.release(index, out);
        }
    }

    fn release(&mut self, index: usize, out: &mut impl FnMut(Joined<'_, K>)) {
        self.flows[index].leave(out);
        self.flows[index..self.used].rotate_left(1);
        self.used -= 1;
    }

    /// A frame that ends its flow's burst anyway, or must not be joined, has nothing to wait for.
    fn start(
        &mut self,
        frame: Joined<'_, K>,
        part: Part,
        layout: &Layout,
        out: &mut impl FnMut(Joined<'_, K>),
    ) {
        if part.ends() || !verified(frame.bytes, layout, frame.offload) {
            return out(frame);
        }
        if self.used == FLOWS_MAX {
            self.release(0, out);
        }
        if self.used == self.flows.len() {
            self.flows.push(Growing {
                to: frame.to,
                bytes: Vec::with_capacity(FRAME_MAX),
                offload: frame.offload,
                part,
                count: 0,
                closed: false,
            });
        }
        let flow = &mut self.flows[self.used];
        (flow.to, flow.offload, flow.part, flow.count, flow.closed) =
            (frame.to, frame.offload, part, 1, false);
        flow.bytes.clear();
        flow.bytes.extend_from_slice(frame.bytes);
        self.used += 1;
    }
}

impl Part {
    /// `None`: such a frame is never joined.
    fn of(bytes: &[u8], layout: &Layout, offload: Offload) -> Option<Self> {
        let headers = layout.header_len(bytes)?;
        let payload = layout.end.checked_sub(headers)?;
        let whole = layout.end == bytes.len() && offload.gso.is_none() && payload > 0;
        let flags = match layout.protocol {
            protocol::TCP => plain_tcp(&bytes[layout.l4..])?,
            _ => plain_udp(&bytes[layout.l4..])?,
        };
        whole.then_some(Self {
            l3: layout.l3,
            l4: layout.l4,
            headers,
            payload,
            kind: layout.gso_kind()?,
            v4: layout.v4,
            flags,
        })
    }

    /// Whether the stack that sent this wants it delivered now.
    fn ends(&self) -> bool {
        self.flags.contains(TcpFlags::PSH) || self.flags.contains(TcpFlags::FIN)
    }
}

impl<K> Growing<K> {
    /// Whether a frame belongs to this flow: same stations, addresses and ports, whatever else its headers hold.
    fn same_flow(&self, bytes: &[u8], layout: &Layout) -> bool {
        let addresses = if self.part.v4 {
            ipv4::field::SOURCE..ipv4::HEADER_LEN
        } else {
            ipv6::field::SOURCE..ipv6::HEADER_LEN
        };
        let same = |mine: usize, theirs: usize, range: std::ops::Range<usize>| {
            let theirs = bytes.get(theirs + range.start..theirs + range.end);
            self.bytes.get(mine + range.start..mine + range.end) == theirs
        };
        (layout.gso_kind(), layout.v4) == (Some(self.part.kind), self.part.v4)
            && same(0, 0, 0..2 * MAC_LEN)
            && same(self.part.l3, layout.l3, addresses)
            && same(self.part.l4, layout.l4, tcp::field::SOURCE_PORT..tcp::field::SEQUENCE)
    }

    /// Whether a frame of this flow continues it.
    fn takes(&self, bytes: &[u8], part: &Part) -> bool {
        let first = &self.part;
        !self.closed
            && (part.l3, part.l4, part.headers) == (first.l3, first.l4, first.headers)
            && bytes[2 * MAC_LEN..part.l3] == self.bytes[2 * MAC_LEN..part.l3]
            && part.payload <= first.payload
            && self.bytes.len() + part.payload <= FRAME_MAX
            && self.continues_network(bytes)
            && match part.kind {
                GsoKind::Udp => self.count < DATAGRAMS_MAX,
                GsoKind::Tcp4 | GsoKind::Tcp6 => self.continues_stream(bytes, part),
            }
    }

    fn continues_network(&self, bytes: &[u8]) -> bool {
        let (mine, theirs) = (&self.bytes[self.part.l3..self.part.l4], &bytes[self.part.l3..self.part.l4]);
        if !self.part.v4 {
            // All but the length; extension headers included.
            let length = ipv6::field::PAYLOAD_LEN..ipv6::field::PAYLOAD_LEN + 2;
            return mine[..length.start] == theirs[..length.start]
                && mine[length.end..] == theirs[length.end..];
        }
        let (id, next) = (be16(mine, ipv4::field::IDENTIFICATION), be16(theirs, ipv4::field::IDENTIFICATION));
        let dont_fragment = theirs[ipv4::field::FRAGMENT] & 0x40 != 0;
        let counts_up = next == id.wrapping_add(self.count as u16) || (dont_fragment && next == id);
        // Version, header length, TOS; then flags and offset, TTL, protocol; then options.
        counts_up
            && mine[..ipv4::field::TOTAL_LEN] == theirs[..ipv4::field::TOTAL_LEN]
            && mine[ipv4::field::FRAGMENT..ipv4::field::CHECKSUM]
                == theirs[ipv4::field::FRAGMENT..ipv4::field::CHECKSUM]
            && mine[ipv4::HEADER_LEN..] == theirs[ipv4::HEADER_LEN..]
    }

    fn continues_stream(&self, bytes: &[u8], part: &Part) -> bool {
        let (mine, theirs) = (&self.bytes[part.l4..part.headers], &bytes[part.l4..part.headers]);
        let joined = (self.bytes.len() - self.part.headers) as u32;
        let last = TcpFlags::PSH.with(TcpFlags::FIN);
        be32(theirs, tcp::field::SEQUENCE) == be32(mine, tcp::field::SEQUENCE).wrapping_add(joined)
            // Acknowledgement and header length, window, urgent pointer and options.
            && mine[tcp::field::ACKNOWLEDGEMENT..tcp::field::FLAGS]
                == theirs[tcp::field::ACKNOWLEDGEMENT..tcp::field::FLAGS]
            && self.part.flags == part.flags.without(last)
            && mine[tcp::field::WINDOW..tcp::field::CHECKSUM] == theirs[tcp::field::WINDOW..tcp::field::CHECKSUM]
            && mine[tcp::field::CHECKSUM + 2..] == theirs[tcp::field::CHECKSUM + 2..]
    }

    fn join(&mut self, bytes: &[u8], part: &Part) {
        self.bytes.extend_from_slice(&bytes[part.headers..]);
        self.count += 1;
        if part.kind != GsoKind::Udp {
            let flags = TcpFlags(self.bytes[part.l4 + tcp::field::FLAGS]).with(part.flags);
            self.bytes[part.l4 + tcp::field::FLAGS] = flags.0;
        }
        self.closed = part.ends() || part.payload < self.part.payload;
    }

    fn leave(&mut self, out: &mut impl FnMut(Joined<'_, K>))
    where
        K: Copy,
    {
        if self.count > 1 {
            self.seal();
        }
        out(Joined { to: self.to, bytes: &self.bytes, offload: self.offload, count: self.count });
    }

    /// Makes the headers of the first frame those of the super-frame.
    fn seal(&mut self) {
        let Part { l3, l4, payload, v4, kind, .. } = self.part;
        let len = self.bytes.len();
        if v4 {
            put16(&mut self.bytes, l3 + ipv4::field::TOTAL_LEN, (len - l3) as u16);
            put16(&mut self.bytes, l3 + ipv4::field::CHECKSUM, 0);
            let sum = crate::wire::checksum::checksum(&self.bytes[l3..l4]);
            put16(&mut self.bytes, l3 + ipv4::field::CHECKSUM, sum);
        } else {
            let payload_len = (len - l3 - ipv6::HEADER_LEN) as u16;
            put16(&mut self.bytes, l3 + ipv6::field::PAYLOAD_LEN, payload_len);
        }
        if kind == GsoKind::Udp {
            put16(&mut self.bytes, l4 + udp::field::LENGTH, (len - l4) as u16);
        }
        // The headers are those of a frame that had a layout, with another length.
        let Some(layout) = Layout::of(&self.bytes) else { return };
        let offset = if kind == GsoKind::Udp { udp::field::CHECKSUM } else { tcp::field::CHECKSUM };
        let sum = layout.pseudo(&self.bytes, len - l4).fold();
        put16(&mut self.bytes, l4 + offset, sum);
        // A segment is at most a frame of the underlay, so its size has 16 bits.
        let gso = layout.gso(&self.bytes, payload as u16);
        let checksum = Checksum::Partial { start: l4 as u16, offset: offset as u16 };
        self.offload = Offload { checksum, gso };
    }
}

/// The flags of a TCP segment that may be joined.
fn plain_tcp(segment: &[u8]) -> Option<TcpFlags> {
    let flags = TcpFlags(segment[tcp::field::FLAGS]);
    let allowed = TcpFlags::ACK.with(TcpFlags::PSH).with(TcpFlags::FIN).with(TcpFlags::ECE);
    (flags.contains(TcpFlags::ACK) && flags.without(allowed).0 == 0).then_some(flags)
}

/// No flags, for a UDP datagram that may be joined.
fn plain_udp(datagram: &[u8]) -> Option<TcpFlags> {
    let ports = [be16(datagram, udp::field::SOURCE_PORT), be16(datagram, udp::field::DESTINATION_PORT)];
    let tunnel = ports.iter().any(|port| TUNNEL_PORTS.contains(port));
    (!tunnel && be16(datagram, udp::field::CHECKSUM) != 0).then_some(TcpFlags(0))
}

/// Whether the transport checksum is as good as right: still to be computed from here on, or found right.
fn verified(bytes: &[u8], layout: &Layout, offload: Offload) -> bool {
    match offload.checksum {
        Checksum::Partial { .. } | Checksum::Verified => true,
        Checksum::Complete => {
            layout.pseudo(bytes, layout.end - layout.l4).add(&bytes[layout.l4..layout.end]).finish() == 0
        }
    }
}

#[cfg(test)]
#[path = "coalesce_tests.rs"]
mod tests;
