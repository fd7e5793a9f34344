//! From HTTP to calls and back: bodies read within their limits, work done where blocking is allowed, every answer in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::calls::Calls;
use super::error::DockerError;
use super::{BODY_MAX, ipam, network, settle};
use crate::api::{RequestError, read_body};
use crate::error::{Explain, Problem};
use crate::model::Id;
use crate::network::Manager;

/// What the engine's own library calls the answers.
const JSON: &str = "application/vnd.docker.plugins.v1.1+json";

/// The calls of the IPAM driver begin so; they are refused in other words.
const IPAM: &str = "/IpamDriver.";

/// What calls are carried out on.
#[derive(Debug)]
pub(super) struct Plugin {
    pub(super) manager: Arc<Manager>,
    pub(super) calls: Arc<Calls>,
    /// Networks whose engine has something to tell.
    pub(super) asks: mpsc::Sender<Id>,
    /// How long a call may take.
    pub(super) patience: Duration,
}

impl Plugin {
    /// Has the names of a network asked for, soon and in the background.
    pub(super) fn wants_names(&self, network: Id) {
        // When there are more than can wait, this one is found later.
        let _ = self.asks.try_send(network);
    }

    /// Has an endpoint watched until the engine has put it into its sandbox, in the background.
    pub(super) fn awaits_settling(&self, network: Id, endpoint: Id) {
        Handle::current().spawn(settle::run(Arc::downgrade(&self.manager), network, endpoint));
    }
}

