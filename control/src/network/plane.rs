//! What the manager asks of the packet side: few enough verbs that a test can be one.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use rustix::io::Errno;
use weft_dataplane::io::tap::TapError;
use weft_dataplane::io::udp::Mode;
use weft_dataplane::runtime::remote::RemoteError;
use weft_dataplane::runtime::{AttachError, CaptureFilter, FdbRow};
use weft_dataplane::tables::{PortId, SegmentId, TablesError, TablesSpec};

use super::NatRow;
use crate::error::{Code, Explain};
use crate::model::{Endpoint, Id, PortMapping};
use crate::packet::{PacketError, Report};
use crate::publish::{PublishFailure, Relays};
use crate::sandbox::inside::Found;
use crate::sandbox::{Birth, Leg, Netns, NetnsId, Plug, SandboxError, life};
use crate::underlay::Reach;

/// What to do when no descriptor is left.
const RAISE: &str = "raise the limit of file descriptors (LimitNOFILE= of the unit), or disconnect endpoints";

/// The packet side. Every call may block for as long as the kernel takes, so none is made on an async thread.
pub trait Plane: Send + Sync + 'static {
    /// Makes `tables` the whole truth.
    ///
    /// # Errors
    /// [`PlaneError::Tables`]; the former truth stays.
    fn publish(&self, tables: &TablesSpec) -> Result<(), PlaneError>;

    /// The ports that an adopted packet process serves already; none if it was started by this plane.
    fn ports(&self) -> Vec<ServedPort>;

    /// Creates a TAP in `netns`, with the link name `ifname`, and lets the workers serve it as `port`. They call it `tap`
    /// ([`Plane::ports`]). As long as it is open it keeps `netns` alive, wherever the link is moved.
    ///
    /// # Errors
    /// [`PlaneError`]; nothing is left of the TAP.
    fn open_port(&self, port: PortId, netns: &Netns, ifname: &str, tap: &str) -> Result<(), PlaneError>;

    /// Creates a TAP in the daemon's own namespace, with name, MAC and MTU of `plug` and otherwise bare, for somebody who
    /// will move it, and lets the workers serve it as `port`.
    ///
    /// # Errors
    /// [`PlaneError`]; nothing is left of the TAP.
    fn offer(&self, port: PortId, plug: &Plug) -> Result<(), PlaneError>;

    /// The namespace that the link of `port` is in, and its name there; `None` when there is no such port, or no link.
    fn whereabouts(&self, port: PortId) -> Option<(Netns, String)>;

    /// Configures the TAP that was opened in the sandbox; gives what was left out without harm, a line each.
    ///
    /// # Errors
    /// [`PlaneError::Sandbox`]; [`Plane::close_port`] undoes what was done.
    fn plug(&self, netns: &Netns, plug: &Plug) -> Result<Vec<String>, PlaneError>;

    /// Makes the host's interface on a network, in the host's namespace, and lets the workers serve it as `port`; one that
    /// they serve already is set right.
    ///
    /// # Errors
    /// [`PlaneError`]; [`Plane::close_port`] undoes what was done.
    fn stand(&self, port: PortId, leg: &Leg) -> Result<(), PlaneError>;

    /// Takes `port` from the workers and removes its TAP's link, wherever that is; returns when both are done. Nothing
    /// happens if it is not served.
    fn close_port(&self, port: PortId);

    /// Closes every port, all at once, for the end of this daemon; no port is opened afterwards.
    fn close(&self);

    /// Brings up the loopback of the sandbox.
    ///
    /// # Errors
    /// [`PlaneError::Sandbox`].
    fn loopback_up(&self, netns: &Netns) -> Result<(), PlaneError>;

    /// Takes a port of the host for `endpoint`, wherever [`PortMapping::places`] says, so that no process of the host has it.
    /// Nobody is answered yet.
    ///
    /// # Errors
    /// [`PlaneError::Publish`]; nothing is taken.
    fn reserve(&self, endpoint: &Endpoint, mapping: &PortMapping) -> Result<(), PlaneError>;

    /// From now on, what the host itself sends to the ports that are reserved for `endpoint` is relayed to it.
    fn relay(&self, endpoint: &Endpoint);

    /// Gives back every port that is reserved for an endpoint, and ends what is relayed; returns when that is done.
    /// Nothing happens if there is none.
    fn release(&self, endpoint: Id);

    /// Gives back what an earlier daemon had reserved and nobody has asked for again.
    fn settle(&self) {}

    /// What is relayed.
    fn relays(&self) -> Relays;

    /// Every session of NAT; none where nothing is translated.
    fn nat_sessions(&self) -> Vec<NatRow> {
        Vec::new()
    }

    /// How many there are.
    fn nat_session_count(&self) -> u64 {
        0
    }

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

    /// What the interfaces in `netns` are like.
    ///
    /// # Errors
    /// [`PlaneError::Sandbox`].
    fn interfaces(&self, netns: &Netns) -> Result<Vec<Found>, PlaneError>;

    /// Which namespace `path` leads to, if to any; cheap.
    fn leads_to(&self, path: &Path) -> Option<NetnsId> {
        life::at(path)
    }

    /// The namespaces that anybody is in, as far as that can be seen.
    fn inhabited(&self) -> HashSet<NetnsId> {
        life::inhabited()
    }

    /// A snapshot of what the host's addresses and routes occupy, our own legs left out.
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
    /// What its TAP is called ([`Plane::open_port`]).
    pub tap: String,
}

/// Answers what of the host overlaps a subnet, the narrowest if there are several.
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
    /// A port of the host cannot be had.
    #[error(transparent)]
    Publish(#[from] PublishFailure),
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
            Self::Publish(error) => error.code(),
            Self::Sandbox(SandboxError::IfnameTaken { .. }) => Code::Conflict,
            Self::Sandbox(SandboxError::NotNetns { .. } | SandboxError::BadIfname { .. }) => {
                Code::InvalidArgument
            }
            Self::Tables(TablesError::TooMany { .. })
            | Self::Packet(PacketError::Remote(RemoteError::NoDescriptors)) => Code::Exhausted,
            _ if self.lacks_descriptors() => Code::Exhausted,
            _ => Code::Failed,
        }
    }

    /// The other rooms behind these errors say the remedy in the message.
    fn remedy(&self) -> Option<String> {
        match self {
            Self::Publish(error) => error.remedy(),
            _ => self.lacks_descriptors().then(|| RAISE.into()),
        }
    }
}

impl PlaneError {
    /// Whether this process or the machine has no descriptor left.
    fn lacks_descriptors(&self) -> bool {
        let causes = std::iter::successors(std::error::Error::source(self), |error| error.source());
        let errors = causes.filter_map(|error| error.downcast_ref::<io::Error>());
        errors.filter_map(Errno::from_io_error).any(|errno| matches!(errno, Errno::MFILE | Errno::NFILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_descriptors_is_told_what_to_do() {
        let out = |errno: Errno| TapError::Io { what: "open", name: "eth0".into(), source: errno.into() };
        for errno in [Errno::MFILE, Errno::NFILE] {
            let error = PlaneError::from(out(errno));
            assert_eq!(error.code(), Code::Exhausted);
            assert!(error.remedy().unwrap().contains("LimitNOFILE"));
            let inside = SandboxError::Netlink { step: "x".into(), netns: "y".into(), source: errno.into() };
            assert!(PlaneError::from(inside).remedy().is_some());
        }
        let other = PlaneError::from(out(Errno::IO));
        assert_eq!((other.code(), other.remedy()), (Code::Failed, None));
    }
}
