//! From what there is to what there should be: looking, and carrying the steps out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::book::{Book, Record};
use super::engine::OFFER_ROUNDS;
use super::{Manager, NetworkError, PlaneError};
use crate::model::{Endpoint, EndpointState, Id, Network, Sandbox};
use crate::reconcile::{Actual, Desired, Presence, Step, Subject, Wanted, plan};
use crate::sandbox::{Netns, SandboxError};
use crate::store::catalog::documents::EndpointDocument;

/// How often [`Manager::reconcile`] is to be called.
pub const PERIOD: Duration = Duration::from_secs(2);

/// Every how many periods the namespaces of endpoints without interfaces are looked at: nobody tells of their death, and
/// to look at thousands all the time would not be idleness.
const PATROL: u64 = 16;

/// The longest pause between two attempts at one endpoint, in periods.
const PAUSE_MAX: u64 = 32;

/// What could not be set right yet, by endpoint or network. Interfaces are tried again after pauses that double.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    round: u64,
    by_id: BTreeMap<Id, Trouble>,
}

#[derive(Debug)]
struct Trouble {
    text: String,
    pause: u64,
    due: u64,
}

impl Troubles {
    /// How often [`Manager::reconcile`] was called.
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    /// Forgets what was the matter with an endpoint or a network.
    pub(super) fn settle(&mut self, id: Id) {
        self.by_id.remove(&id);
    }

    /// What is the matter with an endpoint or a network.
    pub(super) fn about(&self, id: Id) -> Option<&str> {
        self.by_id.get(&id).map(|trouble| trouble.text.as_str())
    }

    pub(super) fn is_due(&self, id: Id) -> bool {
        self.by_id.get(&id).is_none_or(|trouble| trouble.due <= self.round)
    }

    /// Notes a failure, and tells whether it is news.
    fn note(&mut self, id: Id, text: String) -> bool {
        let before = self.by_id.get(&id);
        let news = before.is_none_or(|before| before.text != text);
        let pause = before.map_or(1, |before| (before.pause * 2).min(PAUSE_MAX));
        self.by_id.insert(id, Trouble { text, pause, due: self.round + pause });
        news
    }
}

impl Manager {
    /// Looks at everything, notes what engines have taken, restores what lives, and takes away what is dead, half made or
    /// nobody's. What fails is tried again by later calls; the log says so once.
    pub fn reconcile(&self) {
        let round = {
            let mut book = self.book();
            book.troubles.round += 1;
            book.troubles.round
        };
        self.settle_all();
        self.free_idle_addresses(&mut self.book());
        self.take(&self.survey(round % PATROL == 1));
    }

    /// Takes the endpoints of dead namespaces off the record, now; true if there were any.
    pub(super) fn release_dead(&self) -> bool {
        let mut steps = self.survey(false);
        steps.retain(|step| matches!(step, Step::Release(..)));
        self.take(&steps)
    }

    /// Does `steps`; true if any was still to be done, and is.
    fn take(&self, steps: &[Step]) -> bool {
        let (mut done, mut removed) = (false, false);
        for step in steps {
            let mut book = self.book();
            if book.closed {
                return false;
            }
            let right = self.carry_out(&mut book, step);
            done |= right;
            removed |= right && matches!(step, Step::RollBack(_) | Step::Release(..));
        }
        if removed {
            self.publish_removal(&self.book());
        }
        done
    }

    /// What has to be done, as it looks from here. Namespaces are looked at without holding up anybody; those of endpoints
    /// without interfaces only on `patrol`, those of endpoints that are served no more than it takes.
    pub(super) fn survey(&self, patrol: bool) -> Vec<Step> {
        let (desired, mut actual, sandboxes, served) = {
            let book = self.book();
            let actual = Actual {
                serving: book.serving.clone(),
                relayed: book.relayed.clone(),
                strangers: book.strangers.clone(),
                sandboxes: BTreeMap::new(),
            };
            (desired(&book), actual, doubtful(&book, patrol), served(&book))
        };
        let looked_at = sandboxes.into_iter().map(|(id, sandbox)| (id, self.recognise(&sandbox).0));
        actual.sandboxes = looked_at.chain(self.deserted(served)).collect();
        plan(&desired, &actual)
    }

