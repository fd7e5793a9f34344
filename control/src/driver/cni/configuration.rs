//! The network configuration: the JSON on standard input. Reading it has no effect, and needs nothing but the bytes.
//!
//! ADD, CHECK and STATUS read all of it, and refuse what they do not know. DEL and GC read the [`Head`] alone: what was
//! refused once must not stand in the way of removing things.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::fields::Fields;
use super::result::{Attached, Dns};
use super::runtime::{self, AddressWish, Runtime};
use super::{CniError, Verb, Version};
use crate::api::socket_path;
use crate::model::{Driver, Name, parse_options};
use weft_dataplane::wire::MacAddr;

/// The largest configuration that is read, in bytes: the list of all attachments that a daemon can have, twice over.
pub const INPUT_MAX: usize = 4 << 20;

/// Keys of the specification that are the runtime's business, or that have no meaning for a plugin.
const OTHERS: [&str; 8] = [
    "type",
    "cniVersions",
    "disableCheck",
    "disableGC",
    "loadOnlyInlinedPlugins",
    "capabilities",
    "cni.dev/valid-attachments",
    "cni.dev/attachments",
];

/// What every verb needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The protocol's version.
    pub version: Version,
    /// The network's name.
    pub name: String,
    /// The daemon's socket, if it is named.
    pub socket: Option<PathBuf>,
    /// The IPAM plugin that gives addresses, if it is not Weft.
    pub ipam: Option<String>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// What every verb needs to know.
    pub head: Head,
    /// The network that is meant.
    pub network: NetworkWish,
    /// What the runtime asks for one container.
    pub runtime: Runtime,
    /// `args.cni`: an older way to ask for the same.
    pub args: ConfigArgs,
    /// `dns`: told to the runtime as it is.
    pub dns: Dns,
    /// What earlier plugins of the list, or ADD, have made.
    pub previous: Option<Attached>,
}

/// The network that is meant; what is `None`, or empty, may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkWish {
    /// Its name.
    pub name: Name,
    /// What it is made of.
    pub driver: Option<Driver>,
    /// Its subnets.
    pub subnets: Vec<IpNet>,
    /// Its gateways.
    pub gateways: Vec<IpAddr>,
    /// Its VNI.
    pub vni: Option<u32>,
    /// Its MTU.
    pub mtu: Option<u32>,
    /// Whether it has no way out.
    pub internal: Option<bool>,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// `args.cni`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigArgs {
    /// Addresses of the interface.
    pub ips: Vec<AddressWish>,
    /// Its MAC address.
    pub mac: Option<MacAddr>,
    /// Labels of the endpoint.
    pub labels: BTreeMap<String, String>,
}

/// One value, or several of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelPair {
    key: String,
    value: String,
}

/// The object that the bytes are.
///
/// # Errors
/// [`CniError::Decode`].
pub(super) fn decode(input: &[u8]) -> Result<Fields, CniError> {
    let what = "the network configuration on standard input";
    let value: Value = serde_json::from_slice(input)
        .map_err(|error| CniError::Decode { what: what.into(), why: error.to_string() })?;
    Fields::of(what, "", value)
}

/// The version that a configuration says it is of.
///
/// # Errors
/// [`CniError::Version`], also for none at all: that would be one from before there were versions.
pub(super) fn version(fields: &mut Fields) -> Result<Version, CniError> {
    fields.take::<String>("cniVersion")?.unwrap_or_default().parse()
}

impl Head {
    /// Takes out what every verb needs to know.
    pub(super) fn take(fields: &mut Fields, verb: Verb) -> Result<Self, CniError> {
        let version = version(fields)?;
        if version < verb.since() {
            return Err(CniError::NotInVersion { verb, version });
        }
        let name = fields.take::<String>("name")?.unwrap_or_default();
        if name.is_empty() {
            return Err(fields.wrong("name", "it is missing"));
        }
        let socket = fields.take::<String>("host")?.map(|host| socket(fields, &host)).transpose()?;
        let mut ipam = fields.object("ipam", "ipam.")?;
        let plugin = ipam.take::<String>("type")?.unwrap_or_default();
        if plugin.is_empty() && !ipam.is_empty() {
            return Err(ipam.wrong("type", "it is missing, and there are other keys of an IPAM plugin"));
        }
        if plugin.contains('/') || matches!(plugin.as_str(), "." | ".." | "weft") {
            return Err(ipam.wrong("type", format!("'{plugin}' is not the name of another plugin")));
        }
        Ok(Self { version, name, socket, ipam: Some(plugin).filter(|plugin| !plugin.is_empty()) })
    }
}

