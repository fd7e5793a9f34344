//! What the kernel would do with a datagram for each peer, from what it says about routes, neighbours and the device.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weft_dataplane::tunnel::Vtep;
use weft_dataplane::tunnel::outer::NextHop;

use super::outlook::{Obstacle, Reach};
use crate::sandbox::{Device, Neighbor};

/// A plain route to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// The interface it leaves through.
    pub(super) interface: u32,
    /// The router, or the peer itself if it is on the link.
    pub(super) via: IpAddr,
    /// The path's MTU in bytes where it differs from the interface's: a route's metric, or what ICMP has told.
    pub(super) mtu: Option<u32>,
}

/// What follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    /// How peers are reached, in the order in which they were given.
    pub(super) reaches: Vec<Reach>,
    /// Neighbours the kernel should look for: it has no entry.
    pub(super) unknown: BTreeSet<IpAddr>,
    /// Neighbours the kernel should make sure of from time to time: in use without its knowledge, or not answering.
    /// Entries that somebody has set by hand are not among them, for a reminder would make them ordinary.
    pub(super) dynamic: BTreeSet<IpAddr>,
}

impl Resolved {
    /// The next hops that are known.
    pub(super) fn hops(&self) -> Vec<(Vtep, NextHop)> {
        let known = |reach: &Reach| Some((Vtep::new(reach.peer), *reach.hop.as_ref().ok()?));
        self.reaches.iter().filter_map(known).collect()
    }

    /// Among the neighbours that peers are reached through, those by which `used` are and that the kernel can ask.
    pub(super) fn to_verify(&self, used: &[Vtep]) -> BTreeSet<IpAddr> {
        let used: BTreeSet<IpAddr> = used.iter().map(|vtep| vtep.address()).collect();
        let by = self.reaches.iter().filter(|reach| reach.hop.is_ok() && used.contains(&reach.peer));
        by.filter_map(|reach| reach.via).filter(|via| self.dynamic.contains(via)).collect()
    }
}

/// Puts routes and `neighbors` together. Each of `paths` is a peer and its route, if there is a plain one. Nothing is
/// known when `device` is down or not Ethernet.
pub(super) fn resolve(device: &Device, paths: &[(IpAddr, Option<Path>)], neighbors: &[Neighbor]) -> Resolved {
    let mut resolved = Resolved::default();
    if !device.up || !device.ethernet || device.mac.is_zero() {
        return resolved;
    }
    let here: BTreeMap<IpAddr, &Neighbor> =
        neighbors.iter().filter(|n| n.interface == device.index).map(|n| (n.address, n)).collect();
    for &(peer, path) in paths {
        let via = path.map(|path| path.via);
        let hop = resolved.hop_by(device, path, &here);
        resolved.reaches.push(Reach { peer, via, hop });
    }
    resolved
}

impl Resolved {
    fn hop_by(
        &mut self,
        device: &Device,
        path: Option<Path>,
        neighbors: &BTreeMap<IpAddr, &Neighbor>,
    ) -> Result<NextHop, Obstacle> {
        let path = path.ok_or(Obstacle::NoRoute)?;
        if path.interface != device.index {
            return Err(Obstacle::Elsewhere);
        }
        let Some(neighbor) = neighbors.get(&path.via) else {
            self.unknown.insert(path.via);
            return Err(Obstacle::Silent(path.via));
        };
        if neighbor.is_dynamic() {
            self.dynamic.insert(path.via);
        }
        let mac = neighbor.usable_mac().ok_or(Obstacle::Silent(path.via))?;
        let mtu = path.mtu.unwrap_or(device.mtu).min(device.mtu);
        Ok(NextHop { source: device.mac, neighbor: mac, mtu: u16::try_from(mtu).unwrap_or(u16::MAX) })
    }
}

#[cfg(test)]
mod tests;
