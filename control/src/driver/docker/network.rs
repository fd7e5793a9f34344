//! The calls of the engine's network driver. Each can be repeated, and what takes something away knows nothing that must be
//! there: the engine retries what it heard no answer to, and forgets in a crash what it did not undo.

use super::error::DockerError;
use super::plugin::Plugin;
use super::wire::{
    CreateEndpoint, CreateNetwork, Decided, Empty, EndpointCreated, InterfaceName, Join, Joined, OfEndpoint,
    OfNetwork, OperInfo, Program,
};
use super::{options, ports};
use crate::network::Offer;

/// What interfaces are called in a container; the engine adds a number.
const PREFIX: &str = "eth";

pub(super) fn create(plugin: &Plugin, asked: CreateNetwork) -> Result<Empty, DockerError> {
    let network = options::network(&asked)?;
    plugin.manager.adopt_network(asked.network, &network)?;
    plugin.wants_names(asked.network);
    Ok(Empty {})
}

pub(super) fn delete(plugin: &Plugin, asked: OfNetwork) -> Result<Empty, DockerError> {
    plugin.manager.abandon_network(asked.network)?;
    Ok(Empty {})
}

pub(super) fn create_endpoint(
    plugin: &Plugin,
    asked: CreateEndpoint,
) -> Result<EndpointCreated, DockerError> {
    let CreateEndpoint { of, interface, options } = asked;
    options::check_endpoint(&options)?;
    let mac = match (interface.mac, options.mac) {
        (Some(mac), _) => Some(mac),
        (None, Some(bytes)) => Some(options::mac_of_base64(&bytes)?),
        (None, None) => None,
    };
    // What the engine has decided must not be told back to it.
    let given = (interface.ipv4.is_some(), interface.ipv6.is_some(), mac.is_some());
    let offer = Offer { id: of.endpoint, ip: interface.ipv4, ip6: interface.ipv6, mac };
    let endpoint = plugin.manager.offer(of.network, &offer)?;
    let address = |given: bool, ipv4: bool| {
        let found = endpoint.addresses().iter().find(|net| !given && net.addr().is_ipv4() == ipv4);
        found.map(ToString::to_string).unwrap_or_default()
    };
    let mac = endpoint.interface.as_ref().filter(|_| !given.2).map(|interface| interface.mac.to_string());
    let (ipv4, ipv6) = (address(given.0, true), address(given.1, false));
    Ok(EndpointCreated { interface: Decided { ipv4, ipv6, mac: mac.unwrap_or_default() } })
}

pub(super) fn join(plugin: &Plugin, asked: Join) -> Result<Joined, DockerError> {
    let Join { of, sandbox } = asked;
    let joined = plugin.manager.join(of.network, of.endpoint, &sandbox)?;
    plugin.awaits_settling(of.network, of.endpoint);
    plugin.wants_names(of.network);
    let gateway = |ipv4: bool| {
        let found = joined.gateways.iter().find(|gateway| gateway.is_ipv4() == ipv4);
        found.map(ToString::to_string).unwrap_or_default()
    };
    Ok(Joined {
        gateway: gateway(true),
        gateway_ipv6: gateway(false),
        disable_gateway_service: joined.gateways.is_empty() && !joined.needs_way_out,
        interface_name: InterfaceName { src_name: joined.tap, dst_prefix: PREFIX },
    })
}

/// The interface is still in the container, whence the engine brings it back.
pub(super) fn leave(_: &Plugin, _: OfEndpoint) -> Result<Empty, DockerError> {
    Ok(Empty {})
}

pub(super) fn delete_endpoint(plugin: &Plugin, asked: OfEndpoint) -> Result<Empty, DockerError> {
    plugin.manager.withdraw(asked.network, asked.endpoint)?;
    Ok(Empty {})
}

pub(super) fn program(plugin: &Plugin, asked: Program) -> Result<Empty, DockerError> {
    let Program { of, options } = asked;
    let publish = ports::requests(&options.ports)?;
    plugin.manager.program(of.network, of.endpoint, &publish)?;
    Ok(Empty {})
}

pub(super) fn revoke(plugin: &Plugin, asked: OfEndpoint) -> Result<Empty, DockerError> {
    plugin.manager.revoke(asked.network, asked.endpoint)?;
    Ok(Empty {})
}

pub(super) fn oper_info(_: &Plugin, _: OfEndpoint) -> Result<OperInfo, DockerError> {
    Ok(OperInfo::default())
}

/// Other hosts of a swarm come and go, which are no peers of ours.
pub(super) fn discover(_: &Plugin, _: Empty) -> Result<Empty, DockerError> {
    Ok(Empty {})
}

pub(super) fn refuse_swarm(_: &Plugin, _: Empty) -> Result<Empty, DockerError> {
    Err(DockerError::Swarm)
}
