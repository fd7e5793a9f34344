//! The manager's memory: which networks and endpoints there are. It answers questions and changes nothing outside.
//!
//! What connecting asks of it takes a logarithm of what is there: ports, MACs and sandboxes have indexes, which is why
//! networks and endpoints come and go through the few functions that keep them.

mod endpoints;
mod record;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use weft_dataplane::gateway::GatewaySpec;
use weft_dataplane::tables::{PortId, PortKind, PortSpec, SegmentId, SegmentSpec, TablesSpec};
use weft_dataplane::wire::{Prefix, Vni};

use super::lent::Lent;
use super::plane::ServedPort;
use super::ports::{self, PortIndex};
use super::recover::Troubles;
use super::{NetworkError, leg};
use crate::model::{Endpoint, Id, IfName, Interface, Name, Network, Subnet};
use crate::sandbox::NetnsId;
pub(super) use record::Record;
use record::one_by_id;

/// All networks.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Nothing may be added any more.
    pub(super) closed: bool,
    /// The ports that the packet side serves for endpoints of this book.
    pub(super) serving: BTreeSet<PortId>,
    /// Ports whose TAP was lost. Late news of one must not hit its successor, so that gets another number.
    pub(super) spent: BTreeSet<PortId>,
    /// Ports that an adopted packet process serves for nobody here.
    pub(super) strangers: Vec<ServedPort>,
    /// The endpoints whose published ports are reserved and relayed.
    pub(super) relayed: BTreeSet<Id>,
    /// Which endpoint publishes what.
    pub(super) published: PortIndex,
    /// The pools that container engines have asked for.
    pub(super) lent: Lent,
    /// Since which round of reconciliation endpoints are offered.
    pub(super) offered: BTreeMap<Id, u64>,
    /// What could not be set right yet.
    pub(super) troubles: Troubles,
    networks: BTreeMap<Name, Record>,
    vnis: BTreeMap<Vni, Name>,
    ports: HashMap<PortId, (Name, Name)>,
    sandboxes: HashMap<NetnsId, Vec<Interface>>,
    endpoints: usize,
    last_segment: u32,
    last_port: u32,
}

impl Book {
    /// A book that gives out only numbers above these.
    pub(super) fn after(segment: u32, port: u32) -> Self {
        Self { last_segment: segment, last_port: port, ..Self::default() }
    }

    /// All networks, by name.
    pub(super) fn networks(&self) -> impl Iterator<Item = &Record> {
        self.networks.values()
    }

    /// How many networks there are.
    pub(super) fn network_count(&self) -> usize {
        self.networks.len()
    }

    /// The network of this name.
    pub(super) fn named(&self, name: &Name) -> Option<&Record> {
        self.networks.get(name)
    }

    /// As [`Book::named`], to be changed.
    pub(super) fn named_mut(&mut self, name: &Name) -> Option<&mut Record> {
        self.networks.get_mut(name)
    }

    /// The network that `key` names: by name, by id, or by the first digits of an id (12 or more).
    pub(super) fn find(&self, key: &str) -> Result<&Record, NetworkError> {
        let by_name = Name::new(key).ok().and_then(|name| self.networks.get(&name));
        if let Some(record) = by_name {
            return Ok(record);
        }
        let by_id = one_by_id(key, self.networks.values(), |record| record.network.id);
        by_id.ok_or_else(|| NetworkError::NoNetwork { key: key.into() })
    }

    /// The network of exactly this identity.
    pub(super) fn with_id(&self, id: Id) -> Option<&Record> {
        self.networks.values().find(|record| record.network.id == id)
    }

    /// The network of exactly this identity, if an engine has made it.
    pub(super) fn of_engine(&self, id: Id) -> Option<&Record> {
        self.with_id(id).filter(|record| record.network.engine.is_some())
    }

    /// Enters a network without endpoints.
    pub(super) fn insert_network(&mut self, record: Record) {
        let name = record.network.name.clone();
        self.vnis.extend(record.network.vni.map(|vni| (vni, name.clone())));
        self.networks.insert(name, record);
    }

    /// Takes out a network without endpoints.
    pub(super) fn remove_network(&mut self, name: &Name) {
        let Some(Record { network, .. }) = self.networks.remove(name) else { return };
        self.troubles.settle(network.id);
        network.vni.into_iter().for_each(|vni| drop(self.vnis.remove(&vni)));
    }

