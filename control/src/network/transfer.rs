//! The whole record: taken away, and brought back.

use super::book::Book;
use super::networks::PREDEFINED;
use super::restore::{introduce, read};
use super::{Manager, NetworkError, Snapshot};
use crate::store::{Catalog, TransferError};

impl Manager {
    /// Everything on record, as the JSON that [`Manager::import`] takes.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn export(&self) -> Result<Vec<u8>, TransferError> {
        self.catalog.export()
    }

    /// Makes what `json` says all that is on record, on a host that has nothing but the [`PREDEFINED`] network, without
    /// endpoints; gives the networks. Endpoints get their interfaces in namespaces that still live, the others are released.
    ///
    /// # Errors
    /// [`NetworkError::NotEmpty`], [`NetworkError::Transfer`], or what the packet side says; nothing has changed.
    pub fn import(&self, json: &[u8]) -> Result<Vec<Snapshot>, NetworkError> {
        self.replace_record(json)?;
        self.ensure_predefined();
        self.reconcile();
        let networks = self.networks();
        tracing::info!(networks = networks.len(), "a record was imported");
        Ok(networks)
    }

    fn replace_record(&self, json: &[u8]) -> Result<(), NetworkError> {
        let mut book = self.open_book()?;
        check_empty(&book)?;
        let mut next = read(&Catalog::preview(json)?)?;
        // Nothing of the past is to be taken for something of the new record.
        next.skip_port(book.next_port()?);
        next.strangers = std::mem::take(&mut book.strangers);
        let former = std::mem::replace(&mut *book, next);
        let replaced =
            self.publish(&book).and_then(|()| Ok(self.catalog.import(json, true)?)).inspect_err(|_| {
                let next = std::mem::replace(&mut *book, former);
                book.strangers = next.strangers;
                self.publish_removal(&book);
            })?;
        let vtep = self.underlay.as_ref().map(|underlay| underlay.address);
        match introduce(&self.catalog, &replaced, &self.node, vtep) {
            Ok(ula) => self.set_ula(ula),
            Err(error) => tracing::error!(%error, "this host is not on record until the next start"),
        }
        Ok(())
    }
}

fn check_empty(book: &Book) -> Result<(), NetworkError> {
    let bare = |record: &&super::Record| {
        record.network.name.as_str() == PREDEFINED && record.endpoints().next().is_none()
    };
    match book.networks().find(|record| !bare(record)) {
        Some(record) => Err(NetworkError::NotEmpty { network: record.network.name.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::{Code, Explain};
    use crate::model::Name;
    use crate::network::fake::{FakePlane, Refuse};
    use crate::network::{EndpointRequest, NetworkRequest};
    use crate::store::MemoryStore;

    fn host() -> (Manager, FakePlane) {
        let plane = FakePlane::default();
        let store = Arc::new(MemoryStore::default());
        let manager = Manager::over(store, Box::new(plane.clone()), None, vec![]).unwrap();
        manager.ensure_predefined();
        (manager, plane)
    }

    fn furnish(manager: &Manager) {
        let subnets = vec!["10.1.0.0/24".parse().unwrap()];
        manager
            .create(&NetworkRequest { subnets, ..NetworkRequest::new(Name::new("blue").unwrap()) })
            .unwrap();
        manager.connect("blue", &EndpointRequest::new("/proc/self/ns/net")).unwrap();
    }

    fn told(manager: &Manager) -> Vec<String> {
        let endpoints = manager.endpoints();
        let text = endpoints.iter().map(|(n, e)| format!("{} {} {:?}", n.name, e.name, e.interface));
        text.chain(manager.networks().iter().map(|s| format!("{:?}", s.network))).collect()
    }

    #[test]
    fn what_one_host_has_on_record_another_one_gets_whole() {
        let (from, _) = host();
        furnish(&from);
        let json = from.export().unwrap();
        let (to, plane) = host();
        assert_eq!(to.import(&json).unwrap().len(), 2);
        assert_eq!(told(&to), told(&from));
        assert_eq!(to.doctor(), []);
        let (ports, published) = plane.world(|world| (world.ports(), world.published_ports().len()));
        assert_eq!((ports.len(), published), (1, 1), "its namespace lives, so it has its interface");
        let (_, next, _) = to.connect("blue", &EndpointRequest::new("/proc/thread-self/ns/net")).unwrap();
        assert_eq!(next.addresses()[0].to_string(), "10.1.0.3/24", "the addresses are taken as before");
        assert!(next.port() > Some(ports[0]));
    }

    #[test]
    fn endpoints_of_namespaces_that_are_not_here_are_released() {
        let (from, _) = host();
        furnish(&from);
        let (to, plane) = host();
        plane.world(|world| world.dead.insert("/proc/self/ns/net".into()));
        to.import(&from.export().unwrap()).unwrap();
        assert!(to.endpoints().is_empty());
        assert_eq!(to.networks().len(), 2);
        assert_eq!(to.doctor(), []);
    }

    #[test]
    fn who_has_anything_must_not_lose_it() {
        let (from, _) = host();
        furnish(&from);
        let (to, _) = host();
        to.connect("bridge", &EndpointRequest::new("/proc/self/ns/net")).unwrap();
        let before = told(&to);
        let error = to.import(&from.export().unwrap()).unwrap_err();
        assert_eq!(error.code(), Code::Conflict);
        assert!(error.to_string().contains("'bridge'"), "{error}");
        assert_eq!(told(&to), before);
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let (from, _) = host();
        furnish(&from);
        let (to, plane) = host();
        let (before, record) = (told(&to), to.export().unwrap());
        let refused = |json: &[u8]| to.import(json).unwrap_err().code();
        assert_eq!(refused(b"{}"), Code::InvalidArgument);
        plane.world(|world| world.refuse = Some(Refuse::Publish));
        assert_eq!(refused(&from.export().unwrap()), Code::Exhausted);
        plane.world(|world| world.refuse = None);
        assert_eq!((told(&to), to.export().unwrap()), (before, record));
        assert_eq!(to.doctor(), []);
    }
}
