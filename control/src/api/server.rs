//! The daemon's side of the API: who is let in, and what answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::UnixListener;

use super::door::Guarded;
use super::peer::Callers;
use super::{CONNECTIONS_MAX, HEADER_TIMEOUT, UNREAD_TIMEOUT, routes};
use crate::health::Health;
use crate::http::{self, Bounds};
use crate::network::Manager;

/// What the API answers from.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) manager: Arc<Manager>,
    pub(super) health: Arc<Health>,
    pub(super) node: String,
    pub(super) since: Instant,
}

/// The API of one daemon.
#[derive(Debug)]
pub struct Server {
    door: Guarded,
    path: PathBuf,
}

impl Server {
    /// An API for `manager` behind `listener`, which [`super::bind`] made at `path`.
    #[must_use]
    pub fn new(
        listener: UnixListener,
        path: PathBuf,
        manager: Arc<Manager>,
        health: Arc<Health>,
        node: String,
    ) -> Self {
        let router = routes::router(Arc::new(Daemon { manager, health, node, since: Instant::now() }));
        let door =
            Guarded { listener, callers: Callers::of_this_process(), router, closed: routes::closed() };
        Self { door, path }
    }

    /// Serves until `stop` is done, then closes every connection and removes the socket. Requests under way are still
    /// carried out, but their answers may be lost.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let bounds = Bounds { connections: CONNECTIONS_MAX, header: HEADER_TIMEOUT, unread: UNREAD_TIMEOUT };
        http::serve(self.door, bounds, stop).await;
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, socket = %self.path.display(), "cannot remove the API socket");
        }
    }
}
