//! Why there is no daemon.

use std::io;
use std::path::PathBuf;

use weft_dataplane::io::udp::UnderlayError;
use weft_dataplane::runtime::StartError;

use crate::api::SocketError;
use crate::config::ConfigError;
use crate::error::{Code, Explain};
use crate::network::NetworkError;
use crate::packet::PacketError;
use crate::sandbox::SandboxError;
use crate::sandbox::host::HostError;
use crate::store::StoreError;

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// No privileges, or no `/dev/net/tun`.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The configuration does not fit this host.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The host's addresses and routes cannot be read.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A directory or the lock in it cannot be made.
    #[error("cannot use {}: {source}", path.display())]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another daemon has the state directory.
    #[error("the state directory {} is in use by the daemon with process id {pid}", state_dir.display())]
    Locked {
        /// The directory.
        state_dir: PathBuf,
        /// Whose it is.
        pid: String,
    },
    /// The dataplane cannot be as it is configured.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The packet process does not start.
    #[error(transparent)]
    Packet(PacketError),
    /// There is no API socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The manager does not start.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The process lacks what every process has.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl DaemonError {
    pub(super) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

impl From<PacketError> for DaemonError {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::Underlay(error) => Self::Start(error.into()),
            other => Self::Packet(other),
        }
    }
}

impl Explain for DaemonError {
    fn code(&self) -> Code {
        match self {
            Self::Config(error) => error.code(),
            Self::Socket(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Network(error) => error.code(),
            Self::Locked { .. }
            | Self::Packet(PacketError::Busy(_))
            | Self::Start(StartError::Underlay(UnderlayError::PortInUse { .. })) => Code::Conflict,
            Self::Start(StartError::TooManyWorkers(_) | StartError::Underlay(UnderlayError::NotLocal(_))) => {
                Code::InvalidArgument
            }
            _ => Code::Failed,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.remedy(),
            Self::Socket(error) => error.remedy(),
            Self::Store(error) => error.remedy(),
            Self::Network(error) => error.remedy(),
            Self::Directory { .. } => {
                Some("check its permissions, or set another state_dir and run_dir".into())
            }
            Self::Locked { .. } => Some("stop it first, or set another state_dir and run_dir".into()),
            Self::Io { .. } => Some("look at the limits of this process".into()),
            // These say it themselves.
            Self::Host(_) | Self::Sandbox(_) | Self::Start(_) | Self::Packet(_) => None,
        }
    }
}
