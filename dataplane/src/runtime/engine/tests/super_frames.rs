//! Frames that stand for many: whole between ports, cut towards the underlay, recognised when they come out of it.

use etherparse::{SlicedPacket, TransportSlice};

use super::net::Net;
use super::*;
use crate::offload::{Checksum, Gso, GsoKind};
use crate::testing::tcp4;
use crate::wire::checksum::Sum;

const PARTIAL: Checksum = Checksum::Partial { start: 34, offset: 16 };
const WHOLE: Offload = Offload {
    checksum: PARTIAL,
    gso: Some(Gso { kind: GsoKind::Tcp4, size: 1_400, ecn: false, header_len: 54 }),
};

/// 20,000 bytes that are nowhere the same.
fn payload() -> Vec<u8> {
    (0..10_000u16).flat_map(u16::to_be_bytes).collect()
}

/// A TCP frame with `payload` whose checksum field holds the pseudo header's sum only, as a stack leaves it.
fn super_frame(from: u8, to: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = tcp4(station(from), station(to), 1_000, payload);
    let (source, destination) = (station(from).v4, station(to).v4);
    let pseudo = Sum::pseudo_v4(source, destination, 6, frame.len() - 34).fold();
    frame[50..52].copy_from_slice(&pseudo.to_be_bytes());
    frame
}

/// Checks that `frame` is a TCP segment with good checksums; returns its sequence number and payload.
fn segment(frame: &[u8]) -> (u32, Vec<u8>) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let ip = packet.net.as_ref().and_then(|net| net.ipv4_ref()).unwrap().header().to_header();
    assert_eq!(ip.header_checksum, ip.calc_header_checksum());
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP in {frame:02x?}") };
    assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv4(ip.source, ip.destination).unwrap());
    (tcp.sequence_number(), tcp.payload().to_vec())
}

#[test]
fn between_local_ports_a_super_frame_passes_untouched() {
    let mut net = Net::of(1);
    let frame = super_frame(11, 12, &payload());
    net.send_owing(1, 11, &frame, WHOLE);
    assert_eq!(net.delivered(), [((1, 12), frame, WHOLE)]);
    assert_eq!(net.host(1).tables.totals().packets, 1, "one super-frame is one frame");
}

#[test]
fn towards_the_underlay_it_becomes_segments_that_add_up_to_it() {
    let mut net = Net::of(1);
    let peer = net.stranger(2);
    net.send_owing(1, 11, &super_frame(11, 77, &payload()), WHOLE);
    let datagrams: Vec<_> = std::iter::from_fn(|| peer.take()).collect();
    assert_eq!(datagrams.len(), 20_000usize.div_ceil(1_400));
    let mut received = Vec::new();
    for datagram in &datagrams {
        assert_eq!(datagram.payload[..8], vxlan(vni(1), &[]));
        assert_eq!(datagram.source_port, datagrams[0].source_port, "one flow, one port");
        assert!(datagram.payload.len() <= 8 + 14 + 1_450, "every segment fits the MTU");
        let (sequence, part) = segment(&datagram.payload[8..]);
        assert_eq!(sequence as usize, 1_000 + received.len());
        received.extend(part);
    }
    assert_eq!(received, payload());
}

#[test]
fn to_every_vtep_goes_a_copy_of_every_segment() {
    let mut net = Net::of(1);
    let (second, third) = (net.stranger(2), net.stranger(3));
    net.send_owing(1, 11, &super_frame(11, 77, &payload()), WHOLE);
    for peer in [second, third] {
        let parts: Vec<u8> =
            std::iter::from_fn(|| peer.take()).flat_map(|d| segment(&d.payload[8..]).1).collect();
        assert_eq!(parts, payload());
    }
    let got: Vec<_> = net.delivered();
    assert_eq!(got.len(), 1, "and the local member gets it whole");
    assert_eq!((got[0].0, got[0].2), ((1, 12), WHOLE));
}

