//! Cutting a super-frame into frames that fit the MTU, as a device with TSO or USO would.

use super::layout::Layout;
use super::{Checksum, Gso, GsoKind, Offload, OffloadError, checksum};
use crate::wire::checksum::checksum as internet_checksum;
use crate::wire::{TcpFlags, be16, be32, ipv4, ipv6, put16, tcp, udp};

/// Segments of one super-frame. 64 KB in segments of 64 bytes; Linux sends none smaller unless told to.
pub const MAX_SEGMENTS: usize = 1024;

/// A frame about to be cut.
///
/// Each segment is a head, which differs from segment to segment, and a part of the frame's payload, which need not
/// be copied to be sent.
#[derive(Clone, Copy)]
pub struct Segments<'a> {
    frame: &'a [u8],
    /// Bytes of each head.
    headers_len: usize,
    plan: Plan,
}

#[derive(Clone, Copy)]
enum Plan {
    /// One segment: the frame, with `value` stored at `at` if there is a checksum to finish.
    Whole { checksum: Option<(usize, u16)> },
    /// Several, or one that is a super-frame in name only.
    Cut { layout: Layout, gso: Gso, count: usize },
}

/// The segments of `frame`. A frame that is no super-frame is one segment, with its checksum finished.
///
/// # Errors
///
/// [`OffloadError::Mismatch`] when `offload` is not true of `frame`, [`OffloadError::TooManySegments`] beyond
/// [`MAX_SEGMENTS`].
pub fn segments(frame: &[u8], offload: Offload) -> Result<Segments<'_>, OffloadError> {
    match offload.gso {
        None => whole(frame, offload.checksum),
        Some(gso) => cut(frame, offload.checksum, gso),
    }
}

fn whole(frame: &[u8], checksum: Checksum) -> Result<Segments<'_>, OffloadError> {
    let Checksum::Partial { start, offset } = checksum else {
        return Ok(Segments { frame, headers_len: 0, plan: Plan::Whole { checksum: None } });
    };
    let value = checksum::finished(frame, start, offset).ok_or(OffloadError::Mismatch)?;
    let at = usize::from(start) + usize::from(offset);
    Ok(Segments { frame, headers_len: at + 2, plan: Plan::Whole { checksum: Some((at, value)) } })
}

fn cut(frame: &[u8], checksum: Checksum, gso: Gso) -> Result<Segments<'_>, OffloadError> {
    if gso.size == 0 {
        return Err(OffloadError::TooManySegments);
    }
    let layout = Layout::of(frame).ok_or(OffloadError::Mismatch)?;
    let real = layout.gso(frame, gso.size).ok_or(OffloadError::Mismatch)?;
    let partial = matches!(checksum, Checksum::Partial { start, offset }
        if usize::from(start) == layout.l4 && Some(usize::from(offset)) == layout.checksum_offset());
    if !partial || real.kind != gso.kind || real.header_len != gso.header_len {
        return Err(OffloadError::Mismatch);
    }
    let headers_len = usize::from(gso.header_len);
    let count = (frame.len() - headers_len).div_ceil(usize::from(gso.size)).max(1);
    if count > MAX_SEGMENTS {
        return Err(OffloadError::TooManySegments);
    }
    Ok(Segments { frame, headers_len, plan: Plan::Cut { layout, gso, count } })
}

