//! What engines ask, in the order in which they ask it.

use std::os::fd::{AsFd, AsRawFd};

use super::*;
use crate::model::EndpointState;
use crate::network::fake::Refuse;
use crate::sandbox::Netns;

#[tokio::test]
async fn the_plugin_says_what_it_is() {
    let docker = Docker::start();
    let said = async |call: &str| docker.post(call, "").await.1;
    assert_eq!(said("Plugin.Activate").await, json!({"Implements": ["NetworkDriver", "IpamDriver"]}));
    let scope = json!({"Scope": "local", "ConnectivityScope": "global"});
    assert_eq!(said("NetworkDriver.GetCapabilities").await, scope);
    let capabilities = json!({"RequiresMACAddress": false, "RequiresRequestReplay": false});
    assert_eq!(said("IpamDriver.GetCapabilities").await, capabilities);
    let spaces = said("IpamDriver.GetDefaultAddressSpaces").await;
    assert_ne!(spaces["LocalDefaultAddressSpace"], spaces["GlobalDefaultAddressSpace"]);
}

#[tokio::test]
async fn a_container_lives_as_an_engine_of_20_10_has_it() {
    let docker = Docker::start();
    let pool = json!({"AddressSpace": "WeftLocal", "Pool": "10.10.2.0/24", "SubPool": "", "Options": {}, "V6": false});
    let lent = docker.done("IpamDriver.RequestPool", pool).await;
    assert_eq!(lent["Pool"], "10.10.2.0/24");
    let id = lent["PoolID"].clone();
    let gateway =
        json!({"PoolID": id, "Address": "", "Options": {"RequestAddressType": "com.docker.network.gateway"}});
    assert_eq!(docker.done("IpamDriver.RequestAddress", gateway).await["Address"], "10.10.2.1/24");
    assert_eq!(docker.done("NetworkDriver.CreateNetwork", create(json!({}))).await, json!({}));
    let address = json!({"PoolID": id, "Address": "", "Options": {}});
    assert_eq!(docker.done("IpamDriver.RequestAddress", address).await["Address"], "10.10.2.2/24");

    let made = docker.done("NetworkDriver.CreateEndpoint", endpoint()).await;
    assert_eq!(
        made["Interface"],
        json!({"Address": "", "AddressIPv6": "", "MacAddress": "02:42:0a:0a:02:02"})
    );
    let joined = docker.done("NetworkDriver.Join", join()).await;
    let tap = format!("wf{}", &END[..12]);
    assert_eq!(joined["InterfaceName"], json!({"SrcName": tap, "DstPrefix": "eth"}));
    assert_eq!((&joined["Gateway"], &joined["GatewayIPv6"]), (&json!("10.10.2.1"), &json!("")));
    assert_eq!(joined["DisableGatewayService"], false);
    docker.done("NetworkDriver.ProgramExternalConnectivity", program(portmap())).await;
    for _ in 0..2 {
        assert_eq!(docker.done("NetworkDriver.EndpointOperInfo", of_endpoint()).await, json!({"Value": {}}));
    }
    let (_, known) = docker.manager.endpoints().remove(0);
    assert_eq!((known.state, known.ports.len(), known.ports[0].host), (EndpointState::Offered, 1, 8080));

    // Nobody tells that the interface is moved now; it is seen.
    let netns = Netns::nameless().unwrap();
    let there = format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd());
    docker.plane.world(|world| world.moved.insert(known.port().unwrap(), (there.into(), "eth0".into())));
    let settled = async {
        while docker.manager.endpoints()[0].1.state != EndpointState::Attached {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), settled).await.expect("it is seen in its sandbox");
    assert_eq!(docker.plane.world(|world| world.relayed.len()), 1);

    for call in ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint"] {
        assert_eq!(docker.done(&format!("NetworkDriver.{call}"), of_endpoint()).await, json!({}), "{call}");
    }
    for address in ["10.10.2.2", "10.10.2.1"] {
        docker.done("IpamDriver.ReleaseAddress", json!({"PoolID": id, "Address": address})).await;
    }
    docker.done("IpamDriver.ReleasePool", json!({"PoolID": id})).await;
    docker.done("NetworkDriver.DeleteNetwork", json!({"NetworkID": NET})).await;
    assert!(docker.manager.networks().is_empty());
    assert!(docker.plane.world(|world| world.open.is_empty() && world.reserved.is_empty()));
    let counted = docker.calls.read();
    assert_eq!(
        (counted["NetworkDriver.Join"].count(), counted["NetworkDriver.EndpointOperInfo"].count()),
        (1, 2)
    );
}