#[test]
fn a_partial_checksum_is_finished_towards_the_underlay() {
    let mut net = Net::of(1);
    let peer = net.stranger(2);
    let frame = super_frame(11, 77, b"small");
    net.send_owing(1, 11, &frame, Offload { checksum: PARTIAL, gso: None });
    assert_eq!(segment(&peer.take().unwrap().payload[8..]).1, b"small");
}

#[test]
fn what_a_kernel_on_the_same_machine_sends_is_delivered_as_what_it_is() {
    for (payload, owed) in [
        (payload(), Offload { gso: Some(Gso { size: 1_410, ..WHOLE.gso.unwrap() }), ..WHOLE }),
        (b"small".to_vec(), Offload { checksum: PARTIAL, gso: None }),
    ] {
        let mut net = Net::of(1);
        let frame = super_frame(77, 11, &payload);
        let payload = vxlan(vni(1), &frame);
        net.inject(1, Carried { sender: vtep(2), source_port: 50_000, ecn: Ecn::NotEct, payload });
        assert_eq!(net.delivered(), [((1, 11), frame, owed)]);
    }
}

#[test]
fn a_complete_super_frame_is_verified_before_it_is_repaired() {
    let mut net = Net::of(1);
    let good = tcp4(station(77), station(11), 1_000, &payload());
    let inject = |net: &mut Net, frame: &[u8]| {
        let payload = vxlan(vni(1), frame);
        net.inject(1, Carried { sender: vtep(2), source_port: 50_000, ecn: Ecn::NotEct, payload });
        net.delivered()
    };
    let mut corrupt = good.clone();
    corrupt[5_000] ^= 0x10;
    assert_eq!(inject(&mut net, &corrupt), []);
    let tables = &net.host(1).tables;
    assert_eq!(tables.totals().nonzero_drops().collect::<Vec<_>>(), [(DropReason::BadInnerChecksum, 1)]);
    assert_eq!(
        tables.segment(SegmentId(1)).unwrap().locate(station(77).mac, net::NOW),
        None,
        "taught nothing"
    );

    let delivered = inject(&mut net, &good);
    assert_eq!(delivered.len(), 1);
    assert_eq!(delivered[0].1, super_frame(77, 11, &payload()));
}

#[test]
fn a_super_frame_whose_debt_is_not_its_own_is_not_cut() {
    let mut net = Net::of(1);
    let _peer = net.stranger(2);
    let _other = net.stranger(3);
    let frame = plain(station(77).mac, station(11).mac, &[0; 1_400]);
    net.send_owing(1, 11, &frame, WHOLE);
    let drops: Vec<_> = net.host(1).tables.totals().nonzero_drops().collect();
    assert_eq!(drops, [(DropReason::Unsegmentable, 1)]);
}

/// A port whose kernel takes no super-frames.
struct Plain(crate::io::memory::MemoryPort);

impl FrameIo for Plain {
    fn recv(&mut self, buffer: &mut [u8]) -> Result<Option<Received>, Gone> {
        self.0.recv(buffer)
    }

    fn send(&mut self, frame: &[u8], offload: Offload) -> Result<(), DropReason> {
        if offload.gso.is_some() { Err(DropReason::PortRefused) } else { self.0.send(frame, offload) }
    }

    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

#[test]
fn a_port_that_refuses_super_frames_gets_segments_and_nothing_is_lost() {
    let mut net = Net::of(1);
    let (near, far) = crate::io::memory::MemoryPort::pair();
    let host = net.host(1);
    host.engine.attach(PortId(12), Box::new(Plain(near)));
    host.ends.insert(12, far);
    for _ in 0..2 {
        net.send_owing(1, 11, &super_frame(11, 12, &payload()), WHOLE);
        let mut received = Vec::new();
        for ((_, port), frame, offload) in net.delivered() {
            assert_eq!((port, offload), (12, Offload::NONE));
            let (sequence, part) = segment(&frame);
            assert_eq!(sequence as usize, 1_000 + received.len());
            received.extend(part);
        }
        assert_eq!(received, payload());
    }
    net.assert_nothing_dropped();
}
