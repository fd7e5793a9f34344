//! Bad input: the specification's code, a message that names what is wrong, and no change of anything.

use super::client::Scene;
use harness::need;
use harness::netns::{self, Namespace};
use serde_json::{Value, json};

/// All that must not change.
fn state(scene: &Scene, container: &Namespace) -> (String, Vec<String>, Vec<String>) {
    (scene.store(), scene.host().links(), container.links())
}

#[test]
fn a_configuration_that_cannot_be_changes_nothing() {
    need!(Root, Tun);
    let scene = Scene::start();
    let container = Namespace::new("c");
    let before = state(&scene, &container);
    let runtime = |key: &str, value: Value| json!({"runtimeConfig": {key: value}});
    for (more, code, part) in [
        (json!({"colour": "red"}), 2, "'colour'"),
        (json!({"isGateway": true}), 2, "'isGateway'"),
        (runtime("bandwidth", json!({"ingressRate": 1000})), 2, "'runtimeConfig.bandwidth'"),
        (runtime("ipRanges", json!([[{"subnet": "10.84.0.0/24"}]])), 2, "'runtimeConfig.ipRanges'"),
        (
            runtime("portMappings", json!([{"hostPort": 9, "containerPort": 9, "protocol": "sctp"}])),
            2,
            "sctp",
        ),
        (runtime("portMappings", json!([{"hostPort": 70000, "containerPort": 9}])), 7, "70000"),
        (
            json!({"subnet": "10.84.0.0/24", "runtimeConfig": {"portMappings": [
                {"hostPort": 9, "containerPort": 9, "hostIP": "224.0.0.1"}
            ]}}),
            7,
            "224.0.0.1",
        ),
        (runtime("portMappings", json!("80")), 6, "\"80\""),
        (runtime("ips", json!(["10.84.0.5/24", "10.84.0.6/24"])), 7, "10.84.0.5 and 10.84.0.6"),
        (runtime("mac", json!("ff:ff:ff:ff:ff:ff")), 7, "ff:ff:ff:ff:ff:ff"),
        (json!({"subnet": "10.84.0.0/33"}), 6, "10.84.0.0/33"),
        (json!({"subnet": "10.84.0.0/24", "gateway": "10.85.0.1"}), 7, "10.85.0.1"),
        (json!({"subnet": "172.31.77.0/24"}), 100, "172.31.77.0/24"),
        (json!({"mtu": 10}), 7, "10"),
        (json!({"vni": 16_777_216}), 7, "16777216"),
        (json!({"vni": 7, "driver": "bridge"}), 7, "VNI"),
        (json!({"internal": true, "ipMasq": true}), 7, "nat"),
        (json!({"driver": "macvlan"}), 7, "macvlan"),
        (json!({"name": ""}), 7, "'name'"),
        (json!({"name": "../x"}), 7, "../x"),
        (json!({"cniVersion": "2.0.0"}), 1, "2.0.0"),
        (json!({"ipam": {"type": "no-such-plugin"}}), 101, "no-such-plugin"),
        (json!({"prevResult": {"interfaces": [{"name": "eth0", "sandbox": container.path()}]}}), 100, "eth0"),
    ] {
        let config = scene.config(more);
        let (found, message) = scene.about("ADD", &config, &container).refusal();
        assert!(found == code && message.contains(part), "{config}: {found} {message}");
        assert_eq!(state(&scene, &container), before, "{config}");
    }
    let config = scene.config(json!({}));
    for input in ["", "{", "null", "[1]", "{\"cniVersion\":\"1.1.0\",}"] {
        assert_eq!(scene.about("ADD", &config, &container).input(input).refusal().0, 6, "{input}");
    }
    let large = format!("{}{config}", " ".repeat(5 << 20));
    let (code, message) = scene.about("ADD", &config, &container).input(large).refusal();
    assert!(code == 6 && message.contains("more than 4194304 bytes"), "{message}");
    assert_eq!(state(&scene, &container), before);
}

