//! Underlay mode `tunnel-gso`.
//!
//! ```text
//! choice      by trial, by what the device offers, by force; on the wire it is VXLAN with right checksums
//! repair      devices, filters and uplinks that go and come back; nothing is left behind
//! neighbors   MACs that change, with and without a word    path    routers, and paths that take less
//! ```

mod choice;
mod neighbors;
mod path;
mod repair;

use harness::daemon::{Config, Daemon};
use harness::netns::{Namespace, format_mac};
use harness::traffic::End;
use harness::underlay::{Family, Offloads, Underlay};
use harness::wait;
use serde_json::Value;
use std::net::IpAddr;

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

    /// The MAC of its container.
    fn mac(&self) -> String {
        format_mac(self.container.mac("eth0"))
    }

    fn status(&self) -> Value {
        self.daemon.json(&["status"])
    }

    fn mode(&self) -> String {
        self.status()["underlay_mode"].as_str().expect("there is an underlay").to_owned()
    }

    /// Waits until frames go through sockets for a reason that contains `part`.
    #[track_caller]
    fn until_refused(&self, part: &str) {
        wait::until_true(&format!("the status tells: {part}"), || {
            let status = self.status();
            let told = status["underlay_reason"].as_str().is_some_and(|reason| reason.contains(part));
            told && status["underlay_mode"] == "udp-gso"
        });
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

/// How many frames were written to the host's uplink; 0 without one.
#[track_caller]
fn carried(host: &Namespace) -> u64 {
    let names = uplinks(host);
    assert!(names.len() <= 1, "not one uplink but {names:?}");
    // A namespace's own /sys needs a mount; its /proc does not.
    let table = host.exec(&["cat", "/proc/net/dev"]).must();
    let is_uplink = |line: &&str| names.iter().any(|name| line.trim().starts_with(&format!("{name}:")));
    let Some(line) = table.lines().find(is_uplink) else { return 0 };
    line.split_whitespace().nth(1).and_then(|packets| packets.parse().ok()).expect("a number")
}
