//! Networks and endpoints whose life is a container engine's business.
//!
//! ```text
//! offer > TAP in the daemon's own namespace > join: the engine learns its name > the engine moves, renames, configures it
//!       > settle: seen in the sandbox, from here on an endpoint like every other > withdraw
//! ```
//!
//! An engine speaks in its own order and may die at any point of it. So each verb can be repeated, and those that take
//! something away know nothing they must find. An engine may open a container's way out, and publish its ports, before or
//! after it has moved the TAP: [`Manager::program`] says that an endpoint has its sandbox's default route, which is what
//! it gets when it has to be restored. No verb tells when the TAP was moved: whoever offers it looks ([`Manager::settle`]),
//! and so does [`Manager::reconcile`].
//!
//! An offer that is not taken within [`OFFER_ROUNDS`] is taken back.

mod naming;
mod program;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::book::Book;
use super::claim::Claim;
use super::connect::{plug_of, tap_name};
pub use naming::engine_name;
use program::way_out;

use super::{ENDPOINTS_MAX, EndpointRequest, Manager, NetworkError, NetworkRequest, Snapshot};
use crate::error::{Code, Explain};
use crate::model::{Endpoint, EndpointState, Id, IfName, Network, PortsBy, Sandbox};
use crate::sandbox::life;
use crate::store::catalog::documents::EndpointDocument;

/// How many rounds of [`Manager::reconcile`] an offer stands: five minutes, in which the slowest host starts a container.
pub(super) const OFFER_ROUNDS: u64 = 150;

/// The daemon's own namespace, as a path.
const HOME: &str = "/proc/self/ns/net";

/// A network as an engine wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineNetwork {
    /// What it shall be.
    pub request: NetworkRequest,
    /// Who publishes the ports of its endpoints.
    pub ports: PortsBy,
}

/// An endpoint as an engine wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its identity.
    pub id: Id,
    /// Its IPv4 address; chosen when missing.
    pub ip: Option<IpNet>,
    /// Its IPv6 address; chosen when missing and there is a subnet for it.
    pub ip6: Option<IpNet>,
    /// Its MAC; made of the address when missing.
    pub mac: Option<String>,
}

/// What an engine has to do with what it was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The interface to move from the host's namespace into the sandbox.
    pub tap: String,
    /// The default routes; none if the way out is not ours.
    pub gateways: Vec<IpAddr>,
    /// Whether the engine is to see to a way out.
    pub needs_way_out: bool,
}

impl Manager {
    /// Makes a network under the engine's identity; gives it as it is if it is there.
    ///
    /// # Errors
    /// [`NetworkError`]; nothing has changed.
    pub fn adopt_network(&self, id: Id, wanted: &EngineNetwork) -> Result<Snapshot, NetworkError> {
        let mut book = self.open_book()?;
        if let Some(record) = book.with_id(id) {
            let network = &record.network;
            if !record.closed
                && network.engine == Some(wanted.ports)
                && is_as_wanted(network, &wanted.request)
            {
                return Ok(record.snapshot());
            }
            return Err(NetworkError::NetworkExists { name: network.name.clone() });
        }
        // An engine says from which part addresses are to come when it asks for the pool, and never again.
        let ip_ranges = book.lent.ranges_of(&wanted.request.subnets);
        let request = NetworkRequest { ip_ranges, ..wanted.request.clone() };
        let snapshot = self.enter_network(&mut book, id, &request, Some(wanted.ports))?;
        book.take_over_pools(&snapshot.network.name);
        Ok(snapshot)
    }

    /// Removes a network, with the endpoints that are still on it. One that is not there is none to remove.
    ///
    /// # Errors
    /// What the store says; as [`Manager::remove`].
    pub fn abandon_network(&self, id: Id) -> Result<(), NetworkError> {
        let mut book = self.book();
        let Some(name) = book.of_engine(id).map(|record| record.network.name.clone()) else { return Ok(()) };
        self.finish_removal(&mut book, &name, id)?;
        tracing::info!(network = %name, "network removed by its engine");
        Ok(())
    }

