//! From what there is to what there should be: looking, and carrying the steps out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::book::{Book, Record};
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

/// A difference between what there should be and what there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// One line: what differs.
    pub what: String,
    /// One line: what to do.
    pub remedy: String,
}

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
    /// Forgets what was the matter with an endpoint or a network.
    pub(super) fn settle(&mut self, id: Id) {
        self.by_id.remove(&id);
    }

    fn is_due(&self, id: Id) -> bool {
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
    /// Looks at everything, restores what lives, and takes away what is dead, half made or nobody's. What fails is tried
    /// again by later calls; the log says so once.
    pub fn reconcile(&self) {
        let round = {
            let mut book = self.book();
            book.troubles.round += 1;
            book.troubles.round
        };
        let steps = self.survey(round % PATROL == 1);
        for step in &steps {
            let mut book = self.book();
            if book.closed {
                return;
            }
            self.carry_out(&mut book, step);
        }
        if steps.iter().any(|step| matches!(step, Step::RollBack(_) | Step::Release(..))) {
            self.publish_removal(&self.book());
        }
    }

    /// Everything that differs between the record, the book, the namespaces and the packet side.
    #[must_use]
    pub fn doctor(&self) -> Vec<Finding> {
        let mut findings = self.check_record();
        let steps = self.survey(true);
        let book = self.book();
        findings.extend(steps.iter().map(|step| {
            let trouble = step.subject().and_then(|subject| book.troubles.by_id.get(&subject.id));
            let why = trouble.map(|trouble| format!(": {}", trouble.text)).unwrap_or_default();
            Finding { what: format!("{step}{why}"), remedy: step.remedy() }
        }));
        findings
    }

    /// What has to be done, as it looks from here. Namespaces are looked at without holding up anybody; those of endpoints
    /// without interfaces only on `patrol`.
    fn survey(&self, patrol: bool) -> Vec<Step> {
        let (desired, mut actual, sandboxes) = {
            let book = self.book();
            let actual = Actual {
                serving: book.serving.clone(),
                strangers: book.strangers.clone(),
                sandboxes: BTreeMap::new(),
            };
            (desired(&book), actual, doubtful(&book, patrol))
        };
        let looked_at = sandboxes.into_iter().map(|(id, sandbox)| (id, self.recognise(&sandbox).0));
        actual.sandboxes = looked_at.collect();
        plan(&desired, &actual)
    }

    /// Does one step, if it is still to be done: the world may have moved on since it was planned.
    fn carry_out(&self, book: &mut Book, step: &Step) {
        match self.attempt(book, step) {
            Ok(true) => tracing::info!("{step}: set right"),
            Ok(false) => {}
            Err(error) => {
                let about = match step {
                    Step::Remove(name) => book.named(name).map(|record| record.network.id),
                    _ => step.subject().map(|subject| subject.id),
                };
                if about.is_none_or(|id| book.troubles.note(id, error.to_string())) {
                    tracing::error!(%error, "{step}: not set right");
                }
            }
        }
    }

    /// As [`Manager::carry_out`]; true if there was something to do.
    fn attempt(&self, book: &mut Book, step: &Step) -> Result<bool, NetworkError> {
        match step {
            Step::Attach(subject) => return self.attach_again(book, subject),
            Step::RollBack(subject) | Step::Release(subject, _) => {
                let found = find(book, subject).filter(|(_, endpoint)| !is_right(book, endpoint));
                let Some((network, endpoint)) = found else { return Ok(false) };
                self.forget(book, &network, &endpoint)?;
            }
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

    /// What differs between the store and the book, and within the store.
    fn check_record(&self) -> Vec<Finding> {
        let book = self.book();
        let contents = match self.catalog.load() {
            Ok(contents) => contents,
            Err(error) => {
                let what = format!("the record cannot be read: {error}");
                return vec![Finding { what, remedy: "see the daemon's log; forwarding goes on".into() }];
            }
        };
        let strays = contents.strays.iter().map(|stray| Finding {
            what: format!("in the store, {stray}"),
            remedy: "disconnect and connect again what it belongs to; it harms nothing else".into(),
        });
        let recorded: BTreeSet<Id> =
            contents.networks.iter().map(|n| n.id).chain(contents.endpoints.iter().map(|e| e.id)).collect();
        let networks = book.networks().map(|record| (record.network.id, &record.network.name));
        let known: BTreeMap<Id, _> =
            networks.chain(book.endpoints().map(|(_, endpoint)| (endpoint.id, &endpoint.name))).collect();
        let unknown = recorded.iter().filter(|id| !known.contains_key(id)).map(|id| Finding {
            what: format!("'{}' is on record, and this daemon does not know it", id.short()),
            remedy: "restart the daemon".into(),
        });
        let unrecorded = known.iter().filter(|(id, _)| !recorded.contains(id)).map(|(_, name)| Finding {
            what: format!("'{name}' is not on record, and this daemon has it"),
            remedy: "restart the daemon".into(),
        });
        strays.chain(unknown).chain(unrecorded).collect()
    }
}

fn desired(book: &Book) -> Desired {
    let wanted = |(record, endpoint): (&Record, &Endpoint)| Wanted {
        subject: Subject {
            network: record.network.name.clone(),
            name: endpoint.name.clone(),
            id: endpoint.id,
            netns: endpoint.sandbox.path.clone(),
        },
        state: endpoint.state,
        port: endpoint.port(),
    };
    let closed = book.networks().filter(|record| record.closed).map(|record| record.network.name.clone());
    Desired { endpoints: book.endpoints().map(wanted).collect(), closed: closed.collect() }
}

/// The namespaces of connected endpoints without a served port.
fn doubtful(book: &Book, patrol: bool) -> Vec<(Id, Sandbox)> {
    let doubtful = book.endpoints().filter(|(_, endpoint)| {
        endpoint.state == EndpointState::Attached
            && endpoint.port().map_or(patrol, |port| !book.serving.contains(&port))
    });
    doubtful.map(|(_, endpoint)| (endpoint.id, endpoint.sandbox.clone())).collect()
}

/// The endpoint that a step is about, if it is still there.
fn find(book: &Book, subject: &Subject) -> Option<(Network, Endpoint)> {
    let record = book.named(&subject.network)?;
    let endpoint = record.named(&subject.name).filter(|endpoint| endpoint.id == subject.id)?;
    Some((record.network.clone(), endpoint.clone()))
}

/// Whether an endpoint has come to be connected and served since a step was planned for it.
fn is_right(book: &Book, endpoint: &Endpoint) -> bool {
    endpoint.state == EndpointState::Attached
        && endpoint.port().is_some_and(|port| book.serving.contains(&port))
}
