//! What is to be compared, and the order in which it is done.
//!
//! For each variant of the underlay, every contender is built once. Then, round after round, each workload is given to
//! one contender after the other, the order turned round every other round; so each figure of a contender has one of the
//! kernel's (or of Docker's bridge) beside it that is seconds old, and their ratio is taken within the round. What drifts (clock, neighbours on
//! the machine, memory) drifts for both.
//!
//! Noise is recorded, not hidden: CPU time stolen by the hypervisor during a turn, and foreign load before each round. A
//! turn with more theft than allowed does not count, and a turn of the kernel's that does not count takes the round's
//! ratios with it.
//!
//! Failures: a contender that cannot be built is shown as refused, skipped or failed, with its reason, and the others go
//! on. A turn that fails is counted; after [`rounds::PATIENCE`] failed turns in one variant the contender is left out.

mod datagrams;
pub(crate) mod lab;
mod progress;
mod rounds;
pub(crate) mod trial;
pub(crate) mod workload;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use crate::error::LabError;
use crate::report::model::{Report, Settings, Standing, State};
use crate::report::{about, summary};
use crate::stage::command::require;
use crate::stage::underlay::Variant;
use crate::stage::{Contender, Stage, netns};
use lab::Lab;
use progress::Progress;
use rounds::Rounds;
use trial::Times;
use workload::Workload;

/// About how long it takes to build a contender.
const BUILDING: Duration = Duration::from_secs(1);

/// What the user asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// In which lab.
    pub(crate) lab: Lab,
    /// Who takes part.
    pub(crate) contenders: Vec<Contender>,
    /// Over which underlays.
    pub(crate) variants: Vec<Variant>,
    /// With what.
    pub(crate) workloads: Vec<Workload>,
    /// How often.
    pub(crate) rounds: usize,
    /// How long.
    pub(crate) times: Times,
    /// The share of the machine the hypervisor may take during a turn that counts, per cent.
    pub(crate) max_steal: f64,
    /// Whether missing packages may be installed.
    pub(crate) install: bool,
    /// The executable under test; `None` when Weft takes no part.
    pub(crate) weft: Option<PathBuf>,
}

impl Plan {
    /// Everything, as often and as long as gives figures worth keeping in about half an hour.
    pub(crate) fn full(lab: Lab) -> Self {
        Self {
            lab,
            contenders: lab.contenders(),
            variants: lab.variants().to_vec(),
            workloads: lab.workloads().to_vec(),
            rounds: 5,
            times: Times { measure: Duration::from_secs(1) },
            max_steal: 2.0,
            install: false,
            weft: None,
        }
    }

    /// A smoke test: everybody over every underlay, but little of each.
    pub(crate) fn quick(lab: Lab) -> Self {
        Self {
            workloads: lab.quick_workloads().to_vec(),
            rounds: 2,
            times: Times { measure: Duration::from_millis(200) },
            ..Self::full(lab)
        }
    }

    /// Whether any contender needs the executable under test.
    pub(crate) fn needs_weft(&self) -> bool {
        self.contenders.iter().any(|contender| contender.is_weft())
    }

    /// About how long it will take.
    fn estimate(&self) -> Duration {
        let all: Duration = self.contenders.iter().map(|contender| BUILDING + self.turns(*contender)).sum();
        all * self.variants.len() as u32
    }

    /// About how long a contender's turns take in one variant.
    fn turns(&self, contender: Contender) -> Duration {
        let takes = |workload: &&Workload| rounds::takes(contender, **workload);
        let round: Duration =
            self.workloads.iter().filter(takes).map(|workload| self.times.estimate(*workload)).sum();
        round * self.rounds as u32
    }
}

/// Compares.
///
/// # Errors
/// [`LabError::NotRoot`], [`LabError::Missing`] without iproute2, [`LabError::Interrupted`]. What only concerns one
/// contender is in the report.
pub(crate) fn run(plan: &Plan) -> Result<Report, LabError> {
    if !geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    require("ip", "iproute2", plan.install)?;
    netns::remove_leftovers();
    let started = Instant::now();
    let mut progress = Progress::new(plan.estimate());
    let mut report = Report::new(about::about(plan), settings(plan));
    for variant in &plan.variants {
        let mut stages = build_all(plan, *variant, &mut report, &mut progress)?;
        Rounds { plan, variant: *variant, report: &mut report, progress: &mut progress }.run(&mut stages)?;
    }
    report.seconds = started.elapsed().as_secs_f64();
    report.rows = summary::rows(&report);
    progress.end();
    Ok(report)
}

fn settings(plan: &Plan) -> Settings {
    Settings {
        lab: plan.lab,
        rounds: plan.rounds,
        measure_s: plan.times.measure.as_secs_f64(),
        max_steal_percent: plan.max_steal,
        variants: plan.variants.clone(),
        workloads: plan.workloads.clone(),
        contenders: plan.contenders.iter().map(ToString::to_string).collect(),
    }
}

/// Builds whoever can be built, and notes about the others why not.
fn build_all(
    plan: &Plan,
    variant: Variant,
    report: &mut Report,
    progress: &mut Progress,
) -> Result<Vec<Stage>, LabError> {
    let mut stages = Vec::new();
    for &contender in &plan.contenders {
        progress.say(&format!("{variant}: building {contender}"));
        let built = variant
            .prepare(plan.install)
            .and_then(|()| contender.prepare(plan.install))
            .and_then(|()| Stage::build(contender, variant, plan.weft.as_deref().unwrap_or("weft".as_ref())));
        let (state, reason) = match built {
            Ok(stage) => {
                let note = stage.note().unwrap_or_default();
                if stages.is_empty() {
                    report.about.offloads.insert(variant, stage.offloads());
                }
                stages.push(stage);
                (State::Ran, note)
            }
            Err(LabError::Interrupted) => return Err(LabError::Interrupted),
            Err(LabError::Refused(reason)) => (State::Refused, reason),
            Err(missing @ LabError::Missing { .. }) => (State::Skipped, missing.to_string()),
            Err(error) => (State::Failed, error.to_string()),
        };
        progress.advance(BUILDING);
        if state != State::Ran {
            progress.advance(plan.turns(contender));
            progress.keep(&format!("{variant}: {contender} {state}: {reason}"));
        }
        report.standings.push(Standing { variant, contender: contender.to_string(), state, reason });
    }
    Ok(stages)
}
