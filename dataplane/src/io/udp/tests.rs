//! Real sockets on the loopback interface: what is committed at one end is a datagram at the other.

use std::net::Ipv4Addr;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::io::{Loss, UnderlayRx, UnderlayTx};
use crate::tables::SegmentId;
use crate::tunnel::{Envelope, Vtep};
use crate::verdict::DropReason;
use crate::wire::{Ecn, Vni, vxlan};

/// Not VXLAN's own, which a dataplane on this machine may have.
const PORT: u16 = 47_890;
const SEGMENT: SegmentId = SegmentId(1);
/// Nothing on loopback takes this long.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// A datagram as it came out: sender, ECN, payload.
type Got = (Vtep, Ecn, Vec<u8>);

/// A test's own loopback address, so that tests can run side by side on one port.
fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 47, 89, last).into()
}

fn envelope(source_port: u16, ecn: Ecn) -> Envelope {
    Envelope { vxlan: vxlan::header(Vni::new(5).unwrap()), source_port, ecn }
}

fn put(tx: &mut UdpTx, to: IpAddr, envelope: &Envelope, payload: &[u8]) {
    tx.stage(payload.len()).copy_from_slice(payload);
    tx.commit(Vtep::new(to), envelope, SEGMENT, payload.len());
}

/// The next `count` datagrams.
fn take(rx: &mut UdpRx, count: usize) -> Vec<Got> {
    let mut got = Vec::new();
    while got.len() < count {
        let socket = rx.descriptor().unwrap();
        let mut ready = [PollFd::new(&socket, PollFlags::IN)];
        assert_eq!(poll(&mut ready, Some(&PATIENCE)), Ok(1), "{} of {count} arrived", got.len());
        for index in 0..rx.fill() {
            let datagram = rx.datagram(index);
            got.push((datagram.sender, datagram.ecn, datagram.payload.to_vec()));
        }
    }
    got
}

/// Both ends of an underlay from `address` to itself.
fn looped(address: IpAddr, mode: Mode) -> (UdpRx, UdpTx) {
    let mut underlay = open(address, PORT, mode, 1).unwrap();
    assert_eq!(underlay.sources.mode(), mode);
    (underlay.receivers.pop().unwrap(), underlay.senders.pop().unwrap())
}

/// Datagrams of several sizes, some of them alike and in a row, in two flows.
fn conversation() -> Vec<(u16, Vec<u8>)> {
    (0..200u16)
        .map(|n| {
            let len = [1_408, 1_408, 1_408, 60, 1, 1_408][usize::from(n) % 6];
            (49_152 + n / 50, [&n.to_be_bytes()[..], &vec![n as u8; len]].concat())
        })
        .collect()
}

fn converse(address: IpAddr, mode: Mode) {
    let (mut rx, mut tx) = looped(address, mode);
    let sent = conversation();
    for (source_port, payload) in &sent {
        put(&mut tx, address, &envelope(*source_port, Ecn::NotEct), payload);
    }
    tx.flush();
    assert_eq!(tx.take_losses(), []);
    let mut got = take(&mut rx, sent.len());
    assert!(got.iter().all(|(sender, ecn, _)| (*sender, *ecn) == (Vtep::new(address), Ecn::NotEct)));
    for flow in 49_152..49_156 {
        let of_flow: Vec<_> = sent.iter().filter(|(port, _)| *port == flow).map(|(_, p)| p).collect();
        let arrived: Vec<_> = got.iter().map(|(.., p)| p).filter(|p| of_flow.contains(p)).collect();
        assert_eq!(arrived, of_flow, "a flow stays in order");
    }
    got.sort_by(|a, b| a.2.cmp(&b.2));
    assert!(got.iter().map(|(.., payload)| payload).eq(sent.iter().map(|(_, payload)| payload)), "each once");
}

#[test]
fn single_datagrams_arrive_whole_and_in_order() {
    converse(loopback(1), Mode::Udp);
}

#[test]
fn datagrams_that_left_as_one_arrive_whole_and_in_order() {
    converse(loopback(2), Mode::UdpGso);
}

