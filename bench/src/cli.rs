//! The command line of `weft-bench`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::compare::trial::Times;
use crate::compare::workload::Workload;
use crate::compare::{self, Plan};
use crate::endpoints;
use crate::error::LabError;
use crate::interrupt;
use crate::report::model::Report;
use crate::report::{markdown, svg, text};
use crate::stage::Contender;
use crate::stage::underlay::Variant;
use crate::traffic::agent;

/// How fast Weft is, beside the kernel's own VXLAN, a bare veth and Open vSwitch.
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
    /// Fill one host with endpoints and measure attaching, detaching, memory and a restart (needs root)
    Endpoints(EndpointsArgs),
    /// Show a report that was written with --json once more
    Render(RenderArgs),
    /// Send and receive inside a namespace; `compare` starts these by itself
    #[command(hide = true)]
    Agent,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// A smoke test of about 90 s: two short rounds of the main workloads
    #[arg(long)]
    quick: bool,
    /// Who takes part: kernel, veth, ovs, weft:MODE (udp, udp-gso, tunnel-gso, auto), or FROM/TO of them [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    contenders: Vec<Contender>,
    /// Over which underlays [default: all]
    #[arg(long, value_delimiter = ',', value_enum, value_name = "NAME,...")]
    variants: Vec<Variant>,
    /// With what [default: all; with --quick: tcp1,udp64,rr,rest]
    #[arg(long, value_delimiter = ',', value_enum, value_name = "NAME,...")]
    workloads: Vec<Workload>,
    /// How often everybody has a turn [default: 5; with --quick: 2]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// How long a measurement takes, after its warm-up; 0.1 to 600 [default: 1; with --quick: 0.2]. TCP: how many GB
    #[arg(long, value_parser = seconds)]
    seconds: Option<Duration>,
    /// Discard turns during which the hypervisor took more than this from the machine, in per cent
    #[arg(long, default_value_t = 2.0, value_name = "PERCENT")]
    max_steal: f64,
    /// Install missing Debian packages (ethtool, openvswitch-switch) with apt-get
    #[arg(long)]
    install: bool,
    /// Write everything measured as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    views: Views,
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
struct RenderArgs {
    /// The report
    json: PathBuf,
    #[command(flatten)]
    views: Views,
}

#[derive(Debug, Args)]
struct Views {
    /// Write the main figures as Markdown tables
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the main figures as an SVG chart
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Runs the program. Exit code 0: done; 1: failed; 2: wrong usage; 130: interrupted.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Action::Agent => return agent::serve(),
        Action::Compare(args) => compare(&args),
        Action::Endpoints(args) => fill(&args),
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

fn compare(args: &CompareArgs) -> Result<(), LabError> {
    interrupt::watch()?;
    let mut plan = plan(args);
    if plan.needs_weft() {
        plan.weft = Some(find_weft()?);
    }
    let report = compare::run(&plan)?;
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&report)
            .map_err(|error| LabError::BadReport { file: file.display().to_string(), source: error })?;
        write(file, &json)?;
    }
    show(&report, &args.views)
}

fn fill(args: &EndpointsArgs) -> Result<(), LabError> {
    interrupt::watch()?;
    let plan = endpoints::Plan { count: args.count.into(), samples: args.samples.into() };
    let figures = endpoints::run(&find_weft()?, plan)?;
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&figures)
            .map_err(|error| LabError::BadReport { file: file.display().to_string(), source: error })?;
        write(file, &json)?;
    }
    print!("{}", endpoints::render(&figures));
    Ok(())
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

fn plan(args: &CompareArgs) -> Plan {
    let mut plan = if args.quick { Plan::quick() } else { Plan::full() };
    if !args.contenders.is_empty() {
        plan.contenders.clone_from(&args.contenders);
    }
    if !args.variants.is_empty() {
        plan.variants.clone_from(&args.variants);
    }
    if !args.workloads.is_empty() {
        plan.workloads.clone_from(&args.workloads);
    }
    plan.rounds = args.rounds.map_or(plan.rounds, usize::from);
    plan.times = args.seconds.map_or(plan.times, |measure| Times { measure });
    (plan.max_steal, plan.install) = (args.max_steal, args.install);
    plan
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.1..=600.0).contains(&value) => Ok(Duration::from_secs_f64(value)),
        _ => Err("not between 0.1 and 600 seconds".into()),
    }
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
mod tests {
    use super::*;
    use crate::stage::contender::everybody;
    use clap::CommandFactory;

    fn plan_of(line: &str) -> Plan {
        let cli = Cli::parse_from(line.split_whitespace());
        let Action::Compare(args) = cli.command else { panic!("{line} compares") };
        plan(&args)
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everybody_and_everything_unless_told_otherwise() {
        let full = plan_of("weft-bench compare");
        assert_eq!((full.contenders, full.variants.len(), full.workloads.len()), (everybody(), 3, 8));
        let quick = plan_of("weft-bench compare --quick");
        assert!(quick.rounds < full.rounds && quick.times.measure < full.times.measure);
    }

    #[test]
    fn choices_overrule_quick() {
        let plan = plan_of(
            "weft-bench compare --quick --contenders weft:udp,kernel/weft:auto --workloads rr --rounds 7 --seconds 0.5",
        );
        let names: Vec<String> = plan.contenders.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["weft:udp", "kernel/weft:auto"]);
        assert_eq!((plan.rounds, plan.times.measure), (7, Duration::from_millis(500)));
        assert!(plan.needs_weft());
        assert!(!plan_of("weft-bench compare --contenders kernel,veth").needs_weft());
    }

    #[test]
    fn impossible_choices_are_refused() {
        for wrong in ["--contenders weft:warp", "--seconds 0", "--rounds 0", "--variants jumbo"] {
            let line = format!("weft-bench compare {wrong}");
            assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{wrong}");
        }
    }
}
