//! Times a step that must not allocate.

use std::hint::black_box;

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;

/// Steps in which an allocation would show.
const STEPS: usize = 2_000;

/// Times `step`. Before that it runs it until every buffer has its size, and then holds it to no allocation at all.
pub(crate) fn flat<O>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut step: impl FnMut() -> O) {
    let mut steps = || (0..STEPS).for_each(|_| drop(black_box(step())));
    steps();
    let allocated = allocation_counter::measure(&mut steps);
    assert_eq!(allocated.count_total, 0, "{name}: the packet path must not allocate");
    group.bench_function(name, |b| b.iter(&mut step));
}
