//! The daemon dies, ends, or is not alone.

use super::{Pings, Rig, create, end, is_gone, kill_and_wait, sockets_in};
use harness::daemon::Daemon;
use harness::need;
use harness::netns;
use harness::traffic;
use harness::underlay::UPLINK;
use harness::wait;
use harness::wire::{NETWORK, Wire};
use std::fs;

#[test]
fn when_it_is_killed_no_packet_is_lost() {
    need!(Root, Tun);
    let rig = Rig::start();
    let packets = rig.near.dataplane();
    let (mut near, mut far) = (Pings::start(&rig.a, &rig.b), Pings::start(&rig.c, &rig.b));
    kill_and_wait(rig.near.pid());
    assert_eq!((near.lost(), far.lost()), (0, 0));
    assert!(!is_gone(packets), "the packet process goes on");
    traffic::tcp_bulk(end(&rig.a), end(&rig.c), 16 << 20);
}

#[test]
fn when_both_are_killed_nothing_is_left_and_the_next_daemon_starts() {
    need!(Root, Tun);
    let Rig { near, _far, a, b, c: _c, underlay } = Rig::start();
    let (host, packets) = (&underlay.hosts[0].ns, near.dataplane());
    let directory = near.crash();
    kill_and_wait(packets);
    for container in [&a, &b] {
        wait::until_true("the TAP goes with its owners", || container.ns.links() == ["lo"]);
    }
    wait::until_true("so does the uplink", || host.links() == ["lo", UPLINK]);
    let next = Daemon::spawn_in(host, directory, &[]).ready();
    assert_ne!(next.dataplane(), packets);
}

#[test]
fn when_it_is_told_to_end_the_packet_process_ends_too() {
    need!(Root, Tun);
    let mut rig = Rig::start();
    let packets = rig.near.dataplane();
    assert_eq!(rig.near.terminate().code(), Some(0), "{}", rig.near.stderr());
    assert!(is_gone(packets));
    let log = rig.near.stderr();
    assert!(!log.contains("WARN") && !log.contains("panicked"), "{log}");
    assert_eq!(rig.a.ns.links(), ["lo"]);
    assert_eq!(rig.host().links(), ["lo", UPLINK]);
    assert_eq!(sockets_in(&rig.near.directory().join("run")), [""; 0]);
}

#[test]
fn with_live_restore_it_leaves_forwarding() {
    need!(Root, Tun);
    let mut rig = Rig::start_with(&["--live-restore"]);
    let packets = rig.near.dataplane();
    let mut pings = Pings::start(&rig.a, &rig.c);
    assert_eq!(rig.near.terminate().code(), Some(0), "{}", rig.near.stderr());
    assert_eq!(pings.lost(), 0);
    assert!(!is_gone(packets));
    assert_eq!(sockets_in(&rig.near.directory().join("run")), ["dataplane.sock"]);
    traffic::ping(end(&rig.b), end(&rig.c));
}

#[test]
fn the_next_daemon_gets_on_with_what_a_killed_one_has_left() {
    need!(Root, Tun);
    let Rig { near, _far, a, b: _b, c, underlay } = Rig::start();
    let next = Daemon::spawn_in(&underlay.hosts[0].ns, near.crash(), &[]).ready();
    if next.weft(&["network", "inspect", NETWORK]).code == Some(3) {
        // It knows nothing of the network, so nothing of it is left.
        assert_eq!(a.ns.links(), ["lo"]);
        create(&next);
        let line = ["network", "connect", NETWORK, &a.ns.path(), "--name", &a.name, "--ip", "10.77.0.11"];
        next.weft(&line).must();
    }
    traffic::ping(end(&a), end(&c));
}

#[test]
fn another_daemon_in_its_run_directory_is_refused_and_does_no_harm() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let packets = wire.daemon.dataplane();
    let directory = netns::scratch();
    let run_dir = format!("{}/run", wire.daemon.directory().display());
    let state_dir = directory.path().join("state").display().to_string();
    let first = fs::read_to_string(wire.daemon.directory().join("config.toml")).expect("we wrote it");
    let text = first.replace(&format!("{}/state", wire.daemon.directory().display()), &state_dir);
    assert_ne!(first, text);
    fs::write(directory.path().join("config.toml"), text).expect("our own directory");
    let outcome = Daemon::spawn_in(&wire.underlay.hosts[0].ns, directory, &[]).outcome();
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&run_dir), "{}", outcome.stderr);
    assert_eq!(wire.daemon.dataplane(), packets);
    assert_eq!(wire.daemon.json(&["status"])["dataplane_restarts"], 0);
}