/// Every call there is.
fn table() -> [(&'static str, MethodRouter<Arc<Plugin>>); 21] {
    let drivers = json!({"Implements": ["NetworkDriver", "IpamDriver"]});
    let scope = json!({"Scope": "local", "ConnectivityScope": "global"});
    let ipam_capabilities = json!({"RequiresMACAddress": false, "RequiresRequestReplay": false});
    let spaces = json!({"LocalDefaultAddressSpace": "WeftLocal", "GlobalDefaultAddressSpace": "WeftGlobal"});
    [
        fixed("/Plugin.Activate", drivers),
        fixed("/NetworkDriver.GetCapabilities", scope),
        call("/NetworkDriver.CreateNetwork", network::create),
        call("/NetworkDriver.DeleteNetwork", network::delete),
        call("/NetworkDriver.CreateEndpoint", network::create_endpoint),
        call("/NetworkDriver.DeleteEndpoint", network::delete_endpoint),
        call("/NetworkDriver.EndpointOperInfo", network::oper_info),
        call("/NetworkDriver.Join", network::join),
        call("/NetworkDriver.Leave", network::leave),
        call("/NetworkDriver.ProgramExternalConnectivity", network::program),
        call("/NetworkDriver.RevokeExternalConnectivity", network::revoke),
        call("/NetworkDriver.DiscoverNew", network::discover),
        call("/NetworkDriver.DiscoverDelete", network::discover),
        call("/NetworkDriver.AllocateNetwork", network::refuse_swarm),
        call("/NetworkDriver.FreeNetwork", network::refuse_swarm),
        fixed("/IpamDriver.GetCapabilities", ipam_capabilities),
        fixed("/IpamDriver.GetDefaultAddressSpaces", spaces),
        call("/IpamDriver.RequestPool", ipam::request_pool),
        call("/IpamDriver.ReleasePool", ipam::release_pool),
        call("/IpamDriver.RequestAddress", ipam::request_address),
        call("/IpamDriver.ReleaseAddress", ipam::release_address),
    ]
}

/// The plugin's calls.
pub(super) fn router(plugin: Arc<Plugin>) -> Router {
    let routes =
        table().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    routes
        .method_not_allowed_fallback(|request: Request| async move {
            refuse(request.uri().path(), RequestError::Method)
        })
        .fallback(|request: Request| async move {
            let path = request.uri().path();
            refuse(path, RequestError::Route { path: path.to_owned() })
        })
        .with_state(plugin)
}

/// What others than root get, whatever they ask.
pub(super) fn closed() -> Router {
    Router::new()
        .fallback(|request: Request| async move { refuse(request.uri().path(), RequestError::Stranger) })
}

/// A call that is always answered so, whatever its body says.
fn fixed(path: &'static str, value: Value) -> (&'static str, MethodRouter<Arc<Plugin>>) {
    let methods = post(async move |State(plugin): State<Arc<Plugin>>| {
        let began = Instant::now();
        finish(&plugin, path, began, Ok(value.clone()))
    });
    (path, methods)
}

/// A call that `work` carries out.
fn call<Q, A>(
    path: &'static str,
    work: fn(&Plugin, Q) -> Result<A, DockerError>,
) -> (&'static str, MethodRouter<Arc<Plugin>>)
where
    Q: DeserializeOwned + 'static,
    A: Serialize + 'static,
{
    let methods = post(async move |State(plugin): State<Arc<Plugin>>, request: Request| {
        let began = Instant::now();
        let outcome = perform(&plugin, request, work).await;
        finish(&plugin, path, began, outcome)
    });
    (path, methods)
}

/// Carries out a call where blocking is allowed. It runs to its end even if that takes too long for the answer.
async fn perform<Q, A>(
    plugin: &Arc<Plugin>,
    request: Request,
    work: fn(&Plugin, Q) -> Result<A, DockerError>,
) -> Result<Value, DockerError>
where
    Q: DeserializeOwned + 'static,
    A: Serialize + 'static,
{
    let body = read_body(request, BODY_MAX).await?;
    let (plugin, patience) = (Arc::clone(plugin), plugin.patience);
    let task = tokio::task::spawn_blocking(move || {
        let malformed = |error: serde_json::Error| RequestError::Malformed { what: error.to_string() };
        let asked: Map<String, Value> = serde_json::from_slice(&body).map_err(malformed)?;
        let asked = Q::deserialize(Value::Object(asked)).map_err(malformed)?;
        let answer = work(&plugin, asked)?;
        Ok(serde_json::to_value(answer).map_err(RequestError::Encode)?)
    });
    match tokio::time::timeout(patience, task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Err(RequestError::Panicked(error).into()),
        Err(_) => Err(DockerError::Late { after: patience }),
    }
}

/// Counts a call, tells of it in the log, and answers it.
fn finish(
    plugin: &Plugin,
    path: &'static str,
    began: Instant,
    outcome: Result<Value, DockerError>,
) -> Response {
    let took = began.elapsed();
    let name = path.trim_start_matches('/');
    plugin.calls.record(name, took);
    match outcome {
        Ok(value) => {
            tracing::debug!(call = name, ?took, "Docker has called");
            respond(StatusCode::OK, &value)
        }
        Err(error) => {
            let problem = Problem::from(error);
            tracing::info!(call = name, ?took, "Docker is refused a call: {problem}");
            tell(StatusCode::OK, path, &problem)
        }
    }
}

/// Something that is no call, in the words of the driver that was meant.
fn refuse(path: &str, error: impl Explain) -> Response {
    let problem = Problem::from(error);
    let status = StatusCode::from_u16(problem.code.http_status());
    tell(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), path, &problem)
}

fn tell(status: StatusCode, path: &str, problem: &Problem) -> Response {
    let message = problem.to_string();
    match path.starts_with(IPAM) {
        true => respond(status, &json!({"Error": message, "Err": message})),
        false => respond(status, &json!({"Err": message})),
    }
}

fn respond(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, JSON), (CONNECTION, "close")], value.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::body::Body;

    use super::super::wire::Empty;
    use super::*;
    use crate::network::fake::FakePlane;

    /// Held while the work below shall not get on.
    static GATE: Mutex<()> = Mutex::new(());

    fn slow(plugin: &Plugin, _: Empty) -> Result<Empty, DockerError> {
        drop(GATE.lock());
        plugin.calls.record("done", Duration::ZERO);
        Ok(Empty {})
    }

    #[tokio::test]
    async fn an_answer_comes_in_time_and_the_work_is_done_all_the_same() {
        let manager = Manager::new(Box::new(FakePlane::default()), None, vec![]).unwrap();
        let (asks, _) = mpsc::channel(1);
        let patience = Duration::from_millis(1);
        let plugin = Plugin { manager: Arc::new(manager), calls: Arc::default(), asks, patience };
        let plugin = Arc::new(plugin);
        let held = GATE.lock();
        let outcome = perform(&plugin, Request::new(Body::from("{}")), slow).await;
        assert!(matches!(outcome, Err(DockerError::Late { .. })), "{outcome:?}");
        drop(held);
        while plugin.calls.read().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
