//! Packets that are too long for the next link (RFC 1812 section 4.2.2.7, RFC 4787 REQ-13, RFC 8200 section 5).

use super::Refusal;
use super::packet::{Header, L3};
use crate::datapath::{Frame, largest};
use crate::gateway::fragment::fragments;
use crate::gateway::icmp::ErrorKind;
use crate::offload::segments;
use crate::verdict::DropReason;

/// Whether the packet, or a segment of it, is longer than `mtu`.
#[inline]
pub(super) fn exceeds(frame: &Frame<'_>, mtu: u16) -> bool {
    largest(frame) > L3 + usize::from(mtu)
}

/// Refuses a packet that is longer than `mtu` and must not be cut.
#[inline]
pub(super) fn fits(frame: &Frame<'_>, header: Header, mtu: u16) -> Result<(), Refusal> {
    if header.divisible || !exceeds(frame, mtu) {
        return Ok(());
    }
    Err((DropReason::FragNeeded, Some(ErrorKind::FragNeeded { mtu })))
}

/// What an error about the packet would quote, kept before the packet is translated: the frame, or the first one that a
/// super-frame stands for. Only of packets that may cause an error on a network of MTU `narrowest`.
pub(super) fn quote(narrowest: u16, header: Header, frame: &Frame<'_>) -> Option<Vec<u8>> {
    if header.outlives().is_ok() && fits(frame, header, narrowest).is_ok() {
        return None;
    }
    let pieces = segments(frame.bytes, frame.offload).ok()?;
    let mut quote = vec![0; pieces.max_len()];
    let len = pieces.write(0, &mut quote);
    quote.truncate(len);
    Some(quote)
}

/// The packet in fragments of at most `mtu` bytes, each a frame with the Ethernet header of `frame`, in order and with
/// complete checksums.
pub(super) fn cut(frame: &Frame<'_>, mtu: u16) -> Result<Vec<Vec<u8>>, DropReason> {
    let pieces = segments(frame.bytes, frame.offload)?;
    let (mut piece, mut cut) = (vec![0; pieces.max_len()], Vec::new());
    for index in 0..pieces.len() {
        let len = pieces.write(index, &mut piece);
        let (ethernet, packet) = piece[..len].split_at(L3);
        let mut parts = fragments(packet, mtu).map_err(|_| DropReason::FragNeeded)?;
        loop {
            let mut part = ethernet.to_vec();
            if !parts.next_into(&mut part) {
                break;
            }
            cut.push(part);
        }
    }
    Ok(cut)
}
