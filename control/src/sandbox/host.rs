//! What the daemon must know before it promises anything: whether the kernel will let it work here at all, and (in
//! [`HostNets`]) where the underlay is and which addresses are spoken for.

use std::io;
use std::os::unix::fs::OpenOptionsExt;

use rustix::thread::CapabilitySet;

pub use super::nets::{DefaultRoute, HostNets, Interface};

const TUN: &str = "/dev/net/tun";

/// Why this process cannot do the daemon's work here.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The kernel's TUN/TAP driver is not there.
    #[error(
        "/dev/net/tun does not exist: run `modprobe tun`, or in a container start it with --device /dev/net/tun"
    )]
    NoTun,
    /// It is there, but not for us.
    #[error("no permission to open /dev/net/tun: run as root, or allow this device to the container")]
    TunForbidden,
    /// It cannot be opened for another reason.
    #[error("cannot open /dev/net/tun: {0}")]
    Tun(io::Error),
    /// A capability is missing.
    #[error(
        "{missing} is missing: run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN CAP_SYS_ADMIN"
    )]
    Unprivileged {
        /// The missing capabilities, as capabilities(7) writes them.
        missing: String,
    },
}

/// Whether TAPs can be opened.
///
/// # Errors
/// [`HostError::NoTun`], [`HostError::TunForbidden`] or [`HostError::Tun`].
pub fn check_tun() -> Result<(), HostError> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    match std::fs::OpenOptions::new().read(true).write(true).custom_flags(nonblock).open(TUN) {
        Ok(_) => Ok(()),
        // ENODEV, ENXIO: a device node without its driver.
        Err(e) if matches!(e.raw_os_error(), Some(19 | 6)) => Err(HostError::NoTun),
        Err(e) => Err(match e.kind() {
            io::ErrorKind::NotFound => HostError::NoTun,
            io::ErrorKind::PermissionDenied => HostError::TunForbidden,
            _ => HostError::Tun(e),
        }),
    }
}

/// Whether this process may make interfaces (CAP_NET_ADMIN) and enter namespaces (CAP_SYS_ADMIN).
///
/// # Errors
/// [`HostError::Unprivileged`], naming what is missing.
pub fn check_privileges() -> Result<(), HostError> {
    // The call fails only on kernels older than capabilities themselves; then nothing is effective.
    let have = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let needed = [(CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"), (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN")];
    let missing: Vec<_> =
        needed.iter().filter(|(cap, _)| !have.contains(*cap)).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(HostError::Unprivileged { missing: missing.join(" and ") })
}
