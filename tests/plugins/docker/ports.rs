//! Published ports: by the product, and by the engine itself.

use super::{Scene, seen_by, underlay};
use harness::need;
use harness::wait;

#[test]
fn docker_ports_are_reached_from_everywhere_and_the_client_is_seen() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    let (host, outside) = (&underlay.hosts[0], &underlay.hosts[1]);
    scene.create("blue", &["--subnet", "10.10.5.0/24"]);
    scene.serve("web", &["--net", "blue", "-p", "8080:80"]);
    scene.serve("c2", &["--net", "blue"]);
    let published = format!("{}:8080", host.address);
    let seen = wait::until("it answers the outside", || seen_by(&outside.ns, &published));
    assert_eq!(seen, outside.address.to_string());
    wait::until("it answers its host by loopback", || seen_by(&host.ns, "127.0.0.1:8080"));
    wait::until("it answers its host by the host's address", || seen_by(&host.ns, &published));
    scene.seen_from("c2", &published);
    scene.seen_from("web", &published);
    let ports = scene.daemon.json(&["port", "ls"]);
    assert_eq!(ports.as_array().expect("an array").len(), 1, "{ports}");
    scene.docker(&["rm", "-f", "web"]);
    assert_eq!(seen_by(&outside.ns, &published), None);
    // The port is free again, for a process of the host.
    assert!(host.ns.exec(&["busybox", "httpd", "-p", "8080", "-h", "/"]).ok());
}

#[test]
fn docker_ports_that_are_taken_fail_the_run_and_say_who_has_them() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    underlay.hosts[0].ns.exec(&["busybox", "httpd", "-p", "8080", "-h", "/"]).must();
    scene.create("blue", &["--subnet", "10.10.5.0/24"]);
    let refused = scene
        .machine
        .docker(&["run", "-d", "--name", "web", "--net", "blue", "-p", "8080:80", "box", "sleep", "9"]);
    assert!(!refused.ok() && refused.stderr.contains("busybox"), "{}", refused.stderr);
    scene.docker(&["rm", "-f", "web"]);
    wait::until_true("nothing is left of it", || scene.endpoints().is_empty());
    scene.serve("web", &["--net", "blue", "-p", "127.0.0.1::80", "-p", "9000-9001:80/udp"]);
    let ports = scene.daemon.json(&["port", "ls"]);
    assert_eq!(ports.as_array().expect("an array").len(), 2, "{ports}");
    scene.await_health();
}

#[test]
fn docker_ports_of_the_engine_are_shown_by_docker_ps() {
    need!(Root, Tun, Docker);
    let underlay = underlay();
    let scene = Scene::on(&underlay, 0);
    scene.create("blue", &["--subnet", "10.10.5.0/24", "-o", "ports=engine"]);
    scene.serve("web", &["--net", "blue", "-p", "8080:80"]);
    scene.serve("c2", &["--net", "blue"]);
    assert!(scene.docker(&["ps", "--filter", "name=web"]).contains("0.0.0.0:8080->80/tcp"));
    assert!(scene.docker(&["port", "web"]).contains("8080"));
    let published = format!("{}:8080", underlay.hosts[0].address);
    wait::until("it answers the outside", || seen_by(&underlay.hosts[1].ns, &published));
    assert_eq!(scene.seen_from("c2", "web"), scene.address("c2", "blue"), "between containers it is ours");
    assert!(scene.daemon.json(&["port", "ls"]).as_array().expect("an array").is_empty());
}
