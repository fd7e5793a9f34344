//! What can be asked for: the bodies of the API's two creating calls. Typed as far as the text alone can tell.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::{Driver, IfName, Name, PublishRequest};
use crate::sandbox::StaticRoute;

/// A network to create. Everything but the name has a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRequest {
    /// Its name.
    pub name: Name,
    /// What it is made of.
    #[serde(default)]
    pub driver: Driver,
    /// At most one subnet of each family; chosen when missing.
    #[serde(default)]
    pub subnets: Vec<IpNet>,
    /// At most one gateway for each of `subnets`; its first address when missing.
    #[serde(default)]
    pub gateways: Vec<IpAddr>,
    /// At most one part for each of `subnets` that addresses are chosen from; all of it when missing.
    #[serde(default)]
    pub ip_ranges: Vec<IpNet>,
    /// Addresses in `subnets` of things that Weft does not manage, by name; never given out.
    #[serde(default)]
    pub auxiliary: BTreeMap<Name, IpAddr>,
    /// The VNI of an overlay, below 2^24; chosen when missing.
    #[serde(default)]
    pub vni: Option<u32>,
    /// The MTU of its endpoints, in bytes.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// No way out: no default route.
    #[serde(default)]
    pub internal: bool,
    /// An IPv6 subnet even if `subnets` has none.
    #[serde(default)]
    pub ipv6: bool,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Network options ([`crate::model::parse_options`]).
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl NetworkRequest {
    /// A bridge network with everything left to Weft.
    #[must_use]
    pub fn new(name: Name) -> Self {
        Self {
            name,
            driver: Driver::Bridge,
            subnets: vec![],
            gateways: vec![],
            ip_ranges: vec![],
            auxiliary: BTreeMap::new(),
            vni: None,
            mtu: None,
            internal: false,
            ipv6: false,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }
    }
}

/// An endpoint to connect. Everything but the namespace has a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointRequest {
    /// The absolute path of a network namespace.
    pub netns: PathBuf,
    /// Its name; from `netns` when missing.
    #[serde(default)]
    pub name: Option<Name>,
    /// What the interface is called inside; the first free of `eth0`, `eth1`, ... when missing.
    #[serde(default)]
    pub ifname: Option<IfName>,
    /// Its IPv4 address; chosen when missing.
    #[serde(default)]
    pub ip: Option<Ipv4Addr>,
    /// Its IPv6 address; chosen when missing.
    #[serde(default)]
    pub ip6: Option<Ipv6Addr>,
    /// Its MAC address, `02:42` and the IPv4 address when missing.
    #[serde(default)]
    pub mac: Option<String>,
    /// The host's ports behind which it shall answer.
    #[serde(default)]
    pub publish: Vec<PublishRequest>,
    /// Its further names on the network.
    #[serde(default)]
    pub aliases: Vec<Name>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Routes out of its interface besides the default ones.
    #[serde(default)]
    pub routes: Vec<StaticRoute>,
}

impl EndpointRequest {
    /// An endpoint in the namespace at `netns` with everything else left to Weft.
    #[must_use]
    pub fn new(netns: impl Into<PathBuf>) -> Self {
        let (name, ifname) = (None, None);
        let (publish, aliases, labels, routes) = (vec![], vec![], BTreeMap::new(), vec![]);
        let (ip, ip6, mac) = (None, None, None);
        Self { netns: netns.into(), name, ifname, ip, ip6, mac, publish, aliases, labels, routes }
    }
}
