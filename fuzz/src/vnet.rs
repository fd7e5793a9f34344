//! A virtio header and its frame: what is accepted can be passed on, and cut into frames that are right.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use weft_dataplane::offload::{
    Checksum, Gso, GsoKind, Offload, OffloadError, segment, segments, vnet as virtio,
};

/// Judges `data`: 12 bytes of header, the rest is the frame.
pub fn vnet(data: &[u8]) {
    let Some((header, frame)) = data.split_first_chunk::<{ virtio::LEN }>() else { return };
    let Ok(offload) = virtio::parse(header, frame) else { return };
    assert_eq!(virtio::parse(&virtio::emit(offload), frame), Ok(offload), "what is passed on says the same");
    match segments(frame, offload) {
        Ok(pieces) => check(frame, offload, &pieces),
        Err(error) => assert_eq!(error, OffloadError::TooManySegments, "an offload that is true can be done"),
    }
}

fn check(frame: &[u8], offload: Offload, pieces: &segment::Segments<'_>) {
    let mut out = vec![0xaa; pieces.max_len()];
    let mut payload = Vec::new();
    for index in 0..pieces.len() {
        let len = pieces.write(index, &mut out);
        assert!(len > 0 || frame.is_empty());
        match offload.gso {
            Some(gso) => payload.extend(judge(&out[..len], gso, index)),
            None => finished(frame, offload.checksum, &out[..len]),
        }
    }
    if let Some(gso) = offload.gso {
        assert_eq!(payload, &frame[usize::from(gso.header_len)..], "the segments add up to the super-frame");
    }
    assert_eq!(pieces.write(pieces.len(), &mut out), 0, "and there is no further one");
}

/// Only the checksum field may differ, and with it the sum over everything behind `start` comes out right.
fn finished(frame: &[u8], checksum: Checksum, out: &[u8]) {
    let Checksum::Partial { start, offset } = checksum else { return assert_eq!(out, frame) };
    let field = usize::from(start) + usize::from(offset);
    assert_eq!((&out[..field], &out[field + 2..]), (&frame[..field], &frame[field + 2..]));
}

/// Checks a segment by another library; returns its payload.
fn judge(segment: &[u8], gso: Gso, index: usize) -> Vec<u8> {
    let packet = SlicedPacket::from_ethernet(segment).expect("a well-formed segment");
    let net = packet.net.as_ref().expect("an IP packet");
    if let NetSlice::Ipv4(ip) = net {
        let header = ip.header().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum(), "segment {index}");
    }
    let payload = match (packet.transport.as_ref().expect("a transport header"), net) {
        (TransportSlice::Tcp(tcp), NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            assert_eq!(Ok(tcp.checksum()), tcp.calc_checksum_ipv4(header.source(), header.destination()));
            tcp.payload()
        }
        (TransportSlice::Tcp(tcp), NetSlice::Ipv6(ip)) => {
            assert_eq!(
                Ok(tcp.checksum()),
                tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination())
            );
            tcp.payload()
        }
        (TransportSlice::Udp(udp), net) => {
            let header = udp.to_header();
            let sum = match net {
                NetSlice::Ipv4(ip) => {
                    let ends = (ip.header().source(), ip.header().destination());
                    header.calc_checksum_ipv4_raw(ends.0, ends.1, udp.payload())
                }
                NetSlice::Ipv6(ip) => {
                    let ends = (ip.header().source(), ip.header().destination());
                    header.calc_checksum_ipv6_raw(ends.0, ends.1, udp.payload())
                }
                NetSlice::Arp(_) => panic!("ARP carries no UDP"),
            };
            assert_eq!(Ok(udp.checksum()), sum);
            udp.payload()
        }
        (other, _) => panic!("{:?} became {other:?}", gso.kind),
    };
    assert_eq!(gso.kind == GsoKind::Udp, matches!(packet.transport, Some(TransportSlice::Udp(_))));
    assert!(payload.len() <= usize::from(gso.size));
    payload.to_vec()
}
