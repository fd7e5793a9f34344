mod openapi;

use std::future::pending;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::types::{EndpointRequest, NetworkRequest, Problem};
use super::*;
use crate::error::{Code, Explain};
use crate::health::{Health, Phase};
use crate::model::Name;
use crate::network::Manager;
use crate::network::fake::FakePlane;

/// An API over a packet side without packets, on a socket of its own.
struct Api {
    client: Client,
    health: Arc<Health>,
    server: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Api {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weft.sock");
        let manager = Manager::new(Box::new(FakePlane::default()), None, vec![]).unwrap();
        let health = Arc::new(Health::default());
        health.enter(Phase::Ready);
        let server = Server::new(
            bind(&path).unwrap(),
            path.clone(),
            Arc::new(manager),
            Arc::clone(&health),
            "host-a".into(),
        );
        let server = tokio::spawn(server.run(pending()));
        Self { client: Client::new(path), health, server, _directory: directory }
    }

    fn socket(&self) -> &Path {
        self.client.socket()
    }

    /// Sends bytes as they are; gives the status and the body, if that is JSON.
    async fn raw(&self, request: &[u8]) -> (u16, Option<Problem>) {
        let mut stream = UnixStream::connect(self.socket()).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A server that has heard enough resets the connection behind its answer.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        (status, serde_json::from_str(body).ok())
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Problem) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let (status, problem) = self.raw(format!("{head}{body}").as_bytes()).await;
        (status, problem.expect("a problem"))
    }

    async fn refusal(&self, method: &str, path: &str) -> (u16, Code) {
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        let (status, problem) = self.raw(request.as_bytes()).await;
        (status, problem.expect("a problem").code)
    }
}

fn network(name: &str) -> NetworkRequest {
    let subnets = vec!["10.1.0.0/24".parse().unwrap()];
    NetworkRequest { subnets, ..NetworkRequest::new(Name::new(name).unwrap()) }
}

fn endpoint(name: &str) -> EndpointRequest {
    EndpointRequest { name: Some(Name::new(name).unwrap()), ..EndpointRequest::new("/proc/self/ns/net") }
}

