//! The calls of the engine's IPAM driver.

use super::error::DockerError;
use super::plugin::Plugin;
use super::wire::{AddressLent, Empty, OfPool, PoolLent, ReleaseAddress, RequestAddress, RequestPool};
use crate::network;

/// What the engine says of an address that is to be a network's gateway.
const GATEWAY: &str = "com.docker.network.gateway";

pub(super) fn request_pool(plugin: &Plugin, asked: RequestPool) -> Result<PoolLent, DockerError> {
    if let Some(key) = asked.options.into_keys().next() {
        return Err(DockerError::PoolOption { key });
    }
    let request = network::PoolRequest { net: asked.pool, range: asked.range, ipv6: asked.ipv6 };
    let lent = plugin.manager.request_pool(&request)?;
    Ok(PoolLent { id: lent.id, net: lent.net, data: Empty {} })
}

pub(super) fn release_pool(plugin: &Plugin, asked: OfPool) -> Result<Empty, DockerError> {
    plugin.manager.release_pool(&asked.id)?;
    Ok(Empty {})
}

pub(super) fn request_address(plugin: &Plugin, asked: RequestAddress) -> Result<AddressLent, DockerError> {
    let gateway = asked.options.kind.as_deref() == Some(GATEWAY);
    let address = plugin.manager.request_address(&asked.of.id, asked.address, gateway)?;
    Ok(AddressLent { address, data: Empty {} })
}

pub(super) fn release_address(plugin: &Plugin, asked: ReleaseAddress) -> Result<Empty, DockerError> {
    plugin.manager.release_address(&asked.of.id, asked.address)?;
    Ok(Empty {})
}
