//! The host's routing, frozen: which link a packet leaves by, from which address, to which next hop.
//!
//! Control reads links, routes and neighbours from the kernel and states them as [`EgressSpec`]; [`Egress::build`]
//! checks and freezes them. A lookup is a binary search over the points at which the answer changes, so its cost does
//! not depend on how many prefix lengths there are.
//!
//! # Limits
//!
//! [`LINKS_MAX`] links, [`ROUTES_MAX`] routes, [`NEIGHBORS_MAX`] neighbours; a spec with more is refused whole. There
//! is one table: policy routing, multipath and metrics are control's to resolve, and of two routes with one prefix the
//! one listed first stands.

use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

pub(crate) use self::ranges::Ranges;
pub use self::spec::{EgressSpec, LinkId, LinkSpec, NeighborSpec, RouteSpec};
use crate::wire::{MacAddr, Prefix};

mod ranges;
mod spec;
#[cfg(test)]
mod tests;

/// Links that packets may leave by.
pub const LINKS_MAX: usize = 64;
/// Routes.
pub const ROUTES_MAX: usize = 65_536;
/// Neighbours of all links.
pub const NEIGHBORS_MAX: usize = 16_384;
/// The least MTU of a link: what RFC 791 section 3.2 asks of every one.
pub const MTU_MIN: u16 = 68;

/// Why an [`EgressSpec`] is nonsense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// Two links with one id.
    #[error("link {} is listed twice", .0.0)]
    DuplicateLink(LinkId),
    /// A route or neighbour that names a link that is not there.
    #[error("{what} names link {}, which is not listed", .link.0)]
    NoLink {
        /// The route's prefix or the neighbour's address.
        what: String,
        /// The link.
        link: LinkId,
    },
    /// A link whose MAC is a group address; zero, as on a tunnel, is none.
    #[error("link {} has MAC {}, which is a group address", .0.0, .1)]
    BadMac(LinkId, MacAddr),
    /// A link too narrow for IP.
    #[error("link {} has an MTU of {mtu}: leave out links below {MTU_MIN}", .link.0)]
    BadMtu {
        /// The link.
        link: LinkId,
        /// Its MTU.
        mtu: u16,
    },
    /// A source address that packets to the prefix cannot have.
    #[error("the route to {prefix} has source {address}, which is of the other family")]
    BadSource {
        /// The route's prefix.
        prefix: Prefix,
        /// Its source.
        address: IpAddr,
    },
    /// More than the table holds.
    #[error("{count} {what} are more than the {max} that a dataplane carries")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many were asked for.
        count: usize,
        /// How many there may be.
        max: usize,
    },
}

/// The way out to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The link to leave by.
    pub link: LinkId,
    /// Its MAC.
    pub link_mac: MacAddr,
    /// Bytes of IP packet that it carries.
    pub mtu: u16,
    /// The outside address to use, of the destination's family.
    pub source: IpAddr,
    /// The station to hand the packet to.
    pub next: IpAddr,
    /// Its MAC; `None` when it is not resolved.
    pub mac: Option<MacAddr>,
}

/// The host's routing, checked and frozen.
#[derive(Clone, Debug, Default)]
pub struct Egress {
    links: Vec<LinkSpec>,
    v4: Ranges,
    v6: Ranges,
    exits: Vec<Exit>,
    neighbors: HashMap<(LinkId, IpAddr), MacAddr, FixedState>,
    own: HashSet<IpAddr, FixedState>,
    outside: HashSet<IpAddr, FixedState>,
}

/// A usable route without its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exit {
    link: LinkId,
    link_mac: MacAddr,
    mtu: u16,
    source: IpAddr,
    via: Option<IpAddr>,
}

impl Egress {
    /// Checks and freezes `spec`.
    ///
    /// # Errors
    ///
    /// What [`EgressError`] lists.
    pub fn build(spec: &EgressSpec) -> Result<Self, EgressError> {
        check_sizes(spec)?;
        let (own, outside) = (spec.own.iter().copied().collect(), spec.outside().into_iter().collect());
        let mut egress = Self { own, outside, ..Self::default() };
        for link in &spec.links {
            egress.add_link(link)?;
        }
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for route in &spec.routes {
            let exit = egress.exit(route)?;
            let family = if route.prefix.address().is_ipv4() { &mut v4 } else { &mut v6 };
            family.push((route.prefix, exit));
        }
        (egress.v4, egress.v6) = (Ranges::build(v4), Ranges::build(v6));
        for neighbor in &spec.neighbors {
            egress.known_link(neighbor.link, || neighbor.address.to_string())?;
            if !neighbor.mac.is_zero() {
                egress.neighbors.insert((neighbor.link, neighbor.address), neighbor.mac);
            }
        }
        Ok(egress)
    }

