//! Published ports: who has which, choosing those that nobody has named, reserving them on the host.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use weft_dataplane::nat::Published;
use weft_dataplane::tables::PUBLISHED_MAX;

use super::book::Book;
use super::plane::PlaneError;
use super::{Manager, NetworkError, random};
use crate::model::{
    Driver, EPHEMERAL, Endpoint, Name, Network, PUBLISH_MAX, PortMapping, Protocol, PublishRequest,
};
use crate::publish::PublishFailure;

/// Which endpoint publishes what. Nothing that stands in it overlaps.
#[derive(Debug, Default)]
pub(super) struct PortIndex {
    by_port: HashMap<(Protocol, u16), Vec<Entry>>,
    count: usize,
}

#[derive(Debug)]
struct Entry {
    mapping: PortMapping,
    network: Name,
    endpoint: Name,
}

impl PortIndex {
    /// How many ports are published.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn insert(&mut self, network: &Name, endpoint: &Endpoint) {
        for &mapping in &endpoint.ports {
            let entry = Entry { mapping, network: network.clone(), endpoint: endpoint.name.clone() };
            self.by_port.entry((mapping.protocol, mapping.host)).or_default().push(entry);
            self.count += 1;
        }
    }

    pub(super) fn remove(&mut self, network: &Name, endpoint: &Endpoint) {
        for mapping in &endpoint.ports {
            let key = (mapping.protocol, mapping.host);
            let Some(entries) = self.by_port.get_mut(&key) else { continue };
            let before = entries.len();
            entries.retain(|entry| (&entry.network, &entry.endpoint) != (network, &endpoint.name));
            self.count -= before - entries.len();
            if entries.is_empty() {
                self.by_port.remove(&key);
            }
        }
    }

    /// Who publishes something that overlaps `mapping`: network and endpoint.
    fn owner(&self, mapping: &PortMapping) -> Option<(&Name, &Name)> {
        let entries = self.by_port.get(&(mapping.protocol, mapping.host))?;
        let owner = entries.iter().find(|entry| entry.mapping.overlaps(mapping))?;
        Some((&owner.network, &owner.endpoint))
    }
}

/// What can be said of a request for ports before anything is claimed.
pub(super) fn check(book: &Book, network: &Network, publish: &[PublishRequest]) -> Result<(), NetworkError> {
    if publish.is_empty() {
        return Ok(());
    }
    let why = match network.gateway {
        _ if !network.driver.has_interfaces() => return Err(not_here(network.driver)),
        None => "is internal",
        Some(gateway) if !gateway.nat => "has nat=off",
        Some(_) => "",
    };
    if !why.is_empty() {
        return Err(NetworkError::NoWayIn { network: network.name.clone(), why });
    }
    let count = publish.iter().map(PublishRequest::count).sum();
    if count > PUBLISH_MAX {
        return Err(NetworkError::TooManyPorts { count });
    }
    // A port may stand in the tables once for each family.
    if 2 * (book.published.len() + count) > PUBLISHED_MAX {
        return Err(NetworkError::TooManyPublished);
    }
    let named: Vec<_> = named(publish).collect();
    let mut by_port: HashMap<_, Vec<&PortMapping>> = HashMap::new();
    for mapping in &named {
        let same_port = by_port.entry((mapping.protocol, mapping.host)).or_default();
        if same_port.iter().any(|other| other.overlaps(mapping)) {
            return Err(NetworkError::PublishedTwice { mapping: *mapping });
        }
        same_port.push(mapping);
    }
    Ok(())
}

const fn not_here(driver: Driver) -> NetworkError {
    NetworkError::NotOnDriver { what: "-p", driver }
}

/// The ports whose host port was named.
fn named(publish: &[PublishRequest]) -> impl Iterator<Item = PortMapping> {
    publish.iter().flat_map(PublishRequest::mappings).filter(|mapping| mapping.host != 0)
}

