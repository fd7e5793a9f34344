//! ADD: an interface for a container, on a network that is made if it is missing.
//!
//! All that can be refused without the daemon is refused before anything is asked of it or of a delegated plugin. What
//! was taken before a failure is given back; a network that was made stays: it is what the configuration describes, and
//! others may be on it by now.

use super::environment::Place;
use super::ipam::Delegate;
use super::result::{Address, Attached, Dns, Interface, Route};
use super::wishes::{Given, Wishes, subnets, subnets_of};
use super::{CniError, Configuration, Verb, labels, network};
use crate::api::types::{Connected, EndpointInfo, EndpointRequest, NetworkInfo};
use crate::api::{Client, ClientError};
use crate::sandbox::route::routes_out_of;
use crate::sandbox::{Netns, StaticRoute};

/// Makes the interface; gives what the container has then, earlier plugins' work included.
///
/// # Errors
/// [`CniError`]; the container has no interface of ours.
pub(super) async fn add(
    client: &Client,
    place: &Place,
    config: &Configuration,
    delegate: Option<Delegate<'_>>,
) -> Result<Attached, CniError> {
    let netns = open(place)?;
    refuse_taken(place, config, &netns).await?;
    let wishes = Wishes::of(config, &place.args)?;
    let (ip, ip6) = wishes.by_family()?;
    let found = network::find(client, &config.network).await?;
    let mut request = request(place, config, &wishes)?;
    let own = if let Some(delegate) = delegate {
        let attached = attach_given(client, config, &netns, &wishes, found, request, &delegate).await;
        if attached.is_err() {
            // The runtime will call DEL, which tries again what fails here.
            let _ = delegate.call(Verb::Del).await;
        }
        attached?
    } else {
        let network = match found {
            Some(network) => network,
            None => {
                if !config.network.subnets.is_empty() {
                    wishes.fit(&config.network.subnets)?;
                }
                network::create(client, &config.network, &[]).await?
            }
        };
        wishes.fit(&subnets(&network))?;
        (request.ip, request.ip6) = (ip, ip6);
        attach(client, &netns, &network, &request).await?
    };
    let own = Attached { dns: dns(config, own.dns), ..own };
    Ok(config.previous.clone().unwrap_or_default().and(own))
}

/// With the addresses of another plugin.
async fn attach_given(
    client: &Client,
    config: &Configuration,
    netns: &Netns,
    wishes: &Wishes,
    found: Option<NetworkInfo>,
    mut request: EndpointRequest,
    delegate: &Delegate<'_>,
) -> Result<Attached, CniError> {
    let result = delegate.add().await?;
    if result.ips.iter().all(|ip| ip.address.addr().is_ipv6()) {
        return Err(delegate.failed("gave no IPv4 address, which every network of Weft has".into()));
    }
    let network = match found {
        Some(network) => network,
        None => network::create(client, &config.network, &subnets_of(&result)).await?,
    };
    let given = Given::of(&result, &network, wishes, &config.runtime.ranges)?;
    (request.ip, request.ip6, request.routes) = (given.ip, given.ip6, given.routes);
    let attached = attach(client, netns, &network, &request).await?;
    Ok(Attached { dns: result.dns, ..attached })
}

/// Opens the container's namespace.
///
/// # Errors
/// [`CniError::Netns`] if it is none, or the plugin's own.
pub(super) fn open(place: &Place) -> Result<Netns, CniError> {
    let refuse = |why: String| CniError::Netns { netns: place.netns.clone(), why };
    if !place.netns.is_absolute() {
        return Err(refuse(format!("CNI_NETNS is {}, which is no absolute path", place.netns.display())));
    }
    let netns = Netns::open(&place.netns).map_err(|error| refuse(error.to_string()))?;
    if !place.any_netns && Netns::current()?.id() == netns.id() {
        return Err(refuse(format!("CNI_NETNS is {netns}, and that is the host's own")));
    }
    Ok(netns)
}

