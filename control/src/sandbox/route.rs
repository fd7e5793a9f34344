//! Routes out of one interface, besides the default ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::RouteMessageBuilder;

use super::nets::route_of;
use super::{Netns, SandboxError};

/// A route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Where to.
    pub to: IpNet,
    /// By which router, of the same family; none: it is on the link.
    pub via: Option<IpAddr>,
}

/// Adds `paths` out of the interface of this name.
///
/// # Errors
/// [`SandboxError::NoInterface`], or the kernel's refusal; those before it stay.
pub async fn add_paths(netns: &Netns, ifname: &str, paths: &[Path]) -> Result<(), SandboxError> {
    let inside = netns.link()?;
    let index = inside.index_of(ifname).await?;
    for Path { to, via } in paths {
        let message = match (to, via) {
            (IpNet::V4(to), Some(IpAddr::V4(via))) => RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(to.network(), to.prefix_len())
                .gateway(*via)
                .output_interface(index)
                .build(),
            (IpNet::V6(to), Some(IpAddr::V6(via))) => RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(to.network(), to.prefix_len())
                .gateway(*via)
                .output_interface(index)
                .build(),
            (IpNet::V4(to), _) => RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(to.network(), to.prefix_len())
                .output_interface(index)
                .build(),
            (IpNet::V6(to), _) => RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(to.network(), to.prefix_len())
                .output_interface(index)
                .build(),
        };
        let step = || match via {
            Some(via) => format!("add the route to {to} via {via}"),
            None => format!("add the route to {to}"),
        };
        inside.finish(step, inside.raw().route().add(message).execute()).await?;
    }
    Ok(())
}

/// The routes of the main table out of the interface of this name.
///
/// # Errors
/// [`SandboxError::NoInterface`], or the kernel's refusal.
pub async fn paths(netns: &Netns, ifname: &str) -> Result<Vec<Path>, SandboxError> {
    let inside = netns.link()?;
    let index = inside.index_of(ifname).await?;
    let mut routes = inside.routes(false).await?;
    routes.extend(inside.routes(true).await?);
    Ok(routes.iter().filter_map(|message| route_of(message, index)).collect())
}
