//! What is different between two configurations, and when that takes effect.

use super::Config;

/// When a changed key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// As soon as the running daemon has read it.
    Now,
    /// When a daemon starts with it.
    Restart,
}

/// One changed key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key, as people write it.
    pub key: &'static str,
    /// When its new value takes effect.
    pub takes: Takes,
}

impl Config {
    /// The keys in which `new` differs.
    #[must_use]
    pub fn differences(&self, new: &Self) -> Vec<Difference> {
        // Taken apart, so that a key that is added here is not forgotten below.
        let Self {
            node,
            state_dir,
            run_dir,
            underlay_address,
            underlay_port,
            underlay_mode,
            uplink,
            workers,
            store,
            metrics,
            log,
            docker,
            peers,
        } = self;
        let changed = [
            ("node", Takes::Restart, *node != new.node),
            ("state_dir", Takes::Restart, *state_dir != new.state_dir),
            ("run_dir", Takes::Restart, *run_dir != new.run_dir),
            ("underlay.address", Takes::Restart, *underlay_address != new.underlay_address),
            ("underlay.port", Takes::Restart, *underlay_port != new.underlay_port),
            ("underlay.mode", Takes::Restart, *underlay_mode != new.underlay_mode),
            ("uplink.interface", Takes::Restart, *uplink != new.uplink),
            ("dataplane.workers", Takes::Restart, *workers != new.workers),
            ("store.url", Takes::Restart, *store != new.store),
            ("metrics.listen", Takes::Now, *metrics != new.metrics),
            ("log.format", Takes::Restart, log.format != new.log.format),
            ("log.level", Takes::Now, log.level != new.log.level),
            ("docker.plugin", Takes::Restart, *docker != new.docker),
            ("peer", Takes::Now, *peers != new.peers),
        ];
        let told = changed.into_iter().filter(|(_, _, differs)| *differs);
        told.map(|(key, takes, _)| Difference { key, takes }).collect()
    }
}