fn socket(fields: &Fields, host: &str) -> Result<PathBuf, CniError> {
    let wrong = || fields.wrong("host", format!("'{host}' is not unix:// and an absolute path"));
    socket_path(host).ok_or_else(wrong)
}

impl Configuration {
    /// Reads all of it.
    ///
    /// # Errors
    /// [`CniError`], naming the key and its value.
    pub(super) fn read(mut fields: Fields, verb: Verb) -> Result<Self, CniError> {
        let head = Head::take(&mut fields, verb)?;
        fields.pass_over(|key| OTHERS.contains(&key) || key.starts_with("cni.dev/"));
        let name = Name::new(head.name.clone()).map_err(|error| fields.wrong("name", error))?;
        let runtime = fields.object("runtimeConfig", "runtimeConfig.")?;
        let runtime = Runtime::read(runtime, &name, head.ipam.is_some())?;
        let args = ConfigArgs::read(&mut fields)?;
        let previous = fields.take::<Value>("prevResult")?.map(|value| Attached::read(value, "'prevResult'"));
        let dns = fields.take("dns")?.unwrap_or_default();
        let network = NetworkWish::take(&mut fields, name)?;
        fields.end()?;
        Ok(Self { head, network, runtime, args, dns, previous: previous.transpose()? })
    }
}

impl ConfigArgs {
    /// What other conventions keep beside `args.cni` is not meant for us.
    fn read(fields: &mut Fields) -> Result<Self, CniError> {
        let mut fields = fields.object("args", "args.")?.object("cni", "args.cni.")?;
        let labels = fields.take::<Vec<LabelPair>>("labels")?.unwrap_or_default();
        let args = Self {
            ips: runtime::wishes(&mut fields)?,
            mac: runtime::mac(&mut fields)?,
            labels: labels.into_iter().map(|label| (label.key, label.value)).collect(),
        };
        fields.end()?;
        Ok(args)
    }
}

impl NetworkWish {
    fn take(fields: &mut Fields, name: Name) -> Result<Self, CniError> {
        let subnets = match (list(fields, "subnet")?, list(fields, "subnets")?) {
            (one, more) if one.is_empty() || more.is_empty() => [one, more].concat(),
            _ => return Err(fields.wrong("subnets", "there is 'subnet', too: write one of them")),
        };
        let vni = fields.take("vni")?;
        let driver = match fields.take::<String>("driver")? {
            Some(word) => Some(word.parse::<Driver>().map_err(|error| fields.wrong("driver", error))?),
            None => vni.map(|_| Driver::Overlay),
        };
        if let Some(driver) = driver.filter(|driver| !driver.has_interfaces()) {
            return Err(
                fields.wrong("driver", format!("'{driver}' gives no interfaces; write bridge or overlay"))
            );
        }
        let mut options: BTreeMap<String, String> = fields.take("options")?.unwrap_or_default();
        if let Some(masquerade) = fields.take::<bool>("ipMasq")? {
            let word = if masquerade { "on" } else { "off" };
            if let Some(nat) = options.insert("nat".into(), word.into()).filter(|nat| nat != word) {
                return Err(fields.wrong("ipMasq", format!("it is {masquerade}, and 'options.nat' is {nat}")));
            }
        }
        parse_options(&options).map_err(|error| fields.wrong("options", error))?;
        Ok(Self {
            name,
            driver,
            subnets,
            gateways: list(fields, "gateway")?,
            vni,
            mtu: fields.take("mtu")?,
            internal: fields.take("internal")?,
            options,
        })
    }
}

fn list<T: serde::de::DeserializeOwned>(fields: &mut Fields, key: &str) -> Result<Vec<T>, CniError> {
    Ok(match fields.take(key)? {
        None => vec![],
        Some(OneOrMore::One(one)) => vec![one],
        Some(OneOrMore::More(more)) => more,
    })
}
