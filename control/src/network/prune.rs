//! Removing what nobody uses.

use super::{Manager, Snapshot};

/// Networks that are there from the start and stay, whatever is pruned.
pub const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

impl Manager {
    /// Removes every network without endpoints but the [`PREDEFINED`]; gives what they were. Nobody can connect to one in
    /// between: looking and removing is one change.
    #[must_use = "what was removed is to be told"]
    pub fn prune(&self) -> Vec<Snapshot> {
        let mut book = self.book();
        let unused = book.networks.values().filter(|record| {
            record.endpoints.is_empty() && !PREDEFINED.contains(&record.network.name.as_str())
        });
        let pruned: Vec<Snapshot> = unused.map(super::Record::snapshot).collect();
        if pruned.is_empty() {
            return pruned;
        }
        for snapshot in &pruned {
            book.networks.remove(&snapshot.network.name);
            tracing::info!(network = %snapshot.network.name, "network pruned");
        }
        self.publish_removal(&book);
        pruned
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
        assert_eq!(names(manager.prune()), ["empty", "void"]);
        assert_eq!(names(manager.networks()), ["bridge", "full"]);
        assert_eq!(plane.world(|world| world.tables.segments.len()), 2, "the packet side knows");
        assert!(manager.prune().is_empty());
    }
}
