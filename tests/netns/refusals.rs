//! Bad input: one line that names the value, the right exit code, and nothing half-made left behind.

use harness::cmd::{self, Outcome};
use harness::daemon::{self, Config, Daemon};
use harness::need;
use harness::netns::{self, Namespace};
use harness::underlay::{Family, Host, Offloads, Underlay};
use harness::wire::{NETWORK, Wire};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;

/// Checks the form every refusal has in common. `value` is what the message has to name.
#[track_caller]
fn refused(outcome: &Outcome, code: i32, value: &str) {
    let said = &outcome.stderr;
    assert_eq!(outcome.code, Some(code), "`{}` said: {said}", outcome.command);
    // `inspect` prints the array of what it found, as Docker's does, also when that is nothing.
    assert!(
        matches!(outcome.stdout.trim(), "" | "[]"),
        "`{}` wrote data: {}",
        outcome.command,
        outcome.stdout
    );
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(lines.len(), 1, "`{}` said more than one line: {said}", outcome.command);
    assert!(said.contains(value), "`{}` does not name {value}: {said}", outcome.command);
    // `weft: what was wrong; what to do`, or with a colon where a clause of its own would be too much.
    let remedy = said.contains("; ") || said.matches(": ").count() > 1;
    assert!(remedy, "`{}` says what is wrong but not what to do: {said}", outcome.command);
}

/// What there is, to be compared before and after.
fn state(wire: &Wire) -> (String, String, Vec<String>) {
    let list = |what: &[&str]| wire.daemon.weft(what).must();
    (list(&["network", "ls", "-q"]), list(&["endpoint", "ls"]), wire.underlay.hosts[0].ns.links())
}

#[test]
fn networks_that_cannot_be() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let overlay = |extra: &[&'static str]| -> Vec<&'static str> {
        [&["network", "create", "bad", "-d", "overlay"], extra].concat()
    };
    let rows: &[(Vec<&str>, i32, &str)] = &[
        (overlay(&["--subnet", "10.80.0.0/24", "--vni", "16777216"]), 2, "16777216"),
        (overlay(&["--subnet", "10.80.0.0/24", "--vni", "-1"]), 2, "-1"),
        (overlay(&["--subnet", "10.80.0.0/33", "--vni", "8"]), 2, "10.80.0.0/33"),
        (overlay(&["--subnet", "10.80.0.300/24", "--vni", "8"]), 2, "10.80.0.300"),
        (overlay(&["--subnet", "224.0.0.0/24", "--vni", "8"]), 2, "224.0.0.0/24"),
        (overlay(&["--subnet", "10.80.0.0/24", "--gateway", "10.81.0.1", "--vni", "8"]), 2, "10.81.0.1"),
        (
            overlay(&["--subnet", "10.80.0.0/24", "--ip-range", "10.81.0.0/28", "--vni", "8"]),
            2,
            "10.81.0.0/28",
        ),
        (overlay(&["--subnet", "10.80.0.0/24", "--mtu", "9000", "--vni", "8"]), 2, "9000"),
        (overlay(&["--subnet", "172.31.77.0/25", "--vni", "8"]), 4, "172.31.77.0/25"),
        (overlay(&["--subnet", "10.80.0.0/24", "--vni", "7001"]), 4, "7001"),
        (overlay(&["--subnet", "10.80.0.0/24", "--vni", "8", "-o", "colour=red"]), 2, "colour"),
        (overlay(&["--subnet", "10.80.0.0/24", "--vni", "8", "-o", "vlan=maybe"]), 2, "maybe"),
        (vec!["network", "create", NETWORK, "--subnet", "10.80.0.0/24"], 4, NETWORK),
        (vec!["network", "create", "bad name", "--subnet", "10.80.0.0/24"], 2, "bad name"),
        (vec!["network", "create", "bad", "-d", "carrier-pigeon"], 2, "carrier-pigeon"),
        (vec!["network", "rm", "nowhere"], 3, "nowhere"),
        (vec!["network", "inspect", "nowhere"], 3, "nowhere"),
        (vec!["endpoint", "inspect", "nobody"], 3, "nobody"),
    ];
    let before = state(&wire);
    for (line, code, value) in rows {
        refused(&wire.daemon.weft(line), *code, value);
        assert_eq!(state(&wire), before, "{line:?} left something behind");
    }
}

