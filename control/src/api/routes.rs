//! What each route does. Handlers parse, ask the manager on a thread that may block, and tell what came of it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;
use weft_dataplane::runtime::{EntryKind, FdbRow, Location};

use super::capture;
use super::request::{Asked, Named, Parsed, Refusal, RequestError, json};
use super::server::Daemon;
use super::types::{
    Connected, EndpointInfo, EndpointRequest, FdbEntry, NetworkInfo, NetworkRequest, Stats, Status,
};
use crate::network::{Manager, NetworkError, Snapshot};

/// Every route of the API.
pub(super) fn router(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/stats", get(stats))
        .route("/v1/doctor", get(doctor))
        .route("/v1/networks", get(networks).post(create))
        .route("/v1/networks/{key}", get(network).delete(remove))
        .route("/v1/networks/{key}/endpoints", post(connect))
        .route("/v1/networks/{key}/endpoints/{endpoint}", delete(disconnect))
        .route("/v1/endpoints", get(endpoints))
        .route("/v1/endpoints/{key}", get(endpoint))
        .route("/v1/fdb", get(fdb))
        .route("/v1/capture", get(captured))
        .method_not_allowed_fallback(|| async { Refusal::from(RequestError::Method) })
        .fallback(|request: Request| async move {
            Refusal::from(RequestError::Route { path: request.uri().path().to_owned() })
        })
        .with_state(daemon)
}

type Context = State<Arc<Daemon>>;

async fn status(State(daemon): Context) -> Result<Response, Refusal> {
    let told = Arc::clone(&daemon);
    let status = blocking(&daemon, move |manager| {
        let (networks, underlay) = (manager.networks(), manager.plane().underlay());
        Ok(Status {
            node: told.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            vtep: underlay.as_ref().map(|underlay| underlay.address),
            underlay_port: underlay.as_ref().map(|underlay| underlay.port),
            underlay_mode: underlay.as_ref().map(|underlay| underlay.mode.clone()),
            underlay_reason: underlay.and_then(|underlay| underlay.reason),
            peers: manager.peers().to_vec(),
            workers: manager.plane().workers(),
            daemon_pid: std::process::id(),
            dataplane_pid: std::process::id(),
            ready: true,
            networks: networks.len(),
            endpoints: networks.iter().map(|network| network.endpoints.len()).sum(),
            uptime_s: told.since.elapsed().as_secs(),
        })
    });
    Ok(json(StatusCode::OK, &status.await?))
}

async fn stats(State(daemon): Context) -> Result<Response, Refusal> {
    let stats = blocking(&daemon, |manager| {
        let report = manager.plane().traffic();
        let networks = manager.networks();
        let name_of =
            |segment| networks.iter().find(|s| s.network.segment == segment).map(|s| &s.network.name);
        let by_name = report
            .segments
            .iter()
            .filter_map(|(segment, traffic)| Some((name_of(*segment)?.to_string(), traffic.into())));
        Ok(Stats { total: (&report.total).into(), networks: by_name.collect() })
    });
    Ok(json(StatusCode::OK, &stats.await?))
}

async fn doctor(State(daemon): Context) -> Result<Response, Refusal> {
    let findings = blocking(&daemon, |manager| Ok(manager.doctor()));
    Ok(json(StatusCode::OK, &findings.await?))
}

async fn networks(State(daemon): Context) -> Result<Response, Refusal> {
    let all = blocking(&daemon, |manager| {
        Ok(manager.networks().iter().map(|s| tell(manager, s)).collect::<Vec<_>>())
    });
    Ok(json(StatusCode::OK, &all.await?))
}

async fn create(State(daemon): Context, body: Parsed<NetworkRequest>) -> Result<Response, Refusal> {
    let created = blocking(&daemon, move |manager| Ok(tell(manager, &manager.create(&body.0)?)));
    Ok(json(StatusCode::CREATED, &created.await?))
}

async fn network(State(daemon): Context, Named(key): Named<String>) -> Result<Response, Refusal> {
    let found = blocking(&daemon, move |manager| Ok(tell(manager, &manager.network(&key)?)));
    Ok(json(StatusCode::OK, &found.await?))
}

