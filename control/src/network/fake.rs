//! A packet side without packets: it remembers what was asked of it, and refuses what it is told to refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipnet::IpNet;
use weft_dataplane::io::tap::TapError;
use weft_dataplane::runtime::{CaptureFilter, EntryKind, FdbRow, Location};
use weft_dataplane::tables::{PortId, SegmentId, TablesError, TablesSpec};

use super::{Capture, Occupied, Plane, PlaneError, Traffic, TrafficReport, UnderlayReport};
use crate::ipam::overlaps;
use crate::sandbox::{Netns, Plug, SandboxError};

/// What the fake shall refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refuse {
    Publish,
    OpenPort,
    Plug,
}

/// What the packet side looks like from outside.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) tables: TablesSpec,
    pub(crate) open: BTreeSet<PortId>,
    pub(crate) plugged: Vec<Plug>,
    pub(crate) refuse: Option<Refuse>,
    pub(crate) host: Vec<IpNet>,
}

/// The fake; clones share one world.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakePlane(Arc<Mutex<World>>);

impl FakePlane {
    pub(crate) fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn refuses(&self, what: Refuse) -> bool {
        self.world(|world| world.refuse == Some(what))
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

    fn open_port(&self, port: PortId, tap_name: &str) -> Result<(), PlaneError> {
        if self.refuses(Refuse::OpenPort) {
            return Err(TapError::NameTaken(tap_name.into()).into());
        }
        let fresh = self.world(|world| world.open.insert(port));
        assert!(fresh, "port {port:?} was opened twice");
        Ok(())
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
