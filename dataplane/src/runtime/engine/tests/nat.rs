//! One host between an endpoint and a link, both in memory: what the endpoint sends leaves translated, and comes back.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};

use super::*;
use crate::gateway::{Egress, EgressSpec, GATEWAY_MAC, LinkSpec, NeighborSpec, RouteSpec};
use crate::io::memory::MemoryPort;
use crate::nat::Protocol;
use crate::offload::{Checksum, Gso, GsoKind};
use crate::testing::{Station, World};
use crate::wire::checksum::Sum;

const NOW: Moment = Moment::from_secs(5);
const LINK: LinkId = LinkId(1);
const PORT: PortId = PortId(11);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// By way of a router whose MAC is known, and on the link, where it is not.
const PEER: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
const NEAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const LINK_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const ROUTER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 1]);

/// Packets that were given to the kernel.
#[derive(Clone, Default)]
struct Kernel(Arc<Mutex<Vec<Vec<u8>>>>);

impl PacketIo for Kernel {
    fn send(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        self.0.lock().unwrap().push(packet.to_vec());
        Ok(())
    }
}

/// A link whose kernel takes no super-frames.
struct Plain(MemoryPort);

impl FrameIo for Plain {
    fn recv(&mut self, buffer: &mut [u8]) -> Result<Option<Received>, Gone> {
        self.0.recv(buffer)
    }

    fn send(&mut self, frame: &[u8], offload: Offload) -> Result<(), DropReason> {
        if offload.gso.is_some() { Err(DropReason::UplinkRefused) } else { self.0.send(frame, offload) }
    }

    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

struct Host {
    engine: Engine,
    tables: Tables,
    endpoint: MemoryPort,
    link: MemoryPort,
    kernel: Kernel,
}

impl Host {
    fn new(wrap: impl FnOnce(MemoryPort) -> Box<dyn FrameIo>) -> Self {
        let world = World::default().segment(1, &[]).port(PORT.0, 1).gateway(&["10.1.0.0/24"], true);
        let tables = world.tables(1);
        let link = LinkSpec { id: LINK, mac: LINK_MAC, mtu: 1_500, addresses: vec![OUTSIDE.into()] };
        let route = |prefix: &str, via| RouteSpec {
            prefix: prefix.parse().unwrap(),
            link: Some(LINK),
            via,
            source: None,
        };
        let spec = EgressSpec {
            links: vec![link],
            routes: vec![route("0.0.0.0/0", Some(ROUTER.into())), route("203.0.113.0/24", None)],
            neighbors: vec![NeighborSpec { link: LINK, address: ROUTER.into(), mac: ROUTER_MAC }],
            own: vec![OUTSIDE.into()],
        };
        let mut outside = tables.house.outside();
        outside.nat.set_egress(Egress::build(&spec).unwrap(), NOW);
        outside.nat.lend(OUTSIDE.into(), Protocol::Tcp, &[40_000, 40_001]);
        drop(outside);
        let mut engine = Engine::new(Datapath::new(0, 7), None);
        let ((near, endpoint), (inner, link)) = (MemoryPort::pair(), MemoryPort::pair());
        let kernel = Kernel::default();
        engine.attach(PORT, Box::new(near));
        engine.attach_link(LINK, wrap(inner), Box::new(kernel.clone()));
        Self { engine, tables, endpoint, link, kernel }
    }

    fn out(&mut self, frame: &[u8], offload: Offload) {
        self.endpoint.send(frame, offload).unwrap();
        assert_eq!(self.engine.drain_port(&self.tables, PORT, NOW), Progress::Empty);
    }

    fn back(&mut self, frame: &[u8], offload: Offload) {
        self.link.send(frame, offload).unwrap();
        assert_eq!(self.engine.drain_link(&self.tables, LINK, NOW), Progress::Empty);
    }

    fn resume(&mut self) {
        self.engine.resume(Round { tables: &self.tables, captures: &[], now: NOW });
    }

