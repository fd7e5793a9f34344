//! Everything in a store, read and compared with itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::documents::{ClaimDocument, EndpointDocument, NetworkDocument, NodeDocument, PoolDocument};
use super::{CatalogError, Claim, Key, decode, keys};
use crate::ipam::Lease;
use crate::model::Id;
use crate::store::Revision;

/// What a store holds at one moment, each kind by its key.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The moment; a watch goes on from here.
    pub revision: Revision,
    /// The hosts.
    pub nodes: Vec<NodeDocument>,
    /// The networks.
    pub networks: Vec<NetworkDocument>,
    /// The pools that container engines have asked for.
    pub pools: Vec<PoolDocument>,
    /// The endpoints of all networks, by network.
    pub endpoints: Vec<EndpointDocument>,
    /// What does not fit together. Transactions leave nothing of the kind; hands and bugs may.
    pub strays: Vec<Stray>,
}

impl Contents {
    /// The endpoints of a network.
    #[must_use]
    pub fn endpoints_of(&self, network: Id) -> &[EndpointDocument] {
        let first = self.endpoints.partition_point(|endpoint| endpoint.network < network);
        let rest = &self.endpoints[first..];
        &rest[..rest.partition_point(|endpoint| endpoint.network == network)]
    }

    /// Who has which address of a network, all subnets together.
    pub fn leases_of(&self, network: Id) -> impl Iterator<Item = Lease> {
        self.endpoints_of(network).iter().flat_map(EndpointDocument::leases)
    }
}

/// Something in a store that does not fit the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stray {
    /// A key that no document of this build stands at.
    Unknown(Key),
    /// A document that stands at another's key.
    Misplaced(Key),
    /// An endpoint whose network is not there.
    Homeless(Key),
    /// Something that an owner has without a claim, or with a claim of another.
    Unclaimed(Key, Claim),
    /// A claim whose owner does not exist, or does not have it.
    Ownerless(Key),
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(key) => write!(f, "nobody knows what '{key}' is"),
            Self::Misplaced(key) => write!(f, "what stands at '{key}' belongs elsewhere"),
            Self::Homeless(key) => write!(f, "the network of '{key}' is not there"),
            Self::Unclaimed(key, claim) => write!(f, "{claim} is in use, and '{key}' does not say so"),
            Self::Ownerless(key) => write!(f, "'{key}' says that it is in use, and it is not"),
        }
    }
}

/// Reads `documents`, which are all there are, in the order of their keys.
pub(in crate::store) fn read<'a>(
    documents: impl Iterator<Item = (&'a Key, &'a [u8])>,
    revision: Revision,
) -> Result<Contents, CatalogError> {
    let mut contents = Contents { revision, ..Contents::default() };
    let mut claims: BTreeMap<&Key, ClaimDocument> = BTreeMap::new();
    for (key, bytes) in documents {
        let segments: Vec<_> = key.segments().collect();
        let at_home = match segments.as_slice() {
            ["nodes", name] => {
                let node: NodeDocument = decode(key, bytes)?;
                let at_home = node.name.as_str() == *name;
                contents.nodes.push(node);
                at_home
            }
            ["networks", id] => {
                let network: NetworkDocument = decode(key, bytes)?;
                let at_home = network.id.to_string() == *id;
                contents.networks.push(network);
                at_home
            }
            ["pools", ..] => {
                let pool: PoolDocument = decode(key, bytes)?;
                let at_home = keys::pool(pool.net) == *key;
                contents.pools.push(pool);
                at_home
            }
            ["endpoints", network, id] => {
                let endpoint: EndpointDocument = decode(key, bytes)?;
                let at_home = endpoint.network.to_string() == *network && endpoint.id.to_string() == *id;
                contents.endpoints.push(endpoint);
                at_home
            }
            ["names", "networks", _]
            | ["names", "endpoints", _, _]
            | ["segments" | "vnis", _]
            | ["addresses" | "macs", _, _] => {
                claims.insert(key, decode(key, bytes)?);
                true
            }
            _ => {
                contents.strays.push(Stray::Unknown(key.clone()));
                true
            }
        };
        if !at_home {
            contents.strays.push(Stray::Misplaced(key.clone()));
        }
    }
    contents.endpoints.sort_by_key(|endpoint| (endpoint.network, endpoint.id));
    compare(&mut contents, claims);
    Ok(contents)
}

/// Finds what does not fit together.
fn compare(contents: &mut Contents, mut claims: BTreeMap<&Key, ClaimDocument>) {
    let networks = contents.networks.iter().map(|network| (network.id, network.claims()));
    let endpoints = contents.endpoints.iter().map(|endpoint| (endpoint.id, endpoint.claims()));
    let mut strays = Vec::new();
    for (owner, owned) in networks.chain(endpoints) {
        for (key, claim) in owned {
            if claims.get(&key).is_some_and(|claim| claim.owner == owner) {
                claims.remove(&key);
            } else {
                strays.push(Stray::Unclaimed(key, claim));
            }
        }
    }
    let known: BTreeSet<Id> = contents.networks.iter().map(|network| network.id).collect();
    let homeless = contents.endpoints.iter().filter(|endpoint| !known.contains(&endpoint.network));
    strays.extend(homeless.map(|e| Stray::Homeless(keys::endpoint(e.network, e.id))));
    strays.extend(claims.into_keys().cloned().map(Stray::Ownerless));
    contents.strays.extend(strays);
}
