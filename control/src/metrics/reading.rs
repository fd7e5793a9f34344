//! Everything that is counted, read at one moment, and as OpenMetrics text.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use weft_dataplane::verdict::DropReason;

use super::process::{Usage, usage};
use crate::driver::docker::{BUCKETS, Calls, Timing};
use crate::health::{Health, Phase};
use crate::network::{Manager, Traffic};
use crate::publish::Relays;

/// All numbers of one moment.
#[derive(Debug)]
pub struct Reading {
    ready: bool,
    warnings: u64,
    workers: u64,
    peers: u64,
    published: u64,
    sessions: u64,
    relays: Relays,
    mode: Option<String>,
    total: Traffic,
    networks: Vec<NetworkReading>,
    processes: Vec<(&'static str, Usage)>,
    docker: BTreeMap<&'static str, Timing>,
}

/// The numbers of one network.
#[derive(Debug)]
struct NetworkReading {
    name: String,
    endpoints: u64,
    fdb_entries: u64,
    traffic: Traffic,
}

impl Reading {
    /// Reads everything. Blocks as the manager does.
    #[must_use]
    pub fn take(manager: &Manager, health: &Health, docker: &Calls) -> Self {
        let plane = manager.plane();
        let report = plane.traffic();
        let snapshots = manager.networks();
        let networks = snapshots.iter().map(|snapshot| {
            let segment = snapshot.network.segment;
            let traffic = report.segments.iter().find(|(id, _)| *id == segment);
            NetworkReading {
                name: snapshot.network.name.to_string(),
                endpoints: snapshot.endpoints.len() as u64,
                fdb_entries: plane.fdb(segment).len() as u64,
                traffic: traffic.map(|(_, traffic)| traffic.clone()).unwrap_or_default(),
            }
        });
        Self {
            ready: health.phase() == Phase::Ready,
            warnings: health.warnings().len() as u64,
            workers: plane.workers() as u64,
            peers: manager.peers().len() as u64,
            published: manager.published() as u64,
            sessions: plane.nat_session_count(),
            relays: plane.relays(),
            mode: plane.underlay().map(|underlay| underlay.mode.to_string()),
            networks: networks.collect(),
            total: report.total,
            processes: usage(std::process::id()).map(|usage| ("daemon", usage)).into_iter().collect(),
            docker: docker.read(),
        }
    }
}

/// `reading` as OpenMetrics text.
///
/// # Errors
/// A bug in a name, told as the library tells it.
pub fn text(reading: Reading) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("weft");
    registry.register_collector(Box::new(reading));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Reading {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.daemon(&mut page)?;
        self.packets(&mut page)?;
        self.networks(&mut page)?;
        self.outside(&mut page)?;
        self.docker(&mut page)?;
        self.processes(&mut page)
    }
}

impl Reading {
    fn daemon(&self, page: &mut Page<'_>) -> fmt::Result {
        page.info("build", "The version of this daemon", &[("version", env!("CARGO_PKG_VERSION"))])?;
        if let Some(mode) = &self.mode {
            page.info("underlay", "How the underlay is driven", &[("mode", mode.as_str())])?;
        }
        page.gauge("ready", "1 when everything is up", [([], u64::from(self.ready))])?;
        page.gauge("warnings", "What is amiss, as weft status lists it", [([], self.warnings)])?;
        page.gauge("workers", "Packet threads", [([], self.workers)])?;
        page.gauge("peers", "Other VTEPs that are configured", [([], self.peers)])?;
        page.gauge("networks", "Networks", [([], self.networks.len() as u64)])?;
        let endpoints: u64 = self.networks.iter().map(|network| network.endpoints).sum();
        page.gauge("endpoints", "Endpoints, of all networks", [([], endpoints)])
    }

    fn packets(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counter("packets", "Frames that went somewhere", [([], self.total.packets)])?;
        page.counter("bytes", "Bytes of frames that went somewhere", [([], self.total.bytes)])?;
        // Every reason from the start, so that a rate is right from the first drop on.
        let drops = DropReason::ALL.iter().map(|reason| {
            let counted = self.total.drops.iter().find(|(name, _)| *name == reason.name());
            ([("reason", reason.name())], counted.map_or(0, |&(_, count)| count))
        });
        page.counter("drops", "Frames that went nowhere, by reason", drops)
    }

