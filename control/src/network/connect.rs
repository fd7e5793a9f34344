//! Endpoints: connecting, disconnecting, and noticing that one is gone.

use weft_dataplane::tables::PortId;

use super::book::{Book, Record};
use super::claim::{Claim, name_from};
use super::failpoint::{Point, reached};
use super::ports;
use super::{ALIASES_MAX, ENDPOINTS_MAX, EndpointRequest, Manager, NetworkError};
use crate::error::{Code, Explain};
use crate::model::{Driver, Endpoint, EndpointState, Id, Interface, Name, Network, Sandbox};
use crate::reconcile::Presence;
use crate::sandbox::{Netns, Plug};
use crate::store::catalog::documents::EndpointDocument;

/// A network, an endpoint that was connected to it, and what was left out without harm.
type Connected = (Network, Endpoint, Vec<String>);

impl Manager {
    /// Connects a namespace to a network; gives the network, the endpoint, and what was left out without harm, a line
    /// each.
    ///
    /// # Errors
    /// [`NetworkError`]; nothing has changed, and nothing is left in the namespace.
    pub fn connect(&self, key: &str, request: &EndpointRequest) -> Result<Connected, NetworkError> {
        match self.try_connect(key, request) {
            // Perhaps whoever has it is dead, and nobody has noticed yet.
            Err(error) if matches!(error.code(), Code::Conflict | Code::Exhausted) && self.release_dead() => {
                self.try_connect(key, request)
            }
            outcome => outcome,
        }
    }

    fn try_connect(&self, key: &str, request: &EndpointRequest) -> Result<Connected, NetworkError> {
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
        ports::check(&book, &network, &request.publish)?;
        let claim = Claim::prepare(&mut book, &network, request, name, sandbox)?;
        let mut endpoint = self.enter(&mut book, &network, claim, request)?;
        reached(Point::ConnectClaimed);
        let warnings = self
            .bring_up(&book, &network, &endpoint, &netns)
            .and_then(|warnings| self.record_attached(&network, &endpoint).map(|()| warnings))
            .inspect_err(|_| self.take_back(&mut book, &network, &endpoint))?;
        reached(Point::ConnectRecorded);
        endpoint.state = EndpointState::Attached;
        book.attached(&network.name, &endpoint.name);
        book.serving.extend(endpoint.port());
        self.relay(&mut book, &endpoint);
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

    /// The packet side says that a port's TAP is no more: somebody has deleted its link, which is put back at the next
    /// reconciliation, or has moved it into a namespace that died. If its own namespace is dead too, the endpoint goes.
    pub fn port_gone(&self, port: PortId) {
        let mut book = self.book();
        if book.closed || !book.serving.remove(&port) {
            return;
        }
        self.plane.close_port(port);
        if let Some(record) = book.with_leg(port) {
            record.host = None;
            tracing::warn!(network = %record.network.name, "the host's interface is gone");
            self.publish_removal(&book);
            return;
        }
        book.spent.insert(port);
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
        let connected = book.endpoints().filter(|(_, endpoint)| endpoint.is_told());
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

    /// Claims what the endpoint is to have, in the book, on the host and in the store; on an error all are as before.
    pub(super) fn enter(
        &self,
        book: &mut Book,
        network: &Network,
        claim: Claim<'_>,
        request: &EndpointRequest,
    ) -> Result<Endpoint, NetworkError> {
        let missing = || NetworkError::NoNetwork { key: network.name.to_string() };
        let aliases = aliases(request)?;
        let mut endpoint = claim.enter(book.named_mut(&network.name).ok_or_else(missing)?)?;
        let entered = self.reserve(book, &endpoint, network, &request.publish).and_then(|ports| {
            (endpoint.ports, endpoint.aliases) = (ports, aliases);
            Ok(self.catalog.create_endpoint(&EndpointDocument::of(&endpoint, network.id, &self.node))?)
        });
        if let Err(error) = entered {
            self.plane.release(endpoint.id);
            if let Some(record) = book.named_mut(&network.name) {
                record.release(endpoint.addresses(), endpoint.id);
            }
            return Err(error);
        }
        book.insert_endpoint(&network.name, endpoint.clone());
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
        let plug = plug_of(network, interface);
        if !endpoint.ports.is_empty() {
            // What is relayed reaches the endpoint by its loopback.
            self.plane.loopback_up(netns)?;
        }
        self.plane.open_port(interface.port, netns, &plug.ifname, &tap_name(endpoint.id))?;
        reached(Point::ConnectOpened);
        let warnings = self.plane.plug(netns, &plug)?;
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
            EndpointState::Offered | EndpointState::Attached => {
                Err(NetworkError::EndpointExists { name: name.clone(), network: network.name.clone() })
            }
        }
    }

    /// Undoes a connection. If the store refuses, the endpoint stays on record as one that was never finished.
    pub(super) fn take_back(&self, book: &mut Book, network: &Network, endpoint: &Endpoint) {
        endpoint.port().into_iter().for_each(|port| self.plane.close_port(port));
        self.plane.release(endpoint.id);
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
        self.plane.release(endpoint.id);
        endpoint.port().into_iter().for_each(|port| self.plane.close_port(port));
        book.remove_endpoint(network, &endpoint.name);
    }
}

/// What an interface on `network` is to be in its namespace.
pub(super) fn plug_of(network: &Network, interface: &Interface) -> Plug {
    Plug {
        ifname: interface.ifname.to_string(),
        mac: interface.mac,
        addresses: interface.addresses.clone(),
        gateways: interface.gateways.clone(),
        routes: interface.routes.clone(),
        mtu: network.mtu.into(),
    }
}

/// The further names that are asked for, each once.
fn aliases(request: &EndpointRequest) -> Result<Vec<Name>, NetworkError> {
    let mut aliases: Vec<Name> = Vec::new();
    for alias in &request.aliases {
        if !aliases.contains(alias) {
            aliases.push(alias.clone());
        }
    }
    let count = aliases.len();
    if count > ALIASES_MAX { Err(NetworkError::TooManyAliases { count }) } else { Ok(aliases) }
}

/// What an endpoint's TAP is called among those who serve it: whoever finds one knows whose it is.
pub(super) fn tap_name(id: Id) -> String {
    format!("wf{}", id.short())
}
