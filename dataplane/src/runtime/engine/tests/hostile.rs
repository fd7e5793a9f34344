//! Ports that misbehave and bytes that mean nothing: every frame ends once, and nothing stops.

use proptest::prelude::*;

use super::net::{NOW, Net, judged};
use super::*;
use crate::io::fault::{Faults, Faulty};
use crate::io::memory::MemoryPort;
use crate::offload::{Checksum, Gso, GsoKind};
use crate::testing::tcp4;

/// Counts what it hands over: a wrapper loses and doubles frames before the switch can see them.
struct Metered<P>(P, std::sync::Arc<std::sync::atomic::AtomicU64>);

impl<P: FrameIo> FrameIo for Metered<P> {
    fn recv(&mut self, buffer: &mut [u8]) -> Result<Option<Received>, Gone> {
        let received = self.0.recv(buffer)?;
        self.1.fetch_add(u64::from(received.is_some()), std::sync::atomic::Ordering::Relaxed);
        Ok(received)
    }

    fn send(&mut self, frame: &[u8], offload: Offload) -> Result<(), DropReason> {
        self.0.send(frame, offload)
    }

    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.0.descriptor()
    }
}

/// What a stack might owe for a frame; with a damaged frame it is not true any more.
fn owing(n: usize) -> Offload {
    let checksum = Checksum::Partial { start: 34, offset: 16 };
    let gso = Gso { kind: GsoKind::Tcp4, size: 100, ecn: false, header_len: 54 };
    match n % 3 {
        0 => Offload::NONE,
        1 => Offload { checksum, gso: None },
        _ => Offload { checksum, gso: Some(gso) },
    }
}

#[test]
fn every_frame_of_a_faulty_port_ends_exactly_once() {
    for seed in 0..8 {
        let mut net = Net::of(3);
        let faults = Faults { lose: 7, duplicate: 5, reorder: 3, corrupt: 2, truncate: 4 };
        let (near, mut far) = MemoryPort::pair();
        let offered = std::sync::Arc::default();
        let port = Metered(Faulty::new(near, faults, seed), std::sync::Arc::clone(&offered));
        net.host(1).engine.attach(PortId(11), Box::new(port));
        for n in 0..300u16 {
            let to = [12, 21, 99][usize::from(n) % 3];
            let frame = tcp4(station(11), station(to), n.into(), &vec![n as u8; usize::from(n)]);
            far.send(&frame, owing(n.into())).unwrap();
        }
        net.settle();
        let offered = offered.load(std::sync::atomic::Ordering::Relaxed);
        assert!(offered > 200, "the port brought {offered} frames");
        let totals = net.host(1).tables.totals();
        // A frame towards the underlay can pass and still turn out to be uncuttable: that is one more count.
        let cut = totals.drops(DropReason::Unsegmentable);
        assert_eq!(judged(&net.host(1).tables) - cut, offered, "seed {seed}: {:?}", drops(&totals));
        assert!(totals.packets > 50, "most frames were judged on their way, not all refused");
    }
}

fn drops(totals: &crate::counters::Totals) -> Vec<(DropReason, u64)> {
    totals.nonzero_drops().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_from_ports_and_from_the_underlay_are_all_counted(
        frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..120), 0..4u8, any::<bool>()), 1..40),
    ) {
        let mut net = Net::of(1);
        let _members = (net.stranger(2), net.stranger(3));
        for (offered, (bytes, how, own)) in (1..).zip(&frames) {
            let mut bytes = bytes.clone();
            if *own && bytes.len() >= 12 {
                bytes[6..12].copy_from_slice(&station(11).mac.0);
            }
            match how {
                0 => net.send(1, 11, &bytes),
                1 => net.send(1, 111, &bytes),
                2 => inject(&mut net, bytes),
                _ => inject(&mut net, vxlan(vni(1), &bytes)),
            }
            prop_assert_eq!(judged(&net.host(1).tables), offered);
        }
    }
}

fn inject(net: &mut Net, payload: Vec<u8>) {
    net.inject(1, Carried { sender: vtep(2), source_port: 50_000, ecn: Ecn::Ect0, payload });
}

#[test]
fn a_flood_of_sources_from_a_vtep_leaves_the_endpoints_and_a_busy_peer_alone() {
    let mut net = Net::of(1);
    let peer = net.stranger(3);
    net.inject(1, from(3, 77));
    drop(net.delivered());
    let host = net.host(1);
    for n in 0..70_000u32 {
        let [_, a, b, c] = n.to_be_bytes();
        let frame = plain(station(11).mac, MacAddr([2, 0xee, 0xee, a, b, c]), b"");
        let datagram = &mut vxlan(vni(1), &frame);
        let _ = Datapath::new(0, 7).from_tunnel(&host.tables, vtep(2), Ecn::NotEct, datagram, NOW);
    }
    let segment = host.tables.segment(SegmentId(1)).unwrap();
    assert_eq!(segment.fdb_rows(NOW).len(), crate::switch::fdb::SEGMENT_LIMIT + 2, "capped, endpoints aside");
    net.send(1, 11, &udp4(station(11), station(77), (1, 2), b"still there?"));
    assert!(peer.take().is_some(), "the busy peer is still known, and alone is sent to");
    net.send(1, 11, &udp4(station(11), station(12), (1, 2), b"and you?"));
    assert_eq!(net.delivered().len(), 1);
    assert!(peer.take().is_none());
}

/// A datagram from station `n` behind VTEP `last`.
fn from(last: u8, n: u8) -> Carried {
    let payload = vxlan(vni(1), &udp4(station(n), station(11), (1, 2), b"x"));
    Carried { sender: vtep(last), source_port: 50_000, ecn: Ecn::NotEct, payload }
}
