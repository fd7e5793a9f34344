//! Everything control wants, frozen; swapped whole.
//!
//! Control states the whole truth each time ([`TablesSpec`], which may be nonsense); [`Tables::build`] checks it and
//! freezes it into what workers read, which cannot be. A worker loads the current tables once per batch and never waits.
//! What frames have taught (FDB entries, storm limiters, counters) is carried from version to version by id.
//!
//! Ids are never reused, so a stale id in a learned entry can only miss, not hit somebody else.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::counters::{Counters, Totals};
use crate::gateway::route::Ranges;
use crate::gateway::{GATEWAY_MAC, Gateway, GatewaySpec};
use crate::house::House;
use crate::nat::Published;
use crate::switch::guard::VtepPorts;
use crate::switch::port::Binding;
use crate::switch::segment::SegmentState;
use crate::switch::{Location, Port, Segment};
use crate::tunnel::Vtep;
use crate::wire::{MacAddr, Vni};

mod error;

pub use error::TablesError;

/// Ports that one dataplane carries: one descriptor per worker each, and a design figure of 4,096 endpoints per network.
pub const PORTS_MAX: usize = 16_384;
/// Segments that one dataplane carries.
pub const SEGMENTS_MAX: usize = 4_096;
/// VTEPs per segment: BUM frames are replicated to each by head-end, so hundreds is where that stops being sensible.
pub const VTEPS_MAX: usize = 1_024;

/// Published ports that one dataplane carries.
pub const PUBLISHED_MAX: usize = 32_768;

/// Names a segment; chosen by control, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct SegmentId(pub u32);

/// Names a port; chosen by control, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct PortId(pub u32);

/// What happens to inner VLAN tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub enum VlanPolicy {
    /// Tagged frames from the tunnel are dropped, tags from endpoints stripped (RFC 7348 section 6.1).
    #[default]
    Drop,
    /// Tags pass both ways.
    Pass,
}

/// What a port belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub enum PortKind {
    /// An endpoint.
    #[default]
    Endpoint,
    /// The host itself, which stands on the segment with the gateway's MAC and addresses.
    Host,
}

/// A transport that ports are published on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// What a network may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct SegmentOptions {
    /// Hold endpoints to their addresses ([`crate::switch::guard`]).
    pub anti_spoof: bool,
    /// Learned FDB entries per local port; a VTEP may own [`crate::switch::fdb::VTEP_SHARE`] times as many. 0: learn
    /// nothing.
    pub fdb_limit: u32,
    /// BUM frames per port, in thousands a second; 0: no limit.
    pub storm_kpps: u32,
    /// Inner VLAN tags.
    pub vlan: VlanPolicy,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self { anti_spoof: true, fdb_limit: 1_024, storm_kpps: 10, vlan: VlanPolicy::Drop }
    }
}

/// One network, as control wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct SegmentSpec {
    /// Its id.
    pub id: SegmentId,
    /// Its VNI; `None` keeps it on this host.
    pub vni: Option<Vni>,
    /// The MTU of its endpoints, in bytes of inner IP packet.
    pub mtu: u16,
    /// Its options.
    pub options: SegmentOptions,
    /// The underlay addresses of the VTEPs that share it; ignored without a VNI.
    pub vteps: Vec<IpAddr>,
    /// Its gateway; `None`: there is no way out of it.
    pub gateway: Option<GatewaySpec>,
}

/// One port, as control wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct PortSpec {
    /// Its id.
    pub id: PortId,
    /// What it belongs to.
    pub kind: PortKind,
    /// Its segment.
    pub segment: SegmentId,
    /// Its endpoint's MAC.
    pub mac: MacAddr,
    /// Its endpoint's IP addresses.
    pub addresses: Vec<IpAddr>,
}

/// The whole truth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct TablesSpec {
    /// Every segment.
    pub segments: Vec<SegmentSpec>,
    /// Every port.
    pub ports: Vec<PortSpec>,
    /// Every port of the host that leads to an endpoint.
    pub published: Vec<Published>,
}

