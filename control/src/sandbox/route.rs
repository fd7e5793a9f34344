//! Routes out of one interface, besides the default ones.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::RouteMessageBuilder;
use serde::{Deserialize, Serialize};

use super::nets::route_of;
use super::{Link, Netns, SandboxError};

/// A route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticRoute {
    /// Where to; its host bits are zero.
    pub to: IpNet,
    /// By which router, of the same family; none: it is on the link.
    #[serde(default)]
    pub via: Option<IpAddr>,
}

impl Link {
    /// Adds a route out of an interface that is up and has its addresses.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`], `EEXIST` if it is there already.
    pub async fn add_route(&self, index: u32, route: StaticRoute) -> Result<(), SandboxError> {
        let StaticRoute { to, via } = route;
        let message = match (to.addr(), via) {
            (IpAddr::V4(net), Some(IpAddr::V4(via))) => v4(net, to.prefix_len(), index).gateway(via).build(),
            (IpAddr::V6(net), Some(IpAddr::V6(via))) => v6(net, to.prefix_len(), index).gateway(via).build(),
            (IpAddr::V4(net), _) => v4(net, to.prefix_len(), index).build(),
            (IpAddr::V6(net), _) => v6(net, to.prefix_len(), index).build(),
        };
        self.finish(|| format!("add the route {route}"), self.raw().route().add(message).execute()).await
    }
}

fn v4(net: Ipv4Addr, length: u8, index: u32) -> RouteMessageBuilder<Ipv4Addr> {
    RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(net, length).output_interface(index)
}

fn v6(net: Ipv6Addr, length: u8, index: u32) -> RouteMessageBuilder<Ipv6Addr> {
    RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(net, length).output_interface(index)
}

/// `192.0.2.0/24 via 10.1.0.9`.
impl fmt::Display for StaticRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.via {
            Some(via) => write!(f, "{} via {via}", self.to),
            None => write!(f, "{}", self.to),
        }
    }
}

/// The routes of the main table out of the interface of this name.
///
/// # Errors
/// [`SandboxError::NoInterface`], or the kernel's refusal.
pub async fn routes_out_of(netns: &Netns, ifname: &str) -> Result<Vec<StaticRoute>, SandboxError> {
    let inside = netns.link()?;
    let index = inside.index_of(ifname).await?;
    let mut routes = inside.routes(false).await?;
    routes.extend(inside.routes(true).await?);
    Ok(routes.iter().filter_map(|message| route_of(message, index)).collect())
}
