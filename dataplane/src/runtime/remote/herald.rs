//! The ports of a packet process, and who hears of their end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::channel::Receiver;

use super::channel::Channel;
use crate::io::tap::Tap;
use crate::runtime::Event;
use crate::tables::PortId;

/// What the packet process serves. The workers have their own descriptors of the TAPs; these are to be given back.
#[derive(Debug, Default)]
pub(super) struct Ports {
    pub(super) served: BTreeMap<PortId, Tap>,
    /// Those of `served` whose device has gone.
    gone: BTreeSet<PortId>,
    /// Where events are told. Nobody may be there: who comes next hears of all that is gone.
    listener: Option<Channel>,
}

/// Ports that the conversation and the herald share.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedPorts(Arc<Mutex<Ports>>);

impl SharedPorts {
    pub(super) fn lock(&self) -> MutexGuard<'_, Ports> {
        // Ports are changed in single steps.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what the workers say, until there are none.
    pub(super) fn herald(&self, events: &Receiver<Event>) {
        for event in events {
            let mut ports = self.lock();
            // Each worker says it, and a port may have been detached meanwhile.
            let is_news = match event {
                Event::PortGone(port) => ports.served.contains_key(&port) && ports.gone.insert(port),
                Event::OutsideWants => true,
            };
            if is_news {
                ports.tell(event);
            }
        }
    }
}

impl Ports {
    pub(super) fn add(&mut self, port: PortId, tap: Tap) {
        self.gone.remove(&port);
        self.served.insert(port, tap);
    }

    pub(super) fn remove(&mut self, port: PortId) {
        self.gone.remove(&port);
        self.served.remove(&port);
    }

    pub(super) fn listen(&mut self, listener: Channel) {
        self.listener = Some(listener);
        self.gone.clone().into_iter().for_each(|port| self.tell(Event::PortGone(port)));
        // Somebody else may have been told before.
        self.tell(Event::OutsideWants);
    }

    /// A listener that does not listen is none.
    fn tell(&mut self, event: Event) {
        let told = self.listener.as_mut().map(|channel| channel.send(&event, &[]));
        if let Some(Err(error)) = told {
            tracing::debug!(%error, "nobody listens to events");
            self.listener = None;
        }
    }
}
