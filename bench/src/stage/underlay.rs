//! The two hosts and the veth between them.
//!
//! What crosses that veth decides more than any contender does, so there are three variants of it. As the kernel makes a
//! veth, 64 KB super-frames with unfinished checksums cross it whole, as between hosts whose cards segment tunnels. With
//! the segmentation offloads off, what crosses are frames of the MTU, as on a wire; a receiver whose driver joins them
//! again (NAPI GRO) is like one with an ordinary card, one without is the worst case.

use std::fmt;
use std::net::Ipv4Addr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::command::{require, run};
use super::netns::Namespace;
use crate::error::LabError;

/// A host's underlay interface.
pub(crate) const UPLINK: &str = "u0";

/// The underlay's MTU in bytes.
pub(crate) const MTU: u16 = 1500;

/// What VXLAN over IPv4 leaves of it for the containers.
pub(crate) const INNER_MTU: u16 = MTU - 50;

/// What crosses the underlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Variant {
    /// Super-frames, as the kernel makes a veth
    Super,
    /// Frames of the MTU, joined again by the receiver's driver (GRO), like a network card
    MtuGro,
    /// Frames of the MTU, one by one
    Mtu,
}

impl Variant {
    /// What it is, for headings.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Super => "super-frames cross the wire",
            Self::MtuGro => "MTU frames, receiver with GRO",
            Self::Mtu => "MTU frames, no GRO",
        }
    }

    /// The features to change, as ethtool takes them.
    fn features(self) -> Vec<&'static str> {
        let segmentation =
            ["tso", "tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation", "tx-udp-segmentation"];
        let off = segmentation.iter().flat_map(|feature| [*feature, "off"]);
        match self {
            Self::Super => Vec::new(),
            Self::MtuGro => off.chain(["gro", "on"]).collect(),
            Self::Mtu => off.chain(["gro", "off"]).collect(),
        }
    }

    /// Makes sure that this variant can be built.
    ///
    /// # Errors
    /// [`LabError::Missing`] without ethtool.
    pub(crate) fn prepare(self, install: bool) -> Result<(), LabError> {
        if self.features().is_empty() { Ok(()) } else { require("ethtool", "ethtool", install) }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Super => "super",
            Self::MtuGro => "mtu-gro",
            Self::Mtu => "mtu",
        })
    }
}

/// One of the two machines.
#[derive(Debug)]
pub(crate) struct Host {
    /// The namespace that stands for the machine.
    pub(crate) ns: Namespace,
    /// Its address on the underlay.
    pub(crate) address: Ipv4Addr,
}

/// Builds two hosts and the wire.
pub(crate) fn hosts(variant: Variant) -> Result<[Host; 2], LabError> {
    let host = |number: u8| {
        let ns = Namespace::new(&format!("host{number}"))?;
        Ok::<_, LabError>(Host { ns, address: Ipv4Addr::new(172, 31, 77, number) })
    };
    let hosts = [host(1)?, host(2)?];
    let [a, b] = hosts.each_ref().map(|host| &host.ns);
    veth(a, UPLINK, b, UPLINK, MTU)?;
    for host in &hosts {
        let features = variant.features();
        if !features.is_empty() {
            host.ns.exec(&[&["ethtool", "-K", UPLINK], features.as_slice()].concat())?;
        }
        let address = format!("{}/24", host.address);
        host.ns.ip(&["address", "add", &address, "dev", UPLINK])?;
        host.ns.ip(&["link", "set", UPLINK, "up"])?;
    }
    Ok(hosts)
}

/// Joins two namespaces by a veth, both ends still down.
pub(crate) fn veth(
    a: &Namespace,
    a_name: &str,
    b: &Namespace,
    b_name: &str,
    mtu: u16,
) -> Result<(), LabError> {
    let (a, b, mtu) = (a.name(), b.name(), mtu.to_string());
    let near = ["link", "add", a_name, "mtu", &mtu, "netns", a, "type", "veth"];
    let far = ["peer", "name", b_name, "mtu", &mtu, "netns", b];
    run("ip", &[near.as_slice(), &far].concat()).map(drop)
}

/// The offloads of a host's underlay interface that matter here, as `ethtool -k` words them; empty without ethtool.
pub(crate) fn offloads(host: &Host) -> Vec<String> {
    let shown = host.ns.exec(&["ethtool", "-k", UPLINK]).unwrap_or_default();
    relevant(&shown)
}

fn relevant(shown: &str) -> Vec<String> {
    const FEATURES: [&str; 8] = [
        "tx-checksumming:",
        "tcp-segmentation-offload:",
        "generic-segmentation-offload:",
        "generic-receive-offload:",
        "tx-udp-segmentation:",
        "tx-udp_tnl-segmentation:",
        "tx-udp_tnl-csum-segmentation:",
        "rx-udp-gro-forwarding:",
    ];
    let lines = shown.lines().map(str::trim);
    lines.filter(|line| FEATURES.iter().any(|feature| line.starts_with(feature))).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_offloads_that_matter_are_recorded() {
        let shown = "Features for u0:\nrx-checksumming: on\ntx-checksumming: on\n\ttx-checksum-ipv4: off [fixed]\n\
                     tx-udp_tnl-segmentation: off\n";
        assert_eq!(relevant(shown), ["tx-checksumming: on", "tx-udp_tnl-segmentation: off"]);
    }

    #[test]
    fn a_variant_is_called_as_on_the_command_line() {
        for variant in Variant::value_variants() {
            assert_eq!(Variant::from_str(&variant.to_string(), false), Ok(*variant));
        }
    }
}
