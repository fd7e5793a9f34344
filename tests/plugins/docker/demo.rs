//! `weft demo` on a machine with an engine: its containers talk over the product, and nothing is left of them.

use super::{Scene, underlay};
use harness::daemon;
use harness::machine::{IMAGE, Machine};
use harness::need;
use harness::underlay::Underlay;
use harness::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::Stdio;
use std::time::Duration;

/// A demonstration moves real data; on a busy machine that takes its time.
const LONG: Duration = Duration::from_secs(240);

/// The part that this is about, as a line of the summary begins.
const WORKED: &str = "✓ Docker Engine";

/// Everything of an engine's, and of its machine's, that the demonstration could leave behind.
fn inventory(machine: &Machine<'_>) -> Vec<String> {
    let of_docker: [&[&str]; 4] =
        [&["ps", "-aq"], &["network", "ls", "-q"], &["images", "-q"], &["volume", "ls", "-q"]];
    let mut all: Vec<_> = of_docker.iter().map(|args| machine.docker(args).must()).collect();
    all.push(machine.run(&["ls", "/run", "/run/docker", "/run/docker/plugins", "/run/netns"]).stdout);
    let links = machine.run(&["ip", "-o", "link"]).must();
    // An index that went up says nothing.
    all.extend(links.lines().filter_map(|line| line.split(": ").nth(1).map(str::to_owned)));
    all
}

/// Makes the directories that an engine makes for its first container, and iproute2 for the first namespace.
#[track_caller]
fn settle(machine: &Machine<'_>) {
    machine.docker(&["run", "--rm", "--net", "none", IMAGE, "true"]).must();
    machine.run(&["mkdir", "-p", "/run/netns"]).must();
}

/// A machine with an engine, and without the product.
#[track_caller]
fn engine(underlay: &Underlay) -> Machine<'_> {
    let mut machine = Machine::new(&underlay.hosts[0].ns);
    machine.start_engine(&[]);
    settle(&machine);
    machine
}

/// Runs the demonstration, which has to succeed; its lines.
#[track_caller]
fn demo(machine: &Machine<'_>) -> String {
    machine.run(&[&daemon::executable().display().to_string(), "demo"]).must()
}

#[test]
fn docker_demo_serves_the_plugin_itself_and_leaves_nothing() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let machine = engine(&underlay);
    let before = inventory(&machine);
    let said = demo(&machine);
    assert!(
        said.contains(WORKED) && said.contains("with a daemon of its own, 2 containers of box"),
        "{said}"
    );
    assert_eq!(inventory(&machine), before);
    // An engine without an image gets one for the time.
    machine.docker(&["rmi", IMAGE]).must();
    let before = inventory(&machine);
    let said = demo(&machine);
    assert!(said.contains(WORKED) && said.contains("containers of weft-demo-"), "{said}");
    assert_eq!(inventory(&machine), before);
}

#[test]
fn docker_demo_uses_the_hosts_daemon_and_meddles_with_none_that_does_not_run() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    scene.create("blue", &["--subnet", "10.10.9.0/24"]);
    settle(&scene.machine);
    let before = inventory(&scene.machine);
    let said = demo(&scene.machine);
    assert!(said.contains(WORKED) && said.contains("with this host's daemon, 2 containers of box"), "{said}");
    assert_eq!(inventory(&scene.machine), before);
    assert!(scene.endpoints().is_empty());
    scene.await_health();
    let Scene { machine, daemon } = scene;
    drop(daemon);
    let said = demo(&machine);
    assert!(said.contains("- Docker Engine") && said.contains("start it first"), "{said}");
}

#[test]
fn docker_demo_that_is_interrupted_leaves_nothing_either() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let machine = engine(&underlay);
    let before = inventory(&machine);
    // While a network is made, and while containers are.
    for moment in [&["network", "ls"][..], &["ps", "-a"]] {
        let mut command = machine.command(&[&daemon::executable().display().to_string(), "demo"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("nsenter is installed");
        let ended = wait::within(LONG, || {
            let there = machine.docker(moment).must().contains("weft-demo-");
            let ended = child.try_wait().expect("our child").is_some();
            (there || ended).then_some(ended)
        });
        assert_eq!(ended, Some(false), "never saw it in {moment:?}");
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("it runs");
        let status = wait::within(LONG, || child.try_wait().expect("our child"));
        assert!(status.is_some_and(|status| !status.success()), "{status:?}");
        assert_eq!(inventory(&machine), before);
    }
}
