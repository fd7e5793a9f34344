//! The beginning: from the record to a book.

use std::net::IpAddr;
use std::sync::{Mutex, RwLock};

use ipnet::Ipv6Net;

use super::book::{Book, Record};
use super::connect::tap_name;
use super::lent::Lent;
use super::{Manager, NetworkError, Plane, ServedPort, leg, random};
use crate::config::Underlay;
use crate::ipam::{Lease, Pool, UlaPrefix};
use crate::model::{Id, Name};
use crate::store::Catalog;
use crate::store::catalog::Contents;
use crate::store::catalog::documents::{EndpointDocument, NetworkDocument, NodeDocument};

impl Manager {
    /// The manager of what `catalog` has on record, all of which is this host's, `node`. The packet side knows all of it
    /// when this returns; interfaces are restored by [`Manager::reconcile`]. Overlays run over `underlay` to every one of
    /// `peers`.
    ///
    /// # Errors
    /// [`NetworkError`] when the record cannot be read or does not fit itself; nothing has changed.
    pub fn open(
        plane: Box<dyn Plane>,
        catalog: Catalog,
        node: Name,
        underlay: Option<Underlay>,
        peers: Vec<IpAddr>,
    ) -> Result<Self, NetworkError> {
        let contents = catalog.load()?;
        for stray in &contents.strays {
            tracing::warn!("in the store, {stray}");
        }
        let vtep = underlay.as_ref().map(|underlay| underlay.address);
        let ula = introduce(&catalog, &contents, &node, vtep)?;
        let mut book = read(&contents)?;
        adopt(&mut book, &*plane);
        let peers = RwLock::new(peers.into());
        let manager =
            Self { plane, catalog, node, underlay, peers, ula: Mutex::new(ula), book: Mutex::new(book) };
        manager.publish(&manager.book())?;
        Ok(manager)
    }
}

/// Says in the store who this host is, and gives the prefix of its automatic IPv6 subnets. A host that was renamed is a
/// new one; its networks keep their subnets.
pub(super) fn introduce(
    catalog: &Catalog,
    contents: &Contents,
    node: &Name,
    vtep: Option<IpAddr>,
) -> Result<UlaPrefix, NetworkError> {
    let known = contents.nodes.iter().find(|known| known.name == *node);
    let (id, ula) = match known {
        Some(known) => (known.id, known.ula),
        None => (Id::from_bytes(random()?), UlaPrefix::new(random()?)),
    };
    let document = NodeDocument { id, name: node.clone(), vtep, ula };
    if known != Some(&document) {
        catalog.put_node(&document)?;
    }
    tracing::debug!(%node, ula = %Ipv6Net::from(ula), "this host is on record");
    Ok(ula)
}

/// The book that `contents` describe.
pub(super) fn read(contents: &Contents) -> Result<Book, NetworkError> {
    let segments = contents.networks.iter().map(|network| network.segment).max();
    let ports = contents.endpoints.iter().filter_map(|e| e.interface.as_ref()).map(|i| i.port).max();
    let mut book = Book::after(segments.unwrap_or(0), ports.unwrap_or(0));
    book.lent = Lent::read(&contents.pools);
    for document in &contents.networks {
        let network = document.network()?;
        let name = network.name.clone();
        let mut record = Record::new(network, pools(contents, document)?);
        record.closed = document.closed;
        book.insert_network(record);
        for endpoint in contents.endpoints_of(document.id).iter().map(EndpointDocument::endpoint) {
            book.insert_endpoint(&name, endpoint);
        }
    }
    Ok(book)
}

fn pools(contents: &Contents, network: &NetworkDocument) -> Result<Vec<Pool>, NetworkError> {
    let pool = |subnet: &crate::store::catalog::documents::SubnetDocument| {
        let inside = |lease: &Lease| subnet.net.contains(&lease.address);
        Ok(Pool::restore(&subnet.pool(), contents.leases_of(network.id).filter(inside))?)
    };
    network.subnets.iter().map(pool).collect()
}

/// The network of a leg of this name, unless it has one; it is set right, if need be.
fn adopt_leg(book: &mut Book, plane: &dyn Plane, served: &ServedPort) -> bool {
    let ours = |record: &Record| leg::of(&record.network).filter(|leg| leg.ifname == served.tap);
    let found = book.networks().find_map(|record| Some((record.network.name.clone(), ours(record)?)));
    let Some((name, leg)) = found else { return false };
    let Some(record) = book.named_mut(&name).filter(|record| record.host.is_none()) else { return false };
    record.host = Some(served.port);
    book.serving.insert(served.port);
    if let Err(error) = plane.stand(served.port, &leg) {
        tracing::error!(network = %name, %error, "the host's interface is not as it should be");
    }
    true
}

/// Finds out whose ports an adopted packet process serves.
fn adopt(book: &mut Book, plane: &dyn Plane) {
    for served in plane.ports() {
        book.skip_port(served.port);
        if adopt_leg(book, plane, &served) {
            continue;
        }
        let known = book.behind(served.port).map(|(_, endpoint)| tap_name(endpoint.id) == served.tap);
        match known {
            Some(true) => drop(book.serving.insert(served.port)),
            usurped => {
                book.spent.extend(usurped.map(|_| served.port));
                book.strangers.push(served);
            }
        }
    }
}
