//! What is asked of a daemon, through its API.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::Ipv4Net;
use rustix::process::Pid;
use tokio::time::timeout;

use super::error::DemoError;
use super::lab::CONTAINER_IFNAME;
use super::report::HostCounters;
use crate::api::types::{EndpointRequest, NetworkRequest};
use crate::api::{Client, ClientError};
use crate::model::{Driver, IfName, Name, PortMapping, PublishRequest};

/// How long a daemon that is just starting may take over one answer before it is asked again.
const PATIENCE: Duration = Duration::from_secs(1);

/// A way to one host's daemon.
pub(super) struct Control {
    host: &'static str,
    client: Client,
}

/// What forwards the frames of a host.
#[derive(Clone, Copy, Debug)]
pub(super) struct PacketProcess {
    /// `None` while there is none.
    pub(super) pid: Option<Pid>,
    pub(super) before: u64,
}

/// A container to connect.
pub(super) struct Attachment<'a> {
    pub(super) name: &'static str,
    pub(super) netns: &'a Path,
    pub(super) ip: Ipv4Addr,
    pub(super) publish: &'a [PortMapping],
}

impl Control {
    pub(super) fn new(host: &'static str, socket: PathBuf) -> Self {
        Self { host, client: Client::new(socket) }
    }

    /// Whether the daemon answers, and says that everything is up.
    pub(super) async fn is_ready(&self) -> bool {
        matches!(timeout(PATIENCE, self.client.status()).await, Ok(Ok(status)) if status.ready)
    }

    /// The packet process, and how many came before it.
    pub(super) async fn packet_process(&self) -> Result<PacketProcess, DemoError> {
        let status = self.client.status().await.map_err(self.refused("read the status"))?;
        let pid = status.dataplane_pid.and_then(|pid| Pid::from_raw(pid.cast_signed()));
        Ok(PacketProcess { pid, before: status.dataplane_restarts })
    }

    /// Creates an overlay.
    pub(super) async fn create(&self, network: &str, vni: u32, subnet: Ipv4Net) -> Result<(), DemoError> {
        let request = NetworkRequest {
            driver: Driver::Overlay,
            subnets: vec![subnet.into()],
            vni: Some(vni),
            ..NetworkRequest::new(Name::new(network)?)
        };
        let created = self.client.create_network(&request).await;
        created.map(drop).map_err(self.refused(format!("create the network {network}")))
    }

    /// Connects a container to a network.
    pub(super) async fn connect(&self, network: &str, container: Attachment<'_>) -> Result<(), DemoError> {
        let request = EndpointRequest {
            name: Some(Name::new(container.name)?),
            ifname: Some(IfName::new(CONTAINER_IFNAME)?),
            ip: Some(container.ip),
            publish: PublishRequest::of(container.publish),
            ..EndpointRequest::new(container.netns)
        };
        let connected = self.client.connect(network, &request).await;
        connected.map(drop).map_err(self.refused(format!("connect {}", container.name)))
    }

    /// What the host's switch has counted.
    pub(super) async fn counters(&self) -> Result<HostCounters, DemoError> {
        let status = self.client.status().await.map_err(self.refused("read the status"))?;
        let stats = self.client.stats().await.map_err(self.refused("read the counters"))?;
        Ok(HostCounters {
            host: self.host,
            mode: status.underlay_mode.unwrap_or_else(|| "none".into()),
            packets: stats.total.packets,
            bytes: stats.total.bytes,
            drops: stats.total.drops,
        })
    }

    fn refused(&self, call: impl Into<String>) -> impl FnOnce(ClientError) -> DemoError {
        let (host, call) = (self.host, call.into());
        move |source| DemoError::Api { host, call, source }
    }
}
