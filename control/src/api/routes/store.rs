//! The whole record, as a backup and back.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::networks::tell;
use super::{Context, blocking};
use crate::api::request::{Refusal, Whole, json};

pub(super) async fn export(State(daemon): Context) -> Result<Response, Refusal> {
    let record = blocking(&daemon, |manager| Ok(manager.export()?));
    Ok(([(CONTENT_TYPE, "application/json")], record.await?).into_response())
}

pub(super) async fn import(State(daemon): Context, body: Whole) -> Result<Response, Refusal> {
    let imported = blocking(&daemon, move |manager| {
        Ok(manager.import(&body.0)?.iter().map(|s| tell(manager, s)).collect::<Vec<_>>())
    });
    Ok(json(StatusCode::OK, &imported.await?))
}
