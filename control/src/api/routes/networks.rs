//! Networks and endpoints: what exists, and its changes.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::{Context, blocking};
use crate::api::request::{Named, Parsed, Refusal, json};
use crate::api::types::{Connected, EndpointInfo, EndpointRequest, NetworkInfo, NetworkRequest, PortInfo};
use crate::network::{Manager, Snapshot};

pub(super) async fn networks(State(daemon): Context) -> Result<Response, Refusal> {
    let all = blocking(&daemon, |manager| {
        Ok(manager.networks().iter().map(|s| tell(manager, s)).collect::<Vec<_>>())
    });
    Ok(json(StatusCode::OK, &all.await?))
}

pub(super) async fn create(
    State(daemon): Context,
    body: Parsed<NetworkRequest>,
) -> Result<Response, Refusal> {
    let created = blocking(&daemon, move |manager| Ok(tell(manager, &manager.create(&body.0)?)));
    Ok(json(StatusCode::CREATED, &created.await?))
}

pub(super) async fn network(State(daemon): Context, Named(key): Named<String>) -> Result<Response, Refusal> {
    let found = blocking(&daemon, move |manager| Ok(tell(manager, &manager.network(&key)?)));
    Ok(json(StatusCode::OK, &found.await?))
}

pub(super) async fn remove(State(daemon): Context, Named(key): Named<String>) -> Result<Response, Refusal> {
    let removed = blocking(&daemon, move |manager| Ok(tell(manager, &manager.remove(&key)?)));
    Ok(json(StatusCode::OK, &removed.await?))
}

pub(super) async fn prune(State(daemon): Context) -> Result<Response, Refusal> {
    let pruned = blocking(&daemon, |manager| {
        Ok(manager.prune()?.iter().map(|s| tell(manager, s)).collect::<Vec<_>>())
    });
    Ok(json(StatusCode::OK, &pruned.await?))
}

pub(super) async fn connect(
    State(daemon): Context,
    Named(key): Named<String>,
    body: Parsed<EndpointRequest>,
) -> Result<Response, Refusal> {
    let connected = blocking(&daemon, move |manager| {
        let (network, endpoint, warnings) = manager.connect(&key, &body.0)?;
        Ok(Connected { endpoint: EndpointInfo::new(&network, &endpoint), warnings })
    });
    Ok(json(StatusCode::CREATED, &connected.await?))
}

pub(super) async fn disconnect(
    State(daemon): Context,
    Named((key, endpoint)): Named<(String, String)>,
) -> Result<Response, Refusal> {
    let removed = blocking(&daemon, move |manager| {
        let (network, endpoint) = manager.disconnect(&key, &endpoint)?;
        Ok(EndpointInfo::new(&network, &endpoint))
    });
    Ok(json(StatusCode::OK, &removed.await?))
}

pub(super) async fn endpoints(State(daemon): Context) -> Result<Response, Refusal> {
    let all = blocking(&daemon, |manager| {
        Ok(manager.endpoints().iter().map(|(n, e)| EndpointInfo::new(n, e)).collect::<Vec<_>>())
    });
    Ok(json(StatusCode::OK, &all.await?))
}

pub(super) async fn endpoint(State(daemon): Context, Named(key): Named<String>) -> Result<Response, Refusal> {
    let found = blocking(&daemon, move |manager| {
        let found = manager.endpoints_named(&key)?;
        Ok(found.iter().map(|(n, e)| EndpointInfo::new(n, e)).collect::<Vec<_>>())
    });
    Ok(json(StatusCode::OK, &found.await?))
}

pub(super) async fn ports(State(daemon): Context) -> Result<Response, Refusal> {
    let all = blocking(&daemon, |manager| {
        Ok(manager.endpoints().iter().flat_map(|(n, e)| PortInfo::of(n, e)).collect::<Vec<_>>())
    });
    Ok(json(StatusCode::OK, &all.await?))
}

pub(super) fn tell(manager: &Manager, snapshot: &Snapshot) -> NetworkInfo {
    NetworkInfo::new(snapshot, &manager.peers())
}
