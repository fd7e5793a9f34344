//! Processes that run as long as a stage does.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::command::last_line;
use super::netns::{Namespace, PREFIX};
use crate::error::LabError;
use crate::interrupt::wait_until;

/// How long a daemon may take to become ready.
const READY: Duration = Duration::from_secs(20);

/// How long it may take to end on SIGTERM before it gets SIGKILL: a link takes the kernel 15 to 25 ms to remove, and there
/// may be thousands.
const LEAVE: Duration = Duration::from_secs(120);

/// A running daemon. Dropping it sends SIGTERM and, if that does not help, SIGKILL.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it in `host`; what it says goes to the file `log`.
    pub(crate) fn start(host: &Namespace, mut command: Command, log: PathBuf) -> Result<Self, LabError> {
        let failed = || LabError::io(format!("write {}", log.display()));
        let out = File::create(&log).map_err(failed())?;
        let err = out.try_clone().map_err(failed())?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        Ok(Self { child: host.spawn(command)?, log })
    }

    /// Waits until `ready` answers.
    ///
    /// # Errors
    /// [`LabError::Refused`] with its last words when it ends instead.
    pub(crate) fn ready<T>(&mut self, what: &str, ready: impl FnMut() -> Option<T>) -> Result<T, LabError> {
        self.ready_within(READY, what, ready)
    }

    /// The same for one that may take `limit`.
    ///
    /// # Errors
    /// As [`Self::ready`].
    pub(crate) fn ready_within<T>(
        &mut self,
        limit: Duration,
        what: &str,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, LabError> {
        wait_until(what, limit, || match self.child.try_wait() {
            Ok(Some(status)) => {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                Err(LabError::Refused(last_line(&said).unwrap_or_else(|| status.to_string())))
            }
            Ok(None) => Ok(ready()),
            Err(error) => Err(LabError::io("look after a daemon")(error)),
        })
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) -> Result<(), LabError> {
        self.child.kill().and_then(|()| self.child.wait()).map(drop).map_err(LabError::io("kill a daemon"))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let pid = Pid::from_raw(self.pid().cast_signed());
        // The child is not reaped yet, so the id is its own.
        let _ = kill(pid, Signal::SIGTERM);
        let deadline = std::time::Instant::now() + LEAVE;
        while std::time::Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        eprintln!("a daemon does not end after SIGTERM, see {}", self.log.display());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory for a daemon's files, removed with the value. Its path is short, for the sockets in it.
pub(crate) fn directory() -> Result<TempDir, LabError> {
    let prefix = format!("{PREFIX}-{}-", std::process::id());
    let made = tempfile::Builder::new().prefix(&prefix).tempdir();
    made.map_err(LabError::io("make a directory for a daemon's files"))
}

/// The directory's path as text.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
