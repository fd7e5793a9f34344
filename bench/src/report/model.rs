//! Everything a comparison knows, as it is kept in JSON. Keys are stable.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::compare::lab::Lab;
use crate::compare::trial::Figures;
use crate::compare::workload::{Metric, Workload};
use crate::measure::stats::Spread;
use crate::stage::underlay::Variant;

/// Foreign load above this, in per cent, is worth a warning.
const BUSY: f64 = 5.0;

/// A comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Where and with what.
    pub(crate) about: About,
    /// How.
    pub(crate) settings: Settings,
    /// Who took part.
    pub(crate) standings: Vec<Standing>,
    /// What else the machine did.
    pub(crate) rounds: Vec<Round>,
    /// Every turn.
    pub(crate) samples: Vec<Sample>,
    /// What follows from them.
    pub(crate) rows: Vec<Row>,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// The machine and the programs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    /// Seconds since 1970 at the start.
    pub(crate) started_unix_s: u64,
    /// The command line.
    pub(crate) command: Vec<String>,
    /// `osrelease` of the kernel.
    pub(crate) kernel: String,
    /// The model name of the first CPU.
    pub(crate) cpu: String,
    /// How many there are.
    pub(crate) cpus: usize,
    /// The frequency governor of the first CPU, if it has one.
    pub(crate) governor: Option<String>,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// Vulnerability -> what the kernel does about it.
    pub(crate) mitigations: BTreeMap<String, String>,
    /// Program -> version.
    pub(crate) versions: BTreeMap<String, String>,
    /// MTU of the underlay in bytes.
    pub(crate) underlay_mtu: u16,
    /// MTU inside the tunnel in bytes.
    pub(crate) inner_mtu: u16,
    /// The wire's offload flags, by variant.
    pub(crate) offloads: BTreeMap<Variant, Vec<String>>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// In which lab.
    #[serde(default)]
    pub(crate) lab: Lab,
    /// How often.
    pub(crate) rounds: usize,
    /// How long each measurement takes.
    pub(crate) measure_s: f64,
    /// The steal above which a turn is discarded.
    pub(crate) max_steal_percent: f64,
    /// The underlays, in order.
    pub(crate) variants: Vec<Variant>,
    /// The workloads, in order.
    pub(crate) workloads: Vec<Workload>,
    /// The contenders, in order.
    pub(crate) contenders: Vec<String>,
}

/// Whether a contender took part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It did.
    Ran,
    /// It declined: a mode this build or kernel does not have.
    Refused,
    /// Something it needs is not installed.
    Skipped,
    /// It should have worked.
    Failed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ran => "ran",
            Self::Refused => "refused",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        })
    }
}

/// How a contender stands over one underlay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// The underlay.
    pub(crate) variant: Variant,
    /// Who.
    pub(crate) contender: String,
    /// Whether it took part.
    pub(crate) state: State,
    /// Why not, or what it says of itself.
    pub(crate) reason: String,
}

/// A round's circumstances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Round {
    /// Over which underlay.
    pub(crate) variant: Variant,
    /// Which one, from 0.
    pub(crate) round: usize,
    /// How busy the machine was before it with what is not the lab's, per cent.
    pub(crate) foreign_percent: f64,
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Over which underlay.
    pub(crate) variant: Variant,
    /// In which round, from 0.
    pub(crate) round: usize,
    /// Through whom.
    pub(crate) contender: String,
    /// What.
    pub(crate) workload: Workload,
    /// What came of it; a figure that could not be found is not there.
    pub(crate) figures: Figures,
    /// What the hypervisor took meanwhile, per cent of the machine.
    pub(crate) steal_percent: f64,
    /// Whether that was too much for the turn to count.
    pub(crate) discarded: bool,
    /// Why nothing came of it.
    pub(crate) failure: Option<String>,
}

/// One contender's figure over one underlay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The underlay.
    pub(crate) variant: Variant,
    /// The workload.
    pub(crate) workload: Workload,
    /// The figure.
    pub(crate) metric: Metric,
    /// Who.
    pub(crate) contender: String,
    /// Over all turns that count; `None` when there are none.
    pub(crate) value: Option<Spread>,
    /// Contender / the one all are compared with, round by round; `None` for that itself, for figures it does not have, and without pairs.
    pub(crate) ratio: Option<Spread>,
    /// Turns that did not count.
    pub(crate) discarded: usize,
    /// Turns that failed.
    pub(crate) failed: usize,
}

impl Report {
    /// An empty one.
    pub(crate) fn new(about: About, settings: Settings) -> Self {
        let (standings, rounds, samples, rows) = Default::default();
        Self { about, settings, standings, rounds, samples, rows, seconds: 0.0 }
    }

    /// How a contender stands.
    pub(crate) fn standing_mut(&mut self, variant: Variant, contender: &str) -> Option<&mut Standing> {
        let wanted =
            |standing: &&mut Standing| (standing.variant, &*standing.contender) == (variant, contender);
        self.standings.iter_mut().find(wanted)
    }

    /// The row of one figure.
    pub(crate) fn row(
        &self,
        variant: Variant,
        workload: Workload,
        metric: Metric,
        contender: &str,
    ) -> Option<&Row> {
        let wanted = (variant, workload, metric, contender);
        self.rows.iter().find(|row| (row.variant, row.workload, row.metric, &*row.contender) == wanted)
    }

    /// Those who did not take part in everything, with the reasons; once each where it is the same over every underlay.
    pub(crate) fn absences(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for standing in self.standings.iter().filter(|standing| standing.state != State::Ran) {
            let line = format!("{} {}: {}", standing.contender, standing.state, standing.reason);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    }

    /// What contenders say of themselves, once each.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let ran = |standing: &&Standing| standing.state == State::Ran && !standing.reason.is_empty();
        for standing in self.standings.iter().filter(ran) {
            let line = format!("{}: {}", standing.contender, standing.reason);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    }

    /// The circumstances, in a line: steal and foreign load.
    pub(crate) fn noise(&self) -> String {
        let discarded = self.samples.iter().filter(|sample| sample.discarded).count();
        let failed = self.samples.iter().filter(|sample| sample.failure.is_some()).count();
        let steal = Spread::of(self.samples.iter().map(|sample| sample.steal_percent));
        let foreign = Spread::of(self.rounds.iter().map(|round| round.foreign_percent));
        let words = |spread: Option<Spread>| {
            spread.map_or("unknown".into(), |s| format!("{:.1} % (at most {:.1} %)", s.median, s.max))
        };
        let busy = foreign.is_some_and(|spread| spread.median > BUSY);
        let warning = if busy { "; the machine was busy with other work, so figures are rough" } else { "" };
        format!(
            "{} turns, {discarded} discarded for steal above {} %, {failed} failed; steal {}, foreign load {}{warning}",
            self.samples.len(),
            self.settings.max_steal_percent,
            words(steal),
            words(foreign)
        )
    }

    /// The machine, in a line.
    pub(crate) fn machine(&self) -> String {
        let About { kernel, cpu, cpus, .. } = &self.about;
        let versions = self.about.versions.values().cloned().collect::<Vec<_>>().join(", ");
        format!("Linux {kernel}, {cpus} x {cpu}; {versions}")
    }
}