#[tokio::test]
async fn what_an_engine_of_28_says_more_is_passed_over() {
    let docker = Docker::start();
    let network = json!({
        "NetworkID": NET,
        "Options": {
            "com.docker.network.enable_ipv4": true, "com.docker.network.enable_ipv6": true,
            "com.docker.network.generic": {"vlan": "pass"},
        },
        "IPv4Data": [{"AddressSpace": "LocalDefault", "Pool": "10.10.2.0/24", "Gateway": "10.10.2.1/24"}],
        "IPv6Data": [{"AddressSpace": "LocalDefault", "Pool": "fd00:2::/64", "Gateway": "fd00:2::1/64"}],
    });
    docker.done("NetworkDriver.CreateNetwork", network).await;
    let made = docker.done("NetworkDriver.CreateEndpoint", json!({
        "NetworkID": NET, "EndpointID": END,
        "Interface": {"Address": "10.10.2.9/24", "AddressIPv6": "fd00:2::9/64", "MacAddress": "02:11:22:33:44:55"},
        "Options": {
            "com.docker.network.endpoint.exposedports": [], "com.docker.network.portmap": [],
            "com.docker.network.endpoint.macaddress": "AhEiM0RV",
            "com.docker.network.endpoint.ifname": "foo0",
        },
    }));
    let nothing = json!({"Address": "", "AddressIPv6": "", "MacAddress": ""});
    assert_eq!(made.await["Interface"], nothing, "what the engine has decided is not told back");
    let known = docker.manager.endpoints().remove(0).1.interface.unwrap();
    assert_eq!((known.mac.to_string().as_str(), known.addresses.len()), ("02:11:22:33:44:55", 2));
    let joined = docker.done("NetworkDriver.Join", join()).await;
    assert_eq!((&joined["Gateway"], &joined["GatewayIPv6"]), (&json!("10.10.2.1"), &json!("fd00:2::1")));
    let mut asked = program(json!([]));
    asked["Options"]["com.docker.network.driver.private.no_proxy_6to4"] = json!(true);
    docker.done("NetworkDriver.ProgramExternalConnectivity", asked).await;
    let node = json!({"DiscoveryType": 1, "DiscoveryData": {"Address": "10.9.0.2", "BindAddress": "", "Self": true}});
    for call in ["DiscoverNew", "DiscoverDelete"] {
        assert_eq!(docker.done(&format!("NetworkDriver.{call}"), node.clone()).await, json!({}));
    }
}

#[tokio::test]
async fn what_weft_has_decided_is_told() {
    let docker = Docker::with_network(json!({})).await;
    let mut asked = endpoint();
    asked["Interface"] = Value::Null;
    asked["Options"] = json!({"com.docker.network.endpoint.macaddress": "AhEiM0RV"});
    let made = docker.done("NetworkDriver.CreateEndpoint", asked).await;
    assert_eq!(made["Interface"], json!({"Address": "10.10.2.2/24", "AddressIPv6": "", "MacAddress": ""}));
    assert_eq!(
        docker.manager.endpoints()[0].1.interface.as_ref().unwrap().mac.to_string(),
        "02:11:22:33:44:55"
    );
}

#[tokio::test]
async fn who_sees_to_the_way_out() {
    for (generic, internal, gateway, disabled) in [
        (json!({}), false, "10.10.2.1", false),
        (json!({"nat": "off"}), false, "10.10.2.1", false),
        (json!({"ports": "engine"}), false, "", false),
        (json!({}), true, "", true),
    ] {
        let docker = Docker::start();
        let mut asked = create(generic.clone());
        if internal {
            asked["Options"]["com.docker.network.internal"] = json!(true);
        }
        docker.done("NetworkDriver.CreateNetwork", asked).await;
        docker.done("NetworkDriver.CreateEndpoint", endpoint()).await;
        let joined = docker.done("NetworkDriver.Join", join()).await;
        let told = (joined["Gateway"].as_str().unwrap(), joined["DisableGatewayService"].as_bool().unwrap());
        assert_eq!(told, (gateway, disabled), "{generic} {internal}");
    }
}