/// What does not change between versions.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Counter shards: one per worker.
    pub shards: usize,
    /// Unpredictable to endpoints.
    pub seed: u64,
    /// This host's VTEP and its UDP port.
    pub underlay: Option<(Vtep, u16)>,
}

/// What workers read.
#[derive(Debug)]
pub struct Tables {
    segments: Vec<Segment>,
    by_id: HashMap<SegmentId, usize, FixedState>,
    by_vni: HashMap<Vni, usize, FixedState>,
    ports: HashMap<PortId, Port, FixedState>,
    vtep_ports: VtepPorts,
    /// The subnets of all networks with a gateway, by family.
    subnets: (Ranges, Ranges),
    narrowest: u16,
    /// What all gateways share, in every version.
    pub(crate) house: Arc<House>,
    /// Counts what belongs to no segment: datagrams that were refused before their VNI was known.
    pub(crate) nowhere: Arc<Counters>,
    /// What segments that are gone had counted.
    retired: Totals,
    /// Forwarding tables that there have been.
    fdbs: u64,
}

impl Tables {
    /// Tables with nothing in them.
    #[must_use]
    pub fn empty(ground: &Ground) -> Self {
        Self {
            segments: Vec::new(),
            by_id: HashMap::with_hasher(FixedState::with_seed(ground.seed)),
            by_vni: HashMap::with_hasher(FixedState::with_seed(ground.seed)),
            ports: HashMap::with_hasher(FixedState::with_seed(ground.seed)),
            vtep_ports: VtepPorts::default(),
            subnets: <(Ranges, Ranges)>::default(),
            narrowest: u16::MAX,
            house: Arc::new(House::new(ground)),
            nowhere: Arc::new(Counters::new(ground.shards)),
            retired: Totals::default(),
            fdbs: 0,
        }
    }

    /// Freezes `spec`, carrying over from `previous` what frames have taught it.
    pub fn build(spec: &TablesSpec, previous: &Self, ground: &Ground) -> Result<Self, TablesError> {
        check_sizes(spec)?;
        let mut tables = Self::empty(ground);
        tables.nowhere = Arc::clone(&previous.nowhere);
        tables.house = Arc::clone(&previous.house);
        tables.fdbs = previous.fdbs;
        for segment in &spec.segments {
            if tables.by_id.insert(segment.id, tables.segments.len()).is_some() {
                return Err(TablesError::DuplicateSegment(segment.id));
            }
            tables.add_segment(segment, previous.segment(segment.id), ground)?;
        }
        for port in &spec.ports {
            let &segment =
                tables.by_id.get(&port.segment).ok_or(TablesError::NoSegment(port.id, port.segment))?;
            tables.add_port(port, segment, previous)?;
        }
        tables.vtep_ports = vtep_ports(&tables.segments, ground);
        tables.subnets = subnets(&tables.segments);
        let gateways = tables.segments.iter().filter(|segment| segment.gateway.is_some());
        tables.narrowest = gateways.map(|segment| segment.mtu).min().unwrap_or(u16::MAX);
        tables.check_macs()?;
        tables.check_references(spec)?;
        tables.retire(previous);
        // Nothing fails from here on: shared state changes only for tables that will be used.
        tables.segments.iter_mut().for_each(|s| s.ports.sort_unstable());
        tables.settle();
        Ok(tables)
    }

    /// Every segment.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The segment named `id`.
    #[must_use]
    pub fn segment(&self, id: SegmentId) -> Option<&Segment> {
        self.by_id.get(&id).map(|&i| &self.segments[i])
    }

    /// The segment with this VNI.
    #[must_use]
    pub fn segment_of_vni(&self, vni: Vni) -> Option<&Segment> {
        self.by_vni.get(&vni).map(|&i| &self.segments[i])
    }

    /// The segment of `port`.
    #[must_use]
    pub fn segment_of(&self, port: &Port) -> &Segment {
        &self.segments[port.segment]
    }

    /// The port named `id`.
    #[must_use]
    pub fn port(&self, id: PortId) -> Option<&Port> {
        self.ports.get(&id)
    }

