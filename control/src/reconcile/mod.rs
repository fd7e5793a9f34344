//! What there should be against what there is: which steps lead from one to the other.
//!
//! [`plan`] is a pure function. What should be is the store's record, [`Desired`]; what is, [`Actual`], was looked at in
//! the namespaces and on the packet side. Who looks, and who carries the steps out one by one, undoing what fails, is the
//! manager. A step names what differs and what becomes of it, which is all that `weft doctor` has to print.
//!
//! Policy:
//! - Restoring comes first. What is taken away comes last, and only for what is known: a namespace that cannot be looked
//!   at, for want of a descriptor say, is not a dead one.
//! - A port that is served is right, until its namespace is known to be dead: the path does not lead there any more, and
//!   nobody is in it.
//! - An endpoint whose namespace lives is attached again as it was. A path that leads to another namespace now leads to
//!   none of ours, even if number and name are the same.
//! - A published port is reserved as long as its endpoint is on record, whether or not there is an interface just now.
//! - What is offered to an engine stands until that has taken it, or should have long ago, or its TAP is gone.
//! - What was begun and never answered for is taken back; what was begun to be removed is removed.

mod flaws;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use weft_dataplane::tables::PortId;

use crate::model::{EndpointState, Id, Name};
use crate::network::ServedPort;

pub use flaws::{Flaw, flaws};

/// What the record says.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// The endpoints of all networks.
    pub endpoints: Vec<Wanted>,
    /// The networks on which the host has a leg, with its port, if it has one.
    pub legs: Vec<(Name, Option<PortId>)>,
    /// The networks that are being removed.
    pub closed: BTreeSet<Name>,
}

/// An endpoint on record.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which one.
    pub subject: Subject,
    /// How far it has come.
    pub state: EndpointState,
    /// Its port, if it has an interface.
    pub port: Option<PortId>,
    /// Whether it publishes ports.
    pub publishes: bool,
    /// Whether an engine should have taken it long ago.
    pub overdue: bool,
}

/// Names an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its network.
    pub network: Name,
    /// Its name there.
    pub name: Name,
    /// Its identity.
    pub id: Id,
    /// The path of its namespace.
    pub netns: PathBuf,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Actual {
    /// The ports that are served for endpoints and networks on record.
    pub serving: BTreeSet<PortId>,
    /// The endpoints whose published ports are reserved.
    pub relayed: BTreeSet<Id>,
    /// The ports that are served for nobody on record.
    pub strangers: Vec<ServedPort>,
    /// What became of the namespaces of endpoints; of those whose port is served only death need be known.
    pub sandboxes: BTreeMap<Id, Presence>,
}

/// What became of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is where it was.
    Alive,
    /// Its path leads nowhere.
    Gone,
    /// Its path leads to another one.
    Replaced,
    /// Nobody can tell.
    Unknown(String),
}

/// Something that differs, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Give an endpoint its interface again.
    Attach(Subject),
    /// Reserve an endpoint's published ports again.
    Reserve(Subject),
    /// Leave an endpoint alone until its namespace can be looked at.
    Wait(Subject, String),
    /// Take back an endpoint that was never finished.
    RollBack(Subject),
    /// Take an endpoint off the record, its namespace is dead; true: its path leads to another.
    Release(Subject, bool),
    /// Let the host stand on a network again.
    Raise(Name),
    /// Finish removing a network.
    Remove(Name),
    /// Stop serving a port.
    Close(ServedPort),
}

