//! The port that monitoring asks at.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{CONNECTIONS_MAX, HEADER_TIMEOUT, RETRY, Reading, UNREAD_TIMEOUT, text};
use crate::driver::docker::Calls;
use crate::health::{Health, Phase};
use crate::http::{self, Bounds, Door};
use crate::network::Manager;

/// What the log and `weft status` call this.
const TOPIC: &str = "metrics";

/// What OpenMetrics calls itself.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is answered from.
#[derive(Clone, Debug)]
struct Source {
    manager: Arc<Manager>,
    health: Arc<Health>,
    docker: Arc<Calls>,
}

/// Serves at the address that `listen` holds, and moves when that changes; nowhere while it holds none. Ends when nobody
/// can change it any more.
pub async fn run(
    mut listen: watch::Receiver<Option<SocketAddr>>,
    manager: Arc<Manager>,
    health: Arc<Health>,
    docker: Arc<Calls>,
) {
    let router = router(Source { manager, health: Arc::clone(&health), docker });
    loop {
        let wanted = *listen.borrow_and_update();
        let moved = async { listen.changed().await.is_ok() };
        let stay = match wanted {
            Some(address) => serve(address, router.clone(), &health, moved).await,
            None => moved.await,
        };
        health.clear(TOPIC);
        if !stay {
            return;
        }
    }
}

/// Serves at `address` until `moved` is done; gives what that gives.
async fn serve(
    address: SocketAddr,
    router: Router,
    health: &Health,
    moved: impl Future<Output = bool>,
) -> bool {
    let mut moved = std::pin::pin!(moved);
    let listener = tokio::select! {
        stay = &mut moved => return stay,
        listener = listen(address, health) => listener,
    };
    let mut stay = false;
    let bounds = Bounds { connections: CONNECTIONS_MAX, header: HEADER_TIMEOUT, unread: UNREAD_TIMEOUT };
    http::serve(Port { listener, router }, bounds, async { stay = moved.await }).await;
    stay
}

/// The port, as soon as it can be had.
async fn listen(address: SocketAddr, health: &Health) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                health.clear(TOPIC);
                tracing::info!(%address, "metrics are served");
                return listener;
            }
            Err(error) => {
                let what =
                    format!("cannot listen at {address}: {error}; set metrics.listen to a free address");
                if health.warn(TOPIC, &what) {
                    tracing::warn!("metrics: {what}");
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// The listening port, and what is behind it.
struct Port {
    listener: TcpListener,
    router: Router,
}

impl Door for Port {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Router)> {
        let (stream, _) = self.listener.accept().await?;
        Ok((stream, self.router.clone()))
    }
}

fn router(source: Source) -> Router {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(source)
}

async fn readyz(State(source): State<Source>) -> Response {
    let phase = source.health.phase();
    let status = if phase == Phase::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let warnings = source.health.warnings().into_iter().map(|warning| format!("{warning}\n"));
    (status, format!("{}\n{}", phase.as_str(), warnings.collect::<String>())).into_response()
}

async fn metrics(State(source): State<Source>) -> Response {
    let read = move || text(Reading::take(&source.manager, &source.health, &source.docker));
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(text)) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Ok(Err(_)) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
