//! Devices, filters and uplinks that go and come back, by whatever hand; and nothing is left behind.

use harness::daemon::{Config, Daemon};
use harness::need;
use harness::netns::Namespace;
use harness::traffic;
use harness::underlay::{self, Family, Offloads, UPLINK, Underlay};
use harness::wait;
use nix::sys::signal::{Signal, kill};

use super::{MIB, Pair, uplinks};

const FEATURE: &str = "tx-udp_tnl-csum-segmentation";

/// Makes the underlay device of both hosts again, as it was.
fn make_again(pair: &Pair, family: Family) {
    let [a, b] = pair.underlay.hosts.as_slice() else { panic!("a pair has two hosts") };
    underlay::veth(&a.ns, UPLINK, &b.ns, UPLINK);
    for host in [a, b] {
        let address = format!("{}/{}", host.address, if family == Family::V4 { 24 } else { 64 });
        let mut line = vec!["address", "add", &address, "dev", UPLINK];
        if family == Family::V6 {
            line.push("nodad");
        }
        host.ns.ip(&line);
        host.ns.ip(&["link", "set", UPLINK, "up"]);
    }
}

#[test]
fn a_device_that_was_down_is_used_again() {
    need!(Root, Tun);
    let pair = Pair::start(Family::V4, Offloads::On, None);
    pair.until_whole();
    pair.host(0).ip(&["link", "set", UPLINK, "down"]);
    assert!(!traffic::can_ping(&pair.sites[0].container, pair.sites[1].ip));
    pair.sites[0].until_refused("tunnel-gso: u0 is down");
    assert_eq!(uplinks(pair.host(0)), Vec::<String>::new());
    pair.host(0).ip(&["link", "set", UPLINK, "up"]);
    pair.until_whole();
    assert_eq!(pair.sites[0].mode(), "tunnel-gso", "the kernel has refused nothing");
}

#[test]
fn a_device_that_is_made_again_is_used_again() {
    need!(Root, Tun);
    for family in [Family::V4, Family::V6] {
        let pair = Pair::start(family, Offloads::On, None);
        pair.until_whole();
        let [a, b] = &pair.sites;
        pair.host(0).ip(&["link", "delete", UPLINK]);
        for (site, host) in [(a, &pair.underlay.hosts[0]), (b, &pair.underlay.hosts[1])] {
            site.until_refused(&format!("tunnel-gso: no interface has the address {}", host.address));
            assert_eq!(host.ns.links(), ["lo", "weft0"], "nothing is left of the uplink");
        }
        // Datagrams that find no address to leave from do not end segmentation.
        assert!(!traffic::can_ping(&a.container, b.ip));
        make_again(&pair, family);
        pair.until_whole();
        for site in [a, b] {
            let status = site.status();
            assert_eq!(status["underlay_mode"], "tunnel-gso", "{status}");
            assert!(status["underlay_reason"].is_null(), "{status}");
        }
        traffic::tcp_bulk(a.end(), b.end(), 8 * MIB);
        traffic::tcp_bulk(b.end(), a.end(), 8 * MIB);
    }
}

#[test]
fn sockets_segment_as_before_when_their_address_is_back() {
    need!(Root, Tun);
    let pair = Pair::start(Family::V4, Offloads::On, Some("udp-gso"));
    let [a, b] = &pair.sites;
    traffic::ping(a.end(), b.end());
    let (mac, target) = (b.mac(), b.ip.to_string());
    a.container.ip(&["neighbour", "replace", &target, "dev", "eth0", "lladdr", &mac, "nud", "permanent"]);
    let address = format!("{}/24", pair.underlay.hosts[0].address);
    pair.host(0).ip(&["address", "delete", &address, "dev", UPLINK]);
    // Its fragments are enough for a batch that would leave as one.
    wait::until_true("a batch is refused", || {
        let before = a.daemon.stats().dropped();
        assert!(!a.container.exec(&["ping", "-n", "-c", "1", "-W", "1", "-s", "8000", &target]).ok());
        a.daemon.stats().dropped() > before + 2
    });
    pair.host(0).ip(&["address", "add", &address, "dev", UPLINK]);
    traffic::ping(a.end(), b.end());
    let status = a.status();
    assert_eq!(status["underlay_mode"], "udp-gso", "{status}");
    assert!(status["underlay_reason"].is_null(), "{status}");
}

