//! Restarts and kills, of the engine and of the product: containers keep their connectivity, and nothing leaks.

use super::{Scene, seen_by, underlay};
use harness::machine::Machine;
use harness::need;
use harness::underlay::Underlay;
use harness::wait;
use nix::sys::signal::{Signal, kill};

/// A scene with a container that publishes a port and one beside it.
fn furnished(underlay: &Underlay) -> Scene<'_> {
    let scene = Scene::on(underlay, 0);
    scene.create("blue", &["--subnet", "10.10.13.0/24"]);
    scene.serve("web", &["--net", "blue", "-p", "8080:80", "--restart", "always"]);
    scene.serve("c2", &["--net", "blue", "--restart", "always"]);
    scene.await_endpoints(2);
    scene
}

/// That everything of [`furnished`] works.
#[track_caller]
fn works(scene: &Scene<'_>, underlay: &Underlay) {
    scene.await_endpoints(2);
    assert_eq!(scene.seen_from("c2", "web"), scene.address("c2", "blue"));
    let published = format!("{}:8080", underlay.hosts[0].address);
    let outside = &underlay.hosts[1];
    let seen = wait::until("the port answers", || seen_by(&outside.ns, &published));
    assert_eq!(seen, outside.address.to_string());
    wait::until("the port answers its host", || seen_by(&underlay.hosts[0].ns, "127.0.0.1:8080"));
    scene.await_health();
}

#[test]
fn docker_crashes_of_the_product_are_not_noticed() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let Scene { machine, daemon } = furnished(&underlay);
    // Another daemon takes the packet process over, interfaces and all.
    let directory = daemon.crash();
    let scene = Scene { daemon: machine.weft_in(directory, &[]), machine };
    works(&scene, &underlay);
    // Another packet process takes the interfaces over.
    kill(scene.daemon.dataplane(), Signal::SIGKILL).expect("it runs");
    works(&scene, &underlay);
    // All interfaces go, and are made again in the containers.
    let Scene { machine, daemon } = scene;
    let directory = daemon.end();
    let scene = Scene { daemon: machine.weft_in(directory, &[]), machine };
    works(&scene, &underlay);
    scene.docker(&["restart", "-t", "0", "c2"]);
    works(&scene, &underlay);
    scene.docker(&["rm", "-f", "web", "c2"]);
    assert!(scene.endpoints().is_empty());
}

#[test]
fn docker_crashes_of_the_engine_leave_nothing_behind() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let mut scene = furnished(&underlay);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        scene.machine.stop_engine(signal);
        scene.machine.start_engine(&[]);
        works(&scene, &underlay);
    }
    scene.docker(&["rm", "-f", "web", "c2"]);
    wait::until_true("no endpoint is left", || scene.endpoints().is_empty());
    scene.docker(&["network", "rm", "blue"]);
    scene.await_health();
}

#[test]
fn docker_containers_live_on_without_their_engine() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let mut machine = Machine::new(&underlay.hosts[0].ns);
    let config = harness::daemon::Config::new(underlay.hosts[0].address, &[]);
    let daemon = machine.weft(&config);
    machine.start_engine(&["--live-restore"]);
    let mut scene = Scene { machine, daemon };
    scene.create("blue", &["--subnet", "10.10.13.0/24"]);
    scene.serve("web", &["--net", "blue", "-p", "8080:80"]);
    scene.serve("c2", &["--net", "blue"]);
    works(&scene, &underlay);
    let published = format!("{}:8080", underlay.hosts[0].address);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        scene.machine.stop_engine(signal);
        wait::until("the port answers without the engine", || seen_by(&underlay.hosts[1].ns, &published));
        scene.await_endpoints(2);
        scene.machine.start_engine(&["--live-restore"]);
        works(&scene, &underlay);
    }
    scene.docker(&["rm", "-f", "web", "c2"]);
    assert!(scene.endpoints().is_empty());
}
