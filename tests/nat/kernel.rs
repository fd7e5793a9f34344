//! The kernel as a subject, arranged as Docker arranges it: a bridge, veths, masquerading and dnat by nftables.

use crate::lab::{self, GATEWAY, GATEWAY6, Publish, Subject};
use harness::frame::Mac;
use harness::netns::{Namespace, format_mac};
use harness::underlay;
use std::cell::RefCell;

/// Hairpinned packets are masqueraded too: without that, answers between two containers would not come back at all.
const RULES: &str = "
table ip lab {
    chain published { }
    chain pre { type nat hook prerouting priority -100; ip daddr 172.31.77.1 jump published; }
    chain out { type nat hook output priority -100; ip daddr { 172.31.77.1, 127.0.0.0/8 } jump published; }
    chain post {
        type nat hook postrouting priority 100;
        oifname u0 ip saddr 10.88.0.0/24 masquerade
        oifname br0 ip saddr { 10.88.0.0/24, 127.0.0.0/8 } ct status dnat masquerade
    }
}
table ip6 lab {
    chain post { type nat hook postrouting priority 100; oifname u0 ip6 saddr fd88::/64 masquerade; }
}";

/// The bridge's hardware address.
const MAC: &str = "02:4b:45:52:4e:01";

/// A host whose kernel translates.
pub(crate) struct Kernel {
    published: RefCell<Vec<(u8, String)>>,
}

impl Kernel {
    pub(crate) fn new(host: &Namespace) -> Self {
        let bridge = ["type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"];
        // With a hardware address of its own: one taken from its ports would change with them, and what neighbours know.
        host.ip(&[&["link", "add", "br0", "address", MAC], bridge.as_slice()].concat());
        host.ip(&["address", "add", &format!("{GATEWAY}/24"), "dev", "br0"]);
        host.ip(&["address", "add", &format!("{GATEWAY6}/64"), "dev", "br0", "nodad"]);
        host.ip(&["link", "set", "br0", "up"]);
        for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/conf/all/route_localnet"] {
            host.sysctl(key, "1");
        }
        host.exec(&["nft", RULES]).must();
        Kernel { published: RefCell::default() }
    }

    /// The rules of everything that is published now.
    fn republish(&self, host: &Namespace) {
        let rules: Vec<String> = self.published.borrow().iter().map(|(_, rule)| rule.clone()).collect();
        let all = rules.iter().map(|rule| format!("add rule ip lab published {rule}\n"));
        host.exec(&["nft", &format!("flush chain ip lab published\n{}", all.collect::<String>())]).must();
    }
}

impl Subject for Kernel {
    fn connect(&self, host: &Namespace, ns: &Namespace, number: u8, publish: &[Publish]) {
        let port = format!("v{number}");
        underlay::veth(host, &port, ns, "eth0");
        host.ip(&["link", "set", &port, "master", "br0", "up"]);
        host.exec(&["bridge", "link", "set", "dev", &port, "hairpin", "on"]).must();
        ns.ip(&["link", "set", "eth0", "up"]);
        let (ip, ip6) = (lab::inside(number).to_string(), lab::inside6(number).to_string());
        ns.ip(&["address", "add", &format!("{ip}/24"), "dev", "eth0"]);
        ns.ip(&["address", "add", &format!("{ip6}/64"), "dev", "eth0", "nodad"]);
        ns.ip(&["route", "add", "default", "via", &GATEWAY.to_string()]);
        ns.ip(&["-6", "route", "add", "default", "via", &GATEWAY6.to_string()]);
        // Known for ever, as an endpoint is to Weft: silent containers answer no question.
        let mac = format_mac(ns.mac("eth0"));
        host.ip(&["neighbor", "replace", &ip, "lladdr", &mac, "dev", "br0", "nud", "permanent"]);
        let rules = publish.iter().map(|port| {
            let (protocol, inside) = (port.protocol, port.inside);
            (number, format!("{protocol} dport {} dnat to {ip}:{inside}", port.outside))
        });
        self.published.borrow_mut().extend(rules);
        self.republish(host);
    }

    fn disconnect(&self, host: &Namespace, number: u8) {
        host.ip(&["link", "del", &format!("v{number}")]);
        self.published.borrow_mut().retain(|(owner, _)| *owner != number);
        self.republish(host);
    }

    fn gateway_mac(&self, host: &Namespace) -> Mac {
        host.mac("br0")
    }
}
