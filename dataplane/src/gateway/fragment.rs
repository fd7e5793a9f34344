//! IPv4 fragmentation (RFC 791 section 3.2) of what is too long for the next link and allows it (RFC 4787 REQ-13a).
//!
//! Fragments come in order, so that whoever translates or filters further on sees the ports first. A packet that is a
//! fragment itself is cut further: offsets and the more-fragments flag are continued. Options with the copied flag are
//! repeated, the others stay with the first fragment.
//!
//! The caller has completed the transport checksum, which nobody can do once the packet is cut, and has cut a
//! super-frame into its segments; UDP fragments of one datagram are not to be had from a super-frame.

use crate::wire::{Ipv4Packet, be16, checksum, ipv4, put16};

#[cfg(test)]
mod tests;

/// The longest header, options included.
const HEADER_MAX: usize = 60;

/// Why a packet is not cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FragmentError {
    /// Its header is wrong, or its end lies beyond what a datagram can have.
    #[error("the packet's header is malformed")]
    Malformed,
    /// Its sender wants to be told instead.
    #[error("the packet is not to be fragmented")]
    DontFragment,
    /// The link cannot carry its header and eight bytes more.
    #[error("the link is too narrow for the packet's header")]
    TooNarrow,
}

/// The fragments of a packet, from first to last.
#[derive(Clone, Debug)]
pub struct Fragments<'a> {
    /// The header of the next fragment, with the options it is to have.
    header: [u8; HEADER_MAX],
    header_len: usize,
    /// The header of those after it.
    later: [u8; HEADER_MAX],
    later_len: usize,
    /// What has not been sent.
    rest: &'a [u8],
    /// Where `rest` stands in the datagram, in bytes.
    offset: usize,
    /// Whether fragments follow the whole packet.
    more: bool,
    mtu: usize,
    done: bool,
}

/// Cuts the IPv4 packet `ip` into fragments of at most `mtu` bytes; one that fits is its only fragment.
///
/// # Errors
///
/// What [`FragmentError`] lists. [`FragmentError::DontFragment`] only when the packet does not fit.
pub fn fragments(ip: &[u8], mtu: u16) -> Result<Fragments<'_>, FragmentError> {
    let packet = Ipv4Packet::parse(ip).map_err(|_| FragmentError::Malformed)?;
    let (header_len, offset, rest) = (packet.header_len(), packet.fragment_offset(), packet.payload());
    let torn = packet.more_fragments() && rest.len() % 8 != 0;
    // A new checksum would make a damaged header look sound.
    if !packet.header_checksum_ok() || torn || header_len + offset + rest.len() > usize::from(u16::MAX) {
        return Err(FragmentError::Malformed);
    }
    if packet.total_len() > usize::from(mtu) {
        if packet.dont_fragment() {
            return Err(FragmentError::DontFragment);
        }
        if header_len + 8 > usize::from(mtu) {
            return Err(FragmentError::TooNarrow);
        }
    }
    let mut header = [0; HEADER_MAX];
    header[..header_len].copy_from_slice(&ip[..header_len]);
    let (later, later_len) = later_header(&packet, &header)?;
    let (more, mtu) = (packet.more_fragments(), usize::from(mtu));
    Ok(Fragments { header, header_len, later, later_len, rest, offset, more, mtu, done: false })
}

/// `header` with only those options of `packet` that every fragment has.
fn later_header(
    packet: &Ipv4Packet<'_>,
    header: &[u8; HEADER_MAX],
) -> Result<([u8; HEADER_MAX], usize), FragmentError> {
    let mut later = [0; HEADER_MAX];
    later[..ipv4::HEADER_LEN].copy_from_slice(&header[..ipv4::HEADER_LEN]);
    let mut len = ipv4::HEADER_LEN;
    for option in packet.options() {
        let option = option.map_err(|_| FragmentError::Malformed)?;
        if option.copied() {
            later[len..len + option.bytes.len()].copy_from_slice(option.bytes);
            len += option.bytes.len();
        }
    }
    // Zeros, which end the list, up to the next word.
    let len = len.next_multiple_of(4);
    later[0] = 4 << 4 | (len / 4) as u8;
    Ok((later, len))
}

impl Fragments<'_> {
    /// Appends the next fragment to `room`; false when there is none.
    pub fn next_into(&mut self, room: &mut Vec<u8>) -> bool {
        if self.done {
            return false;
        }
        let space = self.mtu - self.header_len;
        let last = self.rest.len() <= space;
        let (payload, rest) = self.rest.split_at(if last { self.rest.len() } else { space & !7 });
        self.done = last;
        let header = &mut self.header[..self.header_len];
        put16(header, ipv4::field::TOTAL_LEN, (header.len() + payload.len()) as u16);
        let kept = be16(header, ipv4::field::FRAGMENT) & !(ipv4::MORE_FRAGMENTS | ipv4::FRAGMENT_OFFSET);
        let flags = kept | if self.more || !last { ipv4::MORE_FRAGMENTS } else { 0 };
        put16(header, ipv4::field::FRAGMENT, flags | (self.offset / 8) as u16);
        put16(header, ipv4::field::CHECKSUM, 0);
        let sum = checksum::checksum(header);
        put16(header, ipv4::field::CHECKSUM, sum);
        room.extend_from_slice(header);
        room.extend_from_slice(payload);
        self.offset += payload.len();
        self.rest = rest;
        (self.header, self.header_len) = (self.later, self.later_len);
        true
    }
}