#[test]
fn whatever_is_done_to_the_uplink_is_noticed_and_repaired() {
    need!(Root, Tun);
    let pair = Pair::start(Family::V4, Offloads::On, None);
    pair.until_whole();
    let (site, host) = (&pair.sites[0], pair.host(0));
    let deeds: [(&[&str], &str); 5] = [
        (&["tc", "filter", "del", "dev", "UPLINK", "ingress"], "has been removed"),
        (&["tc", "qdisc", "del", "dev", "UPLINK", "ingress"], "has been removed"),
        (&["ip", "link", "set", "UPLINK", "down"], "has been taken down"),
        (&["ip", "link", "delete", "UPLINK"], "has been deleted"),
        (&["ip", "link", "set", "UPLINK", "netns", "AWAY"], "has been deleted"),
    ];
    let away = Namespace::new("away");
    for (deed, reason) in deeds {
        let [name]: [String; 1] = uplinks(host).try_into().expect("there is one uplink");
        let line = deed.iter().map(|word| match *word {
            "UPLINK" => name.as_str(),
            "AWAY" => away.name(),
            word => word,
        });
        host.exec(&line.collect::<Vec<_>>()).must();
        let told =
            format!("the {}uplink {name} {reason}", if deed[0] == "tc" { "redirect of the " } else { "" });
        wait::until_true(&told, || site.daemon.stderr().contains(&told));
        pair.until_whole();
        assert_eq!(site.mode(), "tunnel-gso", "after {deed:?}");
        assert!(!uplinks(host).contains(&name), "it is another one after {deed:?}");
        assert_eq!(away.links(), ["lo"], "after {deed:?}");
    }
}

#[test]
fn a_device_is_used_as_long_as_it_offers_it() {
    need!(Root, Tun);
    let pair = Pair::start(Family::V4, Offloads::On, None);
    pair.until_whole();
    let [a, b] = &pair.sites;
    pair.host(0).exec(&["ethtool", "-K", UPLINK, FEATURE, "off"]).must();
    a.until_refused("tunnel-gso: u0 does not offer tx-udp_tnl-csum-segmentation");
    assert_eq!(uplinks(pair.host(0)), Vec::<String>::new());
    traffic::ping(a.end(), b.end());
    pair.host(0).exec(&["ethtool", "-K", UPLINK, FEATURE, "on"]).must();
    pair.until_whole();
    assert_eq!(a.mode(), "tunnel-gso");
}

#[test]
fn an_uplink_that_refuses_frames_loses_none_of_them() {
    need!(Root, Tun);
    let pair = Pair::start(Family::V4, Offloads::On, None);
    pair.until_whole();
    let [a, b] = &pair.sites;
    // A TAP that is down refuses every write.
    pair.host(0).ip(&["link", "set", &uplinks(pair.host(0))[0], "down"]);
    let five =
        a.container.exec(&["ping", "-n", "-c", "5", "-i", "0.02", "-W", "5", &b.ip.to_string()]).must();
    assert!(five.contains(" 0% packet loss"), "{five}");
    pair.until_whole();
}

#[test]
fn nothing_is_left_behind_whatever_ends_the_daemon() {
    need!(Root, Tun);
    let underlay = Underlay::new(2, Family::V4, Offloads::On);
    let [host, peer] = underlay.hosts.as_slice() else { panic!("two hosts were made") };
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut daemon = Daemon::start(&host.ns, &Config::new(host.address, &[peer.address]));
        let [first]: [String; 1] = uplinks(&host.ns).try_into().expect("there is one uplink");
        host.ns.exec(&["tc", "qdisc", "del", "dev", &first, "ingress"]).must();
        wait::until_true("there is another uplink", || {
            let names = uplinks(&host.ns);
            names.len() == 1 && names[0] != first
        });
        let packets = daemon.dataplane();
        kill(daemon.pid(), signal).expect("the daemon runs");
        wait::until_true("the daemon ends", || !daemon.alive());
        if signal == Signal::SIGKILL {
            kill(packets, signal).expect("the packet process outlives the daemon");
        }
        wait::until_true("its links are gone", || host.ns.links() == ["lo", UPLINK]);
        let qdiscs = host.ns.exec(&["tc", "qdisc", "show"]).must();
        assert!(!qdiscs.contains("clsact") && !qdiscs.contains("ingress"), "{signal}: {qdiscs}");
    }
}
