//! Why the manager refused.

mod explain;

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use weft_dataplane::runtime::capture::CAPTURES_MAX;

use super::{ENDPOINTS_MAX, LEASES_MAX, NETWORKS_MAX, POOLS_MAX, PlaneError};
use crate::ipam::IpamError;
use crate::model::{Driver, Name, NameError, OptionError, PortMapping};
use crate::sandbox::StaticRoute;
use crate::store::TransferError;
use crate::store::catalog::CatalogError;

/// Why a network or an endpoint could not be had.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No network of this name or id.
    #[error("there is no network '{key}'")]
    NoNetwork {
        /// What was asked for.
        key: String,
    },
    /// No endpoint of this name or id.
    #[error("there is no endpoint '{key}'{}", network.as_ref().map(|n| format!(" on network '{n}'")).unwrap_or_default())]
    NoEndpoint {
        /// What was asked for.
        key: String,
        /// Where it was looked for, if not everywhere.
        network: Option<Name>,
    },
    /// The name of endpoints on more than one network, where one is needed.
    #[error("there is an endpoint '{key}' on several networks")]
    OnSeveralNetworks {
        /// What was asked for.
        key: String,
    },
    /// No more captures.
    #[error("there are {CAPTURES_MAX} captures running, which is the limit")]
    TooManyCaptures,
    /// A network of this name exists.
    #[error("the network '{name}' exists already")]
    NetworkExists {
        /// The name.
        name: Name,
    },
    /// An endpoint of this name exists on the network.
    #[error("the endpoint '{name}' exists already on network '{network}'")]
    EndpointExists {
        /// The name.
        name: Name,
        /// The network.
        network: Name,
    },
    /// The namespace's path yields no legal endpoint name.
    #[error("cannot make an endpoint name of '{}': {source}", netns.display())]
    Unnameable {
        /// The namespace.
        netns: PathBuf,
        /// The law that is broken.
        source: NameError,
    },
    /// A path that depends on somebody's current directory.
    #[error("the namespace path '{}' is not absolute", netns.display())]
    RelativePath {
        /// The path.
        netns: PathBuf,
    },
    /// An overlay on a host without an underlay.
    #[error("an overlay needs an underlay, and this daemon has none")]
    NoUnderlay,
    /// A VNI for a network that stays on one host.
    #[error("VNI {vni} makes no sense on a bridge network")]
    VniOnBridge {
        /// The VNI.
        vni: u32,
    },
    /// A number of more than 24 bits.
    #[error("VNI {vni} is out of range")]
    BadVni {
        /// The number.
        vni: u32,
    },
    /// The VNI is in use.
    #[error("VNI {vni} belongs to network '{network}'")]
    VniTaken {
        /// The VNI.
        vni: u32,
        /// Its network.
        network: Name,
    },
    /// An MTU that no endpoint can have.
    #[error("the MTU {mtu} is out of range")]
    BadMtu {
        /// The MTU in bytes.
        mtu: u32,
        /// Whether IPv6 runs over it.
        ipv6: bool,
    },
    /// An MTU whose encapsulated packets would not cross the underlay.
    #[error("the MTU {mtu} is too large for the underlay: its MTU {underlay} leaves {max} after VXLAN")]
    MtuOverUnderlay {
        /// The MTU in bytes.
        mtu: u32,
        /// The underlay's MTU in bytes.
        underlay: u32,
        /// The largest possible one in bytes.
        max: u32,
    },
    /// A network that every host has.
    #[error("{name} is a pre-defined network and cannot be removed")]
    Predefined {
        /// The name.
        name: Name,
    },
    /// Something that only networks with interfaces have.
    #[error("{what} makes no sense on a network of the driver '{driver}'")]
    NotOnDriver {
        /// The option.
        what: &'static str,
        /// The driver.
        driver: Driver,
    },
    /// Another namespace than the host's on a network of the driver `host`.
    #[error("'{}' is not the host's own namespace, and network '{network}' has no other", netns.display())]
    NotTheHost {
        /// The namespace.
        netns: PathBuf,
        /// The network.
        network: Name,
    },
    /// An endpoint of a network without interfaces, where a port is needed.
    #[error("the endpoint '{key}' has no interface")]
    NoInterface {
        /// What was asked for.
        key: String,
    },
    /// More than [`SUBNETS_MAX`](super::SUBNETS_MAX) subnets.
    #[error("{count} subnets are too many for one network")]
    TooManySubnets {
        /// How many.
        count: usize,
    },
    /// Two subnets with common addresses.
    #[error("the subnets {first} and {second} overlap")]
    SubnetsOverlap {
        /// The first.
        first: IpNet,
        /// The second.
        second: IpNet,
    },
    /// A gateway or a range without its subnet.
    #[error("{what} {value} belongs to no subnet of this network")]
    NoSubnetFor {
        /// `the gateway` or `the range`.
        what: &'static str,
        /// Which.
        value: String,
    },
    /// A second gateway for one subnet.
    #[error("the subnet {net} has two gateways")]
    TwoGateways {
        /// The subnet.
        net: IpNet,
    },
    /// A second range of one subnet.
    #[error("the subnet {net} has two ranges")]
    TwoRanges {
        /// The subnet.
        net: IpNet,
    },
    /// The subnet holds addresses of the underlay.
    #[error("the subnet {net} overlaps the underlay's {underlay}")]
    UnderlayOverlap {
        /// The subnet.
        net: IpNet,
        /// What of the underlay.
        underlay: IpNet,
    },
    /// The host would lose what it has in the subnet.
    #[error("the subnet {net} has the host's own {host} in it")]
    HostOverlap {
        /// The subnet.
        net: IpNet,
        /// An address or a route of the host.
        host: IpNet,
    },
    /// An address of a family the network has no subnet for.
    #[error("the network '{network}' has no {} subnet for {address}", if address.is_ipv4() { "IPv4" } else { "IPv6" })]
    NoFamily {
        /// The address.
        address: IpAddr,
        /// The network.
        network: Name,
    },
    /// Text that is no unicast MAC address.
    #[error("'{mac}' is not the MAC address of one station")]
    BadMac {
        /// The text.
        mac: String,
    },
    /// The MAC is in use on this network.
    #[error("the MAC {mac} belongs to endpoint '{owner}'")]
    MacTaken {
        /// The MAC.
        mac: String,
        /// Who has it.
        owner: Name,
    },
    /// Ports on a network that nothing from outside reaches.
    #[error("ports cannot be published on network '{network}', which {why}")]
    NoWayIn {
        /// The network.
        network: Name,
        /// `is internal` or `has nat=off`.
        why: &'static str,
    },
    /// One request that asks twice for a port of the host.
    #[error("the host's port {mapping} is asked for twice")]
    PublishedTwice {
        /// The second of them.
        mapping: PortMapping,
    },
    /// Another endpoint publishes that port of the host.
    #[error("the host's port {mapping} belongs to endpoint '{endpoint}' on network '{network}'")]
    PortTaken {
        /// What was asked for.
        mapping: PortMapping,
        /// The owner's network.
        network: Name,
        /// The owner.
        endpoint: Name,
    },
    /// More than [`PUBLISH_MAX`](crate::model::PUBLISH_MAX) ports of one endpoint.
    #[error("{count} ports are too many for one endpoint")]
    TooManyPorts {
        /// How many.
        count: usize,
    },
    /// More than [`ALIASES_MAX`](super::ALIASES_MAX) names of one endpoint.
    #[error("{count} aliases are too many for one endpoint")]
    TooManyAliases {
        /// How many.
        count: usize,
    },
    /// More than [`ROUTES_MAX`](super::ROUTES_MAX) routes of one endpoint.
    #[error("{count} routes are too many for one endpoint")]
    TooManyRoutes {
        /// How many.
        count: usize,
    },
    /// A route that the interface cannot have.
    #[error("the route {route} cannot be: {why}")]
    BadRoute {
        /// The route.
        route: StaticRoute,
        /// Why not.
        why: &'static str,
    },
    /// No more ports of all endpoints.
    #[error("there are as many published ports as there can be")]
    TooManyPublished,
    /// Every port that could have been chosen is taken.
    #[error("every port of the host from {from} to {to} is taken")]
    NoFreePort {
        /// The first.
        from: u16,
        /// The last.
        to: u16,
    },
    /// No pool of this name was lent.
    #[error("there is no pool '{id}'")]
    NoPool {
        /// What was asked for.
        id: String,
    },
    /// What is asked for as a pool is in use.
    #[error(
        "the subnet {net} overlaps {other}{}",
        network.as_ref().map_or_else(|| ", another pool".to_owned(), |n| format!(" of network '{n}'"))
    )]
    PoolTaken {
        /// What was asked for.
        net: IpNet,
        /// What it overlaps.
        other: IpNet,
        /// The network that has that, if it is one.
        network: Option<Name>,
    },
    /// No more pools.
    #[error("there are {POOLS_MAX} pools of addresses, which is the limit")]
    TooManyPools,
    /// No more addresses of a pool without a network.
    #[error("{LEASES_MAX} addresses of the pool '{id}' are out, which is the limit without a network")]
    PoolExhausted {
        /// The pool.
        id: String,
    },
    /// An address of the other family than it was given for.
    #[error("{address} is not of the family it was given for")]
    WrongFamily {
        /// The address.
        address: IpAddr,
    },
    /// No more networks.
    #[error("there are {NETWORKS_MAX} networks, which is the limit")]
    TooManyNetworks,
    /// No more endpoints.
    #[error("there are {ENDPOINTS_MAX} endpoints, which is the limit")]
    TooManyEndpoints,
    /// Every number for segments or ports was given out once.
    #[error("this daemon has used up its identifiers")]
    OutOfIds,
    /// The daemon is ending.
    #[error("the daemon is stopping")]
    Closing,
    /// No randomness.
    #[error("the kernel gave no random bytes: {0}")]
    Random(rustix::io::Errno),
    /// An address or a subnet cannot be had.
    #[error(transparent)]
    Ipam(#[from] IpamError),
    /// The store refused, or somebody else was faster.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A record is to be replaced that has something in it.
    #[error("an import replaces everything, and the network '{network}' is in use")]
    NotEmpty {
        /// The first network that is there, or has endpoints.
        network: Name,
    },
    /// An export or an import was refused.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// An option was refused.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The packet side refused.
    #[error(transparent)]
    Plane(#[from] PlaneError),
}
