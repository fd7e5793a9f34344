//! Many short lives, with kills in the middle: at the end there is what there was in the beginning.

use super::{Scene, underlay};
use harness::cmd;
use harness::machine::IMAGE;
use harness::need;
use harness::need::full;
use harness::wait;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many containers live.
fn lives() -> usize {
    if full() { 1_000 } else { 300 }
}

/// Everything that could be left behind.
#[derive(Debug, PartialEq, Eq)]
struct Inventory {
    links: Vec<String>,
    filters: String,
    sockets: Vec<String>,
    keys: BTreeSet<String>,
    namespaces: String,
}

fn inventory(scene: &Scene<'_>) -> Inventory {
    let within = |words: &[&str]| scene.machine.run(words).must();
    let sockets = within(&["ss", "-Hlntu"]);
    let listening = |line: &str| line.split_whitespace().nth(4).map(str::to_owned);
    let mut sockets: Vec<_> = sockets.lines().filter_map(listening).collect();
    sockets.sort();
    let socket = scene.daemon.socket().display().to_string();
    let store = cmd::run("curl", &["-s", "--unix-socket", &socket, "http://weft/v1/store"]).must();
    let store: Value = serde_json::from_str(&store).expect("a backup is JSON");
    let keys = store["entries"].as_array().expect("entries").iter();
    let links = within(&["ip", "-o", "link"]);
    // An index that went up says nothing.
    let name = |line: &str| line.split(": ").nth(1).map(str::to_owned);
    Inventory {
        links: links.lines().filter_map(name).collect(),
        filters: within(&[
            "sh",
            "-c",
            "for i in /sys/class/net/*; do tc filter show dev ${i##*/} ingress; done",
        ]),
        sockets,
        keys: keys.filter_map(|entry| entry["key"].as_str().map(str::to_owned)).collect(),
        // The engine leaves files there for a while, with nothing behind them.
        namespaces: within(&["sh", "-c", "grep -c '^nsfs /run/docker' /proc/self/mounts || true"]),
    }
}

#[test]
fn docker_runs_leave_nothing_behind() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    scene.create("blue", &["--subnet", "10.10.0.0/16"]);
    // One life before the first look, for what an engine makes once.
    scene.docker(&["run", "--rm", "--net", "blue", IMAGE, "true"]);
    let settled = || scene.endpoints().is_empty();
    wait::until_true("nothing is connected", settled);
    wait::until_true("the network has its name", || scene.daemon.weft(&["network", "inspect", "blue"]).ok());
    let before = inventory(&scene);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| live(&scene, &next));
        }
    });
    wait::until_true("nothing is connected any more", settled);
    assert_eq!(inventory(&scene), before);
    scene.await_health();
}

/// Lives one life after the other; now and then the packet process dies, or a container is killed in the middle of one.
fn live(scene: &Scene<'_>, next: &AtomicUsize) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= lives() {
            return;
        }
        let port = format!("{}:80", 20_000 + number);
        let name = format!("life{number}");
        match number % 50 {
            // Somebody kills what is inside.
            10 => {
                scene.serve(&name, &["--rm", "--net", "blue", "-p", &port]);
                scene.docker(&["kill", &name]);
            }
            // Somebody kills the packet process.
            30 => {
                let _ = kill(scene.daemon.dataplane(), Signal::SIGKILL);
                scene.docker(&["run", "--rm", "--net", "blue", "-p", &port, IMAGE, "true"]);
            }
            _ => {
                scene.docker(&["run", "--rm", "--net", "blue", "-p", &port, IMAGE, "true"]);
            }
        }
    }
}
