//! Other plugins: before ours, after ours, and one that gives the addresses.

use super::client::{Call, Scene, address};
use super::wishes::{ask, serve};
use harness::daemon::Daemon;
use harness::need;
use harness::netns::{self, Namespace};
use harness::wait;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Runs a list of plugins as a runtime does: each gets the result of the one before, and what it declares of `runtime`.
struct List<'a> {
    scene: &'a Scene,
    plugins: Vec<Value>,
    runtime: Value,
}

impl<'a> List<'a> {
    fn new(scene: &'a Scene, plugins: Vec<Value>, runtime: Value) -> Self {
        List { scene, plugins, runtime }
    }

    fn call(&self, verb: &str, plugin: &Value, container: &Namespace, previous: &Value) -> Call<'a> {
        let mut config = plugin.clone();
        let capabilities = config["capabilities"].take();
        let object = config.as_object_mut().expect("an object");
        object.remove("capabilities");
        object.extend([("cniVersion".into(), "1.0.0".into()), ("name".into(), "web".into())]);
        for (key, value) in self.runtime.as_object().expect("an object") {
            if capabilities[key] == true {
                config["runtimeConfig"][key] = value.clone();
            }
        }
        if !previous.is_null() {
            config["prevResult"] = previous.clone();
        }
        self.scene.about(verb, &config, container)
    }

    #[track_caller]
    fn add(&self, container: &Namespace) -> Value {
        let step = |before: Value, plugin: &Value| self.call("ADD", plugin, container, &before).result();
        self.plugins.iter().fold(Value::Null, step)
    }

    #[track_caller]
    fn check(&self, container: &Namespace, result: &Value) {
        self.plugins.iter().for_each(|plugin| self.call("CHECK", plugin, container, result).nothing());
    }

    #[track_caller]
    fn del(&self, container: &Namespace, result: &Value) {
        self.plugins.iter().rev().for_each(|plugin| self.call("DEL", plugin, container, result).nothing());
    }
}

fn weft(scene: &Scene, more: Value) -> Value {
    let mut plugin = json!({"type": "weft", "host": scene.daemon.api()});
    plugin.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    plugin
}

#[test]
fn tuning_after_us_tunes_our_interface() {
    need!(Root, Tun, CniPlugins);
    let scene = Scene::start();
    let tuning = json!({"type": "tuning", "mtu": 1400, "sysctl": {"net.ipv4.conf.eth0.arp_announce": "2"}});
    let ours = weft(&scene, json!({"subnet": "10.84.0.0/24"}));
    let list = List::new(&scene, vec![ours, tuning], json!({}));
    let container = Namespace::new("c");
    let result = list.add(&container);
    assert_eq!(container.link("eth0").expect("it is there")["mtu"], 1400);
    let key = "/proc/sys/net/ipv4/conf/eth0/arp_announce";
    assert_eq!(container.enter(|| fs::read_to_string(key)).expect("it is there").trim(), "2");
    list.check(&container, &result);
    list.del(&container, &result);
    assert_eq!(container.links(), ["lo"]);
}

#[test]
fn portmap_after_us_publishes_for_the_host() {
    need!(Root, Tun, CniPlugins, Iptables);
    let scene = Scene::start();
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let runtime = json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]});
    let list = List::new(&scene, vec![weft(&scene, json!({"subnet": "10.84.0.0/24"})), portmap], runtime);
    scene.host().sysctl("ipv4/ip_forward", "1");
    let container = Namespace::new("c");
    let result = list.add(&container);
    assert_eq!(scene.daemon.json(&["port", "ls"]), json!([]), "the capability is not declared for us");
    serve(&container, 80);
    // Only from the host: what a container answers to the outside does not pass the kernel that would translate it.
    assert_eq!(ask(scene.host(), ([127, 0, 0, 1], 8080).into()), "10.84.0.1");
    // Its own CHECK, of 1.1.1, wants IPv6 rules where there is no IPv6 address.
    list.call("CHECK", &list.plugins[0], &container, &result).nothing();
    list.del(&container, &result);
    assert_eq!(container.links(), ["lo"]);
}

