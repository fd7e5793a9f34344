//! A packet side without packets: it remembers what was asked of it, and refuses what it is told to refuse.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipnet::IpNet;
use weft_dataplane::io::tap::TapError;
use weft_dataplane::nat::{Protocol, Published};
use weft_dataplane::runtime::{CaptureFilter, EntryKind, FdbRow, Location};
use weft_dataplane::tables::{PortId, PortKind, SegmentId, TablesError, TablesSpec};

use super::leg::is_leg;
use super::{
    Capture, Manager, NatRow, NetworkError, Occupied, Plane, PlaneError, ServedPort, Traffic, TrafficReport,
    UnderlayReport,
};
use crate::config::Underlay;
use crate::ipam::overlaps;
use crate::model::{Endpoint, Id, Name, PortMapping};
use crate::publish::owner::Owner;
use crate::publish::{PublishFailure, Relays};
use crate::sandbox::inside::Found;
use crate::sandbox::{Birth, Leg, Netns, NetnsId, Plug, SandboxError, life};
use crate::store::{Catalog, MemoryStore, Store};

/// What the fake shall refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refuse {
    Publish,
    OpenPort,
    Plug,
    /// Namespaces cannot be looked at.
    Look,
    Reserve,
    /// The host's legs.
    Stand,
}

/// What the packet side looks like from outside.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) tables: TablesSpec,
    /// The ports that are served, with their TAPs' names. Whoever makes a plane of this world adopts them.
    pub(crate) open: BTreeMap<PortId, String>,
    pub(crate) plugged: Vec<Plug>,
    /// What was offered, and where somebody has moved it and how it was called there.
    pub(crate) offered: BTreeMap<PortId, Plug>,
    pub(crate) moved: BTreeMap<PortId, (PathBuf, String)>,
    /// The host's legs as they were last made, by name.
    pub(crate) legs: BTreeMap<String, Leg>,
    pub(crate) loopbacks: usize,
    pub(crate) refuse: Option<Refuse>,
    /// How often it has refused.
    pub(crate) refusals: usize,
    pub(crate) host: Vec<IpNet>,
    /// The ports that are reserved for endpoints of the daemon of the moment.
    pub(crate) reserved: BTreeMap<Id, Vec<PortMapping>>,
    /// The endpoints that the host is relayed to.
    pub(crate) relayed: BTreeSet<Id>,
    /// The ports that processes of the host have.
    pub(crate) taken: Vec<PortMapping>,
    /// Paths that lead nowhere.
    pub(crate) dead: BTreeSet<PathBuf>,
    /// How often a path has come to lead to another namespace.
    pub(crate) reborn: BTreeMap<PathBuf, u64>,
    /// What somebody has done to the interfaces.
    pub(crate) meddling: Option<fn(&mut Found)>,
    /// Namespaces that somebody is in.
    pub(crate) inhabited: HashSet<NetnsId>,
}

impl World {
    /// The ports that are served for endpoints.
    pub(crate) fn ports(&self) -> Vec<PortId> {
        self.open.iter().filter(|(_, tap)| !is_leg(tap)).map(|(port, _)| *port).collect()
    }

    /// The host's legs that are served.
    pub(crate) fn standing(&self) -> Vec<(PortId, &Leg)> {
        self.open.iter().filter_map(|(port, tap)| Some((*port, self.legs.get(tap)?))).collect()
    }

    /// The ports of endpoints in the tables.
    pub(crate) fn published_ports(&self) -> Vec<PortId> {
        let endpoints = self.tables.ports.iter().filter(|port| port.kind == PortKind::Endpoint);
        endpoints.map(|port| port.id).collect()
    }
}

/// The fake; clones share one world.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakePlane(Arc<Mutex<World>>);

impl Manager {
    /// A manager over an empty store that ends with it.
    pub(crate) fn new(
        plane: Box<dyn Plane>,
        underlay: Option<Underlay>,
        peers: Vec<IpAddr>,
    ) -> Result<Self, NetworkError> {
        Self::over(Arc::new(MemoryStore::default()), plane, underlay, peers)
    }

    /// A manager over a store, as a daemon that starts on it makes one.
    pub(crate) fn over(
        store: Arc<dyn Store>,
        plane: Box<dyn Plane>,
        underlay: Option<Underlay>,
        peers: Vec<IpAddr>,
    ) -> Result<Self, NetworkError> {
        let node = Name::new("host-a").expect("a legal name");
        Self::open(plane, Catalog::new(store), node, underlay, peers)
    }
}

