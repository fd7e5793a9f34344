//! What no engine should send, and what happens to the socket.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_the_words_of_the_protocol() {
    let docker = Docker::with_endpoint(json!({})).await;
    let calls = [
        "NetworkDriver.CreateNetwork",
        "NetworkDriver.DeleteNetwork",
        "NetworkDriver.CreateEndpoint",
        "NetworkDriver.DeleteEndpoint",
        "NetworkDriver.EndpointOperInfo",
        "NetworkDriver.Join",
        "NetworkDriver.Leave",
        "NetworkDriver.ProgramExternalConnectivity",
        "NetworkDriver.RevokeExternalConnectivity",
        "IpamDriver.ReleasePool",
        "IpamDriver.RequestAddress",
        "IpamDriver.ReleaseAddress",
    ];
    for call in calls {
        for body in [
            "",
            "{",
            "not json",
            "[]",
            "null",
            "17",
            "{}",
            r#"{"NetworkID": 7, "PoolID": []}"#,
            "{} trailing",
        ] {
            let words = docker.refused(call, body).await;
            assert!(words.contains("cannot make sense"), "{call} {body}: {words}");
        }
    }
    for call in ["NetworkDriver.DiscoverNew", "NetworkDriver.AllocateNetwork", "IpamDriver.RequestPool"] {
        for body in ["", "nonsense", "[]"] {
            docker.refused(call, body).await;
        }
    }
    assert_eq!((docker.manager.networks().len(), docker.manager.endpoints().len()), (1, 1));
}

#[tokio::test]
async fn wrong_values_are_named_and_change_nothing() {
    let docker = Docker::with_network(json!({})).await;
    let edit = |mut asked: Value, pointer: &str, value: Value| {
        *asked.pointer_mut(pointer).unwrap() = value;
        asked.to_string()
    };
    let other = edit(create(json!({})), "/NetworkID", json!("ee".repeat(32)));
    let other: Value = serde_json::from_str(&other).unwrap();
    for (call, body, named) in [
        ("CreateNetwork", edit(other.clone(), "/NetworkID", json!("short")), "'short'"),
        ("CreateNetwork", edit(other.clone(), "/IPv4Data/0/Pool", json!("10.0.0.0/33")), "invalid"),
        ("CreateNetwork", edit(other.clone(), "/IPv4Data/0/Gateway", json!("10.0.0.1")), "'10.0.0.1'"),
        ("CreateNetwork", edit(other.clone(), "/IPv4Data/0/Gateway", json!("10.99.0.1/24")), "10.99.0.1"),
        ("CreateNetwork", edit(other.clone(), "/IPv4Data", json!({})), "sequence"),
        ("CreateNetwork", edit(other.clone(), "/Options", json!([])), "expected a map"),
        (
            "CreateNetwork",
            edit(other, "/Options/com.docker.network.generic", json!({"colour": "red"})),
            "'colour'",
        ),
        ("CreateNetwork", create(json!({"nat": "off"})).to_string(), "exists already"),
        (
            "CreateEndpoint",
            edit(endpoint(), "/Interface/Address", json!("10.10.2.300/24")),
            "'10.10.2.300/24'",
        ),
        ("CreateEndpoint", edit(endpoint(), "/Interface/Address", json!("10.11.0.2/24")), "10.11.0.2"),
        ("CreateEndpoint", edit(endpoint(), "/Interface/Address", json!("10.10.2.1/24")), "10.10.2.1"),
        ("CreateEndpoint", edit(endpoint(), "/Interface/AddressIPv6", json!("fd00::2/64")), "fd00::2"),
        ("CreateEndpoint", edit(endpoint(), "/Interface/MacAddress", json!("02:42")), "'02:42'"),
        ("CreateEndpoint", edit(endpoint(), "/Interface/MacAddress", json!("ff:ff:ff:ff:ff:ff")), "ff:ff"),
        ("CreateEndpoint", edit(endpoint(), "/Options", json!({"speed": "high"})), "'speed'"),
        (
            "CreateEndpoint",
            edit(endpoint(), "/Options", json!({"com.docker.network.endpoint.macaddress": "AhEi"})),
            "'AhEi'",
        ),
    ] {
        let words = docker.refused(&format!("NetworkDriver.{call}"), &body).await;
        assert!(words.contains(named), "{call} {body}: {words}");
    }
    let pool =
        json!({"AddressSpace": "", "Pool": "10.0.0.0/24", "SubPool": "", "Options": {"k": "v"}, "V6": false});
    let words = docker.refused("IpamDriver.RequestPool", &pool.to_string()).await;
    assert!(words.contains("'k'") && words.contains("--ipam-opt"), "{words}");
    assert_eq!((docker.manager.networks().len(), docker.manager.endpoints().len()), (1, 0));
    assert!(docker.plane.world(|world| world.ports().is_empty()));
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let docker = Docker::start();
    let head = "POST /NetworkDriver.Leave HTTP/1.1\r\nHost: \r\nContent-Length: ";
    let (status, answer) = raw(&docker.socket, format!("{head}{}\r\n\r\n{{", BODY_MAX + 1).as_bytes()).await;
    assert!(status == 200 && answer["Err"].as_str().unwrap().contains("larger than"), "{status} {answer}");
    // What is below it is read whole.
    let large = format!("{}{}", " ".repeat(BODY_MAX / 2), of_endpoint());
    assert_eq!(docker.post("NetworkDriver.Leave", &large).await, (200, json!({})));
}

