//! What users say with `-o` and `driver-opt`: known by name, or refused by name.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weft_dataplane::wire::MacAddr;

use super::error::DockerError;
use super::wire::{CreateNetwork, EndpointOptions, IpamData};
use crate::model::{Driver, DriverError, Name, PortsBy, parse_options};
use crate::network::{EngineNetwork, NetworkError, NetworkRequest, engine_name};

/// The key that Docker's users know the MTU by.
const MTU: &str = "com.docker.network.driver.mtu";

/// Every option of a network.
pub(super) const NETWORK_OPTIONS: [&str; 11] = [
    "anti_spoof",
    MTU,
    "driver",
    "fdb_limit",
    "filtering",
    "host_access",
    "nat",
    "ports",
    "storm_kpps",
    "vlan",
    "vni",
];

/// Options of an endpoint that are the engine's own business, or said in another place, too.
pub(super) const ENDPOINT_OPTIONS: [&str; 8] = [
    "com.docker.network.portmap",
    "com.docker.network.advertise_addr_nmsgs",
    "com.docker.network.advertise_addr_ms",
    "com.docker.network.endpoint.dnsservers",
    "com.docker.network.endpoint.exposedports",
    "com.docker.network.endpoint.ifname",
    "com.docker.network.endpoint.macaddress",
    "com.docker.network.endpoint.sysctls",
];

/// What the engine keeps between itself and its own drivers.
const PRIVATE: &str = "com.docker.network.driver.private.";

/// The network that the engine asks for.
///
/// Whether its user has said which driver is a matter of `driver`; a VNI alone means an overlay.
///
/// # Errors
/// [`DockerError`] names the option that is refused.
pub(super) fn network(asked: &CreateNetwork) -> Result<EngineNetwork, DockerError> {
    if asked.ipv4.is_empty() {
        return Err(DockerError::NoSubnet);
    }
    let mut options = asked.options.generic.clone();
    let number = |key, given: Option<String>| {
        let parse = |value: String| value.parse().map_err(|_| DockerError::Number { key, value });
        given.map(parse).transpose()
    };
    let vni: Option<u32> = number("vni", options.remove("vni"))?;
    let mtu: Option<u32> = number(MTU, options.remove(MTU))?;
    let ports = options.remove("ports").map(|ports| ports.parse::<PortsBy>()).transpose()?;
    let driver = match options.remove("driver") {
        Some(word) => engine_driver(&word)?,
        None if vni.is_some() => Driver::Overlay,
        None => Driver::Bridge,
    };
    parse_options(&options)?;
    let subnets = || asked.ipv4.iter().chain(&asked.ipv6);
    let request = NetworkRequest {
        driver,
        subnets: subnets().map(|data| data.pool).collect(),
        gateways: subnets().filter_map(|data| data.gateway).map(|gateway| gateway.addr()).collect(),
        auxiliary: auxiliary(subnets())?,
        vni,
        mtu,
        internal: asked.options.internal,
        options,
        ..NetworkRequest::new(engine_name(asked.network)?)
    };
    Ok(EngineNetwork { request, ports: ports.unwrap_or_default() })
}

/// The driver of a network with interfaces; other networks the engine has of its own.
fn engine_driver(word: &str) -> Result<Driver, DockerError> {
    let driver: Driver = word.parse()?;
    if !driver.has_interfaces() {
        return Err(DriverError::Unknown { driver: word.to_owned() }.into());
    }
    Ok(driver)
}

/// Addresses of things that the engine's user has said are there. The engine takes any text for their names; what is no
/// name of ours gets one.
fn auxiliary<'a>(subnets: impl Iterator<Item = &'a IpamData>) -> Result<BTreeMap<Name, IpAddr>, DockerError> {
    let all = subnets.flat_map(|data| &data.aux_addresses).enumerate();
    let named = all.map(|(n, (name, net))| {
        let name = Name::new(name.as_str()).or_else(|_| Name::new(format!("auxiliary-{n}")));
        let unnameable = |source| NetworkError::Unnameable { netns: net.to_string().into(), source };
        Ok((name.map_err(unnameable)?, net.addr()))
    });
    named.collect()
}

/// Looks for options of an endpoint that nobody would heed.
///
/// # Errors
/// [`DockerError::EndpointOption`] names the first of them.
pub(super) fn check_endpoint(options: &EndpointOptions) -> Result<(), DockerError> {
    let known = |key: &str| ENDPOINT_OPTIONS.contains(&key) || key.starts_with(PRIVATE);
    match options.others.keys().find(|key| !known(key)) {
        Some(key) => Err(DockerError::EndpointOption { key: key.clone() }),
        None => Ok(()),
    }
}

/// The MAC address that the engine writes as bytes in base64, in words.
///
/// # Errors
/// [`DockerError::Mac`].
pub(super) fn mac_of_base64(text: &str) -> Result<String, DockerError> {
    let refused = || DockerError::Mac { text: text.to_owned() };
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Six bytes are eight digits, without padding.
    if text.len() != 8 {
        return Err(refused());
    }
    let mut bits: u64 = 0;
    for digit in text.bytes() {
        let value = DIGITS.iter().position(|known| *known == digit).ok_or_else(refused)?;
        bits = bits << 6 | value as u64;
    }
    let [.., a, b, c, d, e, f] = bits.to_be_bytes();
    Ok(MacAddr([a, b, c, d, e, f]).to_string())
}

#[cfg(test)]
mod tests;
