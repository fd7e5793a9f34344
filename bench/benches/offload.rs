//! Super-frames: what it costs to sum, cut and join 64 KB, checksums included; no allocation.

mod flat;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flat::flat;
use weft_bench::frames::{Kind, MTU, SEGMENTS, SuperFrame};
use weft_dataplane::offload::checksum::recognise;
use weft_dataplane::offload::coalesce::Coalescer;
use weft_dataplane::offload::segments;
use weft_dataplane::wire::checksum::sum;

fn checksum(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum");
    for (name, len) in [("64B", 64), ("1500B", 1_500), ("64KB", 65_536)] {
        let bytes = vec![0xa5; len];
        group.throughput(Throughput::Bytes(len as u64));
        flat(&mut group, name, || sum(black_box(&bytes)));
    }
    group.finish();
}

/// Every segment written out as a complete frame.
fn segment(c: &mut Criterion) {
    let mut group = c.benchmark_group("segment");
    for (name, kind) in Kind::ALL {
        let whole = SuperFrame::new(kind);
        let mut out = vec![0; 2_048];
        group.throughput(Throughput::Bytes(whole.bytes.len() as u64));
        flat(&mut group, &format!("64KB/{name}"), || {
            let pieces = segments(black_box(&whole.bytes), whole.offload).expect("a super-frame");
            assert_eq!(pieces.len(), SEGMENTS);
            (0..SEGMENTS).map(|index| pieces.write(index, &mut out)).sum::<usize>()
        });
    }
    group.finish();
}

/// What a worker does with the frames of one receive call: looks at what each still owes, verifies it, joins it.
fn coalesce(c: &mut Criterion) {
    let mut group = c.benchmark_group("coalesce");
    for (name, kind) in Kind::ALL {
        let whole = SuperFrame::new(kind);
        let mut joining = Coalescer::default();
        group.throughput(Throughput::Bytes(whole.bytes.len() as u64));
        let mut complete = whole.cut();
        flat(&mut group, &format!("64KB/{name}"), || join(&mut joining, &mut complete, &whole));
        let mut partial = whole.cut_partial();
        let name = format!("64KB/{name}-partial-checksums");
        flat(&mut group, &name, || join(&mut joining, &mut partial, &whole));
    }
    group.finish();
}

fn join(joining: &mut Coalescer<u32>, frames: &mut [Vec<u8>], whole: &SuperFrame) {
    let mut early = 0;
    for frame in frames {
        let offload = recognise(frame, MTU).expect("an honest frame");
        joining.push(7, frame, offload, |_| early += 1);
    }
    assert_eq!(early, 0, "nothing leaves before the end");
    joining.flush(|joined| {
        assert_eq!((joined.count, joined.offload), (SEGMENTS as u64, whole.offload));
        black_box(joined.bytes);
    });
}

criterion_group!(benches, checksum, segment, coalesce);
criterion_main!(benches);
