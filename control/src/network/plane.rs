//! What the manager asks of the packet side: few enough verbs that a test can be one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use weft_dataplane::io::tap::TapError;
use weft_dataplane::io::udp::Mode;
use weft_dataplane::runtime::remote::RemoteError;
use weft_dataplane::runtime::{AttachError, CaptureFilter, FdbRow};
use weft_dataplane::tables::{PortId, SegmentId, TablesError, TablesSpec};

use crate::error::{Code, Explain};
use crate::packet::{PacketError, Report};
use crate::sandbox::{Birth, Netns, Plug, SandboxError};
use crate::underlay::Reach;

/// The packet side. Every call may block for as long as the kernel takes, so none is made on an async thread.
pub trait Plane: Send + Sync + 'static {
    /// Makes `tables` the whole truth.
    ///
    /// # Errors
    /// [`PlaneError::Tables`]; the former truth stays.
    fn publish(&self, tables: &TablesSpec) -> Result<(), PlaneError>;

    /// The ports that an adopted packet process serves already; none if it was started by this plane.
    fn ports(&self) -> Vec<ServedPort>;

    /// Creates the TAP `tap_name` in the host's namespace and lets the workers serve it as `port`.
    ///
    /// # Errors
    /// [`PlaneError`]; nothing is left of the TAP.
    fn open_port(&self, port: PortId, tap_name: &str) -> Result<(), PlaneError>;

    /// Moves the TAP into the sandbox and configures it there; gives what was left out without harm, a line each.
    ///
    /// # Errors
    /// [`PlaneError::Sandbox`]; [`Plane::close_port`] undoes what was done.
    fn plug(&self, netns: &Netns, tap_name: &str, plug: &Plug) -> Result<Vec<String>, PlaneError>;

    /// Takes `port` from the workers and removes its TAP, wherever that is; returns when both are done. Nothing happens
    /// if it is not served.
    fn close_port(&self, port: PortId);

    /// Brings up the loopback of the sandbox.
    ///
    /// # Errors
    /// [`PlaneError::Sandbox`].
    fn loopback_up(&self, netns: &Netns) -> Result<(), PlaneError>;

    /// How the packet process fares; this one, unless there is another.
    fn process(&self) -> Report {
        Report { pid: Some(std::process::id()), ..Report::default() }
    }

    /// Opens the namespace at `path`.
    ///
    /// # Errors
    /// [`PlaneError::Sandbox`].
    fn open_sandbox(&self, path: &Path) -> Result<Netns, PlaneError> {
        Ok(Netns::open(path)?)
    }

    /// What tells the namespace from every other there ever was.
    ///
    /// # Errors
    /// [`PlaneError::Sandbox`].
    fn birth(&self, netns: &Netns) -> Result<Birth, PlaneError> {
        Ok(netns.birth()?)
    }

    /// A snapshot of what the host's addresses and routes occupy.
    ///
    /// # Errors
    /// [`PlaneError::Sandbox`].
    fn occupied(&self) -> Result<Occupied, PlaneError>;

    /// All that was counted.
    fn traffic(&self) -> TrafficReport;

    /// The forwarding table of one segment.
    fn fdb(&self, segment: SegmentId) -> Vec<FdbRow>;

    /// Starts copying the frames of a segment, of a port, or all; `labels` are the ports' names in the capture. `None`:
    /// as many captures as there can be are running.
    fn capture(&self, filter: CaptureFilter, labels: BTreeMap<PortId, String>) -> Option<Box<dyn Capture>>;

    /// How many worker threads there are.
    fn workers(&self) -> usize;

    /// How the underlay is driven, if there is one.
    fn underlay(&self) -> Option<UnderlayReport>;
}

/// A port that the packet process serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedPort {
    /// The port.
    pub port: PortId,
    /// The name that its TAP was made under ([`Plane::open_port`]); the link may have been moved and renamed since.
    pub tap: String,
}

/// Answers what of the host overlaps a subnet.
pub type Occupied = Box<dyn Fn(IpNet) -> Option<IpNet>>;

/// A running capture; dropping it ends it.
pub trait Capture: Send {
    /// What was copied since the last call, at most `frames` frames, as pcapng, and how many frames that is; waits up to
    /// `patience` for the first. The first call also gives the section header.
    fn next(&mut self, frames: usize, patience: Duration) -> (Vec<u8>, usize);

    /// The last blocks: how many frames were missed because the reader was too slow.
    fn finish(self: Box<Self>) -> Vec<u8>;
}

/// What was counted, as a whole and by segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficReport {
    /// Everything since the start.
    pub total: Traffic,
    /// By segment, for those that exist.
    pub segments: Vec<(SegmentId, Traffic)>,
}

/// Counters of one segment, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames that went somewhere.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that did not, by reason.
    pub drops: Vec<(&'static str, u64)>,
}

/// How the underlay is driven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderlayReport {
    /// This host's VTEP.
    pub address: IpAddr,
    /// Its UDP port.
    pub port: u16,
    /// The mode in use.
    pub mode: Mode,
    /// The mode of what goes through sockets; the same unless that is `tunnel-gso`.
    pub sockets: Mode,
    /// Why it is not a better one.
    pub reason: Option<String>,
    /// The underlay device's name, as far as frames leave without a socket.
    pub device: Option<String>,
    /// How peers are reached without a socket, or why they are not; empty where no frame leaves so.
    pub reaches: Vec<Reach>,
}

/// Why the packet side refused.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// The tables were nonsense or too large.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// No TAP.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// The workers did not take the TAP.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The sandbox refused.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The packet process does not do it.
    #[error(transparent)]
    Packet(PacketError),
}

impl From<PacketError> for PlaneError {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::Remote(RemoteError::Tables(error)) => Self::Tables(error),
            PacketError::Remote(RemoteError::Attach(error)) => Self::Attach(error),
            other => Self::Packet(other),
        }
    }
}

impl Explain for PlaneError {
    fn code(&self) -> Code {
        match self {
            Self::Sandbox(SandboxError::NotFound { .. }) => Code::NotFound,
            Self::Sandbox(SandboxError::IfnameTaken { .. }) => Code::Conflict,
            Self::Sandbox(SandboxError::NotNetns { .. } | SandboxError::BadIfname { .. }) => {
                Code::InvalidArgument
            }
            Self::Tables(TablesError::TooMany { .. })
            | Self::Packet(PacketError::Remote(RemoteError::NoDescriptors)) => Code::Exhausted,
            _ => Code::Failed,
        }
    }

    /// The rooms behind these errors say the remedy in the message.
    fn remedy(&self) -> Option<String> {
        None
    }
}