    fn drops(&self) -> Vec<(DropReason, u64)> {
        self.tables.totals().nonzero_drops().collect()
    }
}

type End = (Ipv4Addr, u16);

/// A TCP segment whose checksum is owed; more payload than `size` makes it a super-frame.
fn tcp(
    macs: (MacAddr, MacAddr),
    from: End,
    to: End,
    flags: &str,
    numbers: (u32, u32),
    payload: &[u8],
) -> (Vec<u8>, Offload) {
    let mut header = etherparse::TcpHeader::new(from.1, to.1, numbers.0, 60_000);
    header.acknowledgment_number = numbers.1;
    (header.syn, header.ack) = (flags.contains('S'), flags.contains('A'));
    let builder = PacketBuilder::ethernet2(macs.0.0, macs.1.0).ipv4(from.0.octets(), to.0.octets(), 64);
    let mut frame = Vec::new();
    builder.tcp_header(header).write(&mut frame, payload).unwrap();
    let pseudo = Sum::pseudo_v4(from.0, to.0, 6, frame.len() - 34).fold();
    frame[50..52].copy_from_slice(&pseudo.to_be_bytes());
    let gso = Gso { kind: GsoKind::Tcp4, size: 1_400, ecn: false, header_len: 54 };
    let gso = (payload.len() > 1_400).then_some(gso);
    (frame, Offload { checksum: Checksum::Partial { start: 34, offset: 16 }, gso })
}

fn from_inside(to: End, flags: &str, numbers: (u32, u32), payload: &[u8]) -> (Vec<u8>, Offload) {
    let Station { mac, v4, .. } = station(1);
    tcp((mac, GATEWAY_MAC), (v4, 5_000), to, flags, numbers, payload)
}

fn from_peer(to: End, flags: &str, numbers: (u32, u32), payload: &[u8]) -> (Vec<u8>, Offload) {
    tcp((ROUTER_MAC, LINK_MAC), (PEER, 80), to, flags, numbers, payload)
}

/// The ends and the payload of a segment whose header checksum is right; `owed`: its own is not complete.
#[track_caller]
fn read(frame: &[u8], owed: bool) -> (End, End, u32, Vec<u8>) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let ip = packet.net.as_ref().and_then(|net| net.ipv4_ref()).unwrap().header().to_header();
    assert_eq!((ip.header_checksum, ip.time_to_live), (ip.calc_header_checksum(), 63));
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP in {frame:02x?}") };
    let pseudo = Sum::pseudo_v4(ip.source.into(), ip.destination.into(), 6, tcp.slice().len()).fold();
    let right = if owed { pseudo } else { tcp.calc_checksum_ipv4(ip.source, ip.destination).unwrap() };
    assert_eq!(tcp.checksum(), right);
    let (from, to) = ((ip.source.into(), tcp.source_port()), (ip.destination.into(), tcp.destination_port()));
    (from, to, tcp.sequence_number(), tcp.payload().to_vec())
}

fn payload() -> Vec<u8> {
    (0..10_000u16).flat_map(u16::to_be_bytes).collect()
}

/// Exchanges SYN and SYN-ACK; gives the outside end.
#[track_caller]
fn connect(host: &mut Host) -> End {
    let (syn, owed) = from_inside((PEER, 80), "S", (100, 0), b"");
    host.out(&syn, owed);
    let (frame, offload) = host.link.take().unwrap();
    let (outside, to, ..) = read(&frame, true);
    assert_eq!((outside.0, to, offload), (OUTSIDE, (PEER, 80), owed));
    assert_eq!(frame[..12], [ROUTER_MAC.0, LINK_MAC.0].concat());
    let (syn_ack, owed) = from_peer(outside, "SA", (900, 101), b"");
    host.back(&syn_ack, owed);
    let (frame, _) = host.endpoint.take().unwrap();
    assert_eq!(read(&frame, true).1, (station(1).v4, 5_000));
    assert_eq!(frame[..12], [station(1).mac.0, GATEWAY_MAC.0].concat());
    outside
}