#[tokio::test]
async fn every_call_can_be_repeated() {
    let docker = Docker::start();
    let pool = json!({"AddressSpace": "WeftLocal", "Pool": "10.10.2.0/24", "SubPool": "10.10.2.128/25", "V6": false});
    let (first, second) = (
        docker.done("IpamDriver.RequestPool", pool.clone()).await,
        docker.done("IpamDriver.RequestPool", pool).await,
    );
    assert_eq!(first, second);
    let calls = [
        ("CreateNetwork", create(json!({"nat": "on"}))),
        ("CreateEndpoint", endpoint()),
        ("Join", join()),
        ("ProgramExternalConnectivity", program(portmap())),
        ("EndpointOperInfo", of_endpoint()),
        ("RevokeExternalConnectivity", of_endpoint()),
        ("Leave", of_endpoint()),
        ("DeleteEndpoint", of_endpoint()),
        ("DeleteNetwork", json!({"NetworkID": NET})),
    ];
    for (call, asked) in calls {
        let call = format!("NetworkDriver.{call}");
        let first = docker.done(&call, asked.clone()).await;
        assert_eq!(docker.done(&call, asked).await, first, "{call}");
    }
    let of_pool = json!({"PoolID": first["PoolID"]});
    for _ in 0..3 {
        docker
            .done("IpamDriver.ReleaseAddress", json!({"PoolID": first["PoolID"], "Address": "10.10.2.130"}))
            .await;
        docker.done("IpamDriver.ReleasePool", of_pool.clone()).await;
    }
    assert!(docker.manager.networks().is_empty());
}

#[tokio::test]
async fn what_is_unknown_is_tolerated_where_something_is_taken_away() {
    let docker = Docker::start();
    for call in ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint", "EndpointOperInfo", "DeleteNetwork"]
    {
        docker.done(&format!("NetworkDriver.{call}"), of_endpoint()).await;
    }
    docker.done("IpamDriver.ReleasePool", json!({"PoolID": "weft/10.0.0.0/24"})).await;
    docker.done("IpamDriver.ReleaseAddress", json!({"PoolID": "nobody's", "Address": "10.0.0.2"})).await;
    for (call, asked) in [
        ("CreateEndpoint", endpoint()),
        ("Join", join()),
        ("ProgramExternalConnectivity", program(json!([]))),
    ] {
        let words = docker.refused(&format!("NetworkDriver.{call}"), &asked.to_string()).await;
        assert!(words.contains(&NET[..12]), "{call}: {words}");
    }
    let words =
        docker.refused("IpamDriver.RequestAddress", r#"{"PoolID":"x","Address":"","Options":null}"#).await;
    assert!(words.contains("'x'"), "{words}");
    docker.done("NetworkDriver.CreateNetwork", create(json!({}))).await;
    let words = docker.refused("NetworkDriver.Join", &join().to_string()).await;
    assert!(words.contains(&END[..12]), "{words}");
}

#[tokio::test]
async fn a_port_that_is_taken_fails_the_container_and_not_more() {
    let docker = Docker::with_endpoint(json!({})).await;
    docker.done("NetworkDriver.Join", join()).await;
    docker.plane.world(|world| world.refuse = Some(Refuse::Reserve));
    let asked = program(portmap()).to_string();
    let words = docker.refused("NetworkDriver.ProgramExternalConnectivity", &asked).await;
    assert!(words.contains("8080") && words.contains("nginx"), "{words}");
    assert!(docker.plane.world(|world| world.reserved.is_empty()));
    docker.plane.world(|world| world.refuse = None);
    docker.done("NetworkDriver.ProgramExternalConnectivity", program(portmap())).await;
    let sctp =
        program(json!([{"Proto": 132, "IP": "", "Port": 7, "HostIP": "", "HostPort": 7, "HostPortEnd": 7}]));
    let words = docker.refused("NetworkDriver.ProgramExternalConnectivity", &sctp.to_string()).await;
    assert!(words.contains("132"), "{words}");
    assert_eq!(docker.manager.endpoints()[0].1.ports.len(), 1, "what was published stays");
}

#[tokio::test]
async fn a_swarm_is_told_what_to_do_instead() {
    let docker = Docker::start();
    for call in ["AllocateNetwork", "FreeNetwork"] {
        let asked = json!({"NetworkID": "nz0t", "Options": {}, "IPv4Data": [], "IPv6Data": null}).to_string();
        let words = docker.refused(&format!("NetworkDriver.{call}"), &asked).await;
        assert!(words.contains("one host") && words.contains("-o vni=N"), "{words}");
    }
}
