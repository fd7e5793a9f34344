//! What a runtime asks for one container.

use super::client::{Scene, address};
use harness::need;
use harness::netns::Namespace;
use harness::traffic;
use harness::wait;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Answers every connection with the address it came from.
pub(super) fn serve(container: &Namespace, port: u16) {
    let listener = container.enter(|| TcpListener::bind(("0.0.0.0", port))).expect("the port is free inside");
    thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            // Whoever asks may have gone.
            let _ = stream.write_all(from.ip().to_string().as_bytes());
        }
    });
}

/// What is answered at `to`.
#[track_caller]
pub(super) fn ask(from: &Namespace, to: SocketAddr) -> String {
    let mut stream = wait::until("somebody answers", || {
        from.enter(|| TcpStream::connect_timeout(&to, wait::PATIENCE)).ok()
    });
    stream.set_read_timeout(Some(wait::PATIENCE)).expect("it can be set");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("an answer");
    said
}

#[test]
fn containers_reach_each_other_and_the_outside_and_are_reached_by_their_ports() {
    need!(Root, Tun);
    let scene = Scene::start();
    let mappings = json!([
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 8081, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"},
    ]);
    let config = scene.config(json!({"subnet": "10.84.0.0/24"}));
    let published =
        scene.config(json!({"subnet": "10.84.0.0/24", "runtimeConfig": {"portMappings": mappings}}));
    let [a, b] = ["a", "b"].map(Namespace::new);
    let (to_a, to_b) = (address(&scene.add(&published, &a), 0), address(&scene.add(&config, &b), 0));
    let (outside, far) = scene.outside();
    assert!(traffic::can_ping(&a, to_b) && traffic::can_ping(&b, to_a), "each other");
    wait::until_true("the outside is reached", || traffic::can_ping(&a, far));
    serve(&a, 80);
    assert_eq!(ask(outside, (scene.address(), 8080).into()), far.to_string(), "the client's own address");
    ask(scene.host(), ([127, 0, 0, 1], 8081).into());
    ask(&b, (scene.address(), 8080).into());
    let row = |port: &Value| (port["host_port"].to_string(), port["host_address"].to_string());
    let ports = scene.daemon.json(&["port", "ls"]);
    let rows: Vec<_> = ports.as_array().expect("rows").iter().map(row).collect();
    let expected = [("8080", "\"0.0.0.0\""), ("8081", "\"127.0.0.1\"")];
    assert_eq!(rows, expected.map(|(port, address)| (port.to_owned(), address.to_owned())));

    let rival = Namespace::new("rival");
    let (code, message) = scene.about("ADD", &published, &rival).refusal();
    assert!(code == 100 && message.contains("8080"), "{code} {message}");
    scene.del(&published, &a);
    scene.add(&published, &rival);
}

#[test]
fn addresses_mac_names_and_resolvers_are_as_asked() {
    need!(Root, Tun);
    let scene = Scene::start();
    let runtime = json!({
        "ips": ["10.84.0.77/24", "fd84::77"], "mac": "02:00:00:00:00:77", "aliases": {"web": ["www", "api"]},
        "dns": {"servers": ["192.0.2.53"], "searches": ["a.b"], "options": ["ndots:2"]}, "cgroupPath": "/x",
    });
    let more = json!({"subnets": ["10.84.0.0/24", "fd84::/64"], "dns": {"nameservers": ["192.0.2.1"]}});
    let mut config = scene.config(more);
    let first = Namespace::new("first");
    assert_eq!(scene.add(&config, &first)["dns"], json!({"nameservers": ["192.0.2.1"]}));
    config["runtimeConfig"] = runtime;
    let second = Namespace::new("second");
    let result = scene.add(&config, &second);
    assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:77");
    assert_eq!(
        [address(&result, 0).to_string(), address(&result, 1).to_string()],
        ["10.84.0.77", "fd84::77"]
    );
    assert_eq!(
        result["dns"],
        json!({"nameservers": ["192.0.2.53"], "search": ["a.b"], "options": ["ndots:2"]})
    );
    assert_eq!(second.mac("eth0"), [2, 0, 0, 0, 0, 0x77]);
    let told = scene.endpoints().into_iter().find(|e| e["mac"] == "02:00:00:00:00:77").expect("it is listed");
    assert_eq!(told["aliases"], json!(["www", "api"]));

    let plain = scene.config(json!({"name": "plain", "subnet": "10.85.0.0/24"}));
    let third = Namespace::new("third");
    let args = scene.about("ADD", &plain, &third).set("CNI_ARGS", "IP=10.85.0.9;MAC=02:00:00:00:00:09");
    let result = args.result();
    assert_eq!(address(&result, 0).to_string(), "10.85.0.9");
    assert_eq!(third.mac("eth0"), [2, 0, 0, 0, 0, 9]);
    let fourth = Namespace::new("fourth");
    let (code, message) = scene.about("ADD", &plain, &fourth).set("CNI_ARGS", "IP=10.85.0.9").refusal();
    assert!(code == 100 && message.contains("10.85.0.9"), "{message}");
}

#[test]
fn a_container_on_two_networks_keeps_its_first_way_out() {
    need!(Root, Tun);
    let scene = Scene::start();
    let container = Namespace::new("c");
    let config = |name: &str, subnet: &str| scene.config(json!({"name": name, "subnet": subnet}));
    let (one, two) = (config("one", "10.84.0.0/24"), config("two", "10.85.0.0/24"));
    let inside = scene.config(json!({"name": "inside", "subnet": "10.86.0.0/24", "internal": true}));
    assert_eq!(scene.add(&one, &container)["routes"], json!([{"dst": "0.0.0.0/0", "gw": "10.84.0.1"}]));
    let second = scene.about("ADD", &two, &container).set("CNI_IFNAME", "eth1").result();
    assert_eq!((&second["routes"], &second["ips"][0]["gateway"]), (&Value::Null, &json!("10.85.0.1")));
    let third = scene.about("ADD", &inside, &container).set("CNI_IFNAME", "eth2").result();
    assert_eq!((&third["routes"], &third["ips"][0]["gateway"]), (&Value::Null, &Value::Null));
    assert_eq!(container.links(), ["eth0", "eth1", "eth2", "lo"]);
    for (config, ifname) in [(&inside, "eth2"), (&one, "eth0"), (&two, "eth1")] {
        scene.about("DEL", config, &container).set("CNI_IFNAME", ifname).nothing();
    }
    assert_eq!(container.links(), ["lo"]);

    let own = Namespace::new("own");
    own.ip(&["link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
    own.ip(&["link", "set", "v0", "up"]);
    own.ip(&["address", "add", "192.0.2.2/24", "dev", "v0"]);
    own.ip(&["route", "add", "default", "via", "192.0.2.1"]);
    let result = scene.add(&one, &own);
    assert_eq!(result["routes"], Value::Null, "somebody else's default route stays, and ours is not told");
}
