//! The header for a TAP that takes whole encapsulated super-frames: `virtio_net_hdr_v1_hash_tunnel` (virtio 1.4, Linux
//! 6.17 "GSO over UDP tunnel").
//!
//! ```text
//!   0..12 virtio_net_hdr_v1   12 hash   16 report   18 padding   20 outer_th_offset   22 inner_nh_offset
//! ```
//!
//! An encapsulated super-frame needs no work on its payload: all offsets move behind the outer headers, and the outer
//! checksum field holds the sum of the outer pseudo header, for the segmenter to finish (RFC 7348 allows a non-zero
//! checksum, and only that lets a receiver aggregate).

use super::layout::Layout;
use super::{Checksum, Gso, Offload, OffloadError, vnet};

/// Bytes of the header, and the value for `TUNSETVNETHDRSZ`.
pub const LEN: usize = 24;

/// Added to the type of a super-frame: it is inside a UDP tunnel over IPv4, or over IPv6.
const GSO_UDP_TUNNEL_IPV4: u8 = 0x20;
const GSO_UDP_TUNNEL_IPV6: u8 = 0x40;
/// Added to the flags: the outer UDP checksum is wanted.
const UDP_TUNNEL_CSUM: u8 = 8;

/// Where the outer headers stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Bytes before the inner Ethernet header.
    pub len: usize,
    /// Where the outer UDP header begins.
    pub udp: usize,
    /// Whether the outer IP header is IPv6's.
    pub v6: bool,
}

/// The header for the super-frame `inner` behind `outer`.
///
/// # Errors
///
/// [`OffloadError::Mismatch`] when `offload` is not that of a super-frame with these headers.
pub fn emit(inner: &[u8], offload: Offload, outer: Outer) -> Result<[u8; LEN], OffloadError> {
    let (Checksum::Partial { start, offset }, Some(gso)) = (offload.checksum, offload.gso) else {
        return Err(OffloadError::Mismatch);
    };
    let layout = Layout::of(inner).ok_or(OffloadError::Mismatch)?;
    let behind = |at: usize| u16::try_from(at + outer.len).map_err(|_| OffloadError::Mismatch);
    let moved = Offload {
        checksum: Checksum::Partial { start: behind(start.into())?, offset },
        gso: Some(Gso { header_len: behind(gso.header_len.into())?, ..gso }),
    };
    let mut header = [0; LEN];
    header[..vnet::LEN].copy_from_slice(&vnet::emit(moved));
    header[0] |= UDP_TUNNEL_CSUM;
    header[1] |= if outer.v6 { GSO_UDP_TUNNEL_IPV6 } else { GSO_UDP_TUNNEL_IPV4 };
    header[20..22].copy_from_slice(&(outer.udp as u16).to_le_bytes());
    header[22..24].copy_from_slice(&behind(layout.l3)?.to_le_bytes());
    Ok(header)
}

/// The header for a single datagram whose outer UDP checksum is left to the device.
#[must_use]
pub fn emit_single(outer: Outer) -> [u8; LEN] {
    // The outer UDP header begins within the first 54 bytes.
    let start = outer.udp as u16;
    let checksum = Checksum::Partial { start, offset: crate::wire::udp::field::CHECKSUM as u16 };
    let mut header = [0; LEN];
    header[..vnet::LEN].copy_from_slice(&vnet::emit(Offload { checksum, gso: None }));
    header
}
