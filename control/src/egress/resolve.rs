//! What the host would do with a packet for any destination, from what its tables say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weft_dataplane::gateway::route::{MTU_MIN, NEIGHBORS_MAX, ROUTES_MAX};
use weft_dataplane::gateway::{EgressSpec, LinkId, LinkSpec, NeighborSpec, RouteSpec};
use weft_dataplane::wire::Prefix;

use crate::sandbox::{Device, Neighbor};

/// How the names of TAPs of ours begin: those that lead to networks of ours, and the uplink of mode `tunnel-gso`.
const OURS: [&str; 3] = ["wf", "wb", "weft"];

/// The kernel's tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) devices: Vec<Device>,
    pub(super) addresses: Vec<Address>,
    pub(super) routes: Vec<Route>,
    pub(super) neighbors: Vec<Neighbor>,
}

/// An address of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// The interface that has it.
    pub(super) interface: u32,
    pub(super) address: IpAddr,
    /// `None`: not to be seen outside; otherwise the smaller the better.
    pub(super) rank: Option<u8>,
}

/// A route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) prefix: Prefix,
    pub(super) metric: u32,
    /// `None`: unreachable.
    pub(super) exit: Option<Exit>,
    /// The address to use, if the route names one.
    pub(super) source: Option<IpAddr>,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) interface: u32,
    /// The router; `None`: destinations are on the link.
    pub(super) via: Option<IpAddr>,
}

/// What follows, and how much there was no room for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) spec: EgressSpec,
    pub(super) left_out: Vec<(&'static str, usize)>,
}

impl Tables {
    /// The interfaces that packets may leave by: those of default routes first.
    pub(super) fn links(&self, only: Option<&str>) -> Vec<&Device> {
        let routed = |device: &Device, what: fn(&Route) -> bool| {
            let mut leaving = self.routes.iter().filter(|route| what(route));
            leaving.any(|route| route.exit.is_some_and(|exit| exit.interface == device.index))
        };
        let usable = |device: &&Device| {
            is_possible(device)
                && only.is_none_or(|name| name == device.name)
                && (self.outside(device).next().is_some() || routed(device, |route| route.source.is_some()))
        };
        let mut links: Vec<&Device> = self.devices.iter().filter(usable).collect();
        links.sort_by_key(|device| (!routed(device, |route| route.prefix.len() == 0), device.index));
        links
    }

    /// The addresses of the host.
    pub(super) fn own(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|address| address.address)
    }

    /// The host's routing by the links that `id_of` names. Of `only`: the routes of other interfaces do not count.
    pub(super) fn resolve(&self, only: Option<&str>, id_of: impl Fn(u32) -> Option<LinkId>) -> Resolved {
        let mut resolved = Resolved::default();
        let links = self.devices.iter().filter_map(|device| Some((id_of(device.index)?, device)));
        let link = |(id, device): (LinkId, &Device)| LinkSpec {
            id,
            mac: device.mac,
            mtu: u16::try_from(device.mtu).unwrap_or(u16::MAX),
            addresses: self.outside(device).collect(),
        };
        resolved.spec.links = links.map(link).collect();
        resolved.spec.own = self.own().collect();
        resolved.spec.routes = self.best_routes(only).map(|route| self.spec_of(route, &id_of)).collect();
        resolved.limit("routes", ROUTES_MAX, |spec| &mut spec.routes);

        let spec = &mut resolved.spec;
        let routers: BTreeSet<_> = spec.routes.iter().filter_map(|r| Some((r.link?, r.via?))).collect();
        let known = |neighbor: &Neighbor| {
            let (link, mac) = (id_of(neighbor.interface)?, neighbor.usable_mac()?);
            Some(NeighborSpec { link, address: neighbor.address, mac })
        };
        spec.neighbors = self.neighbors.iter().filter_map(known).collect();
        spec.neighbors.sort_by_key(|n| (!routers.contains(&(n.link, n.address)), n.link, n.address));
        resolved.limit("neighbours", NEIGHBORS_MAX, |spec| &mut spec.neighbors);
        resolved
    }

    /// What is known about a neighbour by the interface `index`.
    pub(super) fn neighbor(&self, index: u32, address: IpAddr) -> Option<&Neighbor> {
        self.neighbors.iter().find(|n| (n.interface, n.address) == (index, address))
    }

    /// The usable addresses of a device, the best first.
    fn outside(&self, device: &Device) -> impl Iterator<Item = IpAddr> {
        let here = self.addresses.iter().filter(|address| address.interface == device.index);
        let mut ranked: Vec<_> = here.filter_map(|address| Some((address.rank?, address.address))).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, address)| address)
    }

    /// One route for each prefix, the widest first.
    fn best_routes(&self, only: Option<&str>) -> impl Iterator<Item = &Route> {
        let name_of = |index| self.devices.iter().find(|d| d.index == index).map(|d| d.name.as_str());
        let counts = |route: &&Route| match (only, route.exit) {
            (Some(only), Some(exit)) => name_of(exit.interface) == Some(only),
            _ => true,
        };
        let mut best: BTreeMap<(u8, Prefix), &Route> = BTreeMap::new();
        for route in self.routes.iter().filter(counts) {
            let entry = best.entry((route.prefix.len(), route.prefix)).or_insert(route);
            if route.metric < entry.metric {
                *entry = route;
            }
        }
        best.into_values()
    }

    fn spec_of(&self, route: &Route, id_of: impl Fn(u32) -> Option<LinkId>) -> RouteSpec {
        let exit = route.exit.and_then(|exit| Some((id_of(exit.interface)?, exit.via)));
        RouteSpec {
            prefix: route.prefix,
            link: exit.map(|(link, _)| link),
            via: exit.and_then(|(_, via)| via),
            source: self.source_of(route),
        }
    }

    /// The source that a route names, if it is an address of this host's that can be seen outside.
    fn source_of(&self, route: &Route) -> Option<IpAddr> {
        let source = route.source.filter(|s| s.is_ipv4() == route.prefix.address().is_ipv4())?;
        let usable = |address: &Address| address.address == source && address.rank.is_some();
        self.addresses.iter().any(usable).then_some(source)
    }
}

impl Resolved {
    fn limit<T>(&mut self, what: &'static str, max: usize, list: impl Fn(&mut EgressSpec) -> &mut Vec<T>) {
        let list = list(&mut self.spec);
        if let Some(excess) = list.len().checked_sub(max).filter(|excess| *excess > 0) {
            list.truncate(max);
            self.left_out.push((what, excess));
        }
    }
}

/// Whether frames of containers can leave by it at all.
fn is_possible(device: &Device) -> bool {
    let ours = device.tun && OURS.iter().any(|begin| device.name.starts_with(begin));
    device.up
        && device.ethernet
        && !ours
        && !device.mac.is_zero()
        && !device.mac.is_multicast()
        && device.mtu >= u32::from(MTU_MIN)
}

#[cfg(test)]
mod tests;