    /// Makes an endpoint whose TAP the engine is to take; gives it as it is if it is there.
    ///
    /// # Errors
    /// [`NetworkError`]; nothing has changed.
    pub fn offer(&self, network: Id, offer: &Offer) -> Result<Endpoint, NetworkError> {
        match self.try_offer(network, offer) {
            // Perhaps whoever has it is dead, and nobody has noticed yet.
            Err(error) if matches!(error.code(), Code::Conflict | Code::Exhausted) && self.release_dead() => {
                self.try_offer(network, offer)
            }
            outcome => outcome,
        }
    }

    fn try_offer(&self, network: Id, offer: &Offer) -> Result<Endpoint, NetworkError> {
        let mut book = self.open_book()?;
        let record = book.of_engine(network).ok_or_else(|| no_network(network))?;
        let network = record.network.clone();
        if let Some(endpoint) = record.with_id(offer.id) {
            let asked = [offer.ip, offer.ip6].into_iter().flatten();
            let same = asked.clone().all(|net| endpoint.addresses().iter().any(|a| a.addr() == net.addr()));
            let taken = || NetworkError::EndpointExists {
                name: endpoint.name.clone(),
                network: network.name.clone(),
            };
            return if same { Ok(endpoint.clone()) } else { Err(taken()) };
        }
        if book.endpoint_count() >= ENDPOINTS_MAX {
            return Err(NetworkError::TooManyEndpoints);
        }
        let home = self.plane.open_sandbox(Path::new(HOME))?;
        let sandbox = Sandbox { path: HOME.into(), key: home.id(), birth: self.plane.birth(&home)? };
        let request = request_of(offer)?;
        let name = engine_name(offer.id)?;
        let claim = Claim::prepare(&mut book, &network, &request, name, sandbox)?.offered(offer.id);
        let endpoint = self.enter(&mut book, &network, claim, &request)?;
        let made = self.publish(&book).and_then(|()| {
            let Some(interface) = &endpoint.interface else { return Ok(()) };
            Ok(self.plane.offer(interface.port, &plug_of(&network, interface))?)
        });
        made.inspect_err(|_| self.take_back(&mut book, &network, &endpoint))?;
        book.serving.extend(endpoint.port());
        book.settle_lent(network.id, endpoint.addresses());
        tracing::info!(network = %network.name, endpoint = %endpoint.name, "endpoint offered");
        Ok(endpoint)
    }

    /// Notes where the engine will take an endpoint, and says what there is to take.
    ///
    /// # Errors
    /// [`NetworkError::NoNetwork`], [`NetworkError::NoEndpoint`], or what the store says; nothing has changed.
    pub fn join(&self, network: Id, endpoint: Id, sandbox: &Path) -> Result<Joined, NetworkError> {
        let mut book = self.open_book()?;
        let (network, endpoint) = both(&book, network, endpoint)?;
        if endpoint.state == EndpointState::Offered && endpoint.sandbox.path != sandbox {
            let path = PathBuf::from(sandbox);
            let place = |document: &mut EndpointDocument| document.netns.clone_from(&path);
            self.catalog.update_endpoint(network.id, endpoint.id, place)?;
            let there = Sandbox { path, ..endpoint.sandbox.clone() };
            book.change_endpoint(&network.name, &endpoint.name, |endpoint| endpoint.sandbox = there);
        }
        Ok(Joined {
            tap: tap_name(endpoint.id),
            gateways: way_out(&network, &endpoint),
            needs_way_out: network.gateway.is_some() && network.engine == Some(PortsBy::Engine),
        })
    }

    /// Looks whether the engine has taken an endpoint by now; true if there is nothing more to wait for.
    pub fn settle(&self, network: Id, endpoint: Id) -> bool {
        let mut book = self.book();
        let Ok((network, endpoint)) = both(&book, network, endpoint) else { return true };
        if book.closed || endpoint.state != EndpointState::Offered {
            return true;
        }
        self.try_settle(&mut book, &network, &endpoint).unwrap_or_else(|error| {
            tracing::error!(network = %network.name, endpoint = %endpoint.name, %error, "cannot note where it was taken");
            false
        })
    }

