//! For a terminal: every figure, with its spread and its ratio.

use std::fmt::Write;

use super::figure;
use super::model::{Report, Row};
use crate::compare::workload::{Better, Metric, Workload};
use crate::measure::stats::Spread;
use crate::stage::underlay::Variant;

/// The summary.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    for &variant in &report.settings.variants {
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{variant}: {}", variant.title());
        for &workload in &report.settings.workloads {
            for &metric in workload.metrics() {
                block(report, variant, workload, metric, &mut text);
            }
        }
    }
    let _ = writeln!(text);
    for line in report.notes().into_iter().chain(report.absences()) {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "{}\n{}\ntook {:.0} s", report.noise(), report.machine(), report.seconds);
    text
}

fn block(report: &Report, variant: Variant, workload: Workload, metric: Metric, text: &mut String) {
    let wanted = |row: &&Row| (row.variant, row.workload, row.metric) == (variant, workload, metric);
    let rows: Vec<&Row> = report.rows.iter().filter(wanted).collect();
    if rows.is_empty() {
        return;
    }
    let good = match metric.better() {
        Better::Higher => " (more is better)",
        Better::Lower => " (less is better)",
        Better::Neither => "",
    };
    let _ = writeln!(text, "\n  {}: {}, {}{good}", workload.title(), metric.title(), metric.unit());
    for row in rows {
        let _ = writeln!(text, "    {}", line(row, report.settings.lab.rival()));
    }
}

fn line(row: &Row, rival: &str) -> String {
    let Some(value) = row.value else {
        let why = match row {
            Row { failed: 1.., .. } => "failed",
            Row { discarded: 1.., .. } => "discarded: too much steal",
            _ => "none found",
        };
        return format!("{:<26} {why}", row.contender);
    };
    let ratio = row.ratio.map_or(String::new(), |r| {
        format!("{:.2} x {rival} ({:.2}..{:.2}, n={})", r.median, r.min, r.max, r.count)
    });
    let line = format!("{:<26} {:>8}  {:<24} {ratio}", row.contender, figure(value.median), span(value));
    line.trim_end().to_owned()
}

/// `5.0..7.1`, and of how many when there are few enough to matter.
fn span(spread: Spread) -> String {
    format!("{}..{} (n={})", figure(spread.min), figure(spread.max), spread.count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::summary::tests::example;

    #[test]
    fn each_contender_has_a_line_with_its_ratio() {
        let text = render(&example(false));
        assert!(text.contains("super: super-frames cross the wire"), "{text}");
        assert!(text.contains("TCP, 1 stream: throughput, Gb/s (more is better)"), "{text}");
        let weft: Vec<&str> = text.lines().filter(|line| line.contains("weft:udp  ")).collect();
        assert!(weft[0].contains("10.0") && weft[0].ends_with("0.50 x kernel (0.50..0.75, n=3)"), "{weft:?}");
        assert!(text.contains("ovs skipped: `ovs-vswitchd` is not installed"), "{text}");
    }

    #[test]
    fn a_row_without_figures_says_why() {
        let mut report = example(false);
        for row in &mut report.rows {
            (row.value, row.ratio, row.discarded) = (None, None, 2);
        }
        assert!(render(&report).contains("discarded: too much steal"));
    }
}
