//! The real packet side: the packet process, and the host's namespaces by netlink.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::runtime::Handle as Runtime;
use weft_dataplane::io::tap::Tap;
use weft_dataplane::io::udp::Mode;
use weft_dataplane::runtime::{CaptureFilter, FdbRow, Totals, UnderlayInfo};
use weft_dataplane::tables::{PortId, SegmentId, TablesSpec};

use super::plane::{
    Capture, Occupied, Plane, PlaneError, ServedPort, Traffic, TrafficReport, UnderlayReport,
};
use crate::packet::{Dataplane, Recording, Report};
use crate::sandbox::host::HostNets;
use crate::sandbox::{self, Netns, Plug};
use crate::underlay::{Outlook, View};

/// A [`Plane`] made of a running dataplane. Netlink is spoken on the runtime, waited for on the calling thread, which
/// therefore must not be one of the runtime's own.
#[derive(Debug)]
pub struct HostPlane {
    dataplane: Arc<Dataplane>,
    runtime: Runtime,
    outlook: Outlook,
}

impl HostPlane {
    /// Drives `dataplane`, and the namespaces from `runtime`. `outlook` is the dataplane's uplink's.
    #[must_use]
    pub fn new(dataplane: Arc<Dataplane>, runtime: Runtime, outlook: Outlook) -> Self {
        Self { dataplane, runtime, outlook }
    }
}

impl Plane for HostPlane {
    fn publish(&self, tables: &TablesSpec) -> Result<(), PlaneError> {
        Ok(self.dataplane.publish(tables)?)
    }

    fn open_port(&self, port: PortId, tap_name: &str) -> Result<(), PlaneError> {
        let tap = Tap::create(tap_name, self.dataplane.workers())?;
        Ok(self.dataplane.attach(port, tap)?)
    }

    fn plug(&self, netns: &Netns, tap_name: &str, plug: &Plug) -> Result<Vec<String>, PlaneError> {
        Ok(self.runtime.block_on(sandbox::plug(netns, tap_name, plug))?.warnings)
    }

    fn loopback_up(&self, netns: &Netns) -> Result<(), PlaneError> {
        Ok(self.runtime.block_on(sandbox::loopback_up(netns))?)
    }

    fn close_port(&self, port: PortId) {
        self.dataplane.detach(port);
    }

    fn ports(&self) -> Vec<ServedPort> {
        self.dataplane.ports()
    }

    fn process(&self) -> Report {
        self.dataplane.report()
    }

    fn occupied(&self) -> Result<Occupied, PlaneError> {
        let nets = self.runtime.block_on(HostNets::read())?;
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

fn traffic(totals: &Totals) -> Traffic {
    Traffic {
        packets: totals.packets,
        bytes: totals.bytes,
        drops: totals.nonzero_drops().map(|(reason, count)| (reason.name(), count)).collect(),
    }
}
