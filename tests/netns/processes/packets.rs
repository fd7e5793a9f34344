//! The packet process dies, and what it may do while it lives.

use super::{LinkWatch, Pings, Rig, end, kill_and_wait};
use harness::daemon::{self, Daemon};
use harness::need;
use harness::stream;
use harness::traffic;
use harness::wait;
use harness::wire::Wire;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

/// Waits for a packet process that is not `old`.
#[track_caller]
fn successor(daemon: &Daemon, old: Pid) -> Pid {
    wait::until("there is another packet process", || {
        let status = daemon.json(&["status"]);
        let pid = status["dataplane_pid"].as_i64().map(|pid| Pid::from_raw(pid as i32));
        pid.filter(|&pid| pid != old && status["ready"] == true)
    })
}

fn descriptors(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

#[test]
fn when_it_is_killed_pings_go_on_and_no_carrier_goes_down() {
    need!(Root, Tun);
    let rig = Rig::start();
    let watch = LinkWatch::start(&rig.a);
    let (mut near, mut far) = (Pings::start(&rig.a, &rig.b), Pings::start(&rig.a, &rig.c));
    let old = rig.near.dataplane();
    kill_and_wait(old);
    successor(&rig.near, old);
    let lost = (near.lost(), far.lost());
    // A tenth of them is half a second, most of which is the first look of a busy machine at the new process.
    assert!(lost.0 < Pings::COUNT / 10 && lost.1 < Pings::COUNT / 10, "{lost:?} pings are lost");
    watch.never_went_down();
}

#[test]
fn when_it_is_killed_tcp_sessions_go_on() {
    need!(Root, Tun);
    let rig = Rig::start();
    let watch = LinkWatch::start(&rig.b);
    thread::scope(|scope| {
        let (a, b, c) = (&rig.a, &rig.b, &rig.c);
        let near = scope.spawn(|| stream::carry(end(a), end(b), 2_000));
        let far = scope.spawn(|| stream::carry(end(c), end(a), 2_000));
        for _ in 0..3 {
            let before = rig.near.stats().packets;
            wait::until_true("frames flow, or have flowed", || {
                rig.near.stats().packets > before + 100 || (near.is_finished() && far.is_finished())
            });
            let old = rig.near.dataplane();
            kill_and_wait(old);
            successor(&rig.near, old);
        }
    });
    watch.never_went_down();
}

#[test]
fn after_it_has_died_everything_works_as_before() {
    need!(Root, Tun);
    let rig = Rig::start();
    let old = rig.near.dataplane();
    kill_and_wait(old);
    successor(&rig.near, old);
    let status = rig.near.json(&["status"]);
    assert_eq!(status["dataplane_restarts"], 1);
    assert_eq!(status["dataplane_reason"], Value::Null);
    traffic::ping(end(&rig.b), end(&rig.c));
    let line = ["network", "disconnect", super::NETWORK, &rig.b.name];
    rig.near.weft(&line).must();
    assert_eq!(rig.b.ns.links(), ["lo"], "both processes have closed the TAP");
    let again = super::Container::connect(&rig.near, super::NETWORK, 14, &[]);
    traffic::ping(end(&again), end(&rig.c));
    assert!(rig.near.weft(&["fdb", "show"]).must().contains("c14"));
}

#[test]
fn one_that_keeps_dying_is_restarted_more_slowly_and_nothing_leaks() {
    need!(Root, Tun);
    let rig = Rig::start();
    let first = rig.near.dataplane();
    kill_and_wait(first);
    let mut pid = successor(&rig.near, first);
    let (ours, theirs) = (rig.near.descriptors(), descriptors(pid));
    for _ in 0..19 {
        kill_and_wait(pid);
        pid = successor(&rig.near, pid);
    }
    assert!(rig.near.stderr().contains("times within"), "{}", rig.near.stderr());
    wait::until_true("the daemon has closed what it had for the dead", || rig.near.descriptors() <= ours);
    wait::until_true("the last has what the first had", || descriptors(pid) <= theirs);
    traffic::ping(end(&rig.a), end(&rig.b));
}

#[test]
fn one_that_stands_still_is_replaced() {
    need!(Root, Tun);
    let rig = Rig::start();
    let old = rig.near.dataplane();
    kill(old, Signal::SIGSTOP).expect("it runs");
    successor(&rig.near, old);
    traffic::ping(end(&rig.a), end(&rig.c));
}

fn open_files(pid: &str) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
    entries.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string())).collect()
}

#[test]
fn it_has_no_privileges_and_has_opened_nothing() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let _container = wire.container(11);
    let pid = wire.daemon.dataplane();
    let threads: Vec<_> = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten().collect();
    assert!(threads.len() > 1, "the workers are threads");
    for thread in threads {
        let status = fs::read_to_string(thread.path().join("status")).expect("it runs");
        for line in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(status.contains(&format!("{line}:\t0000000000000000\n")), "{line} in {status}");
        }
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    }
    // Whatever started this test may have handed something down.
    let inherited = open_files("self");
    let own_files = wire.daemon.directory().display().to_string();
    let known = ["socket:", "anon_inode:", "/dev/net/tun", "/dev/null", "/memfd:weft-sessions", &own_files];
    for target in open_files(&pid.to_string()) {
        let expected = known.iter().any(|known| target.starts_with(known)) || inherited.contains(&target);
        assert!(expected, "{target} is open");
    }
    let socket = wire.daemon.directory().join("run/dataplane.sock");
    let mode = fs::metadata(socket).expect("the socket is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn it_is_no_command_for_people() {
    need!(Root);
    let outcome = daemon::weft(&["dataplane"]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("weft daemon") && outcome.stderr.lines().count() == 1,
        "{}",
        outcome.stderr
    );
    assert!(!daemon::weft(&["--help"]).must().contains("dataplane"));
}

#[test]
fn at_rest_both_processes_are_small() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let _container = wire.container(11);
    let resident = |pid: Pid| -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("every process has one");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    };
    let (control, packets) = (resident(wire.daemon.pid()), resident(wire.daemon.dataplane()));
    assert!(control + packets < 64 << 10, "{control} KiB and {packets} KiB");
}
