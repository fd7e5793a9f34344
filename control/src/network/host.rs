//! The real packet side: the packet process, and the host's namespaces by netlink.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::runtime::Handle as Runtime;
use weft_dataplane::io::tap::{Tap, TapError};
use weft_dataplane::io::udp::Mode;
use weft_dataplane::nat::{Protocol, SessionRow, SessionState};
use weft_dataplane::runtime::{CaptureFilter, FdbRow, HeldPort, Purpose, Totals, UnderlayInfo};
use weft_dataplane::tables::{PortId, SegmentId, TablesSpec};

use super::leg::is_leg;
use super::plane::{
    Capture, Occupied, Plane, PlaneError, ServedPort, Traffic, TrafficReport, UnderlayReport,
};
use super::sessions::{NatRow, SESSIONS_TOLD};
use crate::model::{Endpoint, Id, PortMapping};
use crate::packet::{Dataplane, Recording, Report};
use crate::publish::{Publisher, Relays};
use crate::sandbox::host::HostNets;
use crate::sandbox::inside::{self, Found};
use crate::sandbox::{self, Leg, Netns, Plug};
use crate::underlay::{Outlook, View};

/// A [`Plane`] made of a running dataplane. Netlink is spoken on the runtime, waited for on the calling thread, which
/// therefore must not be one of the runtime's own.
#[derive(Debug)]
pub struct HostPlane {
    dataplane: Arc<Dataplane>,
    runtime: Runtime,
    outlook: Outlook,
    publisher: Publisher,
}

impl HostPlane {
    /// Drives `dataplane`, and the namespaces from `runtime`. `outlook` is the dataplane's uplink's.
    #[must_use]
    pub fn new(dataplane: Arc<Dataplane>, runtime: Runtime, outlook: Outlook) -> Self {
        let publisher = Publisher::new(runtime.clone());
        match dataplane.held(Purpose::Published) {
            Ok(held) => publisher.inherit(held),
            Err(error) => tracing::error!(%error, "published ports cannot be taken over"),
        }
        Self { dataplane, runtime, outlook, publisher }
    }
}

impl Plane for HostPlane {
    fn publish(&self, tables: &TablesSpec) -> Result<(), PlaneError> {
        Ok(self.dataplane.publish(tables)?)
    }

    fn open_port(&self, port: PortId, netns: &Netns, ifname: &str, tap: &str) -> Result<(), PlaneError> {
        sandbox::check_ifname(ifname)?;
        let made = netns.run(|| Tap::create(ifname, self.dataplane.workers()))?;
        let made = made.map_err(|error| match error {
            TapError::NameTaken(_) => sandbox::taken(ifname, netns).into(),
            other => PlaneError::from(other),
        })?;
        Ok(self.dataplane.attach(port, made.known_as(tap.to_owned()))?)
    }

    fn plug(&self, netns: &Netns, plug: &Plug) -> Result<Vec<String>, PlaneError> {
        Ok(self.runtime.block_on(sandbox::plug(netns, plug))?.warnings)
    }

    fn offer(&self, port: PortId, plug: &Plug) -> Result<(), PlaneError> {
        self.dataplane.attach(port, Tap::create(&plug.ifname, self.dataplane.workers())?)?;
        let shaped = self.runtime.block_on(sandbox::shape(plug));
        Ok(shaped.inspect_err(|_| self.dataplane.detach(port))?)
    }

    fn whereabouts(&self, port: PortId) -> Option<(Netns, String)> {
        let (netns, ifname) = self.dataplane.place(port)?;
        Some((Netns::from_descriptor(netns).ok()?, ifname))
    }

    fn stand(&self, port: PortId, leg: &Leg) -> Result<(), PlaneError> {
        if !self.dataplane.ports().iter().any(|served| served.port == port) {
            self.dataplane.attach(port, Tap::create(&leg.ifname, self.dataplane.workers())?)?;
        }
        Ok(self.runtime.block_on(sandbox::stand(leg))?)
    }

    fn interfaces(&self, netns: &Netns) -> Result<Vec<Found>, PlaneError> {
        Ok(self.runtime.block_on(inside::interfaces(netns))?)
    }

    fn loopback_up(&self, netns: &Netns) -> Result<(), PlaneError> {
        Ok(self.runtime.block_on(sandbox::loopback_up(netns))?)
    }

