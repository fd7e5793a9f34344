//! The life of an endpoint: what a container finds when it is connected, and what is left when it is not.

use harness::cmd;
use harness::daemon::{Config, Daemon};
use harness::need;
use harness::netns::{Namespace, format_mac};
use harness::traffic;
use harness::underlay::{Family, Offloads, Underlay};
use harness::wait;
use harness::wire::{Container, NETWORK, Wire};
use serde_json::Value;
use std::process::Command;

fn addresses(link: &Value, family: &str) -> Vec<String> {
    let all = link["addr_info"].as_array().into_iter().flatten();
    all.filter(|address| address["family"] == family && address["scope"] == "global")
        .map(|address| format!("{}/{}", address["local"].as_str().unwrap_or("?"), address["prefixlen"]))
        .collect()
}

fn routes(ns: &Namespace) -> Vec<Value> {
    let shown = ns.ip(&["-json", "route", "show"]);
    serde_json::from_str(&shown).expect("ip writes JSON")
}

fn endpoint_names(wire: &Wire) -> Vec<String> {
    let list = wire.daemon.json(&["endpoint", "ls"]);
    let rows = list.as_array().expect("an array");
    rows.iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_connected_container_is_configured_and_up() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let mac = "02:11:22:33:44:55";
    let container = wire.container_on(NETWORK, 11, &["--mac", mac]);
    let link = container.ns.link("eth0").expect("eth0 is there");
    assert_eq!(link["address"], mac);
    assert_eq!(link["mtu"], 1450, "1500 of the underlay less 50 of encapsulation");
    let flags = link["flags"].as_array().expect("flags");
    assert!(
        flags.iter().any(|flag| flag == "UP") && flags.iter().any(|flag| flag == "LOWER_UP"),
        "{flags:?}"
    );
    assert_eq!(addresses(&link, "inet"), ["10.77.0.11/24"]);
    let routes = routes(&container.ns);
    assert!(
        routes.iter().any(|route| route["dst"] == "10.77.0.0/24" && route["dev"] == "eth0"),
        "{routes:?}"
    );
    let default = routes.iter().find(|route| route["dst"] == "default");
    assert_eq!(default.map(|route| route["gateway"].clone()), Some("10.77.0.1".into()), "{routes:?}");
}

#[test]
fn the_interface_is_a_tap_with_virtio_headers_and_no_more_queues_than_it_needs() {
    need!(Root, Tun);
    for (workers, several) in [(1, false), (2, true)] {
        let host = Namespace::new("host");
        let daemon = Daemon::start(&host, &Config { workers: Some(workers), ..Config::default() });
        daemon.weft(&["network", "create", NETWORK]).must();
        let container = Namespace::new("c");
        daemon.weft(&["network", "connect", NETWORK, &container.path()]).must();
        let link = container.link("eth0").expect("eth0 is there");
        assert_eq!(link["linkinfo"]["info_kind"], "tun");
        let data = &link["linkinfo"]["info_data"];
        assert_eq!(
            (&data["type"], &data["multi_queue"], &data["vnet_hdr"]),
            (&"tap".into(), &several.into(), &true.into())
        );
        assert_eq!(data["persist"], false, "a TAP that outlives its owner is left behind");
        // Each queue of the kernel's has a queueing discipline with memory of its own.
        assert_eq!(link["num_tx_queues"] == 1, !several, "{link}");
    }
}

#[test]
fn an_internal_network_gives_no_default_route() {
    need!(Root, Tun);
    let wire = Wire::with(Family::V4, &["--internal"]);
    let container = wire.container(11);
    assert!(routes(&container.ns).iter().all(|route| route["dst"] != "default"));
}

#[test]
fn without_a_given_mac_it_is_02_42_and_the_address() {
    need!(Root, Tun);
    let wire = Wire::blue();
    assert_eq!(format_mac(wire.container(11).station.mac), "02:42:0a:4d:00:0b");
}

#[test]
fn addresses_that_are_not_given_are_chosen_once_each() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let namespaces: Vec<Namespace> = (0..4).map(|_| Namespace::new("auto")).collect();
    let mut seen: Vec<String> = Vec::new();
    for (number, ns) in namespaces.iter().enumerate() {
        let name = format!("auto{number}");
        wire.daemon.weft(&["network", "connect", NETWORK, &ns.path(), "--name", &name]).must();
        seen.extend(addresses(&ns.link("eth0").expect("eth0 is there"), "inet"));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(!seen.contains(&"10.77.0.1/24".to_owned()), "the gateway's own address was given away");
}

