//! Who takes part, and how they are called.

use std::fmt;
use std::str::FromStr;

use super::command::require;
use super::docker::{self, Docker, Driver};
use super::nat::Nat;
use super::ovs;
use crate::error::LabError;

/// A way of joining two containers, or one to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// A veth and nothing else: the ceiling.
    Plain,
    /// A VTEP on each host; the first one sends.
    Pair(End, End),
    /// A way out of one host.
    Nat(Nat),
    /// A network of Docker Engine's containers.
    Docker(Docker),
}

/// What a host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The kernel's veth, bridge and vxlan.
    Kernel,
    /// Weft with this underlay mode.
    Weft(Mode),
    /// Open vSwitch's userspace datapath.
    Ovs,
}

/// How Weft drives the underlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Its own choice.
    Auto,
    /// One datagram a packet.
    Udp,
    /// UDP segmentation and receive offload.
    UdpGso,
    /// Whole tunnelled super-frames.
    TunnelGso,
}

impl Mode {
    /// All of them.
    const ALL: [Self; 4] = [Self::Auto, Self::Udp, Self::UdpGso, Self::TunnelGso];

    /// As in Weft's configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Udp => "udp",
            Self::UdpGso => "udp-gso",
            Self::TunnelGso => "tunnel-gso",
        }
    }
}

/// What all others are compared with.
pub(crate) const BASELINE: Contender = Contender::Pair(End::Kernel, End::Kernel);

/// Everybody, in the order of the report.
pub(crate) fn everybody() -> Vec<Contender> {
    let both = |end| Contender::Pair(end, end);
    let weft = [Mode::TunnelGso, Mode::UdpGso, Mode::Udp].map(|mode| both(End::Weft(mode)));
    let auto = End::Weft(Mode::Auto);
    let mixed = [Contender::Pair(auto, End::Kernel), Contender::Pair(End::Kernel, auto)];
    [&[BASELINE, Contender::Plain], weft.as_slice(), &[both(End::Ovs)], &mixed].concat()
}

impl Contender {
    /// Whether both hosts do the same, so that both directions make sense.
    pub(crate) fn is_symmetric(self) -> bool {
        match self {
            Self::Plain | Self::Nat(_) | Self::Docker(_) => true,
            Self::Pair(near, far) => near == far,
        }
    }

    /// Whether any host does `wanted`.
    pub(crate) fn has(self, wanted: impl Fn(End) -> bool) -> bool {
        matches!(self, Self::Pair(near, far) if wanted(near) || wanted(far))
    }

    /// Whether it is, or contains, the executable under test.
    pub(crate) fn is_weft(self) -> bool {
        self == Self::Nat(Nat::Weft) || self.drives_docker() || self.has(|end| matches!(end, End::Weft(_)))
    }

    /// Whether it is the driver of an engine's network.
    fn drives_docker(self) -> bool {
        matches!(self, Self::Docker(Docker { driver: Driver::Weft, .. }))
    }

    /// Whether processes do its work, so that their memory and CPU time are its own.
    pub(crate) fn has_daemons(self) -> bool {
        match self {
            Self::Nat(nat) => nat.has_daemons(),
            Self::Docker(_) => self.drives_docker(),
            _ => self.has(|end| end != End::Kernel),
        }
    }

    /// Makes sure that what it needs is installed.
    ///
    /// # Errors
    /// [`LabError::Missing`] when it is not and may not be installed.
    pub(crate) fn prepare(self, install: bool) -> Result<(), LabError> {
        match self {
            Self::Nat(nat) => {
                nat.needs().map_or(Ok(()), |(program, package)| require(program, package, install))
            }
            Self::Docker(_) => docker::prepare(install),
            _ if self.has(|end| end == End::Ovs) => ovs::prepare(install),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("kernel"),
            Self::Weft(mode) => write!(f, "weft:{}", mode.name()),
            Self::Ovs => f.write_str("ovs"),
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("veth"),
            Self::Pair(near, far) if near == far => near.fmt(f),
            Self::Pair(near, far) => write!(f, "{near}/{far}"),
            Self::Nat(nat) => nat.fmt(f),
            Self::Docker(docker) => docker.driver.fmt(f),
        }
    }
}

/// A name that is nobody's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is none of kernel, veth, ovs, weft:MODE (auto, udp, udp-gso, tunnel-gso), or two of them as FROM/TO"
)]
pub(crate) struct UnknownContender(String);

impl FromStr for Contender {
    type Err = UnknownContender;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownContender(text.to_owned());
        if text == "veth" {
            return Ok(Self::Plain);
        }
        let (near, far) = text.split_once('/').unwrap_or((text, text));
        Ok(Self::Pair(end(near).ok_or_else(unknown)?, end(far).ok_or_else(unknown)?))
    }
}

fn end(text: &str) -> Option<End> {
    match text {
        "kernel" => Some(End::Kernel),
        "ovs" => Some(End::Ovs),
        _ => {
            let name = text.strip_prefix("weft:")?;
            Mode::ALL.into_iter().find(|mode| mode.name() == name).map(End::Weft)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_called_as_on_the_command_line() {
        for contender in everybody() {
            assert_eq!(contender.to_string().parse(), Ok(contender));
        }
    }

    #[test]
    fn strangers_are_named() {
        for text in ["", "weft", "weft:", "weft:fast", "kernel/", "veth/kernel", "a/b/c"] {
            assert_eq!(text.parse::<Contender>(), Err(UnknownContender(text.to_owned())));
        }
    }

    #[test]
    fn mixed_pairs_go_one_way() {
        let mixed: Contender = "kernel/weft:udp".parse().unwrap();
        assert!(!mixed.is_symmetric() && BASELINE.is_symmetric() && Contender::Plain.is_symmetric());
        assert!(mixed.has(|end| matches!(end, End::Weft(_))) && !mixed.has(|end| end == End::Ovs));
    }
}
