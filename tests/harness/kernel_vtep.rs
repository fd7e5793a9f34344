//! The kernel's own vxlan device as a peer, arranged as Docker arranges it: bridge, vxlan port, veth to the container.

use crate::netns::Namespace;
use crate::underlay::{self, Host};
use std::net::IpAddr;

/// A kernel VTEP on one host.
#[derive(Debug)]
pub struct KernelVtep<'a> {
    host: &'a Host,
    mtu: usize,
}

impl<'a> KernelVtep<'a> {
    /// Makes the device for `vni` and tells it to flood to `remotes`.
    #[track_caller]
    pub fn new(host: &'a Host, vni: u32, mtu: usize, remotes: &[IpAddr]) -> Self {
        let (vni, mtu_text, local) = (vni.to_string(), mtu.to_string(), host.address.to_string());
        let ns = &host.ns;
        let bridge = ["type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"];
        ns.ip(&[&["link", "add", "br0"], bridge.as_slice()].concat());
        let vxlan = ["type", "vxlan", "id", &vni, "local", &local, "dstport", "4789"];
        ns.ip(&[&["link", "add", "vx0", "mtu", &mtu_text], vxlan.as_slice()].concat());
        for remote in remotes {
            let remote = remote.to_string();
            ns.exec(&["bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "vx0", "dst", &remote]).must();
        }
        ns.ip(&["link", "set", "vx0", "master", "br0", "up"]);
        ns.ip(&["link", "set", "br0", "up"]);
        KernelVtep { host, mtu }
    }

    /// Attaches a container: a veth from the bridge to `eth0` inside, with these addresses (`IP/PREFIX`).
    #[track_caller]
    pub fn attach(&self, port: &str, container: &Namespace, addresses: &[&str]) {
        let mtu = self.mtu.to_string();
        underlay::veth(&self.host.ns, port, container, "eth0");
        self.host.ns.ip(&["link", "set", port, "mtu", &mtu, "master", "br0", "up"]);
        container.ip(&["link", "set", "eth0", "mtu", &mtu, "up"]);
        for address in addresses {
            container.ip(&["address", "add", address, "dev", "eth0"]);
        }
    }
}
