//! A frame from an endpoint: the first byte says which port, the rest is the frame.
//!
//! The judge of anti-spoofing reads a frame as a receiving stack would, all tags and extension headers included, and
//! knows nothing of how the product does it.

use std::net::{Ipv4Addr, Ipv6Addr};

use weft_dataplane::datapath::Frame;
use weft_dataplane::offload::Offload;
use weft_dataplane::tables::PortId;
use weft_dataplane::verdict::{DropReason, Verdict};

use crate::world::{NOW, TUNNEL_PORT, VTEPS, datapath, ended, learned, mac, tables, v4, v6};

const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Judges `data` as sent through one of four ports.
pub fn from_port(data: &[u8]) {
    let [which, bytes @ ..] = data else { return };
    let (tables, mut frame) = (tables(), bytes.to_vec());
    let id = PortId(u32::from(which % 4));
    let port = tables.port(id).expect("one of four");
    let frame = Frame { bytes: &mut frame, offload: Offload::NONE };
    let judged = datapath().from_port(&tables, port, frame, NOW);
    assert_eq!(ended(&tables.totals()), 1, "one frame, one verdict");
    assert_eq!(learned(&tables), 0, "an endpoint is known already and can be nobody else");
    let me = which % 2 + 1;
    match judged.verdict {
        Verdict::Drop(reason) => assert_eq!(tables.totals().drops(reason), 1),
        verdict => {
            assert_ne!(verdict, Verdict::Deliver(id), "never back");
            assert!(judged.flood_ports().all(|port| port != id));
            assert!(which % 4 > 1 || bytes.len() >= judged.frame.bytes.len(), "only tags are removed");
            if let Err(reason) = honest(judged.frame.bytes, me) {
                panic!("{reason} was let through: {:02x?}", judged.frame.bytes);
            }
        }
    }
}

/// Whether endpoint `me` may send this: what a receiving stack would take it for.
fn honest(frame: &[u8], me: u8) -> Result<(), DropReason> {
    if frame[6..12] != mac(me).0 {
        return Err(DropReason::SpoofedMac);
    }
    let mut at = 12;
    while let Some([0x81, 0x00] | [0x88, 0xa8] | [0x91, 0x00]) = frame.get(at..at + 2) {
        at += 4;
    }
    match frame.get(at..at + 2) {
        Some([0x08, 0x00]) => honest_v4(&frame[at + 2..], me),
        Some([0x86, 0xdd]) => honest_v6(&frame[at + 2..], me),
        Some([0x08, 0x06]) => honest_arp(&frame[at + 2..], me),
        _ => Ok(()),
    }
}

fn honest_arp(packet: &[u8], me: u8) -> Result<(), DropReason> {
    let Some(packet) = packet.get(..28) else { return Ok(()) };
    let own = packet[14..18] == v4(me).octets() || packet[14..18] == [0; 4];
    if packet[8..14] == mac(me).0 && own { Ok(()) } else { Err(DropReason::SpoofedArp) }
}

fn honest_v4(packet: &[u8], me: u8) -> Result<(), DropReason> {
    let Ok((header, payload)) = etherparse::Ipv4Header::from_slice(packet) else { return Ok(()) };
    let later = header.fragment_offset.value() > 0;
    let ports = if header.protocol.0 == UDP && !later { ports(payload) } else { None };
    let asks = header.source == [0; 4] && ports == Some((68, 67));
    if header.source != v4(me).octets() && !asks {
        return Err(DropReason::SpoofedIp);
    }
    let to_vtep = VTEPS.contains(&Ipv4Addr::from(header.destination));
    match ports {
        Some((67, _) | (_, 68)) => Err(DropReason::DhcpServer),
        Some((_, TUNNEL_PORT)) if to_vtep => Err(DropReason::ToVtepPort),
        _ => Ok(()),
    }
}

fn honest_v6(packet: &[u8], me: u8) -> Result<(), DropReason> {
    let Some((header, mut rest)) = packet.split_at_checked(40) else { return Ok(()) };
    let source: [u8; 16] = std::array::from_fn(|at| header[8 + at]);
    let source = Ipv6Addr::from(source);
    let (mut next, mut fragment) = (header[6], false);
    // As many as there are: a stack has no reason to stop early.
    while let (0 | 43 | 44 | 51 | 60, [following, units, ..]) = (next, rest) {
        let len = match next {
            44 => 8,
            51 => (usize::from(*units) + 2) * 4,
            _ => (usize::from(*units) + 1) * 8,
        };
        if next == 44 {
            fragment = true;
            if rest.len() >= 4 && u16::from_be_bytes([rest[2], rest[3]]) & 0xfff8 != 0 {
                break;
            }
        }
        let Some(after) = rest.get(len..) else { break };
        (next, rest) = (*following, after);
    }
    let nobody = source.is_unspecified() && next == ICMPV6;
    if source != v6(me) && source != mac(me).link_local() && !nobody {
        return Err(DropReason::SpoofedIp);
    }
    match (next, rest) {
        (ICMPV6, [134 | 137, ..]) => Err(DropReason::RouterAdvert),
        (ICMPV6, [133..=137, ..]) if fragment => Err(DropReason::Malformed),
        (ICMPV6, [136, rest @ ..]) if rest.len() >= 23 => {
            let target: [u8; 16] = std::array::from_fn(|at| rest[7 + at]);
            let own = [v6(me), mac(me).link_local()].contains(&Ipv6Addr::from(target));
            if own { Ok(()) } else { Err(DropReason::SpoofedNd) }
        }
        (UDP, rest) if matches!(ports(rest), Some((547, _) | (_, 546))) => Err(DropReason::DhcpServer),
        _ => Ok(()),
    }
}

fn ports(datagram: &[u8]) -> Option<(u16, u16)> {
    match datagram {
        [a, b, c, d, ..] => Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))),
        _ => None,
    }
}
