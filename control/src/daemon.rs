//! `weft daemon`: everything together, in the order it starts and ends.
//!
//! ```text
//! privileges > host facts > directories and lock > dataplane > API socket > ready
//! SIGTERM    > API socket > networks and endpoints > dataplane > the end
//! ```
//!
//! One process holds control and packets: the dataplane's threads beside the async runtime. Whatever was made ends with
//! its descriptor, so that even a daemon that is killed leaves no interface behind; what remains then is the socket's
//! name, which the next daemon replaces.
//!
//! A state directory has one daemon: a lock is held in it as long as the process lives, and a second daemon refuses.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use weft_dataplane::io::udp::UnderlayError;
use weft_dataplane::runtime::{self, Event, Handle, StartError, UnderlayConfig};

use crate::api::{self, Server, SocketError};
use crate::config::{Config, ConfigError, Underlay};
use crate::error::{Code, Explain};
use crate::network::{HostPlane, Manager, NetworkError};
use crate::sandbox::SandboxError;
use crate::sandbox::host::{HostError, HostNets, check_privileges, check_tun};

/// The name of the lock file within the state directory.
const LOCK_NAME: &str = "weft.lock";

/// How long requests that are still under way at the end may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs a daemon until SIGTERM, SIGINT or SIGHUP, and removes all it made.
///
/// # Errors
/// [`DaemonError`]; nothing is left behind.
pub fn run(config: &Config) -> Result<(), DaemonError> {
    check_privileges()?;
    check_tun()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("weft-control")
        .build()
        .map_err(DaemonError::io("start the control threads"))?;
    let underlay = config.settle(&runtime.block_on(HostNets::read())?)?;
    make_directory(&config.state_dir, 0o700)?;
    make_directory(&config.run_dir, 0o755)?;
    let _lock = Lock::take(&config.state_dir)?;

    let dataplane = Handle::start(&dataplane_config(config, underlay.as_ref()))?;
    let events = dataplane.events();
    let plane = HostPlane::new(dataplane, runtime.handle().clone());
    let manager = Arc::new(Manager::new(Box::new(plane), underlay, config.peers.clone())?);
    let witness = Arc::downgrade(&manager);
    std::thread::Builder::new()
        .name("weft-events".into())
        .spawn(move || watch(events.iter(), &witness))
        .map_err(DaemonError::io("start the event thread"))?;

    runtime.block_on(serve(config, &manager))?;
    tracing::info!("stopping");
    manager.close();
    runtime.shutdown_timeout(FAREWELL);
    Ok(())
}

/// Serves the API until a signal says to end.
async fn serve(config: &Config, manager: &Arc<Manager>) -> Result<(), DaemonError> {
    let mut signals = Signals::install().map_err(DaemonError::io("watch for signals"))?;
    let socket = config.socket();
    let listener = api::bind(&socket)?;
    let server = Server::new(listener, socket.clone(), Arc::clone(manager), config.node.to_string());
    log_ready(config, manager, &socket);
    server
        .run(async {
            let name = signals.next().await;
            tracing::info!(signal = name, "told to end");
        })
        .await;
    Ok(())
}

fn log_ready(config: &Config, manager: &Manager, socket: &Path) {
    let (node, workers, socket) = (&config.node, manager.plane().workers(), socket.display());
    match manager.plane().underlay() {
        Some(u) => {
            if let Some(reason) = &u.reason {
                tracing::info!(mode = u.mode, "underlay mode: {reason}");
            }
            let (vtep, port, mode, peers) = (u.address, u.port, u.mode, config.peers.len());
            tracing::info!(%node, workers, %vtep, port, mode, peers, %socket, "ready");
        }
        None => tracing::info!(%node, workers, %socket, "ready, without an underlay: bridge networks only"),
    }
}

/// Passes on what the dataplane says unasked, until either side is gone.
fn watch(events: impl Iterator<Item = Event>, manager: &Weak<Manager>) {
    for event in events {
        let Some(manager) = manager.upgrade() else { return };
        match event {
            Event::PortGone(port) => manager.port_gone(port),
        }
    }
}

fn dataplane_config(config: &Config, underlay: Option<&Underlay>) -> runtime::Config {
    let underlay = underlay.map(|underlay| UnderlayConfig {
        address: underlay.address,
        port: config.underlay_port,
        mode: config.underlay_mode,
    });
    runtime::Config { workers: config.workers, underlay }
}

fn make_directory(path: &Path, mode: u32) -> Result<(), DaemonError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| DaemonError::Directory { path: path.into(), source })
}

/// Proof that no other daemon uses a state directory; ends with the process at the latest.
#[derive(Debug)]
struct Lock {
    _file: File,
}

impl Lock {
    fn take(state_dir: &Path) -> Result<Self, DaemonError> {
        let path = state_dir.join(LOCK_NAME);
        let failed = |source| DaemonError::Directory { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                // The number is for the message only.
                let _ = file.take(16).read_to_string(&mut pid);
                return Err(DaemonError::Locked { state_dir: state_dir.into(), pid: pid.trim().into() });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// The signals that end a daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

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
    /// The dataplane does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is no API socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
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
    fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

impl Explain for DaemonError {
    fn code(&self) -> Code {
        match self {
            Self::Config(error) => error.code(),
            Self::Socket(error) => error.code(),
            Self::Network(error) => error.code(),
            Self::Locked { .. } | Self::Start(StartError::Underlay(UnderlayError::PortInUse { .. })) => {
                Code::Conflict
            }
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
            Self::Network(error) => error.remedy(),
            Self::Directory { .. } => {
                Some("check its permissions, or set another state_dir and run_dir".into())
            }
            Self::Locked { .. } => Some("stop it first, or set another state_dir and run_dir".into()),
            Self::Io { .. } => Some("look at the limits of this process".into()),
            // These say it themselves.
            Self::Host(_) | Self::Sandbox(_) | Self::Start(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_has_one_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let first = Lock::take(directory.path()).unwrap();
        let error = Lock::take(directory.path()).unwrap_err();
        let pid = std::process::id().to_string();
        assert!(matches!(&error, DaemonError::Locked { pid: p, .. } if *p == pid), "{error}");
        assert_eq!(error.code().exit(), 4);
        drop(first);
        assert!(Lock::take(directory.path()).is_ok());
    }
}
