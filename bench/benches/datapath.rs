//! The pure packet path on named frames: how long, and how many allocations (there should be none).

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use weft_bench::frames::{self, Lab, address, in_tunnel, remote, tcp_frame, udp_frame};
use weft_dataplane::datapath::Frame;
use weft_dataplane::offload::checksum::recognise;
use weft_dataplane::offload::{Offload, segments};
use weft_dataplane::tables::PortId;
use weft_dataplane::time::Moment;
use weft_dataplane::tunnel::Vtep;
use weft_dataplane::verdict::Verdict;
use weft_dataplane::wire::checksum::sum;
use weft_dataplane::wire::{Ecn, flow};

const NOW: Moment = Moment::from_secs(2);

/// Ports here and MACs behind the peer: a handful, and what the tables are built for.
const SIZES: [(u32, u32); 2] = [(10, 10), (4_096, 61_440)];

fn decap(c: &mut Criterion) {
    let mut group = c.benchmark_group("decap-lookup-deliver");
    group.throughput(Throughput::Elements(1));
    for (ports, macs) in SIZES {
        let mut lab = Lab::new(ports, macs);
        let mut datagrams: Vec<_> =
            (0..macs.min(1_024)).map(|n| in_tunnel(&udp_frame(remote(n), address(n % ports), 18))).collect();
        let peer = Vtep::new(frames::PEER.into());
        let count = datagrams.len();
        let mut next = 0;
        let mut step = || {
            let datagram = &mut datagrams[next];
            next = if next + 1 == count { 0 } else { next + 1 };
            let judged = lab.datapath.from_tunnel(&lab.tables, peer, Ecn::NotEct, datagram, NOW);
            assert!(matches!(judged.verdict, Verdict::Deliver(_)));
        };
        let allocations = allocation_counter::measure(|| (0..10_000).for_each(|_| step()));
        assert_eq!(allocations.count_total, 0, "the packet path must not allocate");
        group.bench_function(format!("64B/{ports}-ports-{macs}-macs"), |b| b.iter(&mut step));
    }
    group.finish();
}

fn encap(c: &mut Criterion) {
    let mut lab = Lab::new(10, 10);
    let port = lab.tables.port(PortId(0)).expect("port 0 is there");
    let mut frame = udp_frame(address(0), remote(0), 18);
    c.bench_function("guard-learn-lookup-envelope/64B", |b| {
        b.iter(|| {
            let offered = Frame { bytes: &mut frame, offload: Offload::NONE };
            let judged = lab.datapath.from_port(&lab.tables, port, offered, NOW);
            let segment = judged.segment.expect("a segment");
            black_box(lab.datapath.envelope(segment, judged.frame.bytes))
        });
    });
}

fn pieces(c: &mut Criterion) {
    let frame = udp_frame(address(0), remote(0), 18);
    c.bench_function("flow-hash/64B", |b| b.iter(|| flow::flow_hash(black_box(&frame), 7)));
    let bytes = vec![0xa5; 65_536];
    c.bench_function("checksum/64KiB", |b| b.iter(|| sum(black_box(&bytes))));
    let frame = tcp_frame(address(0), remote(0), 62_720);
    let mut out = vec![0; 2_048];
    c.bench_function("segment/62KB", |b| {
        b.iter_batched_ref(
            || frame.clone(),
            |frame| {
                let offload = recognise(frame, 1_450).expect("a super-frame");
                let cut = segments(frame, offload).expect("segments");
                (0..cut.len()).map(|i| cut.write(i, &mut out)).sum::<usize>()
            },
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, decap, encap, pieces);
criterion_main!(benches);
