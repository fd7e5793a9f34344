//! The conversation every pairing has to get through.

use harness::daemon::{Config, Daemon, Stats};
use harness::kernel_vtep::KernelVtep;
use harness::need;
use harness::netns::Namespace;
use harness::ovs::OvsVtep;
use harness::traffic::{self, End};
use harness::underlay::{Family, Host, Offloads, Underlay};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;

/// Above 65,535, so that a VNI cut to 16 bits shows.
const VNI: u32 = 0x00ab_cdef;

const MIB: usize = 1 << 20;

/// Who stands at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The product.
    Weft,
    /// The kernel's vxlan device behind a bridge.
    Kernel,
    /// Open vSwitch's userspace datapath.
    Ovs,
}

/// Two ends and the underlay between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pairing {
    pub(crate) left: Side,
    pub(crate) right: Side,
    pub(crate) family: Family,
    pub(crate) offloads: Offloads,
    /// The protocol inside the tunnel.
    pub(crate) inner: Family,
    /// The underlay mode the product is held to on the left; it chooses when absent.
    pub(crate) mode: Option<&'static str>,
    /// The same on the right.
    pub(crate) right_mode: Option<&'static str>,
    /// The product's packet threads; it chooses when absent.
    pub(crate) workers: Option<u8>,
}

impl Default for Pairing {
    fn default() -> Self {
        Pairing {
            left: Side::Weft,
            right: Side::Kernel,
            family: Family::V4,
            inner: Family::V4,
            offloads: Offloads::On,
            mode: None,
            right_mode: None,
            workers: None,
        }
    }
}

impl Pairing {
    /// Whether the left side sends single datagrams without an outer checksum, which any receiver can read whatever
    /// the sender's interface leaves to it.
    fn plain_datagrams(self) -> bool {
        self.left == Side::Weft && self.mode == Some("udp") && self.family == Family::V4
    }

    /// Bytes of the bulk transfer in each direction: the full gibibyte when asked for; less from day to day, and
    /// least through Open vSwitch, which is slow.
    fn bulk(self) -> usize {
        match self.right {
            _ if need::full() => 1024 * MIB,
            Side::Ovs => 16 * MIB,
            _ => 64 * MIB,
        }
    }
}

/// Talks through the pairing both ways, one thing after the other.
pub(crate) fn converse(pairing: Pairing) {
    meet(pairing, &[], |left, right| {
        for (from, to) in [(left, right), (right, left)] {
            traffic::ping(from, to);
            traffic::udp_of_every_size(from, to, pairing.family.inner_mtu());
            traffic::tcp_bulk(from, to, pairing.bulk());
        }
    });
}

/// Carries several transfers each way at once: flows that are coalesced must not get into each other. Where they are
/// more than the queues hold some frames are dropped there, and TCP sends them again.
pub(crate) fn converse_all_at_once(pairing: Pairing) {
    meet(pairing, &["port_full", "underlay_full", "underlay_socket"], |left, right| {
        traffic::ping(left, right);
        thread::scope(|scope| {
            for (from, to) in [(left, right), (right, left)].repeat(3) {
                scope.spawn(move || traffic::tcp_bulk(from, to, pairing.bulk() / 4));
            }
        });
    });
}

/// Builds the pairing, has `talk` talk through it, and holds the product to having dropped nothing, but for the
/// reasons that are `allowed`.
fn meet(pairing: Pairing, allowed: &[&str], talk: impl FnOnce(End<'_>, End<'_>)) {
    meet_on(&Underlay::new(2, pairing.family, pairing.offloads), pairing, allowed, talk);
}

