//! The reset of a TCP connection that cannot go on.

use super::icmp::{header_v4, header_v6};
use crate::wire::checksum::Sum;
use crate::wire::{Ipv4Packet, Ipv6Packet, TcpFlags, TcpSegment, protocol, put16, tcp};

#[cfg(test)]
mod tests;

/// Appends to `room` the IP packet that resets the connection for the sender of `packet`, an IP packet with a whole TCP
/// header: what its receiver would say if it knew of no connection (RFC 9293 section 3.10.7.1). It has the very number
/// that the sender expects next, so it is believed (RFC 5961 section 3).
///
/// Returns false, and leaves `room` alone, when the packet is another one, a later fragment, or a reset itself.
#[must_use]
pub fn reset(packet: &[u8], room: &mut Vec<u8>) -> bool {
    let reset = match packet.first().map(|first| first >> 4) {
        Some(4) => v4(packet),
        _ => v6(packet),
    };
    reset.map(|reset| room.extend_from_slice(&reset)).is_some()
}

fn v4(packet: &[u8]) -> Option<Vec<u8>> {
    let packet = Ipv4Packet::parse(packet).ok()?;
    let (from, to) = (packet.destination(), packet.source());
    if packet.fragment_offset() > 0 || packet.protocol() != protocol::TCP {
        return None;
    }
    let segment = answer(packet.payload(), Sum::pseudo_v4(from, to, protocol::TCP, tcp::HEADER_LEN))?;
    Some([&header_v4(0, protocol::TCP, from, to, segment.len())[..], &segment].concat())
}

fn v6(packet: &[u8]) -> Option<Vec<u8>> {
    let packet = Ipv6Packet::parse(packet).ok()?;
    let (from, to, upper) = (packet.destination(), packet.source(), packet.upper_layer());
    if !upper.complete || upper.protocol != protocol::TCP {
        return None;
    }
    let segment = answer(upper.payload, Sum::pseudo_v6(from, to, protocol::TCP, tcp::HEADER_LEN))?;
    Some([&header_v6(protocol::TCP, from, to, segment.len())[..], &segment].concat())
}

/// The segment, with its checksum; `None` when there is to be none.
fn answer(sent: &[u8], pseudo: Sum) -> Option<[u8; tcp::HEADER_LEN]> {
    let sent = TcpSegment::parse(sent).ok()?;
    let flags = sent.flags();
    if flags.contains(TcpFlags::RST) {
        return None;
    }
    let mut segment = [0; tcp::HEADER_LEN];
    let ports = [sent.destination_port(), sent.source_port()].map(u16::to_be_bytes);
    segment[..tcp::field::SEQUENCE].copy_from_slice(&ports.concat());
    let (at, number, said) = if flags.contains(TcpFlags::ACK) {
        (tcp::field::SEQUENCE, sent.acknowledgement(), TcpFlags::RST)
    } else {
        let counted = [TcpFlags::SYN, TcpFlags::FIN].iter().filter(|flag| flags.contains(**flag)).count();
        let end = sent.sequence().wrapping_add((sent.payload().len() + counted) as u32);
        (tcp::field::ACKNOWLEDGEMENT, end, TcpFlags::RST.with(TcpFlags::ACK))
    };
    segment[at..at + 4].copy_from_slice(&number.to_be_bytes());
    segment[tcp::field::DATA_OFFSET] = (tcp::HEADER_LEN as u8 / 4) << 4;
    segment[tcp::field::FLAGS] = said.0;
    let sum = pseudo.add(&segment).finish();
    put16(&mut segment, tcp::field::CHECKSUM, sum);
    Some(segment)
}
