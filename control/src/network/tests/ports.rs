//! Published ports: who gets them, who is told no, and what becomes of them.

use std::sync::Arc;

use weft_dataplane::nat::{Protocol, Published};

use super::*;
use crate::model::{EPHEMERAL, PUBLISH_MAX, PortMapping};
use crate::store::MemoryStore;

fn publishing(name: &str, ports: &[&str]) -> EndpointRequest {
    let publish = ports.iter().map(|port| port.parse().unwrap()).collect();
    EndpointRequest { publish, ..endpoint(name) }
}

fn told(ports: &[PortMapping]) -> Vec<String> {
    ports.iter().map(|port| format!("{port}>{}", port.container)).collect()
}

/// A manager with the network `blue` of both families.
fn blue() -> (Manager, FakePlane) {
    let (manager, plane) = manager();
    let subnets = vec![net("10.1.0.0/24"), net("fd00:1::/64")];
    manager.create(&NetworkRequest { subnets, ..network("blue") }).unwrap();
    (manager, plane)
}

#[test]
fn what_is_published_is_reserved_relayed_and_told_to_the_packet_side() {
    let (manager, plane) = blue();
    let asked = ["8080:80", "127.0.0.1:8081:81", "[2001:db8::1]:53:53/udp"];
    let (_, endpoint, _) = manager.connect("blue", &publishing("web", &asked)).unwrap();
    let ports = ["*:8080/tcp>80", "127.0.0.1:8081/tcp>81", "[2001:db8::1]:53/udp>53"];
    assert_eq!(told(&endpoint.ports), ports);
    let port = endpoint.port().unwrap();
    let rule = |inside: &str, inside_port, outside: Option<&str>, outside_port, protocol| Published {
        port,
        inside: ip(inside),
        inside_port,
        outside: outside.map(ip),
        outside_port,
        protocol,
    };
    plane.world(|world| {
        assert_eq!(told(&world.reserved[&endpoint.id]), ports);
        assert!(world.relayed.contains(&endpoint.id));
        assert_eq!(world.loopbacks, 1, "relays reach the endpoint by it");
        let expected = [
            rule("10.1.0.2", 80, None, 8080, Protocol::Tcp),
            rule("fd00:1::2", 80, None, 8080, Protocol::Tcp),
            rule("fd00:1::2", 53, Some("2001:db8::1"), 53, Protocol::Udp),
        ];
        assert_eq!(world.tables.published, expected, "what is on loopback is not reached from outside");
    });
    assert_eq!(manager.published(), 3);
    manager.disconnect("blue", "web").unwrap();
    assert_eq!(manager.published(), 0);
    plane.world(|world| {
        assert!(world.reserved.is_empty() && world.relayed.is_empty() && world.tables.published.is_empty());
    });
}

#[test]
fn a_port_has_one_owner_on_this_host() {
    let (manager, plane) = blue();
    manager.create(&with_subnet("red", "10.2.0.0/24")).unwrap();
    manager.connect("blue", &publishing("web", &["8080:80", "192.0.2.1:53:53/udp"])).unwrap();
    for taken in ["8080:1", "192.0.2.9:8080:80", "[::1]:8080:80", "7000-7100:1-101", "0.0.0.0:53:53/udp"] {
        let outcome = manager.connect("red", &publishing("other", &["9000:80", taken]));
        if taken.starts_with("7000") {
            outcome.unwrap();
            manager.disconnect("red", "other").unwrap();
            continue;
        }
        let problem = Problem::from(outcome.unwrap_err());
        assert!(
            problem.message.ends_with("belongs to endpoint 'web' on network 'blue'"),
            "{taken}: {problem}"
        );
        assert_eq!(problem.code.exit(), 4, "{taken}");
        assert_eq!(plane.world(|world| world.reserved.len()), 1, "{taken}: nothing is kept");
    }
    for free in ["8080:80/udp", "192.0.2.2:53:53/udp", "8079:80"] {
        manager.connect("red", &publishing("other", &[free])).unwrap();
        manager.disconnect("red", "other").unwrap();
    }
    let (_, next, _) = manager.connect("red", &endpoint("last")).unwrap();
    assert_eq!(next.addresses(), [net("10.2.0.2/24")], "nothing refused has kept an address");
}

