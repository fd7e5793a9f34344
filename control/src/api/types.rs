//! What the API carries: the same types on both sides of the socket. Keys are stable.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use crate::error::Problem;
use crate::model::{Driver, Endpoint, Name, Network, Protocol, rfc3339};
pub use crate::network::Finding;
pub use crate::network::{EndpointRequest, NetworkRequest};
use crate::network::{NatRow, Snapshot, Traffic, UnderlayReport};
pub use crate::sandbox::StaticRoute;

/// What the daemon is and does: `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The host's name.
    pub node: String,
    /// The daemon's version.
    pub version: String,
    /// This host's VTEP; `None` without an underlay.
    pub vtep: Option<IpAddr>,
    /// The UDP port of the VTEP.
    pub underlay_port: Option<u16>,
    /// How the underlay is driven: `tunnel-gso`, `udp-gso` or `udp`.
    pub underlay_mode: Option<String>,
    /// Why it is not a better mode.
    pub underlay_reason: Option<String>,
    /// The other VTEPs.
    pub peers: Vec<IpAddr>,
    /// How each of them is reached.
    #[serde(default)]
    pub next_hops: Vec<NextHopInfo>,
    /// Packet threads.
    pub workers: usize,
    /// The control process.
    pub daemon_pid: u32,
    /// The packet process; `None` while there is none.
    pub dataplane_pid: Option<u32>,
    /// How many packet processes have taken the place of one that had ended.
    pub dataplane_restarts: u64,
    /// Why there is no packet process.
    pub dataplane_reason: Option<String>,
    /// Whether everything is up.
    pub ready: bool,
    /// What is amiss although the daemon runs, a line each.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// How many networks there are.
    pub networks: usize,
    /// How many endpoints there are.
    pub endpoints: usize,
    /// Seconds since the daemon was ready.
    pub uptime_s: u64,
}

/// How frames to one of the other VTEPs leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHopInfo {
    /// The VTEP.
    pub peer: IpAddr,
    /// By which underlay mode; all but `tunnel-gso` are sockets, where the kernel alone knows the rest.
    pub mode: String,
    /// Why it is not `tunnel-gso` although others are reached so.
    pub reason: Option<String>,
    /// Its router, or itself if it is on the link.
    pub via: Option<IpAddr>,
    /// The underlay device.
    pub device: Option<String>,
    /// The MAC of `via`.
    pub mac: Option<String>,
    /// The largest outer IP packet that the path takes, in bytes.
    pub mtu: Option<u16>,
}

/// A host that shares networks with others: `GET /v1/nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name.
    pub name: String,
    /// Its VTEP; `None` without an underlay.
    pub vtep: Option<IpAddr>,
    /// `ready`, or `starting` and `stopping` on either side of that.
    pub state: String,
}

/// Packet counters: `GET /v1/stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Everything since the start, networks that are gone included.
    #[serde(flatten)]
    pub total: Counters,
    /// By network name.
    pub networks: BTreeMap<String, Counters>,
}

/// Counters of one network, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Frames that went somewhere.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that did not, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// A network with its endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub driver: Driver,
    /// Its VNI, for overlays.
    pub vni: Option<u32>,
    /// The MTU of its endpoints, in bytes; 0 if they have no interfaces.
    pub mtu: u16,
    /// Whether it has no way out.
    pub internal: bool,
    /// Its subnets, IPv4 first.
    pub subnets: Vec<SubnetInfo>,
    /// Its options, as given.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was created, RFC 3339.
    pub created: String,
    /// The other VTEPs it reaches.
    pub peers: Vec<IpAddr>,
    /// Its endpoints, by name.
    pub endpoints: Vec<EndpointInfo>,
}

/// A subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetInfo {
    /// The range.
    pub subnet: IpNet,
    /// The endpoints' first hop.
    pub gateway: IpAddr,
    /// Where addresses are chosen from, if not from all of it.
    pub range: Option<IpNet>,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointInfo {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its further names on the network.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its network's name.
    pub network: String,
    /// Its network's id.
    pub network_id: String,
    /// The path of its namespace.
    pub netns: String,
    /// The interface inside; empty on networks that give none.
    pub ifname: String,
    /// Its MAC address; empty on networks that give no interface.
    pub mac: String,
    /// Its addresses with prefix lengths, IPv4 first.
    pub addresses: Vec<IpNet>,
    /// Its default routes' first hops.
    pub gateways: Vec<IpAddr>,
    /// Its other routes.
    #[serde(default)]
    pub routes: Vec<StaticRoute>,
    /// Its MTU, in bytes; 0 if it has no interface.
    pub mtu: u16,
    /// Its published ports, as Docker tells a container's: by port and protocol inside, such as `80/tcp`.
    #[serde(default)]
    pub ports: BTreeMap<String, Vec<HostPort>>,
    /// When it was connected, RFC 3339.
    pub created: String,
}

/// The host's side of a published port, with Docker's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostPort {
    /// The address; unspecified: every one of its family.
    pub host_ip: IpAddr,
    /// The port, as text.
    pub host_port: String,
}

/// A published port: `GET /v1/ports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortInfo {
    /// The network's name.
    pub network: String,
    /// The endpoint's name.
    pub endpoint: String,
    /// The transport.
    pub protocol: Protocol,
    /// The host's address; unspecified: every one of its family.
    pub host_address: IpAddr,
    /// The host's port.
    pub host_port: u16,
    /// The endpoint's port.
    pub container_port: u16,
}