    /// The way to `to` by the longest prefix; `None` when there is no route, the route is unreachable, or its link has
    /// no outside address of `to`'s family.
    #[must_use]
    pub fn lookup(&self, to: IpAddr) -> Option<Hop> {
        let ranges = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        let exit = self.exits[ranges.find(to)? as usize];
        let next = exit.via.unwrap_or(to);
        let mac = self.neighbors.get(&(exit.link, next)).copied();
        Some(Hop { link: exit.link, link_mac: exit.link_mac, mtu: exit.mtu, source: exit.source, next, mac })
    }

    /// Whether `address` is one of the host's.
    #[must_use]
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }

    /// Whether a packet may leave from `address`: it is a link's outside address or a route's source.
    #[must_use]
    pub fn is_outside(&self, address: IpAddr) -> bool {
        self.outside.contains(&address)
    }

    /// Whether the host has `address`, be it that no packet may leave from it at the moment: its link may be down, or
    /// the route that named it gone.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.is_own(address) || self.is_outside(address)
    }

    /// Whether the host still has every address that it had by `former`.
    #[must_use]
    pub fn keeps(&self, former: &Self) -> bool {
        former.own.is_subset(&self.own) && former.outside.iter().all(|&address| self.has(address))
    }

    /// Every link, in the order in which they were listed.
    pub fn links(&self) -> impl Iterator<Item = &LinkSpec> {
        self.links.iter()
    }

    /// The link called `id`.
    #[must_use]
    pub fn link(&self, id: LinkId) -> Option<&LinkSpec> {
        self.links.iter().find(|link| link.id == id)
    }

    fn add_link(&mut self, link: &LinkSpec) -> Result<(), EgressError> {
        if self.link(link.id).is_some() {
            return Err(EgressError::DuplicateLink(link.id));
        }
        if link.mac.is_multicast() {
            return Err(EgressError::BadMac(link.id, link.mac));
        }
        if link.mtu < MTU_MIN {
            return Err(EgressError::BadMtu { link: link.id, mtu: link.mtu });
        }
        self.links.push(link.clone());
        Ok(())
    }

    fn known_link(&self, id: LinkId, what: impl FnOnce() -> String) -> Result<&LinkSpec, EgressError> {
        self.link(id).ok_or_else(|| EgressError::NoLink { what: what(), link: id })
    }

    /// The number of the exit that `route` leads to.
    fn exit(&mut self, route: &RouteSpec) -> Result<Option<u32>, EgressError> {
        let v4 = route.prefix.address().is_ipv4();
        if let Some(address) = route.source.filter(|source| source.is_ipv4() != v4) {
            return Err(EgressError::BadSource { prefix: route.prefix, address });
        }
        let Some(id) = route.link else { return Ok(None) };
        let link = self.known_link(id, || route.prefix.to_string())?;
        let preferred = || link.addresses.iter().copied().find(|address| address.is_ipv4() == v4);
        let Some(source) = route.source.or_else(preferred) else { return Ok(None) };
        let exit = Exit { link: id, link_mac: link.mac, mtu: link.mtu, source, via: route.via };
        // Most routes of a host share a few exits, and neighbours in the list share one most often.
        if self.exits.last() != Some(&exit) {
            self.exits.push(exit);
        }
        Ok(Some(self.exits.len() as u32 - 1))
    }
}

fn check_sizes(spec: &EgressSpec) -> Result<(), EgressError> {
    let sizes = [
        ("links", spec.links.len(), LINKS_MAX),
        ("routes", spec.routes.len(), ROUTES_MAX),
        ("neighbours", spec.neighbors.len(), NEIGHBORS_MAX),
    ];
    match sizes.into_iter().find(|&(_, count, max)| count > max) {
        Some((what, count, max)) => Err(EgressError::TooMany { what, count, max }),
        None => Ok(()),
    }
}
