//! The other VTEPs, which may change while networks exist.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use super::{Manager, NetworkError};

impl Manager {
    /// The other VTEPs.
    #[must_use]
    pub fn peers(&self) -> Arc<[IpAddr]> {
        Arc::clone(&self.peers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Overlays run to every one of `peers` from now on, and to no other.
    ///
    /// # Errors
    /// [`NetworkError::Plane`]; the former peers stay.
    pub fn set_peers(&self, peers: Vec<IpAddr>) -> Result<(), NetworkError> {
        let book = self.book();
        let former = self.replace_peers(peers.into());
        self.publish(&book).inspect_err(|_| {
            self.replace_peers(former);
        })
    }

    fn replace_peers(&self, peers: Arc<[IpAddr]>) -> Arc<[IpAddr]> {
        std::mem::replace(&mut *self.peers.write().unwrap_or_else(PoisonError::into_inner), peers)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use crate::config::Underlay;
    use crate::model::{Driver, Name};
    use crate::network::fake::{FakePlane, Refuse};
    use crate::network::{Manager, NetworkRequest};

    #[test]
    fn overlays_follow_the_peers_and_a_refusal_changes_nothing() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let plane = FakePlane::default();
        let underlay =
            Underlay { address: ip("10.9.0.1"), subnet: "10.9.0.0/24".parse().unwrap(), mtu: 1500 };
        let manager = Manager::new(Box::new(plane.clone()), Some(underlay), vec![ip("10.9.0.2")]).unwrap();
        let blue =
            NetworkRequest { driver: Driver::Overlay, ..NetworkRequest::new(Name::new("blue").unwrap()) };
        manager.create(&blue).unwrap();
        let vteps = || plane.world(|world| world.tables.segments[0].vteps.clone());

        manager.set_peers(vec![ip("10.9.0.3"), ip("10.9.0.4")]).unwrap();
        assert_eq!((vteps(), manager.peers().len()), (vec![ip("10.9.0.3"), ip("10.9.0.4")], 2));
        plane.world(|world| world.refuse = Some(Refuse::Publish));
        assert!(manager.set_peers(vec![]).is_err());
        assert_eq!((vteps().len(), manager.peers().len()), (2, 2));
    }
}