#[tokio::test]
async fn what_is_no_call_has_a_status_of_its_own() {
    let docker = Docker::start();
    let (status, answer) = docker.post("NetworkDriver.GwAllocCheck", "{}").await;
    assert!(status == 404 && answer["Err"].as_str().unwrap().contains("GwAllocCheck"), "{answer}");
    let (status, answer) = raw(&docker.socket, b"GET /Plugin.Activate HTTP/1.1\r\nHost: \r\n\r\n").await;
    assert!(status == 405 && answer["Err"].is_string(), "{answer}");
}

#[tokio::test]
async fn a_call_that_is_not_sent_whole_is_answered_and_ended() {
    tokio::time::pause();
    let docker = Docker::start();
    let part = "POST /NetworkDriver.Leave HTTP/1.1\r\nHost: \r\nContent-Length: 100\r\n\r\n{";
    let (status, answer) = raw(&docker.socket, part.as_bytes()).await;
    assert!(status == 200 && answer["Err"].as_str().unwrap().contains("not complete"), "{answer}");
}

#[tokio::test]
async fn the_socket_is_roots_and_goes_with_the_plugin() {
    let docker = Docker::start();
    let mode = std::fs::metadata(&docker.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    docker.service.stop().await;
    assert!(!docker.socket.exists());
    assert!(docker.directory.path().join("run/docker/plugins").exists());
}

#[tokio::test]
async fn a_living_plugin_is_not_replaced_and_its_place_is_taken_when_it_ends() {
    tokio::time::pause();
    let first = Docker::start();
    let (health, calls) = (Arc::new(Health::default()), Arc::new(Calls::default()));
    let engine = Path::new("/nonexistent/docker.sock");
    let second = Service::start(&first.socket, engine, &first.manager, &health, &calls);
    let warning = health.warnings().remove(0);
    assert!(warning.starts_with("docker: ") && warning.contains("docker.plugin"), "{warning}");
    assert!(first.health.warnings().is_empty());
    first.service.stop().await;
    while !health.warnings().is_empty() {
        tokio::time::sleep(RETRY).await;
    }
    let answer =
        raw(&first.socket, b"POST /Plugin.Activate HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((answer.0, calls.read()["Plugin.Activate"].count()), (200, 1));
    second.stop().await;
}

#[tokio::test]
async fn a_socket_that_somebody_removes_is_made_anew() {
    tokio::time::pause();
    let docker = Docker::start();
    tokio::task::yield_now().await;
    std::fs::remove_file(&docker.socket).unwrap();
    while !docker.socket.exists() {
        tokio::time::sleep(RETRY).await;
    }
    assert_eq!(docker.post("Plugin.Activate", "").await.0, 200);
    // What another has put there is left to it.
    std::fs::remove_file(&docker.socket).unwrap();
    std::fs::write(&docker.socket, "").unwrap();
    docker.service.stop().await;
    assert!(docker.socket.exists());
}