    /// Every endpoint with its network.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (&Record, &Endpoint)> {
        self.networks.values().flat_map(|record| record.endpoints.values().map(move |e| (record, e)))
    }

    /// How many endpoints there are.
    pub(super) fn endpoint_count(&self) -> usize {
        self.endpoints
    }

    /// The endpoint behind a port.
    pub(super) fn behind(&self, port: PortId) -> Option<(&Record, &Endpoint)> {
        let (network, name) = self.ports.get(&port)?;
        let record = self.networks.get(network)?;
        record.endpoints.get(name).map(|endpoint| (record, endpoint))
    }

    /// The network whose leg this port is.
    pub(super) fn with_leg(&mut self, port: PortId) -> Option<&mut Record> {
        self.networks.values_mut().find(|record| record.host == Some(port))
    }

    /// The first of `eth0`, `eth1`, ... that no endpoint of ours has in the sandbox.
    pub(super) fn free_ifname(&self, sandbox: NetnsId) -> IfName {
        let taken = |name: &IfName| self.interfaces_in(sandbox).any(|interface| interface.ifname == *name);
        let mut names = (0..).map(IfName::eth);
        names.find(|name| !taken(name)).unwrap_or_else(|| IfName::eth(0))
    }

    /// Whether endpoints of ours have given the sandbox a default route of IPv4, of IPv6: a namespace on several networks
    /// keeps the first.
    pub(super) fn routed(&self, sandbox: NetnsId) -> [bool; 2] {
        let mut gateways = self.interfaces_in(sandbox).flat_map(|interface| &interface.gateways);
        let of = |ipv6: bool| gateways.any(|gateway| gateway.is_ipv6() == ipv6);
        [false, true].map(of)
    }

    fn interfaces_in(&self, sandbox: NetnsId) -> impl Iterator<Item = &Interface> + Clone {
        self.sandboxes.get(&sandbox).into_iter().flatten()
    }

    /// A number that no network of this book ever had.
    pub(super) fn next_segment(&mut self) -> Result<SegmentId, NetworkError> {
        self.last_segment = self.last_segment.checked_add(1).ok_or(NetworkError::OutOfIds)?;
        Ok(SegmentId(self.last_segment))
    }

    /// A number that no port of this book ever had.
    pub(super) fn next_port(&mut self) -> Result<PortId, NetworkError> {
        self.last_port = self.last_port.checked_add(1).ok_or(NetworkError::OutOfIds)?;
        Ok(PortId(self.last_port))
    }

    /// Never gives out `port`, nor any below it.
    pub(super) fn skip_port(&mut self, port: PortId) {
        self.last_port = self.last_port.max(port.0);
    }

    /// The name of the network that has this VNI.
    pub(super) fn with_vni(&self, vni: Vni) -> Option<&Name> {
        self.vnis.get(&vni)
    }

    /// What the dataplane shall know. Every overlay reaches every peer.
    pub(super) fn tables(&self, peers: &[IpAddr]) -> TablesSpec {
        let switched = self.networks.values().filter(|record| record.network.driver.has_interfaces());
        let segments = switched.map(|Record { network, host, .. }| SegmentSpec {
            id: network.segment,
            vni: network.vni,
            mtu: network.mtu,
            options: network.options,
            vteps: if network.vni.is_some() { peers.to_vec() } else { vec![] },
            gateway: gateway(network, *host),
        });
        let port = |(record, endpoint): (&Record, &Endpoint)| {
            let interface = endpoint.interface.as_ref()?;
            Some(PortSpec {
                id: interface.port,
                kind: PortKind::Endpoint,
                segment: record.network.segment,
                mac: interface.mac,
                addresses: interface.addresses.iter().map(|net| net.addr()).collect(),
            })
        };
        let legs = self.networks.values().filter_map(|r| Some(leg::port(&r.network, r.host?)));
        let ports = self.endpoints().filter_map(port).chain(legs).collect();
        let published = self.endpoints().flat_map(|(_, endpoint)| ports::rules(endpoint)).collect();
        TablesSpec { segments: segments.collect(), ports, published }
    }
}

/// The gateway of a network that has one.
fn gateway(network: &Network, host: Option<PortId>) -> Option<GatewaySpec> {
    let options = network.gateway?;
    let subnet = |subnet: &Subnet| {
        Some((Prefix::new(subnet.net.addr(), subnet.net.prefix_len()).ok()?, subnet.gateway))
    };
    let subnets = network.subnets.iter().filter_map(subnet).collect();
    Some(GatewaySpec { subnets, nat: options.nat, filtering: options.filtering, host })
}