#[test]
fn a_process_of_the_host_that_has_the_port_is_named() {
    let (manager, plane) = blue();
    plane.world(|world| world.taken = publishing("x", &["8080:1"]).publish[0].mappings().collect());
    let problem =
        Problem::from(manager.connect("blue", &publishing("web", &["80:80", "8080:80"])).unwrap_err());
    assert_eq!(problem.message, "the host's port *:8080/tcp is taken by 'nginx' (pid 4711)");
    assert_eq!((problem.code.exit(), manager.endpoints().len()), (4, 0));
    assert!(plane.world(|world| world.reserved.is_empty() && world.ports().is_empty()));
}

#[test]
fn a_port_that_nobody_names_is_chosen() {
    let (manager, plane) = blue();
    let all_but_two = "49153-60997:1-11845".parse::<crate::model::PublishRequest>().unwrap();
    plane.world(|world| world.taken = all_but_two.mappings().collect());
    let (_, endpoint, _) =
        manager.connect("blue", &publishing("web", &["60998:1", ":80", "53/udp"])).unwrap();
    let hosts: Vec<_> = endpoint.ports.iter().map(|port| port.host).collect();
    assert_eq!(hosts[..2], [60_998, 60_999], "neither a process nor the same request has it");
    assert!(EPHEMERAL.contains(&hosts[2]));
    let error = manager.connect("blue", &publishing("late", &["80"])).unwrap_err();
    assert!(matches!(error, NetworkError::NoFreePort { from: 49_153, to: 60_999 }), "{error}");
    assert_eq!(plane.world(|world| world.reserved.len()), 1);
    plane.world(|world| world.taken.clear());
    let chosen: std::collections::BTreeSet<u16> = (0..20)
        .map(|n| manager.connect("blue", &publishing(&format!("e{n}"), &["80"])).unwrap().1.ports[0].host)
        .collect();
    assert_eq!(chosen.len(), 20, "each has its own");
    assert!(chosen.iter().all(|port| EPHEMERAL.contains(port)));
}

#[test]
fn of_a_range_for_one_port_the_first_free_one_is_taken() {
    let (manager, plane) = blue();
    plane.world(|world| world.taken = publishing("x", &["9000:1"]).publish[0].mappings().collect());
    let host = |name: &str, port: &str| {
        manager.connect("blue", &publishing(name, &[port])).map(|(_, endpoint, _)| endpoint.ports[0].host)
    };
    assert_eq!(host("a", "9000-9002:80").unwrap(), 9001);
    assert_eq!(host("b", "9000-9002:80").unwrap(), 9002);
    let error = host("c", "9000-9002:80").unwrap_err();
    assert_eq!(error.to_string(), "every port of the host from 9000 to 9002 is taken");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (manager, plane) = blue();
    manager.create(&NetworkRequest { internal: true, ..with_subnet("inner", "10.3.0.0/24") }).unwrap();
    let options = [("nat".into(), "off".into())].into();
    manager.create(&NetworkRequest { options, ..with_subnet("routed", "10.4.0.0/24") }).unwrap();
    manager.create(&NetworkRequest { driver: Driver::None, ..network("quiet") }).unwrap();
    manager.create(&with_subnet("four", "10.5.0.0/24")).unwrap();
    let refused = |key: &str, ports: &[&str]| {
        let problem = Problem::from(manager.connect(key, &publishing("web", ports)).unwrap_err());
        assert_eq!(problem.code.exit(), 2, "{problem}");
        problem.message
    };
    assert_eq!(
        refused("inner", &["80:80"]),
        "ports cannot be published on network 'inner', which is internal"
    );
    assert_eq!(
        refused("routed", &["80:80"]),
        "ports cannot be published on network 'routed', which has nat=off"
    );
    assert_eq!(refused("quiet", &["80:80"]), "-p makes no sense on a network of the driver 'none'");
    assert_eq!(refused("four", &["[::1]:80:80"]), "the network 'four' has no IPv6 subnet for ::1");
    assert_eq!(refused("blue", &["80:80", "80-81:81-82"]), "the host's port *:80/tcp is asked for twice");
    let twice = "the host's port 192.0.2.1:80/tcp is asked for twice";
    assert_eq!(refused("blue", &["80:80", "192.0.2.1:80:80"]), twice);
    let many = format!("{} ports are too many for one endpoint", PUBLISH_MAX + 1);
    assert_eq!(refused("blue", &["1-4097:1-4097"]), many);
    manager.connect("blue", &publishing("all", &["1-4096:1-4096"])).unwrap();
    assert_eq!(plane.world(|world| world.tables.published.len()), 2 * PUBLISH_MAX);
}