#[test]
fn super_frames_cross_the_nat_whole_both_ways() {
    let mut host = Host::new(|link| Box::new(link));
    let outside = connect(&mut host);
    let (request, owed) = from_inside((PEER, 80), "A", (101, 901), &payload());
    host.out(&request, owed);
    let (frame, offload) = host.link.take().unwrap();
    assert_eq!(read(&frame, true), (outside, (PEER, 80), 101, payload()));
    assert_eq!(offload, owed);
    let (answer, owed) = from_peer(outside, "A", (901, 20_101), &payload());
    host.back(&answer, owed);
    let (frame, offload) = host.endpoint.take().unwrap();
    assert_eq!(read(&frame, true), ((PEER, 80), (station(1).v4, 5_000), 901, payload()));
    assert_eq!(offload, owed);
    assert_eq!((host.tables.totals().packets, host.drops()), (4, vec![]));
}

#[test]
fn a_link_that_refuses_super_frames_gets_segments_and_nothing_is_lost() {
    let mut host = Host::new(|link| Box::new(Plain(link)));
    let outside = connect(&mut host);
    for turn in 0..2 {
        let (request, owed) = from_inside((PEER, 80), "A", (101 + turn * 20_000, 901), &payload());
        host.out(&request, owed);
        let mut received = Vec::new();
        while let Some((frame, offload)) = host.link.take() {
            assert_eq!(offload, Offload::NONE);
            let (from, to, sequence, part) = read(&frame, false);
            assert_eq!((from, to), (outside, (PEER, 80)));
            assert_eq!(sequence as usize, 101 + turn as usize * 20_000 + received.len());
            received.extend(part);
        }
        assert_eq!(received, payload());
    }
    assert_eq!(host.drops(), []);
}

#[test]
fn to_a_hop_that_is_not_resolved_the_kernel_gets_packets_without_ethernet() {
    let mut host = Host::new(|link| Box::new(link));
    let (syn, owed) = from_inside((NEAR, 80), "S", (100, 0), &payload());
    host.out(&syn, owed);
    assert_eq!(host.link.take(), None);
    let packets = std::mem::take(&mut *host.kernel.0.lock().unwrap());
    assert_eq!(packets.len(), 20_000usize.div_ceil(1_400));
    let mut received = Vec::new();
    for packet in packets {
        let (from, to, _, part) = read(&[&[0; 12], &[8, 0][..], &packet].concat(), false);
        assert_eq!((from.0, to), (OUTSIDE, (NEAR, 80)));
        received.extend(part);
    }
    assert_eq!(received, payload());
    assert_eq!((host.tables.totals().packets, host.drops()), (1, vec![]));
}

#[test]
fn a_link_that_is_gone_costs_its_packets_under_its_name() {
    let mut host = Host::new(|link| Box::new(link));
    connect(&mut host);
    host.engine.detach_link(LINK);
    for to in [PEER, NEAR] {
        let (syn, owed) = from_inside((to, 81), "S", (100, 0), b"");
        host.out(&syn, owed);
    }
    assert_eq!(host.drops(), [(DropReason::UplinkDown, 2)]);
    assert_eq!(host.engine.drain_link(&host.tables, LINK, NOW), Progress::Gone);
}

#[test]
fn what_waited_for_a_port_leaves_when_control_has_lent_some() {
    let mut host = Host::new(|link| Box::new(link));
    let Station { mac, v4, .. } = station(1);
    for port in [5_000, 5_001, 5_002] {
        let (syn, owed) = tcp((mac, GATEWAY_MAC), (v4, port), (PEER, 80), "S", (100, 0), b"");
        host.out(&syn, owed);
    }
    assert!(host.link.take().is_some() && host.link.take().is_some());
    host.resume();
    assert!(host.link.take().is_none(), "two ports are lent, and none has come since");
    assert!(host.tables.house.lend(OUTSIDE.into(), Protocol::Tcp, &[40_002]));
    host.resume();
    let (frame, _) = host.link.take().unwrap();
    assert_eq!(read(&frame, true), ((OUTSIDE, 40_002), (PEER, 80), 100, vec![]));
    assert_eq!((host.tables.totals().packets, host.drops()), (3, vec![]));
}