#[test]
fn one_container_can_be_on_several_networks() {
    need!(Root, Tun);
    let wire = Wire::blue();
    wire.create("red", 7002, "10.78.0.0/24", &[]);
    let container = wire.container(11);
    let line = ["network", "connect", "red", &container.ns.path(), "--name", "also", "--ifname", "red0"];
    wire.daemon.weft(&line).must();
    let link = container.ns.link("red0").expect("red0 is there");
    assert!(addresses(&link, "inet")[0].starts_with("10.78.0."));
    assert!(container.ns.link("eth0").is_some());
}

#[test]
fn both_address_families_are_configured() {
    need!(Root, Tun);
    let wire = Wire::with(Family::V4, &["--ipv6", "--subnet", "fd00:77::/64"]);
    let [a, b] = [11, 12].map(|number| {
        let ip6 = format!("fd00:77::{number}");
        wire.container_on(NETWORK, number, &["--ip6", &ip6])
    });
    assert_eq!(addresses(&a.ns.link("eth0").expect("eth0"), "inet6"), ["fd00:77::11/64"]);
    wait::until_true("ping over IPv6", || {
        traffic::can_ping(&a.ns, "fd00:77::12".parse().expect("an address"))
    });
    drop(b);
}

#[test]
fn containers_on_one_host_reach_each_other_on_an_overlay_and_on_a_bridge() {
    need!(Root, Tun);
    let wire = Wire::blue();
    wire.daemon.weft(&["network", "create", "local", "-d", "bridge", "--subnet", "10.77.0.0/24"]).must();
    for network in [NETWORK, "local"] {
        let [a, b] = [11, 12].map(|number| wire.container_on(network, number, &[]));
        let ends = [&a, &b].map(|end| traffic::End { ns: &end.ns, ip: end.station.ip.into() });
        traffic::ping(ends[0], ends[1]);
        let mtu = a.ns.link("eth0").and_then(|link| link["mtu"].as_u64()).expect("an MTU");
        traffic::udp_of_every_size(ends[0], ends[1], mtu as usize);
        traffic::tcp_bulk(ends[1], ends[0], 16 << 20);
    }
}

#[test]
fn disconnect_removes_the_interface_and_the_endpoint() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let [gone, stays] = [11, 12].map(|number| wire.container(number));
    wire.daemon.weft(&["network", "disconnect", NETWORK, &gone.name]).must();
    assert_eq!(gone.ns.links(), ["lo"]);
    assert_eq!(endpoint_names(&wire), [stays.name.as_str()]);
    let again = Container::connect(&wire.daemon, NETWORK, 11, &[]);
    traffic::ping(
        traffic::End { ns: &again.ns, ip: again.station.ip.into() },
        traffic::End { ns: &stays.ns, ip: stays.station.ip.into() },
    );
}

#[test]
fn network_rm_removes_the_interfaces_with_it() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let container = wire.container(11);
    wire.daemon.weft(&["network", "rm", NETWORK]).must();
    assert_eq!(container.ns.links(), ["lo"]);
    assert!(endpoint_names(&wire).is_empty());
    assert_eq!(wire.daemon.weft(&["network", "inspect", NETWORK]).code, Some(3));
    wire.create(NETWORK, 7001, "10.77.0.0/24", &[]);
}

#[test]
fn sigterm_removes_every_interface_the_daemon_made() {
    need!(Root, Tun);
    let underlay = Underlay::new(2, Family::V4, Offloads::On);
    let [host, peer] = underlay.hosts.as_slice() else { panic!("two hosts were made") };
    let before = host.ns.links();
    let mut daemon = Daemon::start(&host.ns, &Config::new(host.address, &[peer.address]));
    let line = ["network", "create", NETWORK, "-d", "overlay", "--subnet", "10.77.0.0/24", "--vni", "7001"];
    daemon.weft(&line).must();
    let container = Container::connect(&daemon, NETWORK, 11, &[]);
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.stderr());
    assert_eq!(container.ns.links(), ["lo"]);
    assert_eq!(host.ns.links(), before);
    assert!(!daemon.socket().exists(), "the API socket is left behind");
    let pids = host.ns.exec(&["sh", "-c", "ip netns pids \"$0\" | grep -v $$", host.ns.name()]);
    let left: Vec<&str> = pids.stdout.lines().collect();
    assert!(!left.iter().any(|pid| is_weft(pid)), "a process of the product is left: {left:?}");
}

