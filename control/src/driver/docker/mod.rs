//! Docker Engine's plugin: networks (`docker network create -d weft`) and their addresses (`--ipam-driver weft`).
//!
//! ```text
//! dockerd ~~ /run/docker/plugins/weft.sock ~~ server > plugin: call > network, ipam > Manager
//!                                                               +--> settle: where the engine has put an interface
//! dockerd ~~ /run/docker.sock ~~ engine < names: what it calls networks and containers
//! ```
//!
//! The engine posts JSON to `/NetworkDriver.CALL` and `/IpamDriver.CALL` and waits for the answer however long it takes, so
//! every call is answered within [`ANSWER_TIMEOUT`]; what it began goes on, and the engine's next call finds it. An answer
//! has status 200 and says in its body what was refused, as the protocol has it. Each connection carries one call: an
//! engine that is about to send on one that is just being closed would lose its request.
//!
//! The engine is never asked anything while it waits for an answer: that would lock up both. Names, which the protocol does
//! not tell, are asked for in between ([`names`]).
//!
//! A socket that cannot be had does not stop the daemon: it is told in the log and in `weft status`, and tried again every
//! [`RETRY`]; the same if somebody removes it. Only root may call.
//!
//! Limits: [`CONNECTIONS_MAX`] calls at a time, further ones wait; [`BODY_MAX`] bytes each.
//!
//! Not here: swarm (its engines take no plugins that are not in containers), and names for the containers of other hosts.

mod calls;
mod engine;
mod error;
mod install;
mod ipam;
mod names;
mod network;
mod options;
mod plugin;
mod ports;
mod server;
mod settle;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use calls::{BUCKETS, Calls, Timing};
pub use engine::EngineError;
pub(crate) use engine::{Engine, Question};
pub use install::{Install, InstallError, Step};

use crate::health::Health;
use crate::network::Manager;
use plugin::Plugin;

/// Where the engine looks for a plugin of this name, before it looks anywhere else.
pub const SOCKET: &str = "/run/docker/plugins/weft.sock";

/// Where the engine's own API is.
pub const ENGINE: &str = "/run/docker.sock";

/// The largest request, in bytes: an image that exposes every port there is, all of them published.
pub const BODY_MAX: usize = 16 << 20;

/// How many calls are served at a time: an engine starts a few dozen containers at once.
pub const CONNECTIONS_MAX: usize = 64;

/// How long a call may take.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long to wait before a socket that could not be had is tried again.
pub const RETRY: Duration = Duration::from_secs(5);

/// How many networks can wait to be asked for their names; the others are found when it is time to ask.
const ASKED_FOR_MAX: usize = 64;

/// A plugin that is served.
#[derive(Debug)]
pub struct Service {
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    names: JoinHandle<()>,
}

impl Service {
    /// Serves the plugin of `manager` at the path `socket`, and asks the engine behind `engine` for names. The socket is
    /// there when this returns, if it can be had.
    #[must_use]
    pub fn start(
        socket: &Path,
        engine: &Path,
        manager: &Arc<Manager>,
        health: &Arc<Health>,
        calls: &Arc<Calls>,
    ) -> Self {
        let (asks, asked_for) = mpsc::channel(ASKED_FOR_MAX);
        let plugin =
            Plugin { manager: Arc::clone(manager), calls: Arc::clone(calls), asks, patience: ANSWER_TIMEOUT };
        let (stop, stopped) = oneshot::channel();
        let server = server::Server::new(PathBuf::from(socket), plugin, Arc::clone(health));
        let names = names::run(engine::Engine::new(engine), Arc::downgrade(manager), asked_for);
        Self { stop, server: tokio::spawn(server.run(stopped)), names: tokio::spawn(names) }
    }

    /// Ends it, and removes the socket. Calls under way are still carried out.
    pub async fn stop(self) {
        self.names.abort();
        drop(self.stop);
        if let Err(error) = self.server.await {
            tracing::error!(%error, "the plugin of Docker ended badly");
        }
    }
}

#[cfg(test)]
mod tests;
