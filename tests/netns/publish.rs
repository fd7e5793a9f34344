//! The host's own way to endpoints: its leg on bridge networks, and published ports from the host itself.

use harness::daemon::{Config, Daemon};
use harness::need;
use harness::netns::Namespace;
use harness::traffic;
use harness::underlay::{Family, Offloads, Underlay};
use harness::wait;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};

/// A host with a daemon and the bridge network `near`, 10.83.0.0/24 and fd83::/64.
struct Scene {
    underlay: Underlay,
    daemon: Daemon,
}

impl Scene {
    fn new() -> Self {
        let underlay = Underlay::new(2, Family::V4, Offloads::On);
        let config = Config::new(underlay.hosts[0].address, &[underlay.hosts[1].address]);
        let daemon = Daemon::start(&underlay.hosts[0].ns, &config);
        let line = ["network", "create", "near", "--subnet", "10.83.0.0/24", "--subnet", "fd83::/64"];
        daemon.weft(&line).must();
        Scene { underlay, daemon }
    }

    fn host(&self) -> &Namespace {
        &self.underlay.hosts[0].ns
    }

    fn connect(&self, name: &str, publish: &[&str]) -> Namespace {
        let ns = Namespace::new(name);
        let path = ns.path();
        let mut line = vec!["network", "connect", "near", &path, "--name", name];
        line.extend(publish.iter().flat_map(|port| ["-p", port]));
        self.daemon.weft(&line).must();
        ns
    }

    fn legs(&self) -> Vec<String> {
        let ours = |link: &String| link.starts_with("weft") || link.starts_with("wb-");
        self.host().links().into_iter().filter(ours).collect()
    }

    fn dial(&self, to: &str) -> std::io::Result<TcpStream> {
        self.host().enter(|| TcpStream::connect(to))
    }
}

/// Answers one connection with what it was asked, once that has ended.
fn answer(ns: &Namespace, at: &str) -> JoinHandle<()> {
    // A process that another test is just starting has the listener before this one for as long as it has not begun.
    let listener = wait::until("the address is free", || ns.enter(|| TcpListener::bind(at)).ok());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody connects");
        let mut asked = Vec::new();
        stream.read_to_end(&mut asked).expect("it ends");
        stream.write_all(&asked).expect("it listens");
    })
}

