use super::*;
use crate::error::Problem;

/// The network that an engine asks for with these options, on one subnet.
fn asked(generic: &[(&str, &str)]) -> Result<EngineNetwork, String> {
    let generic: BTreeMap<_, _> = generic.iter().copied().collect();
    read(serde_json::json!({
        "NetworkID": "ab".repeat(32),
        "Options": {"com.docker.network.enable_ipv6": false, "com.docker.network.generic": generic},
        "IPv4Data": [{"AddressSpace": "LocalDefault", "Pool": "10.77.0.0/24", "Gateway": "10.77.0.1/24"}],
        "IPv6Data": [],
    }))
}

fn read(asked: serde_json::Value) -> Result<EngineNetwork, String> {
    let asked = serde_json::from_value(asked).unwrap();
    network(&asked).map_err(|error| Problem::from(error).to_string())
}

#[test]
fn a_network_is_a_bridge_unless_its_vni_or_its_driver_says_otherwise() {
    let EngineNetwork { request, ports } = asked(&[]).unwrap();
    assert_eq!((request.name.as_str(), request.driver), ("docker-abababababab", Driver::Bridge));
    assert_eq!(request.subnets, ["10.77.0.0/24".parse().unwrap()]);
    assert_eq!(request.gateways, ["10.77.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!((request.vni, request.mtu, request.internal, ports), (None, None, false, PortsBy::Weft));
    let driver = |options: &[(&str, &str)]| asked(options).unwrap().request.driver;
    assert_eq!(driver(&[("vni", "5000")]), Driver::Overlay);
    assert_eq!(driver(&[("driver", "overlay")]), Driver::Overlay);
    assert_eq!(driver(&[("driver", "bridge")]), Driver::Bridge);
}

#[test]
fn every_option_takes_effect() {
    let given = [("vni", "5000"), ("ports", "engine"), (MTU, "1400"), ("nat", "off"), ("fdb_limit", "7")];
    let EngineNetwork { request, ports } = asked(&given).unwrap();
    assert_eq!((request.vni, request.mtu, ports), (Some(5000), Some(1400), PortsBy::Engine));
    let rest = [("nat", "off"), ("fdb_limit", "7")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(request.options, rest.into());
    let internal = read(serde_json::json!({
        "NetworkID": "ab".repeat(32),
        "Options": {"com.docker.network.internal": true, "com.docker.network.later": {"x": []}},
        "IPv4Data": [{"Pool": "10.77.0.0/24", "AuxAddresses": {"router": "10.77.0.9/24", "a b": "10.77.0.8/24"}}],
        "IPv6Data": [{"Pool": "fd00::/64", "Gateway": "fd00::1/64", "AuxAddresses": null}],
    }));
    let request = internal.unwrap().request;
    assert!(request.internal && request.options.is_empty());
    assert_eq!(request.subnets.len(), 2);
    assert_eq!(request.gateways, ["fd00::1".parse::<IpAddr>().unwrap()]);
    let auxiliary: Vec<_> = request.auxiliary.iter().map(|(name, ip)| format!("{name} {ip}")).collect();
    assert_eq!(auxiliary, ["auxiliary-0 10.77.0.8", "router 10.77.0.9"]);
}

#[test]
fn what_is_refused_is_named_with_what_there_is() {
    for (key, value, named) in [
        ("antispoof", "on", "'antispoof'; use anti_spoof, com.docker.network.driver.mtu, driver,"),
        ("com.docker.network.bridge.name", "br0", "'com.docker.network.bridge.name'"),
        ("vni", "many", "'vni' cannot be 'many'; give a number"),
        ("vni", "-1", "'vni' cannot be '-1'"),
        (MTU, "", "cannot be ''"),
        ("nat", "yes", "'nat' cannot be 'yes'; give on or off"),
        ("driver", "macvlan", "'macvlan' is not in this build; use driver=bridge or"),
        ("driver", "host", "'host'; use driver=bridge or"),
        ("ports", "docker", "'docker'"),
    ] {
        let refusal = asked(&[(key, value)]).unwrap_err();
        assert!(refusal.contains(named) && refusal.lines().count() == 1, "{key}={value}: {refusal}");
    }
    let without = serde_json::json!({"NetworkID": "ab".repeat(32), "IPv4Data": null, "IPv6Data": [{"Pool": "fd00::/64"}]});
    assert!(read(without).unwrap_err().contains("--ipv4=false"));
}

#[test]
fn options_of_endpoints_are_known_or_refused() {
    let check = |text: &str| check_endpoint(&serde_json::from_str(text).unwrap()).map_err(|e| e.to_string());
    let known = r#"{"com.docker.network.portmap":[],"com.docker.network.endpoint.exposedports":[{"Proto":6,"Port":80}],
        "com.docker.network.endpoint.macaddress":"AhEiM0RV","com.docker.network.endpoint.ifname":"foo0",
        "com.docker.network.driver.private.no_proxy_6to4":true}"#;
    assert_eq!(check(known), Ok(()));
    assert_eq!(check("{}"), Ok(()));
    let refusal = check(r#"{"com.docker.network.endpoint.speed":"fast"}"#).unwrap_err();
    assert_eq!(refusal, "there is no option 'com.docker.network.endpoint.speed' of endpoints");
}

#[test]
fn a_mac_address_comes_in_base64() {
    assert_eq!(mac_of_base64("AhEiM0RV").unwrap(), "02:11:22:33:44:55");
    assert_eq!(mac_of_base64("////////").unwrap(), "ff:ff:ff:ff:ff:ff");
    for bad in ["", "AhEiM0R", "AhEiM0RVa", "AhEiM0R=", "AhEi M0R", "\u{e9}\u{e9}\u{e9}\u{e9}"] {
        assert!(mac_of_base64(bad).is_err(), "{bad}");
    }
}
