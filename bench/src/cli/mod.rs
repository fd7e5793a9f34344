//! The command line of `weft-bench`.

mod args;
mod docker;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use args::{CompareArgs, How, NatArgs, Views};
use docker::DockerAction;

use crate::cni;
use crate::compare::{self, Plan};
use crate::endpoints;
use crate::error::LabError;
use crate::interrupt;
use crate::report::model::Report;
use crate::report::{markdown, svg, text};
use crate::traffic::agent;

/// How fast Weft is, beside the kernel's own VXLAN and NAT, Docker's bridge, Open vSwitch, slirp4netns and pasta.
#[derive(Debug, Parser)]
#[command(name = "weft-bench", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build two hosts for each contender on this machine and measure them in turn (needs root, removes all it makes)
    Compare(CompareArgs),
    /// Build a container with a way out for each kind of egress NAT and measure them in turn (needs root, likewise)
    Nat(NatArgs),
    /// Start engines of Docker's, and measure their containers on Weft beside Docker's own bridge (needs root, likewise)
    #[command(subcommand)]
    Docker(DockerAction),
    /// Fill one host with endpoints and measure attaching, detaching, memory and a restart (needs root)
    Endpoints(EndpointsArgs),
    /// Fill one host with endpoints and measure the CNI plugin there, from its start to its end (needs root)
    Cni(CniArgs),
    /// Show a report that was written with --json once more
    Render(RenderArgs),
    /// Send and receive inside a namespace; the labs start these by themselves
    #[command(hide = true)]
    Agent,
}

#[derive(Debug, Args)]
struct EndpointsArgs {
    /// How many endpoints the host has
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    count: u16,
    /// How many of them are detached and attached again
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..))]
    samples: u16,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CniArgs {
    /// How many endpoints the host has [default: 200; with --quick: 20]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4_000))]
    count: Option<u16>,
    /// How many times ADD and DEL are called [default: 500; with --quick: 20]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    samples: Option<u16>,
    /// A smoke test
    #[arg(long)]
    quick: bool,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RenderArgs {
    /// The report
    json: PathBuf,
    #[command(flatten)]
    views: Views,
}

/// Runs the program. Exit code 0: done; 1: failed; 2: wrong usage; 130: interrupted.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Action::Agent => return agent::serve(),
        Action::Compare(args) => compare(args.plan(), &args.how),
        Action::Nat(args) => compare(args.plan(), &args.how),
        Action::Docker(action) => docker::perform(&action),
        Action::Endpoints(args) => fill(&args),
        Action::Cni(args) => call_plugin(&args),
        Action::Render(args) => render(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(LabError::Interrupted) => ExitCode::from(130),
        Err(error) => {
            eprintln!("weft-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(mut plan: Plan, how: &How) -> Result<(), LabError> {
    interrupt::watch()?;
    if plan.needs_weft() {
        plan.weft = Some(find_weft()?);
    }
    let report = compare::run(&plan)?;
    keep(how.json.as_deref(), &report)?;
    show(&report, &how.views)
}

fn fill(args: &EndpointsArgs) -> Result<(), LabError> {
    interrupt::watch()?;
    let plan = endpoints::Plan { count: args.count.into(), samples: args.samples.into() };
    let figures = endpoints::run(&find_weft()?, plan)?;
    keep(args.json.as_deref(), &figures)?;
    print!("{}", endpoints::render(&figures));
    Ok(())
}

fn call_plugin(args: &CniArgs) -> Result<(), LabError> {
    interrupt::watch()?;
    let (count, samples) = if args.quick { (20, 20) } else { (200, 500) };
    let plan = endpoints::Plan {
        count: args.count.unwrap_or(count).into(),
        samples: args.samples.unwrap_or(samples).into(),
    };
    let figures = cni::run(&find_weft()?, plan)?;
    keep(args.json.as_deref(), &figures)?;
    print!("{}", cni::render(&figures));
    Ok(())
}

/// Writes a report, if that was asked for.
fn keep(file: Option<&Path>, report: &impl Serialize) -> Result<(), LabError> {
    let Some(file) = file else { return Ok(()) };
    let json = serde_json::to_string_pretty(report)
        .map_err(|error| LabError::BadReport { file: file.display().to_string(), source: error })?;
    write(file, &json)
}

fn render(args: &RenderArgs) -> Result<(), LabError> {
    let file = args.json.display().to_string();
    let text = fs::read_to_string(&args.json).map_err(LabError::io(format!("read {file}")))?;
    let report: Report =
        serde_json::from_str(&text).map_err(|source| LabError::BadReport { file, source })?;
    show(&report, &args.views)
}

fn show(report: &Report, views: &Views) -> Result<(), LabError> {
    if let Some(file) = &views.markdown {
        write(file, &markdown::render(report))?;
    }
    if let Some(file) = &views.svg {
        write(file, &svg::render(report))?;
    }
    print!("{}", text::render(report));
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<(), LabError> {
    fs::write(file, text).map_err(LabError::io(format!("write {}", file.display())))
}

/// The executable under test: `WEFT_BIN`; under cargo a fresh release build; else the one beside this one.
fn find_weft() -> Result<PathBuf, LabError> {
    if let Some(path) = std::env::var_os("WEFT_BIN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe().map_err(LabError::io("find the lab's own executable"))?;
    let beside = own.with_file_name("weft");
    if let Some(cargo) = std::env::var_os("CARGO").filter(|_| !cfg!(debug_assertions)) {
        eprintln!("building weft (nothing to do when it is up to date)");
        let build = ["build", "--quiet", "--release", "--package", "weft", "--bin", "weft"];
        let status = Command::new(cargo).args(build).status().map_err(LabError::io("run cargo"))?;
        if !status.success() {
            return Err(LabError::Command {
                line: format!("cargo {}", build.join(" ")),
                said: status.to_string(),
            });
        }
    }
    if beside.exists() { Ok(beside) } else { Err(LabError::NoWeft { beside: own.display().to_string() }) }
}

#[cfg(test)]
mod tests;
