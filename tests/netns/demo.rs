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
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// One demo uses both cores of a small machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A demo moves real data; on a busy machine that takes its time.
const LONG: Duration = Duration::from_secs(240);

/// What there is of the demo with this process id: its namespaces, directories, links and processes. Demos name what
/// they make after themselves, so that several can run at once.
fn traces(demo: u32) -> Vec<String> {
    let names = [format!("wfd{demo:x}-"), format!("weft-demo-{demo:x}-")];
    let listed = |directory: &str| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().display().to_string()).collect::<Vec<_>>()
    };
    let temporary = std::env::temp_dir().display().to_string();
    let mut all: Vec<String> = ["/run/netns", "/run", "/sys/class/net", &temporary].map(listed).concat();
    all.extend(cmd::run("ps", &["-e", "-ww", "-o", "pid=,args="]).stdout.lines().map(str::to_owned));
    all.retain(|entry| names.iter().any(|name| entry.contains(name)));
    all
}

fn links() -> BTreeSet<String> {
    fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path().display().to_string())
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
fn nothing_is_left(links_before: &BTreeSet<String>, running: &Running) {
    let left = traces(running.child.id());
    assert!(left.is_empty(), "left behind: {left:?}\n{}", running.said());
    assert_eq!(&links(), links_before, "links came or went");
}

#[test]
fn the_demo_succeeds_and_leaves_nothing() {
    need!(Root, Tun);
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let before = links();
    let mut running = Running::start();
    assert_eq!(running.end(), Some(0), "{}", running.said());
    for part in ["Gb/s", "egress a1 -> outside", "published port, outside", "packet process is killed"] {
        assert!(running.said().contains(part), "no {part}:\n{}", running.said());
    }
    if !Path::new("/run/docker.sock").exists() {
        assert!(running.said().contains("skipped: no Docker Engine"), "{}", running.said());
    }
    nothing_is_left(&before, &running);
}

#[test]
fn an_interrupted_demo_leaves_nothing_either() {
    need!(Root, Tun);
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // While namespaces are made, when daemons run, in the middle of traffic, and of that outside.
    let moments = [
        ("/run/netns/", Signal::SIGINT),
        ("daemon --config", Signal::SIGTERM),
        ("ping", Signal::SIGINT),
        ("egress", Signal::SIGHUP),
    ];
    for (moment, signal) in moments {
        let before = links();
        let mut running = Running::start();
        let demo = running.child.id();
        let found = wait::within(LONG, || {
            let ended = running.child.try_wait().expect("our child").is_some();
            let there =
                running.said().contains(moment) || traces(demo).iter().any(|trace| trace.contains(moment));
            (ended || there).then_some(!ended)
        });
        assert_eq!(found, Some(true), "never saw {moment}:\n{}", running.said());
        kill(Pid::from_raw(demo as i32), signal).expect("it runs");
        assert_ne!(running.end(), Some(0), "an interrupted demo has not succeeded");
        nothing_is_left(&before, &running);
    }
}
