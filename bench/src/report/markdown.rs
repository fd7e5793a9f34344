//! For a README: one table for each underlay, the headlines only.

use std::fmt::Write;

use super::model::{Report, Row};
use super::{HEADLINES, figure};
use crate::stage::underlay::Variant;

/// The tables.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    for &variant in &report.settings.variants {
        table(report, variant, &mut text);
    }
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "Each cell: median, and in brackets the median of the ratios to the turn of `{}` in the same round \
         (smallest..largest). {} rounds, {} s each. {}.\n\n{}.",
        report.settings.lab.rival(),
        report.settings.rounds,
        report.settings.measure_s,
        report.noise(),
        report.machine()
    );
    let remarks: Vec<String> = report.notes().into_iter().chain(report.absences()).collect();
    if !remarks.is_empty() {
        let _ = writeln!(text, "\n- {}", remarks.join("\n- "));
    }
    let _ = writeln!(text, "\n`{}`", report.about.command.join(" "));
    text
}

fn table(report: &Report, variant: Variant, text: &mut String) {
    let shown = |contender: &&String| {
        report.rows.iter().any(|row| row.variant == variant && row.contender == **contender)
    };
    let contenders: Vec<&String> = report.settings.contenders.iter().filter(shown).collect();
    if contenders.is_empty() {
        return;
    }
    let names: Vec<&str> = contenders.iter().map(|name| name.as_str()).collect();
    let _ = writeln!(text, "**{variant}**: {}\n\n| | {} |", variant.title(), names.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(names.len()));
    for (workload, metric, title) in HEADLINES {
        let row = |name: &&str| report.row(variant, workload, metric, name);
        if names.iter().any(|name| row(name).is_some()) {
            let cells: Vec<String> = names.iter().map(|name| row(name).map_or("-".into(), cell)).collect();
            let _ = writeln!(text, "| {title} | {} |", cells.join(" | "));
        }
    }
    let _ = writeln!(text);
}

fn cell(row: &Row) -> String {
    let Some(value) = row.value else { return "-".into() };
    let value = figure(value.median);
    match row.ratio {
        Some(ratio) => format!("{value} [**{:.2}x** {:.2}..{:.2}]", ratio.median, ratio.min, ratio.max),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::workload::{Metric, Workload};
    use crate::report::summary::tests::example;

    #[test]
    fn a_table_has_a_column_for_whoever_took_part() {
        let text = render(&example(false));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..4],
            ["**super**: super-frames cross the wire", "", "| | kernel | weft:udp |", "|---|---:|---:|"]
        );
        assert_eq!(lines[4], "| TCP 1 stream, Gb/s | 20.0 | 10.0 [**0.50x** 0.50..0.75] |");
    }

    #[test]
    fn connections_have_their_rate_and_their_failures() {
        let mut report = example(false);
        for row in report.rows.iter_mut().filter(|row| row.workload == Workload::Tcp1) {
            row.workload = Workload::Cps;
            match row.metric {
                Metric::Gbps => row.metric = Metric::ConnectionRate,
                _ => row.metric = Metric::ConnectionsFailed,
            }
        }
        let text = render(&report);
        assert!(text.contains("| TCP connections, 1/s | 20.0 | 10.0 [**0.50x** 0.50..0.75] |"), "{text}");
        assert!(text.contains("| TCP connections failed, % |"), "{text}");
    }

    #[test]
    fn every_line_of_a_table_has_as_many_cells() {
        let text = render(&example(true));
        let cells: Vec<usize> =
            text.lines().filter(|line| line.starts_with('|')).map(|line| line.matches('|').count()).collect();
        assert!(cells.len() > 3 && cells.iter().all(|count| *count == cells[0]), "{text}");
    }
}
