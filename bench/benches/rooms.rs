//! The rooms of the packet path one by one, on small frames: how long, and no allocation.

mod flat;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flat::flat;
use weft_bench::frames::{self, Kind, Lab, SuperFrame, address, in_tunnel, remote, udp_frame};
use weft_dataplane::gateway::{Egress, EgressSpec, Filtering, LinkId, LinkSpec, RouteSpec};
use weft_dataplane::nat::rewrite::{self, Protocol, Side};
use weft_dataplane::nat::{Inside, Limits, Nat, Outcome, Policy, Timers};
use weft_dataplane::switch::fdb::{Learned, Refresh, SEGMENT_LIMIT};
use weft_dataplane::switch::{Fdb, Location};
use weft_dataplane::tables::PortId;
use weft_dataplane::time::Moment;
use weft_dataplane::tunnel::outer::{self, Ends, NextHop};
use weft_dataplane::tunnel::{Envelope, Vtep, decap};
use weft_dataplane::wire::{
    Ecn, EtherType, Ipv4Packet, Ipv6Packet, MacAddr, TcpSegment, UdpDatagram, ethernet, flow, protocol, vlan,
    vxlan,
};

const NOW: Moment = Moment::from_secs(2);

/// MACs in a table: a handful, and as many as it takes.
const MACS: [u32; 2] = [10, SEGMENT_LIMIT as u32];

/// A local port may own this many; a VTEP so many times more that it can fill the table alone.
const PORT_LIMIT: usize = 1_024;

/// Visits a table in an order that no cache foresees, and every entry once.
const STRIDE: u32 = 40_503;

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    let small = udp_frame(remote(0), address(0), 18);
    let full =
        Kind::ALL.map(|(name, kind)| (format!("1464B/{name}"), SuperFrame::new(kind).cut().swap_remove(0)));
    for (name, frame) in [("64B/udp4".to_owned(), small)].into_iter().chain(full) {
        assert!(ports(&frame).is_some());
        flat(&mut group, &name, || ports(black_box(&frame)));
    }
    let datagram = in_tunnel(&udp_frame(remote(0), address(0), 18));
    flat(&mut group, "vxlan", || vxlan::parse(black_box(&datagram)));
    group.finish();
}

/// Source and destination port of a frame, with every length on the way checked.
fn ports(frame: &[u8]) -> Option<(u16, u16)> {
    let (ether_type, start) = vlan::untagged(frame)?;
    let (protocol, payload) = match ether_type {
        EtherType::IPV4 => Ipv4Packet::parse(&frame[start..]).map(|p| (p.protocol(), p.payload())).ok()?,
        EtherType::IPV6 => Ipv6Packet::parse(&frame[start..]).map(|p| (p.next_header(), p.payload())).ok()?,
        _ => return None,
    };
    match protocol {
        protocol::TCP => TcpSegment::parse(payload).map(|s| (s.source_port(), s.destination_port())).ok(),
        protocol::UDP => UdpDatagram::parse(payload).map(|d| (d.source_port(), d.destination_port())).ok(),
        _ => None,
    }
}

fn behind_the_peer() -> Location {
    Location::Remote(Vtep::new(frames::PEER.into()))
}

/// A table with so many dynamic entries.
fn table(macs: u32) -> Fdb {
    let mut fdb = Fdb::new(PORT_LIMIT, 7);
    for n in 0..macs {
        assert_eq!(fdb.learn(MacAddr::from_ipv4(remote(n)), behind_the_peer(), NOW), Learned::Added);
    }
    fdb
}

/// One MAC after the other, of `count`.
fn stations(count: u32) -> impl FnMut() -> MacAddr {
    let mut next = 0;
    move || {
        next = (next + STRIDE) % count;
        MacAddr::from_ipv4(remote(next))
    }
}