fn refused(error: ClientError) -> Problem {
    match error {
        ClientError::Refused(problem) => problem,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_life_of_a_network() {
    let api = Api::start();
    let client = &api.client;
    let created = client.create_network(&network("blue")).await.unwrap();
    assert_eq!((created.name.as_str(), created.id.len(), created.mtu), ("blue", 64, 1500));
    let connected = client.connect("blue", &endpoint("e")).await.unwrap().endpoint;
    assert_eq!((connected.ifname.as_str(), connected.network.as_str()), ("eth0", "blue"));
    assert_eq!(connected.addresses, ["10.1.0.2/24".parse().unwrap()]);
    let here = std::slice::from_ref(&connected);

    assert_eq!(client.network(&created.id).await.unwrap().endpoints, here);
    assert_eq!(client.networks().await.unwrap().len(), 1);
    assert_eq!(client.endpoints().await.unwrap(), here);
    assert_eq!(client.endpoint("e").await.unwrap(), here);

    let fdb = client.fdb(Some("blue")).await.unwrap();
    assert_eq!((fdb[0].mac.as_str(), fdb[0].kind.as_str()), ("02:42:0a:01:00:02", "static"));
    assert_eq!((fdb[0].port.as_deref(), fdb[0].vtep, fdb[0].age_s), (Some("e"), None, None));
    assert_eq!(client.fdb(None).await.unwrap(), fdb);

    let status = client.status().await.unwrap();
    assert_eq!((status.node.as_str(), status.networks, status.endpoints), ("host-a", 1, 1));
    assert!(status.ready && status.vtep.is_none());
    assert_eq!(status.daemon_pid, std::process::id());
    api.health.warn("metrics", "port taken");
    assert_eq!(client.status().await.unwrap().warnings, ["metrics: port taken"]);
    let nodes = client.nodes().await.unwrap();
    assert_eq!((nodes.len(), nodes[0].name.as_str(), nodes[0].state.as_str()), (1, "host-a", "ready"));

    assert_eq!(client.disconnect("blue", "e").await.unwrap(), connected);
    assert!(client.endpoints().await.unwrap().is_empty());
    assert_eq!(client.remove_network("blue").await.unwrap().id, created.id);
    assert!(client.networks().await.unwrap().is_empty());
}

#[tokio::test]
async fn pruning_tells_what_was_removed() {
    let api = Api::start();
    for name in ["blue", "red"] {
        api.client.create_network(&NetworkRequest::new(Name::new(name).unwrap())).await.unwrap();
    }
    api.client.connect("blue", &endpoint("e")).await.unwrap();
    let pruned = api.client.prune_networks().await.unwrap();
    assert_eq!(pruned.iter().map(|network| network.name.as_str()).collect::<Vec<_>>(), ["red"]);
    assert_eq!(api.client.networks().await.unwrap().len(), 1);
    assert!(api.client.prune_networks().await.unwrap().is_empty());
}

#[tokio::test]
async fn published_ports_and_sessions_are_told() {
    let api = Api::start();
    let client = &api.client;
    for name in ["blue", "red"] {
        client.create_network(&NetworkRequest::new(Name::new(name).unwrap())).await.unwrap();
    }
    let publish = |ports: [&str; 2]| ports.map(|port| port.parse().unwrap()).to_vec();
    let web = EndpointRequest { publish: publish(["8080:80", "127.0.0.1:8081:80"]), ..endpoint("web") };
    let connected = client.connect("blue", &web).await.unwrap().endpoint;
    let db = EndpointRequest { publish: publish(["53:53/udp", "5432:5432"]), ..endpoint("db") };
    client.connect("red", &db).await.unwrap();
    let docker = serde_json::json!({"80/tcp": [
        {"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": "8081"},
    ]});
    assert_eq!(serde_json::to_value(&connected).unwrap()["ports"], docker);
    let ports = client.ports().await.unwrap();
    let told = |port: &types::PortInfo| {
        format!(
            "{} {}:{}>{}/{}",
            port.endpoint, port.host_address, port.host_port, port.container_port, port.protocol
        )
    };
    let expected = [
        "web 0.0.0.0:8080>80/tcp",
        "web 127.0.0.1:8081>80/tcp",
        "db 0.0.0.0:53>53/udp",
        "db 0.0.0.0:5432>5432/tcp",
    ];
    assert_eq!(ports.iter().map(told).collect::<Vec<_>>(), expected);

    let count =
        async |network, endpoint, protocol| client.nat(network, endpoint, protocol).await.unwrap().len();
    assert_eq!(count(None, None, None).await, 3, "none is through a port on loopback");
    assert_eq!(count(Some("red"), None, None).await, 2);
    assert_eq!(count(Some("red"), Some("db"), Some("udp")).await, 1);
    assert_eq!(count(Some("blue"), Some("db"), None).await, 0);
    let session = client.nat(None, Some("web"), None).await.unwrap().remove(0);
    assert_eq!((session.network.as_str(), session.inside.port(), session.expires_s), ("blue", 80, 7_435));
    assert_eq!(refused(client.nat(Some("green"), None, None).await.unwrap_err()).code, Code::NotFound);

    let late = EndpointRequest { publish: web.publish.clone(), ..endpoint("late") };
    assert_eq!(refused(client.connect("red", &late).await.unwrap_err()).code, Code::Conflict);
    let (status, problem) =
        api.post("/v1/networks/blue/endpoints", r#"{"netns":"/x","publish":["80:80/sctp"]}"#).await;
    assert_eq!(status, 400);
    assert!(problem.message.contains("'sctp' cannot be published"), "{}", problem.message);
}

#[tokio::test]
async fn counters_are_flat_and_by_network_name() {
    let api = Api::start();
    api.client.create_network(&network("blue")).await.unwrap();
    let stats = serde_json::to_value(api.client.stats().await.unwrap()).unwrap();
    let counters = serde_json::json!({"packets": 7, "bytes": 700, "drops": {"storm": 2}});
    let mut expected = counters.clone();
    expected["networks"] = serde_json::json!({"blue": counters});
    assert_eq!(stats, expected);
}

#[tokio::test]
async fn refusals_carry_code_message_and_remedy() {
    let api = Api::start();
    let client = &api.client;
    let missing = refused(client.network("blue").await.unwrap_err());
    assert_eq!((missing.code, missing.message.as_str()), (Code::NotFound, "there is no network 'blue'"));
    assert_eq!(missing.remedy.as_deref(), Some("see 'weft network ls'"));
    client.create_network(&network("blue")).await.unwrap();
    assert_eq!(refused(client.create_network(&network("blue")).await.unwrap_err()).code, Code::Conflict);
    let absent = EndpointRequest::new("/nonexistent/netns");
    assert_eq!(refused(client.connect("blue", &absent).await.unwrap_err()).code, Code::NotFound);
    let odd = refused(client.network("a/b?c d").await.unwrap_err());
    assert_eq!(odd.message, "there is no network 'a/b?c d'");
}

#[tokio::test]
async fn malformed_bodies_are_refused() {
    let api = Api::start();
    let cases = [
        "",
        "not json",
        "[]",
        "{}",
        r#"{"name": "a b"}"#,
        r#"{"name": "a", "colour": "red"}"#,
        r#"{"name": "a", "subnets": ["10.0.0.0/33"]}"#,
        r#"{"name": "a", "driver": "macvlan"}"#,
        r#"{"name": "a", "vni": -1}"#,
        r#"{"name": "a"} trailing"#,
    ];
    for body in cases {
        let (status, problem) = api.post("/v1/networks", body).await;
        assert_eq!((status, problem.code), (400, Code::InvalidArgument), "{body}: {problem}");
    }
    let (_, problem) = api.post("/v1/networks", r#"{"name": "a", "colour": "red"}"#).await;
    assert!(problem.message.contains("unknown field `colour`"), "{problem}");
    let (status, problem) =
        api.post("/v1/networks", r#"{"name": "a", "vni": 16777216, "driver": "overlay"}"#).await;
    assert_eq!(status, 400);
    assert!(problem.message.contains("16777216"), "{problem}");
    assert!(api.client.networks().await.unwrap().is_empty());
}

#[tokio::test]
async fn oversized_bodies_are_refused() {
    let api = Api::start();
    let filled = |len: usize| {
        let frame = r#"{"name":"a","labels":{"k":""}}"#;
        format!(r#"{{"name":"a","labels":{{"k":"{}"}}}}"#, "x".repeat(len - frame.len()))
    };
    let (status, problem) = api.post("/v1/networks", &filled(BODY_MAX + 1)).await;
    assert_eq!((status, problem.code), (413, Code::TooLarge));
    assert!(api.client.networks().await.unwrap().is_empty());
    let chunk = format!("{:x}\r\n{}\r\n", BODY_MAX, "x".repeat(BODY_MAX));
    let head =
        "POST /v1/networks HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let (status, _) = api.raw(format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert_eq!(status, 413, "without a length up front, too");
    let announced =
        b"POST /v1/networks HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\n";
    assert_eq!(api.raw(announced).await.0, 413, "at once, without the body");
    let large = NetworkRequest { labels: [("k".into(), "x".repeat(2 * BODY_MAX))].into(), ..network("a") };
    assert_eq!(refused(api.client.create_network(&large).await.unwrap_err()).code, Code::TooLarge);
    let fits = NetworkRequest { labels: [("k".into(), "x".repeat(BODY_MAX / 2))].into(), ..network("a") };
    assert!(api.client.create_network(&fits).await.is_ok());
}

#[tokio::test]
async fn a_backup_may_be_larger_than_other_bodies() {
    let api = Api::start();
    let padded = format!("{}{}", " ".repeat(2 * BODY_MAX), r#"{"format":"other","version":1,"entries":[]}"#);
    let head = "PUT /v1/store HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ";
    let (status, problem) = api.raw(format!("{head}{}\r\n\r\n{padded}", padded.len()).as_bytes()).await;
    assert_eq!(status, 400, "it was read, and refused for what it says");
    assert!(problem.unwrap().message.contains("its format is 'other'"));
    let announced = format!("{head}{}\r\n\r\n", crate::store::EXPORT_MAX + 1);
    assert_eq!(api.raw(announced.as_bytes()).await.0, 413);
}

#[tokio::test]
async fn unknown_paths_methods_and_queries_are_refused() {
    let api = Api::start();
    assert_eq!(api.refusal("GET", "/").await, (404, Code::NotFound));
    assert_eq!(api.refusal("GET", "/v2/status").await, (404, Code::NotFound));
    assert_eq!(api.refusal("PUT", "/v1/status").await, (405, Code::MethodNotAllowed));
    assert_eq!(api.refusal("GET", "/v1/fdb?netwrok=a").await, (400, Code::InvalidArgument));
    assert_eq!(api.refusal("GET", "/v1/capture?count=many").await, (400, Code::InvalidArgument));
    assert_eq!(api.refusal("GET", "/v1/networks/%ff").await, (400, Code::InvalidArgument));
    let (status, _) = api.raw(b"no http at all\r\n\r\n").await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_capture_streams_until_its_count() {
    let api = Api::start();
    api.client.create_network(&network("blue")).await.unwrap();
    api.client.connect("blue", &endpoint("e")).await.unwrap();
    let mut stream = api.client.capture(Some("blue"), None, Some(70)).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(String::from_utf8(bytes).unwrap(), format!("{}blue/(host) blue/e", "frame ".repeat(70)));
    assert_eq!(refused(api.client.capture(Some("red"), None, None).await.unwrap_err()).code, Code::NotFound);
}

#[tokio::test]
async fn a_slow_request_is_answered_and_ended() {
    tokio::time::pause();
    let api = Api::start();
    let head = "POST /v1/networks HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    let mut stream = UnixStream::connect(api.socket()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));

    let mut stream = UnixStream::connect(api.socket()).await.unwrap();
    stream.write_all(b"GET /v1/status HT").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "half a header is no request");

    let mut idle = UnixStream::connect(api.socket()).await.unwrap();
    idle.write_all(b"GET /v1/nodes HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    idle.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "and is closed when no further request comes");
}

#[tokio::test]
async fn the_end_closes_connections_and_removes_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weft.sock");
    let manager = Arc::new(Manager::new(Box::new(FakePlane::default()), None, vec![]).unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = Server::new(bind(&path).unwrap(), path.clone(), manager, Arc::default(), "host-a".into());
    let server = tokio::spawn(server.run(async {
        stopped.await.unwrap();
    }));
    let client = Client::new(&path);
    let mut capture = client.capture(None, None, None).await.unwrap();
    assert!(capture.next().await.unwrap().is_some());
    stop.send(()).unwrap();
    server.await.unwrap();
    while let Ok(Some(_)) = capture.next().await {}
    assert!(!path.exists());
    assert!(matches!(client.status().await, Err(ClientError::Unreachable { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_clients_that_want_one_thing_one_gets_it_and_the_other_a_conflict() {
    let api = Api::start();
    let wanted = || EndpointRequest { ip: Some([10, 1, 0, 77].into()), ..endpoint("web") };
    let (networks, other) = (network("blue"), Client::new(api.socket()));
    let (one, two) = tokio::join!(api.client.create_network(&networks), other.create_network(&networks));
    let (first, second) = (wanted(), EndpointRequest { name: endpoint("db").name, ..wanted() });
    let (three, four) = tokio::join!(api.client.connect("blue", &first), other.connect("blue", &second));
    let networks = [one.map(drop), two.map(drop)];
    let endpoints = [three.map(drop), four.map(drop)];
    for outcomes in [networks, endpoints] {
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(error.code(), Code::Conflict, "{error}");
        }
    }
    assert_eq!(api.client.doctor().await.unwrap(), []);
}
