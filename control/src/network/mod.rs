//! Networks and endpoints: the single writer.
//!
//! ```text
//! request > Manager: decide > Catalog: claim > Book > Plane: carry out > Catalog: attached > answer
//!                                   a failure takes back what was reached
//! start   > Catalog: load   > Book > Plane: tables > reconcile: what there is against what there should be
//! ```
//!
//! The [`Manager`] owns what exists on this host and is the only one who changes it, one change at a time under one lock.
//! The store is the truth, and the manager's book is what the store says, with indexes. A change is decided, claimed in
//! the store, carried out on the packet side, and taken back whole if any step fails: what a caller is told to exist
//! exists, and nothing else does. Connecting, in order: the name, the sandbox and the addresses are claimed, in state
//! attaching, its published ports are reserved on the host before that is on record; the tables with the new port are
//! published; the TAP is created in the sandbox and handed to the workers; it is configured; the record says attached.
//! Undoing is one step whatever was reached: closing the TAP removes it, and closing the reserving sockets gives back the
//! ports. What leaves is forgotten first and then closed, so that a refusal of the store changes nothing.
//!
//! A TAP keeps its sandbox's namespace alive, so nobody tells when that has lost its last process and its name. It is
//! looked for every [`PERIOD`], and when a request is refused because something is taken.
//!
//! A daemon may die between any two of these steps (`failpoint.rs` names them). [`Manager::open`] reads the record back;
//! [`Manager::reconcile`] compares it with the namespaces and the packet side, restores what lives, and takes away what is
//! dead, half made, or on nobody's record ([`crate::reconcile`]). The same runs all the time, for what was lost since.
//! Ending a daemon forgets nothing: [`Manager::close`] takes down the interfaces, and the next start restores them.
//!
//! It is not the packet side: that is a [`Plane`], the few verbs a dataplane must have ([`HostPlane`] is the real one).
//! It is not the store either: that is a [`Catalog`]. When the store refuses, so does the request, and forwarding goes on.
//!
//! The manager blocks, on its lock, the disk and the kernel; callers on async threads use a blocking one.
//!
//! Limits: [`NETWORKS_MAX`] and [`ENDPOINTS_MAX`], the dataplane's own; [`SUBNETS_MAX`] subnets per network, of which
//! an endpoint gets one address of each family. At a limit the request is refused and nothing changes. Two networks may
//! have overlapping subnets only if the user named them: networks never see each other's frames, so nothing is mixed up,
//! but no one would choose it unasked.

mod book;
mod claim;
mod connect;
mod doctor;
mod engine;
mod error;
mod failpoint;
mod host;
mod leg;
mod lent;
mod networks;
mod peers;
mod plan;
mod plane;
mod ports;
mod prune;
mod recover;
mod request;
mod restore;
mod sessions;
mod transfer;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use weft_dataplane::runtime::CaptureFilter;
use weft_dataplane::tables::{PORTS_MAX, PortId, SEGMENTS_MAX};

pub use doctor::Finding;
pub use engine::{EngineNetwork, Joined, Offer, engine_name};
pub use error::NetworkError;
pub use host::HostPlane;
pub use lent::{LEASES_MAX, LentPool, POOLS_MAX, PoolRequest};
pub use networks::PREDEFINED;
pub use plane::{Capture, Occupied, Plane, PlaneError, ServedPort, Traffic, TrafficReport, UnderlayReport};
pub use recover::PERIOD;
pub use request::{EndpointRequest, NetworkRequest};
pub use sessions::{NatRow, SESSIONS_TOLD, SessionFilter};

use crate::config::Underlay;
use crate::ipam::UlaPrefix;
use crate::model::{Endpoint, Name, Network};
use crate::store::Catalog;
use book::{Book, Record};

/// The most networks: as many as the dataplane has segments.
pub const NETWORKS_MAX: usize = SEGMENTS_MAX;

/// The most endpoints, of all networks together: as many as the dataplane has ports.
pub const ENDPOINTS_MAX: usize = PORTS_MAX;

/// The most further names of one endpoint: a list that a person writes.
pub const ALIASES_MAX: usize = 32;

/// The most routes of one endpoint besides the default ones.
pub const ROUTES_MAX: usize = 64;

/// The most subnets of one network: a list that a person writes.
pub const SUBNETS_MAX: usize = 16;

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
    /// The port of the host's own leg.
    pub host: Option<PortId>,
}

/// Owns networks and endpoints; see the module's head.
pub struct Manager {
    plane: Box<dyn Plane>,
    catalog: Catalog,
    node: Name,
    underlay: Option<Underlay>,
    peers: RwLock<Arc<[IpAddr]>>,
    ula: Mutex<UlaPrefix>,
    book: Mutex<Book>,
}

impl Manager {
    /// The packet side, for what needs no book: counters and its state.
    #[must_use]
    pub fn plane(&self) -> &dyn Plane {
        &*self.plane
    }

    /// Leaves everything as it is, for the end of this daemon only: nothing is created, connected or restored any more.
    pub fn freeze(&self) {
        self.book().closed = true;
    }

    /// Takes down all interfaces, for the end of this daemon, and freezes. Networks and endpoints stay on record; the next
    /// daemon restores those whose namespaces still live.
    pub fn close(&self) {
        self.freeze();
        let mut book = self.book();
        for endpoint in std::mem::take(&mut book.relayed) {
            self.plane.release(endpoint);
        }
        book.serving.clear();
        book.strangers.clear();
        self.plane.close();
    }

    /// All networks, by name.
    #[must_use]
    pub fn networks(&self) -> Vec<Snapshot> {
        self.book().networks().map(Record::snapshot).collect()
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
            Some((endpoint.port()?, format!("{}/{}", record.network.name, endpoint.name)))
        };
        let legs = book.networks().filter_map(|r| Some((r.host?, format!("{}/(host)", r.network.name))));
        let labels = book.endpoints().filter_map(label).chain(legs).collect();
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

    /// The prefix of this host's automatic IPv6 subnets.
    fn ula(&self) -> UlaPrefix {
        *self.ula.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_ula(&self, ula: UlaPrefix) {
        *self.ula.lock().unwrap_or_else(PoisonError::into_inner) = ula;
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
        let connected = self.endpoints().filter(|endpoint| endpoint.is_told());
        let endpoints = connected.cloned().collect();
        Snapshot { network: self.network.clone(), endpoints, host: self.host }
    }
}

impl Snapshot {
    /// The endpoint behind a port.
    #[must_use]
    pub fn behind(&self, port: PortId) -> Option<&Name> {
        self.endpoints.iter().find(|endpoint| endpoint.port() == Some(port)).map(|endpoint| &endpoint.name)
    }
}

/// The port of the endpoint `key`: on one network, or the only one of that name.
fn one_port(book: &Book, record: Option<&Record>, key: &str) -> Result<PortId, NetworkError> {
    let portless = || NetworkError::NoInterface { key: key.into() };
    if let Some(record) = record {
        return record.endpoint(key)?.port().ok_or_else(portless);
    }
    let mut found = book.networks().filter_map(|record| record.endpoint(key).ok());
    match (found.next(), found.next()) {
        (Some(endpoint), None) => endpoint.port().ok_or_else(portless),
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
mod durability;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
