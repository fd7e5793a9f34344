//! The sender with files and sockets in place of a TAP, and real sockets to fall back on.

use std::fs::{File, OpenOptions};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::io::UnderlayTx;
use crate::io::udp::{self, Mode};
use crate::tables::SegmentId;
use crate::tunnel::Vtep;
use crate::wire::{Ecn, MacAddr, Vni, vxlan};

/// Not VXLAN's own, which a dataplane on this machine may have.
const PORT: u16 = 47_891;

/// The UDP source port in what is written: behind the virtio header, Ethernet and IPv4.
const SOURCE_PORT_AT: usize = tunnel::LEN + 14 + 20;

/// A sender, and what it shares with control.
struct Rig {
    shared: Arc<UplinkShared>,
    tx: UplinkTx,
    own: IpAddr,
    peer: Vtep,
}

impl Rig {
    /// On two loopback addresses of its own, so that tests can run side by side.
    fn new(number: u8) -> Self {
        Self::over(Mode::Udp, number)
    }

    /// The same, falling back on sockets of that mode.
    fn over(mode: Mode, number: u8) -> Self {
        let [own, peer] = [1, 2].map(|last| IpAddr::from(Ipv4Addr::new(127, 48, number, last)));
        let shared = Arc::new(UplinkShared::new(own, PORT));
        let sockets = udp::open(own, PORT, mode, 1).unwrap().senders.pop().unwrap();
        Self { tx: UplinkTx::new(0, Arc::clone(&shared), sockets), shared, own, peer: Vtep::new(peer) }
    }

    fn open(&self, queue: impl Into<OwnedFd>) {
        self.shared.open(Uplink { name: "uplink".into(), queues: vec![queue.into()] });
    }

    fn know_peer(&self, mtu: u16) {
        let hop = NextHop { source: MacAddr([2; 6]), neighbor: MacAddr([4; 6]), mtu };
        self.shared.set_next_hops(vec![(self.peer, hop)]);
    }

    /// Whether a frame of `len` bytes for the flow of that source port goes through the uplink.
    fn sends(&mut self, source_port: u16, len: usize) -> bool {
        let envelope = Envelope { vxlan: vxlan::header(Vni::MAX), source_port, ecn: Ecn::NotEct };
        self.tx.send_whole(self.peer, &envelope, SegmentId(1), &vec![0; len], Offload::NONE)
    }
}

fn file(path: &str) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

#[test]
fn frames_take_the_uplink_only_while_it_is_open_and_leads_there() {
    let mut rig = Rig::new(1);
    rig.know_peer(1_500);
    assert!(!rig.sends(50_000, 60), "there is no uplink");
    rig.open(file("/dev/null"));
    assert!(!rig.sends(50_000, 60), "it leads nowhere yet");
    rig.know_peer(1_500);
    assert!(rig.sends(50_000, 60));
    rig.shared.close();
    assert!(!rig.sends(50_000, 60));
    assert_eq!(rig.shared.state(), UplinkState::Closed);
}

#[test]
fn a_refused_write_ends_an_uplink_and_not_the_next_one() {
    let mut rig = Rig::new(2);
    rig.open(file("/dev/full"));
    rig.know_peer(1_500);
    assert_eq!(rig.shared.state(), UplinkState::Open);
    assert!(!rig.sends(50_000, 60), "it is for the sockets then");
    assert_eq!(rig.shared.state(), UplinkState::Refused);
    assert_eq!(rig.tx.take_losses(), []);
    rig.open(file("/dev/null"));
    rig.know_peer(1_500);
    assert!(rig.sends(50_000, 60));
}

#[test]
fn a_frame_larger_than_the_path_takes_is_left_to_the_sockets() {
    let mut rig = Rig::new(3);
    rig.open(file("/dev/null"));
    rig.know_peer(1_400);
    // 20 bytes of IPv4, 8 of UDP, 8 of VXLAN.
    assert!(rig.sends(50_000, 1_364));
    assert!(!rig.sends(50_000, 1_365));
}

#[test]
fn what_was_used_is_told_once() {
    let mut rig = Rig::new(4);
    rig.open(file("/dev/null"));
    rig.know_peer(1_500);
    assert_eq!(rig.shared.take_used(), []);
    assert!(rig.sends(50_000, 60));
    rig.know_peer(1_400);
    assert_eq!(rig.shared.take_used(), [rig.peer], "also by way of the former next hop");
    assert_eq!(rig.shared.take_used(), []);
}

#[test]
fn a_flow_has_the_same_source_port_whichever_way_it_takes() {
    let mut rig = Rig::new(5);
    let (queue, wire) = UnixDatagram::pair().unwrap();
    rig.open(queue);
    rig.know_peer(1_500);
    let receiver = UdpSocket::bind((rig.peer.address(), PORT)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for flow in (49_152..=65_535).step_by(999) {
        assert!(rig.sends(flow, 60));
        let mut frame = [0; 200];
        assert_eq!(wire.recv(&mut frame).unwrap(), SOURCE_PORT_AT + 16 + 60);
        let through_uplink = u16::from_be_bytes(frame[SOURCE_PORT_AT..][..2].try_into().unwrap());
        let envelope = Envelope { vxlan: vxlan::header(Vni::MAX), source_port: flow, ecn: Ecn::NotEct };
        rig.tx.stage(68).fill(0);
        rig.tx.commit(rig.peer, &envelope, SegmentId(1), 68);
        rig.tx.flush();
        let (_, from) = receiver.recv_from(&mut [0; 100]).unwrap();
        assert_eq!((from.ip(), from.port()), (rig.own, through_uplink));
    }
}

#[test]
fn of_the_small_frames_of_a_round_all_but_the_first_are_packed() {
    let mut rig = Rig::over(Mode::UdpGso, 6);
    rig.open(file("/dev/null"));
    rig.know_peer(1_500);
    for _ in 0..2 {
        assert!(rig.sends(50_000, 60));
        assert!(!rig.sends(50_000, 60));
        assert!(!rig.sends(50_001, 1_000));
        rig.tx.flush();
    }
}

#[test]
fn what_a_flow_has_staged_leaves_before_what_it_sends_whole() {
    let mut rig = Rig::new(7);
    let (queue, wire) = UnixDatagram::pair().unwrap();
    rig.open(queue);
    rig.know_peer(1_500);
    let receiver = UdpSocket::bind((rig.peer.address(), PORT)).unwrap();
    receiver.set_nonblocking(true).unwrap();
    let envelope = Envelope { vxlan: vxlan::header(Vni::MAX), source_port: 50_000, ecn: Ecn::NotEct };
    rig.tx.stage(68).fill(0);
    rig.tx.commit(rig.peer, &envelope, SegmentId(1), 68);
    assert!(receiver.recv(&mut [0; 100]).is_err(), "it waits for others");
    assert!(rig.sends(50_000, 60));
    assert!(wire.recv(&mut [0; 200]).is_ok());
    assert_eq!(receiver.recv(&mut [0; 100]).unwrap(), 68);
}
