//! One network as the book has it.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;
use weft_dataplane::tables::PortId;
use weft_dataplane::wire::MacAddr;

use crate::ipam::Pool;
use crate::model::{Endpoint, Id, Name, Network};
use crate::network::NetworkError;

/// A network with its addresses and endpoints.
#[derive(Debug)]
pub(in super::super) struct Record {
    pub(in super::super) network: Network,
    /// One for each of the network's subnets, in their order.
    pub(in super::super) pools: Vec<Pool>,
    /// The port of the host's leg, once it has one.
    pub(in super::super) host: Option<PortId>,
    /// Whether it is being removed.
    pub(in super::super) closed: bool,
    pub(super) endpoints: BTreeMap<Name, Endpoint>,
    pub(super) macs: HashMap<MacAddr, Name>,
}

impl Record {
    /// A network without endpoints.
    pub(in super::super) fn new(network: Network, pools: Vec<Pool>) -> Self {
        let host = None;
        Self { network, pools, host, closed: false, endpoints: BTreeMap::new(), macs: HashMap::new() }
    }

    /// Its endpoints, by name.
    pub(in super::super) fn endpoints(&self) -> impl ExactSizeIterator<Item = &Endpoint> {
        self.endpoints.values()
    }

    /// The endpoint of this name.
    pub(in super::super) fn named(&self, name: &Name) -> Option<&Endpoint> {
        self.endpoints.get(name)
    }

    /// The endpoint of exactly this identity.
    pub(in super::super) fn with_id(&self, id: Id) -> Option<&Endpoint> {
        self.endpoints.values().find(|endpoint| endpoint.id == id)
    }

    /// The endpoint that has this MAC.
    pub(in super::super) fn with_mac(&self, mac: MacAddr) -> Option<&Name> {
        self.macs.get(&mac)
    }

    /// The endpoint that `key` names: by name, by id, or by the first digits of an id (12 or more).
    pub(in super::super) fn endpoint(&self, key: &str) -> Result<&Endpoint, NetworkError> {
        let by_name = Name::new(key).ok().and_then(|name| self.endpoints.get(&name));
        if let Some(endpoint) = by_name {
            return Ok(endpoint);
        }
        let by_id = one_by_id(key, self.endpoints.values(), |endpoint| endpoint.id);
        let network = Some(self.network.name.clone());
        by_id.ok_or_else(|| NetworkError::NoEndpoint { key: key.into(), network })
    }

    /// Frees those of `addresses` that the endpoint `holder` has.
    pub(in super::super) fn release(&mut self, addresses: &[IpNet], holder: Id) {
        for pool in &mut self.pools {
            for address in addresses {
                pool.release(address.addr(), holder);
            }
        }
    }
}

/// The item whose id `key` is, or begins: at least the digits that tables show, since a short name may well be
/// hexadecimal and must not hit somebody else's id.
pub(super) fn one_by_id<'a, T>(
    key: &str,
    mut items: impl Iterator<Item = &'a T>,
    id: impl Fn(&T) -> Id,
) -> Option<&'a T> {
    if key.len() < Id::SHORT_LEN { None } else { items.find(|item| id(item).starts_with(key)) }
}