fn learn(c: &mut Criterion) {
    let mut group = c.benchmark_group("learn");
    group.throughput(Throughput::Elements(1));
    for macs in MACS {
        let fdb = table(macs);
        let mut station = stations(macs);
        flat(&mut group, &format!("known/{macs}-macs"), || {
            assert_eq!(fdb.refresh(station(), behind_the_peer(), NOW), Refresh::Fresh);
        });
    }
    let mut fdb = table(SEGMENT_LIMIT as u32);
    let mut next = SEGMENT_LIMIT as u32;
    flat(&mut group, "new/full-table", || {
        // Old ones come back as new ones after the whole table has been replaced once.
        next = (next + 1) % (3 * SEGMENT_LIMIT as u32);
        fdb.learn(MacAddr::from_ipv4(remote(next)), behind_the_peer(), NOW)
    });
    group.finish();
}

fn lookup(c: &mut Criterion) {
    let mut group = c.benchmark_group("lookup");
    group.throughput(Throughput::Elements(1));
    for macs in MACS {
        let fdb = table(macs);
        let mut station = stations(macs);
        flat(&mut group, &format!("known/{macs}-macs"), || {
            fdb.lookup(station(), NOW).expect("it has been learned")
        });
        let stranger = MacAddr([0x02, 0xff, 0, 0, 0, 1]);
        flat(&mut group, &format!("unknown/{macs}-macs"), || {
            assert_eq!(fdb.lookup(black_box(stranger), NOW), None);
        });
    }
    group.finish();
}

fn encap(c: &mut Criterion) {
    let mut group = c.benchmark_group("encap");
    group.throughput(Throughput::Elements(1));
    let lab = Lab::new(10, 10);
    let segment = lab.tables.segment_of_vni(frames::vni()).expect("the lab's network");
    let frame = udp_frame(address(0), remote(0), 18);
    flat(&mut group, "flow-hash/64B", || flow::flow_hash(black_box(&frame), 7));
    flat(&mut group, "envelope/64B", || Envelope::of(segment, black_box(&frame), 7));
    let hop =
        NextHop { source: MacAddr([2, 0, 0, 0, 0, 1]), neighbor: MacAddr([2, 0, 0, 0, 0, 2]), mtu: 1_500 };
    let (from, to): (IpAddr, IpAddr) = (frames::OWN.into(), frames::PEER.into());
    let over_v6 = Ends::V6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    let over_v4 = Ends::new(from, to).expect("one family");
    for (name, ends) in [("over-ipv4", over_v4), ("over-ipv6", over_v6)] {
        let mut headers = [0; outer::MAX];
        flat(&mut group, &format!("envelope-and-headers/64B/{name}"), || {
            let envelope = Envelope::of(segment, black_box(&frame), 7).expect("the network has a VNI");
            outer::write(&mut headers, ends, &hop, vxlan::PORT, &envelope, frame.len(), 1)
        });
    }
    group.finish();
}

fn decapsulate(c: &mut Criterion) {
    let mut group = c.benchmark_group("decap");
    group.throughput(Throughput::Elements(1));
    let lab = Lab::new(10, 10);
    let peer = Vtep::new(frames::PEER.into());
    let mut datagram = in_tunnel(&udp_frame(remote(0), address(0), 18));
    for (name, ecn) in [("64B", Ecn::NotEct), ("64B/ecn-capable", Ecn::Ect0)] {
        flat(&mut group, name, || {
            decap(&lab.tables, peer, ecn, black_box(&mut datagram)).expect("an honest datagram").frame.len()
        });
    }
    group.finish();
}

