//! What is written: one document for each noun, and the way from the model and back.
//!
//! A field that is added, or that means something new, makes a new version; a build that does not know it must not
//! guess. Older versions are read for as long as there are stores that have them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weft_dataplane::tables::{PortId, SegmentId};
use weft_dataplane::wire::{MacAddr, Vni};

use super::envelope::{Document, moment, text};
use super::{CatalogError, Claim, Key, keys};
use crate::ipam::{Holder, Lease, Policy, PoolSpec, UlaPrefix};
use crate::model::{
    Driver, Endpoint, EndpointState, Id, IfName, Interface, Name, Network, PortsBy, PublishRequest, Sandbox,
    Subnet, parse_options,
};
use crate::sandbox::{Birth, NetnsId, StaticRoute};

/// Who owns what the document's key names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimDocument {
    /// The network or endpoint.
    pub owner: Id,
    /// Its name, for people.
    pub name: Name,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeDocument {
    /// Its identity.
    pub id: Id,
    /// Its name.
    pub name: Name,
    /// Its VTEP, if it has an underlay.
    pub vtep: Option<IpAddr>,
    /// Where its automatic IPv6 subnets come from.
    pub ula: UlaPrefix,
}

/// A pool of addresses that a container engine has asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolDocument {
    /// The subnet; no other pool of the store has it.
    pub net: IpNet,
    /// Where addresses are chosen from, if not from all of `net`.
    pub range: Option<IpNet>,
    /// How often it was asked for, and must be given back.
    pub times: u32,
    /// The gateway, once the engine has asked for it.
    pub gateway: Option<IpAddr>,
    /// The addresses that are out and no network has to account for.
    pub out: BTreeSet<IpAddr>,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkDocument {
    /// Its identity.
    pub id: Id,
    /// Its name.
    pub name: Name,
    /// What it is made of.
    pub driver: Driver,
    /// Its number in the dataplane; no other network of the store has it.
    pub segment: u32,
    /// Its VNI; `Some` exactly for overlays.
    pub vni: Option<u32>,
    /// The MTU of its endpoints, in bytes.
    pub mtu: u16,
    /// Whether it has no way out.
    pub internal: bool,
    /// IPv4 first.
    pub subnets: Vec<SubnetDocument>,
    /// `Some`: a container engine has made it; version 1 has none.
    #[serde(default)]
    pub engine: Option<PortsBy>,
    /// The options as they were given.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it was created, in nanoseconds since 1970.
    #[serde(with = "moment")]
    pub created: SystemTime,
    /// Whether it is being removed and takes no endpoint any more.
    pub closed: bool,
}

/// A subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetDocument {
    /// The range.
    pub net: IpNet,
    /// The gateway.
    pub gateway: IpAddr,
    /// Where addresses are chosen from, if not from all of `net`.
    pub range: Option<IpNet>,
    /// Addresses of things that Weft does not manage.
    pub auxiliary: BTreeMap<Name, IpAddr>,
    /// Which of the free addresses is chosen.
    pub policy: Policy,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointDocument {
    /// Its identity.
    pub id: Id,
    /// Its network.
    pub network: Id,
    /// The host it is on.
    pub node: Name,
    /// Its name.
    pub name: Name,
    /// Its further names; version 1 has none.
    #[serde(default)]
    pub aliases: Vec<Name>,
    /// Labels; versions 1 and 2 have none.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How far it has come.
    pub state: EndpointState,
    /// The path its namespace was named by.
    pub netns: PathBuf,
    /// Device and inode of the namespace; they mean nothing after a reboot.
    pub netns_id: (u64, u64),
    /// What tells the namespace from every other.
    pub netns_birth: Birth,
    /// What it has there, if its network gives interfaces.
    pub interface: Option<InterfaceDocument>,
    /// The host's ports behind which it answers, none of which is still to be chosen; version 1 has none.
    #[serde(default)]
    pub ports: Vec<PublishRequest>,
    /// When it was connected, in nanoseconds since 1970.
    #[serde(with = "moment")]
    pub created: SystemTime,
}

/// An endpoint's interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceDocument {
    /// Its number in its host's dataplane.
    pub port: u32,
    /// What it is called in its namespace.
    pub ifname: IfName,
    /// Its MAC address.
    #[serde(with = "text")]
    pub mac: MacAddr,
    /// Its addresses with their subnets' prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Its default routes.
    pub gateways: Vec<IpAddr>,
    /// Its other routes; versions 1 and 2 have none.
    #[serde(default)]
    pub routes: Vec<StaticRoute>,
}

macro_rules! documents {
    ($($type:ident $kind:literal $version:literal),*) => {$(
        impl Document for $type {
            const KIND: &'static str = $kind;
            const VERSION: u32 = $version;
        }
    )*};
}

documents!(
    ClaimDocument "claim" 1, NodeDocument "node" 1, PoolDocument "pool" 1, NetworkDocument "network" 2,
    EndpointDocument "endpoint" 3
);

impl NetworkDocument {
    /// The document of a network that is not being removed.
    #[must_use]
    pub fn of(network: &Network) -> Self {
        let subnet = |subnet: &Subnet| SubnetDocument {
            net: subnet.net,
            gateway: subnet.gateway,
            range: subnet.range,
            auxiliary: subnet.auxiliary.clone(),
            policy: Policy::of(network.driver),
        };
        Self {
            id: network.id,
            name: network.name.clone(),
            driver: network.driver,
            segment: network.segment.0,
            vni: network.vni.map(Vni::get),
            mtu: network.mtu,
            internal: network.internal,
            subnets: network.subnets.iter().map(subnet).collect(),
            engine: network.engine,
            options: network.given_options.clone(),
            labels: network.labels.clone(),
            created: network.created,
            closed: false,
        }
    }

