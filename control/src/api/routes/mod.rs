//! What each route does. Handlers parse, ask the manager on a thread that may block, and tell what came of it.

mod networks;
mod packets;
mod store;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};

use super::request::{Refusal, RequestError, json};
use super::server::Daemon;
use super::types::{NextHopInfo, NodeInfo, Status};
use crate::health::Phase;
use crate::network::{Manager, NetworkError};

/// The API in OpenAPI 3.1, as it is served.
pub(super) const OPENAPI: &str = include_str!("../openapi.json");

/// Every path of the API, and what its methods do.
pub(super) fn table() -> [(&'static str, MethodRouter<Arc<Daemon>>); 17] {
    [
        ("/v1/openapi.json", get(openapi)),
        ("/v1/status", get(status)),
        ("/v1/nodes", get(nodes)),
        ("/v1/doctor", get(doctor)),
        ("/v1/stats", get(packets::stats)),
        ("/v1/networks", get(networks::networks).post(networks::create)),
        ("/v1/networks/{key}", get(networks::network).delete(networks::remove)),
        ("/v1/networks/{key}/endpoints", post(networks::connect)),
        ("/v1/networks/{key}/endpoints/{endpoint}", delete(networks::disconnect)),
        ("/v1/prune", post(networks::prune)),
        ("/v1/store", get(store::export).put(store::import)),
        ("/v1/endpoints", get(networks::endpoints)),
        ("/v1/endpoints/{key}", get(networks::endpoint)),
        ("/v1/ports", get(networks::ports)),
        ("/v1/nat", get(packets::nat)),
        ("/v1/fdb", get(packets::fdb)),
        ("/v1/capture", get(packets::captured)),
    ]
}

/// The API.
pub(super) fn router(daemon: Arc<Daemon>) -> Router {
    let routes =
        table().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    routes
        .method_not_allowed_fallback(|| async { Refusal::from(RequestError::Method) })
        .fallback(|request: Request| async move {
            Refusal::from(RequestError::Route { path: request.uri().path().to_owned() })
        })
        .with_state(daemon)
}

/// What strangers get, whatever they ask.
pub(super) fn closed() -> Router {
    Router::new().fallback(|| async { Refusal::from(RequestError::Stranger) })
}

type Context = State<Arc<Daemon>>;

async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn status(State(daemon): Context) -> Result<Response, Refusal> {
    let told = Arc::clone(&daemon);
    let status = blocking(&daemon, move |manager| {
        let (networks, underlay) = (manager.networks(), manager.plane().underlay());
        let process = manager.plane().process();
        Ok(Status {
            node: told.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            vtep: underlay.as_ref().map(|underlay| underlay.address),
            underlay_port: underlay.as_ref().map(|underlay| underlay.port),
            underlay_mode: underlay.as_ref().map(|underlay| underlay.mode.to_string()),
            next_hops: underlay.as_ref().map_or_else(Vec::new, |underlay| {
                manager.peers().iter().map(|&peer| NextHopInfo::new(peer, underlay)).collect()
            }),
            underlay_reason: underlay.and_then(|underlay| underlay.reason),
            peers: manager.peers().to_vec(),
            workers: manager.plane().workers(),
            daemon_pid: std::process::id(),
            dataplane_pid: process.pid,
            dataplane_restarts: process.restarts,
            ready: told.health.phase() == Phase::Ready && process.pid.is_some(),
            dataplane_reason: process.reason,
            warnings: told.health.warnings(),
            networks: networks.len(),
            endpoints: networks.iter().map(|network| network.endpoints.len()).sum(),
            uptime_s: told.since.elapsed().as_secs(),
        })
    });
    Ok(json(StatusCode::OK, &status.await?))
}

async fn doctor(State(daemon): Context) -> Result<Response, Refusal> {
    let findings = blocking(&daemon, |manager| Ok(manager.doctor()));
    Ok(json(StatusCode::OK, &findings.await?))
}

async fn nodes(State(daemon): Context) -> Result<Response, Refusal> {
    let (name, state) = (daemon.node.clone(), daemon.health.phase().as_str().to_owned());
    let vtep = blocking(&daemon, |manager| Ok(manager.plane().underlay().map(|underlay| underlay.address)));
    Ok(json(StatusCode::OK, &[NodeInfo { name, vtep: vtep.await?, state }]))
}

/// Runs `work` where blocking is allowed. It runs to its end even if the client leaves: nothing stays half-made.
async fn blocking<T: Send + 'static>(
    daemon: &Daemon,
    work: impl FnOnce(&Manager) -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, Refusal> {
    let manager = Arc::clone(&daemon.manager);
    match tokio::task::spawn_blocking(move || work(&manager)).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(RequestError::Panicked(error).into()),
    }
}
