//! What is said about a comparison: to a terminal, in Markdown, as a chart, as JSON.
//!
//! [`model`] is the whole truth, and what JSON holds: every turn, discarded and failed ones too. [`summary`] makes rows of
//! it, and the three views show rows. What it is not: a judgement. Nothing here knows which figure is to be reached.

pub(crate) mod about;
pub(crate) mod markdown;
pub(crate) mod model;
pub(crate) mod summary;
pub(crate) mod svg;
pub(crate) mod text;

use crate::compare::workload::{Metric, Workload};

/// The rows a person looks at first; the rest is in the text summary and in JSON.
pub(crate) const HEADLINES: [(Workload, Metric, &str); 18] = [
    (Workload::Tcp1, Metric::Gbps, "TCP 1 stream, Gb/s"),
    (Workload::Tcp1, Metric::CpuPerGb, "TCP 1 stream, CPU-s/GB"),
    (Workload::Tcp8, Metric::Gbps, "TCP 8 streams, Gb/s"),
    (Workload::TcpOut, Metric::Gbps, "TCP out, Gb/s"),
    (Workload::TcpOut, Metric::CpuPerGb, "TCP out, CPU-s/GB"),
    (Workload::TcpIn, Metric::Gbps, "TCP in, Gb/s"),
    (Workload::TcpIn, Metric::CpuPerGb, "TCP in, CPU-s/GB"),
    (Workload::TcpPublished, Metric::Gbps, "TCP in by a published port, Gb/s"),
    (Workload::TcpPublished, Metric::CpuPerGb, "TCP in by a published port, CPU-s/GB"),
    (Workload::Cps, Metric::ConnectionRate, "TCP connections, 1/s"),
    (Workload::Cps, Metric::ConnectionsFailed, "TCP connections failed, %"),
    (Workload::Cps, Metric::CpuPerConnection, "TCP connections, CPU-us each"),
    (Workload::Udp64, Metric::LowLossKpps, "UDP 64 B, loss ≤ 0.5 %, kpps"),
    (Workload::Udp64, Metric::FloodKpps, "UDP 64 B at flood, kpps"),
    (Workload::Udp1400, Metric::LowLossKpps, "UDP 1400 B, loss ≤ 0.5 %, kpps"),
    (Workload::Udp1400, Metric::FloodKpps, "UDP 1400 B at flood, kpps"),
    (Workload::Rr, Metric::P50, "Half round trip p50, us"),
    (Workload::Rr, Metric::P99, "Half round trip p99, us"),
];

/// A number with three significant digits, never in scientific notation.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        magnitude if magnitude >= 100.0 => format!("{value:.0}"),
        magnitude if magnitude >= 10.0 => format!("{value:.1}"),
        magnitude if magnitude >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_enough() {
        let shown = [0.0, 0.0571, 0.8, 9.314, 13.71, 99.96, 398_712.4].map(figure);
        assert_eq!(shown, ["0", "0.057", "0.800", "9.31", "13.7", "100.0", "398712"]);
    }
}