    fn outside(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge("nat_sessions", "Sessions of endpoints with the outside", [([], self.sessions)])?;
        page.gauge(
            "published_ports",
            "Ports of the host behind which endpoints answer",
            [([], self.published)],
        )?;
        page.gauge(
            "relays",
            "Connections and UDP clients of this host itself at published ports",
            [([], self.relays.open)],
        )?;
        page.counter("relays_refused", "Those that were refused, being too many", [([], self.relays.refused)])
    }

    fn networks(&self, page: &mut Page<'_>) -> fmt::Result {
        let of_each = |number: fn(&NetworkReading) -> u64| {
            self.networks.iter().map(move |network| ([("network", network.name.as_str())], number(network)))
        };
        page.gauge("network_endpoints", "Endpoints of a network", of_each(|n| n.endpoints))?;
        page.gauge(
            "fdb_entries",
            "Stations in the forwarding table of a network",
            of_each(|n| n.fdb_entries),
        )?;
        page.counter(
            "network_packets",
            "Frames of a network that went somewhere",
            of_each(|n| n.traffic.packets),
        )?;
        page.counter(
            "network_bytes",
            "Bytes of frames of a network that went somewhere",
            of_each(|n| n.traffic.bytes),
        )?;
        let drops = self.networks.iter().flat_map(|network| {
            let label = |reason| [("network", network.name.as_str()), ("reason", reason)];
            network.traffic.drops.iter().map(move |&(reason, count)| (label(reason), count))
        });
        page.counter("network_drops", "Frames of a network that went nowhere, by reason", drops)
    }

    fn docker(&self, page: &mut Page<'_>) -> fmt::Result {
        let calls = self.docker.iter().map(|(&name, timing)| ([("call", name)], timing));
        page.histogram("docker_call_seconds", "How long calls of Docker's plugin took", calls)
    }

    fn processes(&self, page: &mut Page<'_>) -> fmt::Result {
        let of_each = |number: fn(&Usage) -> u64| {
            self.processes.iter().map(move |(role, usage)| ([("process", *role)], number(usage)))
        };
        let cpu = self.processes.iter().map(|(role, usage)| ([("process", *role)], usage.cpu_seconds));
        page.counter("process_cpu_seconds", "Processor time", cpu)?;
        page.gauge("process_resident_memory_bytes", "Memory in RAM", of_each(|usage| usage.resident_bytes))?;
        page.gauge("process_threads", "Threads", of_each(|usage| usage.threads))?;
        page.gauge("process_open_fds", "Open descriptors", of_each(|usage| usage.open_fds))?;
        let limited =
            self.processes.iter().filter_map(|(role, usage)| Some(([("process", *role)], usage.max_fds?)));
        page.gauge("process_max_fds", "How many descriptors there may be", limited)
    }
}

/// One label.
type Label<'a> = (&'static str, &'a str);

/// A number that a sample can be.
trait Sample: Copy {
    fn count(self, encoder: &mut MetricEncoder<'_>) -> fmt::Result;
    fn show(self, encoder: &mut MetricEncoder<'_>) -> fmt::Result;
}

impl Sample for u64 {
    fn count(self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_counter::<NoLabelSet, u64, u64>(&self, None)
    }

    fn show(self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self)
    }
}

impl Sample for f64 {
    fn count(self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_counter::<NoLabelSet, f64, u64>(&self, None)
    }

    fn show(self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self)
    }
}

/// The text that is being written, a family at a time.
struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    fn info(&mut self, name: &str, help: &str, labels: &impl EncodeLabelSet) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }

    /// A number that only grows; the library writes `_total` behind its name.
    fn counter<'a, S: Sample, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'a>; N], S)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, sample)| match N {
            0 => sample.count(&mut family),
            _ => sample.count(&mut family.encode_family(&labels)?),
        })
    }

    /// How long things took that are counted in [`BUCKETS`].
    fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'a>; 1], &'a Timing)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        samples.into_iter().try_for_each(|(labels, timing)| {
            let bounds = BUCKETS.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(timing.buckets).collect();
            let mut sample = family.encode_family(&labels)?;
            sample.encode_histogram::<NoLabelSet>(timing.sum, timing.count(), &buckets, None)
        })
    }

    fn gauge<'a, S: Sample, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'a>; N], S)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        samples.into_iter().try_for_each(|(labels, sample)| match N {
            0 => sample.show(&mut family),
            _ => sample.show(&mut family.encode_family(&labels)?),
        })
    }
}
