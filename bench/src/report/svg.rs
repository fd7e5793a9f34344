//! A chart a person would look at: for each workload a group of bars, for each underlay a column.
//!
//! The length of a bar is how many times as good as the kernel (or Docker's bridge) a contender is, so that longer is better everywhere: for
//! figures of which less is better the ratio is turned round. The kernel is the line at 1. The whisker goes from the
//! worst round to the best one; the number is the figure itself.

use std::fmt::Write;

use super::model::{Report, Row};
use super::{HEADLINES, figure};
use crate::compare::workload::{Better, Metric, Workload};
use crate::measure::stats::Spread;
use crate::stage::underlay::Variant;

/// Distances in pixels.
const LABELS: f64 = 216.0;
const COLUMN: f64 = 330.0;
const VALUES: f64 = 64.0;
const TOP: f64 = 108.0;
const BAR: f64 = 13.0;
const STEP: f64 = 17.0;
const GROUP: f64 = 40.0;
const MARGIN: f64 = 24.0;

/// A bar longer than this many times the kernel is cut there, and its number says so.
const LONGEST: f64 = 4.0;

const STYLE: &str = "text{font-family:Inter,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2933}\
    .h{font-size:21px;font-weight:600}.s{font-size:12px;fill:#616e7c}.c{font-size:13px;font-weight:600}\
    .g{font-size:13px;font-weight:600}.l{font-size:11.5px}.v{font-size:10.5px;fill:#3e4c59}\
    .v{paint-order:stroke;stroke:#ffffff;stroke-width:3px;stroke-linejoin:round}\
    .k{stroke:#1f2933;stroke-width:1.2}.t{stroke:#e4e7eb}.w{stroke:#1f2933;stroke-width:1;opacity:.65}";

/// One group of bars: a headline of which there are figures.
struct Group {
    workload: Workload,
    metric: Metric,
    title: &'static str,
    contenders: Vec<String>,
}

/// The chart; with nothing to compare it is only the title.
pub(crate) fn render(report: &Report) -> String {
    let groups = groups(report);
    let variants = &report.settings.variants;
    let bars: usize = groups.iter().map(|group| group.contenders.len()).sum();
    let height = TOP + groups.len() as f64 * GROUP + bars as f64 * STEP + 58.0;
    let width = MARGIN + LABELS + variants.len() as f64 * COLUMN + MARGIN;
    let scale = Scale { most: most(report, &groups), rival: report.settings.lab.rival() };
    // Writing to a string does not fail.
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\">\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let lab = report.settings.lab;
    let explained = format!(
        "Times as good as {}: longer is better, that one is 1.0. Whiskers: worst and best round. \
         Numbers: the figure itself.",
        lab.baseline()
    );
    put(&mut svg, MARGIN, 38.0, "h", lab.title());
    put(&mut svg, MARGIN, 58.0, "s", &explained);
    put(&mut svg, MARGIN, 75.0, "s", &report.machine());
    for (number, variant) in variants.iter().enumerate() {
        let left = MARGIN + LABELS + number as f64 * COLUMN;
        column(&mut svg, *variant, left, height, &scale);
    }
    let mut y = TOP;
    for group in &groups {
        put(&mut svg, MARGIN, y + 19.0, "g", group.title);
        y += 28.0;
        for contender in &group.contenders {
            put(&mut svg, MARGIN + 8.0, y + BAR - 2.5, "l", contender);
            for (number, variant) in variants.iter().enumerate() {
                let left = MARGIN + LABELS + number as f64 * COLUMN;
                if let Some(row) = report.row(*variant, group.workload, group.metric, contender) {
                    bar(&mut svg, row, left, y, &scale);
                }
            }
            y += STEP;
        }
        y += GROUP - 28.0;
    }
    put(&mut svg, MARGIN, height - 8.0, "s", &report.noise());
    svg += "</svg>\n";
    svg
}

/// From ratios to pixels.
struct Scale {
    most: f64,
    /// The contender whose ratio is 1.
    rival: &'static str,
}

impl Scale {
    fn x(&self, ratio: f64) -> f64 {
        ratio.clamp(0.0, self.most) / self.most * (COLUMN - VALUES - 20.0)
    }
}

fn groups(report: &Report) -> Vec<Group> {
    let group = |(workload, metric, title)| {
        let has = |name: &&String| {
            let row = |variant: &Variant| report.row(*variant, workload, metric, name);
            report
                .settings
                .variants
                .iter()
                .filter_map(row)
                .any(|row| goodness(row, report.settings.lab.rival()).is_some())
        };
        let contenders: Vec<String> = report.settings.contenders.iter().filter(has).cloned().collect();
        (!contenders.is_empty()).then_some(Group { workload, metric, title, contenders })
    };
    HEADLINES.into_iter().filter_map(group).collect()
}

/// How many times as good as `rival`, which itself is 1.
fn goodness(row: &Row, rival: &str) -> Option<Spread> {
    let value = row.value?;
    if row.contender == rival {
        return Some(Spread { median: 1.0, min: 1.0, max: 1.0, count: value.count });
    }
    let ratio = row.ratio?;
    match row.metric.better() {
        Better::Lower => Some(Spread {
            median: 1.0 / ratio.median,
            min: 1.0 / ratio.max,
            max: 1.0 / ratio.min,
            count: ratio.count,
        }),
        Better::Higher | Better::Neither => Some(ratio),
    }
}

