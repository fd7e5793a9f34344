//! Partial checksums: finishing them, and recognising them where nobody says that they are partial.

use super::layout::Layout;
use super::{Checksum, Gso, Offload, OffloadError};
use crate::wire::checksum::Sum;
use crate::wire::{ethernet, protocol, put16, tcp, udp, vlan};

/// Finishes a partial checksum in place, after which `offload.checksum` is [`Checksum::Complete`].
///
/// A UDP checksum that comes out as 0 is sent as 0xffff (RFC 768). Anything but a partial checksum is left alone, and
/// so is one whose field lies beyond the frame, which [`vnet::parse`](super::vnet::parse) never lets through.
/// A super-frame to be cut needs no finishing: its segments get checksums of their own.
pub fn complete(frame: &mut [u8], offload: &mut Offload) {
    let Checksum::Partial { start, offset } = offload.checksum else { return };
    if let Some(value) = finished(frame, start, offset) {
        put16(frame, usize::from(start) + usize::from(offset), value);
        offload.checksum = Checksum::Complete;
    }
}

/// The value that a partial checksum field has to get; `None` when the field lies beyond the frame.
pub(super) fn finished(frame: &[u8], start: u16, offset: u16) -> Option<u16> {
    let (start, offset) = (usize::from(start), usize::from(offset));
    // Padding after the packet is not part of it, even if it is not zero.
    let end = match Layout::of(frame) {
        Some(layout) if start <= layout.end => layout.end,
        _ => frame.len(),
    };
    if start + offset + 2 > end {
        return None;
    }
    Some(nonzero(Sum::new().add(&frame[start..end]).finish(), offset == udp::field::CHECKSUM))
}

/// `checksum`, in the form in which UDP sends it.
pub(super) const fn nonzero(checksum: u16, udp: bool) -> u16 {
    if udp && checksum == 0 { 0xffff } else { checksum }
}

/// What a frame out of a tunnel still owes, though nothing came with it that says so.
///
/// A VTEP on the same machine hands over what its tenant's stack made: checksum fields that hold only the sum of the
/// pseudo header, and TCP frames larger than `mtu` (the tenant's IP MTU in bytes) without their segment size. The
/// first is recognised by its value: a complete checksum that happens to equal it comes out the same when finished.
/// The second is cut to fit the MTU; its checksum, if complete, is verified and made partial again in `frame`.
///
/// # Errors
///
/// [`OffloadError::Oversize`] for a frame larger than the MTU that is not a whole TCP segment,
/// [`OffloadError::BadChecksum`] for a super-frame whose complete checksum is wrong.
#[inline]
pub fn recognise(frame: &mut [u8], mtu: u16) -> Result<Offload, OffloadError> {
    let oversize = |l3: usize| frame.len().saturating_sub(l3) > usize::from(mtu);
    let Some(layout) = Layout::of(frame) else {
        let l3 = vlan::untagged(frame).map_or(ethernet::HEADER_LEN, |(_, l3)| l3);
        return if oversize(l3) { Err(OffloadError::Oversize) } else { Ok(Offload::NONE) };
    };
    if oversize(layout.l3) {
        return recognise_super_frame(frame, mtu, &layout);
    }
    let partial = layout.header_len(frame).is_some() && holds_pseudo_sum(frame, &layout);
    Ok(if partial { Offload { checksum: partial_checksum(&layout), gso: None } } else { Offload::NONE })
}

#[inline(never)]
fn recognise_super_frame(frame: &mut [u8], mtu: u16, layout: &Layout) -> Result<Offload, OffloadError> {
    if layout.protocol != protocol::TCP {
        return Err(OffloadError::Oversize);
    }
    let gso = layout.gso(frame, 0).ok_or(OffloadError::Oversize)?;
    let headers = usize::from(gso.header_len) - layout.l3;
    let size =
        usize::from(mtu).checked_sub(headers).filter(|&size| size > 0).ok_or(OffloadError::Oversize)?;
    if !holds_pseudo_sum(frame, layout) {
        let pseudo = layout.pseudo(frame, layout.end - layout.l4);
        if pseudo.add(&frame[layout.l4..layout.end]).finish() != 0 {
            return Err(OffloadError::BadChecksum);
        }
        put16(frame, layout.l4 + tcp::field::CHECKSUM, pseudo.fold());
    }
    // At most the MTU, which has 16 bits.
    let gso = Gso { size: size as u16, ..gso };
    Ok(Offload { checksum: partial_checksum(layout), gso: Some(gso) })
}

/// Whether the checksum field holds the sum of the pseudo header alone.
#[inline]
fn holds_pseudo_sum(frame: &[u8], layout: &Layout) -> bool {
    layout.checksum_offset().is_some_and(|offset| {
        layout.checksum(frame, offset) == layout.pseudo(frame, layout.end - layout.l4).fold()
    })
}

/// The layout bounds the transport header to 16 bits.
#[inline]
fn partial_checksum(layout: &Layout) -> Checksum {
    let offset = layout.checksum_offset().unwrap_or_default();
    Checksum::Partial { start: layout.l4 as u16, offset: offset as u16 }
}
