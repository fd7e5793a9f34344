//! Endpoints: connecting, disconnecting, and noticing that one is gone.

use weft_dataplane::tables::PortId;

use super::book::{Book, Record};
use super::claim::{Claim, name_from};
use super::failpoint::{Point, reached};
use super::{ENDPOINTS_MAX, EndpointRequest, Manager, NetworkError};
use crate::model::{Driver, Endpoint, EndpointState, Id, Name, Network, Sandbox};
use crate::reconcile::Presence;
use crate::sandbox::{Netns, Plug};
use crate::store::catalog::documents::EndpointDocument;

impl Manager {
    /// Connects a namespace to a network; gives the network, the endpoint, and what was left out without harm, a line
    /// each.
    ///
    /// # Errors
    /// [`NetworkError`]; nothing has changed, and nothing is left in the namespace.
    pub fn connect(
        &self,
        key: &str,
        request: &EndpointRequest,
    ) -> Result<(Network, Endpoint, Vec<String>), NetworkError> {
        if !request.netns.is_absolute() {
            return Err(NetworkError::RelativePath { netns: request.netns.clone() });
        }
        let mut book = self.open_book()?;
        if book.endpoint_count() >= ENDPOINTS_MAX {
            return Err(NetworkError::TooManyEndpoints);
        }
        let network = book.find(key)?.network.clone();
        let netns = self.plane.open_sandbox(&request.netns)?;
        let name = request.name.clone().map_or_else(|| name_from(&request.netns), Ok)?;
        self.clear_way(&mut book, &network, &name)?;
        let sandbox =
            Sandbox { path: request.netns.clone(), key: netns.id(), birth: self.plane.birth(&netns)? };
        let claim = Claim::prepare(&mut book, &network, request, name, sandbox)?;
        let mut endpoint = self.enter(&mut book, &network.name, claim)?;
        reached(Point::ConnectClaimed);
        let warnings = self
            .bring_up(&book, &network, &endpoint, &netns)
            .and_then(|warnings| self.record_attached(&network, &endpoint).map(|()| warnings))
            .inspect_err(|_| self.take_back(&mut book, &network, &endpoint))?;
        reached(Point::ConnectRecorded);
        endpoint.state = EndpointState::Attached;
        book.attached(&network.name, &endpoint.name);
        book.serving.extend(endpoint.port());
        for warning in &warnings {
            tracing::warn!(network = %network.name, endpoint = %endpoint.name, "{warning}");
        }
        tracing::info!(network = %network.name, endpoint = %endpoint.name, %netns, "endpoint connected");
        Ok((network, endpoint, warnings))
    }

    /// Removes an endpoint and its interface.
    ///
    /// # Errors
    /// [`NetworkError::NoNetwork`] or [`NetworkError::NoEndpoint`], or what the store says; nothing has changed.
    pub fn disconnect(&self, key: &str, endpoint: &str) -> Result<(Network, Endpoint), NetworkError> {
        let mut book = self.book();
        let record = book.find(key)?;
        let (network, endpoint) = (record.network.clone(), record.endpoint(endpoint)?.clone());
        self.catalog.remove_endpoint(network.id, endpoint.id)?;
        reached(Point::DisconnectForgotten);
        self.let_go(&mut book, &network.name, &endpoint);
        reached(Point::DisconnectClosed);
        self.publish_removal(&book);
        tracing::info!(network = %network.name, endpoint = %endpoint.name, "endpoint disconnected");
        Ok((network, endpoint))
    }

    /// The packet side says that a port's TAP is no more. Usually its namespace has died, and the endpoint goes with it.
    /// If somebody has deleted the link of a namespace that lives, it is put back at the next reconciliation.
    pub fn port_gone(&self, port: PortId) {
        let mut book = self.book();
        if book.closed || !book.serving.remove(&port) {
            return;
        }
        book.spent.insert(port);
        self.plane.close_port(port);
        let Some((record, endpoint)) = book.behind(port) else { return };
        let (network, endpoint) = (record.network.clone(), endpoint.clone());
        let (name, netns) = (&endpoint.name, endpoint.sandbox.path.display());
        match self.recognise(&endpoint.sandbox).0 {
            Presence::Alive | Presence::Unknown(_) => {
                tracing::warn!(network = %network.name, endpoint = %name, %netns, "the interface is gone");
            }
            Presence::Gone | Presence::Replaced => match self.forget(&mut book, &network, &endpoint) {
                Ok(()) => {
                    tracing::warn!(network = %network.name, endpoint = %name, %netns, "the namespace is gone, endpoint removed");
                    self.publish_removal(&book);
                }
                Err(error) => {
                    tracing::error!(network = %network.name, endpoint = %name, %netns, %error, "the namespace is gone, its endpoint is still on record");
                }
            },
        }
    }

    /// All endpoints with their networks.
    #[must_use]
    pub fn endpoints(&self) -> Vec<(Network, Endpoint)> {
        let book = self.book();
        let connected = book.endpoints().filter(|(_, endpoint)| endpoint.state == EndpointState::Attached);
        connected.map(|(record, endpoint)| (record.network.clone(), endpoint.clone())).collect()
    }