#[test]
fn endpoints_that_cannot_be() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let taken = wire.container(11);
    let ns = Namespace::new("new");
    let path = ns.path();
    let connect = |extra: &[&'static str]| -> Vec<&str> {
        [&["network", "connect", NETWORK, path.as_str()], extra].concat()
    };
    let taken_mac = netns::format_mac(taken.station.mac);
    let rows: &[(Vec<&str>, i32, &str)] = &[
        (vec!["network", "connect", NETWORK, "/run/netns/no-such"], 3, "/run/netns/no-such"),
        (vec!["network", "connect", NETWORK, "/etc/hostname"], 2, "/etc/hostname"),
        (vec!["network", "connect", "nowhere", &path], 3, "nowhere"),
        (vec!["network", "disconnect", NETWORK, "nobody"], 3, "nobody"),
        (connect(&["--ifname", "sixteen-letters-"]), 2, "sixteen-letters-"),
        (connect(&["--ifname", "lo"]), 4, "lo"),
        (connect(&["--ip", "10.99.0.1"]), 2, "10.99.0.1"),
        (connect(&["--ip", "10.77.0.0"]), 4, "10.77.0.0"),
        (connect(&["--ip", "10.77.0.255"]), 4, "10.77.0.255"),
        (connect(&["--ip", "10.77.0"]), 2, "10.77.0"),
        (connect(&["--ip6", "fd00::1"]), 2, "fd00::1"),
        (connect(&["--ip", "10.77.0.1"]), 4, "10.77.0.1"),
        (connect(&["--ip", "10.77.0.11"]), 4, "10.77.0.11"),
        (connect(&["--name", "c11"]), 4, "c11"),
        (connect(&["--mac", "01:00:5e:00:00:01"]), 2, "01:00:5e:00:00:01"),
        (connect(&["--mac", "00:00:00:00:00:00"]), 2, "00:00:00:00:00:00"),
        (connect(&["--mac", "02:42"]), 2, "02:42"),
        ([connect(&["--mac"]), vec![&taken_mac]].concat(), 4, &taken_mac),
    ];
    let before = state(&wire);
    for (line, code, value) in rows {
        refused(&wire.daemon.weft(line), *code, value);
        assert_eq!(ns.links(), ["lo"], "{line:?} left a link in the namespace");
        assert_eq!(state(&wire), before, "{line:?} left something behind");
    }
    let free = wire.daemon.weft(&connect(&["--ip", "10.77.0.12", "--name", "free"]));
    free.must();
}

