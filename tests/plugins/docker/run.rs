//! What everybody does: create a network, run containers, look at them, stop them.

use super::{Scene, seen_by, serve_outside, underlay};
use harness::need;
use harness::wait;

#[test]
fn docker_containers_reach_each_other_the_gateway_and_the_outside() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    scene.create("multinet", &["--subnet", "10.10.2.0/24"]);
    scene.serve("c1", &["--net", "multinet"]);
    scene.serve("c2", &["--net", "multinet"]);
    assert_eq!(scene.address("c1", "multinet"), "10.10.2.2");
    // By address, and by the name that Docker's own resolver knows.
    assert_eq!(scene.seen_from("c1", &scene.address("c2", "multinet")), "10.10.2.2");
    assert_eq!(scene.seen_from("c1", "c2"), "10.10.2.2");
    assert!(scene.pings("c1", "10.10.2.1"), "the gateway");
    let outside = &underlay.hosts[1];
    serve_outside(&scene, &outside.ns);
    assert_eq!(scene.seen_from("c1", &outside.address.to_string()), underlay.hosts[0].address.to_string());
    scene.await_health();
}

#[test]
fn docker_the_tap_itself_is_the_containers_interface() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    scene.create("blue", &["--subnet", "10.10.3.0/24", "-o", "com.docker.network.driver.mtu=1400"]);
    scene.serve("c1", &["--net", "blue"]);
    let link = scene.exec("c1", &["ip", "link", "show", "eth0"]).must();
    assert!(link.contains("mtu 1400") && link.contains("02:42:0a:0a:03:02"), "{link}");
    let pid = scene.docker(&["inspect", "-f", "{{.State.Pid}}", "c1"]);
    let kind =
        scene.machine.run(&["nsenter", &format!("--net=/proc/{pid}/ns/net"), "ip", "-d", "link"]).must();
    assert!(kind.contains("tun type tap") && !kind.contains("veth"), "{kind}");
    assert_eq!(kind.matches(" eth").count(), 1, "one interface beside the loopback: {kind}");
}

#[test]
fn docker_and_weft_tell_the_same_of_networks_and_containers() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    scene.create("multinet", &["--subnet", "10.10.2.0/24", "--gateway", "10.10.2.254"]);
    scene.serve("c1", &["--net", "multinet"]);
    let id = scene.docker(&["network", "inspect", "-f", "{{.Id}}", "multinet"]);
    let known = wait::until("the network has its name", || {
        let networks = scene.daemon.json(&["network", "ls"]);
        networks.as_array()?.iter().find(|network| network["name"] == "multinet").cloned()
    });
    assert_eq!(known["id"], id);
    let endpoint = wait::until("the endpoint has its name", || {
        scene.endpoints().into_iter().find(|endpoint| endpoint["name"] == "c1")
    });
    assert_eq!(endpoint["addresses"][0], "10.10.2.1/24");
    assert_eq!(endpoint["gateways"][0], "10.10.2.254");
    let told = scene.docker(&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "multinet"]);
    assert_eq!(told, "10.10.2.254");
    scene.docker(&["rm", "-f", "c1"]);
    scene.docker(&["network", "rm", "multinet"]);
    assert!(scene.endpoints().is_empty());
    let networks = scene.daemon.json(&["network", "ls"]);
    assert_eq!(networks.as_array().expect("an array").len(), 1, "only the predefined one: {networks}");
}

#[test]
fn docker_stop_start_and_restart_give_a_container_its_network_back() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    scene.create("blue", &["--subnet", "10.10.4.0/24"]);
    scene.serve("c1", &["--net", "blue", "--ip", "10.10.4.7"]);
    scene.serve("c2", &["--net", "blue"]);
    for command in [&["stop", "-t", "0"][..], &["start"], &["restart", "-t", "0"]] {
        scene.docker(&[command, &["c1"]].concat());
    }
    assert_eq!(scene.seen_from("c2", "10.10.4.7"), scene.address("c2", "blue"));
    scene.docker(&["kill", "c1"]);
    wait::until_true("one endpoint is left", || scene.endpoints().len() == 1);
    scene.docker(&["start", "c1"]);
    assert!(scene.pings("c2", "10.10.4.7"));
    assert!(seen_by(&underlay.hosts[0].ns, "10.10.4.7").is_some(), "the host stands on the network, too");
    scene.await_health();
}