/// What a NAT does to a packet beside looking up its session: the cost must not depend on the payload.
fn exchange(c: &mut Criterion) {
    let mut group = c.benchmark_group("rewrite");
    group.throughput(Throughput::Elements(1));
    let small = (udp_frame(address(0), remote(0), 18), false);
    let large = Kind::ALL.map(|(name, kind)| (format!("64KB/{name}"), (SuperFrame::new(kind).bytes, true)));
    for (name, (mut frame, partial)) in [("64B/udp4".to_owned(), small)].into_iter().chain(large) {
        let mut port = 0u16;
        flat(&mut group, &name, || {
            port = port.wrapping_add(1);
            let ip = black_box(&mut frame[ethernet::HEADER_LEN..]);
            let packet = rewrite::parse(ip).expect("an honest packet");
            // Any address of the family: the next one of its own does.
            let outside = match packet.source {
                IpAddr::V4(source) => Ipv4Addr::from_bits(source.to_bits() ^ 1).into(),
                IpAddr::V6(source) => Ipv6Addr::from_bits(source.to_bits() ^ 1).into(),
            };
            rewrite::translate(ip, &packet, Side::Source, outside, Some(port | 1), partial);
        });
    }
    group.finish();
}

/// Endpoints that share the sessions of a NAT.
const ENDPOINTS: u32 = 16;

/// An outside address, and a NAT that may lend a port of it to each endpoint.
fn nat() -> Nat {
    let outside: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
    let link =
        LinkSpec { id: LinkId(1), mac: MacAddr::from_ipv4(address(1)), mtu: 1_500, addresses: vec![outside] };
    let everything = "0.0.0.0/0".parse().expect("a prefix");
    let route = RouteSpec { prefix: everything, link: Some(LinkId(1)), via: None, source: None };
    let spec =
        EgressSpec { links: vec![link], routes: vec![route], neighbors: Vec::new(), own: vec![outside] };
    // The last eighth would be for others.
    let limits = Limits { endpoint_rate: 0, sessions: 1_200_000, ..Limits::default() };
    let mut nat = Nat::new(7, limits, Timers::default());
    nat.set_egress(Egress::build(&spec).expect("it makes sense"), NOW);
    nat.lend(outside, Protocol::Udp, &(40_000..40_000 + 4 * ENDPOINTS as u16).collect::<Vec<_>>());
    nat
}

/// Sends the datagram of session `n`, which differs from others by its endpoint and its destination port.
fn send(nat: &mut Nat, ip: &mut [u8], template: &[u8], n: u32, now: Moment) -> Outcome {
    ip.copy_from_slice(template);
    ip[22..24].copy_from_slice(&(1_000 + (n / ENDPOINTS) as u16).to_be_bytes());
    let from = Inside { port: PortId(n % ENDPOINTS), filtering: Filtering::AddressDependent };
    nat.outbound(from, ip, false, Policy::Begin, now)
}

/// A packet through NAT: of a session among few and among a million, and the first of one.
fn translate(c: &mut Criterion) {
    let mut group = c.benchmark_group("nat");
    group.throughput(Throughput::Elements(1));
    let template = udp_frame(address(0), remote(0), 18)[ethernet::HEADER_LEN..].to_vec();
    let mut ip = template.clone();
    for sessions in [1_000, 1_000_000] {
        let mut nat = nat();
        for n in 0..sessions {
            assert!(matches!(send(&mut nat, &mut ip, &template, n, NOW), Outcome::Leave(_)));
        }
        let mut next = 0;
        flat(&mut group, &format!("known/{sessions}-sessions"), || {
            next = (next + STRIDE) % sessions;
            send(&mut nat, &mut ip, &template, next, NOW)
        });
    }
    let (mut nat, mut next, mut now) = (nat(), 0, NOW);
    let mut begin = || {
        // One begins every 5 ms and lives for 300 s: 60,000 at a time.
        (next, now) = ((next + 1) % 1_000_000, now.after(Duration::from_millis(5)));
        let outcome = send(&mut nat, &mut ip, &template, next, now);
        nat.expire(now, 4);
        assert!(matches!(outcome, Outcome::Leave(_)));
    };
    (0..200_000).for_each(|_| begin());
    flat(&mut group, "new/60000-sessions", begin);
    group.finish();
}

criterion_group!(benches, parse, learn, lookup, encap, decapsulate, exchange, translate);
criterion_main!(benches);