/// A session of NAT: `GET /v1/nat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatInfo {
    /// The network's name.
    pub network: String,
    /// The endpoint's name.
    pub endpoint: String,
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// The endpoint's address and port, or ICMP query identifier.
    pub inside: SocketAddr,
    /// The host's address and port that stand for them outside.
    pub outside: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
    /// How far it has come, in a word.
    pub state: String,
    /// Seconds since something last passed that keeps it.
    pub idle_s: u64,
    /// Seconds until it is forgotten, if nothing passes.
    pub expires_s: u64,
}

/// The answer to connecting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// The new endpoint.
    pub endpoint: EndpointInfo,
    /// What was left out without harm, a line each.
    pub warnings: Vec<String>,
}

/// One entry of a forwarding table: `GET /v1/fdb`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbEntry {
    /// The network's name.
    pub network: String,
    /// The network's VNI, for overlays.
    pub vni: Option<u32>,
    /// The station.
    pub mac: String,
    /// `static` or `dynamic`.
    pub kind: String,
    /// The endpoint it is behind, if that is here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<String>,
    /// The VTEP it is behind, if it is not here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vtep: Option<IpAddr>,
    /// Seconds since it was last heard; `None` for static entries.
    pub age_s: Option<u64>,
}

impl From<&Traffic> for Counters {
    fn from(traffic: &Traffic) -> Self {
        let drops = traffic.drops.iter().map(|&(reason, count)| (reason.to_owned(), count)).collect();
        Self { packets: traffic.packets, bytes: traffic.bytes, drops }
    }
}

impl NextHopInfo {
    /// How frames to `peer` leave.
    #[must_use]
    pub fn new(peer: IpAddr, underlay: &UnderlayReport) -> Self {
        let reach = underlay.reaches.iter().find(|reach| reach.peer == peer);
        let hop = reach.and_then(|reach| reach.hop.as_ref().ok());
        let mode = if hop.is_some() { underlay.mode } else { underlay.sockets };
        Self {
            peer,
            mode: mode.to_string(),
            reason: reach.and_then(|reach| reach.hop.as_ref().err()).map(ToString::to_string),
            via: reach.and_then(|reach| reach.via),
            device: hop.and(underlay.device.clone()),
            mac: hop.map(|hop| hop.neighbor.to_string()),
            mtu: hop.map(|hop| hop.mtu),
        }
    }
}

impl PortInfo {
    /// The published ports of `endpoint`, one for each address family.
    pub fn of(network: &Network, endpoint: &Endpoint) -> impl Iterator<Item = Self> {
        endpoint.published().map(|(mapping, outside, _)| Self {
            network: network.name.to_string(),
            endpoint: endpoint.name.to_string(),
            protocol: mapping.protocol,
            host_address: outside,
            host_port: mapping.host,
            container_port: mapping.container,
        })
    }
}

impl NatInfo {
    /// How a session of `endpoint` on `network` is told.
    #[must_use]
    pub fn new(network: &Name, endpoint: &Name, row: &NatRow) -> Self {
        Self {
            network: network.to_string(),
            endpoint: endpoint.to_string(),
            protocol: row.protocol.to_owned(),
            inside: row.inside,
            outside: row.outside,
            remote: row.remote,
            state: row.state.to_owned(),
            idle_s: row.idle_s,
            expires_s: row.expires_s,
        }
    }
}

/// As Docker tells the ports of a container.
fn docker_ports(endpoint: &Endpoint) -> BTreeMap<String, Vec<HostPort>> {
    let mut ports: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (mapping, host_ip, _) in endpoint.published() {
        let host_port = HostPort { host_ip, host_port: mapping.host.to_string() };
        ports.entry(format!("{}/{}", mapping.container, mapping.protocol)).or_default().push(host_port);
    }
    ports
}

impl EndpointInfo {
    /// How `endpoint` of `network` is told.
    #[must_use]
    pub fn new(network: &Network, endpoint: &Endpoint) -> Self {
        let interface = endpoint.interface.as_ref();
        Self {
            id: endpoint.id.to_string(),
            name: endpoint.name.to_string(),
            aliases: endpoint.aliases.iter().map(ToString::to_string).collect(),
            labels: endpoint.labels.clone(),
            network: network.name.to_string(),
            network_id: network.id.to_string(),
            netns: endpoint.sandbox.path.display().to_string(),
            ifname: interface.map(|interface| interface.ifname.to_string()).unwrap_or_default(),
            mac: interface.map(|interface| interface.mac.to_string()).unwrap_or_default(),
            addresses: endpoint.addresses().to_vec(),
            gateways: interface.map(|interface| interface.gateways.clone()).unwrap_or_default(),
            routes: interface.map(|interface| interface.routes.clone()).unwrap_or_default(),
            mtu: network.mtu,
            ports: docker_ports(endpoint),
            created: rfc3339(endpoint.created),
        }
    }
}

impl NetworkInfo {
    /// How a network is told. Overlays reach `peers`.
    #[must_use]
    pub fn new(snapshot: &Snapshot, peers: &[IpAddr]) -> Self {
        let network = &snapshot.network;
        let subnet =
            |s: &crate::model::Subnet| SubnetInfo { subnet: s.net, gateway: s.gateway, range: s.range };
        Self {
            id: network.id.to_string(),
            name: network.name.to_string(),
            driver: network.driver,
            vni: network.vni.map(|vni| vni.get()),
            mtu: network.mtu,
            internal: network.internal,
            subnets: network.subnets.iter().map(subnet).collect(),
            options: network.given_options.clone(),
            labels: network.labels.clone(),
            created: rfc3339(network.created),
            peers: if network.vni.is_some() { peers.to_vec() } else { vec![] },
            endpoints: snapshot.endpoints.iter().map(|e| EndpointInfo::new(network, e)).collect(),
        }
    }
}
