//! The whole road of a frame through the pure packet path: how long, and no allocation.

mod flat;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flat::flat;
use weft_bench::frames::{self, Kind, Lab, SuperFrame, address, in_tunnel, remote, udp_frame};
use weft_dataplane::datapath::Frame;
use weft_dataplane::offload::Offload;
use weft_dataplane::offload::coalesce::Coalescer;
use weft_dataplane::tables::PortId;
use weft_dataplane::time::Moment;
use weft_dataplane::tunnel::Vtep;
use weft_dataplane::verdict::Verdict;
use weft_dataplane::wire::Ecn;

const NOW: Moment = Moment::from_secs(2);

/// Ports here and MACs behind the peer: a handful, and what the tables are built for.
const SIZES: [(u32, u32); 2] = [(10, 10), (4_096, 61_440)];

/// From a datagram of the tunnel to the port of its frame.
fn from_the_tunnel(c: &mut Criterion) {
    let mut group = c.benchmark_group("decap-lookup-deliver");
    group.throughput(Throughput::Elements(1));
    let peer = Vtep::new(frames::PEER.into());
    for (ports, macs) in SIZES {
        let mut lab = Lab::new(ports, macs);
        let mut datagrams: Vec<_> =
            (0..macs.min(1_024)).map(|n| in_tunnel(&udp_frame(remote(n), address(n % ports), 18))).collect();
        let mut next = 0;
        let count = datagrams.len();
        flat(&mut group, &format!("64B/{ports}-ports-{macs}-macs"), || {
            let datagram = &mut datagrams[next];
            next = if next + 1 == count { 0 } else { next + 1 };
            let judged = lab.datapath.from_tunnel(&lab.tables, peer, Ecn::NotEct, datagram, NOW);
            assert!(matches!(judged.verdict, Verdict::Deliver(_)));
        });
    }
    group.finish();
}

/// From a frame of a port to what its outer headers will say.
fn from_a_port(c: &mut Criterion) {
    let mut group = c.benchmark_group("guard-learn-lookup-envelope");
    group.throughput(Throughput::Elements(1));
    let mut lab = Lab::new(10, 10);
    let port = lab.tables.port(PortId(0)).expect("port 0 is there");
    let mut frame = udp_frame(address(0), remote(0), 18);
    flat(&mut group, "64B", || {
        let offered = Frame { bytes: &mut frame, offload: Offload::NONE };
        let judged = lab.datapath.from_port(&lab.tables, port, offered, NOW);
        let segment = judged.segment.expect("a segment");
        lab.datapath.envelope(segment, judged.frame.bytes)
    });
    group.finish();
}

/// From the datagrams of one receive call to the one super-frame that a port is given.
fn a_batch_from_the_tunnel(c: &mut Criterion) {
    let mut group = c.benchmark_group("decap-lookup-coalesce");
    let peer = Vtep::new(frames::PEER.into());
    for (name, kind) in Kind::ALL {
        let mut lab = Lab::new(10, 10);
        let whole = SuperFrame::new(kind);
        let mut datagrams: Vec<_> = whole.cut().iter().map(|frame| in_tunnel(frame)).collect();
        let mut joining = Coalescer::default();
        group.throughput(Throughput::Bytes(whole.bytes.len() as u64));
        flat(&mut group, &format!("64KB/{name}"), || {
            let mut delivered = 0;
            for datagram in &mut datagrams {
                let judged = lab.datapath.from_tunnel(&lab.tables, peer, Ecn::NotEct, datagram, NOW);
                let Verdict::Deliver(port) = judged.verdict else { panic!("{:?}", judged.verdict) };
                joining.push(port, judged.frame.bytes, judged.frame.offload, |_| delivered += 1);
            }
            joining.flush(|joined| {
                assert_eq!(joined.count, frames::SEGMENTS as u64);
                delivered += 1;
            });
            assert_eq!(delivered, 1);
        });
    }
    group.finish();
}

criterion_group!(benches, from_the_tunnel, from_a_port, a_batch_from_the_tunnel);
criterion_main!(benches);