fn ask(mut stream: TcpStream, text: &str) -> String {
    stream.set_read_timeout(Some(wait::PATIENCE)).expect("it can be set");
    stream.write_all(text.as_bytes()).expect("it is connected");
    stream.shutdown(Shutdown::Write).expect("it is connected");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn the_host_and_its_bridge_networks_reach_each_other() {
    need!(Root, Tun);
    let mut scene = Scene::new();
    let ns = scene.connect("web", &[]);
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    assert!(traffic::can_ping(scene.host(), address("10.83.0.2")), "from the host");
    assert!(traffic::can_ping(&ns, address("10.83.0.1")), "to the host");
    assert!(traffic::can_ping(scene.host(), address("fd83::2")), "from the host, by IPv6");
    let server = answer(&ns, "10.83.0.2:80");
    assert_eq!(ask(scene.dial("10.83.0.2:80").expect("somebody listens"), "hello"), "hello");
    server.join().expect("it has answered");

    let legs = scene.legs();
    assert_eq!((legs.len(), legs.contains(&"weft0".to_owned())), (2, true), "{legs:?}");
    let near = legs.iter().find(|leg| leg.starts_with("wb-")).expect("the other");
    let id = scene.daemon.json(&["network", "inspect", "near"])[0]["Id"].to_string();
    assert!(id.contains(&near[3..]), "{near} is of network {id}");
    assert_eq!(scene.host().mac(near), [0x02, 0x57, 0x45, 0x46, 0x54, 0x01]);
    let key = format!("/proc/sys/net/ipv6/conf/{near}/accept_ra");
    assert_eq!(scene.host().exec(&["cat", &key]).must().trim(), "0", "no endpoint is the host's router");

    scene.host().ip(&["link", "del", near]);
    wait::until_true("the leg is put back", || traffic::can_ping(scene.host(), address("10.83.0.2")));
    wait::until_true("the doctor is content", || scene.daemon.weft(&["doctor"]).ok());
    scene.daemon.weft(&["network", "create", "apart", "-o", "host_access=off"]).must();
    scene.daemon.weft(&["network", "rm", "near", "apart"]).must();
    assert_eq!(scene.legs(), ["weft0"]);
    assert_eq!(scene.daemon.terminate().code(), Some(0));
    assert_eq!(scene.legs(), [""; 0]);
}

#[test]
fn a_leg_outlives_a_crash_and_is_taken_over() {
    need!(Root, Tun);
    let scene = Scene::new();
    let ns = scene.connect("web", &[]);
    let stations = |daemon: &Daemon| {
        let rows = daemon.json(&["fdb", "show", "near"]);
        let mut behind: Vec<_> =
            rows.as_array().expect("rows").iter().map(|row| row["port"].to_string()).collect();
        behind.sort();
        behind
    };
    assert_eq!(stations(&scene.daemon), ["\"(host)\"", "\"web\""]);
    let (legs, before) = (scene.legs(), stations(&scene.daemon));
    let Scene { underlay, daemon } = scene;
    let directory = daemon.crash();
    let daemon = Daemon::spawn_in(&underlay.hosts[0].ns, directory, &[]).ready();
    let scene = Scene { underlay, daemon };
    assert_eq!((scene.legs(), stations(&scene.daemon)), (legs, before));
    assert!(traffic::can_ping(&ns, "10.83.0.1".parse().expect("an address")));
    assert!(scene.daemon.weft(&["doctor"]).ok());
    let network = scene.daemon.json(&["network", "create", "other"]);
    let subnet = network["subnets"][0]["subnet"].as_str().expect("text").to_owned();
    assert_eq!(subnet, "172.18.0.0/16", "our own leg's subnet is the only one that is taken");
}

#[test]
fn a_published_port_is_reached_from_the_host_itself() {
    need!(Root, Tun);
    let scene = Scene::new();
    let own = scene.underlay.hosts[0].address;
    let web = scene.connect("web", &["8080:80", "127.0.0.1:5353:53/udp", ":81"]);
    let ports = scene.daemon.json(&["port", "ls"]);
    let chosen = ports.as_array().expect("rows").iter().find(|port| port["container_port"] == 81);
    let chosen = chosen.expect("it is listed")["host_port"].as_u64().expect("a number");
    for (inside, outside) in [
        ("10.83.0.2:80", "127.0.0.1:8080".to_owned()),
        ("10.83.0.2:80", format!("{own}:8080")),
        ("[fd83::2]:80", "[::1]:8080".to_owned()),
        ("10.83.0.2:81", format!("127.0.0.1:{chosen}")),
    ] {
        let server = answer(&web, inside);
        assert_eq!(ask(scene.dial(&outside).expect("somebody listens"), "hello"), "hello", "{outside}");
        server.join().expect("it has answered");
    }
    let (server, client) = (
        web.enter(|| UdpSocket::bind("10.83.0.2:53")),
        scene.host().enter(|| UdpSocket::bind("127.0.0.1:0")),
    );
    let (server, client) = (server.expect("it is free"), client.expect("it is free"));
    client.send_to(b"question", "127.0.0.1:5353").expect("it is sent");
    let mut datagram = [0; 16];
    let (len, from) = server.recv_from(&mut datagram).expect("it arrives");
    server.send_to(&datagram[..len], from).expect("it is sent");
    let (len, from) = client.recv_from(&mut datagram).expect("it comes back");
    assert_eq!((&datagram[..len], from.to_string()), (&b"question"[..], "127.0.0.1:5353".to_owned()));

    let inspected = scene.daemon.json(&["endpoint", "inspect", "web"]);
    assert_eq!(inspected[0]["ports"]["53/udp"][0]["HostPort"], "5353");
    let other = Namespace::new("other");
    let connect = |port: &str| scene.daemon.weft(&["network", "connect", "near", &other.path(), "-p", port]);
    let refusal = connect("8080:80");
    assert!(
        refusal.code == Some(4) && refusal.stderr.contains("endpoint 'web' on network 'near'"),
        "{refusal:?}"
    );
    let _owner = scene.host().enter(|| TcpListener::bind("0.0.0.0:9090")).expect("it is free");
    let refusal = connect("9090:80");
    let named = format!("(pid {})", std::process::id());
    assert!(refusal.code == Some(4) && refusal.stderr.contains(&named), "{refusal:?}");

    scene.daemon.weft(&["network", "disconnect", "near", "web"]).must();
    assert!(scene.dial("127.0.0.1:8080").is_err(), "nobody listens any more");
    connect("8080:80").must();
}

#[test]
fn published_ports_come_back_with_the_next_daemon() {
    need!(Root, Tun);
    let mut scene = Scene::new();
    let web = scene.connect("web", &["8080:80", ":81"]);
    let before = scene.daemon.json(&["port", "ls"]);
    for politely in [true, false] {
        let Scene { underlay, daemon } = scene;
        let directory = if politely { daemon.end() } else { daemon.crash() };
        let daemon = Daemon::spawn_in(&underlay.hosts[0].ns, directory, &[]).ready();
        scene = Scene { underlay, daemon };
        assert_eq!(scene.daemon.json(&["port", "ls"]), before);
        wait::until_true("all is as it was", || scene.daemon.weft(&["doctor"]).ok());
        let server = answer(&web, "10.83.0.2:80");
        assert_eq!(ask(scene.dial("127.0.0.1:8080").expect("somebody listens"), "hello"), "hello");
        server.join().expect("it has answered");
    }
}
