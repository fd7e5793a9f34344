//! What Docker's engine writes and reads. Its keys are taken as they are written, fields and keys of later engines are passed
//! over; `null` is what Go writes for an empty list or map, `""` for an address that is not there.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::model::Id;

/// A network to make.
#[derive(Debug, Deserialize)]
pub(super) struct CreateNetwork {
    #[serde(rename = "NetworkID")]
    pub(super) network: Id,
    #[serde(rename = "Options", default, deserialize_with = "object")]
    pub(super) options: NetworkOptions,
    #[serde(rename = "IPv4Data", default, deserialize_with = "nullable")]
    pub(super) ipv4: Vec<IpamData>,
    #[serde(rename = "IPv6Data", default, deserialize_with = "nullable")]
    pub(super) ipv6: Vec<IpamData>,
}

/// Of what the engine says of a network, what matters here: addresses come with their subnets.
#[derive(Debug, Default, Deserialize)]
pub(super) struct NetworkOptions {
    #[serde(rename = "com.docker.network.generic", default, deserialize_with = "nullable")]
    pub(super) generic: BTreeMap<String, String>,
    #[serde(rename = "com.docker.network.internal", default)]
    pub(super) internal: bool,
}

/// A subnet of a network. The gateway is written with the subnet's prefix length.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct IpamData {
    pub(super) pool: IpNet,
    #[serde(default, deserialize_with = "blank")]
    pub(super) gateway: Option<IpNet>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) aux_addresses: BTreeMap<String, IpNet>,
}

/// A network that is spoken of.
#[derive(Debug, Deserialize)]
pub(super) struct OfNetwork {
    #[serde(rename = "NetworkID")]
    pub(super) network: Id,
}

/// An endpoint that is spoken of.
#[derive(Debug, Deserialize)]
pub(super) struct OfEndpoint {
    #[serde(rename = "NetworkID")]
    pub(super) network: Id,
    #[serde(rename = "EndpointID")]
    pub(super) endpoint: Id,
}

/// An endpoint to make.
#[derive(Debug, Deserialize)]
pub(super) struct CreateEndpoint {
    #[serde(flatten)]
    pub(super) of: OfEndpoint,
    #[serde(rename = "Interface", default, deserialize_with = "object")]
    pub(super) interface: Interface,
    #[serde(rename = "Options", default, deserialize_with = "object")]
    pub(super) options: EndpointOptions,
}

/// What the engine has decided of an interface.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Interface {
    #[serde(rename = "Address", default, deserialize_with = "blank")]
    pub(super) ipv4: Option<IpNet>,
    #[serde(rename = "AddressIPv6", default, deserialize_with = "blank")]
    pub(super) ipv6: Option<IpNet>,
    #[serde(rename = "MacAddress", default, deserialize_with = "blank")]
    pub(super) mac: Option<String>,
}

/// What the engine and its user say of an endpoint.
#[derive(Debug, Default, Deserialize)]
pub(super) struct EndpointOptions {
    /// Six bytes in base64; the interface says the same in words.
    #[serde(rename = "com.docker.network.endpoint.macaddress", default, deserialize_with = "blank")]
    pub(super) mac: Option<String>,
    #[serde(flatten)]
    pub(super) others: BTreeMap<String, IgnoredAny>,
}

/// What Weft has decided of an interface; empty where the engine has.
#[derive(Debug, Default, Serialize)]
pub(super) struct Decided {
    #[serde(rename = "Address")]
    pub(super) ipv4: String,
    #[serde(rename = "AddressIPv6")]
    pub(super) ipv6: String,
    #[serde(rename = "MacAddress")]
    pub(super) mac: String,
}

/// An endpoint that was made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EndpointCreated {
    pub(super) interface: Decided,
}

/// A sandbox that an endpoint goes to.
#[derive(Debug, Deserialize)]
pub(super) struct Join {
    #[serde(flatten)]
    pub(super) of: OfEndpoint,
    #[serde(rename = "SandboxKey")]
    pub(super) sandbox: PathBuf,
}

/// What the engine is to do in that sandbox.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Joined {
    pub(super) interface_name: InterfaceName,
    pub(super) gateway: String,
    #[serde(rename = "GatewayIPv6")]
    pub(super) gateway_ipv6: String,
    /// Whether the engine shall not see to a way out where Weft gives none.
    pub(super) disable_gateway_service: bool,
}

