//! The engine's own API, as far as it is asked: what it calls a network and those who are on it; and whatever the
//! demonstration has it do. Every wait is bounded.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
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
pub(crate) struct Engine {
    socket: PathBuf,
}

/// What the engine calls a network, and the endpoints on it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) network: String,
    pub(super) endpoints: Vec<(Id, String)>,
}

/// Why the engine has told nothing, or has not done what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody listens.
    #[error("cannot reach it: {0}")]
    Unreachable(io::Error),
    /// It took too long.
    #[error("it has not answered within {} s", .0.as_secs())]
    Silent(Duration),
    /// There is no such network.
    #[error("it does not know the network")]
    Unknown,
    /// It says no.
    #[error("it refuses: {message}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// Its words.
        message: String,
    },
    /// It answers something else.
    #[error("its answer is none: {0}")]
    Strange(String),
}

/// Something to ask of the engine.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) method: Method,
    /// With its query.
    pub(crate) path: String,
    /// The body's type.
    pub(crate) kind: &'static str,
    pub(crate) body: Bytes,
    /// How long it may take.
    pub(crate) limit: Duration,
}

impl Question {
    /// Without a body, and to be answered soon.
    pub(crate) fn of(method: Method, path: impl Into<String>) -> Self {
        let (path, kind) = (path.into(), "application/json");
        Self { method, path, kind, body: Bytes::new(), limit: TIMEOUT }
    }
}

/// What the engine says when it refuses.
#[derive(Deserialize)]
struct Refusal {
    message: String,
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
    pub(crate) fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// What it calls a network, and who is on it.
    pub(super) async fn names(&self, network: Id) -> Result<Names, EngineError> {
        let (status, body) = self.send(Question::of(Method::GET, format!("/networks/{network}"))).await?;
        match status.as_u16() {
            200 => {}
            404 => return Err(EngineError::Unknown),
            status => return Err(EngineError::Strange(format!("status {status}"))),
        }
        let told: Network =
            serde_json::from_slice(&body).map_err(|error| EngineError::Strange(error.to_string()))?;
        let endpoints = told.containers.unwrap_or_default().into_values();
        // Containers that are not running have no endpoint.
        let endpoints = endpoints.filter_map(|one| Some((one.endpoint.parse().ok()?, one.name)));
        Ok(Names { network: told.name, endpoints: endpoints.collect() })
    }

    /// Has it do something; what it answers.
    ///
    /// # Errors
    /// [`EngineError::Refused`] in its words when it does not.
    pub(crate) async fn ask(&self, question: Question) -> Result<Bytes, EngineError> {
        let (status, body) = self.send(question).await?;
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(body);
        }
        let told = serde_json::from_slice(&body).map(|refusal: Refusal| refusal.message);
        let status = status.as_u16();
        Err(EngineError::Refused { status, message: told.unwrap_or_else(|_| format!("status {status}")) })
    }

    /// Asks; the status and the body of the answer, whatever they say.
    async fn send(&self, question: Question) -> Result<(StatusCode, Bytes), EngineError> {
        let limit = question.limit;
        timeout(limit, self.exchange(question)).await.unwrap_or(Err(EngineError::Silent(limit)))
    }

    async fn exchange(&self, question: Question) -> Result<(StatusCode, Bytes), EngineError> {
        let strange = |error: &dyn std::fmt::Display| EngineError::Strange(error.to_string());
        let stream = UnixStream::connect(&self.socket).await.map_err(EngineError::Unreachable)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| strange(&e))?;
        // Ends with the sender.
        tokio::spawn(connection);
        let request = Request::builder().method(question.method).uri(question.path);
        let request = request.header(HOST, "docker").header(CONTENT_TYPE, question.kind);
        let request = request.body(Full::new(question.body)).map_err(|e| strange(&e))?;
        let response = sender.send_request(request).await.map_err(|e| strange(&e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|e| EngineError::Strange(e.to_string()))?.to_bytes();
        Ok((status, body))
    }
}