impl FakePlane {
    pub(crate) fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn refuses(&self, what: Refuse) -> bool {
        self.world(|world| {
            let refuses = world.refuse == Some(what);
            world.refusals += usize::from(refuses);
            refuses
        })
    }
}

impl Plane for FakePlane {
    fn publish(&self, tables: &TablesSpec) -> Result<(), PlaneError> {
        if self.refuses(Refuse::Publish) {
            return Err(TablesError::TooMany { what: "ports", count: 2, max: 1 }.into());
        }
        self.world(|world| world.tables = tables.clone());
        Ok(())
    }

    fn ports(&self) -> Vec<ServedPort> {
        let served = |(port, tap): (&PortId, &String)| ServedPort { port: *port, tap: tap.clone() };
        self.world(|world| world.open.iter().map(served).collect())
    }

    fn open_port(&self, port: PortId, _: &Netns, _: &str, tap: &str) -> Result<(), PlaneError> {
        if self.refuses(Refuse::OpenPort) {
            return Err(TapError::NameTaken(tap.into()).into());
        }
        let former = self.world(|world| world.open.insert(port, tap.into()));
        assert_eq!(former, None, "port {port:?} was opened twice");
        Ok(())
    }

    fn offer(&self, port: PortId, plug: &Plug) -> Result<(), PlaneError> {
        let home = Netns::current()?;
        self.open_port(port, &home, &plug.ifname, &plug.ifname)?;
        self.world(|world| world.offered.insert(port, plug.clone()));
        Ok(())
    }

    fn whereabouts(&self, port: PortId) -> Option<(Netns, String)> {
        let offered = self.world(|world| world.offered.get(&port).cloned())?;
        let moved = self.world(|world| world.moved.get(&port).cloned());
        let (path, ifname) = moved.unwrap_or_else(|| ("/proc/self/ns/net".into(), offered.ifname));
        Some((Netns::open(path).ok()?, ifname))
    }

    fn stand(&self, port: PortId, leg: &Leg) -> Result<(), PlaneError> {
        if self.refuses(Refuse::OpenPort) {
            return Err(TapError::NameTaken(leg.ifname.clone()).into());
        }
        let served = self.world(|world| world.open.entry(port).or_insert_with(|| leg.ifname.clone()).clone());
        assert_eq!(served, leg.ifname, "port {port:?} is another's");
        if self.refuses(Refuse::Stand) {
            let source = io::Error::other("refused");
            return Err(SandboxError::Netlink { step: "stand".into(), netns: "x".into(), source }.into());
        }
        self.world(|world| world.legs.insert(leg.ifname.clone(), leg.clone()));
        Ok(())
    }

    fn interfaces(&self, _: &Netns) -> Result<Vec<Found>, PlaneError> {
        let found = |plug: &Plug| {
            let Plug { ifname, mac, addresses, mtu, .. } = plug.clone();
            Found { ifname, up: true, mtu, mac: Some(mac), addresses }
        };
        self.world(|world| {
            // The latest of each name is found first.
            let mut all: Vec<_> = world.plugged.iter().rev().map(found).collect();
            world.meddling.into_iter().for_each(|meddle| all.iter_mut().for_each(meddle));
            Ok(all)
        })
    }

    fn loopback_up(&self, _: &Netns) -> Result<(), PlaneError> {
        self.world(|world| world.loopbacks += 1);
        Ok(())
    }

    fn reserve(&self, endpoint: &Endpoint, mapping: &PortMapping) -> Result<(), PlaneError> {
        let taken = self.world(|world| world.taken.iter().any(|taken| taken.overlaps(mapping)));
        if taken || self.refuses(Refuse::Reserve) {
            let owner = Some(Owner { pid: 4711, name: "nginx".into() });
            return Err(PublishFailure::Taken { mapping: *mapping, owner }.into());
        }
        self.world(|world| {
            let twice = world.reserved.values().flatten().any(|other| other.overlaps(mapping));
            assert!(!twice, "{mapping} is reserved twice");
            world.reserved.entry(endpoint.id).or_default().push(*mapping);
        });
        Ok(())
    }

    fn relay(&self, endpoint: &Endpoint) {
        self.world(|world| world.relayed.insert(endpoint.id));
    }

    fn release(&self, endpoint: Id) {
        self.world(|world| {
            world.reserved.remove(&endpoint);
            world.relayed.remove(&endpoint);
        });
    }

