//! Each verb, by itself.

use super::client::{Scene, address};
use harness::need;
use harness::netns::Namespace;
use harness::traffic;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::thread;

#[test]
fn an_interface_comes_and_goes_in_every_version() {
    need!(Root, Tun);
    let scene = Scene::start();
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let container = Namespace::new("c");
        let more = json!({"cniVersion": version, "subnets": ["10.84.0.0/24", "fd84::/64"]});
        let config = scene.config(more);
        let result = scene.add(&config, &container);
        let told = &result["interfaces"][0];
        assert_eq!(result["cniVersion"], version);
        assert_eq!((&told["name"], &told["sandbox"]), (&json!("eth0"), &json!(container.path())));
        let link = container.link("eth0").expect("it is there");
        assert_eq!(told["mac"], link["address"], "{result}");
        let expected = if version == "1.1.0" { link["mtu"].clone() } else { Value::Null };
        assert_eq!(told["mtu"], expected, "{result}");
        let family = |index: usize| result["ips"][index]["version"].clone();
        let old = version < "1.0.0";
        assert_eq!(
            [family(0), family(1)],
            if old { [json!("4"), json!("6")] } else { [Value::Null, Value::Null] }
        );
        let routes = json!([{"dst": "0.0.0.0/0", "gw": "10.84.0.1"}, {"dst": "::/0", "gw": "fd84::1"}]);
        assert_eq!(result["routes"], routes);
        for index in 0..2 {
            let gateway = result["ips"][index]["gateway"].as_str().expect("a gateway").parse();
            assert!(traffic::can_ping(&container, gateway.expect("an address")), "{result}");
        }
        let check = scene.check(&config, &container, &result);
        if version == "0.3.1" {
            assert_eq!(check.refusal().0, 1, "there is no CHECK yet");
        } else {
            assert_eq!((check.code, check.stdout.as_str()), (Some(0), ""), "{check:?}");
        }
        scene.del(&config, &container);
        assert_eq!(container.links(), ["lo"]);
        scene.del(&config, &container);
    }
    assert_eq!(scene.endpoints(), [Value::Null; 0]);
}