    /// As [`Manager::settle`], of every endpoint that is offered.
    pub(super) fn settle_all(&self) {
        let offered: Vec<_> = {
            let book = self.book();
            let offered = book.endpoints().filter(|(_, e)| e.state == EndpointState::Offered);
            offered.map(|(record, endpoint)| (record.network.id, endpoint.id)).collect()
        };
        for (network, endpoint) in offered {
            self.settle(network, endpoint);
        }
    }

    fn try_settle(
        &self,
        book: &mut Book,
        network: &Network,
        offered: &Endpoint,
    ) -> Result<bool, NetworkError> {
        let Some((netns, ifname)) = offered.port().and_then(|port| self.plane.whereabouts(port)) else {
            return Ok(false);
        };
        // On its way it has been moved, and not yet renamed.
        let Some(ifname) = IfName::new(ifname).ok().filter(|name| name.as_str() != tap_name(offered.id))
        else {
            return Ok(false);
        };
        if netns.id() == offered.sandbox.key {
            return Ok(false);
        }
        let told = offered.sandbox.path.clone();
        let path = match self.plane.leads_to(&told) == Some(netns.id()) {
            true => told,
            // What the engine has mounted cannot be seen from here.
            false => life::process_in(netns.id()).unwrap_or(told),
        };
        let sandbox = Sandbox { path, key: netns.id(), birth: self.plane.birth(&netns)? };
        let mut endpoint = offered.clone();
        (endpoint.sandbox, endpoint.state) = (sandbox, EndpointState::Attached);
        endpoint.interface.iter_mut().for_each(|interface| interface.ifname = ifname.clone());
        let document = EndpointDocument::of(&endpoint, network.id, &self.node);
        self.catalog.update_endpoint(network.id, endpoint.id, |place| place.clone_from(&document))?;
        book.change_endpoint(&network.name, &endpoint.name, |known| known.clone_from(&endpoint));
        self.relay(book, &endpoint);
        tracing::info!(network = %network.name, endpoint = %endpoint.name, %netns, "endpoint taken");
        Ok(true)
    }

    /// Removes an endpoint and its interface, wherever that is. One that is not there is none to remove.
    ///
    /// # Errors
    /// What the store says; nothing has changed.
    pub fn withdraw(&self, network: Id, endpoint: Id) -> Result<(), NetworkError> {
        let mut book = self.book();
        let Ok((network, endpoint)) = both(&book, network, endpoint) else { return Ok(()) };
        self.forget(&mut book, &network, &endpoint)?;
        book.keep_lent(&network.name, endpoint.addresses());
        self.publish_removal(&book);
        tracing::info!(network = %network.name, endpoint = %endpoint.name, "endpoint withdrawn");
        Ok(())
    }
}

fn is_as_wanted(network: &Network, request: &NetworkRequest) -> bool {
    let nets = |net: &IpNet| network.subnets.iter().any(|subnet| subnet.net == *net);
    network.driver == request.driver
        && network.internal == request.internal
        && network.given_options == request.options
        && request.subnets.iter().all(nets)
}

fn request_of(offer: &Offer) -> Result<EndpointRequest, NetworkError> {
    let (v4, v6) = (offer.ip.map(|net| net.addr()), offer.ip6.map(|net| net.addr()));
    let ip = match v4 {
        Some(IpAddr::V4(address)) => Some(address),
        Some(address) => return Err(NetworkError::WrongFamily { address }),
        None => None,
    };
    let ip6 = match v6 {
        Some(IpAddr::V6(address)) => Some(address),
        Some(address) => return Err(NetworkError::WrongFamily { address }),
        None => None,
    };
    let ifname = IfName::new(tap_name(offer.id)).ok();
    Ok(EndpointRequest { ifname, ip, ip6, mac: offer.mac.clone(), ..EndpointRequest::new(HOME) })
}

fn both(book: &Book, network: Id, endpoint: Id) -> Result<(Network, Endpoint), NetworkError> {
    let record = book.of_engine(network).ok_or_else(|| no_network(network))?;
    let missing =
        || NetworkError::NoEndpoint { key: endpoint.short(), network: Some(record.network.name.clone()) };
    let found = record.with_id(endpoint).ok_or_else(missing)?;
    Ok((record.network.clone(), found.clone()))
}

fn no_network(id: Id) -> NetworkError {
    NetworkError::NoNetwork { key: id.short() }
}

#[cfg(test)]
mod tests;