    /// What became of the namespaces that live only because TAPs of ours keep them: nobody can get there any more by the
    /// path that was given, and nobody is in there.
    fn deserted(&self, mut served: Vec<(Id, Sandbox)>) -> Vec<(Id, Presence)> {
        served.retain(|(_, sandbox)| self.plane.leads_to(&sandbox.path) != Some(sandbox.key));
        if served.is_empty() {
            return vec![];
        }
        let inhabited = self.plane.inhabited();
        served.retain(|(_, sandbox)| !inhabited.contains(&sandbox.key));
        served.into_iter().map(|(id, sandbox)| (id, self.recognise(&sandbox).0)).collect()
    }

    /// Does one step, if it is still to be done: the world may have moved on since it was planned. True: it is done.
    fn carry_out(&self, book: &mut Book, step: &Step) -> bool {
        match self.attempt(book, step) {
            Ok(done) => {
                if done {
                    tracing::info!("{step}: set right");
                }
                done
            }
            Err(error) => {
                if about(book, step).is_none_or(|id| book.troubles.note(id, error.to_string())) {
                    tracing::error!(%error, "{step}: not set right");
                }
                false
            }
        }
    }

    /// As [`Manager::carry_out`]; true if there was something to do.
    fn attempt(&self, book: &mut Book, step: &Step) -> Result<bool, NetworkError> {
        match step {
            Step::Attach(subject) => return self.attach_again(book, subject),
            Step::Reserve(subject) => {
                let Some((_, endpoint)) = find(book, subject) else { return Ok(false) };
                if book.relayed.contains(&endpoint.id) || !book.troubles.is_due(endpoint.id) {
                    return Ok(false);
                }
                self.reserve_again(book, &endpoint)?;
                if is_right(book, &endpoint) {
                    book.troubles.settle(endpoint.id);
                }
            }
            Step::RollBack(subject) | Step::Release(subject, _) => {
                let Some((network, endpoint)) = find(book, subject) else { return Ok(false) };
                if matches!(step, Step::RollBack(_)) && is_right(book, &endpoint) {
                    return Ok(false);
                }
                self.forget(book, &network, &endpoint)?;
            }
            Step::Raise(name) => return self.raise_again(book, name),
            Step::Remove(name) => {
                let Some(record) = book.named(name).filter(|record| record.closed) else { return Ok(false) };
                let id = record.network.id;
                self.finish_removal(book, name, id)?;
            }
            Step::Close(served) => {
                book.strangers.retain(|stranger| stranger != served);
                self.plane.close_port(served.port);
            }
            Step::Wait(..) => return Ok(false),
        }
        Ok(true)
    }

    /// Gives an endpoint its interface back, or leaves everything as it was.
    fn attach_again(&self, book: &mut Book, subject: &Subject) -> Result<bool, NetworkError> {
        let Some((network, mut endpoint)) = find(book, subject) else { return Ok(false) };
        if is_right(book, &endpoint) || !book.troubles.is_due(endpoint.id) {
            return Ok(false);
        }
        let (Presence::Alive, Some(netns)) = self.recognise(&endpoint.sandbox) else { return Ok(false) };
        if let Some(interface) = endpoint.interface.as_mut().filter(|i| book.spent.contains(&i.port)) {
            interface.port = book.next_port()?;
            let port = interface.port;
            let renumber = |document: &mut EndpointDocument| {
                document.interface.as_mut().into_iter().for_each(|interface| interface.port = port.0);
            };
            self.catalog.update_endpoint(network.id, endpoint.id, renumber)?;
            book.renumber(&network.name, &endpoint.name, port);
            self.publish(book)?;
        }
        let Some(port) = endpoint.port() else { return Ok(false) };
        self.attach(&network, &endpoint, &netns).inspect_err(|_| self.plane.close_port(port))?;
        book.serving.insert(port);
        book.troubles.settle(endpoint.id);
        Ok(true)
    }

