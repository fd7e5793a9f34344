//! The packet process, looked after: started, fed, watched, replaced, adopted.
//!
//! ```text
//!   HostPlane, underlay > Dataplane (verbs) > Client ==== dataplane.sock ==== weft dataplane
//!                             |   Memory: every descriptor and every fact handed out
//!                             +-- watcher thread: pidfd > process ends > start another one from Memory
//! ```
//!
//! [`Dataplane`] has the verbs of a [`Handle`](weft_dataplane::runtime::Handle), and remembers what it was told by them:
//! the underlay's sockets, every TAP, the uplink, tables, next hops, the ways off the host. Because it holds a duplicate of each descriptor, the
//! death of the packet process takes down no carrier and loses no socket, and a new one is given all of it before anybody
//! is answered. What it had learned (forwarding tables, counters) starts anew, but for the NAT's sessions: these it writes to
//! a ledger in memory that the daemon holds, too, and the next one goes on with them.
//!
//! A packet process outlives a daemon that is killed. The next one finds it by its socket in the run directory, and
//! adopts it if it is of our version and was set up as our configuration wants; otherwise it is told to end, which
//! removes what it served, and a new one is started. What it serves and nobody has on record is the manager's to close.
//!
//! A TAP that is no longer served is closed by a thread of its own (`reaper.rs`), because the kernel takes its time.
//!
//! The packet process ([`run`]) has the daemon's executable, network namespace and standard error, a process group of its
//! own, and no privileges. One that does not answer for [`PATIENCE`] is killed and replaced.
//!
//! Limits: [`BURST`] restarts within [`WINDOW`] are at once, further ones [`PAUSE`] apart, and the reason is told
//! ([`Report`]). In the meantime verbs that need the process wait up to [`PATIENCE`] and then fail; those that only tell
//! it something are remembered. One daemon for each run directory: a second one is refused.

mod adopt;
mod dataplane;
mod error;
mod launch;
mod memory;
mod outside;
mod process;
mod reaper;
mod recording;
mod shared;
mod watch;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::thread::set_name;
use weft_dataplane::runtime::UnderlayConfig;
use weft_dataplane::runtime::remote::{drop_privileges, serve};

pub use dataplane::{Dataplane, Report};
pub use error::PacketError;
pub use recording::Recording;
pub use weft_dataplane::runtime::remote::PATIENCE;

use error::io;

/// The packet process's socket within the run directory.
pub const SOCKET_NAME: &str = "dataplane.sock";

/// Restarts that follow the end of a packet process at once, if they are not more within [`WINDOW`].
pub const BURST: usize = 10;

/// See [`BURST`].
pub const WINDOW: Duration = Duration::from_secs(10);

/// How far apart restarts are when there were more, or when one has failed.
pub const PAUSE: Duration = Duration::from_secs(1);

/// What the packet process is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its socket is; one daemon for each.
    pub run_dir: PathBuf,
    /// How many workers; not 0.
    pub workers: usize,
    /// The underlay, if there is to be one.
    pub underlay: Option<UnderlayConfig>,
}

/// `weft dataplane`: serves control, which has started us and is at the other end of standard input.
///
/// # Errors
/// [`PacketError::NotStarted`] when nobody is there; otherwise what the conversation failed of before it began.
pub fn run() -> Result<(), PacketError> {
    // First of all, so that every thread is without privileges.
    drop_privileges().map_err(io("drop privileges"))?;
    set_name(c"weft-dataplane").map_err(|errno| io("name the process")(errno.into()))?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(io("duplicate standard input"))?;
    if rustix::net::sockopt::socket_peercred(&socket).is_err() {
        return Err(PacketError::NotStarted);
    }
    Ok(serve(UnixStream::from(socket))?)
}

#[cfg(test)]
mod tests;
