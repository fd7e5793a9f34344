//! Removing what nobody uses.

use super::networks::PREDEFINED;
use super::{Manager, NetworkError, Record, Snapshot};

impl Manager {
    /// Removes every network without endpoints but the [`PREDEFINED`] one and those of a container engine, which counts on
    /// them; gives what they were. Nobody can connect to one in between: looking and removing is one change.
    ///
    /// # Errors
    /// What the store says; the networks before the one that failed are gone.
    #[must_use = "what was removed is to be told"]
    pub fn prune(&self) -> Result<Vec<Snapshot>, NetworkError> {
        let mut book = self.open_book()?;
        let unused = |record: &&Record| {
            let kept = record.network.name.as_str() == PREDEFINED || record.network.engine.is_some();
            record.endpoints().next().is_none() && !kept
        };
        let pruned: Vec<Snapshot> = book.networks().filter(unused).map(Record::snapshot).collect();
        for snapshot in &pruned {
            self.finish_removal(&mut book, &snapshot.network.name, snapshot.network.id)?;
            tracing::info!(network = %snapshot.network.name, "network pruned");
        }
        Ok(pruned)
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Name;
    use crate::network::fake::FakePlane;
    use crate::network::{EndpointRequest, Manager, NetworkRequest};

    fn network(name: &str) -> NetworkRequest {
        NetworkRequest::new(Name::new(name).unwrap())
    }

    #[test]
    fn only_networks_without_endpoints_go_and_never_a_predefined_one() {
        let plane = FakePlane::default();
        let manager = Manager::new(Box::new(plane.clone()), None, vec![]).unwrap();
        for name in ["bridge", "empty", "full", "void"] {
            manager.create(&network(name)).unwrap();
        }
        manager.connect("full", &EndpointRequest::new("/proc/self/ns/net")).unwrap();
        let names = |snapshots: Vec<crate::network::Snapshot>| {
            snapshots.iter().map(|s| s.network.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(manager.prune().unwrap()), ["empty", "void"]);
        assert_eq!(names(manager.networks()), ["bridge", "full"]);
        assert_eq!(plane.world(|world| world.tables.segments.len()), 2, "the packet side knows");
        assert!(manager.prune().unwrap().is_empty());
    }
}