/// The steps from `actual` to `desired`, in the order in which they are to be taken.
#[must_use]
pub fn plan(desired: &Desired, actual: &Actual) -> Vec<Step> {
    let (mut restored, mut collected) = (Vec::new(), Vec::new());
    for wanted in desired.endpoints.iter().filter(|wanted| !desired.closed.contains(&wanted.subject.network))
    {
        let subject = || wanted.subject.clone();
        let served = wanted.port.is_some_and(|port| actual.serving.contains(&port));
        let presence = actual.sandboxes.get(&wanted.subject.id);
        let lives = served || !matches!(presence, Some(Presence::Gone | Presence::Replaced));
        let unreserved = wanted.publishes && !actual.relayed.contains(&wanted.subject.id);
        if wanted.state == EndpointState::Attached && lives && unreserved {
            restored.push(Step::Reserve(subject()));
        }
        match (wanted.state, presence) {
            (EndpointState::Attaching, _) => collected.push(Step::RollBack(subject())),
            (EndpointState::Offered, _) if served && !wanted.overdue => {}
            (EndpointState::Offered, _) => collected.push(Step::RollBack(subject())),
            (_, Some(Presence::Gone)) => collected.push(Step::Release(subject(), false)),
            (_, Some(Presence::Replaced)) => collected.push(Step::Release(subject(), true)),
            _ if served => {}
            (_, Some(Presence::Alive)) if wanted.port.is_some() => restored.push(Step::Attach(subject())),
            (_, Some(Presence::Unknown(why))) => restored.push(Step::Wait(subject(), why.clone())),
            (_, Some(Presence::Alive) | None) => {}
        }
    }
    let fallen = |port: &Option<PortId>| port.is_none_or(|port| !actual.serving.contains(&port));
    let legs = desired.legs.iter().filter(|(_, port)| fallen(port));
    restored.extend(legs.map(|(network, _)| Step::Raise(network.clone())));
    restored.extend(collected);
    restored.extend(desired.closed.iter().cloned().map(Step::Remove));
    restored.extend(actual.strangers.iter().cloned().map(Step::Close));
    restored
}

impl Step {
    /// The endpoint it is about, if it is about one.
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Attach(subject)
            | Self::Reserve(subject)
            | Self::Wait(subject, _)
            | Self::RollBack(subject)
            | Self::Release(subject, _) => Some(subject),
            Self::Raise(_) | Self::Remove(_) | Self::Close(_) => None,
        }
    }

    /// What can be done about it, as an imperative phrase.
    #[must_use]
    pub fn remedy(&self) -> String {
        let disconnect =
            |subject: &Subject| format!("'weft network disconnect {} {}'", subject.network, subject.name);
        match self {
            Self::Attach(subject) => {
                format!("wait, weft tries again; or give it up with {}", disconnect(subject))
            }
            Self::Reserve(subject) => {
                format!("free them, weft tries again; or give it up with {}", disconnect(subject))
            }
            Self::Wait(subject, _) => {
                format!("remove the cause, weft looks again; or give it up with {}", disconnect(subject))
            }
            Self::RollBack(_) => "wait, weft takes it back".into(),
            Self::Release(subject, _) => {
                format!("wait, weft removes the endpoint; or do so with {}", disconnect(subject))
            }
            Self::Raise(_) => "remove the cause, weft tries again".into(),
            Self::Remove(network) => {
                format!("wait, weft finishes that; or do so with 'weft network rm {network}'")
            }
            Self::Close(_) => "wait, weft closes it".into(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attach(subject) => {
                write!(f, "{subject} has no interface in {}", subject.netns.display())
            }
            Self::Reserve(subject) => write!(f, "{subject} has not the ports that it publishes"),
            Self::Wait(subject, why) => write!(f, "nobody knows whether {subject} lives: {why}"),
            Self::RollBack(subject) => write!(f, "{subject} was begun and never finished"),
            Self::Release(subject, false) => {
                write!(f, "the namespace {} of {subject} is gone", subject.netns.display())
            }
            Self::Release(subject, true) => {
                write!(f, "the namespace {} of {subject} is another one now", subject.netns.display())
            }
            Self::Raise(network) => write!(f, "this host has no interface on network '{network}'"),
            Self::Remove(network) => write!(f, "the network '{network}' is half removed"),
            Self::Close(served) => {
                write!(f, "the port {} with TAP '{}' is served for nobody", served.port.0, served.tap)
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpoint '{}' on network '{}'", self.name, self.network)
    }
}

#[cfg(test)]
mod tests;
