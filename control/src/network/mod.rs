//! Networks and endpoints: the single writer.
//!
//! The [`Manager`] owns what exists and is the only one who changes it, one change at a time under one lock. A change
//! is validated, written into the book, carried out on the packet side, and taken back whole if any step fails: what a
//! caller is told to exist exists, and nothing else does. Connecting, in order: the name, the sandbox and the addresses
//! are claimed; the tables with the new port are published; the TAP is created and handed to the workers; it is moved
//! into the sandbox and configured. Undoing is one step whatever was reached: closing the TAP removes it wherever it is.
//!
//! It is not the packet side: that is a [`Plane`], the few verbs a dataplane must have ([`HostPlane`] is the real one).
//! It is not a store either: what is here ends with the process.
//!
//! The manager blocks, on its lock and on the kernel; callers on async threads use a blocking one.
//!
//! Limits: [`NETWORKS_MAX`] and [`ENDPOINTS_MAX`], the dataplane's own; one IPv4 and one IPv6 subnet per network. At a
//! limit the request is refused and nothing changes. Two networks may have overlapping subnets only if the user named
//! them: networks never see each other's frames, so nothing is mixed up, but no one would choose it unasked.

mod book;
mod connect;
mod error;
mod host;
mod peers;
mod plan;
mod plane;
mod prune;
mod request;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use weft_dataplane::runtime::CaptureFilter;
use weft_dataplane::tables::{PORTS_MAX, PortId, SEGMENTS_MAX};

pub use error::NetworkError;
pub use host::HostPlane;
pub use plane::{Capture, Occupied, Plane, PlaneError, ServedPort, Traffic, TrafficReport, UnderlayReport};
pub use prune::PREDEFINED;
pub use request::{EndpointRequest, NetworkRequest};

use crate::config::Underlay;
use crate::ipam::UlaPrefix;
use crate::model::{Endpoint, Id, Name, Network, Subnet, parse_options};
use book::{Book, Record};
use plan::Surroundings;

/// The most networks: as many as the dataplane has segments.
pub const NETWORKS_MAX: usize = SEGMENTS_MAX;

/// The most endpoints, of all networks together: as many as the dataplane has ports.
pub const ENDPOINTS_MAX: usize = PORTS_MAX;

/// The smallest MTU, in bytes: every IPv4 host must take it (RFC 791).
pub const MTU_MIN: u16 = 68;

/// The smallest MTU, in bytes, over which IPv6 runs (RFC 8200 section 5).
pub const MTU_MIN_IPV6: u16 = 1280;

/// The largest MTU of a TAP, in bytes (`tun.c`: 65,535 less the Ethernet header).
pub const MTU_MAX: u16 = 65_521;

/// VNIs that Weft chooses start here; the lower ones are for people to choose.
pub const FIRST_VNI: u32 = 4096;

/// A network and its endpoints, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The network.
    pub network: Network,
    /// Its endpoints, by name.
    pub endpoints: Vec<Endpoint>,
}

/// Owns networks and endpoints; see the module's head.
pub struct Manager {
    plane: Box<dyn Plane>,
    underlay: Option<Underlay>,
    peers: RwLock<Arc<[IpAddr]>>,
    ula: UlaPrefix,
    book: Mutex<Book>,
}

impl Manager {
    /// A manager without networks. Overlays run over `underlay` to every one of `peers`.
    ///
    /// # Errors
    /// [`NetworkError::Random`].
    pub fn new(
        plane: Box<dyn Plane>,
        underlay: Option<Underlay>,
        peers: Vec<IpAddr>,
    ) -> Result<Self, NetworkError> {
        let ula = UlaPrefix::new(random()?);
        let peers = RwLock::new(peers.into());
        Ok(Self { plane, underlay, peers, ula, book: Mutex::default() })
    }

    /// The packet side, for what needs no book: counters and its state.
    #[must_use]
    pub fn plane(&self) -> &dyn Plane {
        &*self.plane
    }

    /// Creates a network.
    ///
    /// # Errors
    /// [`NetworkError`]; nothing has changed.
    pub fn create(&self, request: &NetworkRequest) -> Result<Snapshot, NetworkError> {
        let mut book = self.open_book()?;
        if book.networks.contains_key(&request.name) {
            return Err(NetworkError::NetworkExists { name: request.name.clone() });
        }
        if book.networks.len() >= NETWORKS_MAX {
            return Err(NetworkError::TooManyNetworks);
        }
        let options = parse_options(&request.options)?;
        let vni = plan::vni(&book, request)?;
        let peers = self.peers();
        let surroundings =
            Surroundings { book: &book, underlay: self.underlay.as_ref(), peers: &peers, ula: self.ula };
        let pools = surroundings.pools(request, || Ok(self.plane.occupied()?))?;
        let ipv6 = pools.iter().any(|pool| pool.net().addr().is_ipv6());
        let mtu = plan::mtu(request, self.underlay.as_ref(), ipv6)?;
        let subnets = pools.iter().map(|pool| Subnet {
            net: pool.net(),
            gateway: pool.gateway(),
            range: request.ip_range.filter(|range| pool.net().contains(range)),
            auxiliary: Default::default(),
        });
        let network = Network {
            id: Id::from_bytes(random()?),
            name: request.name.clone(),
            driver: request.driver,
            segment: book.next_segment()?,
            vni,
            mtu,
            internal: request.internal,
            subnets: subnets.collect(),
            options,
            given_options: request.options.clone(),
            labels: request.labels.clone(),
            created: SystemTime::now(),
        };
        let record = Record { network, pools, endpoints: Default::default() };
        let snapshot = record.snapshot();
        book.networks.insert(request.name.clone(), record);
        if let Err(error) = self.publish(&book) {
            book.networks.remove(&request.name);
            return Err(error);
        }
        tracing::info!(network = %request.name, driver = %request.driver, vni = vni.map(|v| v.get()), "network created");
        Ok(snapshot)
    }

