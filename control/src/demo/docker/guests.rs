//! What is made in somebody's engine, and removed again whatever happens.
//!
//! Everything is named after this process and noted before it is asked for, and a call that was begun is waited for before
//! anything is removed, so that nothing comes into being afterwards.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::super::error::DemoError;
use crate::driver::docker::{Engine, EngineError, Question};

/// How long the engine may take over one call.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// The engine's words for a thing that is not there.
const NOT_FOUND: u16 = 404;

/// And for an image that has not what it is to run.
const BAD_REQUEST: u16 = 400;

/// See the module's head.
pub(in crate::demo) struct Guests {
    engine: Engine,
    /// How every name begins; the network is called just this.
    name: String,
    /// What removes what was made, the last one first: paths of the API.
    made: Vec<String>,
    /// The call under way.
    pending: Option<JoinHandle<Result<Bytes, EngineError>>>,
}

/// A running container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guest {
    pub(super) pid: i32,
    pub(super) ip: Ipv4Addr,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    state: State,
    network_settings: Settings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    pid: i32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    networks: BTreeMap<String, Network>,
}

#[derive(Deserialize)]
struct Network {
    #[serde(rename = "IPAddress")]
    ip: String,
}

impl Guests {
    pub(super) fn new(engine: Engine) -> Self {
        let name = format!("weft-demo-{:x}-docker", std::process::id());
        Self { engine, name, made: Vec::new(), pending: None }
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Creates the network.
    pub(super) async fn network(&mut self) -> Result<(), DemoError> {
        self.made.push(format!("/networks/{}", self.name));
        let body = json!({
            "Name": self.name, "CheckDuplicate": true, "Driver": "weft", "IPAM": {"Driver": "weft"}, "Internal": true,
        });
        let created = self.post("/networks/create", Some(body)).await;
        created.map(drop).map_err(not_done("create a network"))
    }

    /// Makes an image; its name.
    pub(super) async fn import(&mut self, archive: Bytes) -> Result<String, DemoError> {
        let name = self.name.clone();
        self.made.push(format!("/images/{name}?force=1"));
        let path = format!("/images/create?fromSrc=-&repo={name}&tag=latest");
        let question =
            Question { kind: "application/x-tar", body: archive, ..Question::of(Method::POST, path) };
        self.ask(question).await.map_err(not_done("import an image"))?;
        Ok(name)
    }

    /// Starts a container that is on the network and waits; `None`, with nothing left of it, when the image has no shell.
    pub(super) async fn start(&mut self, image: &str, number: &str) -> Result<Option<Guest>, DemoError> {
        let name = format!("{}-{number}", self.name);
        let removal = format!("/containers/{name}?force=1&v=1");
        self.made.push(removal.clone());
        match self.try_start(image, &name).await {
            Err(EngineError::Refused { status: BAD_REQUEST | NOT_FOUND, .. }) | Ok(None) => {
                self.delete(&removal).await?;
                self.made.pop();
                Ok(None)
            }
            other => other.map_err(not_done(format!("start a container of {image}"))),
        }
    }

    async fn try_start(&mut self, image: &str, name: &str) -> Result<Option<Guest>, EngineError> {
        // A shell whose input is open and says nothing waits.
        let body = json!({
            "Image": image, "Entrypoint": ["/bin/sh"], "Cmd": [], "OpenStdin": true,
            "HostConfig": {"NetworkMode": self.name},
        });
        self.post(&format!("/containers/create?name={name}"), Some(body)).await?;
        self.post(&format!("/containers/{name}/start"), None).await?;
        let told = self.engine.ask(Question::of(Method::GET, format!("/containers/{name}/json"))).await?;
        let strange = |error: &dyn std::fmt::Display| EngineError::Strange(error.to_string());
        let container: Container = serde_json::from_slice(&told).map_err(|error| strange(&error))?;
        if !container.state.running {
            return Ok(None);
        }
        let network = container.network_settings.networks.get(&self.name);
        let ip = network.map(|network| network.ip.as_str()).unwrap_or_default();
        let ip = ip.parse().map_err(|_| strange(&format!("'{ip}' is no address")))?;
        Ok(Some(Guest { pid: container.state.pid, ip }))
    }

    /// Removes everything. Again: what is left.
    ///
    /// # Errors
    /// [`DemoError::Docker`] with the first thing that the engine keeps; the others are removed all the same.
    pub(in crate::demo) async fn remove(&mut self) -> Result<(), DemoError> {
        if let Some(pending) = self.pending.take() {
            // What came of it does not matter any more.
            let _ = pending.await;
        }
        let mut outcome = Ok(());
        let mut kept = Vec::new();
        for path in std::mem::take(&mut self.made).into_iter().rev() {
            if let Err(error) = self.delete(&path).await {
                kept.insert(0, path);
                outcome = outcome.and(Err(error));
            }
        }
        self.made = kept;
        outcome
    }

    async fn delete(&self, path: &str) -> Result<(), DemoError> {
        let question = Question { limit: LIMIT, ..Question::of(Method::DELETE, path) };
        match self.engine.ask(question).await {
            Ok(_) | Err(EngineError::Refused { status: NOT_FOUND, .. }) => Ok(()),
            Err(error) => Err(not_done(format!("remove {path}"))(error)),
        }
    }

    async fn post(&mut self, path: &str, body: Option<Value>) -> Result<Bytes, EngineError> {
        let body = body.map(|body| body.to_string().into()).unwrap_or_default();
        self.ask(Question { body, ..Question::of(Method::POST, path) }).await
    }

    /// Has the engine do something. It is done, or has failed, before anything is removed.
    async fn ask(&mut self, question: Question) -> Result<Bytes, EngineError> {
        let (engine, question) = (self.engine.clone(), Question { limit: LIMIT, ..question });
        let pending = self.pending.insert(tokio::spawn(async move { engine.ask(question).await }));
        let answer = pending.await;
        self.pending = None;
        answer.unwrap_or_else(|error| Err(EngineError::Strange(error.to_string())))
    }
}

/// For `map_err`: what the engine did not do.
pub(super) fn not_done(call: impl Into<String>) -> impl FnOnce(EngineError) -> DemoError {
    let call = call.into();
    |source| DemoError::Docker { call, source }
}
