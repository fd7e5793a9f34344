//! A container's ways out of its host, and in by a published port.
//!
//! ```text
//!   inside ── whatever is compared ── host ═══ u0, veth, MTU 1500 ═══ outside
//!   10.77.0.11                        172.31.77.1        172.31.77.2  172.31.78.1
//! ```
//!
//! The server's address is on the far host's loopback interface, behind the near host's default route, so that everybody
//! has to follow the host's routing. Only `direct` shows the server the container's own address: it is routed, and the
//! ceiling.
//!
//! Everybody has the addresses, the MTU and the offloads that it has in ordinary use: kernel and Weft 1500 bytes, the two
//! that end TCP on the host 65520, as Podman starts them. What it takes is in the report as the contender's note.

mod kernel;
mod userspace;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use clap::ValueEnum;

use super::netns::Namespace;
use super::underlay::{Host, UPLINK};
use super::{Container, Joined, weft};
use crate::error::LabError;
pub(super) use userspace::Userspace;

/// Where the server is.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(172, 31, 78, 1);

/// The container's address, and its subnet's first one.
const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const SUBNET: &str = "10.77.0.0/24";

/// The published port: the same on the host and inside.
pub(crate) const PORT: u16 = 8077;

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Nat {
    /// veth, bridge, and masquerade by nftables; everybody is compared with this
    Kernel,
    /// veth, and routed without NAT: the ceiling
    Direct,
    /// TCP and UDP ended by a process on the host, with libslirp
    Slirp4netns,
    /// The same with passt's pasta
    Pasta,
    /// A Weft daemon, a bridge network, everything at its default
    Weft,
}

impl Nat {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 5] =
        [Self::Kernel, Self::Direct, Self::Weft, Self::Slirp4netns, Self::Pasta];

    /// Whether processes do its work.
    pub(super) fn has_daemons(self) -> bool {
        !matches!(self, Self::Kernel | Self::Direct)
    }

    /// The program it cannot do without, and the Debian package that has it.
    pub(super) fn needs(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Kernel => Some(("nft", "nftables")),
            Self::Slirp4netns => Some(("slirp4netns", "slirp4netns")),
            Self::Pasta => Some(("pasta", "passt")),
            Self::Direct | Self::Weft => None,
        }
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.to_possible_value().map(|value| value.get_name().to_owned());
        f.write_str(name.as_deref().unwrap_or_default())
    }
}

/// A container with a way out.
pub(super) struct Way {
    pub(super) inside: Container,
    pub(super) joined: Joined,
    /// Where [`PORT`] of the container can be reached from outside; `None` when it cannot.
    pub(super) published: Option<SocketAddrV4>,
}

/// Gives a new container a way out of `host`, and `outside` its server's address.
///
/// # Errors
/// Whatever cannot be started or configured; [`LabError::Refused`] when the contender declines.
pub(super) fn join(nat: Nat, hosts: &[Host; 2], executable: &Path) -> Result<Way, LabError> {
    serve_outside(hosts)?;
    let [host, outside] = hosts;
    let mut inside = Container { ns: Namespace::new("inside")?, address: INSIDE };
    let mut published = Some(SocketAddrV4::new(host.address, PORT));
    let joined = match nat {
        Nat::Kernel => kernel::masquerade(host, &inside.ns).map(|()| Joined::Kernel)?,
        Nat::Direct => {
            published = Some(SocketAddrV4::new(INSIDE, PORT));
            kernel::route(host, outside, &inside.ns).map(|()| Joined::Kernel)?
        }
        Nat::Slirp4netns => {
            inside.address = userspace::SLIRP;
            Joined::Userspace(Userspace::slirp4netns(host, &inside.ns)?)
        }
        Nat::Pasta => Joined::Userspace(Userspace::pasta(host, &inside.ns)?),
        Nat::Weft => {
            let (weft, publishes) = weft::Weft::join_nat(executable, host, &inside, SUBNET, PORT)?;
            published = published.filter(|_| publishes);
            Joined::Weft(weft)
        }
    };
    Ok(Way { inside, joined, published })
}

/// Gives `outside` the server's address, and `host` the way to it.
pub(super) fn serve_outside([host, outside]: &[Host; 2]) -> Result<(), LabError> {
    outside.ns.ip(&["address", "add", &format!("{SERVER}/32"), "dev", "lo"])?;
    let next = outside.address.to_string();
    host.ns.ip(&["route", "add", "default", "via", &next, "dev", UPLINK]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_all() {
        assert_eq!(Nat::ALL.len(), Nat::value_variants().len());
        for nat in Nat::ALL {
            assert_eq!(Nat::from_str(&nat.to_string(), false), Ok(nat));
        }
    }
}
