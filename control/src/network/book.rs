//! The manager's memory: which networks and endpoints there are. It answers questions and changes nothing outside.
//!
//! What connecting asks of it takes a logarithm of what is there: ports, MACs and sandboxes have indexes, which is why
//! networks and endpoints come and go through the few functions that keep them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use weft_dataplane::gateway::GatewaySpec;
use weft_dataplane::tables::{PortId, PortKind, PortSpec, SegmentId, SegmentSpec, TablesSpec};
use weft_dataplane::wire::{MacAddr, Prefix, Vni};

use super::lent::Lent;
use super::plane::ServedPort;
use super::ports::{self, PortIndex};
use super::recover::Troubles;
use super::{NetworkError, leg};
use crate::ipam::Pool;
use crate::model::{Endpoint, EndpointState, Id, IfName, Interface, Name, Network, Subnet};
use crate::sandbox::NetnsId;

/// A network with its addresses and endpoints.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) network: Network,
    /// One for each of the network's subnets, in their order.
    pub(super) pools: Vec<Pool>,
    /// The port of the host's leg, once it has one.
    pub(super) host: Option<PortId>,
    /// Whether it is being removed.
    pub(super) closed: bool,
    endpoints: BTreeMap<Name, Endpoint>,
    macs: HashMap<MacAddr, Name>,
}

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

    /// Enters an endpoint, whose addresses the network's pools have given out.
    pub(super) fn insert_endpoint(&mut self, network: &Name, endpoint: Endpoint) {
        let Some(record) = self.networks.get_mut(network) else { return };
        if let Some(interface) = &endpoint.interface {
            record.macs.insert(interface.mac, endpoint.name.clone());
            self.ports.insert(interface.port, (network.clone(), endpoint.name.clone()));
        }
        record.endpoints.insert(endpoint.name.clone(), endpoint.clone());
        self.index(network, &endpoint);
        self.endpoints += 1;
    }

    /// Takes out an endpoint and frees its addresses.
    pub(super) fn remove_endpoint(&mut self, network: &Name, name: &Name) {
        let Some(record) = self.networks.get_mut(network) else { return };
        let Some(endpoint) = record.endpoints.remove(name) else { return };
        if let Some(interface) = &endpoint.interface {
            record.release(&interface.addresses, endpoint.id);
            record.macs.remove(&interface.mac);
        }
        self.endpoints -= 1;
        self.unindex(network, &endpoint);
        self.troubles.settle(endpoint.id);
        self.relayed.remove(&endpoint.id);
        self.offered.remove(&endpoint.id);
        if let Some(interface) = &endpoint.interface {
            self.ports.remove(&interface.port);
            self.serving.remove(&interface.port);
            self.spent.remove(&interface.port);
        }
    }

    /// Enters what an endpoint publishes and where it stands, which may change while it is there. An offered one stands
    /// nowhere yet.
    fn index(&mut self, network: &Name, endpoint: &Endpoint) {
        self.published.insert(network, endpoint);
        if endpoint.state == EndpointState::Offered {
            let round = self.troubles.round();
            self.offered.entry(endpoint.id).or_insert(round);
        } else if let Some(interface) = &endpoint.interface {
            self.sandboxes.entry(endpoint.sandbox.key).or_default().push(interface.clone());
        }
    }

    fn unindex(&mut self, network: &Name, endpoint: &Endpoint) {
        self.published.remove(network, endpoint);
        let Some(interface) = &endpoint.interface else { return };
        let Some(inside) = self.sandboxes.get_mut(&endpoint.sandbox.key) else { return };
        inside.retain(|other| other.port != interface.port);
        if inside.is_empty() {
            self.sandboxes.remove(&endpoint.sandbox.key);
        }
    }

    /// Changes an endpoint in what it has not claimed: state, sandbox, interface name, routes, published ports.
    pub(super) fn change_endpoint(
        &mut self,
        network: &Name,
        name: &Name,
        change: impl FnOnce(&mut Endpoint),
    ) {
        let known = self.networks.get(network).and_then(|record| record.endpoints.get(name));
        let Some(mut endpoint) = known.cloned() else { return };
        self.unindex(network, &endpoint);
        change(&mut endpoint);
        if endpoint.state != EndpointState::Offered {
            self.offered.remove(&endpoint.id);
        }
        self.index(network, &endpoint);
        let record = self.networks.get_mut(network);
        record.into_iter().for_each(|record| drop(record.endpoints.insert(name.clone(), endpoint.clone())));
    }

    /// Says that an endpoint is connected.
    pub(super) fn attached(&mut self, network: &Name, name: &Name) {
        self.change_endpoint(network, name, |endpoint| endpoint.state = EndpointState::Attached);
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

    /// Gives an endpoint's interface another port.
    pub(super) fn renumber(&mut self, network: &Name, name: &Name, port: PortId) {
        let known = self.networks.get(network).and_then(|record| record.endpoints.get(name));
        let Some(old) = known.and_then(Endpoint::port) else { return };
        self.change_endpoint(network, name, |endpoint| {
            endpoint.interface.iter_mut().for_each(|interface| interface.port = port);
        });
        self.spent.remove(&old);
        self.ports.remove(&old);
        self.ports.insert(port, (network.clone(), name.clone()));
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

impl Record {
    /// A network without endpoints.
    pub(super) fn new(network: Network, pools: Vec<Pool>) -> Self {
        let host = None;
        Self { network, pools, host, closed: false, endpoints: BTreeMap::new(), macs: HashMap::new() }
    }

    /// Its endpoints, by name.
    pub(super) fn endpoints(&self) -> impl ExactSizeIterator<Item = &Endpoint> {
        self.endpoints.values()
    }

    /// The endpoint of this name.
    pub(super) fn named(&self, name: &Name) -> Option<&Endpoint> {
        self.endpoints.get(name)
    }

    /// The endpoint of exactly this identity.
    pub(super) fn with_id(&self, id: Id) -> Option<&Endpoint> {
        self.endpoints.values().find(|endpoint| endpoint.id == id)
    }

    /// The endpoint that has this MAC.
    pub(super) fn with_mac(&self, mac: MacAddr) -> Option<&Name> {
        self.macs.get(&mac)
    }

    /// The endpoint that `key` names: by name, by id, or by the first digits of an id (12 or more).
    pub(super) fn endpoint(&self, key: &str) -> Result<&Endpoint, NetworkError> {
        let by_name = Name::new(key).ok().and_then(|name| self.endpoints.get(&name));
        if let Some(endpoint) = by_name {
            return Ok(endpoint);
        }
        let by_id = one_by_id(key, self.endpoints.values(), |endpoint| endpoint.id);
        let network = Some(self.network.name.clone());
        by_id.ok_or_else(|| NetworkError::NoEndpoint { key: key.into(), network })
    }

    /// Frees those of `addresses` that the endpoint `holder` has.
    pub(super) fn release(&mut self, addresses: &[IpNet], holder: Id) {
        for pool in &mut self.pools {
            for address in addresses {
                pool.release(address.addr(), holder);
            }
        }
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

/// The item whose id `key` is, or begins: at least the digits that tables show, since a short name may well be
/// hexadecimal and must not hit somebody else's id.
fn one_by_id<'a, T>(
    key: &str,
    mut items: impl Iterator<Item = &'a T>,
    id: impl Fn(&T) -> Id,
) -> Option<&'a T> {
    if key.len() < Id::SHORT_LEN { None } else { items.find(|item| id(item).starts_with(key)) }
}
