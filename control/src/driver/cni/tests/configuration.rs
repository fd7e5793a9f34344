use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::model::Driver;

#[test]
fn a_whole_configuration_is_read() {
    let config = read(&with(json!({
        "cniVersions": ["1.0.0", "1.1.0"], "disableCheck": true, "disableGC": false, "capabilities": {"mac": true},
        "loadOnlyInlinedPlugins": true, "cni.dev/attachments": [], "cni.dev/other": 1,
        "driver": "overlay", "subnets": ["10.1.0.0/24", "fd01::/64"], "gateway": ["10.1.0.9", "fd01::9"], "vni": 7,
        "mtu": 1400, "internal": true, "options": {"anti_spoof": "off"}, "host": "unix:///tmp/weft.sock",
        "ipam": {"type": "host-local", "ranges": []}, "dns": {"nameservers": ["192.0.2.53"], "domain": "a.b"},
        "args": {"cni": {"labels": [{"key": "a", "value": "b"}], "ips": ["10.1.0.5"]}, "podman_labels": {"x": "y"}},
        "runtimeConfig": {
            "portMappings": [
                {"hostPort": 8080, "containerPort": 80, "protocol": "TCP"},
                {"hostPort": 8081, "containerPort": 81, "hostIP": ""},
                {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "::1"},
            ],
            "ips": ["10.1.0.5/24"], "mac": "02:00:00:00:00:05", "aliases": ["www"], "cgroupPath": "/a",
            "ipRanges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.4", "rangeEnd": "10.1.0.6"}]],
            "dns": {"servers": ["192.0.2.1"], "searches": ["c.d"], "options": ["ndots:2"]},
            "bandwidth": {"ingressRate": 0, "egressRate": 0}, "deviceID": "", "infinibandGUID": null,
        },
    })))
    .unwrap();
    let Configuration { head, network, runtime, args, dns, previous } = config;
    assert_eq!((head.version, head.name.as_str()), (Version::V1_1_0, "web"));
    assert_eq!((head.socket, head.ipam.as_deref()), (Some("/tmp/weft.sock".into()), Some("host-local")));
    assert_eq!((network.driver, network.vni, network.mtu), (Some(Driver::Overlay), Some(7), Some(1400)));
    assert_eq!((network.subnets.len(), network.gateways.len(), network.internal), (2, 2, Some(true)));
    let publish: Vec<_> = runtime.publish.iter().map(ToString::to_string).collect();
    assert_eq!(publish, ["8080-8081:80-81/tcp", "[::1]:53:53/udp"]);
    assert_eq!((runtime.ips.len(), runtime.aliases[0].as_str()), (1, "www"));
    let within = |last: u8| runtime.ranges[0][0].contains([10, 1, 0, last].into());
    assert_eq!([3, 4, 6, 7].map(within), [false, true, true, false]);
    assert_eq!(runtime.dns.unwrap().search, ["c.d"]);
    assert_eq!((args.labels["a"].as_str(), args.ips.len()), ("b", 1));
    assert_eq!((dns.domain.as_str(), previous), ("a.b", None));
}

#[test]
fn little_is_enough_and_a_vni_makes_an_overlay() {
    let config =
        read(&with(json!({"subnet": "10.1.0.0/24", "gateway": "10.1.0.1", "ipMasq": false}))).unwrap();
    assert_eq!((config.network.subnets.len(), config.network.gateways.len()), (1, 1));
    assert_eq!((config.network.options["nat"].as_str(), config.network.driver), ("off", None));
    assert_eq!(read(&with(json!({"vni": 5}))).unwrap().network.driver, Some(Driver::Overlay));
    let podman = json!({"runtimeConfig": {"aliases": {"web": ["www", "api"], "other": []}}});
    assert_eq!(read(&with(podman)).unwrap().runtime.aliases.len(), 2);
}

