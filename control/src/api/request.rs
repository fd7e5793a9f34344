//! From HTTP to what handlers take, and back: bodies, queries and paths parsed whole, problems as answers.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::types::Problem;
use super::{BODY_MAX, BODY_TIMEOUT};
use crate::error::{Code, Explain};
use crate::store::EXPORT_MAX;

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(CONTENT_TYPE, "application/json")], Body::from(body)).into_response(),
        Err(error) => Refusal::from(RequestError::Encode(error)).into_response(),
    }
}

/// A request body, read within its limits and parsed whole. The content type is not looked at.
pub(super) struct Parsed<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Parsed<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let bytes = read(request, BODY_MAX).await?;
        let parsed = serde_json::from_slice(&bytes);
        Ok(Self(parsed.map_err(|e| RequestError::Malformed { what: e.to_string() })?))
    }
}

/// An export of a store in a request body, read within its limits.
pub(super) struct Whole(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        Ok(Self(read(request, EXPORT_MAX).await?))
    }
}

/// The body of a request, of at most `limit` bytes.
pub(crate) async fn read(request: Request, limit: usize) -> Result<Bytes, RequestError> {
    // A length that is announced is believed: there is no need to wait for such a body.
    if request.body().size_hint().lower() > limit as u64 {
        return Err(RequestError::TooLarge { limit });
    }
    let body = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(RequestError::TooLarge { limit }),
        Ok(Err(e)) => Err(RequestError::Malformed { what: e.to_string() }),
        Err(_) => Err(RequestError::Slow),
    }
}

/// The query of a request, parsed whole.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let parsed = Query::<T>::try_from_uri(&parts.uri);
        Ok(Self(parsed.map_err(|e| RequestError::Malformed { what: e.body_text() })?.0))
    }
}

/// The keys in the path of a request.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let parsed = Path::<T>::from_request_parts(parts, state).await;
        Ok(Self(parsed.map_err(|e| RequestError::Malformed { what: e.body_text() })?.0))
    }
}

/// Why a request got no further than its handler.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("there is nothing at {path}")]
    Route { path: String },
    #[error("this method is not for this path")]
    Method,
    #[error("user and groups of this process may not use the API")]
    Stranger,
    #[error("the request body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the request was not complete within {} s", BODY_TIMEOUT.as_secs())]
    Slow,
    #[error("cannot make sense of the request: {what}")]
    Malformed { what: String },
    #[error("cannot start a thread: {0}")]
    NoThread(std::io::Error),
    #[error("the request failed by a bug: {0}")]
    Panicked(tokio::task::JoinError),
    #[error("cannot encode the answer: {0}")]
    Encode(serde_json::Error),
}

impl Explain for RequestError {
    fn code(&self) -> Code {
        match self {
            Self::Route { .. } => Code::NotFound,
            Self::Method => Code::MethodNotAllowed,
            Self::Stranger => Code::Forbidden,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Slow => Code::Timeout,
            Self::Malformed { .. } => Code::InvalidArgument,
            Self::NoThread(_) => Code::Exhausted,
            Self::Panicked(_) | Self::Encode(_) => Code::Failed,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Route { .. } | Self::Method => "use a client of this version".into(),
            Self::Stranger => "run as root, or join the group weft".into(),
            Self::TooLarge { .. } => "send less".into(),
            Self::Slow | Self::NoThread(_) => "try again".into(),
            Self::Malformed { .. } => "send a JSON object with exactly the documented fields".into(),
            Self::Panicked(_) | Self::Encode(_) => "report it, with the daemon's log".into(),
        })
    }
}

/// A problem as an answer.
pub(super) struct Refusal(Problem);

impl<E: Explain> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        json(status, &self.0)
    }
}
