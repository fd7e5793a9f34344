//! Many at once, many in a row, and a crash: nothing is lost, doubled or left behind.

use harness::daemon::{Config, Daemon};
use harness::need;
use harness::netns::Namespace;
use harness::underlay::{Family, Offloads, Underlay};
use harness::wait;
use harness::wire::{Container, NETWORK, Wire};
use std::collections::BTreeSet;
use std::thread;

#[test]
fn containers_that_connect_at_the_same_time_get_an_address_each() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let namespaces: Vec<Namespace> = (0..24).map(|_| Namespace::new("crowd")).collect();
    thread::scope(|scope| {
        for (number, ns) in namespaces.iter().enumerate() {
            let daemon = &wire.daemon;
            scope.spawn(move || {
                let name = format!("crowd{number}");
                daemon.weft(&["network", "connect", NETWORK, &ns.path(), "--name", &name]).must();
            });
        }
    });
    let list = wire.daemon.json(&["endpoint", "ls"]);
    let rows = list.as_array().expect("an array");
    let of = |key: &str| rows.iter().map(|row| row[key].to_string()).collect::<BTreeSet<_>>();
    assert_eq!(
        (rows.len(), of("name").len(), of("mac").len(), of("addresses").len()),
        (24, 24, 24, 24),
        "{list}"
    );
}

#[test]
fn of_two_that_want_one_address_at_the_same_time_one_gets_it() {
    need!(Root, Tun);
    let wire = Wire::blue();
    for round in 0..5 {
        let rivals = [Namespace::new("rival"), Namespace::new("rival")];
        let codes: Vec<Option<i32>> = thread::scope(|scope| {
            let connect = |number: usize| {
                let (daemon, path) = (&wire.daemon, rivals[number].path());
                scope.spawn(move || {
                    let name = format!("rival{round}{number}");
                    let ip = format!("10.77.0.{}", 20 + round);
                    daemon.weft(&["network", "connect", NETWORK, &path, "--name", &name, "--ip", &ip]).code
                })
            };
            [0, 1].map(connect).into_iter().map(|rival| rival.join().expect("no panic")).collect()
        });
        let mut sorted = codes.clone();
        sorted.sort();
        assert_eq!(sorted, [Some(0), Some(4)], "one is done, the other a conflict");
        let loser = &rivals[codes.iter().position(|code| *code == Some(4)).expect("one lost")];
        assert_eq!(loser.links(), ["lo"]);
    }
}

#[test]
fn connecting_and_disconnecting_many_times_leaks_nothing() {
    need!(Root, Tun);
    let wire = Wire::blue();
    drop(wire.container(11));
    wait::until_true("the first is gone", || wire.daemon.json(&["endpoint", "ls"]) == serde_json::json!([]));
    let (descriptors, links) = (wire.daemon.descriptors(), wire.underlay.hosts[0].ns.links());
    for _ in 0..30 {
        let container = wire.container(11);
        wire.daemon.weft(&["network", "disconnect", NETWORK, &container.name]).must();
        assert_eq!(container.ns.links(), ["lo"]);
    }
    wait::until_true("every descriptor is closed", || wire.daemon.descriptors() <= descriptors);
    assert_eq!(wire.underlay.hosts[0].ns.links(), links);
}

#[test]
fn the_same_interface_comes_back_as_often_as_it_went() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let container = wire.container(11);
    for _ in 0..20 {
        wire.daemon.weft(&["network", "disconnect", NETWORK, &container.name]).must();
        assert_eq!(container.ns.links(), ["lo"]);
        let path = container.ns.path();
        wire.daemon.weft(&["network", "connect", NETWORK, &path, "--name", &container.name]).must();
        assert_eq!(container.ns.links(), ["eth0", "lo"]);
    }
}

#[test]
fn after_a_crash_the_next_daemon_starts() {
    need!(Root, Tun);
    let underlay = Underlay::new(2, Family::V4, Offloads::On);
    let [host, peer] = underlay.hosts.as_slice() else { panic!("two hosts were made") };
    let line = ["network", "create", NETWORK, "-d", "overlay", "--subnet", "10.77.0.0/24", "--vni", "7001"];
    let daemon = Daemon::start(&host.ns, &Config::new(host.address, &[peer.address]));
    daemon.weft(&line).must();
    let _container = Container::connect(&daemon, NETWORK, 11, &[]);
    let directory = daemon.crash();
    let next = Daemon::spawn_in(&host.ns, directory, &[]).ready();
    drop(Container::connect(&next, NETWORK, 12, &[]));
}
