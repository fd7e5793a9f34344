//! Hosts and the wire between them.
//!
//! A host is a namespace with one underlay interface, `u0`. Two hosts are the two ends of one veth; more stand on a
//! bridge in a namespace of its own. With all offloads on, what crosses a veth are super-frames with checksums still
//! to be filled in, as between a virtual machine and its host; with all off, every frame is as on a copper wire.
//!
//! Two hosts may also be [`severed`](Underlay::severed): each has a veth into a namespace between them, where nothing
//! joins the two until somebody, the [`relay`](crate::relay), carries frames across.

use crate::cmd;
use crate::netns::Namespace;
use std::net::IpAddr;

/// The name of a host's underlay interface.
pub const UPLINK: &str = "u0";

/// Which internet protocol carries the outer datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4: the inner MTU is 1450.
    V4,
    /// IPv6: the inner MTU is 1430.
    V6,
}

impl Family {
    /// The inner MTU over an underlay with an MTU of 1500.
    pub fn inner_mtu(self) -> usize {
        match self {
            Family::V4 => 1450,
            Family::V6 => 1430,
        }
    }

    /// The address of the `number`th host, counted from 1.
    pub fn address(self, number: u8) -> IpAddr {
        match self {
            Family::V4 => IpAddr::from([172, 31, 77, number]),
            Family::V6 => IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, u16::from(number)]),
        }
    }

    fn prefix(self) -> u8 {
        match self {
            Family::V4 => 24,
            Family::V6 => 64,
        }
    }
}

/// What the ends of the veths do themselves and what they leave to the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offloads {
    /// As the kernel made the veth: segmentation and checksums are left to whoever needs them.
    On,
    /// Every frame within the MTU and with its checksums complete.
    Off,
}

/// One machine on the underlay.
#[derive(Debug)]
pub struct Host {
    /// The namespace that stands for the machine.
    pub ns: Namespace,
    /// Its underlay address, on `u0`.
    pub address: IpAddr,
}

/// Some hosts and what joins them.
#[derive(Debug)]
pub struct Underlay {
    /// The hosts; their addresses are [`Family::address`] of 1, 2, and so on.
    pub hosts: Vec<Host>,
    /// The protocol between them.
    pub family: Family,
    /// What the hosts' veths end in, as `p0`, `p1` and so on, unless two hosts share one: a namespace with a bridge,
    /// or with nothing between its ends.
    pub middle: Option<Namespace>,
}

impl Underlay {
    /// Builds `count` hosts.
    #[track_caller]
    pub fn new(count: u8, family: Family, offloads: Offloads) -> Self {
        let namespaces = host_namespaces(count);
        let middle = match namespaces.as_slice() {
            [a, b] => {
                veth(a, UPLINK, b, UPLINK);
                None
            }
            many => Some(bridge(many, offloads)),
        };
        Self::of(namespaces, middle, family, offloads)
    }

    /// Builds two hosts with a gap between them and every offload off: each frame in the gap is as on a copper wire.
    #[track_caller]
    pub fn severed(family: Family) -> Self {
        let (namespaces, gap) = (host_namespaces(2), Namespace::new("gap"));
        // The namespace between has nothing to say itself.
        gap.sysctl("ipv6/conf/default/disable_ipv6", "1");
        for port in ports(&namespaces, &gap, Offloads::Off) {
            gap.ip(&["link", "set", &port, "up"]);
        }
        Self::of(namespaces, Some(gap), family, Offloads::Off)
    }

    #[track_caller]
    fn of(namespaces: Vec<Namespace>, middle: Option<Namespace>, family: Family, offloads: Offloads) -> Self {
        let hosts: Vec<Host> = (1..)
            .zip(namespaces)
            .map(|(number, ns)| {
                let address = family.address(number);
                settle(&ns, offloads);
                add_address(&ns, UPLINK, address, family.prefix());
                Host { ns, address }
            })
            .collect();
        Underlay { hosts, family, middle }
    }

    /// Gives the `host`th host (counted from 0) one more underlay address, [`Family::address`] of `number`.
    #[track_caller]
    pub fn also(&self, host: usize, number: u8) -> IpAddr {
        let address = self.family.address(number);
        add_address(&self.hosts[host].ns, UPLINK, address, self.family.prefix());
        address
    }
}

/// Joins two namespaces by a veth, both ends still down.
#[track_caller]
pub fn veth(a: &Namespace, a_name: &str, b: &Namespace, b_name: &str) {
    let (a, b) = (a.name(), b.name());
    let line = ["link", "add", a_name, "netns", a, "type", "veth", "peer", "name", b_name, "netns", b];
    cmd::run("ip", &line).must();
}

/// Switches every offload of an interface off.
#[track_caller]
pub fn offloads_off(ns: &Namespace, interface: &str) {
    const FEATURES: [&str; 10] = [
        "tso",
        "gso",
        "gro",
        "tx",
        "rx",
        "sg",
        "tx-udp-segmentation",
        "tx-udp_tnl-segmentation",
        "tx-udp_tnl-csum-segmentation",
        "tx-gre-segmentation",
    ];
    let mut line = vec!["ethtool", "-K", interface];
    line.extend(FEATURES.iter().flat_map(|feature| [*feature, "off"]));
    ns.exec(&line).must();
}

fn settle(ns: &Namespace, offloads: Offloads) {
    if offloads == Offloads::Off {
        offloads_off(ns, UPLINK);
    }
    ns.ip(&["link", "set", UPLINK, "up"]);
}

fn add_address(ns: &Namespace, interface: &str, address: IpAddr, prefix: u8) {
    let with_prefix = format!("{address}/{prefix}");
    let mut line = vec!["address", "add", &with_prefix, "dev", interface];
    if address.is_ipv6() {
        line.push("nodad");
    }
    ns.ip(&line);
}

fn bridge(hosts: &[Namespace], offloads: Offloads) -> Namespace {
    let lan = Namespace::new("lan");
    lan.ip(&[
        "link",
        "add",
        "br0",
        "type",
        "bridge",
        "stp_state",
        "0",
        "forward_delay",
        "0",
        "mcast_snooping",
        "0",
    ]);
    lan.ip(&["link", "set", "br0", "up"]);
    for port in ports(hosts, &lan, offloads) {
        lan.ip(&["link", "set", &port, "master", "br0", "up"]);
    }
    lan
}

fn host_namespaces(count: u8) -> Vec<Namespace> {
    (1..=count).map(|number| Namespace::new(&format!("host{number}"))).collect()
}

/// Gives each host a veth into `middle`, and returns what their ends are called there.
fn ports(hosts: &[Namespace], middle: &Namespace, offloads: Offloads) -> Vec<String> {
    let join = |(number, host)| {
        let port = format!("p{number}");
        veth(host, UPLINK, middle, &port);
        if offloads == Offloads::Off {
            offloads_off(middle, &port);
        }
        port
    };
    hosts.iter().enumerate().map(join).collect()
}