    /// Tells what all versions share that this is the one from here on: the NAT forgets endpoints that have left, and
    /// publishes what `spec`, of which the tables were built, says. Gives what cannot be published.
    pub fn take_effect(&self, spec: &TablesSpec) -> Vec<Published> {
        self.house.settle(self, &spec.published)
    }

    /// The network with a gateway whose subnet `address` lies in; one of them, if networks overlap.
    #[must_use]
    pub fn segment_around(&self, address: IpAddr) -> Option<&Segment> {
        let ranges = if address.is_ipv4() { &self.subnets.0 } else { &self.subnets.1 };
        self.segments.get(ranges.find(address)? as usize)
    }

    /// The addresses of all gateways.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = std::net::IpAddr> + '_ {
        let gateways = self.segments.iter().filter_map(|segment| segment.gateway.as_ref());
        gateways.flat_map(|gateway| gateway.spec().subnets.iter().map(|&(_, address)| address))
    }

    /// What all gateways of this host share.
    #[must_use]
    pub fn house(&self) -> &House {
        &self.house
    }

    /// The least MTU of a network with a gateway.
    #[must_use]
    pub const fn narrowest(&self) -> u16 {
        self.narrowest
    }

    /// The tunnel ports that endpoints must not reach.
    #[must_use]
    pub fn vtep_ports(&self) -> &VtepPorts {
        &self.vtep_ports
    }

    /// Everything counted since the first version, whatever became of its segment.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.retired.clone();
        totals += &self.nowhere.totals();
        self.segments.iter().for_each(|s| totals += &s.totals());
        totals
    }

    fn add_segment(
        &mut self,
        spec: &SegmentSpec,
        old: Option<&Segment>,
        ground: &Ground,
    ) -> Result<(), TablesError> {
        let index = self.segments.len();
        if let Some(vni) = spec.vni
            && self.by_vni.insert(vni, index).is_some()
        {
            return Err(TablesError::DuplicateVni(vni));
        }
        let mut vteps: Vec<_> = match spec.vni {
            Some(_) => spec.vteps.iter().map(|&address| Vtep::new(address)).collect(),
            None => Vec::new(),
        };
        vteps.sort_unstable();
        vteps.dedup();
        let storm = |vtep| {
            let known = old.and_then(|old| old.vteps.iter().find(|(v, _)| *v == vtep));
            (vtep, known.map_or_else(Arc::default, |(_, storm)| Arc::clone(storm)))
        };
        let limit = spec.options.fdb_limit as usize;
        let seed = ground.seed ^ u64::from(spec.id.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let state = old.map_or_else(
            || {
                self.fdbs += 1;
                Arc::new(SegmentState::new(self.fdbs, limit, ground.shards, seed))
            },
            |old| Arc::clone(&old.state),
        );
        let gateway = spec.gateway.as_ref().map(Gateway::build).transpose();
        self.segments.push(Segment {
            id: spec.id,
            vni: spec.vni,
            mtu: spec.mtu,
            gateway: gateway.map_err(|error| TablesError::Gateway { segment: spec.id, error })?,
            ports: Vec::new(),
            addresses: HashMap::with_hasher(FixedState::with_seed(seed)),
            vteps: vteps.into_iter().map(storm).collect(),
            options: spec.options,
            state,
        });
        Ok(())
    }

    fn add_port(&mut self, spec: &PortSpec, segment: usize, previous: &Self) -> Result<(), TablesError> {
        if spec.mac.is_multicast() || spec.mac.is_zero() {
            return Err(TablesError::BadMac(spec.id, spec.mac));
        }
        if spec.mac == GATEWAY_MAC && spec.kind == PortKind::Endpoint {
            return Err(TablesError::GatewayMac(spec.id));
        }
        let port = Port {
            id: spec.id,
            kind: spec.kind,
            segment,
            binding: Binding { mac: spec.mac, addresses: spec.addresses.clone() },
            storm: previous.ports.get(&spec.id).map_or_else(Arc::default, |old| Arc::clone(&old.storm)),
        };
        if self.ports.insert(spec.id, port).is_some() {
            return Err(TablesError::DuplicatePort(spec.id));
        }
        let segment = &mut self.segments[segment];
        segment.ports.push(spec.id);
        let link_local = IpAddr::V6(spec.mac.link_local());
        let addresses = spec.addresses.iter().copied().chain([link_local]);
        segment.addresses.extend(addresses.map(|address| (address, spec.id)));
        Ok(())
    }

    /// Whether what leads to a port leads to one that is there, and of the right kind.
    fn check_references(&self, spec: &TablesSpec) -> Result<(), TablesError> {
        let legs = self.segments.iter().enumerate().filter_map(|(index, segment)| {
            Some(("a host's leg", segment.gateway.as_ref()?.spec().host?, PortKind::Host, Some(index)))
        });
        let published = spec.published.iter().map(|p| ("a published port", p.port, PortKind::Endpoint, None));
        for (what, port, kind, segment) in legs.chain(published) {
            let is_right = |found: &Port| found.kind == kind && segment.is_none_or(|s| s == found.segment);
            if !self.port(port).is_some_and(is_right) {
                return Err(TablesError::NoPort { what, port });
            }
        }
        Ok(())
    }

    fn check_macs(&self) -> Result<(), TablesError> {
        let mut seen = HashMap::with_capacity_and_hasher(self.ports.len(), FixedState::default());
        for port in self.ports.values() {
            if seen.insert((port.segment, port.binding.mac), port.id).is_some() {
                return Err(TablesError::DuplicateMac(port.binding.mac));
            }
        }
        Ok(())
    }

    fn retire(&mut self, previous: &Self) {
        self.retired = previous.retired.clone();
        for gone in previous.segments.iter().filter(|s| !self.by_id.contains_key(&s.id)) {
            self.retired += &gone.totals();
        }
    }

    /// Tells each FDB who its endpoints are and who has left.
    fn settle(&self) {
        for segment in &self.segments {
            let statics: Vec<_> = segment.ports.iter().map(|id| (self.ports[id].binding.mac, *id)).collect();
            segment.state.change(|fdb| {
                fdb.set_limit(segment.options.fdb_limit as usize);
                fdb.set_static(&statics);
                fdb.forget(|location| match location {
                    Location::Local(port) => segment.ports.binary_search(&port).is_err(),
                    Location::Remote(vtep) => segment.member(vtep).is_none(),
                });
            });
        }
    }
}