    /// What became of a namespace; opened, if it lives.
    pub(super) fn recognise(&self, sandbox: &Sandbox) -> (Presence, Option<Netns>) {
        let opened = self.plane.open_sandbox(&sandbox.path).and_then(|netns| {
            let birth = self.plane.birth(&netns)?;
            Ok((netns, birth))
        });
        match opened {
            Ok((netns, birth)) if (netns.id(), &birth) == (sandbox.key, &sandbox.birth) => {
                (Presence::Alive, Some(netns))
            }
            Ok(_) => (Presence::Replaced, None),
            Err(PlaneError::Sandbox(SandboxError::NotFound { .. } | SandboxError::NotNetns { .. })) => {
                (Presence::Gone, None)
            }
            Err(error) => (Presence::Unknown(error.to_string()), None),
        }
    }
}

/// What names an endpoint of the network `record`.
pub(super) fn subject_of(record: &Record, endpoint: &Endpoint) -> Subject {
    Subject {
        network: record.network.name.clone(),
        name: endpoint.name.clone(),
        id: endpoint.id,
        netns: endpoint.sandbox.path.clone(),
    }
}

/// The endpoint or the network that a step is about.
pub(super) fn about(book: &Book, step: &Step) -> Option<Id> {
    match step {
        Step::Raise(name) | Step::Remove(name) => book.named(name).map(|record| record.network.id),
        _ => step.subject().map(|subject| subject.id),
    }
}

fn desired(book: &Book) -> Desired {
    let wanted = |(record, endpoint): (&Record, &Endpoint)| Wanted {
        subject: subject_of(record, endpoint),
        state: endpoint.state,
        port: endpoint.port(),
        publishes: !endpoint.ports.is_empty(),
        overdue: is_overdue(book, endpoint),
    };
    let closed = book.networks().filter(|record| record.closed).map(|record| record.network.name.clone());
    let legs = book.networks().filter(|record| record.has_leg());
    let legs = legs.map(|record| (record.network.name.clone(), record.host));
    Desired {
        endpoints: book.endpoints().map(wanted).collect(),
        legs: legs.collect(),
        closed: closed.collect(),
    }
}

/// Whether an endpoint has been offered for too long.
fn is_overdue(book: &Book, endpoint: &Endpoint) -> bool {
    book.offered.get(&endpoint.id).is_some_and(|since| book.troubles.round() - since >= OFFER_ROUNDS)
}

/// The namespaces of connected endpoints without a served port.
fn doubtful(book: &Book, patrol: bool) -> Vec<(Id, Sandbox)> {
    let doubtful = book.endpoints().filter(|(_, endpoint)| {
        endpoint.state == EndpointState::Attached
            && endpoint.port().map_or(patrol, |port| !book.serving.contains(&port))
    });
    doubtful.map(|(_, endpoint)| (endpoint.id, endpoint.sandbox.clone())).collect()
}

/// The namespaces of connected endpoints with a served port.
fn served(book: &Book) -> Vec<(Id, Sandbox)> {
    let served = book.serving.iter().filter_map(|port| book.behind(*port));
    let served = served.filter(|(_, endpoint)| endpoint.state == EndpointState::Attached);
    served.map(|(_, endpoint)| (endpoint.id, endpoint.sandbox.clone())).collect()
}

/// The endpoint that a step is about, if it is still there.
pub(super) fn find(book: &Book, subject: &Subject) -> Option<(Network, Endpoint)> {
    let record = book.named(&subject.network)?;
    let endpoint = record.named(&subject.name).filter(|endpoint| endpoint.id == subject.id)?;
    Some((record.network.clone(), endpoint.clone()))
}

/// Whether an endpoint has come to be connected and served since a step was planned for it.
fn is_right(book: &Book, endpoint: &Endpoint) -> bool {
    endpoint.state == EndpointState::Attached
        && endpoint.port().is_some_and(|port| book.serving.contains(&port))
}