    fn relays(&self) -> Relays {
        Relays { open: 3, refused: 1 }
    }

    fn nat_sessions(&self) -> Vec<NatRow> {
        // One through each published port.
        let row = |rule: &Published| NatRow {
            port: rule.port,
            protocol: if rule.protocol == Protocol::Tcp { "tcp" } else { "udp" },
            inside: (rule.inside, rule.inside_port).into(),
            outside: ([192, 0, 2, 1], rule.outside_port).into(),
            remote: ([198, 51, 100, 7], 40_000).into(),
            state: "established",
            idle_s: 5,
            expires_s: 7_435,
        };
        self.world(|world| world.tables.published.iter().map(row).collect())
    }

    fn nat_session_count(&self) -> u64 {
        self.world(|world| world.tables.published.len() as u64)
    }

    fn open_sandbox(&self, path: &Path) -> Result<Netns, PlaneError> {
        if self.world(|world| world.dead.contains(path)) {
            return Err(SandboxError::NotFound { path: path.into() }.into());
        }
        Ok(Netns::open(path)?)
    }

    fn birth(&self, netns: &Netns) -> Result<Birth, PlaneError> {
        if self.refuses(Refuse::Look) {
            let source = io::Error::other("no descriptor is left");
            return Err(SandboxError::Open { path: netns.path().into(), source }.into());
        }
        let cookie = self.world(|world| world.reborn.get(netns.path()).copied().unwrap_or(0));
        Ok(Birth { boot: "a boot".into(), cookie })
    }

    fn leads_to(&self, path: &Path) -> Option<NetnsId> {
        let another = |times: &u64| NetnsId { dev: 0, ino: *times };
        self.world(|world| match world.reborn.get(path) {
            Some(times) => Some(another(times)),
            None if world.dead.contains(path) => None,
            None => life::at(path),
        })
    }

    fn inhabited(&self) -> HashSet<NetnsId> {
        self.world(|world| world.inhabited.clone())
    }

    fn plug(&self, _: &Netns, plug: &Plug) -> Result<Vec<String>, PlaneError> {
        if self.refuses(Refuse::Plug) {
            let source = io::Error::other("refused");
            return Err(SandboxError::Netlink { step: "plug".into(), netns: "x".into(), source }.into());
        }
        self.world(|world| world.plugged.push(plug.clone()));
        Ok(vec![])
    }

    fn close_port(&self, port: PortId) {
        self.world(|world| world.open.remove(&port));
    }

    fn close(&self) {
        self.world(|world| world.open.clear());
    }

    fn occupied(&self) -> Result<Occupied, PlaneError> {
        let host = self.world(|world| world.host.clone());
        Ok(Box::new(move |subnet| {
            let overlapping = host.iter().copied().filter(|&net| overlaps(net, subnet));
            overlapping.max_by_key(|net| net.prefix_len())
        }))
    }

    fn traffic(&self) -> TrafficReport {
        let traffic = Traffic { packets: 7, bytes: 700, drops: vec![("storm", 2)] };
        let segments = self.world(|world| world.tables.segments.iter().map(|s| s.id).collect::<Vec<_>>());
        TrafficReport {
            total: traffic.clone(),
            segments: segments.into_iter().map(|id| (id, traffic.clone())).collect(),
        }
    }

    fn fdb(&self, segment: SegmentId) -> Vec<FdbRow> {
        let ports = self.world(|world| world.tables.ports.clone());
        let here = ports.into_iter().filter(|port| port.segment == segment);
        let row = |mac, id| FdbRow { mac, location: Location::Local(id), kind: EntryKind::Static, age: None };
        here.map(|port| row(port.mac, port.id)).collect()
    }

    fn capture(&self, _: CaptureFilter, labels: BTreeMap<PortId, String>) -> Option<Box<dyn Capture>> {
        Some(Box::new(FakeCapture(labels.into_values().collect())))
    }

    fn workers(&self) -> usize {
        1
    }

    fn underlay(&self) -> Option<UnderlayReport> {
        None
    }
}

/// A capture in which every frame is the text `frame`, and the end tells the labels.
struct FakeCapture(Vec<String>);

impl Capture for FakeCapture {
    fn next(&mut self, frames: usize, _: Duration) -> (Vec<u8>, usize) {
        (b"frame ".repeat(frames), frames)
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.0.join(" ").into_bytes()
    }
}