#[test]
fn an_environment_that_cannot_be_changes_nothing() {
    need!(Root, Tun);
    let scene = Scene::start();
    let container = Namespace::new("c");
    let config = scene.config(json!({"subnet": "10.84.0.0/24"}));
    let file = netns::scratch();
    let text = file.path().join("text");
    std::fs::write(&text, "no namespace").expect("our own directory");
    let (before, text) = (state(&scene, &container), text.display().to_string());
    for (variable, value, code, part) in [
        ("CNI_COMMAND", "APPEND", 4, "APPEND"),
        ("CNI_CONTAINERID", "", 4, "CNI_CONTAINERID is missing"),
        ("CNI_CONTAINERID", "a b", 4, "'a b'"),
        ("CNI_IFNAME", "much-too-long-a-name", 4, "much-too-long-a-name"),
        ("CNI_IFNAME", "lo", 100, "'lo'"),
        ("CNI_NETNS", "", 4, "CNI_NETNS is missing"),
        ("CNI_NETNS", "relative", 8, "relative"),
        ("CNI_NETNS", "/run/netns/nobody", 8, "/run/netns/nobody"),
        ("CNI_NETNS", &text, 8, "is not a network namespace"),
        ("CNI_NETNS", "/proc/self/ns/mnt", 8, "/proc/self/ns/mnt"),
        ("CNI_NETNS", "/dev/zero", 8, "/dev/zero"),
        ("CNI_NETNS", &scene.host().path(), 8, "host's own"),
        ("CNI_ARGS", "IP", 4, "malformed"),
        ("CNI_ARGS", "FOO=bar", 4, "FOO"),
        ("CNI_ARGS", "IP=10.84.0.256", 4, "10.84.0.256"),
        ("CNI_ARGS", "IP=192.0.2.9/24", 7, "192.0.2.9"),
        ("CNI_ARGS", "K8S_POD_INFRA_CONTAINER_ID=other", 4, "'other'"),
    ] {
        let call = scene.about("ADD", &config, &container).set(variable, value);
        let (found, message) = call.refusal();
        assert!(found == code && message.contains(part), "{variable}={value}: {found} {message}");
        assert_eq!(state(&scene, &container), before, "{variable}={value}");
    }
    assert_eq!(scene.endpoints(), [Value::Null; 0]);
}

#[test]
fn a_network_that_is_another_is_left_as_it_is() {
    need!(Root, Tun);
    let scene = Scene::start();
    scene.daemon.weft(&["network", "create", "web", "--subnet", "10.84.0.0/24", "-o", "nat=off"]).must();
    let container = Namespace::new("c");
    let before = state(&scene, &container);
    for (more, part) in [
        (json!({"subnet": "10.85.0.0/24"}), "it has 10.84.0.0/24, not 10.85.0.0/24"),
        (json!({"driver": "overlay"}), "its driver is bridge, not overlay"),
        (json!({"mtu": 1400}), "its MTU is 1500, not 1400"),
        (json!({"internal": true}), "'internal' is false, not true"),
        (json!({"ipMasq": true}), "its option nat is off, not on"),
    ] {
        let config = scene.config(more);
        for verb in ["ADD", "STATUS"] {
            let (code, message) = scene.about(verb, &config, &container).refusal();
            assert!(code == 7 && message.contains(part), "{verb} {config}: {code} {message}");
        }
    }
    assert_eq!(state(&scene, &container), before);
    scene.add(&scene.config(json!({"subnet": "10.84.0.0/24", "ipMasq": false})), &container);
    let bare = scene.config(json!({"name": "bridge"}));
    scene.about("ADD", &bare, &container).set("CNI_IFNAME", "eth1").result();
    let (code, message) = scene.about("ADD", &bare, &container).refusal();
    assert!(code == 100 && message.contains("eth0"), "{message}");
}
