//! A container's way out, and the ports that it publishes.

use std::net::IpAddr;

use ipnet::IpNet;

use super::both;
use crate::model::{Endpoint, EndpointState, Id, Network, PortMapping, PortsBy, PublishRequest};
use crate::network::book::Book;
use crate::network::{Manager, NetworkError, ports};
use crate::store::catalog::documents::EndpointDocument;

impl Manager {
    /// Makes an endpoint its container's way out, and publishes `publish` for it, instead of what was published before.
    ///
    /// # Errors
    /// [`NetworkError`]; what was published before is not any more.
    pub fn program(&self, network: Id, endpoint: Id, publish: &[PublishRequest]) -> Result<(), NetworkError> {
        let mut book = self.open_book()?;
        let (network, mut endpoint) = both(&book, network, endpoint)?;
        let gateways = way_out(&network, &endpoint);
        if is_programmed(&endpoint, &gateways, publish) {
            return Ok(());
        }
        self.deprogram(&mut book, &network, &mut endpoint)?;
        ports::check(&book, &network, publish)?;
        let ports = self.reserve(&book, &endpoint, &network, publish);
        endpoint.ports = ports.inspect_err(|_| self.plane.release(endpoint.id))?;
        endpoint.interface.iter_mut().for_each(|interface| interface.gateways.clone_from(&gateways));
        let programmed = self.reprogram(&mut book, &network, &endpoint);
        if let Err(error) = programmed {
            self.deprogram(&mut book, &network, &mut endpoint)?;
            return Err(error);
        }
        if endpoint.state == EndpointState::Attached {
            self.relay(&mut book, &endpoint);
        }
        Ok(())
    }

    /// Ends what [`Manager::program`] began. An endpoint that is not there has nothing to end.
    ///
    /// # Errors
    /// What the store says; nothing has changed.
    pub fn revoke(&self, network: Id, endpoint: Id) -> Result<(), NetworkError> {
        let mut book = self.book();
        let Ok((network, mut endpoint)) = both(&book, network, endpoint) else { return Ok(()) };
        self.deprogram(&mut book, &network, &mut endpoint)
    }

    fn deprogram(
        &self,
        book: &mut Book,
        network: &Network,
        endpoint: &mut Endpoint,
    ) -> Result<(), NetworkError> {
        let bare = endpoint.interface.as_ref().is_none_or(|interface| interface.gateways.is_empty());
        if bare && endpoint.ports.is_empty() {
            return Ok(());
        }
        endpoint.ports.clear();
        endpoint.interface.iter_mut().for_each(|interface| interface.gateways.clear());
        self.reprogram(book, network, endpoint)?;
        self.plane.release(endpoint.id);
        book.relayed.remove(&endpoint.id);
        Ok(())
    }

    /// Puts on record, and tells the packet side, which ports and routes an endpoint has.
    fn reprogram(&self, book: &mut Book, network: &Network, endpoint: &Endpoint) -> Result<(), NetworkError> {
        let document = EndpointDocument::of(endpoint, network.id, &self.node);
        self.catalog.update_endpoint(network.id, endpoint.id, |place| place.clone_from(&document))?;
        book.change_endpoint(&network.name, &endpoint.name, |known| known.clone_from(endpoint));
        self.publish(book)
    }
}

/// The default routes that a container has by an endpoint, if that is its way out.
pub(super) fn way_out(network: &Network, endpoint: &Endpoint) -> Vec<IpAddr> {
    if network.gateway.is_none() || network.engine == Some(PortsBy::Engine) {
        return vec![];
    }
    let home = |net: &IpNet| network.subnets.iter().find(|subnet| subnet.net.contains(&net.addr()));
    endpoint.addresses().iter().filter_map(home).map(|subnet| subnet.gateway).collect()
}

/// Whether `publish` is what an endpoint has published; ports that were left to Weft may be any.
fn is_programmed(endpoint: &Endpoint, gateways: &[IpAddr], publish: &[PublishRequest]) -> bool {
    let routed = endpoint.interface.as_ref().is_some_and(|interface| interface.gateways == gateways);
    let wanted: Vec<_> = publish.iter().flat_map(PublishRequest::mappings).collect();
    let same = |(has, wants): (&PortMapping, &PortMapping)| {
        let host = if wants.host == 0 { 0 } else { has.host };
        PortMapping { host, ..*has } == *wants
    };
    routed && wanted.len() == endpoint.ports.len() && endpoint.ports.iter().zip(&wanted).all(same)
}