#[expect(clippy::len_without_is_empty, reason = "there is always at least one segment")]
impl<'a> Segments<'a> {
    /// How many segments there are, at least 1.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.plan {
            Plan::Whole { .. } => 1,
            Plan::Cut { count, .. } => count,
        }
    }

    /// Bytes of each segment that [`write_head`](Self::write_head) writes: all headers of a super-frame; of another
    /// frame, everything up to its checksum field, or nothing.
    #[must_use]
    pub fn headers_len(&self) -> usize {
        self.headers_len
    }

    /// Bytes of the longest segment.
    #[must_use]
    pub fn max_len(&self) -> usize {
        self.headers_len + self.payload(0).len()
    }

    /// What follows the head of segment `index`; empty beyond the last.
    #[must_use]
    pub fn payload(&self, index: usize) -> &'a [u8] {
        let payload = &self.frame[self.headers_len..];
        match self.plan {
            Plan::Whole { .. } if index == 0 => payload,
            Plan::Cut { gso, count, .. } if index < count => {
                let from = index * usize::from(gso.size);
                &payload[from..payload.len().min(from + usize::from(gso.size))]
            }
            _ => &[],
        }
    }

    /// Writes segment `index` as a complete frame to the start of `out`, and returns its length in bytes; 0, writing
    /// nothing, when there is no such segment or `out` is too short for it ([`max_len`](Self::max_len) always is
    /// enough).
    pub fn write(&self, index: usize, out: &mut [u8]) -> usize {
        let payload = self.payload(index);
        let len = self.headers_len + payload.len();
        if index >= self.len() || out.len() < len {
            return 0;
        }
        let (head, rest) = out.split_at_mut(self.headers_len);
        self.write_head(index, head);
        rest[..payload.len()].copy_from_slice(payload);
        len
    }

    /// Writes the first [`headers_len`](Self::headers_len) bytes of segment `index` to the start of `out`, checksums
    /// over its payload included, and returns their number; 0, writing nothing, when there is no such segment or
    /// `out` is too short.
    pub fn write_head(&self, index: usize, out: &mut [u8]) -> usize {
        if index >= self.len() || out.len() < self.headers_len {
            return 0;
        }
        let head = &mut out[..self.headers_len];
        head.copy_from_slice(&self.frame[..self.headers_len]);
        match &self.plan {
            Plan::Whole { checksum: None } => {}
            Plan::Whole { checksum: Some((at, value)) } => put16(head, *at, *value),
            Plan::Cut { layout, gso, count } => {
                let payload = self.payload(index);
                write_network(head, layout, index, payload.len());
                write_transport(head, layout, *gso, index, index + 1 == *count, payload);
            }
        }
        self.headers_len
    }
}

/// Lengths, identification and header checksum for the segment. No field exceeds 16 bits, because that of the whole
/// super-frame does not.
fn write_network(head: &mut [u8], layout: &Layout, index: usize, payload_len: usize) {
    let packet_len = head.len() - layout.l3 + payload_len;
    if !layout.v4 {
        return put16(head, layout.l3 + ipv6::field::PAYLOAD_LEN, (packet_len - ipv6::HEADER_LEN) as u16);
    }
    let header = &mut head[layout.l3..layout.l4];
    let identification = be16(header, ipv4::field::IDENTIFICATION).wrapping_add(index as u16);
    put16(header, ipv4::field::TOTAL_LEN, packet_len as u16);
    put16(header, ipv4::field::IDENTIFICATION, identification);
    put16(header, ipv4::field::CHECKSUM, 0);
    let sum = internet_checksum(header);
    put16(header, ipv4::field::CHECKSUM, sum);
}

/// Sequence number and flags, or length, and the checksum.
fn write_transport(head: &mut [u8], layout: &Layout, gso: Gso, index: usize, last: bool, payload: &[u8]) {
    let len = head.len() - layout.l4 + payload.len();
    let pseudo = layout.pseudo(head, len);
    let header = &mut head[layout.l4..];
    let (field, is_udp) = match gso.kind {
        GsoKind::Tcp4 | GsoKind::Tcp6 => {
            write_tcp(header, index * usize::from(gso.size), last);
            (tcp::field::CHECKSUM, false)
        }
        GsoKind::Udp => {
            put16(header, udp::field::LENGTH, len as u16);
            (udp::field::CHECKSUM, true)
        }
    };
    put16(header, field, 0);
    let sum = pseudo.add(header).add(payload).finish();
    put16(header, field, checksum::nonzero(sum, is_udp));
}

/// `from` is where the segment's payload begins in that of the super-frame.
fn write_tcp(header: &mut [u8], from: usize, last: bool) {
    let sequence = be32(header, tcp::field::SEQUENCE).wrapping_add(from as u32);
    header[tcp::field::SEQUENCE..tcp::field::ACKNOWLEDGEMENT].copy_from_slice(&sequence.to_be_bytes());
    let mut flags = TcpFlags(header[tcp::field::FLAGS]);
    if !last {
        flags = flags.without(TcpFlags::FIN.with(TcpFlags::PSH));
    }
    if from > 0 {
        flags = flags.without(TcpFlags::CWR);
    }
    header[tcp::field::FLAGS] = flags.0;
}