/// The same on an underlay of two hosts that is there already.
pub(crate) fn meet_on(
    underlay: &Underlay,
    pairing: Pairing,
    allowed: &[&str],
    talk: impl FnOnce(End<'_>, End<'_>),
) {
    let [left_host, right_host] = underlay.hosts.as_slice() else { panic!("two hosts were made") };
    if pairing.right == Side::Ovs && !pairing.plain_datagrams() {
        OvsVtep::spare(left_host);
    }
    let (left_ns, right_ns) = (Namespace::new("left"), Namespace::new("right"));
    let [left_ip, right_ip] = [11, 12].map(|number| inner_address(pairing.inner, number));
    let left_vtep = Vtep::start(pairing, pairing.left, pairing.mode, left_host, right_host.address);
    let right_vtep = Vtep::start(pairing, pairing.right, pairing.right_mode, right_host, left_host.address);
    left_vtep.attach(&left_ns, left_ip);
    right_vtep.attach(&right_ns, right_ip);
    let vteps = [left_vtep, right_vtep];
    let before = vteps.each_ref().map(Vtep::stats);
    talk(End { ns: &left_ns, ip: left_ip }, End { ns: &right_ns, ip: right_ip });
    for (vtep, before) in vteps.iter().zip(&before) {
        let mut moved = vtep.stats().moved_since(before);
        moved.retain(|reason, _| !allowed.contains(&reason.as_str()));
        assert!(moved.is_empty(), "honest traffic ended in drops: {moved:?}");
    }
}

enum Vtep<'a> {
    Weft(Daemon),
    Kernel(KernelVtep<'a>),
    Ovs(OvsVtep<'a>),
}

impl<'a> Vtep<'a> {
    fn start(
        pairing: Pairing,
        side: Side,
        mode: Option<&'static str>,
        host: &'a Host,
        remote: IpAddr,
    ) -> Self {
        let mtu = pairing.family.inner_mtu();
        match side {
            Side::Weft => Vtep::Weft(weft(pairing, mode, host, remote)),
            Side::Kernel => Vtep::Kernel(KernelVtep::new(host, VNI, mtu, &[remote])),
            Side::Ovs => Vtep::Ovs(OvsVtep::new(host, VNI, mtu, remote)),
        }
    }

    fn attach(&self, container: &Namespace, ip: IpAddr) {
        let (option, prefix) = if ip.is_ipv4() { ("--ip", 24) } else { ("--ip6", 64) };
        if ip.is_ipv4() {
            // A container announces itself over IPv6 whenever it likes; without, every frame on the segment is ours.
            container.sysctl("ipv6/conf/default/disable_ipv6", "1");
        }
        let with_prefix = format!("{ip}/{prefix}");
        match self {
            Vtep::Weft(daemon) => {
                let (path, ip) = (container.path(), ip.to_string());
                daemon.weft(&["network", "connect", "blue", &path, "--name", "c", option, &ip]).must();
            }
            Vtep::Kernel(vtep) => vtep.attach("c", container, &[&with_prefix]),
            Vtep::Ovs(vtep) => vtep.attach("c", container, &[&with_prefix]),
        }
    }

    /// What the product has counted so far; the others do not tell.
    fn stats(&self) -> Stats {
        match self {
            Vtep::Weft(daemon) => daemon.stats(),
            Vtep::Kernel(_) | Vtep::Ovs(_) => Stats::default(),
        }
    }
}

fn weft(pairing: Pairing, mode: Option<&'static str>, host: &Host, remote: IpAddr) -> Daemon {
    let mut config = Config::new(host.address, &[remote]);
    config.mode = mode;
    config.workers = pairing.workers;
    let daemon = Daemon::start(&host.ns, &config);
    if let Some(mode) = mode {
        assert_eq!(daemon.json(&["status"])["underlay_mode"], mode, "the mode it is held to");
    }
    let vni = VNI.to_string();
    let subnets = match pairing.inner {
        Family::V4 => &["--subnet", "10.77.0.0/24"][..],
        Family::V6 => &["--ipv6", "--subnet", "fd00:77::/64"],
    };
    daemon.weft(&[&["network", "create", "blue", "-d", "overlay", "--vni", &vni], subnets].concat()).must();
    daemon
}

fn inner_address(family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 77, 0, number).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, number.into()).into(),
    }
}
