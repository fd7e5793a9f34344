//! `weft demo`: it works, and nothing is left of it, also when it is interrupted.

use harness::cmd;
use harness::daemon;
use harness::need;
use harness::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// Two demos at once would each see the other's namespaces as left behind.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A demo moves real data; on a busy machine that takes its time.
const LONG: Duration = Duration::from_secs(240);

/// Everything a demo might leave that has a name on this machine, but for what other tests make meanwhile.
fn inventory() -> BTreeSet<String> {
    let listed = |directory: &str| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().display().to_string()).collect::<Vec<_>>()
    };
    let mut all: BTreeSet<String> = listed("/run/netns").into_iter().collect();
    all.extend(
        listed(&std::env::temp_dir().display().to_string()).into_iter().filter(|path| path.contains("weft")),
    );
    all.extend(listed("/run").into_iter().filter(|path| path.contains("weft")));
    all.extend(listed("/sys/class/net"));
    let of_tests = [format!("/wt{}-", std::process::id()), "weft-test-".into()];
    all.retain(|name| !of_tests.iter().any(|part| name.contains(part)));
    all
}

/// The processes of a group that still run.
fn processes_of_group(group: i32) -> Vec<String> {
    let listed = cmd::run("ps", &["-e", "-o", "pgid=,pid=,stat=,args="]).stdout;
    let lines = listed.lines().map(str::trim).filter(|line| !line.contains(" Z"));
    lines
        .filter(|line| line.split_whitespace().next() == Some(&group.to_string()))
        .map(str::to_owned)
        .collect()
}

struct Running {
    child: std::process::Child,
    output: tempfile::TempDir,
}

impl Running {
    fn start() -> Self {
        let output = harness::netns::scratch();
        let open = |name: &str| File::create(output.path().join(name)).expect("our own directory");
        let child = Command::new(daemon::executable())
            .arg("demo")
            .env_clear()
            // It needs no program of the machine.
            .env("PATH", "/nonexistent")
            .env("TMPDIR", std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(open("stdout"))
            .stderr(open("stderr"))
            .process_group(0)
            .spawn()
            .expect("the executable is there");
        Running { child, output }
    }

    fn said(&self) -> String {
        ["stdout", "stderr"]
            .map(|name| fs::read_to_string(self.output.path().join(name)).unwrap_or_default())
            .join("")
    }

    #[track_caller]
    fn end(&mut self) -> Option<i32> {
        let ended = wait::within(LONG, || self.child.try_wait().expect("our child"));
        if ended.is_none() {
            let _ = kill(Pid::from_raw(-(self.child.id() as i32)), Signal::SIGKILL);
            panic!("the demo does not end:\n{}", self.said());
        }
        ended.and_then(|status| status.code())
    }
}

#[track_caller]
fn nothing_is_left(before: &BTreeSet<String>, running: &Running) {
    let left: Vec<String> = inventory().difference(before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:?}\n{}", running.said());
    let processes = processes_of_group(running.child.id() as i32);
    assert!(processes.is_empty(), "still running: {processes:?}");
}

#[test]
fn the_demo_succeeds_and_leaves_nothing() {
    need!(Root, Tun);
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let before = inventory();
    let mut running = Running::start();
    assert_eq!(running.end(), Some(0), "{}", running.said());
    assert!(
        running.said().contains("Gb/s") || running.said().contains("Gbit/s"),
        "no figures:\n{}",
        running.said()
    );
    nothing_is_left(&before, &running);
}

#[test]
fn an_interrupted_demo_leaves_nothing_either() {
    need!(Root, Tun);
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let before = inventory();
        let mut running = Running::start();
        // Half-way: both hosts have their namespaces and at least one daemon runs in one of them.
        let found = wait::within(LONG, || {
            let ended = running.child.try_wait().expect("our child").is_some();
            (ended || processes_of_group(running.child.id() as i32).len() > 1).then_some(!ended)
        });
        assert_eq!(found, Some(true), "the demo never got half-way:\n{}", running.said());
        kill(Pid::from_raw(running.child.id() as i32), signal).expect("it runs");
        assert_ne!(running.end(), Some(0), "an interrupted demo has not succeeded");
        nothing_is_left(&before, &running);
    }
}