#[test]
fn ipv6_is_an_underlay_too() {
    if std::net::UdpSocket::bind((std::net::Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("skipped: this machine has no IPv6 loopback address");
        return;
    }
    converse(std::net::Ipv6Addr::LOCALHOST.into(), Mode::Udp);
}

#[test]
fn the_outer_ecn_field_crosses() {
    for (address, mode) in [(loopback(3), Mode::Udp), (loopback(4), Mode::UdpGso)] {
        let (mut rx, mut tx) = looped(address, mode);
        let fields = [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0, Ecn::Ce, Ecn::Ce];
        for ecn in fields {
            put(&mut tx, address, &envelope(50_000, ecn), &[0; 100]);
        }
        tx.flush();
        assert!(take(&mut rx, 5).into_iter().map(|(_, ecn, _)| ecn).eq(fields), "{mode}");
    }
}

#[test]
fn a_flow_has_one_source_port_and_flows_have_sixteen() {
    let address = loopback(5);
    let (rx, mut tx) = looped(address, Mode::Udp);
    drop(rx);
    let receiver = std::net::UdpSocket::bind((address, PORT)).unwrap();
    receiver.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let mut source_of = |flow| {
        put(&mut tx, address, &envelope(flow, Ecn::NotEct), b"x");
        tx.flush();
        receiver.recv_from(&mut [0; 16]).unwrap().1.port()
    };
    let flows = (49_152..=65_535).step_by(67);
    let sources: Vec<_> = flows.clone().map(&mut source_of).collect();
    assert!(flows.map(&mut source_of).eq(sources.iter().copied()), "a flow keeps its port");
    let distinct: std::collections::BTreeSet<_> = sources.into_iter().collect();
    assert_eq!(distinct.len(), SOURCE_PORTS);
    assert!(distinct.iter().all(|&port| port >= 49_152), "{distinct:?}");
}

#[test]
fn more_than_fits_in_one_batch_is_sent_all_the_same() {
    let address = loopback(6);
    let (mut rx, mut tx) = looped(address, Mode::UdpGso);
    for n in 0..1_000u32 {
        put(&mut tx, address, &envelope(50_000, Ecn::NotEct), &[&n.to_be_bytes()[..], &[0; 1_400]].concat());
    }
    tx.flush();
    let got = take(&mut rx, 1_000);
    let numbers = got.iter().map(|(.., p)| u32::from_be_bytes(p[..4].try_into().unwrap()));
    assert!(numbers.eq(0..1_000));
    assert_eq!(tx.take_losses(), []);
}

#[test]
fn a_super_frame_of_a_peer_on_this_machine_arrives_in_one_piece() {
    let address = loopback(7);
    let (mut rx, mut tx) = looped(address, Mode::Udp);
    let payload: Vec<u8> = (0..60_000u32).map(|n| n as u8).collect();
    put(&mut tx, address, &envelope(50_000, Ecn::NotEct), &payload);
    tx.flush();
    assert_eq!(take(&mut rx, 1)[0].2, payload);
}

#[test]
fn what_the_kernel_refuses_is_reported_under_its_reason() {
    let (_rx, mut tx) = looped(loopback(8), Mode::Udp);
    let envelope = envelope(50_000, Ecn::NotEct);
    put(&mut tx, loopback(8), &envelope, &vec![0; 65_508]);
    put(&mut tx, loopback(8), &envelope, b"good");
    tx.flush();
    let loss = Loss { segment: SEGMENT, reason: DropReason::UnderlayMtu, count: 1 };
    assert_eq!(tx.take_losses(), [loss], "and not the datagram behind it");
    assert_eq!(tx.take_losses(), [], "told once");
}

/// Sends three datagrams that may leave as one.
fn put_three(tx: &mut UdpTx, to: IpAddr) {
    for number in 0..3 {
        put(tx, to, &envelope(50_000, Ecn::NotEct), &[number; 1_000]);
    }
    tx.flush();
}

#[test]
fn segmentation_that_is_refused_is_given_up_by_all_and_nothing_is_lost() {
    let address = loopback(11);
    let mut underlay = open(address, PORT, Mode::UdpGso, 2).unwrap();
    for index in 0..SOURCE_PORTS {
        // The kernel refuses to segment what shall have no checksum.
        let socket = underlay.sources.socket(index);
        sockopt::set_int(socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    }
    let receiver = std::net::UdpSocket::bind((loopback(12), PORT)).unwrap();
    receiver.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    for tx in &mut underlay.senders {
        put_three(tx, loopback(12));
        assert_eq!(tx.take_losses(), []);
        for number in 0..3 {
            let mut room = [0; 2_000];
            assert_eq!(receiver.recv(&mut room).unwrap(), 1_000);
            assert_eq!(room[..1_000], [number; 1_000]);
        }
        assert!(underlay.sources.refused());
        assert_eq!(underlay.sources.mode(), Mode::Udp);
    }
}

#[test]
fn a_refusal_that_is_not_about_segmentation_does_not_end_it() {
    let sources = open(loopback(13), PORT, Mode::UdpGso, 1).unwrap().sources;
    // Nobody can be sent anything at port 0: EINVAL, as for the first datagrams after the loss of our address.
    let mut tx = UdpTx::new(Arc::clone(&sources), 0);
    put_three(&mut tx, loopback(13));
    let loss = Loss { segment: SEGMENT, reason: DropReason::UnderlayRefused, count: 3 };
    assert_eq!(tx.take_losses(), [loss]);
    assert_eq!(sources.mode(), Mode::UdpGso);
}

#[test]
fn several_workers_share_the_tunnel_port_and_nobody_else_may() {
    let address = loopback(9);
    let underlay = open(address, PORT, Mode::Udp, 3).unwrap();
    assert_eq!((underlay.receivers.len(), underlay.senders.len()), (3, 3));
    let second = open(address, PORT, Mode::Udp, 3).unwrap_err();
    assert!(matches!(second, UnderlayError::PortInUse { port: PORT, .. }), "{second}");
    assert!(second.to_string().contains("127.47.89.9"), "{second}");
    drop(underlay);
    assert!(open(address, PORT, Mode::Udp, 1).is_ok(), "free again");
}

#[test]
fn an_address_of_another_host_is_refused_by_name() {
    let address = "203.0.113.9".parse().unwrap();
    let error = open(address, PORT, Mode::Udp, 1).unwrap_err();
    assert!(matches!(error, UnderlayError::NotLocal(a) if a == address), "{error}");
}

#[test]
fn modes_are_written_as_they_are_read() {
    for mode in [Mode::Auto, Mode::TunnelGso, Mode::UdpGso, Mode::Udp] {
        assert_eq!(mode.to_string().parse::<Mode>(), Ok(mode));
    }
    assert!("fast".parse::<Mode>().unwrap_err().to_string().contains("'fast'"));
}

#[test]
fn an_uplink_falls_back_on_the_best_that_sockets_can_do() {
    let mode_of = |mode| open(loopback(10), PORT, mode, 1).unwrap().sources.mode();
    assert_eq!(mode_of(Mode::TunnelGso), mode_of(Mode::Auto));
}