/// What the dataplane is told of an endpoint's ports; what is on loopback never comes from outside.
pub(super) fn rules(endpoint: &Endpoint) -> impl Iterator<Item = Published> {
    let port = endpoint.port();
    let rule = move |(mapping, outside, inside): (&PortMapping, IpAddr, IpAddr)| {
        Some(Published {
            port: port?,
            inside,
            inside_port: mapping.container,
            outside: Some(outside).filter(|outside| !outside.is_unspecified()),
            outside_port: mapping.host,
            protocol: mapping.protocol.into(),
        })
    };
    endpoint.published().filter(|(_, outside, _)| !outside.is_loopback()).filter_map(rule)
}

impl Manager {
    /// Reserves what `publish` says for `endpoint`, whose addresses are decided; gives what it has then. On an
    /// error some of it may be reserved.
    pub(super) fn reserve(
        &self,
        book: &Book,
        endpoint: &Endpoint,
        network: &Network,
        publish: &[PublishRequest],
    ) -> Result<Vec<PortMapping>, NetworkError> {
        let mut named: Vec<_> = named(publish).collect();
        for mapping in &named {
            if let Some((network, endpoint)) = book.published.owner(mapping) {
                let (network, endpoint) = (network.clone(), endpoint.clone());
                return Err(NetworkError::PortTaken { mapping: *mapping, network, endpoint });
            }
        }
        let mut ports = Vec::new();
        let wanted = publish.iter().flat_map(|asked| asked.mappings().map(|one| (one, asked.choices())));
        for (mapping, choices) in wanted {
            if let Some(address) = mapping.address.filter(|_| places(endpoint, &mapping).is_empty()) {
                return Err(NetworkError::NoFamily { address, network: network.name.clone() });
            }
            let mapping = match mapping.host {
                0 => self.choose(book, endpoint, mapping, &choices, &named)?,
                _ => self.plane.reserve(endpoint, &mapping).map(|()| mapping)?,
            };
            named.push(mapping);
            ports.push(mapping);
        }
        Ok(ports)
    }

    /// Reserves `mapping` on the first host port of `choices` that neither an endpoint nor a process has: from a random one
    /// up, unless somebody named the range.
    fn choose(
        &self,
        book: &Book,
        endpoint: &Endpoint,
        mapping: PortMapping,
        choices: &RangeInclusive<u16>,
        own: &[PortMapping],
    ) -> Result<PortMapping, NetworkError> {
        let count = choices.len();
        let start =
            if *choices == EPHEMERAL { usize::from(u16::from_ne_bytes(random()?)) % count } else { 0 };
        for host in choices.clone().cycle().skip(start).take(count) {
            let candidate = PortMapping { host, ..mapping };
            let ours = own.iter().any(|other| other.overlaps(&candidate));
            if ours || book.published.owner(&candidate).is_some() {
                continue;
            }
            match self.plane.reserve(endpoint, &candidate) {
                Ok(()) => return Ok(candidate),
                Err(PlaneError::Publish(PublishFailure::Taken { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(NetworkError::NoFreePort { from: *choices.start(), to: *choices.end() })
    }

    /// Reserves what an endpoint on record has published, and relays to it.
    pub(super) fn reserve_again(&self, book: &mut Book, endpoint: &Endpoint) -> Result<(), NetworkError> {
        let reserved = endpoint.ports.iter().try_for_each(|mapping| self.plane.reserve(endpoint, mapping));
        reserved.inspect_err(|_| self.plane.release(endpoint.id))?;
        self.relay(book, endpoint);
        Ok(())
    }

    /// Lets the host itself reach an endpoint by what is reserved for it.
    pub(super) fn relay(&self, book: &mut Book, endpoint: &Endpoint) {
        if !endpoint.ports.is_empty() {
            self.plane.relay(endpoint);
            book.relayed.insert(endpoint.id);
        }
    }

    /// How many ports are published.
    #[must_use]
    pub fn published(&self) -> usize {
        self.book().published.len()
    }
}

fn places(endpoint: &Endpoint, mapping: &PortMapping) -> Vec<(IpAddr, IpAddr)> {
    mapping.places(endpoint.addresses().iter().map(ipnet::IpNet::addr))
}
