//! `weft demo` as a user meets it: it works, and whenever it is stopped it leaves nothing. Needs root; elsewhere each
//! test says that it was skipped.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use weft::sandbox::host::{check_privileges, check_tun};

/// Longer than the demonstration takes with unoptimised code on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

fn skipped() -> bool {
    let reason = check_privileges().and_then(|()| check_tun());
    if let Err(reason) = &reason {
        eprintln!("skipped: {reason}");
    }
    reason.is_err()
}

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.arg("demo").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for the end, at most [`LIMIT`].
fn finish(mut child: Child) -> Output {
    let deadline = Instant::now() + LIMIT;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("not through after {LIMIT:?}: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

/// What the demonstration of this process has left: namespaces, files, processes.
fn left_behind(pid: u32) -> Vec<String> {
    let names = |directory: &str| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().display().to_string()).collect::<Vec<_>>()
    };
    let mut left = names("/run/netns");
    left.retain(|path| path.starts_with(&format!("/run/netns/wfd{pid:x}-")));
    let of_demo = |process: &String| {
        let line = fs::read(format!("{process}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&format!("/run/weft-demo-{pid:x}-"))
    };
    left.extend(names("/proc").into_iter().filter(of_demo));
    left.extend(names("/run").into_iter().filter(|path| path.contains(&format!("/weft-demo-{pid:x}-"))));
    left
}

#[test]
fn everything_works_and_nothing_is_left() {
    if skipped() {
        return;
    }
    let child = demo().spawn().unwrap();
    let pid = child.id();
    let output = finish(child);
    let (said, shown) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{said}\n{shown}");
    let parts =
        ["ping a1 -> b1", "TCP b1 -> a1", "broadcast", "isolation", "egress a1 -> outside", "published port"];
    for part in parts.into_iter().chain(["kernel vxlan", "is killed", "clean-up"]) {
        assert!(said.contains(part) && shown.contains(part), "{part} is missing:\n{said}\n{shown}");
    }
    assert!(shown.contains("o saw 198.18.1.1:"), "the host's address stands for the container:\n{shown}");
    assert!(shown.contains("a1 saw 198.18.1.2:"), "a client's address is preserved:\n{shown}");
    assert!(shown.contains(" 0 failed"), "{shown}");
    assert!(!shown.contains('\x1b') && !said.contains('\x1b'), "no colour into a pipe");
    assert_eq!(left_behind(pid), Vec::<String>::new());
}

/// From the first namespace to the traffic outside, by each signal that people send.
#[test]
fn whenever_it_is_stopped_nothing_is_left() {
    if skipped() {
        return;
    }
    // The first may come before there is a handler: TERM, because what a shell runs in the background ignores INT then.
    let early = [(5, Signal::TERM), (150, Signal::TERM), (400, Signal::HUP), (900, Signal::INT)];
    let late = [(2_500, Signal::TERM), (4_000, Signal::HUP)];
    for (milliseconds, signal) in early.into_iter().chain(late) {
        let child = demo().spawn().unwrap();
        let pid = child.id();
        // The moment itself is what is tested; there is nothing to wait for.
        std::thread::sleep(Duration::from_millis(milliseconds));
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = finish(child);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "stopped after {milliseconds} ms, it says that all worked: {said}");
        assert_eq!(left_behind(pid), Vec::<String>::new(), "after {milliseconds} ms: {said}");
    }
}

#[test]
fn without_root_it_says_so_in_one_line() {
    if skipped() {
        return;
    }
    let output = finish(demo().uid(65_534).spawn().unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("root"), "{said}");
}
