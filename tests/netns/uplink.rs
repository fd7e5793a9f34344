//! Underlay mode `tunnel-gso`: chosen by trial, on the wire as VXLAN should be, healing by itself, leaving nothing.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use harness::daemon::{Config, Daemon};
use harness::frame::Tunnelled;
use harness::need;
use harness::netns::Namespace;
use harness::raw::RawSocket;
use harness::traffic::{self, End};
use harness::underlay::{self, Family, Offloads, UPLINK, Underlay};
use harness::wait;
use nix::sys::signal::{Signal, kill};
use std::net::IpAddr;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A daemon with one container on the network that all of them share.
struct Site {
    daemon: Daemon,
    container: Namespace,
    ip: IpAddr,
}

impl Site {
    /// 10.77.0.`number`, in a daemon in `host` whose mode is `mode`.
    fn start(host: &Namespace, number: u8, own: IpAddr, peer: IpAddr, mode: Option<&'static str>) -> Self {
        let mut config = Config::new(own, &[peer]);
        config.mode = mode;
        let daemon = Daemon::start(host, &config);
        let line =
            ["network", "create", "blue", "-d", "overlay", "--subnet", "10.77.0.0/24", "--vni", "7001"];
        daemon.weft(&line).must();
        let container = Namespace::new(&format!("c{number}"));
        container.sysctl("ipv6/conf/default/disable_ipv6", "1");
        let ip = IpAddr::from([10, 77, 0, number]);
        let (path, text) = (container.path(), ip.to_string());
        daemon.weft(&["network", "connect", "blue", &path, "--name", "c", "--ip", &text]).must();
        Site { daemon, container, ip }
    }

    fn end(&self) -> End<'_> {
        End { ns: &self.container, ip: self.ip }
    }

    fn mode(&self) -> String {
        self.daemon.json(&["status"])["underlay_mode"].as_str().expect("there is an underlay").to_owned()
    }
}

/// Two hosts on one wire and a site on each.
struct Pair {
    sites: [Site; 2],
    underlay: Underlay,
}

impl Pair {
    fn start(family: Family, offloads: Offloads, mode: Option<&'static str>) -> Self {
        let underlay = Underlay::new(2, family, offloads);
        let [a, b] = underlay.hosts.as_slice() else { panic!("two hosts were made") };
        let sites = [
            Site::start(&a.ns, 11, a.address, b.address, mode),
            Site::start(&b.ns, 12, b.address, a.address, mode),
        ];
        Pair { sites, underlay }
    }

    fn host(&self, index: usize) -> &Namespace {
        &self.underlay.hosts[index].ns
    }

    /// Waits until pings cross through the uplinks of both hosts.
    #[track_caller]
    fn until_whole(&self) {
        let [a, b] = &self.sites;
        until_used(&[self.host(0), self.host(1)], a, b);
    }
}

/// Waits until a ping is answered that moved the counter of every uplink in `hosts`.
#[track_caller]
fn until_used(hosts: &[&Namespace], a: &Site, b: &Site) {
    wait::until_true("frames cross through the uplinks", || {
        let counts = || hosts.iter().map(|host| carried(host)).collect::<Vec<_>>();
        let before = counts();
        let answered = a.container.exec(&["ping", "-n", "-c", "1", "-W", "1", &b.ip.to_string()]).ok();
        answered && counts().iter().zip(&before).all(|(now, before)| now > before)
    });
}

/// The uplink TAPs of a host.
fn uplinks(host: &Namespace) -> Vec<String> {
    host.links().into_iter().filter(|name| name.starts_with("wfu")).collect()
}

/// How many frames were written to the host's only uplink.
#[track_caller]
fn carried(host: &Namespace) -> u64 {
    let names = uplinks(host);
    let [name] = names.as_slice() else { panic!("not one uplink but {names:?}") };
    // A namespace's own /sys needs a mount; its /proc does not.
    let table = host.exec(&["cat", "/proc/net/dev"]).must();
    let line = table.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}:"))).expect("listed");
    line.split_whitespace().nth(1).and_then(|packets| packets.parse().ok()).expect("a number")
}

