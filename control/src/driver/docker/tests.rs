mod calls;
mod engine;
mod input;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;
use crate::health::Health;
use crate::network::Manager;
use crate::network::fake::FakePlane;

/// A network and an endpoint, as engines write their ids.
const NET: &str = "5f7ed0b3c9a84b7d8d3b1b2f4c6d8e0f5f7ed0b3c9a84b7d8d3b1b2f4c6d8e0f";
const END: &str = "1c2b3a495867768594a3b2c1d0e0f00f1c2b3a495867768594a3b2c1d0e0f00f";

/// A plugin over a packet side without packets, on a socket of its own.
struct Docker {
    service: Service,
    manager: Arc<Manager>,
    plane: FakePlane,
    health: Arc<Health>,
    calls: Arc<Calls>,
    socket: PathBuf,
    directory: tempfile::TempDir,
}

impl Docker {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plane = FakePlane::default();
        let manager = Arc::new(Manager::new(Box::new(plane.clone()), None, vec![]).unwrap());
        let (health, calls) = (Arc::new(Health::default()), Arc::new(Calls::default()));
        // Its directory is made with it.
        let socket = directory.path().join("run/docker/plugins/weft.sock");
        let engine = directory.path().join("docker.sock");
        let service = Service::start(&socket, &engine, &manager, &health, &calls);
        Self { service, manager, plane, health, calls, socket, directory }
    }

    /// One with a network.
    async fn with_network(generic: Value) -> Self {
        let docker = Self::start();
        docker.done("NetworkDriver.CreateNetwork", create(generic)).await;
        docker
    }

    /// One with a network and an endpoint on it.
    async fn with_endpoint(generic: Value) -> Self {
        let docker = Self::with_network(generic).await;
        docker.done("NetworkDriver.CreateEndpoint", endpoint()).await;
        docker
    }

    /// Posts a body as the engine does; status and answer.
    async fn post(&self, call: &str, body: &str) -> (u16, Value) {
        let head = format!(
            "POST /{call} HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {}\r\n\
             Accept: application/vnd.docker.plugins.v1.2+json\r\n\r\n",
            body.len()
        );
        raw(&self.socket, format!("{head}{body}").as_bytes()).await
    }

    /// A call that must be done; its answer.
    async fn done(&self, call: &str, asked: Value) -> Value {
        let (status, answer) = self.post(call, &asked.to_string()).await;
        let refused = [&answer["Err"], &answer["Error"]].iter().any(|error| !error.is_null());
        assert!(status == 200 && !refused, "{call} {asked}: {status} {answer}");
        answer
    }

    /// A call that must be refused; in which words.
    async fn refused(&self, call: &str, body: &str) -> String {
        let (status, answer) = self.post(call, body).await;
        let key = if call.starts_with("IpamDriver.") { "Error" } else { "Err" };
        let words = answer[key].as_str().unwrap_or_default().to_owned();
        assert!(
            status == 200 && !words.is_empty() && !words.contains('\n'),
            "{call} {body}: {status} {answer}"
        );
        assert_eq!(answer["Err"], words.as_str(), "what is not the protocol\'s is read from here");
        words
    }
}

/// Sends bytes as they are; status and answer. The server ends each connection.
async fn raw(socket: &Path, request: &[u8]) -> (u16, Value) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    // A server that has heard enough does not hear the rest.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(head.contains("application/vnd.docker.plugins.v1.1+json"), "{head}");
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

/// CreateNetwork as 20.10 writes it.
fn create(generic: Value) -> Value {
    json!({
        "NetworkID": NET,
        "Options": {"com.docker.network.enable_ipv6": false, "com.docker.network.generic": generic},
        "IPv4Data": [{"AddressSpace": "WeftLocal", "Pool": "10.10.2.0/24", "Gateway": "10.10.2.1/24"}],
        "IPv6Data": [],
    })
}

/// CreateEndpoint as 20.10 writes it.
fn endpoint() -> Value {
    json!({
        "NetworkID": NET, "EndpointID": END,
        "Interface": {"Address": "10.10.2.2/24", "AddressIPv6": "", "MacAddress": ""},
        "Options": {
            "com.docker.network.endpoint.exposedports": [{"Proto": 6, "Port": 80}],
            "com.docker.network.portmap": portmap(),
        },
    })
}

fn portmap() -> Value {
    json!([{"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080}])
}

/// A call that says which endpoint, and nothing else.
fn of_endpoint() -> Value {
    json!({"NetworkID": NET, "EndpointID": END})
}

fn join() -> Value {
    let sandbox = "/var/run/docker/netns/0123456789ab";
    json!({
        "NetworkID": NET, "EndpointID": END, "SandboxKey": sandbox,
        "Options": {"com.docker.network.endpoint.exposedports": [], "com.docker.network.portmap": portmap()},
    })
}

fn program(ports: Value) -> Value {
    json!({"NetworkID": NET, "EndpointID": END, "Options": {
        "com.docker.network.endpoint.exposedports": [{"Proto": 6, "Port": 80}], "com.docker.network.portmap": ports,
    }})
}
