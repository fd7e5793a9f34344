use std::time::Duration;

use clap::CommandFactory;

use super::docker::Job;
use super::*;
use crate::compare::workload::Workload;
use crate::stage::contender::everybody;

fn plan_of(line: &str) -> Plan {
    match Cli::parse_from(line.split_whitespace()).command {
        Action::Compare(args) => args.plan(),
        Action::Nat(args) => args.plan(),
        Action::Docker(action) => match action.job() {
            Job::Compare(plan, _) => plan,
            Job::Run(_) => panic!("{line} compares no networks"),
        },
        _ => panic!("{line} compares"),
    }
}

fn names(plan: &Plan) -> Vec<String> {
    plan.contenders.iter().map(ToString::to_string).collect()
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
    let nat = plan_of("weft-bench nat");
    assert_eq!(names(&nat), ["kernel", "direct", "weft", "slirp4netns", "pasta"]);
    assert_eq!((nat.variants.len(), nat.workloads.len()), (3, 7));
    for (lab, everybody, workloads) in [
        ("local", &["bridge", "weft"][..], 4),
        ("outside", &["bridge", "weft"], 7),
        ("hosts", &["kernel", "veth", "weft"], 4),
    ] {
        let docker = plan_of(&format!("weft-bench docker {lab}"));
        assert_eq!(names(&docker), everybody);
        assert_eq!((docker.variants.len(), docker.workloads.len()), (1, workloads), "{lab}");
        assert!(docker.needs_weft());
    }
}

#[test]
fn choices_overrule_quick() {
    let plan = plan_of(
        "weft-bench compare --quick --contenders weft:udp,kernel/weft:auto --workloads rr --rounds 7 --seconds 0.5",
    );
    assert_eq!(names(&plan), ["weft:udp", "kernel/weft:auto"]);
    assert_eq!((plan.rounds, plan.times.measure), (7, Duration::from_millis(500)));
    assert!(plan.needs_weft());
    assert!(!plan_of("weft-bench compare --contenders kernel,veth").needs_weft());
    let nat = plan_of("weft-bench nat --quick --contenders slirp4netns,weft --workloads cps,tcp-in");
    assert_eq!(
        (names(&nat), &nat.workloads[..]),
        (vec!["slirp4netns".into(), "weft".into()], &[Workload::Cps, Workload::TcpIn][..])
    );
    assert!(nat.needs_weft());
    assert!(!plan_of("weft-bench nat --contenders kernel,direct,slirp4netns,pasta").needs_weft());
    let docker = plan_of("weft-bench docker outside --quick --contenders bridge --workloads tcp-published");
    assert_eq!((names(&docker), docker.workloads.len()), (vec!["bridge".into()], 1));
    assert!(!docker.needs_weft());
}

#[test]
fn impossible_choices_are_refused() {
    for wrong in [
        "compare --contenders weft:warp",
        "compare --contenders pasta",
        "compare --workloads cps",
        "compare --seconds 0",
        "compare --rounds 0",
        "compare --variants jumbo",
        "nat --contenders weft:udp",
        "nat --workloads tcp8",
        "docker",
        "docker local --contenders kernel",
        "docker local --workloads tcp-out",
        "docker hosts --contenders bridge",
        "docker run --samples 0",
    ] {
        let line = format!("weft-bench {wrong}");
        assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{wrong}");
    }
}