#[test]
fn two_hosts_choose_it_and_everything_arrives() {
    need!(Root, Tun);
    for family in [Family::V4, Family::V6] {
        let pair = Pair::start(family, Offloads::On, None);
        let [a, b] = &pair.sites;
        let status = a.daemon.json(&["status"]);
        assert_eq!(status["underlay_mode"], "tunnel-gso", "{status}");
        assert!(status["underlay_reason"].is_null(), "{status}");
        pair.until_whole();
        let before = [a, b].map(|site| site.daemon.stats().dropped());
        for (from, to) in [(a, b), (b, a)] {
            let count = carried(pair.host(0));
            traffic::ping(from.end(), to.end());
            traffic::udp_of_every_size(from.end(), to.end(), family.inner_mtu());
            traffic::tcp_bulk(from.end(), to.end(), 32 * MIB);
            assert!(carried(pair.host(0)) > count + 1000, "most of it went through the uplink");
        }
        assert_eq!([a, b].map(|site| site.daemon.stats().dropped()), before);
    }
}

#[test]
fn what_it_puts_on_the_wire_is_vxlan_with_right_checksums() {
    need!(Root, Tun);
    for family in [Family::V4, Family::V6] {
        let pair = Pair::start(family, Offloads::Off, Some("tunnel-gso"));
        pair.until_whole();
        let [a, b] = &pair.sites;
        let bulk: &dyn Fn() = &|| traffic::tcp_bulk(a.end(), b.end(), MIB);
        let datagrams: &dyn Fn() = &|| traffic::udp_of_every_size(a.end(), b.end(), 600);
        for (expected, talk) in [(6, bulk), (17, datagrams)] {
            let wire = RawSocket::open(pair.host(1), UPLINK);
            talk();
            let mut seen = 0;
            while let Some(frame) = wire.next_within(Duration::from_millis(100)) {
                assert!(frame.len() <= 1514, "{} bytes on the wire", frame.len());
                let Some(datagram) = Tunnelled::parse(&frame) else { continue };
                assert!(datagram.checksum_is_right && datagram.checksum != 0, "{family:?} {datagram:?}");
                let envelope = (datagram.ttl, datagram.dont_fragment, datagram.fragment);
                assert_eq!(envelope, (64, true, false), "{family:?}");
                assert_eq!(datagram.header, [8, 0, 0, 0, 0, 0x1b, 0x59, 0]);
                assert!(datagram.ports.0 >= 49_152);
                if let Some((protocol, right)) = inner_checksum(&datagram.inner) {
                    assert!(right, "the checksum of an inner packet of protocol {protocol} is wrong");
                    seen += u32::from(protocol == expected);
                }
            }
            // The socket's buffer does not hold everything; what it holds is enough.
            assert!(seen > 20, "{seen} packets of protocol {expected} were looked at");
        }
    }
}

/// The protocol of an inner TCP or UDP packet, and whether its checksum is right.
fn inner_checksum(frame: &[u8]) -> Option<(u8, bool)> {
    let packet = SlicedPacket::from_ethernet(frame).expect("an Ethernet frame");
    let Some(NetSlice::Ipv4(ip)) = packet.net else { return None };
    assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
    let (from, to) = (ip.header().source(), ip.header().destination());
    match packet.transport? {
        TransportSlice::Tcp(tcp) => {
            let right = tcp.to_header().calc_checksum_ipv4_raw(from, to, tcp.payload());
            Some((6, right == Ok(tcp.checksum())))
        }
        TransportSlice::Udp(udp) => {
            let right = udp.to_header().calc_checksum_ipv4_raw(from, to, udp.payload());
            Some((17, right == Ok(udp.checksum())))
        }
        _ => None,
    }
}

