//! CHECK: whether an attachment is still what ADD made: on the daemon's record, and in the container itself.

use super::add::open;
use super::environment::Place;
use super::result::Attached;
use super::{CniError, Configuration, labels};
use crate::api::Client;
use crate::api::types::EndpointInfo;
use crate::error::{Code, Explain};
use crate::model::PortMapping;
use crate::reconcile::{Flaw, flaws};
use crate::sandbox::route::routes_out_of;
use crate::sandbox::{Netns, Plug, StaticRoute, inside};

/// Looks.
///
/// # Errors
/// [`CniError::NotAsMade`] with all that differs, or what kept it from looking.
pub(super) async fn check(client: &Client, place: &Place, config: &Configuration) -> Result<(), CniError> {
    let made = config.previous.as_ref().ok_or_else(|| CniError::Configuration {
        key: "prevResult".into(),
        why: "it is missing, and CHECK compares with it".into(),
    })?;
    let netns = open(place)?;
    let endpoint = record(client, place, config).await?;
    let mut found = against_result(place, made, &endpoint);
    found.extend(ports(config, &endpoint));
    found.extend(reality(&netns, made, &endpoint).await?);
    if found.is_empty() { Ok(()) } else { Err(CniError::NotAsMade { flaws: found }) }
}

async fn record(client: &Client, place: &Place, config: &Configuration) -> Result<EndpointInfo, CniError> {
    let name = labels::name_of(&place.attachment)?;
    let missing = || CniError::NotAsMade { flaws: vec![format!("the daemon has no endpoint '{name}'")] };
    let endpoints = match client.endpoint(name.as_str()).await {
        Err(error) if error.code() == Code::NotFound => return Err(missing()),
        other => other?,
    };
    endpoints.into_iter().find(|endpoint| endpoint.network == config.head.name).ok_or_else(missing)
}

/// What the daemon's record says otherwise than the result that the runtime kept.
fn against_result(place: &Place, made: &Attached, endpoint: &EndpointInfo) -> Vec<String> {
    let (ifname, sandbox) = (place.attachment.ifname.as_str(), place.netns.to_string_lossy());
    let Some((index, interface)) = made.interface(ifname, &sandbox) else {
        return vec![format!("'prevResult' has no interface {ifname} in {sandbox}")];
    };
    let mut found = Vec::new();
    if !interface.mac.is_empty() && !interface.mac.eq_ignore_ascii_case(&endpoint.mac) {
        found.push(format!(
            "its MAC address is {} in 'prevResult', and {} on record",
            interface.mac, endpoint.mac
        ));
    }
    let told: Vec<_> =
        made.ips.iter().filter(|ip| ip.interface == Some(index)).map(|ip| ip.address).collect();
    let unknown = told.iter().filter(|address| !endpoint.addresses.contains(address));
    found.extend(unknown.map(|address| format!("its address {address} is not on record")));
    let untold = endpoint.addresses.iter().filter(|address| !told.contains(address));
    found.extend(untold.map(|address| format!("its address {address} is not in 'prevResult'")));
    found
}

fn ports(config: &Configuration, endpoint: &EndpointInfo) -> Vec<String> {
    let published = |port: &PortMapping| {
        let host = port.host.to_string();
        let places = endpoint.ports.get(&format!("{}/{}", port.container, port.protocol));
        places.is_some_and(|places| places.iter().any(|place| place.host_port == host))
    };
    let asked = config.runtime.publish.iter().flat_map(crate::model::PublishRequest::mappings);
    asked.filter(|port| !published(port)).map(|port| format!("the port {port} is not published")).collect()
}

/// What is not in the namespace as it should be. Its MTU is left to whoever comes after us in the list of plugins.
async fn reality(netns: &Netns, made: &Attached, endpoint: &EndpointInfo) -> Result<Vec<String>, CniError> {
    let strange =
        || CniError::NotAsMade { flaws: vec![format!("its MAC address on record is '{}'", endpoint.mac)] };
    let plug = Plug {
        ifname: endpoint.ifname.clone(),
        mac: endpoint.mac.parse().map_err(|_| strange())?,
        addresses: endpoint.addresses.clone(),
        gateways: vec![],
        routes: vec![],
        mtu: endpoint.mtu.into(),
    };
    let seen = flaws(&plug, &inside::interfaces(netns).await?);
    let mut found: Vec<_> = seen
        .iter()
        .filter(|flaw| !matches!(flaw, Flaw::Mtu(..)))
        .map(|flaw| format!("the interface {} {flaw}", plug.ifname))
        .collect();
    if !seen.contains(&Flaw::Missing) {
        let standing = routes_out_of(netns, &plug.ifname).await?;
        // The kernel has taken them away with it if the interface is down.
        let lost = ours(made, endpoint).filter(|route| !standing.contains(route));
        found.extend(lost.map(|route| format!("the route to {route} is gone")));
    }
    Ok(found)
}

/// The routes of a result that go by a router on our network.
fn ours(made: &Attached, endpoint: &EndpointInfo) -> impl Iterator<Item = StaticRoute> {
    let by_us = |via: &std::net::IpAddr| endpoint.addresses.iter().any(|net| net.contains(via));
    let routes = made.routes.iter().filter(move |route| route.gw.as_ref().is_some_and(by_us));
    routes.map(|route| StaticRoute { to: route.dst.trunc(), via: route.gw })
}
