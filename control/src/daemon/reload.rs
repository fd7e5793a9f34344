//! SIGHUP: the configuration is read again, what can change at once does, and the rest is named.
//!
//! All or nothing up to the checks: a configuration that is wrong, or does not fit this host, changes nothing and is told
//! in the log. Nothing that goes wrong here ends the daemon.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::DaemonError;
use crate::config::{Config, ConfigError, Takes};
use crate::error::Problem;
use crate::log::Log;
use crate::network::Manager;
use crate::sandbox::host::HostNets;

/// Reads the configuration from where the daemon was told to.
pub type Loader = Arc<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// All that a new configuration can reach in a running daemon.
pub(super) struct Reload {
    pub(super) current: Config,
    pub(super) load: Loader,
    pub(super) log: Log,
    pub(super) metrics: watch::Sender<Option<SocketAddr>>,
    pub(super) manager: Arc<Manager>,
}

impl Reload {
    /// Reads, checks and applies; the log says what came of it.
    pub(super) async fn run(&mut self) {
        let new = match self.read().await {
            Ok(new) => new,
            Err(error) => {
                tracing::error!(
                    "the configuration is not reloaded, all stays as it is: {}",
                    Problem::from(error)
                );
                return;
            }
        };
        let differences = self.current.differences(&new);
        if let Err(error) = self.apply(new) {
            tracing::error!("the configuration is reloaded, but for the peers: {}", Problem::from(error));
        }
        for difference in &differences {
            match difference.takes {
                Takes::Now => tracing::info!(key = difference.key, "configuration changed"),
                Takes::Restart => {
                    tracing::warn!(
                        key = difference.key,
                        "configuration changed, but this key needs a restart"
                    );
                }
            }
        }
        tracing::info!(changes = differences.len(), "configuration reloaded");
    }

    /// A new configuration that fits this host.
    async fn read(&self) -> Result<Config, DaemonError> {
        // A local file of bounded size: no worse than reading it at the start.
        let new = (self.load)()?;
        new.settle(&HostNets::read().await?)?;
        Ok(new)
    }

    /// Puts into effect what can be, and remembers it as current. What needs a restart stays different, and is named again
    /// the next time.
    fn apply(&mut self, new: Config) -> Result<(), crate::network::NetworkError> {
        self.log.set_level(new.log.level.as_deref());
        self.metrics.send_if_modified(|listen| {
            let moves = *listen != new.metrics;
            *listen = new.metrics;
            moves
        });
        (self.current.log.level, self.current.metrics) = (new.log.level, new.metrics);
        if self.current.peers != new.peers {
            tokio::task::block_in_place(|| self.manager.set_peers(new.peers.clone()))?;
            self.current.peers = new.peers;
        }
        Ok(())
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("current", &self.current).finish_non_exhaustive()
    }
}
