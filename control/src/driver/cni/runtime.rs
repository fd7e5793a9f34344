//! `runtimeConfig`: what the runtime asks for one container by the capabilities that the configuration declares. Each key
//! is honoured or refused; none is passed over but `cgroupPath`, which asks for nothing.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;
use weft_dataplane::gateway::GATEWAY_MAC;
use weft_dataplane::wire::MacAddr;

use super::CniError;
use super::fields::Fields;
use super::result::Dns;
use crate::model::{Name, PortMapping, PublishRequest};

/// An address that the interface shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressWish {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length, if it was given.
    pub prefix: Option<u8>,
}

/// What the runtime asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runtime {
    /// `portMappings`.
    pub publish: Vec<PublishRequest>,
    /// `ips`.
    pub ips: Vec<AddressWish>,
    /// `mac`.
    pub mac: Option<MacAddr>,
    /// `aliases`.
    pub aliases: Vec<Name>,
    /// `dns`.
    pub dns: Option<Dns>,
    /// `ipRanges`, which only a delegated IPAM plugin can honour: one address from each set.
    pub ranges: Vec<Vec<Range>>,
}

/// One range of a set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Range {
    subnet: IpNet,
    range_start: Option<IpAddr>,
    range_end: Option<IpAddr>,
    gateway: Option<IpAddr>,
}

impl Range {
    /// Whether it has this address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.subnet.contains(&address)
            && self.range_start.is_none_or(|first| first <= address)
            && self.range_end.is_none_or(|last| address <= last)
    }
}

/// One of `portMappings`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mapping {
    host_port: i64,
    container_port: i64,
    #[serde(default)]
    protocol: String,
    #[serde(default, rename = "hostIP")]
    host_ip: String,
}

/// `runtimeConfig.dns`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolver {
    #[serde(default)]
    servers: Vec<IpAddr>,
    #[serde(default)]
    searches: Vec<String>,
    #[serde(default)]
    options: Vec<String>,
}

/// `aliases` as the conventions have it, or as podman writes it: by network.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Aliases {
    List(Vec<String>),
    ByNetwork(std::collections::BTreeMap<String, Vec<String>>),
}

impl Runtime {
    /// Reads `runtimeConfig` of a configuration of the network `network`; `delegated` when another plugin gives
    /// addresses.
    pub(super) fn read(mut fields: Fields, network: &Name, delegated: bool) -> Result<Self, CniError> {
        fields.pass_over(|key| key == "cgroupPath");
        fields.refuse("bandwidth", "Weft does not limit rates: take the capability 'bandwidth' out")?;
        fields.refuse("infinibandGUID", "the interface is a TAP: take the capability out")?;
        fields.refuse("deviceID", "the interface is a TAP: take the capability out")?;
        if !delegated {
            let instead =
                "give 'subnet', or delegate to an IPAM plugin such as host-local by the key \"ipam\"";
            fields.refuse("ipRanges", instead)?;
        }
        let runtime = Self {
            publish: publish(&mut fields)?,
            ips: wishes(&mut fields)?,
            mac: mac(&mut fields)?,
            aliases: aliases(&mut fields, network)?,
            dns: fields.take::<Resolver>("dns")?.and_then(Resolver::told),
            ranges: fields.take("ipRanges")?.unwrap_or_default(),
        };
        fields.end()?;
        Ok(runtime)
    }
}

impl Resolver {
    fn told(self) -> Option<Dns> {
        let dns = Dns {
            nameservers: self.servers.iter().map(ToString::to_string).collect(),
            search: self.searches,
            options: self.options,
            ..Dns::default()
        };
        (dns != Dns::default()).then_some(dns)
    }
}

fn publish(fields: &mut Fields) -> Result<Vec<PublishRequest>, CniError> {
    const KEY: &str = "portMappings";
    let mut ports: Vec<PortMapping> = Vec::new();
    for value in fields.take::<Vec<Value>>(KEY)?.unwrap_or_default() {
        let wrong = |why: String| fields.wrong(KEY, format!("{why}, in {value}"));
        let mapping: Mapping = serde_json::from_value(value.clone()).map_err(|e| CniError::Decode {
            what: format!("'{}'", fields.name(KEY)),
            why: format!("{e}, in {value}"),
        })?;
        let protocol = match mapping.protocol.to_ascii_lowercase().as_str() {
            "" => "tcp".to_owned(),
            known @ ("tcp" | "udp") => known.to_owned(),
            _ => return Err(fields.unsupported(KEY, &value, "publish ports of tcp or udp")),
        };
        let port = |port: i64| {
            let legal = u16::try_from(port).ok().filter(|&port| port > 0);
            legal.ok_or_else(|| wrong(format!("{port} is no port")))
        };
        let (host, container) = (port(mapping.host_port)?, port(mapping.container_port)?);
        let address = match mapping.host_ip.parse::<IpAddr>() {
            _ if mapping.host_ip.is_empty() => String::new(),
            Ok(IpAddr::V4(v4)) => format!("{v4}:"),
            Ok(IpAddr::V6(v6)) => format!("[{v6}]:"),
            Err(_) => return Err(wrong(format!("'{}' is no IP address", mapping.host_ip))),
        };
        let request: PublishRequest = format!("{address}{host}:{container}/{protocol}")
            .parse()
            .map_err(|error: crate::model::PublishError| wrong(error.to_string()))?;
        ports.extend(request.mappings());
    }
    Ok(PublishRequest::of(&ports))
}

/// The addresses at the key `ips`.
pub(super) fn wishes(fields: &mut Fields) -> Result<Vec<AddressWish>, CniError> {
    let texts = fields.take::<Vec<String>>("ips")?.unwrap_or_default();
    let parse = |text: &String| {
        text.parse().map_err(|_| fields.wrong("ips", format!("'{text}' is no address; write 10.1.0.5/24")))
    };
    texts.iter().map(parse).collect()
}

/// The MAC address at the key `mac`; an empty one asks for nothing.
pub(super) fn mac(fields: &mut Fields) -> Result<Option<MacAddr>, CniError> {
    let text = fields.take::<String>("mac")?.filter(|text| !text.is_empty());
    let wrong = |text: &str| fields.wrong("mac", format!("'{text}' is no MAC address an interface can have"));
    text.map(|text| parse_mac(&text).ok_or_else(|| wrong(&text))).transpose()
}

/// A MAC address that an interface can have.
pub(super) fn parse_mac(text: &str) -> Option<MacAddr> {
    let mac: MacAddr = text.to_ascii_lowercase().parse().ok()?;
    (!mac.is_multicast() && !mac.is_zero() && mac != GATEWAY_MAC).then_some(mac)
}

fn aliases(fields: &mut Fields, network: &Name) -> Result<Vec<Name>, CniError> {
    const KEY: &str = "aliases";
    let texts = match fields.take(KEY)? {
        None => return Ok(vec![]),
        Some(Aliases::List(texts)) => texts,
        Some(Aliases::ByNetwork(mut networks)) => {
            let own = networks.remove(network.as_str()).unwrap_or_default();
            match networks.into_iter().find(|(_, aliases)| !aliases.is_empty()) {
                Some((other, _)) => {
                    return Err(fields.wrong(KEY, format!("'{other}' is not this network, '{network}'")));
                }
                None => own,
            }
        }
    };
    texts.into_iter().map(|text| Name::new(text).map_err(|error| fields.wrong(KEY, error))).collect()
}
