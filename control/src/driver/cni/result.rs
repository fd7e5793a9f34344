//! Results: what stands in the container afterwards, read and written in every version of the protocol.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CniError, Version};

/// What stands in a container: of one plugin, or of a list of them up to one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Attached {
    /// The interfaces.
    pub interfaces: Vec<Interface>,
    /// Their addresses.
    pub ips: Vec<Address>,
    /// The routes.
    pub routes: Vec<Route>,
    /// How names are resolved.
    pub dns: Dns,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Its MTU in bytes; told from 1.1.0 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The path of its namespace; empty for the host's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// A socket that stands for it; told from 1.1.0 on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// A PCI device behind it; told from 1.1.0 on.
    #[serde(rename = "pciID", skip_serializing_if = "String::is_empty")]
    pub pci_id: String,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// `4` or `6`; told before 1.0.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<char>,
    /// The place in [`Attached::interfaces`] of the interface that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
    /// The address and its prefix length.
    pub address: IpNet,
    /// The subnet's way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// A route. All but the first two are told from 1.1.0 on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub dst: IpNet,
    /// By which router; the default gateway if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// Its MTU, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The largest segment that is announced, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Of several, the smallest wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The routing table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The kernel's number for how far it reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u32>,
}

/// How names are resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses of servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains that short names are looked for in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options for the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// The form of a version.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    cni_version: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<Interface>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<Address>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
    dns: &'a Dns,
}

impl Attached {
    /// Reads a result of any version; `what` is its name in messages.
    ///
    /// # Errors
    /// [`CniError::Decode`].
    pub(super) fn read(value: Value, what: &str) -> Result<Self, CniError> {
        serde_json::from_value(without_nulls(value))
            .map_err(|error| CniError::Decode { what: what.to_owned(), why: error.to_string() })
    }

    /// The result as `version` has it.
    #[must_use]
    pub fn write(&self, version: Version) -> Value {
        let before_1_1 = version < Version::V1_1_0;
        let interface = |interface: &Interface| match before_1_1 {
            true => Interface {
                mtu: None,
                socket_path: String::new(),
                pci_id: String::new(),
                ..interface.clone()
            },
            false => interface.clone(),
        };
        let address = |address: &Address| {
            let family = if address.address.addr().is_ipv4() { '4' } else { '6' };
            Address { version: (version < Version::V1_0_0).then_some(family), ..address.clone() }
        };
        let route = |route: &Route| match before_1_1 {
            true => Route::new(route.dst, route.gw),
            false => route.clone(),
        };
        let written = Written {
            cni_version: version.as_str(),
            interfaces: self.interfaces.iter().map(interface).collect(),
            ips: self.ips.iter().map(address).collect(),
            routes: self.routes.iter().map(route).collect(),
            dns: &self.dns,
        };
        // There is nothing in it that JSON cannot say.
        serde_json::to_value(written).unwrap_or_default()
    }

    /// The interface `name` of the namespace at `sandbox`, with its place in the list.
    #[must_use]
    pub fn interface(&self, name: &str, sandbox: &str) -> Option<(usize, &Interface)> {
        let mut all = self.interfaces.iter().enumerate();
        all.find(|(_, interface)| interface.name == name && interface.sandbox == sandbox)
    }

    /// This, and what another plugin made after it. The later word about names counts, if there is one.
    #[must_use]
    pub fn and(mut self, later: Self) -> Self {
        let before = self.interfaces.len();
        let moved = |address: Address| Address {
            interface: address.interface.map(|place| place.saturating_add(before)),
            ..address
        };
        self.ips.extend(later.ips.into_iter().map(moved));
        self.interfaces.extend(later.interfaces);
        self.routes.extend(later.routes);
        if later.dns != Dns::default() {
            self.dns = later.dns;
        }
        self
    }
}

/// Others may write `null` for what is not there.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let there = map.into_iter().filter(|(_, value)| !value.is_null());
            there.map(|(key, value)| (key, without_nulls(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(values) => values.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

impl Address {
    /// An address of the interface at the place `interface`.
    #[must_use]
    pub const fn new(address: IpNet, gateway: Option<IpAddr>, interface: Option<usize>) -> Self {
        Self { version: None, interface, address, gateway }
    }
}

impl Route {
    /// A route that is nothing special.
    #[must_use]
    pub const fn new(dst: IpNet, gw: Option<IpAddr>) -> Self {
        Self { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}