async fn remove(State(daemon): Context, Named(key): Named<String>) -> Result<Response, Refusal> {
    let removed = blocking(&daemon, move |manager| Ok(tell(manager, &manager.remove(&key)?)));
    Ok(json(StatusCode::OK, &removed.await?))
}

async fn connect(
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

async fn disconnect(
    State(daemon): Context,
    Named((key, endpoint)): Named<(String, String)>,
) -> Result<Response, Refusal> {
    let removed = blocking(&daemon, move |manager| {
        let (network, endpoint) = manager.disconnect(&key, &endpoint)?;
        Ok(EndpointInfo::new(&network, &endpoint))
    });
    Ok(json(StatusCode::OK, &removed.await?))
}

async fn endpoints(State(daemon): Context) -> Result<Response, Refusal> {
    let all = blocking(&daemon, |manager| {
        Ok(manager.endpoints().iter().map(|(n, e)| EndpointInfo::new(n, e)).collect::<Vec<_>>())
    });
    Ok(json(StatusCode::OK, &all.await?))
}

async fn endpoint(State(daemon): Context, Named(key): Named<String>) -> Result<Response, Refusal> {
    let found = blocking(&daemon, move |manager| {
        let found = manager.endpoints_named(&key)?;
        Ok(found.iter().map(|(n, e)| EndpointInfo::new(n, e)).collect::<Vec<_>>())
    });
    Ok(json(StatusCode::OK, &found.await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FdbQuery {
    network: Option<String>,
}

async fn fdb(State(daemon): Context, query: Asked<FdbQuery>) -> Result<Response, Refusal> {
    let entries = blocking(&daemon, move |manager| {
        let snapshots = match &query.0.network {
            Some(key) => vec![manager.network(key)?],
            None => manager.networks(),
        };
        let rows_of = |snapshot: &Snapshot| {
            let rows = manager.plane().fdb(snapshot.network.segment);
            rows.iter().map(|row| fdb_entry(snapshot, row)).collect::<Vec<_>>()
        };
        let mut entries: Vec<FdbEntry> = snapshots.iter().flat_map(rows_of).collect();
        entries.sort_by(|a, b| (&a.network, &a.mac).cmp(&(&b.network, &b.mac)));
        Ok(entries)
    });
    Ok(json(StatusCode::OK, &entries.await?))
}

fn fdb_entry(snapshot: &Snapshot, row: &FdbRow) -> FdbEntry {
    let (port, vtep) = match row.location {
        // The endpoint of a port that went away between two reads has no name any more.
        Location::Local(port) => (
            Some(snapshot.behind(port).map_or_else(|| format!("port-{}", port.0), ToString::to_string)),
            None,
        ),
        Location::Remote(vtep) => (None, Some(vtep.address())),
    };
    let kind = match row.kind {
        EntryKind::Static => "static",
        EntryKind::Dynamic => "dynamic",
    };
    FdbEntry {
        network: snapshot.network.name.to_string(),
        vni: snapshot.network.vni.map(|vni| vni.get()),
        mac: row.mac.to_string(),
        kind: kind.to_owned(),
        port,
        vtep,
        age_s: row.age.map(|age| age.as_secs()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaptureQuery {
    network: Option<String>,
    endpoint: Option<String>,
    count: Option<u64>,
}

async fn captured(State(daemon): Context, query: Asked<CaptureQuery>) -> Result<Response, Refusal> {
    let CaptureQuery { network, endpoint, count } = query.0;
    let capture =
        blocking(&daemon, move |manager| manager.capture(network.as_deref(), endpoint.as_deref())).await?;
    let body = capture::body(capture, count).map_err(RequestError::NoThread)?;
    Ok(([(CONTENT_TYPE, "application/x-pcapng")], body).into_response())
}

fn tell(manager: &Manager, snapshot: &Snapshot) -> NetworkInfo {
    NetworkInfo::new(snapshot, manager.peers())
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
