//! `CNI_ARGS`: `KEY=VALUE;KEY=VALUE`, the older way to hand values to plugins.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weft_dataplane::wire::MacAddr;

use super::CniError;
use super::environment::wrong;
use super::runtime::{AddressWish, parse_mac};

/// The longest value, in bytes, and more than any engine writes.
pub const ARGS_MAX: usize = 16 << 10;

/// What they ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// `IP`: the interface's address.
    pub ip: Option<AddressWish>,
    /// `MAC`: its MAC address.
    pub mac: Option<MacAddr>,
    /// `K8S_POD_NAMESPACE` and `K8S_POD_NAME`, by the labels that Kubernetes' runtimes have for them.
    pub labels: BTreeMap<String, String>,
}

impl Args {
    /// Reads them. Keys that nobody here knows are passed over exactly if `IgnoreUnknown` is set.
    ///
    /// # Errors
    /// [`CniError::Environment`], naming the key: also when they tell another container than `container`.
    pub fn parse(text: &str, container: &str) -> Result<Self, CniError> {
        if text.len() > ARGS_MAX {
            return Err(wrong(
                "CNI_ARGS",
                &format!("{} bytes long, at most {ARGS_MAX} are read", text.len()),
            ));
        }
        let mut args = Self::default();
        let mut unknown = None;
        let pairs = split(text)?;
        for (&key, &value) in &pairs {
            match key {
                "IP" => args.ip = Some(value.parse().map_err(|_| no(key, value, "an IP address"))?),
                "MAC" => args.mac = Some(parse_mac(value).ok_or_else(|| no(key, value, "a MAC address"))?),
                "IgnoreUnknown" => {}
                "K8S_POD_NAMESPACE" => args.label("io.kubernetes.pod.namespace", value),
                "K8S_POD_NAME" => args.label("io.kubernetes.pod.name", value),
                "K8S_POD_UID" => args.label("io.kubernetes.pod.uid", value),
                "K8S_POD_INFRA_CONTAINER_ID" if value == container => {}
                "K8S_POD_INFRA_CONTAINER_ID" => {
                    return Err(no(key, value, &format!("the container id, {container}")));
                }
                _ => unknown = unknown.or(Some((key, value))),
            }
        }
        let tolerant = match pairs.get("IgnoreUnknown").map(|value| value.to_ascii_lowercase()) {
            None => false,
            Some(value) if matches!(value.as_str(), "1" | "true") => true,
            Some(value) if matches!(value.as_str(), "0" | "false") => false,
            Some(value) => return Err(no("IgnoreUnknown", &value, "1 or 0")),
        };
        match unknown {
            Some((key, value)) if !tolerant => Err(wrong(
                &format!("CNI_ARGS ({key})"),
                &format!("unknown, and IgnoreUnknown is not set: {value}"),
            )),
            _ => Ok(args),
        }
    }

    fn label(&mut self, key: &str, value: &str) {
        self.labels.insert(key.to_owned(), value.to_owned());
    }
}

/// By key; one that comes twice must say the same.
fn split(text: &str) -> Result<BTreeMap<&str, &str>, CniError> {
    let mut pairs = BTreeMap::new();
    for pair in text.split(';').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
            wrong(
                "CNI_ARGS",
                &format!("malformed at '{pair}': KEY=VALUE pairs, with ';' between them, are meant"),
            )
        })?;
        if let Some(first) = pairs.insert(key, value).filter(|&first| first != value) {
            return Err(no(key, value, &format!("what it was before, {first}")));
        }
    }
    Ok(pairs)
}

fn no(key: &str, value: &str, meant: &str) -> CniError {
    wrong(&format!("CNI_ARGS ({key})"), &format!("'{value}', which is not {meant}"))
}

/// `IP=10.1.0.5` as well as `IP=10.1.0.5/24`.
impl std::str::FromStr for AddressWish {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<ipnet::IpNet>() {
            Ok(net) => Ok(Self { address: net.addr(), prefix: Some(net.prefix_len()) }),
            Err(_) => Ok(Self { address: text.parse::<IpAddr>()?, prefix: None }),
        }
    }
}
