//! Rows out of turns: median and spread of each figure, and of its ratio to the kernel's in the same round.

use super::model::{Report, Row, Sample};
use crate::compare::workload::{Better, Metric, Workload};
use crate::measure::stats::Spread;
use crate::stage::underlay::Variant;

/// All rows of which there was at least one turn, in the order of the settings.
pub(crate) fn rows(report: &Report) -> Vec<Row> {
    let mut rows = Vec::new();
    for &variant in &report.settings.variants {
        for &workload in &report.settings.workloads {
            for &metric in workload.metrics() {
                let row = |contender: &String| row(report, variant, workload, metric, contender);
                rows.extend(report.settings.contenders.iter().filter_map(row));
            }
        }
    }
    rows
}

fn row(
    report: &Report,
    variant: Variant,
    workload: Workload,
    metric: Metric,
    contender: &str,
) -> Option<Row> {
    let baseline = report.settings.lab.rival();
    let of = |name: &str| -> Vec<&Sample> {
        let wanted = |sample: &&Sample| (sample.variant, sample.workload) == (variant, workload);
        report.samples.iter().filter(wanted).filter(|sample| sample.contender == name).collect()
    };
    let own = of(contender);
    if own.is_empty() {
        return None;
    }
    let value = Spread::of(own.iter().filter_map(|sample| counted(sample, metric)));
    let ratio = if contender == baseline || metric.better() == Better::Neither {
        None
    } else {
        let kernel = of(baseline);
        let pair = |sample: &&Sample| {
            let beside = kernel.iter().find(|other| other.round == sample.round)?;
            Some(counted(sample, metric)? / counted(beside, metric)?)
        };
        Spread::of(own.iter().filter_map(pair))
    };
    let discarded = own.iter().filter(|sample| sample.discarded).count();
    let failed = own.iter().filter(|sample| sample.failure.is_some()).count();
    Some(Row { variant, workload, metric, contender: contender.into(), value, ratio, discarded, failed })
}

/// The figure of a turn that counts.
fn counted(sample: &Sample, metric: Metric) -> Option<f64> {
    if sample.discarded { None } else { sample.figures.get(&metric).copied() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::compare::lab::Lab;
    use crate::report::model::{About, Round, Settings, Standing, State};

    /// Three rounds of one stream: the kernel at 10, 20 and 40, Weft at 5, 10 and 30; the last turn of Weft's is
    /// discarded when `noisy`.
    pub(crate) fn example(noisy: bool) -> Report {
        let settings = Settings {
            lab: Lab::Overlay,
            rounds: 3,
            measure_s: 1.0,
            max_steal_percent: 2.0,
            variants: vec![Variant::Super],
            workloads: vec![Workload::Tcp1, Workload::Rr],
            contenders: ["kernel", "weft:udp", "ovs"].map(Into::into).to_vec(),
        };
        let mut report = Report::new(About { cpu: "Abacus <2>".into(), ..About::default() }, settings);
        for (round, (kernel, weft)) in [(10.0, 5.0), (20.0, 10.0), (40.0, 30.0)].into_iter().enumerate() {
            for (contender, gbps) in [("kernel", kernel), ("weft:udp", weft)] {
                let discarded = noisy && round == 2 && contender == "weft:udp";
                let sample = |workload, figures: &[(Metric, f64)]| Sample {
                    variant: Variant::Super,
                    round,
                    contender: contender.into(),
                    workload,
                    figures: figures.iter().copied().collect(),
                    steal_percent: if discarded { 7.0 } else { 0.0 },
                    discarded,
                    failure: None,
                };
                let bulk = [(Metric::Gbps, gbps), (Metric::CpuPerGb, 1.0), (Metric::DaemonCpuPerGb, 0.5)];
                report.samples.push(sample(Workload::Tcp1, &bulk));
                report.samples.push(sample(Workload::Rr, &[(Metric::P50, 400.0 / gbps)]));
            }
            report.rounds.push(Round { variant: Variant::Super, round, foreign_percent: 1.0 });
        }
        let standing = |contender: &str, state, reason: &str| Standing {
            variant: Variant::Super,
            contender: contender.into(),
            state,
            reason: reason.into(),
        };
        report.standings = vec![
            standing("kernel", State::Ran, ""),
            standing("weft:udp", State::Ran, "udp, 1 worker"),
            standing("ovs", State::Skipped, "`ovs-vswitchd` is not installed"),
        ];
        report.rows = rows(&report);
        report
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let report = example(false);
        let row = report.row(Variant::Super, Workload::Tcp1, Metric::Gbps, "weft:udp").unwrap();
        assert_eq!(row.value, Some(Spread { median: 10.0, min: 5.0, max: 30.0, count: 3 }));
        assert_eq!(row.ratio, Some(Spread { median: 0.5, min: 0.5, max: 0.75, count: 3 }));
    }

    #[test]
    fn a_discarded_turn_takes_its_pair_with_it() {
        let report = example(true);
        let row = report.row(Variant::Super, Workload::Tcp1, Metric::Gbps, "weft:udp").unwrap();
        assert_eq!((row.ratio.unwrap().count, row.value.unwrap().max, row.discarded), (2, 10.0, 1));
    }

    #[test]
    fn nobody_is_compared_with_himself_or_by_what_the_kernel_does_not_have() {
        let report = example(false);
        let row = |metric, contender| report.row(Variant::Super, Workload::Tcp1, metric, contender).unwrap();
        assert_eq!(row(Metric::Gbps, "kernel").ratio, None);
        assert_eq!(row(Metric::DaemonCpuPerGb, "weft:udp").ratio, None);
        assert!(row(Metric::DaemonCpuPerGb, "weft:udp").value.is_some());
    }

    #[test]
    fn who_had_no_turn_has_no_row() {
        let report = example(false);
        assert_eq!(report.row(Variant::Super, Workload::Tcp1, Metric::Gbps, "ovs"), None);
        assert_eq!(report.absences(), ["ovs skipped: `ovs-vswitchd` is not installed"]);
        assert_eq!(report.notes(), ["weft:udp: udp, 1 worker"]);
    }

    #[test]
    fn a_report_survives_json() {
        let report = example(true);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn a_report_that_names_no_lab_is_of_the_overlay() {
        let mut report = example(false);
        report.settings.lab = Lab::Nat;
        let mut json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["settings"]["lab"], "nat");
        json["settings"].as_object_mut().unwrap().remove("lab");
        assert_eq!(serde_json::from_value::<Report>(json).unwrap().settings.lab, Lab::Overlay);
    }
}