#[test]
fn what_an_earlier_plugin_made_stays_in_the_result() {
    need!(Root, Tun, CniPlugins);
    let scene = Scene::start();
    let loopback = json!({"type": "loopback"});
    let list = List::new(&scene, vec![weft(&scene, json!({"subnet": "10.84.0.0/24"}))], json!({}));
    let container = Namespace::new("c");
    let first = list.call("ADD", &loopback, &container, &Value::Null).set("CNI_IFNAME", "lo").result();
    let result = list.call("ADD", &list.plugins[0], &container, &first).result();
    let interfaces = result["interfaces"].as_array().expect("an array");
    let names: Vec<_> = interfaces.iter().map(|interface| interface["name"].to_string()).collect();
    assert_eq!(names, ["\"lo\"", "\"eth0\""]);
    let ours = result["ips"].as_array().expect("an array").iter().find(|ip| ip["interface"] == 1);
    assert_eq!(ours.expect("ours")["address"], "10.84.0.2/24", "{result}");
    list.check(&container, &result);
}

/// A network with addresses of `host-local`, whose book is in `directory`.
fn host_local(directory: &std::path::Path, more: Value) -> Value {
    let mut ipam = json!({
        "type": "host-local", "dataDir": directory.display().to_string(),
        "ranges": [[{"subnet": "10.86.0.0/24", "rangeStart": "10.86.0.50"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "198.51.100.0/24", "gw": "10.86.0.9"}],
    });
    ipam.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    json!({"cniVersion": "1.0.0", "ipam": ipam})
}

/// The addresses that are in the book.
fn lent(directory: &std::path::Path) -> Vec<String> {
    let files = fs::read_dir(directory.join("web")).into_iter().flatten().flatten();
    let mut names: Vec<_> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with("10."));
    names.sort();
    names
}

#[test]
fn host_local_gives_the_addresses_and_gets_them_back() {
    need!(Root, Tun, CniPlugins);
    let scene = Scene::start();
    let book = netns::scratch();
    let config = scene.config(host_local(book.path(), json!({})));
    let [a, b] = ["a", "b"].map(Namespace::new);
    let (first, second) = (scene.add(&config, &a), scene.add(&config, &b));
    assert_eq!([&first, &second].map(|r| address(r, 0).to_string()), ["10.86.0.50", "10.86.0.51"]);
    let routes =
        json!([{"dst": "0.0.0.0/0", "gw": "10.86.0.1"}, {"dst": "198.51.100.0/24", "gw": "10.86.0.9"}]);
    assert_eq!(first["routes"], routes);
    assert!(a.ip(&["route"]).contains("198.51.100.0/24 via 10.86.0.9"), "{}", a.ip(&["route"]));
    assert!(harness::traffic::can_ping(&a, address(&second, 0)));
    assert_eq!(lent(book.path()), ["10.86.0.50", "10.86.0.51"]);
    assert_eq!(scene.check(&config, &a, &first).code, Some(0));
    let Scene { underlay, daemon, plugins } = scene;
    let daemon = Daemon::spawn_in(&underlay.hosts[0].ns, daemon.end(), &[]).ready();
    let scene = Scene { underlay, daemon, plugins };
    wait::until_true("the next daemon has put it back", || scene.check(&config, &a, &first).code == Some(0));
    a.ip(&["route", "del", "198.51.100.0/24"]);
    let (code, message) = scene.check(&config, &a, &first).refusal();
    assert!(code == 102 && message.contains("198.51.100.0/24 via 10.86.0.9 is gone"), "{message}");
    for container in [&a, &b, &a] {
        scene.del(&config, container);
    }
    assert_eq!((lent(book.path()), scene.endpoints().len()), (vec![], 0));
    let missing = scene.about("ADD", &config, &a).unset("CNI_PATH");
    assert!(missing.refusal().1.contains("CNI_PATH"));
}