/// Where the axis ends: at a whole half, between 1.5 and [`LONGEST`].
fn most(report: &Report, groups: &[Group]) -> f64 {
    let shown = |row: &&Row| groups.iter().any(|g| (g.workload, g.metric) == (row.workload, row.metric));
    let rival = report.settings.lab.rival();
    let medians =
        report.rows.iter().filter(shown).filter_map(|row| goodness(row, rival)).map(|spread| spread.median);
    let highest = medians.fold(1.0, f64::max);
    ((highest * 1.05 * 2.0).ceil() / 2.0).clamp(1.5, LONGEST)
}

fn column(svg: &mut String, variant: Variant, left: f64, height: f64, scale: &Scale) {
    put(svg, left, TOP - 12.0, "c", &format!("{variant}: {}", variant.title()));
    let (top, bottom) = (TOP, height - 48.0);
    let mut tick = 0.0;
    while tick <= scale.most {
        let x = left + scale.x(tick);
        let class = if tick == 1.0 { "k" } else { "t" };
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>"
        );
        put(svg, x - 8.0, bottom + 14.0, "v", &format!("{tick:.1}"));
        tick += 0.5;
    }
}

fn bar(svg: &mut String, row: &Row, left: f64, y: f64, scale: &Scale) {
    let (Some(value), Some(good)) = (row.value, goodness(row, scale.rival)) else { return };
    let length = scale.x(good.median).max(1.0);
    let (fill, name) = (colour(&row.contender), escape(&row.contender));
    let tip = format!("{name}: {} {}, {:.2} x", figure(value.median), row.metric.unit(), good.median);
    let _ = writeln!(
        svg,
        "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{fill}\">\
         <title>{tip}</title></rect>"
    );
    let (from, to, middle) = (left + scale.x(good.min), left + scale.x(good.max), y + BAR / 2.0);
    if to - from > 1.0 {
        let (high, low) = (middle - 3.0, middle + 3.0);
        let _ = writeln!(
            svg,
            "<path class=\"w\" fill=\"none\" d=\"M{from:.1} {high:.1}V{low:.1}M{from:.1} {middle:.1}H{to:.1}\
             M{to:.1} {high:.1}V{low:.1}\"/>"
        );
    }
    let cut = if good.median > scale.most { format!(" ({:.1}x)", good.median) } else { String::new() };
    let x = (left + length).max(to) + 5.0;
    put(svg, x, y + BAR - 3.0, "v", &format!("{}{cut}", figure(value.median)));
}

/// Weft is blue, lighter with each lesser mode; mixed pairs are violet.
fn colour(contender: &str) -> &'static str {
    match contender {
        "kernel" | "bridge" => "#9aa5b1",
        "veth" | "direct" => "#cbd2d9",
        "ovs" | "slirp4netns" => "#f0b429",
        "pasta" => "#e8853a",
        mixed if mixed.contains('/') => "#9446ed",
        "weft:tunnel-gso" | "weft:auto" | "weft" => "#0b5fa5",
        "weft:udp-gso" => "#2f8fd8",
        _ => "#84c5f4",
    }
}

fn put(svg: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(text));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::lab::Lab;
    use crate::report::summary::tests::example;

    /// The widths of the bars of one contender, by group.
    fn widths(svg: &str, contender: &str) -> Vec<f64> {
        let bars = svg.lines().filter(|line| line.contains(&format!("<title>{contender}:")));
        let width = |line: &str| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok();
        bars.map(|line| width(line).unwrap()).collect()
    }

    #[test]
    fn half_as_good_is_half_as_long_whichever_way_is_good() {
        let svg = render(&example(false));
        let (kernel, weft) = (widths(&svg, "kernel"), widths(&svg, "weft:udp"));
        // Throughput, CPU (equal in the example), round trip.
        assert_eq!((kernel.len(), weft.len()), (3, 3), "{svg}");
        for (kernel, weft, times) in
            [(kernel[0], weft[0], 0.5), (kernel[1], weft[1], 1.0), (kernel[2], weft[2], 0.5)]
        {
            assert!((weft / kernel - times).abs() < 0.01, "{weft} {kernel}");
        }
    }

    #[test]
    fn it_is_well_formed_and_names_are_escaped() {
        let svg = render(&example(true));
        assert!(svg.contains("Abacus &lt;2&gt;") && !svg.contains("<2>"));
        for tag in ["svg", "text", "rect", "title", "style"] {
            let (opened, closed) =
                (svg.matches(&format!("<{tag}")).count(), svg.matches(&format!("</{tag}>")).count());
            let alone =
                svg.lines().filter(|l| l.starts_with(&format!("<{tag}")) && l.ends_with("/>")).count();
            assert_eq!(opened, closed + alone, "{tag}");
        }
    }

    #[test]
    fn it_says_what_is_compared() {
        let mut report = example(false);
        assert!(render(&report).contains("kernel bridge + vxlan: longer is better"));
        report.settings.lab = Lab::Nat;
        assert!(render(&report).contains("kernel bridge + nft masquerade: longer is better"));
    }

    #[test]
    fn nothing_to_compare_is_still_a_picture() {
        let mut report = example(false);
        report.rows.clear();
        assert!(render(&report).trim_end().ends_with("</svg>"));
    }

    #[test]
    fn the_axis_is_long_enough_and_not_too_long() {
        let mut report = example(false);
        let longest = |report: &Report| most(report, &groups(report));
        assert_eq!(longest(&report), 1.5);
        for row in report.rows.iter_mut().filter(|row| row.metric == Metric::Gbps) {
            row.ratio = Some(Spread { median: 50.0, min: 40.0, max: 60.0, count: 3 });
        }
        assert_eq!(longest(&report), LONGEST);
    }
}
