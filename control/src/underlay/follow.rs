//! Next hops, kept current: routes and neighbours in, [`hops::resolve`]'s conclusions out.

use std::collections::BTreeSet;
use std::net::IpAddr;

use weft_dataplane::tunnel::Vtep;
use weft_dataplane::tunnel::encap::{OVERHEAD_V4, OVERHEAD_V6};
use weft_dataplane::tunnel::outer::NextHop;

use super::hops::{self, Path, Resolved};
use super::news::News;
use super::outlook::Reach;
use super::{Plan, snapshot};
use crate::sandbox::{Device, Link, SandboxError};

/// What is known about the way to the peers by one road.
#[derive(Debug, Default)]
pub(super) struct Follower {
    paths: Vec<(IpAddr, Option<Path>)>,
    resolved: Resolved,
}

impl Follower {
    /// Reads again what is `stale`, through the underlay device of index `device`. Tells whether anything has changed.
    pub(super) async fn update(
        &mut self,
        link: &Link,
        plan: &Plan,
        device: u32,
        stale: News,
    ) -> Result<bool, SandboxError> {
        if stale >= News::Routes {
            self.paths.clear();
            for &peer in &plan.peers {
                let path = snapshot::path(link, plan.address, plan.port, peer).await?;
                self.paths.push((peer, path));
            }
        }
        let device = link.device(device).await?;
        let neighbors = link.neighbors().await?;
        let resolved = device.as_ref().map_or_else(Resolved::default, |device| {
            let resolved = hops::resolve(device, &self.paths, &neighbors);
            tell_narrow(device, &self.resolved.reaches, &resolved.reaches);
            resolved
        });
        let before = std::mem::replace(&mut self.resolved, resolved);
        Ok(before.reaches != self.resolved.reaches)
    }

    /// How peers are reached.
    pub(super) fn reaches(&self) -> &[Reach] {
        &self.resolved.reaches
    }

    /// The next hops that are known.
    pub(super) fn hops(&self) -> Vec<(Vtep, NextHop)> {
        self.resolved.hops()
    }

    /// Has the kernel look for neighbours that it does not know. Also, when `refresh`, for those that did not answer, and
    /// not whenever it says so. A refusal changes nothing: the sockets ask, too.
    pub(super) async fn remind(&self, link: &Link, device: u32, refresh: bool) {
        let none = BTreeSet::new();
        let dynamic = if refresh { &self.resolved.dynamic } else { &none };
        for &neighbor in self.resolved.unknown.iter().chain(dynamic) {
            if let Err(error) = link.remind(device, neighbor).await {
                tracing::debug!(%error, "the kernel does not look for a neighbour");
            }
        }
    }

    /// Has the kernel ask the neighbours that `used` peers are reached through.
    pub(super) async fn verify(&self, link: &Link, device: u32, used: &[Vtep]) {
        for neighbor in self.resolved.to_verify(used) {
            if let Err(error) = link.verify(device, neighbor).await {
                tracing::debug!(%error, "the kernel does not ask a neighbour");
            }
        }
    }
}

/// Logs each path that takes less than its first link does and did not do so `before`.
fn tell_narrow(device: &Device, before: &[Reach], now: &[Reach]) {
    let mtu_of = |reach: &Reach| reach.hop.as_ref().ok().map(|hop| hop.mtu);
    for (index, reach) in now.iter().enumerate() {
        let Some(mtu) = mtu_of(reach).filter(|&mtu| u32::from(mtu) < device.mtu) else { continue };
        if before.get(index).and_then(mtu_of) == Some(mtu) {
            continue;
        }
        let overhead = if reach.peer.is_ipv4() { OVERHEAD_V4 } else { OVERHEAD_V6 };
        let (peer, largest) = (reach.peer, mtu.saturating_sub(overhead));
        tracing::warn!(
            %peer, path_mtu = mtu, device_mtu = device.mtu,
            "the path to a peer is narrow: larger frames are dropped (underlay_mtu); networks that reach it need \
             --mtu {largest} or less"
        );
    }
}