#[test]
fn what_host_local_gave_goes_back_when_we_fail() {
    need!(Root, Tun, CniPlugins);
    let scene = Scene::start();
    let book = netns::scratch();
    let config = scene.config(host_local(book.path(), json!({})));
    let [good, bad] = ["good", "bad"].map(Namespace::new);
    scene.add(&config, &good);
    let taken = |more: Value| {
        let mut config = config.clone();
        config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let (code, message) = scene.about("ADD", &config, &bad).refusal();
        assert_eq!(
            (lent(book.path()), bad.links()),
            (vec!["10.86.0.50".into()], vec!["lo".into()]),
            "{message}"
        );
        (code, message)
    };
    let wrong_route =
        host_local(book.path(), json!({"routes": [{"dst": "192.0.2.0/24", "gw": "203.0.113.1"}]}));
    let (code, message) = taken(wrong_route);
    assert!(code == 7 && message.contains("203.0.113.1"), "{message}");
    let elsewhere = json!([[{"subnet": "10.87.0.0/24"}]]);
    let (code, message) = taken(host_local(book.path(), json!({"ranges": elsewhere})));
    assert!(code == 7 && message.contains("10.87.0."), "{message}");
    let mac = scene.endpoints()[0]["mac"].clone();
    let (code, message) = taken(json!({"runtimeConfig": {"mac": mac}}));
    assert!(code == 100, "{message}");
}

/// Puts a plugin into the scene's directory: a shell script.
fn script(scene: &Scene, name: &str, text: &str) {
    let path = scene.plugins.path().join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("our own directory");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
}

#[test]
fn a_delegated_plugin_hears_every_verb_and_its_refusals_are_passed_on() {
    need!(Root, Tun);
    let scene = Scene::start();
    let heard = scene.plugins.path().join("heard");
    let result =
        r#"{"cniVersion":"1.1.0","ips":[{"address":"10.86.0.7/24"}],"dns":{"nameservers":["192.0.2.8"]}}"#;
    let answer = format!(
        "echo \"$CNI_COMMAND $CNI_CONTAINERID $(cat | grep -c whole)\" >>{}\n[ $CNI_COMMAND = ADD ] && echo '{result}' || true",
        heard.display()
    );
    script(&scene, "parrot", &answer);
    let mut config =
        scene.config(json!({"ipam": {"type": "parrot", "whole": true}, "subnet": "10.86.0.0/24"}));
    config["cni.dev/valid-attachments"] = json!([]);
    let container = Namespace::new("c");
    scene.call("STATUS", &config).nothing();
    let told = scene.add(&config, &container);
    assert_eq!(
        (&told["ips"][0]["address"], &told["dns"]["nameservers"][0]),
        (&json!("10.86.0.7/24"), &json!("192.0.2.8"))
    );
    assert_eq!(scene.check(&config, &container, &told).code, Some(0));
    scene.call("GC", &config).nothing();
    scene.del(&config, &container);
    let (id, heard) = (container.name(), fs::read_to_string(&heard).expect("it was called"));
    let expected = format!("STATUS  1\nADD {id} 1\nCHECK {id} 1\nGC  1\nDEL {id} 1\n");
    assert_eq!(heard, expected);

    for (name, text, code, part) in [
        (
            "refuses",
            r#"echo '{"cniVersion":"1.1.0","code":123,"msg":"nothing left","details":"d"}'; exit 1"#,
            123,
            "nothing left",
        ),
        ("dies", "exit 3", 101, "did not say why"),
        ("babbles", "echo yes", 101, "gave no result"),
        ("is-silent", "true", 101, "gave no result"),
        ("gives-nothing", "echo '{}'", 101, "no IPv4 address"),
    ] {
        script(&scene, name, text);
        let config = scene.config(json!({"ipam": {"type": name}, "subnet": "10.86.0.0/24"}));
        let (found, message) = scene.about("ADD", &config, &container).refusal();
        assert!(found == code && message.contains(part) && message.contains(name), "{found} {message}");
    }
    assert_eq!(container.links(), ["lo"]);
}
