//! Networks in the shape of `docker network inspect` (Docker 28), for the programs that read that.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use crate::api::types::{EndpointInfo, NetworkInfo};

/// One element of the array that `docker network inspect` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Network {
    name: String,
    id: String,
    created: String,
    scope: &'static str,
    driver: String,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    internal: bool,
    attachable: bool,
    ingress: bool,
    config_from: ConfigFrom,
    config_only: bool,
    containers: BTreeMap<String, Container>,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peers: Vec<Peer>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    driver: &'static str,
    options: BTreeMap<String, String>,
    config: Vec<IpamConfig>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct IpamConfig {
    subnet: String,
    #[serde(rename = "IPRange", skip_serializing_if = "Option::is_none")]
    ip_range: Option<String>,
    gateway: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigFrom {
    network: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    name: String,
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    mac_address: String,
    #[serde(rename = "IPv4Address")]
    ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    ipv6_address: String,
}

#[derive(Debug, Serialize)]
struct Peer {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "IP")]
    ip: IpAddr,
}

impl From<&NetworkInfo> for Network {
    fn from(network: &NetworkInfo) -> Self {
        let has = |ipv4: bool| network.subnets.iter().any(|subnet| subnet.subnet.addr().is_ipv4() == ipv4);
        let mut options = network.options.clone();
        if network.mtu != 0 {
            options.insert("com.docker.network.driver.mtu".into(), network.mtu.to_string());
        }
        if let Some(vni) = network.vni {
            options.insert("com.docker.network.driver.overlay.vxlanid_list".into(), vni.to_string());
        }
        let config = network.subnets.iter().map(|subnet| IpamConfig {
            subnet: subnet.subnet.to_string(),
            ip_range: subnet.range.map(|range| range.to_string()),
            gateway: subnet.gateway.to_string(),
        });
        Self {
            name: network.name.clone(),
            id: network.id.clone(),
            created: network.created.clone(),
            scope: "local",
            driver: network.driver.to_string(),
            enable_ipv4: has(true),
            enable_ipv6: has(false),
            ipam: Ipam { driver: "default", options: BTreeMap::new(), config: config.collect() },
            internal: network.internal,
            attachable: false,
            ingress: false,
            config_from: ConfigFrom { network: "" },
            config_only: false,
            // Docker's key for an endpoint that belongs to no container of its own.
            containers: network.endpoints.iter().map(|e| (format!("ep-{}", e.id), e.into())).collect(),
            options,
            labels: network.labels.clone(),
            peers: network.peers.iter().map(|&ip| Peer { name: ip.to_string(), ip }).collect(),
        }
    }
}

impl From<&EndpointInfo> for Container {
    fn from(endpoint: &EndpointInfo) -> Self {
        let address = |ipv4: bool| {
            let found = endpoint.addresses.iter().find(|net| net.addr().is_ipv4() == ipv4);
            found.map(ToString::to_string).unwrap_or_default()
        };
        Self {
            name: endpoint.name.clone(),
            endpoint_id: endpoint.id.clone(),
            mac_address: endpoint.mac.clone(),
            ipv4_address: address(true),
            ipv6_address: address(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::SubnetInfo;
    use crate::model::Driver;

    #[test]
    fn the_keys_are_dockers() {
        let endpoint = EndpointInfo {
            aliases: vec![],
            labels: BTreeMap::new(),
            id: "e1".into(),
            name: "c1".into(),
            network: "blue".into(),
            network_id: "n1".into(),
            netns: "/run/netns/c1".into(),
            ifname: "eth0".into(),
            mac: "02:42:0a:01:00:02".into(),
            addresses: vec!["10.1.0.2/24".parse().unwrap()],
            gateways: vec![],
            routes: vec![],
            mtu: 1450,
            ports: BTreeMap::new(),
            created: "2026-01-01T00:00:00.000000000Z".into(),
        };
        let network = NetworkInfo {
            id: "n1".into(),
            name: "blue".into(),
            driver: Driver::Overlay,
            vni: Some(5000),
            mtu: 1450,
            internal: false,
            subnets: vec![SubnetInfo {
                subnet: "10.1.0.0/24".parse().unwrap(),
                gateway: "10.1.0.1".parse().unwrap(),
                range: None,
            }],
            options: [("vlan".to_owned(), "pass".to_owned())].into(),
            labels: BTreeMap::new(),
            created: "2026-01-01T00:00:00.000000000Z".into(),
            peers: vec!["10.9.0.2".parse().unwrap()],
            endpoints: vec![endpoint],
        };
        let expected = serde_json::json!({
            "Name": "blue", "Id": "n1", "Created": "2026-01-01T00:00:00.000000000Z", "Scope": "local",
            "Driver": "overlay", "EnableIPv4": true, "EnableIPv6": false,
            "IPAM": {"Driver": "default", "Options": {}, "Config": [{"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1"}]},
            "Internal": false, "Attachable": false, "Ingress": false, "ConfigFrom": {"Network": ""},
            "ConfigOnly": false,
            "Containers": {"ep-e1": {
                "Name": "c1", "EndpointID": "e1", "MacAddress": "02:42:0a:01:00:02",
                "IPv4Address": "10.1.0.2/24", "IPv6Address": "",
            }},
            "Options": {
                "vlan": "pass", "com.docker.network.driver.mtu": "1450",
                "com.docker.network.driver.overlay.vxlanid_list": "5000",
            },
            "Labels": {}, "Peers": [{"Name": "10.9.0.2", "IP": "10.9.0.2"}],
        });
        assert_eq!(serde_json::to_value(Network::from(&network)).unwrap(), expected);
    }
}
