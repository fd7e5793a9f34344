use std::time::Duration;

use clap::CommandFactory;

use super::*;
use crate::compare::workload::Workload;
use crate::stage::contender::everybody;

fn plan_of(line: &str) -> Plan {
    match Cli::parse_from(line.split_whitespace()).command {
        Action::Compare(args) => args.plan(),
        Action::Nat(args) => args.plan(),
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
    ] {
        let line = format!("weft-bench {wrong}");
        assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{wrong}");
    }
}
