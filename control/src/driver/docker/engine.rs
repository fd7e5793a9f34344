//! The engine's own API, as far as it is asked: what it calls a network and those who are on it. Every wait is bounded.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::model::Id;

/// How long the engine may take for one answer. It is in no hurry while it starts containers, and neither are we.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer that is read, in bytes: a network with every endpoint there can be.
const ANSWER_MAX: usize = 4 << 20;

/// The engine behind a socket.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    socket: PathBuf,
}

/// What the engine calls a network, and the endpoints on it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) network: String,
    pub(super) endpoints: Vec<(Id, String)>,
}

/// Why the engine has told nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    #[error("cannot reach it: {0}")]
    Unreachable(io::Error),
    #[error("it has not answered within {} s", TIMEOUT.as_secs())]
    Silent,
    #[error("it does not know the network")]
    Unknown,
    #[error("its answer is none: {0}")]
    Strange(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    name: String,
    #[serde(default)]
    containers: Option<BTreeMap<String, Container>>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "EndpointID")]
    endpoint: String,
}

impl Engine {
    /// The engine behind `socket`; nothing is tried before it is asked.
    pub(super) fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// What it calls a network, and who is on it.
    pub(super) async fn names(&self, network: Id) -> Result<Names, EngineError> {
        timeout(TIMEOUT, self.ask(network)).await.unwrap_or(Err(EngineError::Silent))
    }

    async fn ask(&self, network: Id) -> Result<Names, EngineError> {
        let strange = |error: &dyn std::fmt::Display| EngineError::Strange(error.to_string());
        let stream = UnixStream::connect(&self.socket).await.map_err(EngineError::Unreachable)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| strange(&e))?;
        // Ends with the sender.
        tokio::spawn(connection);
        let request = Request::get(format!("/networks/{network}")).header("host", "docker");
        let request = request.body(Empty::<Bytes>::new()).map_err(|e| strange(&e))?;
        let response = sender.send_request(request).await.map_err(|e| strange(&e))?;
        match response.status().as_u16() {
            200 => {}
            404 => return Err(EngineError::Unknown),
            status => return Err(EngineError::Strange(format!("status {status}"))),
        }
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|e| EngineError::Strange(e.to_string()))?.to_bytes();
        let told: Network = serde_json::from_slice(&body).map_err(|e| strange(&e))?;
        let endpoints = told.containers.unwrap_or_default().into_values();
        // Containers that are not running have no endpoint.
        let endpoints = endpoints.filter_map(|one| Some((one.endpoint.parse().ok()?, one.name)));
        Ok(Names { network: told.name, endpoints: endpoints.collect() })
    }
}