#[test]
fn a_host_with_another_mac_is_found_again() {
    need!(Root, Tun);
    for family in [Family::V4, Family::V6] {
        let pair = Pair::start(family, Offloads::On, None);
        // Without this the kernel disbelieves a second MAC within a second of the first.
        pair.host(0).sysctl(&format!("ipv4/neigh/{UPLINK}/locktime"), "0");
        pair.until_whole();
        pair.host(1).ip(&["link", "set", UPLINK, "address", "02:77:00:00:00:99"]);
        pair.until_whole();
    }
}

#[test]
fn a_device_that_was_down_is_used_again() {
    need!(Root, Tun);
    let pair = Pair::start(Family::V4, Offloads::On, None);
    pair.until_whole();
    pair.host(0).ip(&["link", "set", UPLINK, "down"]);
    assert!(!traffic::can_ping(&pair.sites[0].container, pair.sites[1].ip));
    pair.host(0).ip(&["link", "set", UPLINK, "up"]);
    pair.until_whole();
    assert_eq!(pair.sites[0].mode(), "tunnel-gso", "the kernel has refused nothing");
}

#[test]
fn a_neighbor_that_is_gone_is_left_to_the_sockets() {
    need!(Root, Tun);
    let pair = Pair::start(Family::V4, Offloads::On, None);
    pair.until_whole();
    // A neighbour that cannot be used, set by hand: no traffic can bring it back.
    let peer = pair.underlay.hosts[1].address.to_string();
    pair.host(0).ip(&["neighbour", "replace", &peer, "dev", UPLINK, "nud", "failed"]);
    pair.until_whole();
}

#[test]
fn a_host_behind_a_router_is_reached_through_it() {
    need!(Root, Tun);
    let [a, router, b] = ["a", "router", "b"].map(Namespace::new);
    router.sysctl("ipv4/ip_forward", "1");
    for (host, port, number) in [(&a, "p1", 1), (&b, "p2", 2)] {
        underlay::veth(host, UPLINK, &router, port);
        router.ip(&["address", "add", &format!("172.31.{number}.254/24"), "dev", port]);
        router.ip(&["link", "set", port, "up"]);
        host.ip(&["address", "add", &format!("172.31.{number}.1/24"), "dev", UPLINK]);
        host.ip(&["link", "set", UPLINK, "up"]);
        host.ip(&["route", "add", "default", "via", &format!("172.31.{number}.254")]);
    }
    let [own, peer] = [IpAddr::from([172, 31, 1, 1]), IpAddr::from([172, 31, 2, 1])];
    let left = Site::start(&a, 11, own, peer, None);
    let right = Site::start(&b, 12, peer, own, None);
    until_used(&[&a, &b], &left, &right);
    traffic::tcp_bulk(left.end(), right.end(), 8 * MIB);
    // Another route out of another device: not ours, so the sockets take it.
    a.ip(&["route", "add", "172.31.2.1/32", "dev", "lo"]);
    wait::until_true("the way through the uplink is given up", || {
        let before = carried(&a);
        let answered = traffic::can_ping(&left.container, right.ip);
        !answered && carried(&a) == before
    });
    a.ip(&["route", "del", "172.31.2.1/32"]);
    until_used(&[&a, &b], &left, &right);
}

#[test]
fn nothing_is_left_behind_whatever_ends_the_daemon() {
    need!(Root, Tun);
    let underlay = Underlay::new(2, Family::V4, Offloads::On);
    let [host, peer] = underlay.hosts.as_slice() else { panic!("two hosts were made") };
    let named = || std::fs::read_dir("/run/netns").expect("namespaces have names").count();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let before = named();
        let mut daemon = Daemon::start(&host.ns, &Config::new(host.address, &[peer.address]));
        assert_eq!(uplinks(&host.ns).len(), 1);
        kill(daemon.pid(), signal).expect("the daemon runs");
        wait::until_true("the daemon ends", || !daemon.alive());
        wait::until_true("its links are gone", || host.ns.links() == ["lo", UPLINK]);
        let qdiscs = host.ns.exec(&["tc", "qdisc", "show"]).must();
        assert!(!qdiscs.contains("clsact") && !qdiscs.contains("ingress"), "{signal}: {qdiscs}");
        assert!(named() <= before, "{signal}: a namespace has a name");
    }
}