fn check_sizes(spec: &TablesSpec) -> Result<(), TablesError> {
    let vteps = spec.segments.iter().map(|s| s.vteps.len()).max().unwrap_or(0);
    let sizes = [
        ("segments", spec.segments.len(), SEGMENTS_MAX),
        ("ports", spec.ports.len(), PORTS_MAX),
        ("VTEPs of one segment", vteps, VTEPS_MAX),
        ("published ports", spec.published.len(), PUBLISHED_MAX),
    ];
    match sizes.into_iter().find(|&(_, count, max)| count > max) {
        Some((what, count, max)) => Err(TablesError::TooMany { what, count, max }),
        None => Ok(()),
    }
}

/// The subnets of all networks with a gateway, with the index of the network.
fn subnets(segments: &[Segment]) -> (Ranges, Ranges) {
    let of = |(index, segment): (u32, &'_ Segment)| {
        let subnets = segment.gateway.as_ref().map_or(&[][..], |gateway| &gateway.spec().subnets);
        subnets.iter().map(move |&(subnet, _)| (subnet, Some(index))).collect::<Vec<_>>()
    };
    let all = (0..).zip(segments).flat_map(of);
    let (v4, v6) = all.partition::<Vec<_>, _>(|(subnet, _)| subnet.address().is_ipv4());
    (Ranges::build(v4), Ranges::build(v6))
}

fn vtep_ports(segments: &[Segment], ground: &Ground) -> VtepPorts {
    let Some((own, port)) = ground.underlay else { return VtepPorts::default() };
    let mut addresses: Vec<_> = segments.iter().flat_map(Segment::vteps).map(Vtep::address).collect();
    addresses.push(own.address());
    addresses.sort_unstable();
    addresses.dedup();
    VtepPorts { addresses, port }
}

#[cfg(test)]
mod tests;
