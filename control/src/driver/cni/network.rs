//! The network of a configuration: found, compared with what is meant, or made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::IpAddr;

use ipnet::IpNet;

use super::CniError;
use super::configuration::NetworkWish;
use crate::api::Client;
use crate::api::types::NetworkInfo;
use crate::error::{Code, Explain};
use crate::model::parse_options;
use crate::network::NetworkRequest;

/// The network, if there is one of that name.
///
/// # Errors
/// [`CniError::Differs`] if it is another than is meant; [`CniError::Daemon`].
pub(super) async fn find(client: &Client, wish: &NetworkWish) -> Result<Option<NetworkInfo>, CniError> {
    match client.network(wish.name.as_str()).await {
        // What a name does not find may still be found by the digits of an id.
        Ok(network) if network.name != wish.name.as_str() => Ok(None),
        Ok(network) => match wish.differences(&network) {
            differences if differences.is_empty() => Ok(Some(network)),
            differences => Err(CniError::Differs { network: network.name, differences }),
        },
        Err(error) if error.code() == Code::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes the network; of several who try at once, the first does, and the others find it. Where the configuration leaves
/// subnets open, those of `addresses` are taken, with their gateways.
///
/// # Errors
/// [`CniError::Daemon`], [`CniError::Differs`].
pub(super) async fn create(
    client: &Client,
    wish: &NetworkWish,
    addresses: &[(IpNet, Option<IpAddr>)],
) -> Result<NetworkInfo, CniError> {
    match client.create_network(&wish.request(addresses)).await {
        Ok(network) => Ok(network),
        // Perhaps it is the subnet of another network that is in the way.
        Err(error) if error.code() == Code::Conflict => find(client, wish).await?.ok_or(error.into()),
        Err(error) => Err(error.into()),
    }
}

impl NetworkWish {
    fn request(&self, addresses: &[(IpNet, Option<IpAddr>)]) -> NetworkRequest {
        let mut request = NetworkRequest {
            driver: self.driver.unwrap_or_default(),
            subnets: self.subnets.clone(),
            gateways: self.gateways.clone(),
            vni: self.vni,
            mtu: self.mtu,
            internal: self.internal.unwrap_or_default(),
            options: self.options.clone(),
            ..NetworkRequest::new(self.name.clone())
        };
        if request.subnets.is_empty() {
            request.subnets = addresses.iter().map(|(address, _)| address.trunc()).collect();
            if request.gateways.is_empty() {
                request.gateways = addresses.iter().filter_map(|(_, gateway)| *gateway).collect();
            }
        }
        request
    }

    /// What of a network is not as it is meant, a phrase each. What is not said may be anything.
    #[must_use]
    pub fn differences(&self, network: &NetworkInfo) -> Vec<String> {
        let mut found = Vec::new();
        let mut differ = |what: &str, is: &dyn Display, meant: Option<&dyn Display>| {
            found.extend(meant.map(|meant| format!("{what} is {is}, not {meant}")));
        };
        let driver = self.driver.filter(|&driver| driver != network.driver);
        differ("its driver", &network.driver, driver.as_ref().map(|driver| driver as &dyn Display));
        let bare = self.driver.is_none() && !network.driver.has_interfaces();
        differ("its driver", &network.driver, bare.then_some(&"one that gives interfaces" as &dyn Display));
        let vni = self.vni.filter(|&vni| network.vni != Some(vni));
        let own = network.vni.map_or_else(|| "none".into(), |vni| vni.to_string());
        differ("its VNI", &own, vni.as_ref().map(|vni| vni as &dyn Display));
        let mtu = self.mtu.filter(|&mtu| u32::from(network.mtu) != mtu);
        differ("its MTU", &network.mtu, mtu.as_ref().map(|mtu| mtu as &dyn Display));
        let internal = self.internal.filter(|&internal| internal != network.internal);
        differ("'internal'", &network.internal, internal.as_ref().map(|internal| internal as &dyn Display));
        found.extend(self.other_subnets(network));
        found.extend(self.other_gateways(network));
        found.extend(self.other_options(network));
        found
    }

    fn other_subnets(&self, network: &NetworkInfo) -> Option<String> {
        let meant: BTreeSet<IpNet> = self.subnets.iter().map(IpNet::trunc).collect();
        let own: BTreeSet<IpNet> = network.subnets.iter().map(|subnet| subnet.subnet.trunc()).collect();
        let differ = !meant.is_empty() && meant != own;
        differ.then(|| format!("it has {}, not {}", listed(&own), listed(&meant)))
    }

    fn other_gateways(&self, network: &NetworkInfo) -> Option<String> {
        let own: BTreeSet<IpAddr> = network.subnets.iter().map(|subnet| subnet.gateway).collect();
        let other = self.gateways.iter().find(|gateway| !own.contains(gateway))?;
        Some(format!("its gateway is {}, not {other}", listed(&own)))
    }

    /// Options that would change it, had they been given to it.
    fn other_options(&self, network: &NetworkInfo) -> Vec<String> {
        let meaning = |options: &BTreeMap<String, String>| {
            let options = parse_options(options)?;
            Ok::<_, crate::model::OptionError>((
                options.segment,
                options.gateway(network.driver, network.internal)?,
            ))
        };
        let own = meaning(&network.options);
        let changes = |(key, value): &(&String, &String)| {
            let mut changed = network.options.clone();
            changed.insert((*key).clone(), (*value).clone());
            meaning(&changed) != own
        };
        let phrase = |(key, value)| match network.options.get(key) {
            Some(is) => format!("its option {key} is {is}, not {value}"),
            None => format!("its option {key} is not {value}"),
        };
        self.options.iter().filter(changes).map(phrase).collect()
    }
}

fn listed<T: ToString>(values: &BTreeSet<T>) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
