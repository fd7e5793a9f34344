//! The kernel's own ways: bridge and masquerade as Docker arranges them, and plain routing.

use super::{GATEWAY, INSIDE, PORT, SUBNET};
use crate::error::LabError;
use crate::stage::netns::Namespace;
use crate::stage::underlay::{Host, MTU, UPLINK, veth};

/// Docker's arrangement without its filter rules: the container's veth on a bridge, masquerade on the way out, a
/// destination rewritten for the published port.
pub(super) fn masquerade(host: &Host, inside: &Namespace) -> Result<(), LabError> {
    let bridge = ["type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"];
    host.ns.ip(&[&["link", "add", "br0"], bridge.as_slice()].concat())?;
    cable(host, inside, "br0")?;
    host.ns.ip(&["link", "set", "c0", "master", "br0", "up"])?;
    let rules = format!(
        "add table ip nat\n\
         add chain ip nat out {{ type nat hook postrouting priority 100; }}\n\
         add rule ip nat out ip saddr {SUBNET} oifname != \"br0\" masquerade\n\
         add chain ip nat in {{ type nat hook prerouting priority -100; }}\n\
         add rule ip nat in iifname \"{UPLINK}\" tcp dport {PORT} dnat to {INSIDE}\n"
    );
    host.ns.exec(&["nft", &rules]).map(drop)
}

/// Nobody translates anything: `outside` knows the way to the container.
pub(super) fn route(host: &Host, outside: &Host, inside: &Namespace) -> Result<(), LabError> {
    cable(host, inside, "c0")?;
    outside.ns.ip(&["route", "add", SUBNET, "via", &host.address.to_string()]).map(drop)
}

/// A veth from the container's `eth0` to the host's `c0`; `first_hop`, on the host, has the gateway's address.
fn cable(host: &Host, inside: &Namespace, first_hop: &str) -> Result<(), LabError> {
    host.ns.exec(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
    veth(&host.ns, "c0", inside, "eth0", MTU)?;
    host.ns.ip(&["address", "add", &format!("{GATEWAY}/24"), "dev", first_hop])?;
    host.ns.ip(&["link", "set", first_hop, "up"])?;
    inside.ip(&["address", "add", &format!("{INSIDE}/24"), "dev", "eth0"])?;
    inside.ip(&["link", "set", "eth0", "up"])?;
    inside.ip(&["route", "add", "default", "via", &GATEWAY.to_string()]).map(drop)
}
