//! What the labs can be told, and the plan that follows from it.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use crate::compare::Plan;
use crate::compare::lab::Lab;
use crate::compare::trial::Times;
use crate::compare::workload::Workload;
use crate::stage::Contender;
use crate::stage::nat::Nat;
use crate::stage::underlay::Variant;

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Who takes part: kernel, veth, ovs, weft:MODE (udp, udp-gso, tunnel-gso, auto), or FROM/TO of them [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    contenders: Vec<Contender>,
    /// With what [default: all; with --quick: tcp1,udp64,rr,rest]
    #[arg(long, value_delimiter = ',', value_parser = workload_of(Lab::Overlay), value_name = "NAME,...")]
    workloads: Vec<Workload>,
    #[command(flatten)]
    pub(super) how: How,
}

#[derive(Debug, Args)]
pub(super) struct NatArgs {
    /// Who takes part [default: all]
    #[arg(long, value_delimiter = ',', value_enum, value_name = "NAME,...")]
    contenders: Vec<Nat>,
    /// With what [default: all]
    #[arg(long, value_delimiter = ',', value_parser = workload_of(Lab::Nat), value_name = "NAME,...")]
    workloads: Vec<Workload>,
    #[command(flatten)]
    pub(super) how: How,
}

#[derive(Debug, Args)]
pub(super) struct How {
    /// A smoke test of a few minutes at most: two short rounds
    #[arg(long)]
    quick: bool,
    /// Over which underlays [default: all]
    #[arg(long, value_delimiter = ',', value_enum, value_name = "NAME,...")]
    variants: Vec<Variant>,
    /// How often everybody has a turn [default: 5; with --quick: 2]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// How long a measurement takes, after its warm-up; 0.1 to 600 [default: 1; with --quick: 0.2]. TCP: how many GB
    #[arg(long, value_parser = seconds)]
    seconds: Option<Duration>,
    /// Discard turns during which the hypervisor took more than this from the machine, in per cent
    #[arg(long, default_value_t = 2.0, value_name = "PERCENT")]
    max_steal: f64,
    /// Install the Debian packages that are missing with apt-get
    #[arg(long)]
    install: bool,
    /// Write everything measured as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    #[command(flatten)]
    pub(super) views: Views,
}

#[derive(Debug, Args)]
pub(super) struct Views {
    /// Write the main figures as Markdown tables
    #[arg(long, value_name = "FILE")]
    pub(super) markdown: Option<PathBuf>,
    /// Write the main figures as an SVG chart
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
}

impl CompareArgs {
    pub(super) fn plan(&self) -> Plan {
        self.how.plan(Lab::Overlay, self.contenders.clone(), &self.workloads)
    }
}

impl NatArgs {
    pub(super) fn plan(&self) -> Plan {
        let contenders = self.contenders.iter().copied().map(Contender::Nat).collect();
        self.how.plan(Lab::Nat, contenders, &self.workloads)
    }
}

impl How {
    /// Everything in that lab, but for what was chosen.
    pub(super) fn plan(&self, lab: Lab, contenders: Vec<Contender>, workloads: &[Workload]) -> Plan {
        let mut plan = if self.quick { Plan::quick(lab) } else { Plan::full(lab) };
        if !contenders.is_empty() {
            plan.contenders = contenders;
        }
        if !workloads.is_empty() {
            plan.workloads = workloads.to_vec();
        }
        if !self.variants.is_empty() {
            plan.variants.clone_from(&self.variants);
        }
        plan.rounds = self.rounds.map_or(plan.rounds, usize::from);
        plan.times = self.seconds.map_or(plan.times, |measure| Times { measure });
        (plan.max_steal, plan.install) = (self.max_steal, self.install);
        plan
    }
}

/// Takes the workloads of one lab only.
pub(super) fn workload_of(lab: Lab) -> impl TypedValueParser<Value = Workload> {
    let names = lab.workloads().iter().filter_map(Workload::to_possible_value);
    PossibleValuesParser::new(names).try_map(|name| Workload::from_str(&name, false))
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.1..=600.0).contains(&value) => Ok(Duration::from_secs_f64(value)),
        _ => Err("not between 0.1 and 600 seconds".into()),
    }
}
