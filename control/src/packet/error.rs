//! Why the packet side does not do what it should.

use std::io as std_io;
use std::path::PathBuf;

use weft_dataplane::io::udp::UnderlayError;
use weft_dataplane::runtime::remote::RemoteError;

/// Why the packet side does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The packet process refuses, or cannot be reached.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The underlay's sockets cannot be opened.
    #[error(transparent)]
    Underlay(#[from] UnderlayError),
    /// There is no packet process at the moment.
    #[error("the packet process is down: {0}; it is started again and again, see the daemon's log")]
    Down(String),
    /// The daemon ends.
    #[error("the daemon is stopping")]
    Ending,
    /// Another daemon uses the run directory.
    #[error("the run directory {} is in use by another daemon: stop it first, or set another run_dir", .0.display())]
    Busy(PathBuf),
    /// The role of the executable was asked for by hand.
    #[error("'weft dataplane' is started by 'weft daemon': run that")]
    NotStarted,
    /// The process lacks what every process has.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: std_io::Error,
    },
}

pub(super) fn io(what: &'static str) -> impl Fn(std_io::Error) -> PacketError {
    move |source| PacketError::Io { what, source }
}