#[test]
fn what_cannot_be_is_refused_with_its_key_and_value() {
    let runtime = |key: &str, value: Value| json!({"runtimeConfig": {key: value}});
    let mapping = |value: Value| runtime("portMappings", json!([value]));
    for (more, code, parts) in [
        (json!({"subnett": "10.1.0.0/24"}), 2, ["'subnett'", "10.1.0.0/24"]),
        (json!({"bridge": "cni0"}), 2, ["'bridge'", "cni0"]),
        (runtime("colour", json!("red")), 2, ["'runtimeConfig.colour'", "red"]),
        (runtime("bandwidth", json!({"ingressRate": 9})), 2, ["'runtimeConfig.bandwidth'", "9"]),
        (runtime("infinibandGUID", json!("a:b")), 2, ["'runtimeConfig.infinibandGUID'", "a:b"]),
        (runtime("deviceID", json!("0000:00")), 2, ["'runtimeConfig.deviceID'", "0000:00"]),
        (
            runtime("ipRanges", json!([[{"subnet": "10.1.0.0/24"}]])),
            2,
            ["'runtimeConfig.ipRanges'", "10.1.0.0"],
        ),
        (
            mapping(json!({"hostPort": 1, "containerPort": 2, "protocol": "sctp"})),
            2,
            ["portMappings'", "sctp"],
        ),
        (mapping(json!({"hostPort": 0, "containerPort": 2})), 7, ["portMappings'", "0 is no port"]),
        (mapping(json!({"hostPort": 1, "containerPort": 65536})), 7, ["portMappings'", "65536 is no port"]),
        (mapping(json!({"hostPort": 1, "containerPort": 2, "hostIP": "x"})), 7, ["portMappings'", "'x'"]),
        (mapping(json!({"hostPort": 1})), 6, ["portMappings'", "containerPort"]),
        (mapping(json!({"hostPort": 1, "containerPort": 2, "x": 1})), 6, ["portMappings'", "`x`"]),
        (runtime("ips", json!(["10.1.0.0.1"])), 7, ["'runtimeConfig.ips'", "10.1.0.0.1"]),
        (runtime("mac", json!("01:00:5e:00:00:01")), 7, ["'runtimeConfig.mac'", "01:00:5e"]),
        (runtime("aliases", json!(["a b"])), 7, ["'runtimeConfig.aliases'", "a b"]),
        (runtime("aliases", json!({"other": ["a"]})), 7, ["'runtimeConfig.aliases'", "'other'"]),
        (runtime("dns", json!({"servers": ["x"]})), 6, ["'runtimeConfig.dns'", "\"x\""]),
        (json!({"args": {"cni": {"colour": 1}}}), 2, ["'args.cni.colour'", "1"]),
        (json!({"runtimeConfig": []}), 6, ["'runtimeConfig'", "[]"]),
        (json!({"subnet": 7}), 6, ["'subnet'", "7"]),
        (json!({"mtu": "large"}), 6, ["'mtu'", "large"]),
        (json!({"mtu": -1}), 6, ["'mtu'", "-1"]),
        (json!({"options": {"colour": "red"}}), 7, ["'options'", "colour"]),
        (json!({"options": {"nat": "on"}, "ipMasq": false}), 7, ["'ipMasq'", "false"]),
        (json!({"subnet": "10.1.0.0/24", "subnets": ["10.2.0.0/24"]}), 7, ["'subnets'", "'subnet'"]),
        (json!({"driver": "host"}), 7, ["'driver'", "host"]),
        (json!({"driver": "macvlan"}), 7, ["'driver'", "macvlan"]),
        (json!({"host": "tcp://1.2.3.4"}), 7, ["'host'", "tcp://1.2.3.4"]),
        (json!({"ipam": {"subnet": "10.1.0.0/24"}}), 7, ["'ipam.type'", "missing"]),
        (json!({"ipam": {"type": "../../bin/sh"}}), 7, ["'ipam.type'", "../../bin/sh"]),
        (json!({"name": "a b"}), 7, ["'name'", "a b"]),
        (json!({"name": null}), 7, ["'name'", "missing"]),
        (json!({"prevResult": {"ips": [{"address": "x"}]}}), 6, ["'prevResult'", "invalid"]),
        (json!({"cniVersion": "0.2.0"}), 1, ["'0.2.0'", "CNI version"]),
        (json!({"cniVersion": null}), 1, ["''", "CNI version"]),
        (json!({"cniVersion": 1}), 6, ["'cniVersion'", "1"]),
    ] {
        let (found, message) = refusal(read(&with(more.clone())));
        assert_eq!(found, code, "{more}: {message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{more}: {message}");
    }
}

#[test]
fn what_is_no_object_is_not_decoded() {
    for input in ["", "{", "[]", "7", "{\"name\":", "nul", "\u{0}"] {
        let (code, message) = refusal(super::super::configuration::decode(input.as_bytes()));
        assert_eq!(code, 6, "{input}: {message}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(refusal(super::super::configuration::decode(deep.as_bytes())).0, 6);
    assert_eq!(refusal(super::super::read(Cursor::new(vec![b' '; INPUT_MAX + 1]))).0, 6);
    assert!(super::super::read(Cursor::new(vec![b' '; INPUT_MAX])).is_ok());
}

#[test]
fn verbs_are_as_old_as_the_versions_that_have_them() {
    let head = |version: &str, verb| {
        Head::take(&mut configuration_of(&with(json!({"cniVersion": version, "colour": "red"}))), verb)
    };
    assert!(head("0.3.1", Verb::Del).is_ok(), "DEL does not mind what it does not know");
    for (version, verb) in [("0.3.1", Verb::Check), ("1.0.0", Verb::Gc), ("1.0.0", Verb::Status)] {
        let (code, message) = refusal(head(version, verb));
        assert!(code == 1 && message.contains(verb.as_str()) && message.contains(version), "{message}");
    }
    assert!(head("1.1.0", Verb::Gc).is_ok() && head("0.4.0", Verb::Check).is_ok());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "10\\.[0-9]\\.0\\.[0-9]/[0-9]{1,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-zA-Z]{1,6}|type|cni|ips|mac|portMappings|dns", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_a_key_holds_the_answer_is_a_configuration_or_a_refusal(
        key in "driver|subnets?|gateway|vni|mtu|internal|options|host|ipam|dns|args|runtimeConfig|prevResult|ipMasq|name|cniVersion|x",
        value in any_json(),
    ) {
        if let Err(error) = read(&with(json!({key: value}))) {
            let told = error.told(Version::NEWEST);
            prop_assert!([1, 2, 6, 7].contains(&told.code), "{told:?}");
            prop_assert!(!told.msg.is_empty() && !told.msg.contains('\n'));
        }
    }
}
