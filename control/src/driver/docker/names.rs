//! What people call networks and containers. The plugin's protocol never says it, so the engine is asked: in between, and
//! more and more rarely as long as it does not tell.
//!
//! What has no name yet is called `docker-` and the beginning of its id. A name that Weft could not have, or that
//! something else has already, is not taken; neither is a new name of something that has one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::engine::{Engine, EngineError, Names};
use crate::error::Problem;
use crate::model::{Id, Name};
use crate::network::{Manager, NetworkError, engine_name};

/// How long after a call the engine is asked: it must have done what the call was a part of.
const SOON: Duration = Duration::from_millis(500);

/// The longest pause between two questions about one network.
const RARELY: Duration = Duration::from_secs(300);

/// How often to look for what has no name, if nothing happens.
const LOOK: Duration = Duration::from_secs(60);

/// The most questions at a time; the others come next.
const AT_ONCE: usize = 16;

/// Asks `engine` for the names of what `manager` has of it, until there is no manager or nobody left to ask for it.
pub(super) async fn run(engine: Engine, manager: Weak<Manager>, mut asked_for: mpsc::Receiver<Id>) {
    let mut schedule = Schedule::default();
    let mut look = Instant::now();
    loop {
        let wake = schedule.next().map_or(look, |next| next.min(look));
        tokio::select! {
            network = asked_for.recv() => match network {
                Some(network) => schedule.hurry(network, Instant::now()),
                None => return,
            },
            () = sleep_until(wake) => {
                let Some(manager) = manager.upgrade() else { return };
                round(&engine, &manager, &mut schedule).await;
                look = Instant::now() + LOOK;
            }
        }
    }
}

/// Asks about all that it is time to ask about.
async fn round(engine: &Engine, manager: &Arc<Manager>, schedule: &mut Schedule) {
    let looking = Arc::clone(manager);
    // A panic is a bug that is told elsewhere; there is nothing to ask then.
    let unnamed = tokio::task::spawn_blocking(move || unnamed(&looking)).await.unwrap_or_default();
    for network in schedule.due(&unnamed, Instant::now()) {
        match engine.names(network).await {
            Ok(names) => {
                let learning = Arc::clone(manager);
                let _ = tokio::task::spawn_blocking(move || learn(&learning, network, &names)).await;
            }
            Err(error @ EngineError::Unreachable(_)) => {
                tracing::debug!(%error, "Docker is not asked for names");
                return;
            }
            Err(error) => tracing::debug!(%error, network = network.short(), "Docker tells no names"),
        }
    }
}

/// The engine's networks that have no name, or an endpoint on them that has none.
fn unnamed(manager: &Manager) -> BTreeSet<Id> {
    let networks = manager.networks().into_iter().filter(|snapshot| snapshot.network.engine.is_some());
    let nameless = networks.filter(|snapshot| {
        is_nameless(snapshot.network.id, &snapshot.network.name)
            || snapshot.endpoints.iter().any(|endpoint| is_nameless(endpoint.id, &endpoint.name))
    });
    nameless.map(|snapshot| snapshot.network.id).collect()
}

fn is_nameless(id: Id, name: &Name) -> bool {
    engine_name(id).is_ok_and(|nameless| nameless == *name)
}

/// Takes over the names of what has none.
fn learn(manager: &Manager, network: Id, names: &Names) {
    let Some(snapshot) = manager.networks().into_iter().find(|snapshot| snapshot.network.id == network)
    else {
        return;
    };
    let refused = |text: &str, outcome: Result<(), NetworkError>| {
        if let Err(error) = outcome {
            let network = network.short();
            tracing::info!(
                network,
                "what Docker calls '{text}' keeps its name here: {}",
                Problem::from(error)
            );
        }
    };
    if is_nameless(network, &snapshot.network.name)
        && let Ok(name) = Name::new(&*names.network)
    {
        refused(&names.network, manager.name_network(network, &name));
    }
    for (id, text) in &names.endpoints {
        let endpoint = snapshot.endpoints.iter().find(|endpoint| endpoint.id == *id);
        if endpoint.is_some_and(|endpoint| is_nameless(*id, &endpoint.name))
            && let Ok(name) = Name::new(&**text)
        {
            refused(text, manager.name_endpoint(network, *id, &name));
        }
    }
}

/// When to ask about which network.
#[derive(Debug, Default)]
struct Schedule(BTreeMap<Id, Question>);

#[derive(Clone, Copy, Debug)]
struct Question {
    next: Instant,
    pause: Duration,
}

impl Schedule {
    /// Something is going on with `network`: it is asked about soon, and often at first.
    fn hurry(&mut self, network: Id, now: Instant) {
        self.0.insert(network, Question { next: now + SOON, pause: SOON });
    }

    /// What to ask about now; each is asked about again after a pause, each twice as long as the one before. What is not
    /// among `unnamed` need not be asked about any more.
    fn due(&mut self, unnamed: &BTreeSet<Id>, now: Instant) -> Vec<Id> {
        self.0.retain(|network, question| question.next > now || unnamed.contains(network));
        for network in unnamed {
            self.0.entry(*network).or_insert(Question { next: now, pause: SOON });
        }
        let due = self.0.iter_mut().filter(|(_, question)| question.next <= now).take(AT_ONCE);
        let ask = |(network, question): (&Id, &mut Question)| {
            *question = Question { next: now + question.pause, pause: (question.pause * 2).min(RARELY) };
            *network
        };
        due.map(ask).collect()
    }

    /// When there is something to ask.
    fn next(&self) -> Option<Instant> {
        self.0.values().map(|question| question.next).min()
    }
}

#[cfg(test)]
mod tests;
