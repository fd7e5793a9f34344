//! Routers, and paths that take less than their first link.

use harness::need;
use harness::netns::Namespace;
use harness::traffic;
use harness::underlay::{self, Family, UPLINK};
use harness::wait;
use std::net::IpAddr;
use std::time::Duration;

use super::{MIB, Site, carried, until_used};

/// Two hosts with a router between them.
struct Routed {
    hosts: [Namespace; 2],
    router: Namespace,
}

impl Routed {
    fn new(family: Family) -> Self {
        let [a, router, b] = ["a", "router", "b"].map(Namespace::new);
        router.sysctl("ipv4/ip_forward", "1");
        router.sysctl("ipv6/conf/all/forwarding", "1");
        let routed = Routed { hosts: [a, b], router };
        for (link, host) in routed.hosts.iter().enumerate() {
            let [own, first_hop] = [1, 254].map(|number| Routed::address(family, link, number));
            let (port, length) = (Routed::port(link), if own.is_ipv4() { 24 } else { 64 });
            underlay::veth(host, UPLINK, &routed.router, &port);
            for (namespace, device, address) in
                [(&routed.router, port.as_str(), first_hop), (host, UPLINK, own)]
            {
                namespace.ip(&["address", "add", &format!("{address}/{length}"), "dev", device]);
                namespace.ip(&["link", "set", device, "up"]);
            }
            let version = if own.is_ipv4() { "-4" } else { "-6" };
            host.ip(&[version, "route", "add", "default", "via", &first_hop.to_string()]);
        }
        routed
    }

    /// The router's port towards a host.
    fn port(link: usize) -> String {
        format!("p{link}")
    }

    fn address(family: Family, link: usize, number: u8) -> IpAddr {
        match family {
            Family::V4 => IpAddr::from([172, 31, link as u8 + 1, number]),
            Family::V6 => IpAddr::from([0xfd77, 0, 0, link as u16 + 1, 0, 0, 0, u16::from(number)]),
        }
    }

    /// A daemon with a container on each host.
    fn sites(&self, family: Family) -> [Site; 2] {
        let [a, b] = [0, 1].map(|link| Routed::address(family, link, 1));
        [Site::start(&self.hosts[0], 11, a, b, None), Site::start(&self.hosts[1], 12, b, a, None)]
    }
}

#[test]
fn a_host_behind_a_router_is_reached_through_it() {
    need!(Root, Tun);
    let routed = Routed::new(Family::V4);
    let ([left, right], [a, b]) = (routed.sites(Family::V4), &routed.hosts);
    until_used(&[a, b], &left, &right);
    traffic::tcp_bulk(left.end(), right.end(), 8 * MIB);
    // Another route out of another device: not ours, so the sockets take it.
    a.ip(&["route", "add", "172.31.2.1/32", "dev", "lo"]);
    wait::until_true("the way through the uplink is given up", || {
        let before = carried(a);
        let answered = traffic::can_ping(&left.container, right.ip);
        !answered && carried(a) == before
    });
    a.ip(&["route", "del", "172.31.2.1/32"]);
    until_used(&[a, b], &left, &right);
}

#[test]
fn a_path_that_takes_less_is_found_out_and_what_is_too_large_for_it_counted() {
    need!(Root, Tun);
    for family in [Family::V4, Family::V6] {
        let routed = Routed::new(family);
        let ([left, right], [a, b]) = (routed.sites(family), &routed.hosts);
        until_used(&[a, b], &left, &right);
        routed.router.ip(&["link", "set", &Routed::port(1), "mtu", "1400"]);
        let (target, dropped) = (right.ip.to_string(), || left.daemon.stats().drop("underlay_mtu"));
        let large = || left.container.exec(&["ping", "-n", "-c", "1", "-W", "1", "-s", "1400", &target]).ok();
        let limit = wait::PATIENCE + Duration::from_secs(10);
        let found = wait::within(limit, || {
            assert!(!large(), "the path does not take it");
            (left.status()["next_hops"][0]["mtu"] == 1400).then_some(())
        });
        assert!(found.is_some(), "{family:?}: {}", left.status());
        let before = dropped();
        assert!(!large());
        assert!(dropped() > before, "{family:?}: {:?}", left.daemon.stats());
        let largest = 1400 - if family == Family::V4 { 50 } else { 70 };
        let advice = format!("--mtu {largest} or less");
        assert!(left.daemon.stderr().contains(&advice), "{family:?}: {}", left.daemon.stderr());
        // What fits goes through the uplink as before, up to the last byte.
        let count = carried(a);
        traffic::udp_of_every_size(left.end(), right.end(), largest);
        assert!(carried(a) > count + 1000);
    }
}
