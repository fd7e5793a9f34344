//! The nouns: networks, their subnets, endpoints, and the sandboxes endpoints stand in.
//!
//! A [`Network`] is one broadcast domain with its subnets. An [`Endpoint`] is somebody's [`Sandbox`], a network namespace,
//! on one network: its [`Interface`] is a TAP of ours that lives there. Networks of the drivers `host` and `none` give
//! their endpoints no interface. The words are Docker's (libnetwork's), so that its
//! plugins and users find what they expect.
//!
//! The types here hold only what is legal: names and interface names are checked when they are made ([`Name`],
//! [`IfName`]), drivers and options refuse what this build has not. What is *free* (an address, a VNI, a name) is not
//! decided here but by the network room, the single writer.

mod driver;
mod engine;
mod id;
mod name;
mod options;
mod publish;
mod timestamp;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weft_dataplane::tables::{PortId, SegmentId, SegmentOptions};
use weft_dataplane::wire::{MacAddr, Vni};

pub use driver::{Driver, DriverError};
pub use engine::{PortsBy, PortsByError};
pub use id::{Id, IdError};
pub use name::{IfName, IfNameError, Name, NameError};
pub use options::{
    FDB_LIMIT_MAX, GatewayOptions, NetworkOptions, OptionError, STORM_KPPS_MAX, parse_options,
};
pub use publish::{EPHEMERAL, PUBLISH_MAX, PortMapping, Protocol, PublishError, PublishRequest};
pub use timestamp::rfc3339;

use crate::sandbox::{Birth, NetnsId, StaticRoute};

/// One broadcast domain.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its identity.
    pub id: Id,
    /// Its name, unique on this host.
    pub name: Name,
    /// What it is made of.
    pub driver: Driver,
    /// Its name in the dataplane, which knows it if its endpoints have interfaces.
    pub segment: SegmentId,
    /// Its VNI; `Some` exactly for overlays.
    pub vni: Option<Vni>,
    /// The MTU of its endpoints, bytes of an IP packet; 0 when they have no interfaces.
    pub mtu: u16,
    /// Whether it has no way out: its endpoints get no default route.
    pub internal: bool,
    /// Those of one family do not overlap; IPv4 first. None when its endpoints have no interfaces.
    pub subnets: Vec<Subnet>,
    /// What the dataplane makes of `given_options`.
    pub options: SegmentOptions,
    /// What its gateway does; `None`: it has none.
    pub gateway: Option<GatewayOptions>,
    /// `Some`: a container engine has made it, and its life is the engine's business.
    pub engine: Option<PortsBy>,
    /// The options as they were given.
    pub given_options: BTreeMap<String, String>,
    /// Labels, which mean nothing to Weft.
    pub labels: BTreeMap<String, String>,
    /// When it was created.
    pub created: SystemTime,
}

/// A range of addresses that a network uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The range; its host bits are zero.
    pub net: IpNet,
    /// The first hop of its endpoints; an address in `net`.
    pub gateway: IpAddr,
    /// Where addresses are taken from, if not from all of `net`.
    pub range: Option<IpNet>,
    /// Addresses of things that Weft does not manage, by name; never given out.
    pub auxiliary: BTreeMap<Name, IpAddr>,
}

/// One namespace on one network.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its identity.
    pub id: Id,
    /// Its name, unique on its network.
    pub name: Name,
    /// Its further names, in the order in which they were given; other endpoints may have the same, as with Docker.
    pub aliases: Vec<Name>,
    /// Labels, which mean nothing to Weft.
    pub labels: BTreeMap<String, String>,
    /// How far it has come.
    pub state: EndpointState,
    /// Where it is.
    pub sandbox: Sandbox,
    /// What it has there; `Some` exactly when the network's driver gives interfaces.
    pub interface: Option<Interface>,
    /// The host's ports behind which it answers, in the order in which they were asked for.
    pub ports: Vec<PortMapping>,
    /// When it was connected.
    pub created: SystemTime,
}

/// How far an endpoint has come. There is no state for one that leaves: it is forgotten first, and what is then
/// found of it is on nobody's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointState {
    /// Its names and addresses are claimed, nobody was told that it is connected. Found at start, it is taken back.
    Attaching,
    /// Its TAP stands in the daemon's own namespace, for a container engine to take; it is attached once that was seen.
    /// Found at start without its TAP, it is taken back.
    Offered,
    /// Somebody was told that it is connected. Found at start, it is restored.
    Attached,
}

/// A TAP on the switch, in somebody's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name in the dataplane.
    pub port: PortId,
    /// What it is called in the sandbox.
    pub ifname: IfName,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its addresses with their subnets' prefix lengths, one of each family, IPv4 first.
    pub addresses: Vec<IpNet>,
    /// Its default routes: none on an internal network, none if another endpoint has given the sandbox one.
    pub gateways: Vec<IpAddr>,
    /// Its other routes, as they were asked for.
    pub routes: Vec<StaticRoute>,
}

/// A network namespace that endpoints stand in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The path it was named by.
    pub path: PathBuf,
    /// Which namespace it is, whatever path leads there.
    pub key: NetnsId,
    /// Tells it from every other that the path may lead to one day.
    pub birth: Birth,
}

impl Endpoint {
    /// Whether anybody was told of it.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.state != EndpointState::Attaching
    }

    /// Its port on the switch, if it has an interface.
    #[must_use]
    pub fn port(&self) -> Option<PortId> {
        self.interface.as_ref().map(|interface| interface.port)
    }

    /// Its published ports one by one, each with its place on the host and the address it leads to.
    pub fn published(&self) -> impl Iterator<Item = (&PortMapping, IpAddr, IpAddr)> {
        let places = |mapping: &PortMapping| mapping.places(self.addresses().iter().map(IpNet::addr));
        self.ports.iter().flat_map(move |mapping| {
            places(mapping).into_iter().map(move |(outside, inside)| (mapping, outside, inside))
        })
    }

    /// Its addresses with their subnets' prefix lengths.
    #[must_use]
    pub fn addresses(&self) -> &[IpNet] {
        self.interface.as_ref().map_or(&[], |interface| &interface.addresses)
    }
}
