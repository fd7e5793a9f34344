//! Namespaces with a name under `/run/netns`, made and kept exactly as iproute2 does it, so that `ip netns` sees them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, UnmountFlags, mount_bind, mount_bind_recursive, mount_change, unmount,
};

use super::{Netns, SandboxError};

/// Where named namespaces live.
pub const NETNS_DIR: &str = "/run/netns";

/// A namespace of our making. Dropping removes its name; the namespace itself goes with the last process, socket or
/// descriptor in it.
#[derive(Debug)]
pub struct NamedNetns {
    netns: Netns,
}

impl NamedNetns {
    /// Makes a new namespace and names it `/run/netns/NAME`. Its loopback is down, as in every new namespace.
    ///
    /// # Errors
    /// [`SandboxError::NetnsTaken`], or [`SandboxError::Mount`] when a step is refused (it needs CAP_SYS_ADMIN).
    pub fn create(name: &str) -> Result<Self, SandboxError> {
        let path = Path::new(NETNS_DIR).join(name);
        prepare_directory().map_err(|source| failed("prepare /run/netns", &path, source))?;
        OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path).map_err(|e| {
            match e.kind() {
                io::ErrorKind::AlreadyExists => SandboxError::NetnsTaken { path: path.clone() },
                _ => failed("create the mount point", &path, e),
            }
        })?;
        let made = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("netns-new".into());
            let handle = thread
                .spawn_scoped(scope, || unshare_and_mount(&path))
                .map_err(|e| failed("start a thread", &path, e))?;
            handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        match made.and_then(|()| Netns::open(&path)) {
            Ok(netns) => Ok(Self { netns }),
            Err(e) => {
                // The mount point was made above, so it is ours to take away; the first error is the one to report.
                let _ = remove(&path);
                Err(e)
            }
        }
    }

    /// The namespace.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Its file, `/run/netns/NAME`.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.netns.path()
    }
}

impl Drop for NamedNetns {
    fn drop(&mut self) {
        if let Err(error) = remove(self.path()) {
            tracing::warn!(%error, "namespace left behind");
        }
    }
}

fn remove(path: &Path) -> Result<(), SandboxError> {
    match unmount(path, UnmountFlags::DETACH) {
        // EINVAL: not a mount point, because the mount never happened. Gone already is fine too.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        Err(e) => return Err(failed("unmount", path, e.into())),
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove the mount point", path, e)),
        _ => Ok(()),
    }
}

/// Runs on a thread of its own, which ends afterwards: its namespace lives on through the mount.
fn unshare_and_mount(path: &Path) -> Result<(), SandboxError> {
    weft_dataplane::io::netns::unshare_thread().map_err(|e| failed("make a namespace", path, e))?;
    mount_bind("/proc/thread-self/ns/net", path).map_err(|e| failed("mount", path, e.into()))
}

/// Makes `/run/netns` a shared mount, so that names made in one mount namespace appear, and disappear, in the others.
/// Under a lock, because two of us at once would mount it twice; iproute2 takes the same lock.
fn prepare_directory() -> io::Result<()> {
    let directory = PathBuf::from(NETNS_DIR);
    DirBuilder::new().recursive(true).mode(0o755).create(&directory)?;
    let lock = File::open(&directory)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    match mount_change(&directory, shared) {
        Err(Errno::INVAL) => {
            mount_bind_recursive(&directory, &directory)?;
            Ok(mount_change(&directory, shared)?)
        }
        other => Ok(other?),
    }
}

fn failed(step: &'static str, path: &Path, source: io::Error) -> SandboxError {
    SandboxError::Mount { step, path: path.to_owned(), source }
}