    /// Removes a network; its endpoints and their interfaces go with it.
    ///
    /// # Errors
    /// [`NetworkError::NoNetwork`].
    pub fn remove(&self, key: &str) -> Result<Snapshot, NetworkError> {
        let mut book = self.book();
        let snapshot = book.find(key)?.snapshot();
        snapshot.endpoints.iter().for_each(|endpoint| self.plane.close_port(endpoint.port));
        book.networks.remove(&snapshot.network.name);
        self.publish_removal(&book);
        tracing::info!(network = %snapshot.network.name, endpoints = snapshot.endpoints.len(), "network removed");
        Ok(snapshot)
    }

    /// Removes all that was made, for good: nothing can be created or connected any more.
    pub fn close(&self) {
        let mut book = self.book();
        book.closed = true;
        book.endpoints().for_each(|(_, endpoint)| self.plane.close_port(endpoint.port));
        book.networks.clear();
        self.publish_removal(&book);
    }

    /// All networks, by name.
    #[must_use]
    pub fn networks(&self) -> Vec<Snapshot> {
        self.book().networks.values().map(Record::snapshot).collect()
    }

    /// One network, by name, id, or the first 12 digits of an id.
    ///
    /// # Errors
    /// [`NetworkError::NoNetwork`].
    pub fn network(&self, key: &str) -> Result<Snapshot, NetworkError> {
        self.book().find(key).map(Record::snapshot)
    }

    /// Starts copying frames: of one endpoint, of one network, or all. An endpoint's name need only be unique among
    /// those looked at.
    ///
    /// # Errors
    /// [`NetworkError`] when a name leads nowhere or to several.
    pub fn capture(
        &self,
        network: Option<&str>,
        endpoint: Option<&str>,
    ) -> Result<Box<dyn Capture>, NetworkError> {
        let book = self.book();
        let record = network.map(|key| book.find(key)).transpose()?;
        let port = endpoint.map(|key| one_port(&book, record, key)).transpose()?;
        let filter = CaptureFilter { segment: record.map(|record| record.network.segment), port };
        let label = |(record, endpoint): (&Record, &Endpoint)| {
            (endpoint.port, format!("{}/{}", record.network.name, endpoint.name))
        };
        let labels = book.endpoints().map(label).collect();
        self.plane.capture(filter, labels).ok_or(NetworkError::TooManyCaptures)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A panic while the book was held is a bug, but the book itself is changed in single steps.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The book, unless nothing may be added any more.
    fn open_book(&self) -> Result<MutexGuard<'_, Book>, NetworkError> {
        let book = self.book();
        if book.closed { Err(NetworkError::Closing) } else { Ok(book) }
    }

    fn publish(&self, book: &Book) -> Result<(), NetworkError> {
        Ok(self.plane.publish(&book.tables(&self.peers()))?)
    }

    /// Tables that only lose something are never refused; if they were, the dataplane would serve ports without a TAP.
    fn publish_removal(&self, book: &Book) {
        if let Err(error) = self.publish(book) {
            tracing::error!(%error, "the dataplane refused smaller tables");
        }
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("underlay", &self.underlay)
            .field("peers", &self.peers())
            .finish_non_exhaustive()
    }
}

impl Record {
    fn snapshot(&self) -> Snapshot {
        Snapshot { network: self.network.clone(), endpoints: self.endpoints.values().cloned().collect() }
    }
}

impl Snapshot {
    /// The endpoint behind a port.
    #[must_use]
    pub fn behind(&self, port: PortId) -> Option<&Name> {
        self.endpoints.iter().find(|endpoint| endpoint.port == port).map(|endpoint| &endpoint.name)
    }
}

/// The port of the endpoint `key`: on one network, or the only one of that name.
fn one_port(book: &Book, record: Option<&Record>, key: &str) -> Result<PortId, NetworkError> {
    if let Some(record) = record {
        return Ok(record.endpoint(key)?.port);
    }
    let mut found = book.networks.values().filter_map(|record| record.endpoint(key).ok());
    match (found.next(), found.next()) {
        (Some(endpoint), None) => Ok(endpoint.port),
        (Some(_), Some(_)) => Err(NetworkError::OnSeveralNetworks { key: key.into() }),
        (None, _) => Err(NetworkError::NoEndpoint { key: key.into(), network: None }),
    }
}

/// Random bytes from the kernel.
fn random<const N: usize>() -> Result<[u8; N], NetworkError> {
    let mut bytes = [0; N];
    let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    match filled {
        Ok(n) if n == N => Ok(bytes),
        Ok(_) => Err(NetworkError::Random(rustix::io::Errno::AGAIN)),
        Err(errno) => Err(NetworkError::Random(errno)),
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