#[test]
fn without_a_daemon_a_command_says_so() {
    need!(Root);
    for line in [&["status"][..], &["network", "ls"], &["fdb", "show"], &["stats", "--format", "json"]] {
        let socket = "unix:///nonexistent/weft.sock";
        refused(&daemon::weft(&[&["-H", socket], line].concat()), 5, "/nonexistent/weft.sock");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    need!(Root);
    for line in [&["nonsense"][..], &["network", "create"], &["status", "--no-such-flag"], &["network"]] {
        let outcome = daemon::weft(line);
        assert_eq!(outcome.code, Some(2), "{line:?}: {}", outcome.stderr);
    }
    for line in [&["--help"][..], &["--version"], &["network", "create", "--help"]] {
        assert!(!daemon::weft(line).must().is_empty(), "help is data: it goes to standard output");
    }
}

/// A host, its peer's address, and its configuration, for daemons that are to refuse.
fn scene() -> (Underlay, Config) {
    let underlay = Underlay::new(2, Family::V4, Offloads::On);
    let config = Config::new(underlay.hosts[0].address, &[underlay.hosts[1].address]);
    (underlay, config)
}

#[track_caller]
fn daemon_refuses(host: &Host, config: &Config, code: i32, value: &str) {
    let before = host.ns.links();
    let outcome = Daemon::refusal(&host.ns, config);
    refused(&outcome, code, value);
    assert_eq!(host.ns.links(), before, "a daemon that refused left a link behind");
}

#[test]
fn unknown_configuration_keys_are_named_with_their_line() {
    need!(Root, Tun);
    let (underlay, good) = scene();
    let mut config = good.clone();
    config.top = "colour = \"red\"".into();
    daemon_refuses(&underlay.hosts[0], &config, 2, "colour");
    let outcome = Daemon::refusal(&underlay.hosts[0].ns, &config);
    assert!(outcome.stderr.contains("line 1"), "{}", outcome.stderr);
    config = good;
    config.underlay = "shade = 7\n".into();
    daemon_refuses(&underlay.hosts[0], &config, 2, "shade");
}

#[test]
fn configurations_that_cannot_be() {
    need!(Root, Tun);
    let (underlay, good) = scene();
    let host = &underlay.hosts[0];
    let mut own_peer = good.clone();
    own_peer.peers.push(host.address);
    daemon_refuses(host, &own_peer, 2, "172.31.77.1");
    let mut other_family = good.clone();
    other_family.peers = vec![Family::V6.address(2)];
    daemon_refuses(host, &other_family, 2, "fd77::2");
    let mut foreign = good.clone();
    foreign.address = Some(Family::V4.address(200));
    daemon_refuses(host, &foreign, 2, "172.31.77.200");
    let mut mode = good.clone();
    mode.mode = Some("carrier-pigeon");
    daemon_refuses(host, &mode, 2, "carrier-pigeon");
    let mut address = good;
    address.underlay = "port = 70000\n".into();
    daemon_refuses(host, &address, 2, "70000");
}

#[test]
fn a_taken_tunnel_port_is_named() {
    need!(Root, Tun);
    let (underlay, config) = scene();
    let host = &underlay.hosts[0];
    let taken = host.ns.enter(|| UdpSocket::bind((host.address, 4789)).expect("a fresh namespace"));
    let before = host.ns.links();
    let outcome = Daemon::refusal(&host.ns, &config);
    refused(&outcome, 4, "4789");
    assert_eq!(host.ns.links(), before);
    drop(taken);
    drop(Daemon::start(&host.ns, &config));
}

#[test]
fn a_second_daemon_on_one_state_directory_is_refused_and_the_first_unharmed() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let directory = netns::scratch();
    let first = wire.daemon.directory().display().to_string();
    let text = std::fs::read_to_string(wire.daemon.directory().join("config.toml")).expect("we wrote it");
    std::fs::write(directory.path().join("config.toml"), text).expect("our own directory");
    let second = Daemon::spawn_in(&wire.underlay.hosts[0].ns, directory, &[]);
    let outcome = second.outcome();
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&first), "{}", outcome.stderr);
    assert_eq!(wire.daemon.json(&["status"])["ready"], true);
}

#[test]
fn without_the_tun_device_the_daemon_says_so() {
    need!(Root, Tun);
    let (underlay, config) = scene();
    let script = "mount -t tmpfs none /dev/net && exec \"$@\"";
    let outcome =
        refusal_under(&["unshare", "--mount", "sh", "-c", script, "sh"], &underlay.hosts[0], &config);
    refused(&outcome, 1, "/dev/net/tun");
}

#[test]
fn without_privileges_the_daemon_says_so() {
    need!(Root, Tun);
    let (underlay, config) = scene();
    let drop_all = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let outcome = refusal_under(&drop_all, &underlay.hosts[0], &config);
    refused(&outcome, 1, "root");
}

/// Starts a daemon inside the host by way of another program, in a directory that anybody may use.
#[track_caller]
fn refusal_under(wrapper: &[&str], host: &Host, config: &Config) -> Outcome {
    let directory = netns::scratch();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777))
        .expect("our own directory");
    config.write(directory.path());
    let own = directory.path().join("weft");
    std::fs::copy(daemon::executable(), &own).expect("our own directory");
    let (own, file) = (own.display().to_string(), directory.path().join("config.toml").display().to_string());
    let line = [&["netns", "exec", host.ns.name()], wrapper, &[&own, "daemon", "--config", &file]].concat();
    let before = host.ns.links();
    let outcome = cmd::run("ip", &line);
    assert_eq!(host.ns.links(), before);
    outcome
}
