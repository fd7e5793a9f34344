//! What an operator's tools see of a daemon: signals, the supervisor's socket, metrics, logs, credentials.

use harness::cmd::{self, LIMIT};
use harness::daemon::{Config, Daemon, executable};
use harness::need;
use harness::netns::{self, Namespace};
use harness::underlay::{Family, Offloads, Underlay};
use harness::wait;
use harness::wire::Wire;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

/// Status and body of one request at the metrics' port of the daemon in `host`.
fn get(host: &Namespace, path: &str) -> (String, String) {
    host.enter(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9789").expect("somebody listens");
        stream.set_read_timeout(Some(LIMIT)).expect("not zero");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.split(' ').nth(1).expect("a status").to_owned(), body.to_owned())
    })
}

/// Waits until the daemon has written `words` more often than `before`.
fn await_log(daemon: &Daemon, words: &str, before: usize) {
    wait::until_true("the log says it", || daemon.stderr().matches(words).count() > before);
}

#[test]
fn a_hangup_changes_what_can_change_and_names_the_rest() {
    need!(Root, Tun);
    let underlay = Underlay::new(3, Family::V4, Offloads::Off);
    let [host, peer, other] = underlay.hosts.as_slice() else { panic!("three hosts were made") };
    let mut config = Config::new(host.address, &[peer.address]);
    config.workers = Some(1);
    let mut daemon = Daemon::start(&host.ns, &config);
    daemon
        .weft(&["network", "create", "blue", "-d", "overlay", "--vni", "77", "--subnet", "10.77.0.0/24"])
        .must();

    config.peers = vec![peer.address, other.address];
    config.workers = Some(2);
    config.write(daemon.directory());
    kill(daemon.pid(), Signal::SIGHUP).expect("it runs");
    await_log(&daemon, "configuration reloaded", 0);
    let peers = json!([peer.address, other.address]);
    assert_eq!(daemon.json(&["status"])["peers"], peers);
    assert_eq!(daemon.json(&["network", "ls"])[0]["peers"], peers, "networks that exist follow");
    let log = daemon.stderr();
    let named = log.lines().find(|line| line.contains("needs a restart")).unwrap_or_else(|| panic!("{log}"));
    assert!(named.contains("dataplane.workers"), "{named}");

    fs::write(daemon.directory().join("config.toml"), "node = 'a'\ncolour = 'red'")
        .expect("our own directory");
    kill(daemon.pid(), Signal::SIGHUP).expect("it runs");
    await_log(&daemon, "not reloaded", 0);
    let log = daemon.stderr();
    assert!(log.lines().any(|line| line.contains("line 2") && line.contains("colour")), "{log}");
    assert_eq!(daemon.json(&["status"])["peers"], peers, "a wrong configuration changes nothing");
    assert!(daemon.alive());
    assert_eq!(daemon.terminate().code(), Some(0));
}

/// The next message to the supervisor that is not from the watchdog.
fn told(supervisor: &UnixDatagram) -> String {
    loop {
        let mut message = [0; 4096];
        let length = supervisor.recv(&mut message).expect("a message in time");
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        if text != "WATCHDOG=1\n" {
            return text;
        }
    }
}

#[test]
fn the_supervisor_is_told_and_the_watchdog_fed() {
    need!(Root, Tun);
    let host = Namespace::new("host");
    let directory = netns::scratch();
    Config::default().write(directory.path());
    let path = directory.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).expect("our own directory");
    supervisor.set_read_timeout(Some(LIMIT)).expect("not zero");
    let variables = [("NOTIFY_SOCKET", path.to_str().expect("UTF-8")), ("WATCHDOG_USEC", "100000")];
    let mut daemon = Daemon::spawn_with(&host, directory, &[], &variables);
    assert_eq!(told(&supervisor), "READY=1\n");
    assert!(daemon.weft(&["status"]).ok(), "ready means that it answers");
    let mut message = [0; 64];
    let length = supervisor.recv(&mut message).expect("fed in time");
    assert_eq!(&message[..length], b"WATCHDOG=1\n");

    kill(daemon.pid(), Signal::SIGHUP).expect("it runs");
    let reloading = told(&supervisor);
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(told(&supervisor), "READY=1\n");
    assert_eq!(daemon.terminate().code(), Some(0));
    assert_eq!(told(&supervisor), "STOPPING=1\n");
}

#[test]
fn metrics_are_served_and_a_taken_port_stops_no_daemon() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let host = &wire.underlay.hosts[0].ns;
    assert_eq!(get(host, "/healthz").0, "200");
    assert_eq!(get(host, "/readyz"), ("200".into(), "ready\n".into()));
    let (status, metrics) = get(host, "/metrics");
    assert_eq!(status, "200");
    let samples =
        ["weft_packets_total ", "weft_drops_total{reason=\"storm\"} ", "weft_fdb_entries{network=\"blue\"} "];
    for sample in samples {
        assert!(metrics.lines().any(|line| line.starts_with(sample)), "no {sample} in\n{metrics}");
    }

    let second =
        Daemon::start(host, &Config { underlay: "[underlay]\nport = 4999\n".into(), ..Config::default() });
    let status = second.json(&["status"]);
    assert_eq!(status["ready"], true);
    let warning = status["warnings"][0].as_str().unwrap_or_else(|| panic!("{status}"));
    assert!(warning.contains("127.0.0.1:9789") && warning.contains("metrics.listen"), "{warning}");
}

#[test]
fn a_log_of_json_is_an_object_a_line() {
    need!(Root, Tun);
    let host = Namespace::new("host");
    let directory = netns::scratch();
    Config::default().write(directory.path());
    let mut daemon = Daemon::spawn_in(&host, directory, &["--set", "log.format=json"]).ready();
    daemon.terminate();
    let log = daemon.stderr();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let ready =
        lines.iter().find(|line| line["message"].as_str().is_some_and(|text| text.starts_with("ready")));
    let ready = ready.unwrap_or_else(|| panic!("{log}"));
    assert!(
        ready["level"] == "INFO" && ready["socket"].is_string() && ready["timestamp"].is_string(),
        "{ready}"
    );
}

#[test]
fn strangers_are_refused_whatever_the_sockets_mode() {
    need!(Root, Tun);
    let host = Namespace::new("host");
    let daemon = Daemon::start(&host, &Config::default());
    // As careless hands would have it, and the executable where everybody can run it.
    for path in [daemon.directory().to_owned(), daemon.directory().join("run")] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("our own directory");
    }
    fs::set_permissions(daemon.socket(), Permissions::from_mode(0o666)).expect("our own directory");
    let weft = daemon.directory().join("weft");
    fs::copy(executable(), &weft).expect("our own directory");
    fs::set_permissions(&weft, Permissions::from_mode(0o755)).expect("our own directory");

    let weft = weft.to_str().expect("UTF-8");
    let who = ["--reuid=65534", "--regid=65534", "--clear-groups", weft, "-H", &daemon.api()];
    for command in [&["status"][..], &["network", "create", "mine"], &["network", "prune", "-f"]] {
        let outcome = cmd::run("setpriv", &[&who, command].concat());
        assert_eq!(outcome.code, Some(1), "{command:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("group weft"), "{}", outcome.stderr);
    }
    let networks = daemon.json(&["network", "ls"]);
    let names: Vec<_> = networks.as_array().expect("an array").iter().map(|n| &n["name"]).collect();
    assert_eq!(names, ["bridge"], "the predefined one only");
}