#[test]
fn a_network_that_goes_frees_its_ports() {
    let (manager, plane) = blue();
    manager.connect("blue", &publishing("web", &["8080:80"])).unwrap();
    assert!(manager.prune().unwrap().is_empty());
    assert_eq!(plane.world(|world| world.reserved.len()), 1);
    manager.remove("blue").unwrap();
    assert!(plane.world(|world| world.reserved.is_empty() && world.relayed.is_empty()));
    manager.create(&with_subnet("red", "10.2.0.0/24")).unwrap();
    let (_, endpoint, _) = manager.connect("red", &publishing("web", &["8080:80"])).unwrap();
    plane.world(|world| world.dead.insert(NETNS.into()));
    manager.port_gone(endpoint.port().unwrap());
    assert!(plane.world(|world| world.reserved.is_empty()), "with the namespace");
    assert_eq!(manager.published(), 0);
}

#[test]
fn published_ports_outlive_the_daemon() {
    let (store, plane) = (Arc::new(MemoryStore::default()), FakePlane::default());
    let start = || {
        plane.world(|world| (world.reserved, world.relayed) = Default::default());
        Manager::over(store.clone(), Box::new(plane.clone()), None, vec![]).unwrap()
    };
    let first = start();
    first.create(&with_subnet("blue", "10.1.0.0/24")).unwrap();
    let (_, endpoint, _) = first.connect("blue", &publishing("web", &["8080:80", "53/udp"])).unwrap();
    drop(first);

    plane.world(|world| world.taken = endpoint.ports[..1].to_vec());
    let second = start();
    second.reconcile();
    assert_eq!(second.endpoints()[0].1.ports, endpoint.ports, "the chosen one too");
    assert_eq!(plane.world(|world| world.reserved.len()), 0, "a process was faster");
    let findings = second.doctor();
    assert_eq!(findings.len(), 1);
    assert!(
        findings[0].what.contains("has not the ports that it publishes: the host's port"),
        "{findings:?}"
    );
    assert!(findings[0].what.ends_with("is taken by 'nginx' (pid 4711)"), "{findings:?}");
    let other = second.connect("blue", &publishing("other", &["8080:80"])).unwrap_err();
    assert!(matches!(other, NetworkError::PortTaken { .. }), "{other}");

    plane.world(|world| world.taken.clear());
    (0..3).for_each(|_| second.reconcile());
    assert_eq!(second.doctor(), []);
    plane.world(|world| {
        assert_eq!(world.reserved[&endpoint.id], endpoint.ports);
        assert_eq!(world.relayed, [endpoint.id].into());
        assert_eq!(world.tables.published.len(), 2);
    });
    second.close();
    assert!(plane.world(|world| world.reserved.is_empty()), "they are free when the daemon has ended");
    assert_eq!(second.published(), 2, "and still on record");
}
