//! The command line of `weft-bench docker`.

use std::marker::PhantomData;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::{How, workload_of};
use super::{compare, find_weft, keep};
use crate::compare::Plan;
use crate::compare::lab::Lab;
use crate::compare::workload::Workload;
use crate::endpoints;
use crate::error::LabError;
use crate::interrupt;
use crate::runs;
use crate::stage::Contender;
use crate::stage::docker::prepare;

#[derive(Debug, Subcommand)]
pub(super) enum DockerAction {
    /// Two containers of one host
    Local(LabArgs<DockerLocal>),
    /// A container and a server outside: out, in, and by a published port
    Outside(LabArgs<DockerOutside>),
    /// A container on each of two hosts, with two engines, beside the kernel's own bridge and vxlan without Docker
    Hosts(LabArgs<DockerHosts>),
    /// How long `docker run --rm` takes on a host with endpoints, and what part of that is Weft's
    Run(RunArgs),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// How many endpoints the host has [default: 200; with --quick: 20]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4_000))]
    count: Option<u16>,
    /// How many containers are run on each network [default: 200; with --quick: 10]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    samples: Option<u16>,
    /// A smoke test
    #[arg(long)]
    quick: bool,
    /// Install the Debian packages that are missing with apt-get
    #[arg(long)]
    install: bool,
    /// Write the figures as JSON, with those of each run
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A lab by its type, for what only takes that one's names.
pub(super) trait Which: Clone + Send + Sync + 'static {
    const LAB: Lab;
}

/// Two containers of one engine.
#[derive(Clone, Debug)]
pub(super) struct DockerLocal;

/// An engine's container and the world.
#[derive(Clone, Debug)]
pub(super) struct DockerOutside;

/// Containers of two engines.
#[derive(Clone, Debug)]
pub(super) struct DockerHosts;

impl Which for DockerLocal {
    const LAB: Lab = Lab::DockerLocal;
}

impl Which for DockerOutside {
    const LAB: Lab = Lab::DockerOutside;
}

impl Which for DockerHosts {
    const LAB: Lab = Lab::DockerHosts;
}

#[derive(Debug, Args)]
pub(super) struct LabArgs<L: Which> {
    /// Who takes part [default: all]
    #[arg(long, value_delimiter = ',', value_parser = contender_of(L::LAB), value_name = "NAME,...")]
    contenders: Vec<Contender>,
    /// With what [default: all]
    #[arg(long, value_delimiter = ',', value_parser = workload_of(L::LAB), value_name = "NAME,...")]
    workloads: Vec<Workload>,
    #[command(flatten)]
    pub(super) how: How,
    #[arg(skip)]
    which: PhantomData<L>,
}

impl<L: Which> LabArgs<L> {
    pub(super) fn plan(&self) -> Plan {
        self.how.plan(L::LAB, self.contenders.clone(), &self.workloads)
    }
}

impl DockerAction {
    /// What is to be done.
    pub(super) fn job(&self) -> Job<'_> {
        match self {
            Self::Local(args) => Job::Compare(args.plan(), &args.how),
            Self::Outside(args) => Job::Compare(args.plan(), &args.how),
            Self::Hosts(args) => Job::Compare(args.plan(), &args.how),
            Self::Run(args) => Job::Run(args),
        }
    }
}

/// The two kinds of work.
pub(super) enum Job<'a> {
    Compare(Plan, &'a How),
    Run(&'a RunArgs),
}

/// Does what was asked for.
pub(super) fn perform(action: &DockerAction) -> Result<(), LabError> {
    match action.job() {
        Job::Compare(plan, how) => compare(plan, how),
        Job::Run(args) => run_containers(args),
    }
}

/// Takes the contenders of one lab only.
fn contender_of(lab: Lab) -> impl Fn(&str) -> Result<Contender, String> + Clone {
    move |name| {
        let known = lab.contenders();
        let names = known.iter().map(Contender::to_string).collect::<Vec<_>>().join(", ");
        known.into_iter().find(|one| one.to_string() == name).ok_or(format!("none of {names}"))
    }
}

fn run_containers(args: &RunArgs) -> Result<(), LabError> {
    interrupt::watch()?;
    let (count, samples) = if args.quick { (20, 10) } else { (200, 200) };
    let plan = endpoints::Plan {
        count: args.count.unwrap_or(count).into(),
        samples: args.samples.unwrap_or(samples).into(),
    };
    let figures = match prepare(args.install) {
        Err(missing @ LabError::Missing { .. }) => {
            println!("skipped: {missing}");
            return Ok(());
        }
        prepared => prepared.and_then(|()| runs::run(&find_weft()?, plan))?,
    };
    keep(args.json.as_deref(), &figures)?;
    print!("{}", runs::render(&figures));
    Ok(())
}
