//! Super-frames and checksums, with etherparse as the judge of what comes out.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::layout::Layout;
use super::*;
use crate::wire::testing::{Network, Recipe, Transport};
use crate::wire::{be16, put16};

mod checksum;
mod round_trip;
mod segment;
mod vnet;

/// Makes the frame's checksum partial, as a stack does that leaves it to the device.
fn make_partial(frame: &mut [u8]) -> Checksum {
    let layout = Layout::of(frame).unwrap();
    let offset = layout.checksum_offset().unwrap();
    let pseudo = layout.pseudo(frame, layout.end - layout.l4).fold();
    put16(frame, layout.l4 + offset, pseudo);
    Checksum::Partial { start: layout.l4 as u16, offset: offset as u16 }
}

/// What a stack says about a super-frame with segments of `size`.
fn super_frame(recipe: &Recipe, frame: &mut [u8], size: u16) -> Offload {
    let (kind, transport_len) = match (&recipe.transport, &recipe.network) {
        (Transport::Tcp { option_words, .. }, Network::V4 { .. }) => (GsoKind::Tcp4, 20 + 4 * option_words),
        (Transport::Tcp { option_words, .. }, Network::V6 { .. }) => (GsoKind::Tcp6, 20 + 4 * option_words),
        _ => (GsoKind::Udp, 8),
    };
    let checksum = make_partial(frame);
    let Checksum::Partial { start, .. } = checksum else { unreachable!("made partial") };
    let ecn = matches!(recipe.transport, Transport::Tcp { flags, .. } if flags & 0x80 != 0);
    Offload { checksum, gso: Some(Gso { kind, size, ecn, header_len: start + transport_len as u16 }) }
}

/// Fails unless every length and every checksum of `frame` is right; returns its transport payload.
fn verify(frame: &[u8]) -> Result<&[u8], TestCaseError> {
    let packet =
        SlicedPacket::from_ethernet(frame).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let net = packet.net.unwrap();
    if let NetSlice::Ipv4(ip) = &net {
        prop_assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
    }
    let (found, expected, payload) = match (&net, packet.transport.unwrap()) {
        (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => {
            let (source, destination) = (ip.header().source(), ip.header().destination());
            (tcp.checksum(), tcp.calc_checksum_ipv4(source, destination).unwrap(), tcp.payload())
        }
        (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
            let (source, destination) = (ip.header().source(), ip.header().destination());
            (tcp.checksum(), tcp.calc_checksum_ipv6(source, destination).unwrap(), tcp.payload())
        }
        (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
            let (source, destination) = (ip.header().source(), ip.header().destination());
            let expected = udp.to_header().calc_checksum_ipv4_raw(source, destination, udp.payload());
            (udp.checksum(), expected.unwrap(), udp.payload())
        }
        (NetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
            let (source, destination) = (ip.header().source(), ip.header().destination());
            let expected = udp.to_header().calc_checksum_ipv6_raw(source, destination, udp.payload());
            (udp.checksum(), expected.unwrap(), udp.payload())
        }
        other => return Err(TestCaseError::fail(format!("neither TCP nor UDP over IP: {other:?}"))),
    };
    prop_assert_eq!(found, expected);
    prop_assert_eq!(payload.as_ptr_range().end, frame.as_ptr_range().end, "bytes after the packet");
    Ok(payload)
}