#[test]
fn versions_are_told_to_whoever_asks() {
    need!(Root, Tun);
    let scene = Scene::start();
    let all = json!(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
    let bare = scene.call("VERSION", &Value::Null).unset("CNI_PATH");
    for (input, version) in
        [(r#"{"cniVersion":"0.4.0"}"#, "0.4.0"), (r#"{"cniVersion":"9.0.0"}"#, "1.1.0"), ("", "1.1.0")]
    {
        let told = scene.call("VERSION", &Value::Null).unset("CNI_PATH").input(input).result();
        assert_eq!(told, json!({"cniVersion": version, "supportedVersions": all}));
    }
    assert_eq!(bare.input("{").refusal().0, 6);
    let line = scene.daemon.weft(&["endpoint", "ls"]);
    assert!(line.ok(), "with arguments it is the command line");
}

#[test]
fn containers_that_come_at_once_share_the_network_that_the_first_makes() {
    need!(Root, Tun);
    let scene = Scene::start();
    let config = scene.config(json!({"subnet": "10.84.0.0/24", "ipMasq": true}));
    let containers: Vec<Namespace> = (0..12).map(|_| Namespace::new("crowd")).collect();
    let addresses: BTreeSet<_> = thread::scope(|scope| {
        let (scene, config) = (&scene, &config);
        let add = |container| scope.spawn(move || address(&scene.add(config, container), 0));
        let started: Vec<_> = containers.iter().map(add).collect();
        started.into_iter().map(|one| one.join().expect("it is added")).collect()
    });
    assert_eq!(addresses.len(), containers.len());
    let networks = scene.daemon.json(&["network", "ls"]);
    assert_eq!(networks.as_array().expect("rows").len(), 2, "{networks}");
    let (first, last) = (&containers[0], addresses.last().expect("an address"));
    assert!(traffic::can_ping(first, *last));
    thread::scope(|scope| containers.iter().for_each(|c| drop(scope.spawn(|| scene.del(&config, c)))));
    assert_eq!(scene.endpoints(), [Value::Null; 0]);
}

#[test]
fn del_needs_neither_namespace_nor_network_nor_a_good_configuration_but_a_daemon() {
    need!(Root, Tun);
    let scene = Scene::start();
    let config = scene.config(json!({"subnet": "10.84.0.0/24"}));
    let [gone, kept, wrong] = ["gone", "kept", "wrong"].map(Namespace::new);
    for container in [&gone, &kept, &wrong] {
        scene.add(&config, container);
    }
    let about_gone = scene.about("DEL", &config, &gone);
    drop(gone);
    about_gone.nothing();
    scene.about("DEL", &config, &kept).unset("CNI_NETNS").nothing();
    assert_eq!(kept.links(), ["lo"]);
    let unknown = scene
        .config(json!({"colour": "red", "subnet": 7, "mtu": "x", "runtimeConfig": {"bandwidth": {"x": 1}}}));
    scene.del(&unknown, &wrong);
    assert_eq!(wrong.links(), ["lo"]);
    scene.del(&scene.config(json!({"name": "nobody"})), &wrong);
    scene.del(&scene.config(json!({"name": "n".repeat(80)})), &wrong);

    scene.add(&config, &kept);
    let (calls, status) =
        ([("ADD", 11), ("DEL", 11), ("GC", 11)], scene.call("STATUS", &config).unset("CNI_PATH"));
    status.nothing();
    let mut away = config.clone();
    away["host"] = "unix:///nonexistent/weft.sock".into();
    away["cni.dev/valid-attachments"] = json!([]);
    for (verb, code) in calls {
        let container = Namespace::new("c");
        let (found, message) = scene.about(verb, &away, &container).refusal();
        assert!(found == code && message.contains("/nonexistent/weft.sock"), "{verb}: {found} {message}");
    }
    assert_eq!(scene.call("STATUS", &away).refusal().0, 50);
    assert_eq!(scene.endpoints().len(), 1, "nobody has touched the daemon that is there");
}

#[test]
fn gc_removes_what_is_not_in_the_list_and_nothing_that_is_not_its() {
    need!(Root, Tun);
    let scene = Scene::start();
    let config = scene.config(json!({"subnet": "10.84.0.0/24"}));
    let other = scene.config(json!({"name": "other", "subnet": "10.85.0.0/24"}));
    let [stays, goes, dead, own] = ["stays", "goes", "dead", "own"].map(Namespace::new);
    for container in [&stays, &goes, &dead] {
        scene.add(&config, container);
    }
    scene.about("ADD", &other, &goes).set("CNI_IFNAME", "eth1").result();
    scene.daemon.weft(&["network", "connect", "web", &own.path(), "--name", "own"]).must();
    drop(dead);

    let mut gc = config.clone();
    assert_eq!(scene.call("GC", &gc).refusal().0, 7, "without a list");
    gc["cni.dev/valid-attachments"] = json!([
        {"containerID": stays.name(), "ifname": "eth0"}, {"containerID": "unknown", "ifname": "eth0"},
    ]);
    scene.call("GC", &gc).nothing();
    assert_eq!((stays.links().len(), goes.links()), (2, vec!["eth1".to_owned(), "lo".to_owned()]));
    let networks: Vec<_> = scene.endpoints().iter().map(|e| e["network"].to_string()).collect();
    assert_eq!(networks.len(), 3, "{networks:?}");
    gc["cni.dev/valid-attachments"] = json!([]);
    scene.call("GC", &gc).nothing();
    scene.call("GC", &gc).nothing();
    assert_eq!((stays.links().len(), own.links().len()), (1, 2));
    let mut missing = scene.config(json!({"name": "missing"}));
    missing["cni.dev/valid-attachments"] = json!([]);
    scene.call("GC", &missing).nothing();
}

#[test]
fn check_sees_what_somebody_did() {
    need!(Root, Tun);
    let scene = Scene::start();
    let mapping = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
    let config = scene.config(json!({"subnet": "10.84.0.0/24", "runtimeConfig": {"portMappings": mapping}}));
    for (line, part) in [
        (&["link", "set", "eth0", "down"][..], "eth0 is down"),
        (&["address", "flush", "dev", "eth0"], "has lost its address 10.84.0."),
        (&["link", "set", "eth0", "address", "02:00:00:00:00:09"], "has another MAC than 02:42:0a:54:00:"),
        (&["route", "del", "default"], "the route to 0.0.0.0/0 via 10.84.0.1 is gone"),
    ] {
        let container = Namespace::new("c");
        let result = scene.add(&config, &container);
        assert_eq!(scene.check(&config, &container, &result).code, Some(0));
        container.ip(line);
        let (code, message) = scene.check(&config, &container, &result).refusal();
        assert!(code == 102 && message.contains(part), "{line:?}: {message}");
        scene.del(&config, &container);
        let (code, message) = scene.check(&config, &container, &result).refusal();
        assert!(code == 102 && message.contains("the daemon has no endpoint"), "{message}");
    }
    let container = Namespace::new("c");
    let result = scene.add(&config, &container);
    let mut lying = result.clone();
    lying["interfaces"][0]["mac"] = "02:00:00:00:00:09".into();
    lying["ips"][0]["address"] = "10.84.0.99/24".into();
    let (_, message) = scene.check(&config, &container, &lying).refusal();
    assert!(message.contains("02:00:00:00:00:09") && message.contains("10.84.0.99/24"), "{message}");
    let mut more = config.clone();
    more["runtimeConfig"]["portMappings"][0]["hostPort"] = 8081.into();
    let (_, message) = scene.check(&more, &container, &result).refusal();
    assert!(message.contains("*:8081/tcp is not published"), "{message}");
    assert_eq!(scene.about("CHECK", &config, &container).refusal().0, 7, "without prevResult");
}

#[test]
fn an_endpoint_says_whose_it_is() {
    need!(Root, Tun);
    let scene = Scene::start();
    let config = scene.config(json!({"subnet": "10.84.0.0/24"}));
    let container = Namespace::new("c");
    let id = format!("{}-{}", container.name(), "f".repeat(100));
    let about = scene.about("ADD", &config, &container).set("CNI_CONTAINERID", &id);
    about.set("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web-0;K8S_POD_NAMESPACE=shop").result();
    let told = scene.daemon.get("/v1/endpoints");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let labels = json!({
        "weft.cni/container": id, "weft.cni/ifname": "eth0", "weft.cni/network": "web",
        "io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop",
    });
    assert_eq!(told[0]["labels"], labels);
    let name = told[0]["name"].as_str().expect("a name");
    assert!(name.len() <= 63 && name.starts_with(container.name()), "{name}");
}
