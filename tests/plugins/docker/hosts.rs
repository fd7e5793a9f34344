//! Two engines on two hosts, on one overlay.

use super::{Scene, underlay};
use harness::need;

#[test]
fn docker_engines_on_two_hosts_share_an_overlay() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scenes = [Scene::on(&underlay, 0), Scene::on(&underlay, 1)];
    for (scene, range) in scenes.iter().zip(["10.20.0.0/25", "10.20.0.128/25"]) {
        let options =
            ["-o", "vni=7000", "--subnet", "10.20.0.0/24", "--gateway", "10.20.0.1", "--ip-range", range];
        scene.create("shared", &options);
        scene.serve("c1", &["--net", "shared"]);
    }
    let addresses = scenes.each_ref().map(|scene| scene.address("c1", "shared"));
    assert_ne!(addresses[0], addresses[1]);
    assert!(addresses[1].ends_with(".128") || addresses[1].ends_with(".129"), "{}", addresses[1]);
    assert_eq!(scenes[0].seen_from("c1", &addresses[1]), addresses[0]);
    assert_eq!(scenes[1].seen_from("c1", &addresses[0]), addresses[1]);
    let network = scenes[0].daemon.json(&["network", "ls"]);
    assert!(network.to_string().contains("overlay"), "{network}");
    // Each leaves by its own host.
    for (number, scene) in scenes.iter().enumerate() {
        let other = underlay.hosts[1 - number].address.to_string();
        assert!(scene.pings("c1", &other));
    }
    scenes.iter().for_each(Scene::await_health);
}
