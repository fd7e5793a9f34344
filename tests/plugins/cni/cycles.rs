//! Hundreds of containers come and go, some calls and the daemon itself are killed meanwhile, and nothing is left behind.

use super::client::{Call, Scene};
use crate::inventory::inventory;
use harness::daemon::Daemon;
use harness::need;
use harness::netns::Namespace;
use harness::random::Random;
use harness::wait;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// How many containers there are at once.
const AT_ONCE: usize = 2;

/// Every so many calls of ADD, the plugin is killed.
const KILLED: usize = 9;

/// Every so many containers, the namespace goes before the runtime calls DEL.
const SUDDEN: usize = 7;

/// A worker of the runtime: one container after another.
struct Worker<'a> {
    scene: &'a Place<'a>,
    own: Namespace,
    config: Value,
    random: Random,
}

/// What the workers share.
struct Place<'a> {
    host: &'a Namespace,
    plugins: &'a TempDir,
    done: AtomicUsize,
    /// Containers whose ADD was killed: what the daemon has heard of it may come after DEL.
    killed: Mutex<BTreeSet<String>>,
    refusals: Mutex<Vec<(u64, String)>>,
}

impl<'a> Worker<'a> {
    fn new(scene: &'a Place<'a>, config: &Value, number: usize) -> Self {
        let mut config = config.clone();
        let mapping = json!([{"hostPort": 8080 + number, "containerPort": 80, "protocol": "tcp"}]);
        config["runtimeConfig"]["portMappings"] = mapping;
        Worker { scene, own: Namespace::new("own"), config, random: Random::new(number as u64 + 1) }
    }

    /// One container's life.
    fn cycle(&mut self, number: usize) {
        let fresh = number.is_multiple_of(SUDDEN).then(|| Namespace::new("sudden"));
        let netns = fresh.as_ref().unwrap_or(&self.own).path();
        let id = format!("cycle-{number}");
        let call = |verb: &str| {
            let call = Call::new(self.scene.host, self.scene.plugins, verb, &self.config);
            call.set("CNI_CONTAINERID", &id).set("CNI_NETNS", &netns).set("CNI_IFNAME", "eth0")
        };
        let (add, del) = (call("ADD"), call("DEL"));
        if number.is_multiple_of(KILLED) {
            self.scene.killed.lock().expect("no panic").insert(id.clone());
            let mut child = add.spawn();
            // Wherever it is then.
            thread::sleep(Duration::from_micros(self.random.below(12_000) as u64));
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        } else {
            let answer = add.make();
            if answer.code != Some(0) {
                self.scene.refusals.lock().expect("no panic").push(answer.refusal());
            }
        }
        drop(fresh);
        wait::until_true("DEL is done", || {
            let answer = del.make();
            if answer.code != Some(0) {
                let (code, message) = answer.refusal();
                assert_eq!(code, 11, "{message}");
            }
            answer.code == Some(0)
        });
        self.scene.done.fetch_add(1, Ordering::SeqCst);
    }
}

/// Kills the daemon, and starts it again over what it left.
fn replace(daemon: Daemon, host: &Namespace) -> Daemon {
    Daemon::spawn_in(host, daemon.crash(), &[]).ready()
}

#[test]
fn hundreds_of_containers_and_kills_leave_nothing_behind() {
    need!(Root, Tun);
    let cycles = if need::full() { 1_000 } else { 300 };
    let scene = Scene::start();
    let config = scene.config(json!({"subnet": "10.84.0.0/24", "cni.dev/valid-attachments": []}));
    let Scene { underlay, mut daemon, plugins } = scene;
    let host = &underlay.hosts[0].ns;
    let place = Place {
        host,
        plugins: &plugins,
        done: AtomicUsize::new(0),
        killed: Mutex::default(),
        refusals: Mutex::default(),
    };
    let mut workers: Vec<_> = (0..AT_ONCE).map(|number| Worker::new(&place, &config, number)).collect();
    // The network stays, and so does what a daemon has after its first container.
    workers.iter_mut().for_each(|worker| worker.cycle(1));
    daemon = replace(daemon, host);
    let before = inventory(host, &daemon);
    let next = AtomicUsize::new(2);
    let daemon = thread::scope(|scope| {
        for worker in &mut workers {
            let next = &next;
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= cycles {
                        break;
                    }
                    worker.cycle(number);
                }
            });
        }
        for kill in 1..=3 {
            let far_enough = || place.done.load(Ordering::SeqCst) >= cycles * kill / 4;
            wait::within(10 * wait::PATIENCE, || far_enough().then_some(()))
                .expect("the containers come and go");
            daemon = replace(daemon, host);
        }
        daemon
    });
    let refusals = place.refusals.into_inner().expect("no panic");
    let strange: Vec<_> = refusals.iter().filter(|(code, _)| *code != 11).collect();
    assert!(strange.is_empty(), "only a daemon that is gone is a reason to fail: {strange:?}");
    assert!(refusals.len() < cycles / 4, "most containers are made: {refusals:?}");

    let killed = place.killed.into_inner().expect("no panic");
    let left: Value = serde_json::from_str(&daemon.get("/v1/endpoints")).expect("JSON");
    for endpoint in left.as_array().expect("an array") {
        let of = endpoint["labels"]["weft.cni/container"].as_str().expect("ours");
        assert!(killed.contains(of), "DEL of {of} was done, and it is there: {endpoint}");
    }
    Call::new(host, &plugins, "GC", &config).nothing();
    // Sessions and reserved ports of the last containers may end a moment later.
    let settled = || (inventory(host, &daemon) == before).then_some(());
    let _ = wait::within(wait::PATIENCE, settled);
    assert_eq!(inventory(host, &daemon), before);
    assert!(daemon.weft(&["doctor"]).ok());
}
