//! One packet process, as its parent or a later daemon sees it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tracing::level_filters::LevelFilter;

use super::PacketError;
use super::error::io;

/// How long a process may take to end after it was told to, before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// A process that is known by descriptor, so that its number can mean nobody else.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    /// Ours to wait for; an adopted process is somebody else's child.
    child: Option<Child>,
}

impl Process {
    /// Starts one that has `socket` as standard input.
    pub(super) fn spawn(socket: UnixStream) -> Result<Self, PacketError> {
        // The very file that runs here, whatever has become of its path.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("weft").arg("dataplane");
        if LevelFilter::current() >= LevelFilter::DEBUG {
            command.arg("--verbose");
        }
        // Signals of a terminal are for the daemon, which says when the packet process ends.
        command.stdin(OwnedFd::from(socket)).stdout(Stdio::null()).process_group(0);
        let child = command.spawn().map_err(io("start the packet process"))?;
        let pid = Pid::from_child(&child);
        // A child that has not been waited for keeps its number.
        let pidfd =
            pidfd_open(pid, PidfdFlags::empty()).map_err(|e| io("watch the packet process")(e.into()))?;
        Ok(Self { pid, pidfd, child: Some(child) })
    }

    /// The one that listens at the other end of `socket`; `None` when it is not of our user, or cannot be known.
    pub(super) fn at(socket: &UnixStream) -> Option<Self> {
        let peer = socket_peercred(socket).ok().filter(|peer| peer.uid == rustix::process::getuid())?;
        let pidfd = pidfd_open(peer.pid, PidfdFlags::empty()).ok()?;
        Some(Self { pid: peer.pid, pidfd, child: None })
    }

    pub(super) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// What becomes readable when it has ended.
    pub(super) fn end(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(super) fn kill(&self) {
        // It may have ended by itself.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Waits until it has ended; kills it if that takes too long. Returns how it ended, if that can be known.
    pub(super) fn wait(mut self) -> Option<String> {
        if !self.ends_within(GRACE) {
            tracing::warn!(pid = self.id(), "the packet process does not end and is killed");
            self.kill();
            self.ends_within(GRACE);
        }
        let status = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        status.map(|status| status.to_string())
    }

    fn ends_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
            match poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], left.as_ref()) {
                Err(Errno::INTR) => {}
                ready => return ready == Ok(1),
            }
        }
    }
}