#[test]
fn a_device_that_does_not_offer_it_gets_the_next_best_unless_it_is_forced() {
    need!(Root, Tun);
    let underlay = Underlay::new(2, Family::V4, Offloads::On);
    let [a, b] = underlay.hosts.as_slice() else { panic!("two hosts were made") };
    a.ns.exec(&["ethtool", "-K", UPLINK, "tx-udp_tnl-segmentation", "off"]).must();
    let left = Site::start(&a.ns, 11, a.address, b.address, None);
    let status = left.daemon.json(&["status"]);
    assert_eq!(status["underlay_mode"], "udp-gso", "{status}");
    let reason = status["underlay_reason"].as_str().expect("there is a reason");
    assert!(reason.starts_with("tunnel-gso: u0 ") && reason.contains("tx-udp_tnl-segmentation"), "{reason}");
    assert_eq!(uplinks(&a.ns), Vec::<String>::new());
    drop(left);

    let left = Site::start(&a.ns, 11, a.address, b.address, Some("tunnel-gso"));
    let right = Site::start(&b.ns, 12, b.address, a.address, Some("udp"));
    assert_eq!([left.mode(), right.mode()], ["tunnel-gso", "udp"]);
    until_used(&[&a.ns], &left, &right);
    for (from, to) in [(&left, &right), (&right, &left)] {
        traffic::udp_of_every_size(from.end(), to.end(), 1450);
        traffic::tcp_bulk(from.end(), to.end(), 8 * MIB);
    }
}

#[test]
fn forced_where_it_cannot_be_had_it_is_refused_in_one_line() {
    need!(Root, Tun);
    let host = Namespace::new("host");
    let [own, peer] = [1, 2].map(|number| Family::V4.address(number));
    host.ip(&["address", "add", &format!("{own}/24"), "dev", "lo"]);
    let mut config = Config::new(own, &[peer]);
    config.mode = Some("tunnel-gso");
    let refusal = Daemon::refusal(&host, &config);
    assert_eq!(refusal.code, Some(1), "{refusal:?}");
    assert_eq!(refusal.stderr.lines().count(), 1, "{refusal:?}");
    for part in ["tunnel-gso", "lo is not an Ethernet device", "underlay.mode"] {
        assert!(refusal.stderr.contains(part), "{refusal:?}");
    }
    assert_eq!(host.links(), ["lo"]);
    config.mode = None;
    let daemon = Daemon::start(&host, &config);
    let status = daemon.json(&["status"]);
    assert_eq!(status["underlay_mode"], "udp-gso", "{status}");
}

#[test]
fn an_uplink_that_is_refused_a_write_is_given_up_and_nothing_is_lost() {
    need!(Root, Tun);
    let pair = Pair::start(Family::V4, Offloads::On, None);
    pair.until_whole();
    let [a, b] = &pair.sites;
    // A TAP that is down refuses every write.
    pair.host(0).ip(&["link", "set", &uplinks(pair.host(0))[0], "down"]);
    let five =
        a.container.exec(&["ping", "-n", "-c", "5", "-i", "0.02", "-W", "5", &b.ip.to_string()]).must();
    assert!(five.contains(" 0% packet loss"), "{five}");
    let status = a.daemon.json(&["status"]);
    assert_eq!(status["underlay_mode"], "udp-gso", "{status}");
    assert!(status["underlay_reason"].as_str().is_some_and(|reason| reason.contains("refused")), "{status}");
    traffic::tcp_bulk(a.end(), b.end(), 8 * MIB);
}
