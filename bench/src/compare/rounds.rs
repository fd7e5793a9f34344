//! Round after round.

use std::time::Duration;

use super::Plan;
use super::progress::Progress;
use super::trial::{Figures, perform};
use super::workload::Workload;
use crate::error::LabError;
use crate::interrupt;
use crate::measure::cpu::Look;
use crate::report::figure;
use crate::report::model::{Report, Round, Sample, State};
use crate::stage::underlay::Variant;
use crate::stage::{Contender, Stage};

/// After so many failed turns in one variant a contender is left out.
pub(super) const PATIENCE: usize = 3;

/// How long the machine is watched for foreign load before a round.
const WATCH: Duration = Duration::from_millis(300);

/// All rounds over one underlay.
pub(super) struct Rounds<'a> {
    pub(super) plan: &'a Plan,
    pub(super) variant: Variant,
    pub(super) report: &'a mut Report,
    pub(super) progress: &'a mut Progress,
}

/// Whether a contender is given a workload: a mixed pair has its other direction as a contender of its own, and at rest
/// there is nothing to see of those without daemons.
pub(super) fn takes(contender: Contender, workload: Workload) -> bool {
    match workload {
        Workload::Rest => contender.is_symmetric() && contender.has_daemons(),
        _ => contender.is_symmetric() || !workload.is_back(),
    }
}

impl Rounds<'_> {
    /// Runs them.
    ///
    /// # Errors
    /// [`LabError::Interrupted`]; what concerns one turn is in the report.
    pub(super) fn run(mut self, stages: &mut [Stage]) -> Result<(), LabError> {
        let mut marks = 0;
        for round in 0..self.plan.rounds {
            let foreign_percent = foreign_load(stages)?;
            self.report.rounds.push(Round { variant: self.variant, round, foreign_percent });
            for &workload in &self.plan.workloads {
                for stage in in_turn(stages, round) {
                    let can = workload != Workload::TcpPublished || stage.published().is_some();
                    if can && takes(stage.contender, workload) && self.is_welcome(stage.contender) {
                        self.turn(stage, round, workload, &mut marks)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn turn(
        &mut self,
        stage: &mut Stage,
        round: usize,
        workload: Workload,
        marks: &mut u64,
    ) -> Result<(), LabError> {
        let before = Look::now(&[])?;
        let outcome = perform(stage, workload, self.plan.times, marks);
        let steal_percent = Look::now(&[])?.since(before).steal_percent;
        let (figures, failure) = match outcome {
            Ok(figures) => (figures, None),
            Err(LabError::Interrupted) => return Err(LabError::Interrupted),
            Err(error) => (Figures::new(), Some(error.to_string())),
        };
        let contender = stage.contender.to_string();
        let (variant, discarded) = (self.variant, steal_percent > self.plan.max_steal);
        self.progress.advance(self.plan.times.estimate(workload));
        let shown = failure.clone().unwrap_or_else(|| describe(workload, &figures));
        let place = format!("{variant} {}/{} {contender} {}", round + 1, self.plan.rounds, workload.title());
        let discard =
            if discarded { format!(" (discarded: {steal_percent:.1} % steal)") } else { String::new() };
        self.progress.turn(&format!("{place}: {shown}{discard}"));
        let sample =
            Sample { variant, round, contender, workload, figures, steal_percent, discarded, failure };
        let failed = sample.failure.is_some();
        self.report.samples.push(sample);
        if failed { self.recover(stage) } else { Ok(()) }
    }

    /// After a failed turn: fresh agents, or, after too many, out.
    fn recover(&mut self, stage: &mut Stage) -> Result<(), LabError> {
        let contender = stage.contender.to_string();
        let failed = |sample: &&Sample| {
            sample.variant == self.variant && sample.contender == contender && sample.failure.is_some()
        };
        let failures = self.report.samples.iter().filter(failed).count();
        let reason = match stage.restart_agents() {
            Ok(()) if failures < PATIENCE => return Ok(()),
            Ok(()) => self.report.samples.iter().rfind(failed).and_then(|sample| sample.failure.clone()),
            Err(LabError::Interrupted) => return Err(LabError::Interrupted),
            Err(error) => Some(error.to_string()),
        };
        let standing = self.report.standing_mut(self.variant, &contender);
        if let Some(standing) = standing {
            standing.state = State::Failed;
            standing.reason =
                format!("left out after {failures} failed turns: {}", reason.unwrap_or_default());
            self.progress.keep(&format!("{}: {contender} {}", self.variant, standing.reason));
        }
        Ok(())
    }

    fn is_welcome(&mut self, contender: Contender) -> bool {
        let standing = self.report.standing_mut(self.variant, &contender.to_string());
        standing.is_some_and(|standing| standing.state == State::Ran)
    }
}

/// The contenders in this round's order: every other round the other way round.
fn in_turn(stages: &mut [Stage], round: usize) -> Vec<&mut Stage> {
    let mut order: Vec<_> = stages.iter_mut().collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// How busy the machine is with what is not ours, per cent.
fn foreign_load(stages: &[Stage]) -> Result<f64, LabError> {
    let daemons: Vec<u32> = stages.iter().flat_map(Stage::daemons).collect();
    let before = Look::now(&daemons)?;
    interrupt::pause(WATCH)?;
    let usage = Look::now(&daemons)?.since(before);
    let ours = if usage.machine_s > 0.0 { (usage.daemons_s / usage.machine_s).min(1.0) } else { 0.0 };
    Ok(usage.busy_percent * (1.0 - ours))
}

/// The figures in a line.
fn describe(workload: Workload, figures: &Figures) -> String {
    let words = workload.metrics().iter().filter_map(|metric| {
        let value = figure(*figures.get(metric)?);
        Some(format!("{value} {}", metric.unit()))
    });
    words.collect::<Vec<_>>().join(", ")
}