    /// The network.
    ///
    /// # Errors
    /// [`CatalogError::Option`], or [`CatalogError::Unreadable`] for a VNI that is none.
    pub fn network(&self) -> Result<Network, CatalogError> {
        let vni = self.vni.map(Vni::new).transpose().map_err(|error| CatalogError::Unreadable {
            key: keys::network(self.id),
            what: error.to_string(),
        })?;
        let options = parse_options(&self.options)?;
        let subnet = |subnet: &SubnetDocument| Subnet {
            net: subnet.net,
            gateway: subnet.gateway,
            range: subnet.range,
            auxiliary: subnet.auxiliary.clone(),
        };
        Ok(Network {
            id: self.id,
            name: self.name.clone(),
            driver: self.driver,
            segment: SegmentId(self.segment),
            vni,
            mtu: self.mtu,
            internal: self.internal,
            subnets: self.subnets.iter().map(subnet).collect(),
            options: options.segment,
            gateway: options.gateway(self.driver, self.internal)?,
            engine: self.engine,
            given_options: self.options.clone(),
            labels: self.labels.clone(),
            created: self.created,
        })
    }

    /// What it has that nobody else may have, and where that stands.
    pub(super) fn claims(&self) -> Vec<(Key, Claim)> {
        let mut claims = vec![
            (keys::network_name(&self.name), Claim::NetworkName(self.name.clone())),
            (keys::segment(self.segment), Claim::Segment(self.segment)),
        ];
        claims.extend(self.vni.map(|vni| (keys::vni(vni), Claim::Vni(vni))));
        claims
    }

    pub(super) fn claim(&self) -> ClaimDocument {
        ClaimDocument { owner: self.id, name: self.name.clone() }
    }
}

impl SubnetDocument {
    /// What [`crate::ipam::Pool::restore`] wants to know of it.
    #[must_use]
    pub fn pool(&self) -> PoolSpec {
        PoolSpec {
            net: self.net,
            gateway: Some(self.gateway),
            range: self.range,
            auxiliary: self.auxiliary.clone(),
            policy: self.policy,
        }
    }
}

impl EndpointDocument {
    /// The document of an endpoint of `network` on the host `node`.
    #[must_use]
    pub fn of(endpoint: &Endpoint, network: Id, node: &Name) -> Self {
        Self {
            id: endpoint.id,
            network,
            node: node.clone(),
            name: endpoint.name.clone(),
            aliases: endpoint.aliases.clone(),
            labels: endpoint.labels.clone(),
            state: endpoint.state,
            netns: endpoint.sandbox.path.clone(),
            netns_id: (endpoint.sandbox.key.dev, endpoint.sandbox.key.ino),
            netns_birth: endpoint.sandbox.birth.clone(),
            interface: endpoint.interface.as_ref().map(InterfaceDocument::of),
            ports: PublishRequest::of(&endpoint.ports),
            created: endpoint.created,
        }
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        let (dev, ino) = self.netns_id;
        let key = NetnsId { dev, ino };
        Endpoint {
            id: self.id,
            name: self.name.clone(),
            aliases: self.aliases.clone(),
            labels: self.labels.clone(),
            state: self.state,
            sandbox: Sandbox { path: self.netns.clone(), key, birth: self.netns_birth.clone() },
            interface: self.interface.as_ref().map(InterfaceDocument::interface),
            ports: self.ports.iter().flat_map(PublishRequest::mappings).collect(),
            created: self.created,
        }
    }

    /// Its addresses, as [`crate::ipam::Pool::restore`] wants them.
    pub fn leases(&self) -> impl Iterator<Item = Lease> {
        let holder = || Holder { id: self.id, name: self.name.clone() };
        self.addresses().iter().map(move |net| Lease { address: net.addr(), holder: holder() })
    }

    /// What it has that nobody else on its network may have, and where that stands.
    pub(super) fn claims(&self) -> Vec<(Key, Claim)> {
        let name = (keys::endpoint_name(self.network, &self.name), Claim::EndpointName(self.name.clone()));
        let mac = self.interface.as_ref().map(|i| (keys::mac(self.network, i.mac), Claim::Mac(i.mac)));
        let address = |net: &IpNet| (keys::address(self.network, net.addr()), Claim::Address(net.addr()));
        std::iter::once(name).chain(self.addresses().iter().map(address)).chain(mac).collect()
    }

    fn addresses(&self) -> &[IpNet] {
        self.interface.as_ref().map_or(&[], |interface| &interface.addresses)
    }

    pub(super) fn claim(&self) -> ClaimDocument {
        ClaimDocument { owner: self.id, name: self.name.clone() }
    }
}

impl InterfaceDocument {
    fn of(interface: &Interface) -> Self {
        Self {
            port: interface.port.0,
            ifname: interface.ifname.clone(),
            mac: interface.mac,
            addresses: interface.addresses.clone(),
            gateways: interface.gateways.clone(),
            routes: interface.routes.clone(),
        }
    }

    fn interface(&self) -> Interface {
        Interface {
            port: PortId(self.port),
            ifname: self.ifname.clone(),
            mac: self.mac,
            addresses: self.addresses.clone(),
            gateways: self.gateways.clone(),
            routes: self.routes.clone(),
        }
    }
}