async fn refuse_taken(place: &Place, config: &Configuration, netns: &Netns) -> Result<(), CniError> {
    let ifname = &place.attachment.ifname;
    let sandbox = place.netns.to_string_lossy();
    let before = config.previous.as_ref().and_then(|made| made.interface(ifname.as_str(), &sandbox));
    if before.is_some() || netns.link()?.get_link(ifname.as_str()).await?.is_some() {
        return Err(CniError::IfnameTaken { ifname: ifname.to_string(), netns: netns.to_string() });
    }
    Ok(())
}

fn request(place: &Place, config: &Configuration, wishes: &Wishes) -> Result<EndpointRequest, CniError> {
    let mut labels = place.args.labels.clone();
    labels.extend(config.args.labels.clone());
    // What DEL and GC go by is not to be changed by what somebody calls a label.
    labels.extend(labels::of(&place.attachment, &config.head.name));
    Ok(EndpointRequest {
        name: Some(labels::name_of(&place.attachment)?),
        ifname: Some(place.attachment.ifname.clone()),
        mac: wishes.mac.map(|mac| mac.to_string()),
        publish: config.runtime.publish.clone(),
        aliases: config.runtime.aliases.clone(),
        labels,
        ..EndpointRequest::new(&place.netns)
    })
}

/// Connects; tells what came of it.
async fn attach(
    client: &Client,
    netns: &Netns,
    network: &NetworkInfo,
    request: &EndpointRequest,
) -> Result<Attached, CniError> {
    let connected = client.connect(&network.name, request).await;
    if let (Err(ClientError::Lost { .. } | ClientError::Silent { .. }), Some(name)) =
        (&connected, &request.name)
    {
        // It may have been done all the same.
        let _ = client.disconnect(&network.name, name.as_str()).await;
    }
    let Connected { endpoint, warnings } = connected?;
    for warning in &warnings {
        eprintln!("weft: {warning}");
    }
    match routes_out_of(netns, &endpoint.ifname).await {
        Ok(standing) => Ok(told(network, &endpoint, &standing)),
        Err(error) => {
            // The runtime will call DEL, which tries again what fails here.
            let _ = client.disconnect(&network.name, &endpoint.name).await;
            Err(error.into())
        }
    }
}

/// How an endpoint is told, `standing` being the routes out of it: a container that had a default route before has kept
/// it.
fn told(network: &NetworkInfo, endpoint: &EndpointInfo, standing: &[StaticRoute]) -> Attached {
    let interface = Interface {
        name: endpoint.ifname.clone(),
        mac: endpoint.mac.clone(),
        mtu: Some(endpoint.mtu.into()),
        sandbox: endpoint.netns.clone(),
        ..Interface::default()
    };
    let gateway = |address: &ipnet::IpNet| {
        let mut homes = network.subnets.iter().filter(|_| !network.internal);
        homes.find(|subnet| subnet.subnet.contains(&address.addr())).map(|subnet| subnet.gateway)
    };
    let address = |address: &ipnet::IpNet| Address::new(*address, gateway(address), Some(0));
    let is_ours = |route: &&StaticRoute| route.via.is_some_and(|via| endpoint.gateways.contains(&via));
    let defaults = standing.iter().filter(|route| route.to.prefix_len() == 0).filter(is_ours);
    let route = |route: &StaticRoute| Route::new(route.to, route.via);
    Attached {
        interfaces: vec![interface],
        ips: endpoint.addresses.iter().map(address).collect(),
        routes: defaults.chain(&endpoint.routes).map(route).collect(),
        dns: Dns::default(),
    }
}

/// What the runtime asks for counts before the configuration, and that before what an IPAM plugin gave.
fn dns(config: &Configuration, given: Dns) -> Dns {
    if let Some(dns) = &config.runtime.dns {
        return dns.clone();
    }
    if config.dns == Dns::default() { given } else { config.dns.clone() }
}
