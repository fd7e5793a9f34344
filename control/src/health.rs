//! How the daemon is: whether it is ready, and what is amiss although it runs.
//!
//! Whoever finds that something does not work, but that forwarding goes on without it, says so here instead of ending the
//! daemon; whoever sees it work again takes it back. `weft status` and `/readyz` show it. It is not a log: a topic has one
//! line, the current one.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::one_line;

/// Shared by all who know something about it.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    warnings: BTreeMap<&'static str, String>,
}

/// Where a daemon is between its start and its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not everything is up.
    #[default]
    Starting,
    /// Everything is up.
    Ready,
    /// Told to end.
    Stopping,
}

impl Phase {
    /// The word for it in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
        }
    }
}

impl Health {
    /// Where the daemon is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.state().phase
    }

    /// Goes on to `phase`.
    pub fn enter(&self, phase: Phase) {
        self.state().phase = phase;
    }

    /// Says what is amiss with `topic`; replaces what was said of it. `true` when that is news.
    pub fn warn(&self, topic: &'static str, what: &str) -> bool {
        let what = one_line(what);
        self.state().warnings.insert(topic, what.clone()) != Some(what)
    }

    /// Takes back what was said of `topic`; `true` when there was something.
    pub fn clear(&self, topic: &'static str) -> bool {
        self.state().warnings.remove(topic).is_some()
    }

    /// All that is amiss, a line for each topic.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.state().warnings.iter().map(|(topic, what)| format!("{topic}: {what}")).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Changed in single steps: a panic elsewhere leaves nothing half said.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_one_line_until_it_is_well_again() {
        let health = Health::default();
        assert_eq!(health.phase(), Phase::Starting);
        assert!(health.warn("metrics", "port\ntaken"));
        assert!(!health.warn("metrics", "port taken"), "said already");
        assert!(health.warn("store", "disk full"));
        assert_eq!(health.warnings(), ["metrics: port taken", "store: disk full"]);
        assert!(health.clear("metrics") && !health.clear("metrics"));
        assert_eq!(health.warnings(), ["store: disk full"]);
    }
}
