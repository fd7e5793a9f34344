//! The kernel's own way, arranged as Docker arranges it: veth to a bridge, and a vxlan device on the bridge.

use std::net::Ipv4Addr;

use super::netns::Namespace;
use super::underlay::{Host, INNER_MTU, veth};
use super::{Container, VNI};
use crate::error::LabError;

/// Joins `container` to the network on `host`, whose other VTEP is `peer`.
pub(super) fn join(host: &Host, container: &Container, peer: Ipv4Addr) -> Result<(), LabError> {
    let ns = &host.ns;
    let bridge = ["type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"];
    ns.ip(&[&["link", "add", "br0"], bridge.as_slice()].concat())?;
    let (mtu, vni, local) = (INNER_MTU.to_string(), VNI.to_string(), host.address.to_string());
    let vxlan = ["type", "vxlan", "id", &vni, "local", &local, "dstport", "4789"];
    ns.ip(&[&["link", "add", "vx0", "mtu", &mtu], vxlan.as_slice()].concat())?;
    let everybody = ["fdb", "append", "00:00:00:00:00:00", "dev", "vx0", "dst", &peer.to_string()];
    ns.exec(&[&["bridge"], everybody.as_slice()].concat())?;
    ns.ip(&["link", "set", "vx0", "master", "br0", "up"])?;
    ns.ip(&["link", "set", "br0", "up"])?;
    veth(ns, "c0", &container.ns, "eth0", INNER_MTU)?;
    ns.ip(&["link", "set", "c0", "master", "br0", "up"])?;
    address(&container.ns, container.address)
}

/// Gives `eth0` its MTU and address and puts it up.
pub(super) fn address(container: &Namespace, address: Ipv4Addr) -> Result<(), LabError> {
    container.ip(&["link", "set", "eth0", "mtu", &INNER_MTU.to_string(), "up"])?;
    container.ip(&["address", "add", &format!("{address}/24"), "dev", "eth0"]).map(drop)
}
