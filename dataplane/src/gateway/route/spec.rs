//! The host's routing, as control states it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::wire::{MacAddr, Prefix};

/// Names a link; chosen by control, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct LinkId(pub u32);

/// An interface of the host by which packets may leave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct LinkSpec {
    /// Its id.
    pub id: LinkId,
    /// Its MAC.
    pub mac: MacAddr,
    /// Bytes of IP packet that it carries; at least [`MTU_MIN`](super::MTU_MIN).
    pub mtu: u16,
    /// The addresses that may be used as outside addresses; of each family, the preferred one first.
    pub addresses: Vec<IpAddr>,
}

/// Where a prefix is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct RouteSpec {
    /// The destinations.
    pub prefix: Prefix,
    /// The link; `None` when they are unreachable, or reached by a device that cannot be used.
    pub link: Option<LinkId>,
    /// The next hop, of either family (RFC 8950); `None` when destinations are on the link.
    pub via: Option<IpAddr>,
    /// The outside address to use; `None`: the link's preferred one.
    pub source: Option<IpAddr>,
}

/// A station on a link whose MAC the kernel knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct NeighborSpec {
    /// The link.
    pub link: LinkId,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC; zero counts as not resolved.
    pub mac: MacAddr,
}

/// The host's routing, as control found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct EgressSpec {
    /// Every link.
    pub links: Vec<LinkSpec>,
    /// Every route; of two with one prefix, the first stands.
    pub routes: Vec<RouteSpec>,
    /// Every neighbour.
    pub neighbors: Vec<NeighborSpec>,
    /// Every address of the host, loopback and those of links that are down included.
    pub own: Vec<IpAddr>,
}

impl EgressSpec {
    /// Every address that packets may leave from: the links' own, and the sources of routes.
    #[must_use]
    pub fn outside(&self) -> BTreeSet<IpAddr> {
        self.outside_by(|_| true)
    }

    /// Every address of the host, whether packets may leave from it or not.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let mut addresses = self.outside();
        addresses.extend(&self.own);
        addresses
    }

    /// Whether it names the same addresses, links and routes as `other`: neighbours come and go all the time, and not much
    /// depends on them.
    #[must_use]
    pub fn same_ways(&self, other: &Self) -> bool {
        (&self.own, &self.links, &self.routes) == (&other.own, &other.links, &other.routes)
    }

    /// The outside addresses of the links that `by` accepts.
    #[must_use]
    pub fn outside_by(&self, by: impl Fn(LinkId) -> bool) -> BTreeSet<IpAddr> {
        let links = self.links.iter().filter(|link| by(link.id));
        let routes = self.routes.iter().filter(|route| route.link.is_some_and(&by));
        let sources = routes.filter_map(|route| route.source);
        links.flat_map(|link| link.addresses.iter().copied()).chain(sources).collect()
    }
}
