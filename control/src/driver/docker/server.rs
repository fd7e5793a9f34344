//! The plugin's socket: there as long as the daemon lives, whatever happens to the file.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::plugin::{self, Plugin};
use super::{CONNECTIONS_MAX, RETRY};
use crate::api::{self, Callers, Guarded, SocketError};
use crate::error::Problem;
use crate::health::Health;
use crate::http::{self, Bounds};

/// What the log and `weft status` call this.
const TOPIC: &str = "docker";

/// Listens, and answers.
#[derive(Debug)]
pub(super) struct Server {
    path: PathBuf,
    plugin: Arc<Plugin>,
    health: Arc<Health>,
    /// What was had before anybody waited for it.
    listener: Option<UnixListener>,
}

impl Server {
    /// Listens at `path`, if that can be had at once.
    pub(super) fn new(path: PathBuf, plugin: Plugin, health: Arc<Health>) -> Self {
        let mut server = Self { path, plugin: Arc::new(plugin), health, listener: None };
        server.listener = server.try_listen();
        server
    }

    /// Serves until the other end of `stop` is gone, then removes the socket.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let bounds =
            Bounds { connections: CONNECTIONS_MAX, header: api::HEADER_TIMEOUT, unread: api::HEADER_TIMEOUT };
        loop {
            let listener = tokio::select! {
                // What is there already is served, and removed in the end, even if that has come.
                biased;
                listener = self.listen() => listener,
                _ = &mut stop => break,
            };
            let own = identity(&self.path);
            let door = Guarded {
                listener,
                callers: Callers::root(),
                router: plugin::router(Arc::clone(&self.plugin)),
                closed: plugin::closed(),
            };
            let mut stopped = false;
            let displaced = async {
                tokio::select! {
                    _ = &mut stop => stopped = true,
                    () = displaced(&self.path, own) => {}
                }
            };
            http::serve(door, bounds, displaced).await;
            if stopped {
                self.remove(own);
                break;
            }
            tracing::warn!(socket = %self.path.display(), "the plugin's socket was removed, it is made anew");
        }
        self.health.clear(TOPIC);
    }

    /// The socket, as soon as it can be had.
    async fn listen(&mut self) -> UnixListener {
        loop {
            if let Some(listener) = self.listener.take().or_else(|| self.try_listen()) {
                return listener;
            }
            sleep(RETRY).await;
        }
    }

    fn try_listen(&self) -> Option<UnixListener> {
        match listen(&self.path) {
            Ok(listener) => {
                self.health.clear(TOPIC);
                tracing::info!(socket = %self.path.display(), "the plugin of Docker is served");
                Some(listener)
            }
            Err(error) => {
                let what =
                    format!("{}; see to that, or set docker.plugin to false", Problem::from(error).message);
                if self.health.warn(TOPIC, &what) {
                    tracing::warn!("docker: {what}");
                }
                None
            }
        }
    }

    /// Removes the socket, unless another one is there.
    fn remove(&self, own: Option<(u64, u64)>) {
        if identity(&self.path) != own {
            return;
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, socket = %self.path.display(), "cannot remove the plugin's socket");
        }
    }
}

/// Listens in a directory that is made if it is missing.
fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    if let Some(directory) = path.parent() {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
        made.map_err(|source| SocketError::Io { what: "make a directory for", path: path.into(), source })?;
    }
    api::bind_for_root(path)
}

/// Waits until something else than `own` is at `path`.
async fn displaced(path: &Path, own: Option<(u64, u64)>) {
    while identity(path) == own {
        sleep(RETRY).await;
    }
}

/// Which file it is, if there is one.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