fn is_weft(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/comm", pid.trim())).is_ok_and(|name| name.starts_with("weft"))
}

#[test]
fn the_death_of_a_namespace_is_noticed() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let [dies, stays] = [11, 12].map(|number| wire.container(number));
    let survivor = stays.name.clone();
    drop(dies);
    wait::until_true("the endpoint of a dead namespace goes", || {
        endpoint_names(&wire) == [survivor.as_str()]
    });
    let again = wire.container(11);
    assert_eq!(again.station.ip.octets(), [10, 77, 0, 11], "its address is free again");
}

#[test]
fn a_namespace_lives_as_long_as_somebody_is_in_it() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let [lives, other] = [11, 12].map(|number| wire.container(number));
    let mut somebody =
        lives.ns.enter(|| Command::new("sleep").arg("600").spawn()).expect("sleep is installed");
    cmd::run("ip", &["netns", "del", lives.ns.name()]).must();
    // A request that wants what it has makes the daemon look whether it lives.
    let path = other.ns.path();
    let wanted =
        ["network", "connect", NETWORK, &path, "--name", "heir", "--ifname", "e1", "--ip", "10.77.0.11"];
    assert_eq!(wire.daemon.weft(&wanted).code, Some(4));
    assert_eq!(endpoint_names(&wire), [lives.name.as_str(), other.name.as_str()]);
    somebody.kill().expect("our child");
    somebody.wait().expect("our child");
    wire.daemon.weft(&wanted).must();
    assert_eq!(endpoint_names(&wire), [other.name.as_str(), "heir"]);
}

#[test]
fn inspect_and_ls_tell_what_was_created() {
    need!(Root, Tun);
    let wire = Wire::with(Family::V4, &["--label", "team=red", "-o", "fdb_limit=64"]);
    let container = wire.container(11);
    let shown = wire.daemon.json(&["network", "inspect", NETWORK]);
    let network = &shown[0];
    assert_eq!(network["Name"], NETWORK);
    assert_eq!(network["Driver"], "overlay");
    assert_eq!(network["IPAM"]["Config"][0]["Subnet"], "10.77.0.0/24");
    assert_eq!(network["IPAM"]["Config"][0]["Gateway"], "10.77.0.1");
    assert_eq!(network["Labels"]["team"], "red");
    assert_eq!(network["Options"]["fdb_limit"], "64");
    let containers = network["Containers"].as_object().expect("an object, as Docker prints it");
    let inside = containers.values().next().expect("one container");
    assert_eq!(
        (&inside["Name"], &inside["IPv4Address"]),
        (&container.name.as_str().into(), &"10.77.0.11/24".into())
    );
    assert_eq!(inside["MacAddress"], format_mac(container.station.mac));
    let names = wire.daemon.weft(&["network", "ls"]).must();
    assert!(names.contains(NETWORK) && names.contains("overlay"), "{names}");
    assert_eq!(wire.daemon.weft(&["network", "ls", "-q"]).must().lines().count(), 2, "it and bridge");
    let endpoint = wire.daemon.json(&["endpoint", "inspect", &container.name]);
    assert!(endpoint.to_string().contains("10.77.0.11"), "{endpoint}");
}

#[test]
fn status_says_who_and_how() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let status = wire.daemon.json(&["status"]);
    for key in ["node", "version", "vtep", "underlay_mode", "workers", "daemon_pid", "dataplane_pid", "ready"]
    {
        assert!(!status[key].is_null(), "{key} is missing in {status}");
    }
    assert_eq!(status["vtep"], wire.vtep.to_string());
    assert_eq!(status["daemon_pid"], wire.daemon.pid().as_raw());
    for table in [&["status"][..], &["stats"], &["fdb", "show"], &["endpoint", "ls"]] {
        let text = wire.daemon.weft(table).must();
        assert!(!text.trim().is_empty() || table[0] == "endpoint", "{table:?} prints nothing");
    }
}