    /// The endpoints that `key` names, one for each network that has such a one.
    ///
    /// # Errors
    /// [`NetworkError::NoEndpoint`].
    pub fn endpoints_named(&self, key: &str) -> Result<Vec<(Network, Endpoint)>, NetworkError> {
        let book = self.book();
        let here = |record: &Record| Some((record.network.clone(), record.endpoint(key).ok()?.clone()));
        let found: Vec<_> = book.networks().filter_map(here).collect();
        if found.is_empty() {
            return Err(NetworkError::NoEndpoint { key: key.into(), network: None });
        }
        Ok(found)
    }

    /// Claims what the endpoint is to have, in the book and in the store; on an error both are as before.
    fn enter(&self, book: &mut Book, network: &Name, claim: Claim<'_>) -> Result<Endpoint, NetworkError> {
        let record = book.named_mut(network).ok_or(NetworkError::NoNetwork { key: network.to_string() })?;
        let endpoint = claim.enter(record)?;
        let document = EndpointDocument::of(&endpoint, record.network.id, &self.node);
        self.catalog
            .create_endpoint(&document)
            .inspect_err(|_| record.release(endpoint.addresses(), endpoint.id))?;
        book.insert_endpoint(network, endpoint.clone());
        Ok(endpoint)
    }

    /// The outside of connecting. On an error some of it may be done; closing the port undoes all of it.
    fn bring_up(
        &self,
        book: &Book,
        network: &Network,
        endpoint: &Endpoint,
        netns: &Netns,
    ) -> Result<Vec<String>, NetworkError> {
        if endpoint.interface.is_some() {
            self.publish(book)?;
            reached(Point::ConnectPublished);
        }
        self.attach(network, endpoint, netns)
    }

    /// Gives an endpoint, whose port is published, its interface.
    pub(super) fn attach(
        &self,
        network: &Network,
        endpoint: &Endpoint,
        netns: &Netns,
    ) -> Result<Vec<String>, NetworkError> {
        let Some(interface) = &endpoint.interface else {
            if network.driver == Driver::None {
                self.plane.loopback_up(netns)?;
            }
            return Ok(vec![]);
        };
        let plug = Plug {
            ifname: interface.ifname.to_string(),
            mac: interface.mac,
            addresses: interface.addresses.clone(),
            gateways: interface.gateways.clone(),
            mtu: network.mtu.into(),
        };
        let tap_name = tap_name(endpoint.id);
        self.plane.open_port(interface.port, &tap_name)?;
        reached(Point::ConnectOpened);
        let warnings = self.plane.plug(netns, &tap_name, &plug)?;
        reached(Point::ConnectPlugged);
        Ok(warnings)
    }

    fn record_attached(&self, network: &Network, endpoint: &Endpoint) -> Result<(), NetworkError> {
        let attached = |document: &mut EndpointDocument| document.state = EndpointState::Attached;
        self.catalog.update_endpoint(network.id, endpoint.id, attached)?;
        Ok(())
    }

    /// Takes back a failed endpoint of the same name, if the store refused to forget it then.
    fn clear_way(&self, book: &mut Book, network: &Network, name: &Name) -> Result<(), NetworkError> {
        let Some(endpoint) = book.named(&network.name).and_then(|record| record.named(name)).cloned() else {
            return Ok(());
        };
        match endpoint.state {
            EndpointState::Attaching => self.forget(book, network, &endpoint),
            EndpointState::Attached => {
                Err(NetworkError::EndpointExists { name: name.clone(), network: network.name.clone() })
            }
        }
    }

    /// Undoes a connection. If the store refuses, the endpoint stays on record as one that was never finished.
    fn take_back(&self, book: &mut Book, network: &Network, endpoint: &Endpoint) {
        endpoint.port().into_iter().for_each(|port| self.plane.close_port(port));
        if let Err(error) = self.forget(book, network, endpoint) {
            tracing::error!(network = %network.name, endpoint = %endpoint.name, %error, "an endpoint that failed is still on record, removing it later");
        } else {
            self.publish_removal(book);
        }
    }

    /// Takes an endpoint off the record, and then down.
    pub(super) fn forget(
        &self,
        book: &mut Book,
        network: &Network,
        endpoint: &Endpoint,
    ) -> Result<(), NetworkError> {
        self.catalog.remove_endpoint(network.id, endpoint.id)?;
        self.let_go(book, &network.name, endpoint);
        Ok(())
    }

    /// Takes down an endpoint that is off the record.
    pub(super) fn let_go(&self, book: &mut Book, network: &Name, endpoint: &Endpoint) {
        endpoint.port().into_iter().for_each(|port| self.plane.close_port(port));
        book.remove_endpoint(network, &endpoint.name);
    }
}

/// What an endpoint's TAP is called until it stands in its sandbox: whoever finds one knows whose it is.
pub(super) fn tap_name(id: Id) -> String {
    format!("wf{}", id.short())
}
