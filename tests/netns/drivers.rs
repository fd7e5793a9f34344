//! Networks of the drivers that give no interface, the network that every host has, and several subnets on one.

use harness::need;
use harness::netns::Namespace;
use harness::wire::{NETWORK, Wire};

#[test]
fn every_host_has_a_bridge_that_cannot_be_removed() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let network = wire.daemon.json(&["network", "inspect", "bridge"]);
    assert_eq!((&network[0]["Driver"], &network[0]["Scope"]), (&"bridge".into(), &"local".into()));
    assert_eq!(network[0]["IPAM"]["Config"][0]["Subnet"], "172.17.0.0/16");
    let refusal = wire.daemon.weft(&["network", "rm", "bridge"]);
    assert!(
        refusal.code == Some(2) && refusal.stderr.contains("bridge is a pre-defined network"),
        "{refusal:?}"
    );
    assert_eq!(wire.daemon.weft(&["network", "create", "bridge"]).code, Some(4));
    let ns = Namespace::new("bridged");
    wire.daemon.weft(&["network", "connect", "bridge", &ns.path(), "--name", "first"]).must();
    assert_eq!(ns.links(), ["eth0", "lo"]);
}

#[test]
fn none_is_loopback_only() {
    need!(Root, Tun);
    let wire = Wire::blue();
    wire.daemon.weft(&["network", "create", "quiet", "-d", "none"]).must();
    let ns = Namespace::new("quiet");
    ns.ip(&["link", "set", "lo", "down"]);
    wire.daemon.weft(&["network", "connect", "quiet", &ns.path(), "--name", "q"]).must();
    assert_eq!(ns.links(), ["lo"]);
    let flags = ns.link("lo").expect("lo is there")["flags"].to_string();
    assert!(flags.contains("\"UP\""), "{flags}");
    let network = wire.daemon.json(&["network", "inspect", "quiet"]);
    assert_eq!(network[0]["Driver"], "none");
    assert_eq!(network[0]["IPAM"]["Config"], serde_json::json!([]));
    let inside = network[0]["Containers"].as_object().and_then(|all| all.values().next()).expect("one");
    assert_eq!(
        (&inside["Name"], &inside["IPv4Address"], &inside["MacAddress"]),
        (&"q".into(), &"".into(), &"".into())
    );
    let refusal =
        wire.daemon.weft(&["network", "connect", "quiet", &ns.path(), "--name", "r", "--ip", "10.1.0.2"]);
    assert!(refusal.code == Some(2) && refusal.stderr.contains("--ip makes no sense"), "{refusal:?}");
    wire.daemon.weft(&["network", "disconnect", "quiet", "q"]).must();
    wire.daemon.weft(&["network", "rm", "quiet"]).must();
}

#[test]
fn host_takes_the_hosts_own_namespace_and_does_nothing_to_it() {
    need!(Root, Tun);
    let wire = Wire::blue();
    wire.daemon.weft(&["network", "create", "open", "-d", "host"]).must();
    let host = &wire.underlay.hosts[0].ns;
    let links = host.links();
    wire.daemon.weft(&["network", "connect", "open", &host.path(), "--name", "h"]).must();
    assert_eq!(host.links(), links);
    let other = Namespace::new("other");
    let refusal = wire.daemon.weft(&["network", "connect", "open", &other.path(), "--name", "o"]);
    assert!(refusal.code == Some(2) && refusal.stderr.contains("not the host's own"), "{refusal:?}");
    for driver in ["host", "none"] {
        for option in [["--subnet", "10.9.9.0/24"], ["--vni", "9"], ["--mtu", "1400"], ["-o", "vlan=pass"]] {
            let line = [&["network", "create", "x", "-d", driver][..], &option].concat();
            let refusal = wire.daemon.weft(&line);
            assert!(refusal.code == Some(2) && refusal.stderr.contains(option[0]), "{refusal:?}");
        }
    }
    assert!(wire.daemon.weft(&["doctor"]).ok());
}

#[test]
fn when_one_subnet_is_full_the_next_is_used() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let line = ["network", "create", "two", "--subnet", "10.81.0.0/30", "--subnet", "10.82.0.0/29"];
    wire.daemon.weft(&line).must();
    let addresses: Vec<_> = (0..2)
        .map(|number| {
            let ns = Namespace::new("two");
            let name = format!("e{number}");
            wire.daemon.weft(&["network", "connect", "two", &ns.path(), "--name", &name]).must();
            (wire.daemon.json(&["endpoint", "inspect", &name])[0]["addresses"][0].clone(), ns)
        })
        .collect();
    let texts: Vec<_> = addresses.iter().map(|(address, _)| address.as_str().expect("text")).collect();
    assert_eq!(texts, ["10.81.0.2/30", "10.82.0.2/29"]);
    let ns = Namespace::new("chosen");
    wire.daemon.weft(&["network", "connect", "two", &ns.path(), "--name", "c", "--ip", "10.82.0.5"]).must();
    assert_eq!(wire.daemon.weft(&["network", "inspect", NETWORK]).code, Some(0));
}
