//! The manager's memory: which networks and endpoints there are. It answers questions and changes nothing outside.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use weft_dataplane::tables::{PortId, PortSpec, SegmentId, SegmentSpec, TablesSpec};
use weft_dataplane::wire::Vni;

use super::NetworkError;
use crate::ipam::Pool;
use crate::model::{Endpoint, Id, IfName, Name, Network};
use crate::sandbox::NetnsId;

/// A network with its addresses and endpoints.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) network: Network,
    /// One for each of the network's subnets, in their order.
    pub(super) pools: Vec<Pool>,
    pub(super) endpoints: BTreeMap<Name, Endpoint>,
}

/// All networks.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) networks: BTreeMap<Name, Record>,
    /// Nothing may be added any more.
    pub(super) closed: bool,
    last_segment: u32,
    last_port: u32,
}

impl Book {
    /// The network that `key` names: by name, by id, or by the first digits of an id (12 or more).
    pub(super) fn find(&self, key: &str) -> Result<&Record, NetworkError> {
        let by_name = Name::new(key).ok().and_then(|name| self.networks.get(&name));
        if let Some(record) = by_name {
            return Ok(record);
        }
        let by_id = one_by_id(key, self.networks.values(), |record| record.network.id);
        by_id.ok_or_else(|| NetworkError::NoNetwork { key: key.into() })
    }

    /// As [`Book::find`], to be changed.
    pub(super) fn find_mut(&mut self, key: &str) -> Result<&mut Record, NetworkError> {
        let name = self.find(key)?.network.name.clone();
        self.networks.get_mut(&name).ok_or_else(|| NetworkError::NoNetwork { key: key.into() })
    }

    /// Every endpoint with its network.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (&Record, &Endpoint)> {
        self.networks.values().flat_map(|record| record.endpoints.values().map(move |e| (record, e)))
    }

    /// The endpoint behind a port.
    pub(super) fn behind(&self, port: PortId) -> Option<(&Record, &Endpoint)> {
        self.endpoints().find(|(_, endpoint)| endpoint.port == port)
    }

    /// The first of `eth0`, `eth1`, ... that no endpoint of ours has in the sandbox.
    pub(super) fn free_ifname(&self, sandbox: NetnsId) -> IfName {
        let taken: Vec<_> =
            self.endpoints().filter(|(_, e)| e.sandbox.key == sandbox).map(|(_, e)| &e.ifname).collect();
        let mut numbers = 0..;
        let free = numbers.find_map(|n| Some(IfName::eth(n)).filter(|name| !taken.contains(&name)));
        free.unwrap_or_else(|| IfName::eth(0))
    }

    /// Whether endpoints of ours have given the sandbox a default route of IPv4, of IPv6: a namespace on several networks
    /// keeps the first.
    pub(super) fn routed(&self, sandbox: NetnsId) -> [bool; 2] {
        let inside = self.endpoints().filter(|(_, e)| e.sandbox.key == sandbox);
        let gateways: Vec<_> = inside.flat_map(|(_, e)| &e.gateways).collect();
        [gateways.iter().any(|g| g.is_ipv4()), gateways.iter().any(|g| g.is_ipv6())]
    }

    /// A number that no segment ever had.
    pub(super) fn next_segment(&mut self) -> Result<SegmentId, NetworkError> {
        self.last_segment = self.last_segment.checked_add(1).ok_or(NetworkError::OutOfIds)?;
        Ok(SegmentId(self.last_segment))
    }

    /// A number that no port ever had.
    pub(super) fn next_port(&mut self) -> Result<PortId, NetworkError> {
        self.last_port = self.last_port.checked_add(1).ok_or(NetworkError::OutOfIds)?;
        Ok(PortId(self.last_port))
    }

    /// The network that has this VNI.
    pub(super) fn with_vni(&self, vni: Vni) -> Option<&Network> {
        self.networks.values().map(|record| &record.network).find(|network| network.vni == Some(vni))
    }

    /// What the dataplane shall know. Every overlay reaches every peer.
    pub(super) fn tables(&self, peers: &[IpAddr]) -> TablesSpec {
        let segments = self.networks.values().map(|Record { network, .. }| SegmentSpec {
            id: network.segment,
            vni: network.vni,
            mtu: network.mtu,
            options: network.options,
            vteps: if network.vni.is_some() { peers.to_vec() } else { vec![] },
        });
        let ports = self.endpoints().map(|(record, endpoint)| PortSpec {
            id: endpoint.port,
            segment: record.network.segment,
            mac: endpoint.mac,
            addresses: endpoint.addresses.iter().map(|net| net.addr()).collect(),
        });
        TablesSpec { segments: segments.collect(), ports: ports.collect() }
    }
}

impl Record {
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

    /// Takes an endpoint out and frees its addresses.
    pub(super) fn remove(&mut self, name: &Name) -> Option<Endpoint> {
        let endpoint = self.endpoints.remove(name)?;
        self.release(&endpoint.addresses, endpoint.id);
        Some(endpoint)
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

/// The item whose id `key` is, or begins: at least the digits that tables show, since a short name may well be
/// hexadecimal and must not hit somebody else's id.
fn one_by_id<'a, T>(
    key: &str,
    mut items: impl Iterator<Item = &'a T>,
    id: impl Fn(&T) -> Id,
) -> Option<&'a T> {
    if key.len() < Id::SHORT_LEN { None } else { items.find(|item| id(item).to_string().starts_with(key)) }
}
