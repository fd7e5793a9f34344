//! The daemon's side of the API: connections, and how they end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{CONNECTIONS_MAX, HEADER_TIMEOUT, routes};
use crate::network::Manager;

/// What the API answers from.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) manager: Arc<Manager>,
    pub(super) node: String,
    pub(super) since: Instant,
}

/// The API of one daemon.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    router: Router,
}

impl Server {
    /// An API for `manager` behind `listener`, which [`super::bind`] made at `path`.
    #[must_use]
    pub fn new(listener: UnixListener, path: PathBuf, manager: Arc<Manager>, node: String) -> Self {
        let router = routes::router(Arc::new(Daemon { manager, node, since: Instant::now() }));
        Self { listener, path, router }
    }

    /// Serves until `stop` is done, then closes every connection and removes the socket. Requests under way are still
    /// carried out, but their answers may be lost.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            // Accepted only when there is room: the rest wait in the socket's backlog.
            let accept = async {
                let permit = Arc::clone(&room).acquire_owned().await;
                (self.listener.accept().await, permit)
            };
            tokio::select! {
                () = &mut stop => break,
                Some(_) = connections.join_next() => {}
                (accepted, permit) = accept => match accepted {
                    Ok((stream, _)) => {
                        let serve = serve(stream, self.router.clone());
                        connections.spawn(async move {
                            serve.await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept an API connection");
                        // Out of descriptors, most likely: give others time to close theirs.
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                }
            }
        }
        connections.shutdown().await;
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, socket = %self.path.display(), "cannot remove the API socket");
        }
    }
}

async fn serve(stream: UnixStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an API connection ended badly");
    }
}
