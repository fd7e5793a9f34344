//! What a daemon leaves on record, and what its successor makes of that, however it ended.

use harness::cmd;
use harness::daemon::{Config, Daemon};
use harness::need;
use harness::netns::Namespace;
use harness::random::Random;
use harness::traffic;
use harness::underlay::{Family, Offloads, Underlay};
use harness::wait;
use harness::wire::{Container, NETWORK};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often a daemon is killed under load, and after how many milliseconds at most.
const KILLS: usize = 6;
const LIFETIME_MAX: usize = 400;

/// A host with a daemon that has the network of every test.
struct Scene {
    underlay: Underlay,
    daemon: Option<Daemon>,
}

impl Scene {
    fn new() -> Self {
        let underlay = Underlay::new(2, Family::V4, Offloads::On);
        let config = Config::new(underlay.hosts[0].address, &[underlay.hosts[1].address]);
        let daemon = Daemon::start(&underlay.hosts[0].ns, &config);
        let line =
            ["network", "create", NETWORK, "-d", "overlay", "--subnet", "10.77.0.0/24", "--vni", "7001"];
        daemon.weft(&line).must();
        Scene { underlay, daemon: Some(daemon) }
    }

    fn host(&self) -> &Namespace {
        &self.underlay.hosts[0].ns
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("a daemon runs")
    }

    /// Ends the daemon in good order or by SIGKILL, does `meanwhile`, and starts the next.
    fn succeed(&mut self, politely: bool, meanwhile: impl FnOnce()) {
        let former = self.daemon.take().expect("a daemon runs");
        let directory = if politely { former.end() } else { former.crash() };
        meanwhile();
        self.daemon = Some(Daemon::spawn_in(self.host(), directory, &[]).ready());
    }

    /// What is told of every endpoint.
    fn endpoints(&self) -> Vec<Value> {
        self.daemon().json(&["endpoint", "ls"]).as_array().expect("an array").clone()
    }

    /// The doctor finds nothing, at the latest when the daemon has looked again.
    fn is_sound(&self) {
        let mut said = String::new();
        let sound = wait::within(wait::PATIENCE, || {
            let outcome = self.daemon().weft(&["doctor"]);
            said.clone_from(&outcome.stdout);
            outcome.ok().then_some(())
        });
        assert!(sound.is_some(), "the doctor says: {said}\n{}", self.daemon().stderr());
    }
}

fn ping(from: &Container, to: &Container) {
    let [from, to] = [from, to].map(|end| traffic::End { ns: &end.ns, ip: end.station.ip.into() });
    traffic::ping(from, to);
}

#[test]
fn networks_and_endpoints_outlive_their_daemon() {
    need!(Root, Tun);
    let mut scene = Scene::new();
    let [a, b] = [11, 12].map(|number| Container::connect(scene.daemon(), NETWORK, number, &[]));
    let networks = scene.daemon().json(&["network", "ls"]);
    for politely in [true, false] {
        let before = scene.endpoints();
        scene.succeed(politely, || match politely {
            true => wait::until_true("the interfaces go with the daemon", || a.ns.links() == ["lo"]),
            false => ping(&a, &b),
        });
        assert_eq!(scene.endpoints(), before, "politely: {politely}");
        assert_eq!(scene.daemon().json(&["network", "ls"]), networks);
        assert_eq!((a.ns.mac("eth0"), b.ns.mac("eth0")), (a.station.mac, b.station.mac));
        ping(&a, &b);
        scene.is_sound();
    }
}

#[test]
fn an_endpoint_dies_with_its_namespace_even_if_another_has_the_name_now() {
    need!(Root, Tun);
    let mut scene = Scene::new();
    let [reborn, stays] = [11, 12].map(|number| Container::connect(scene.daemon(), NETWORK, number, &[]));
    let gone = Container::connect(scene.daemon(), NETWORK, 13, &[]);
    let lost = Container::connect(scene.daemon(), NETWORK, 14, &[]);
    let names = |scene: &Scene| -> Vec<Value> {
        scene.endpoints().iter().map(|endpoint| endpoint["name"].clone()).collect()
    };
    // While nobody looks, but packets are switched.
    scene.succeed(false, || drop(lost));
    wait::until_true("who died meanwhile is released", || names(&scene).len() == 3);
    let name = reborn.ns.name().to_owned();
    scene.succeed(true, || {
        drop(gone);
        cmd::run("ip", &["netns", "del", &name]).must();
        cmd::run("ip", &["netns", "add", &name]).must();
    });
    assert_eq!(names(&scene), [stays.name.as_str()]);
    assert_eq!(reborn.ns.links(), ["lo"], "the new namespace was given what the old one had");
    assert!(scene.daemon().stderr().contains("is another one now"), "{}", scene.daemon().stderr());
    Container::connect(scene.daemon(), NETWORK, 11, &[]);
    scene.is_sound();
}

