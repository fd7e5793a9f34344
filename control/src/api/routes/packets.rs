//! What packets leave behind: counters, forwarding tables, captures.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use weft_dataplane::runtime::{EntryKind, FdbRow, Location};

use super::{Context, blocking};
use crate::api::capture;
use crate::api::request::{Asked, Refusal, RequestError, json};
use crate::api::types::{FdbEntry, NatInfo, Stats};
use crate::network::{SessionFilter, Snapshot};

pub(super) async fn stats(State(daemon): Context) -> Result<Response, Refusal> {
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FdbQuery {
    network: Option<String>,
}

pub(super) async fn fdb(State(daemon): Context, query: Asked<FdbQuery>) -> Result<Response, Refusal> {
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
        Location::Local(port) if snapshot.host == Some(port) => (Some("(host)".to_owned()), None),
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
pub(super) struct NatQuery {
    network: Option<String>,
    endpoint: Option<String>,
    protocol: Option<String>,
}

pub(super) async fn nat(State(daemon): Context, query: Asked<NatQuery>) -> Result<Response, Refusal> {
    let NatQuery { network, endpoint, protocol } = query.0;
    let sessions = blocking(&daemon, move |manager| {
        // By name, id, or the first digits of an id, as everywhere; sessions are told by name.
        let network = network.map(|key| manager.network(&key)).transpose()?;
        let endpoint = endpoint.map(|key| manager.endpoints_named(&key)).transpose()?;
        let filter = SessionFilter {
            network: network.map(|snapshot| snapshot.network.name.to_string()),
            endpoint: endpoint.and_then(|found| Some(found.first()?.1.name.to_string())),
            protocol,
        };
        let sessions = manager.nat_sessions(&filter);
        Ok(sessions.iter().map(|(n, e, row)| NatInfo::new(n, e, row)).collect::<Vec<_>>())
    });
    Ok(json(StatusCode::OK, &sessions.await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaptureQuery {
    network: Option<String>,
    endpoint: Option<String>,
    count: Option<u64>,
}

pub(super) async fn captured(
    State(daemon): Context,
    query: Asked<CaptureQuery>,
) -> Result<Response, Refusal> {
    let CaptureQuery { network, endpoint, count } = query.0;
    let capture =
        blocking(&daemon, move |manager| manager.capture(network.as_deref(), endpoint.as_deref())).await?;
    let body = capture::body(capture, count).map_err(RequestError::NoThread)?;
    Ok(([(CONTENT_TYPE, "application/x-pcapng")], body).into_response())
}
