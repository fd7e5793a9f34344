//! What can go wrong at the edge of a namespace, in one line each.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::sandbox::plug::IFNAME_MAX;

/// Why something could not be done in, or about, a network namespace.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Nothing is at the path.
    #[error(
        "no network namespace at {}: create it (`ip netns add NAME` makes /run/netns/NAME), or give /proc/PID/ns/net of a running process",
        path.display()
    )]
    NotFound {
        /// The path as given.
        path: PathBuf,
    },
    /// Something is at the path, but no network namespace.
    #[error("{} is not a network namespace: give a path like /run/netns/NAME or /proc/PID/ns/net", path.display())]
    NotNetns {
        /// The path as given.
        path: PathBuf,
    },
    /// The path cannot be opened, usually for lack of permission.
    #[error("cannot open the network namespace {}: {source}", path.display())]
    Open {
        /// The path as given.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The namespace was opened but may not be entered.
    #[error("cannot enter the network namespace {}: {source}; entering needs CAP_SYS_ADMIN", path.display())]
    Enter {
        /// The path as given.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A namespace of this name exists already.
    #[error("the network namespace {} exists already: choose another name, or remove it with `ip netns del`", path.display())]
    NetnsTaken {
        /// Where the namespace would have been mounted.
        path: PathBuf,
    },
    /// A step of making or removing a named namespace failed.
    #[error("cannot {step} for the network namespace {}: {source}", path.display())]
    Mount {
        /// What was being done.
        step: &'static str,
        /// The namespace's file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel would not accept this interface name.
    #[error(
        "interface name {ifname:?} is not allowed: use 1 to {IFNAME_MAX} printable ASCII characters without '/', ':', '%' and spaces"
    )]
    BadIfname {
        /// The name as given.
        ifname: String,
    },
    /// The interface name is in use in the sandbox.
    #[error("interface {ifname} exists already in {netns}: choose another name with --ifname")]
    IfnameTaken {
        /// The name asked for.
        ifname: String,
        /// The sandbox.
        netns: String,
    },
    /// No interface of this name is there.
    #[error("no interface {ifname} in {netns}")]
    NoInterface {
        /// The name looked for.
        ifname: String,
        /// Where.
        netns: String,
    },
    /// An IPv6 address was asked for where IPv6 is off.
    #[error(
        "cannot give {address} to {ifname}: IPv6 is disabled in {netns}; set net.ipv6.conf.all.disable_ipv6=0 there, or use a network without IPv6"
    )]
    Ipv6Disabled {
        /// The address asked for.
        address: IpAddr,
        /// The interface it was meant for.
        ifname: String,
        /// The sandbox.
        netns: String,
    },
    /// This kernel was built without the VXLAN driver (and cannot load it).
    #[error("this kernel has no vxlan device type")]
    NoVxlan,
    /// The kernel refused a netlink request.
    #[error("cannot {step} in {netns}: {source}")]
    Netlink {
        /// What was being done, with the values.
        step: String,
        /// Where.
        netns: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel did not do it in time.
    #[error("cannot {step} in {netns}: not done within {seconds} s")]
    Silent {
        /// What was being done, with the values.
        step: String,
        /// Where.
        netns: String,
        /// How long we waited.
        seconds: u64,
    },
}

impl SandboxError {
    /// The kernel's error number behind this error, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<rustix::io::Errno> {
        match self {
            Self::Open { source, .. }
            | Self::Enter { source, .. }
            | Self::Mount { source, .. }
            | Self::Netlink { source, .. } => rustix::io::Errno::from_io_error(source),
            _ => None,
        }
    }
}
