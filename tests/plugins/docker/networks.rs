//! Several networks, and what they can be asked for.

use super::{Scene, underlay};
use harness::need;
use harness::wait;

#[test]
fn docker_connect_and_disconnect_while_a_container_runs() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    scene.create("blue", &["--subnet", "10.10.6.0/24"]);
    scene.create("red", &["--subnet", "10.10.7.0/24"]);
    scene.serve("c1", &["--net", "blue"]);
    scene.serve("c2", &["--net", "red"]);
    assert!(!scene.pings("c1", &scene.address("c2", "red")), "networks never see each other");
    scene.docker(&["network", "connect", "--ip", "10.10.7.77", "--alias", "first", "red", "c1"]);
    assert_eq!(scene.seen_from("c1", "c2"), "10.10.7.77");
    assert!(scene.pings("c2", "first"), "by the alias");
    scene.await_endpoints(3);
    scene.docker(&["network", "disconnect", "red", "c1"]);
    assert!(!scene.exec("c1", &["ip", "link", "show", "eth1"]).ok());
    assert!(scene.pings("c1", "10.10.6.1"), "the other network is as it was");
    scene.docker(&["network", "disconnect", "blue", "c1"]);
    scene.docker(&["network", "connect", "blue", "c1"]);
    assert!(scene.pings("c1", &underlay.hosts[1].address.to_string()), "and is the way out again");
    scene.await_health();
}

#[test]
fn docker_addresses_macs_and_the_sixth_version_as_asked_for() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    let subnets =
        ["--ipv6", "--subnet", "10.10.8.0/24", "--subnet", "fd08::/64", "--aux-address", "router=10.10.8.2"];
    scene.create("blue", &subnets);
    let asked = ["--ip", "10.10.8.9", "--ip6", "fd08::9", "--mac-address", "02:11:22:33:44:55"];
    scene.serve("c1", &[&["--net", "blue"], &asked[..]].concat());
    scene.serve("c2", &["--net", "blue"]);
    let link = scene.exec("c1", &["ip", "address", "show", "eth0"]).must();
    for part in ["10.10.8.9/24", "fd08::9/64", "02:11:22:33:44:55"] {
        assert!(link.contains(part), "{part} in {link}");
    }
    assert_ne!(scene.address("c2", "blue"), "10.10.8.2", "set aside");
    assert!(scene.pings("c2", "fd08::9"));
    assert!(scene.pings("c2", "fd08::1"), "the gateway");
    let taken = scene.machine.docker(&["run", "--rm", "--net", "blue", "--ip", "10.10.8.9", "box", "true"]);
    assert!(!taken.ok() && taken.stderr.contains("10.10.8.9"), "{}", taken.stderr);
    scene.await_endpoints(2);
}

#[test]
fn docker_internal_networks_have_no_way_out() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    scene.create("inner", &["--internal", "--subnet", "10.10.9.0/24"]);
    scene.serve("c1", &["--net", "inner"]);
    scene.serve("c2", &["--net", "inner"]);
    assert_eq!(scene.seen_from("c1", "c2"), scene.address("c1", "inner"));
    let routes = scene.exec("c1", &["ip", "route"]).must();
    assert!(!routes.contains("default"), "{routes}");
    assert!(!scene.pings("c1", &underlay.hosts[1].address.to_string()));
}

#[test]
fn docker_takes_pools_that_weft_chooses_and_its_own() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    scene.create("any", &[]);
    scene.create("other", &[]);
    scene.docker(&["network", "create", "-d", "weft", "--subnet", "10.10.11.0/24", "dockers"]);
    for network in ["any", "other", "dockers"] {
        let (first, second) = (format!("{network}1"), format!("{network}2"));
        scene.serve(&first, &["--net", network]);
        scene.serve(&second, &["--net", network]);
        assert!(scene.pings(&first, &second), "{network}");
    }
    scene.docker(&["rm", "-f", "any1", "any2", "other1", "other2", "dockers1", "dockers2"]);
    scene.docker(&["network", "rm", "any", "other", "dockers"]);
    let left = scene.daemon.json(&["network", "ls"]);
    wait::until_true("nothing is left", || scene.endpoints().is_empty());
    assert_eq!(left.as_array().expect("an array").len(), 1, "{left}");
}