#[test]
fn a_link_that_somebody_deletes_is_put_back() {
    need!(Root, Tun);
    let scene = Scene::new();
    let [a, b] = [11, 12].map(|number| Container::connect(scene.daemon(), NETWORK, number, &[]));
    let before = scene.endpoints();
    a.ns.ip(&["link", "del", "eth0"]);
    wait::until_true("eth0 is back", || a.ns.link("eth0").is_some());
    scene.is_sound();
    assert_eq!((scene.endpoints(), a.ns.mac("eth0")), (before, a.station.mac));
    ping(&a, &b);
}

#[test]
fn what_was_removed_stays_removed() {
    need!(Root, Tun);
    let mut scene = Scene::new();
    let [a, b] = [11, 12].map(|number| Container::connect(scene.daemon(), NETWORK, number, &[]));
    scene.daemon().weft(&["network", "disconnect", NETWORK, &a.name]).must();
    scene.succeed(false, || {});
    assert_eq!((a.ns.links(), scene.endpoints().len()), (vec!["lo".to_owned()], 1));
    scene.daemon().weft(&["network", "rm", NETWORK]).must();
    scene.succeed(false, || {});
    assert_eq!(b.ns.links(), ["lo"]);
    assert_eq!(scene.daemon().weft(&["network", "inspect", NETWORK]).code, Some(3));
    scene.is_sound();
}

#[test]
fn a_daemon_killed_at_any_moment_under_load_leaves_nothing_half_made() {
    need!(Root, Tun);
    let mut scene = Scene::new();
    let bystander = Container::connect(scene.daemon(), NETWORK, 11, &[]);
    let links = scene.host().links().len();
    let namespaces: Vec<Namespace> = (0..3).map(|_| Namespace::new("load")).collect();
    let mut random = Random::new(7);
    for _ in 0..KILLS {
        let lifetime = Duration::from_millis(random.below(LIFETIME_MAX) as u64);
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            for ns in &namespaces {
                let (daemon, ended, path) = (scene.daemon(), &ended, ns.path());
                scope.spawn(move || {
                    while !ended.load(Ordering::Relaxed) {
                        daemon.weft(&["network", "connect", NETWORK, &path]);
                        daemon.weft(&["network", "disconnect", NETWORK, ns.name()]);
                    }
                });
            }
            // Not awaiting anything: the moment is to be a random one.
            thread::sleep(lifetime);
            kill(scene.daemon().pid(), Signal::SIGKILL).expect("the daemon runs");
            ended.store(true, Ordering::Relaxed);
        });
        scene.succeed(false, || {});
        scene.is_sound();
        let on_record: Vec<_> = scene.endpoints().iter().map(|e| e["netns"].clone()).collect();
        for ns in &namespaces {
            let expected: &[&str] =
                if on_record.contains(&ns.path().into()) { &["eth0", "lo"] } else { &["lo"] };
            assert_eq!(ns.links(), expected, "{on_record:?}");
        }
        assert_eq!(scene.host().links().len(), links, "{:?}", scene.host().links());
        assert_eq!(bystander.ns.mac("eth0"), bystander.station.mac);
    }
    for ns in &namespaces {
        scene.daemon().weft(&["network", "disconnect", NETWORK, ns.name()]);
        scene.daemon().weft(&["network", "connect", NETWORK, &ns.path()]).must();
    }
    assert_eq!(scene.endpoints().len(), 4);
    scene.is_sound();
}

#[test]
fn the_doctor_looks_at_interfaces_too() {
    need!(Root, Tun);
    let scene = Scene::new();
    let container = Container::connect(scene.daemon(), NETWORK, 11, &[]);
    scene.is_sound();
    container.ns.ip(&["link", "set", "eth0", "mtu", "1300"]);
    container.ns.ip(&["address", "del", "10.77.0.11/24", "dev", "eth0"]);
    container.ns.ip(&["link", "set", "eth0", "down"]);
    let outcome = scene.daemon().weft(&["doctor", "--format", "json"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let findings: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    let findings = findings.as_array().expect("an array");
    assert_eq!(findings.len(), 3, "{findings:?}");
    for finding in findings {
        let remedy = finding["remedy"].as_str().expect("a text");
        let command = remedy.trim_matches('\'');
        let words: Vec<&str> = command.split(' ').collect();
        cmd::run(words[0], &words[1..]).must();
    }
    scene.is_sound();
}

#[test]
fn the_doctor_tells_what_is_wrong() {
    need!(Root, Tun);
    let mut scene = Scene::new();
    let container = Container::connect(scene.daemon(), NETWORK, 11, &[]);
    assert_eq!(scene.daemon().json(&["doctor"]), serde_json::json!([]));
    scene.succeed(true, || {
        wait::until_true("the TAP goes with its owner", || container.ns.links() == ["lo"]);
        container.ns.ip(&["link", "add", "eth0", "type", "veth", "peer", "name", "other"]);
    });
    let outcome = scene.daemon().weft(&["doctor", "--format", "json"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let findings: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    let what = findings[0]["what"].as_str().expect("a text");
    assert!(what.contains("endpoint 'c11'") && what.contains("eth0 exists already"), "{what}");
    assert!(findings[0]["remedy"].as_str().is_some_and(|remedy| remedy.contains("weft network disconnect")));
    container.ns.ip(&["link", "del", "eth0"]);
    scene.is_sound();
    assert_eq!(container.ns.mac("eth0"), container.station.mac);
}