    fn close_port(&self, port: PortId) {
        self.dataplane.detach(port);
    }

    fn reserve(&self, endpoint: &Endpoint, mapping: &PortMapping) -> Result<(), PlaneError> {
        for (HeldPort { address, transport, port }, reserved) in self.publisher.reserve(endpoint, mapping)? {
            self.dataplane.hold(Purpose::Published, address, transport, vec![(port, reserved)])?;
        }
        Ok(())
    }

    fn relay(&self, endpoint: &Endpoint) {
        self.publisher.relay(endpoint);
    }

    fn release(&self, endpoint: Id) {
        self.dataplane.release(&self.publisher.release(endpoint));
    }

    fn settle(&self) {
        self.dataplane.release(&self.publisher.disinherit());
    }

    fn nat_sessions(&self) -> Vec<NatRow> {
        self.dataplane.sessions(SESSIONS_TOLD).iter().map(nat_row).collect()
    }

    fn nat_session_count(&self) -> u64 {
        self.dataplane.nat_counts().sessions as u64
    }

    fn relays(&self) -> Relays {
        self.publisher.relays()
    }

    fn close(&self) {
        self.dataplane.close();
    }

    fn ports(&self) -> Vec<ServedPort> {
        self.dataplane.ports()
    }

    fn process(&self) -> Report {
        self.dataplane.report()
    }

    fn occupied(&self) -> Result<Occupied, PlaneError> {
        let nets = self.runtime.block_on(HostNets::read())?.without(is_leg);
        Ok(Box::new(move |subnet: IpNet| nets.overlap(subnet).map(|(net, _)| net)))
    }

    fn traffic(&self) -> TrafficReport {
        let Some(stats) = self.dataplane.stats() else { return TrafficReport::default() };
        TrafficReport {
            total: traffic(&stats.total),
            segments: stats.segments.iter().map(|(id, totals)| (*id, traffic(totals))).collect(),
        }
    }

    fn fdb(&self, segment: SegmentId) -> Vec<FdbRow> {
        self.dataplane.fdb(segment)
    }

    fn capture(&self, filter: CaptureFilter, labels: BTreeMap<PortId, String>) -> Option<Box<dyn Capture>> {
        // A port that was connected after the capture began has no label.
        let recording = Recording::start(Arc::clone(&self.dataplane), filter, labels.into_iter().collect());
        recording.ok().map(|recording| Box::new(recording) as _)
    }

    fn workers(&self) -> usize {
        self.dataplane.workers()
    }

    fn underlay(&self) -> Option<UnderlayReport> {
        let info = self.dataplane.underlay()?;
        let View { refusal, device, reaches } = self.outlook.view();
        let reason = both(refusal.as_deref(), info.reason.as_deref());
        let (device, reaches) =
            if info.mode == Mode::TunnelGso { (device, reaches) } else { (None, Vec::new()) };
        let UnderlayInfo { address, port, mode, sockets, .. } = info;
        Some(UnderlayReport { address, port, mode, sockets, reason, device, reaches })
    }
}

impl Capture for Recording {
    fn next(&mut self, frames: usize, patience: Duration) -> (Vec<u8>, usize) {
        Self::next(self, frames, patience)
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        Self::finish(*self)
    }
}

/// The reasons against the better mode and against the next best.
fn both(first: Option<&str>, second: Option<&str>) -> Option<String> {
    let reasons: Vec<_> = first.into_iter().chain(second).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

fn nat_row(row: &SessionRow) -> NatRow {
    let socket = |(address, port): (IpAddr, u16)| SocketAddr::new(address, port);
    NatRow {
        port: row.port,
        protocol: match row.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Icmp => "icmp",
        },
        inside: socket(row.inside),
        outside: socket(row.outside),
        remote: socket(row.remote),
        state: match row.state {
            SessionState::HalfOpen => "half-open",
            SessionState::Opening => "opening",
            SessionState::Open => "open",
            SessionState::Closing => "closing",
            SessionState::Closed => "closed",
        },
        idle_s: row.idle.as_secs(),
        expires_s: row.expires.as_secs(),
    }
}

fn traffic(totals: &Totals) -> Traffic {
    Traffic {
        packets: totals.packets,
        bytes: totals.bytes,
        drops: totals.nonzero_drops().map(|(reason, count)| (reason.name(), count)).collect(),
    }
}
