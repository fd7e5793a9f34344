//! A packet side without packets: it remembers what was asked of it, and refuses what it is told to refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipnet::IpNet;
use weft_dataplane::io::tap::TapError;
use weft_dataplane::runtime::{CaptureFilter, EntryKind, FdbRow, Location};
use weft_dataplane::tables::{PortId, SegmentId, TablesError, TablesSpec};

use super::{
    Capture, Manager, NetworkError, Occupied, Plane, PlaneError, ServedPort, Traffic, TrafficReport,
    UnderlayReport,
};
use crate::config::Underlay;
use crate::ipam::overlaps;
use crate::model::Name;
use crate::sandbox::{Birth, Netns, Plug, SandboxError};
use crate::store::{Catalog, MemoryStore, Store};

/// What the fake shall refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refuse {
    Publish,
    OpenPort,
    Plug,
    /// Namespaces cannot be looked at.
    Look,
}

/// What the packet side looks like from outside.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) tables: TablesSpec,
    /// The ports that are served, with their TAPs' names. Whoever makes a plane of this world adopts them.
    pub(crate) open: BTreeMap<PortId, String>,
    pub(crate) plugged: Vec<Plug>,
    pub(crate) loopbacks: usize,
    pub(crate) refuse: Option<Refuse>,
    /// How often it has refused.
    pub(crate) refusals: usize,
    pub(crate) host: Vec<IpNet>,
    /// Paths that lead nowhere.
    pub(crate) dead: BTreeSet<PathBuf>,
    /// How often a path has come to lead to another namespace.
    pub(crate) reborn: BTreeMap<PathBuf, u64>,
}

impl World {
    /// The ports that are served.
    pub(crate) fn ports(&self) -> Vec<PortId> {
        self.open.keys().copied().collect()
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

    fn open_port(&self, port: PortId, tap: &str) -> Result<(), PlaneError> {
        if self.refuses(Refuse::OpenPort) {
            return Err(TapError::NameTaken(tap.into()).into());
        }
        let former = self.world(|world| world.open.insert(port, tap.into()));
        assert_eq!(former, None, "port {port:?} was opened twice");
        Ok(())
    }

    fn loopback_up(&self, _: &Netns) -> Result<(), PlaneError> {
        self.world(|world| world.loopbacks += 1);
        Ok(())
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

    fn plug(&self, _: &Netns, _: &str, plug: &Plug) -> Result<Vec<String>, PlaneError> {
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

    fn occupied(&self) -> Result<Occupied, PlaneError> {
        let host = self.world(|world| world.host.clone());
        Ok(Box::new(move |subnet| host.iter().copied().find(|&net| overlaps(net, subnet))))
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
