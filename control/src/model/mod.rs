//! The nouns: networks, their subnets, endpoints, and the sandboxes endpoints stand in.
//!
//! A [`Network`] is one broadcast domain with its subnets. An [`Endpoint`] is one interface on one network: a TAP of
//! ours that lives in somebody's [`Sandbox`], a network namespace. The words are Docker's (libnetwork's), so that its
//! plugins and users find what they expect.
//!
//! The types here hold only what is legal: names and interface names are checked when they are made ([`Name`],
//! [`IfName`]), drivers and options refuse what this build has not. What is *free* (an address, a VNI, a name) is not
//! decided here but by the network room, the single writer.

mod driver;
mod id;
mod name;
mod options;
mod timestamp;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use ipnet::IpNet;
use weft_dataplane::tables::{PortId, SegmentId, SegmentOptions};
use weft_dataplane::wire::{MacAddr, Vni};

pub use driver::{Driver, DriverError};
pub use id::{Id, IdError};
pub use name::{IfName, IfNameError, Name, NameError};
pub use options::{FDB_LIMIT_MAX, OptionError, STORM_KPPS_MAX, parse_options};
pub use timestamp::rfc3339;

use crate::sandbox::NetnsId;

/// One broadcast domain.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its identity.
    pub id: Id,
    /// Its name, unique on this host.
    pub name: Name,
    /// What it is made of.
    pub driver: Driver,
    /// Its name in the dataplane.
    pub segment: SegmentId,
    /// Its VNI; `Some` exactly for overlays.
    pub vni: Option<Vni>,
    /// The MTU of its endpoints, bytes of an IP packet.
    pub mtu: u16,
    /// Whether it has no way out: its endpoints get no default route.
    pub internal: bool,
    /// At most one of each family, IPv4 first.
    pub subnets: Vec<Subnet>,
    /// What the dataplane makes of `given_options`.
    pub options: SegmentOptions,
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

/// One interface on one network.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its identity.
    pub id: Id,
    /// Its name, unique on its network.
    pub name: Name,
    /// Its name in the dataplane.
    pub port: PortId,
    /// Where it is.
    pub sandbox: Sandbox,
    /// What it is called there.
    pub ifname: IfName,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its addresses with their subnets' prefix lengths, IPv4 first.
    pub addresses: Vec<IpNet>,
    /// Its default routes: none on an internal network, none if another endpoint has given the sandbox one.
    pub gateways: Vec<IpAddr>,
    /// When it was connected.
    pub created: SystemTime,
}

/// A network namespace that endpoints stand in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The path it was named by.
    pub path: PathBuf,
    /// Which namespace it is, whatever path leads there.
    pub key: NetnsId,
}