/// The interface to take, and what it is called then; the engine adds a number.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InterfaceName {
    pub(super) src_name: String,
    pub(super) dst_prefix: &'static str,
}

/// An endpoint that is its container's way out.
#[derive(Debug, Deserialize)]
pub(super) struct Program {
    #[serde(flatten)]
    pub(super) of: OfEndpoint,
    #[serde(rename = "Options", default, deserialize_with = "object")]
    pub(super) options: ProgramOptions,
}

/// Of what the engine says of a way out, what matters here.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ProgramOptions {
    #[serde(rename = "com.docker.network.portmap", default, deserialize_with = "nullable")]
    pub(super) ports: Vec<PortBinding>,
}

/// A port to publish: `port` of the container behind one of `host_port` to `host_port_end`, or any if they are 0.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct PortBinding {
    #[serde(rename = "Proto")]
    pub(super) protocol: u8,
    #[serde(rename = "Port")]
    pub(super) port: u16,
    #[serde(rename = "HostIP", default, deserialize_with = "blank")]
    pub(super) host_ip: Option<IpAddr>,
    #[serde(rename = "HostPort", default)]
    pub(super) host_port: u16,
    #[serde(rename = "HostPortEnd", default)]
    pub(super) host_port_end: u16,
}

/// What an endpoint does; nothing that the engine would show.
#[derive(Debug, Default, Serialize)]
pub(super) struct OperInfo {
    #[serde(rename = "Value")]
    pub(super) value: Empty,
}

/// Anything whatever, as long as it is an object.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Empty {}

/// A pool of addresses to lend.
#[derive(Debug, Deserialize)]
pub(super) struct RequestPool {
    #[serde(rename = "Pool", default, deserialize_with = "blank")]
    pub(super) pool: Option<IpNet>,
    #[serde(rename = "SubPool", default, deserialize_with = "blank")]
    pub(super) range: Option<IpNet>,
    #[serde(rename = "Options", default, deserialize_with = "nullable")]
    pub(super) options: BTreeMap<String, String>,
    #[serde(rename = "V6", default)]
    pub(super) ipv6: bool,
}

/// A pool that is lent.
#[derive(Debug, Serialize)]
pub(super) struct PoolLent {
    #[serde(rename = "PoolID")]
    pub(super) id: String,
    #[serde(rename = "Pool")]
    pub(super) net: IpNet,
    #[serde(rename = "Data")]
    pub(super) data: Empty,
}

/// A pool that is spoken of.
#[derive(Debug, Deserialize)]
pub(super) struct OfPool {
    #[serde(rename = "PoolID")]
    pub(super) id: String,
}

/// An address to lend.
#[derive(Debug, Deserialize)]
pub(super) struct RequestAddress {
    #[serde(flatten)]
    pub(super) of: OfPool,
    #[serde(rename = "Address", default, deserialize_with = "blank")]
    pub(super) address: Option<IpAddr>,
    #[serde(rename = "Options", default, deserialize_with = "object")]
    pub(super) options: AddressOptions,
}

/// Of what the engine says of an address, what matters here.
#[derive(Debug, Default, Deserialize)]
pub(super) struct AddressOptions {
    #[serde(rename = "RequestAddressType", default, deserialize_with = "blank")]
    pub(super) kind: Option<String>,
}

/// An address that is lent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AddressLent {
    pub(super) address: IpNet,
    pub(super) data: Empty,
}

/// An address that comes back.
#[derive(Debug, Deserialize)]
pub(super) struct ReleaseAddress {
    #[serde(flatten)]
    pub(super) of: OfPool,
    #[serde(rename = "Address")]
    pub(super) address: IpAddr,
}

/// `null` is the default.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// `null` is the default, and a list is not taken for an object.
fn object<'de, D: Deserializer<'de>, T: Default + DeserializeOwned>(from: D) -> Result<T, D::Error> {
    match Option::<Map<String, Value>>::deserialize(from)? {
        Some(object) => T::deserialize(Value::Object(object)).map_err(serde::de::Error::custom),
        None => Ok(T::default()),
    }
}

/// `null` and `""` are nothing.
fn blank<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(from: D) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(from)?.filter(|text| !text.is_empty());
    let parse = |text: String| text.parse().map_err(|error| format!("'{text}': {error}"));
    text.map(parse).transpose().map_err(serde::de::Error::custom)
}
