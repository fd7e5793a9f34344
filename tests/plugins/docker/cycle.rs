//! Many short lives, with kills in the middle: at the end there is what there was in the beginning.

use super::{Scene, underlay};
use harness::machine::{IMAGE, Machine};
use harness::need;
use harness::need::full;
use harness::netns::Namespace;
use harness::wait;
use nix::sys::signal::{Signal, kill};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// How long half an act may take on a machine that is busy with other tests.
const LONG: Duration = Duration::from_secs(600);

/// How many containers live in each of three acts.
fn lives() -> usize {
    if full() { 334 } else { 100 }
}

/// Everything that could be left behind: in the namespace, by the product, and of the engine's.
fn inventory(host: &Namespace, scene: &Scene<'_>) -> Vec<String> {
    let mut found = crate::inventory::inventory(host, &scene.daemon);
    let within = |script: &str| scene.machine.run(&["sh", "-c", script]).must();
    let filters = within("for i in /sys/class/net/*; do tc filter show dev ${i##*/} ingress; done");
    found.extend(filters.lines().map(|line| format!("filter {line}")));
    // The engine leaves files there for a while, with nothing behind them.
    let sandboxes = within("grep -c '^nsfs /run/docker' /proc/self/mounts || true");
    found.push(format!("sandboxes: {}", sandboxes.trim()));
    found
}

#[test]
fn docker_runs_leave_nothing_behind() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    scene.create("blue", &["--subnet", "10.10.0.0/16"]);
    // One life before the first look, for what an engine makes once.
    scene.docker(&["run", "--rm", "--net", "blue", IMAGE, "true"]);
    await_nothing(&scene);
    wait::until_true("the network has its name", || scene.daemon.weft(&["network", "inspect", "blue"]).ok());
    let host = &underlay.hosts[0].ns;
    let before = inventory(host, &scene);

    let packets = || scene.daemon.dataplane();
    act(&scene.machine, |life| {
        if life % 20 == 10 {
            kill(packets(), Signal::SIGKILL).expect("it runs");
        }
        assert!(live(&scene.machine, life), "life {life}:\n{}", scene.daemon.stderr());
    });
    await_nothing(&scene);
    assert_eq!(inventory(host, &scene), before, "after kills of the packet process");

    let (half, Scene { machine, daemon }) = (lives() / 2, scene);
    let (mut daemon, lived) = (Some(daemon), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            act(&machine, |life| {
                live(&machine, life);
                lived.fetch_add(1, Ordering::Relaxed);
            });
        });
        let lived = || (lived.load(Ordering::Relaxed) > half).then_some(());
        wait::within(LONG, lived).expect("half of them have lived");
        daemon = daemon.take().map(|daemon| machine.weft_in(daemon.crash(), &[]));
    });
    let mut scene = Scene { machine, daemon: daemon.expect("the next one") };
    sweep(&scene);
    await_nothing(&scene);
    assert_eq!(inventory(host, &scene), before, "after a kill of the daemon");

    act(&scene.machine, |life| {
        if life == half {
            kill(scene.machine.engine(), Signal::SIGKILL).expect("it runs");
        }
        live(&scene.machine, life);
    });
    scene.machine.stop_engine(Signal::SIGKILL);
    scene.machine.start_engine(&[]);
    sweep(&scene);
    await_nothing(&scene);
    // What was out for a container that never came is free again after half a minute.
    let same = wait::within(Duration::from_secs(60), || (inventory(host, &scene) == before).then_some(()));
    assert!(
        same.is_some(),
        "after a kill of the engine: {:?}, and before {before:?}",
        inventory(host, &scene)
    );
    assert!(live(&scene.machine, 0), "and it goes on");
    scene.await_health();
}

/// Lives, two at a time.
fn act(machine: &Machine<'_>, life: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let turn = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < lives());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| std::iter::from_fn(turn).for_each(&life));
        }
    });
    assert!(machine.run(&["true"]).ok(), "the machine is still there");
}

/// One container's life, which somebody may cut short; whether all went well.
fn live(machine: &Machine<'_>, number: usize) -> bool {
    let (port, name) = (format!("{}:80", 20_000 + number), format!("life{number}"));
    let line = ["--rm", "--name", &name, "--net", "blue", "-p", &port, IMAGE];
    if number % 10 != 5 {
        return machine.docker(&[&["run"], &line[..], &["true"]].concat()).ok();
    }
    let begun = machine.docker(&[&["run", "-d"], &line[..], &super::SERVE].concat());
    begun.ok() & machine.docker(&["kill", &name]).ok()
}

/// Removes what the engine still has of containers that were cut short.
fn sweep(scene: &Scene<'_>) {
    let left = scene.docker(&["ps", "-aq"]);
    let left: Vec<_> = left.lines().collect();
    if !left.is_empty() {
        // Some remove themselves meanwhile.
        scene.machine.docker(&[&["rm", "-f"], &left[..]].concat());
    }
}

#[track_caller]
fn await_nothing(scene: &Scene<'_>) {
    wait::until_true("nothing is connected", || scene.endpoints().is_empty());
}
