//! Networks: creating and removing.

use std::time::SystemTime;

use super::book::{Book, Record};
use super::failpoint::{Point, reached};
use super::leg;
use super::plan::{self, Surroundings};
use super::{Manager, NETWORKS_MAX, NetworkError, NetworkRequest, Snapshot, random};
use crate::model::{Id, Name, Network, PortsBy, Subnet, parse_options};
use crate::store::catalog::documents::NetworkDocument;

/// The network that every host has, as Docker does: it is made at the first start, and cannot be removed.
pub const PREDEFINED: &str = "bridge";

impl Manager {
    /// Creates a network.
    ///
    /// # Errors
    /// [`NetworkError`]; nothing has changed.
    pub fn create(&self, request: &NetworkRequest) -> Result<Snapshot, NetworkError> {
        let mut book = self.open_book()?;
        self.enter_network(&mut book, Id::from_bytes(random()?), request, None)
    }

    /// As [`Manager::create`], under this identity, for an engine if there is one.
    pub(super) fn enter_network(
        &self,
        book: &mut Book,
        id: Id,
        request: &NetworkRequest,
        engine: Option<PortsBy>,
    ) -> Result<Snapshot, NetworkError> {
        if book.named(&request.name).is_some() {
            return Err(NetworkError::NetworkExists { name: request.name.clone() });
        }
        if book.network_count() >= NETWORKS_MAX {
            return Err(NetworkError::TooManyNetworks);
        }
        let mut record = self.decide(book, id, request)?;
        record.network.engine = engine;
        let (snapshot, name) = (record.snapshot(), request.name.clone());
        self.catalog.create_network(&NetworkDocument::of(&record.network))?;
        reached(Point::CreateClaimed);
        book.insert_network(record);
        let made = self.publish(book).and_then(|()| {
            reached(Point::CreatePublished);
            snapshot.host.map_or(Ok(()), |port| self.raise(&snapshot.network, port))
        });
        if let Err(error) = made {
            self.take_back_network(book, &name);
            return Err(error);
        }
        book.serving.extend(snapshot.host);
        reached(Point::CreateRaised);
        let Network { driver, vni, .. } = &snapshot.network;
        tracing::info!(network = %name, %driver, vni = vni.map(|v| v.get()), "network created");
        Ok(snapshot)
    }

    /// Creates the predefined network, unless it is there. A host without room for its subnet does without.
    pub fn ensure_predefined(&self) {
        let Ok(name) = Name::new(PREDEFINED) else { return };
        if self.book().named(&name).is_some() {
            return;
        }
        if let Err(error) = self.create(&NetworkRequest::new(name)) {
            tracing::warn!(%error, "the predefined network '{PREDEFINED}' is not there");
        }
    }

    /// Removes a network; its endpoints and their interfaces go with it.
    ///
    /// # Errors
    /// [`NetworkError::NoNetwork`], [`NetworkError::Predefined`], or what the store says. If that was not at the first
    /// step, the network takes no endpoint any more, and the next call goes on where this one ended.
    pub fn remove(&self, key: &str) -> Result<Snapshot, NetworkError> {
        let mut book = self.book();
        let snapshot = book.find(key)?.snapshot();
        let name = &snapshot.network.name;
        if name.as_str() == PREDEFINED {
            return Err(NetworkError::Predefined { name: name.clone() });
        }
        self.finish_removal(&mut book, name, snapshot.network.id)?;
        tracing::info!(network = %name, endpoints = snapshot.endpoints.len(), "network removed");
        Ok(snapshot)
    }

    /// Removes a network, as far as that has not been done yet.
    pub(super) fn finish_removal(&self, book: &mut Book, name: &Name, id: Id) -> Result<(), NetworkError> {
        self.catalog.close_network(id)?;
        if let Some(record) = book.named_mut(name) {
            record.closed = true;
        }
        reached(Point::RemoveClosed);
        let endpoints: Vec<_> = book.named(name).into_iter().flat_map(Record::endpoints).cloned().collect();
        for endpoint in endpoints {
            self.catalog.remove_endpoint(id, endpoint.id)?;
            reached(Point::RemoveForgotten);
            self.let_go(book, name, &endpoint);
        }
        self.lower(book, name);
        reached(Point::RemoveEmptied);
        self.catalog.remove_network(id)?;
        reached(Point::RemoveUnclaimed);
        book.remove_network(name);
        self.publish_removal(book);
        Ok(())
    }

    /// What the network will be.
    fn decide(&self, book: &mut Book, id: Id, request: &NetworkRequest) -> Result<Record, NetworkError> {
        plan::check_driver(request)?;
        let options = parse_options(&request.options)?;
        let gateway = options.gateway(request.driver, request.internal)?;
        let vni = plan::vni(book, request)?;
        let peers = self.peers();
        let surroundings =
            Surroundings { book, underlay: self.underlay.as_ref(), peers: &peers, ula: self.ula() };
        let pools = surroundings.pools(request, || Ok(self.plane.occupied()?))?;
        let ipv6 = pools.iter().any(|pool| pool.net().addr().is_ipv6());
        let mtu = plan::mtu(request, self.underlay.as_ref(), ipv6)?;
        let subnets = pools.iter().map(|pool| Subnet {
            net: pool.net(),
            gateway: pool.gateway(),
            range: plan::range_of(request, pool.net()),
            auxiliary: pool.auxiliary(),
        });
        let network = Network {
            id,
            name: request.name.clone(),
            driver: request.driver,
            segment: book.next_segment()?,
            vni,
            mtu,
            internal: request.internal,
            subnets: subnets.collect(),
            options: options.segment,
            gateway,
            engine: None,
            given_options: request.options.clone(),
            labels: request.labels.clone(),
            created: SystemTime::now(),
        };
        let host = leg::of(&network).map(|_| book.next_port()).transpose()?;
        let mut record = Record::new(network, pools);
        record.host = host;
        Ok(record)
    }

    /// Undoes a creation. If the store refuses even that, the network stays as one that is being removed.
    fn take_back_network(&self, book: &mut Book, name: &Name) {
        let Some(record) = book.named_mut(name) else { return };
        record.closed = true;
        let id = record.network.id;
        if let Err(error) = self.finish_removal(book, name, id) {
            tracing::error!(network = %name, %error, "a network that failed is still on record, removing it later");
        }
    }
}
