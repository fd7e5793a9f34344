//! What Docker's users get to read when they ask for what cannot be.

use super::{Scene, underlay};
use harness::need;

#[test]
fn docker_refusals_name_what_is_wrong_and_leave_nothing() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    let base = ["network", "create", "-d", "weft", "--ipam-driver", "weft"];
    let refused = |options: &[&str], word: &str| {
        let outcome = scene.machine.docker(&[&base, options, &["bad"]].concat());
        assert!(!outcome.ok() && outcome.stderr.contains(word), "{options:?}: {}", outcome.stderr);
    };
    refused(&["-o", "colour=red"], "colour");
    refused(&["-o", "ports=somebody"], "somebody");
    refused(&["-o", "vni=16777216"], "16777216");
    refused(&["-o", "driver=macvlan"], "macvlan");
    refused(&["--subnet", "172.31.77.0/24"], "172.31.77.0/24");
    scene.create("good", &["--subnet", "10.10.12.0/24"]);
    refused(&["--subnet", "10.10.12.0/25"], "10.10.12.0/24");
    let networks = scene.daemon.json(&["network", "ls"]);
    assert_eq!(
        networks.as_array().expect("an array").len(),
        2,
        "the predefined one and the good one: {networks}"
    );
    scene.docker(&["network", "rm", "good"]);
    scene.create("bad", &["--subnet", "10.10.12.0/25"]);
    scene.await_health();
}
