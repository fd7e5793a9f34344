//! The header in front of every frame on a TAP opened with `IFF_VNET_HDR`: `virtio_net_hdr_v1`, little endian.
//!
//! ```text
//!   0 flags   1 gso_type   2 hdr_len   4 gso_size   6 csum_start   8 csum_offset   10 num_buffers
//! ```
//!
//! The kernel fills it in, but a tenant with a packet socket dictates to the kernel, so nothing in it is believed
//! that the frame does not confirm. `hdr_len` is never believed: Linux gives the length of its linear buffer there.

use super::layout::Layout;
use super::{Checksum, Gso, GsoKind, Offload};
use crate::wire::{EtherType, protocol, udp, vlan};

/// Bytes of the header, and the value for `TUNSETVNETHDRSZ`.
pub const LEN: usize = 12;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_UFO: u8 = 3;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// Added to a TCP type.
const GSO_ECN: u8 = 0x80;

/// How a virtio header contradicts its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum VnetError {
    /// The checksum field would lie beyond the frame.
    #[error("the checksum field lies beyond the frame")]
    ChecksumOutside,
    /// The checksum field would lie in other headers than its own.
    #[error("the checksum field does not belong to the frame's transport header")]
    ChecksumMisplaced,
    /// A super-frame of segments without payload.
    #[error("the segment size is 0")]
    ZeroGsoSize,
    /// A super-frame whose checksum is not partial: nobody could give its segments theirs.
    #[error("a super-frame without a partial checksum")]
    GsoWithoutChecksum,
    /// The headers are not those the type speaks of.
    #[error("the segmentation type does not match the frame's headers")]
    GsoMismatch,
    /// The header length lies beyond the frame.
    #[error("the header length lies beyond the frame")]
    HeaderOutside,
    /// UDP fragmentation offload.
    #[error("UDP fragmentation offload is not supported")]
    Ufo,
    /// A type from the future, or a tunnel type that was not asked for.
    #[error("unknown segmentation type {0:#04x}")]
    UnknownGsoType(u8),
}

/// What `header` says about `frame`, if all of it is true.
///
/// # Errors
///
/// See [`VnetError`]; nothing of such a frame is to be used.
pub fn parse(header: &[u8; LEN], frame: &[u8]) -> Result<Offload, VnetError> {
    let [flags, gso_type, ..] = *header;
    if flags & NEEDS_CSUM == 0 {
        return match gso_type {
            GSO_NONE if flags & DATA_VALID != 0 => Ok(Offload { checksum: Checksum::Verified, gso: None }),
            GSO_NONE => Ok(Offload::NONE),
            _ => Err(VnetError::GsoWithoutChecksum),
        };
    }
    let (start, offset) = (le16(header, 6), le16(header, 8));
    let checksum = Checksum::Partial { start, offset };
    let layout = Layout::of(frame);
    check_field(frame, layout.as_ref(), start.into(), offset.into())?;
    if gso_type == GSO_NONE {
        return Ok(Offload { checksum, gso: None });
    }
    let layout = layout.ok_or(VnetError::GsoMismatch)?;
    if usize::from(start) != layout.l4 {
        return Err(VnetError::GsoMismatch);
    }
    let gso = check_gso(header, frame, &layout)?;
    Ok(Offload { checksum, gso: Some(gso) })
}

/// The header that says `offload` to the kernel.
#[must_use]
pub fn emit(offload: Offload) -> [u8; LEN] {
    let mut header = [0; LEN];
    match offload.checksum {
        Checksum::Complete => {}
        Checksum::Verified => header[0] = DATA_VALID,
        Checksum::Partial { start, offset } => {
            header[0] = NEEDS_CSUM;
            header[6..8].copy_from_slice(&start.to_le_bytes());
            header[8..10].copy_from_slice(&offset.to_le_bytes());
        }
    }
    if let Some(gso) = offload.gso {
        let kind = match gso.kind {
            GsoKind::Tcp4 => GSO_TCPV4,
            GsoKind::Tcp6 => GSO_TCPV6,
            GsoKind::Udp => GSO_UDP_L4,
        };
        header[1] = if gso.ecn { kind | GSO_ECN } else { kind };
        header[2..4].copy_from_slice(&gso.header_len.to_le_bytes());
        header[4..6].copy_from_slice(&gso.size.to_le_bytes());
    }
    header
}

fn le16(header: &[u8; LEN], at: usize) -> u16 {
    u16::from_le_bytes([header[at], header[at + 1]])
}

/// Refuses a checksum field that would overwrite anything the switch has looked at.
///
/// TCP, UDP and ICMP have their own field and no other. Deeper sums belong to tunnels inside the tenant's network:
/// they may lie anywhere in the payload of UDP or of a protocol that is not opened here.
fn check_field(frame: &[u8], layout: Option<&Layout>, start: usize, offset: usize) -> Result<(), VnetError> {
    let field_end = start + offset + 2;
    if field_end > frame.len() {
        return Err(VnetError::ChecksumOutside);
    }
    let in_place = match layout {
        Some(layout) if layout.fragment || field_end > layout.end => false,
        Some(layout) => match layout.protocol {
            protocol::TCP => start == layout.l4 && layout.checksum_offset() == Some(offset),
            protocol::UDP if start == layout.l4 => layout.checksum_offset() == Some(offset),
            protocol::UDP => start >= layout.l4 + udp::HEADER_LEN,
            protocol::ICMP | protocol::ICMPV6 => start == layout.l4 && offset == 2,
            _ => start >= layout.l4,
        },
        None => match vlan::untagged(frame) {
            Some((EtherType::IPV4 | EtherType::IPV6 | EtherType::ARP, _)) | None => false,
            Some((_, l3)) => start >= l3,
        },
    };
    if in_place { Ok(()) } else { Err(VnetError::ChecksumMisplaced) }
}

fn check_gso(header: &[u8; LEN], frame: &[u8], layout: &Layout) -> Result<Gso, VnetError> {
    let gso_type = header[1];
    let kind = match gso_type & !GSO_ECN {
        GSO_TCPV4 => GsoKind::Tcp4,
        GSO_TCPV6 => GsoKind::Tcp6,
        GSO_UDP_L4 if gso_type & GSO_ECN == 0 => GsoKind::Udp,
        GSO_UFO => return Err(VnetError::Ufo),
        _ => return Err(VnetError::UnknownGsoType(gso_type)),
    };
    let (header_len, size) = (usize::from(le16(header, 2)), le16(header, 4));
    if size == 0 {
        return Err(VnetError::ZeroGsoSize);
    }
    if header_len > frame.len() {
        return Err(VnetError::HeaderOutside);
    }
    let real = layout.gso(frame, size).filter(|real| real.kind == kind).ok_or(VnetError::GsoMismatch)?;
    Ok(Gso { ecn: gso_type & GSO_ECN != 0, ..real })
}
