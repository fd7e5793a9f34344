//! One real daemon and a far end that can pretend to be anybody.
//!
//! ```text
//!  container(s) --TAP-- daemon (host 0) ==== u0 ==== far end (host 1): PEER, SECOND_PEER, STRANGER
//! ```
//!
//! PEER and SECOND_PEER are VTEPs the daemon was told of, STRANGER is not. What the daemon puts on the wire is read
//! there by a packet socket; what the far end says is written there byte by byte. The offloads of the wire are off, so
//! that what is read is what a copper wire would carry: one datagram at a time, its checksum filled in.

use crate::daemon::{Config, Daemon, Stats};
use crate::frame::{self, Mac, Outer, OuterChecksum, Station, Tunnelled};
use crate::netns::{self, Namespace};
use crate::raw::RawSocket;
use crate::underlay::{Family, Offloads, UPLINK, Underlay};
use crate::wait;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// The VNI of the network that [`Wire::blue`] creates.
pub const VNI: u32 = 7001;

/// The name of that network.
pub const NETWORK: &str = "blue";

/// The rig.
#[derive(Debug)]
pub struct Wire {
    /// The daemon under test.
    pub daemon: Daemon,
    /// A packet socket at the far end of the underlay.
    pub far: RawSocket,
    /// Underlay address of the daemon.
    pub vtep: IpAddr,
    /// The first listed VTEP.
    pub peer: IpAddr,
    /// The second listed VTEP.
    pub second_peer: IpAddr,
    /// An address on the underlay that is nobody's peer.
    pub stranger: IpAddr,
    /// The machines and the wire; last, because fields drop in order.
    pub underlay: Underlay,
    macs: (Mac, Mac),
    /// Bound at the far end so that its kernel does not answer datagrams with errors.
    _swallow: UdpSocket,
}

impl Wire {
    /// A daemon on an IPv4 underlay with one overlay network, `blue`, 10.77.0.0/24.
    #[track_caller]
    pub fn blue() -> Self {
        Self::with(Family::V4, &[])
    }

    /// The same with the family chosen and more options for `network create`.
    #[track_caller]
    pub fn with(family: Family, options: &[&str]) -> Self {
        let wire = Self::bare(family);
        wire.create(NETWORK, VNI, "10.77.0.0/24", options);
        wire
    }

    /// A daemon without any network. It has one worker, so that what comes first leaves first, whatever its flow.
    #[track_caller]
    pub fn bare(family: Family) -> Self {
        let underlay = Underlay::new(2, family, Offloads::Off);
        let [peer, second_peer, stranger] = [2, 3, 99].map(|number| family.address(number));
        underlay.also(1, 3);
        underlay.also(1, 99);
        let [near_host, far_host] = underlay.hosts.as_slice() else { panic!("two hosts were made") };
        let swallow =
            far_host.ns.enter(|| UdpSocket::bind((peer, frame::VXLAN_PORT)).expect("nobody else is there"));
        let mut config = Config::new(near_host.address, &[peer, second_peer]);
        config.workers = Some(1);
        // The kernel says nothing of its own on the host's leg on the predefined network, which is made from here on.
        near_host.ns.sysctl("ipv6/conf/default/disable_ipv6", "1");
        let daemon = Daemon::start(&near_host.ns, &config);
        Wire {
            daemon,
            far: RawSocket::open(&far_host.ns, UPLINK),
            vtep: near_host.address,
            peer,
            second_peer,
            stranger,
            macs: (far_host.ns.mac(UPLINK), near_host.ns.mac(UPLINK)),
            underlay,
            _swallow: swallow,
        }
    }

    /// Creates one more overlay network.
    #[track_caller]
    pub fn create(&self, name: &str, vni: u32, subnet: &str, options: &[&str]) {
        let vni = vni.to_string();
        let line = ["network", "create", name, "-d", "overlay", "--subnet", subnet, "--vni", &vni];
        self.daemon.weft(&[line.as_slice(), options].concat()).must();
    }

    /// Connects a new container to `blue` as 10.77.0.`number`.
    #[track_caller]
    pub fn container(&self, number: u8) -> Container {
        self.container_on(NETWORK, number, &[])
    }

    /// Connects a new container to a network as 10.77.0.`number`.
    #[track_caller]
    pub fn container_on(&self, network: &str, number: u8, options: &[&str]) -> Container {
        Container::connect(&self.daemon, network, number, options)
    }

    /// The headers of an honest datagram from one of the far end's addresses.
    pub fn outer(&self, from: IpAddr) -> Outer {
        Outer {
            macs: self.macs,
            ips: (from, self.vtep),
            ports: (50_000, frame::VXLAN_PORT),
            ecn: 0,
            checksum: OuterChecksum::Good,
        }
    }

    /// Sends an inner frame to the daemon as the first peer.
    #[track_caller]
    pub fn from_peer(&self, vni: u32, inner: &[u8]) {
        self.from_vtep(self.peer, vni, inner);
    }

    /// Sends an inner frame to the daemon from any address of the far end.
    #[track_caller]
    pub fn from_vtep(&self, from: IpAddr, vni: u32, inner: &[u8]) {
        self.far.send(&self.outer(from).around(&frame::vxlan(vni, inner)));
    }

    /// The next datagram the daemon sends whose inner frame carries `payload`.
    #[track_caller]
    pub fn tunnelled(&self, payload: &[u8]) -> Tunnelled {
        self.far.wait_for("a tunnelled frame of ours", |bytes| {
            Tunnelled::parse(bytes).filter(|datagram| frame::carries(&datagram.inner, payload))
        })
    }

    /// What the daemon has put on the wire up to now of what `container` sent.
    #[track_caller]
    pub fn put_on_the_wire(&self, container: &Container) -> Vec<Tunnelled> {
        let broadcast =
            |mark: &[u8]| container.tap.send(&frame::udp(container.station, Station::EVERYBODY, mark));
        self.far.up_to_now(broadcast).iter().filter_map(|bytes| Tunnelled::parse(bytes)).collect()
    }

    /// What has been delivered to `container` up to now of what came over the wire.
    #[track_caller]
    pub fn delivered_to(&self, vni: u32, container: &Container) -> Vec<Vec<u8>> {
        let unicast =
            |mark: &[u8]| self.from_peer(vni, &frame::udp(Station::made_up(254), container.station, mark));
        container.tap.up_to_now(unicast)
    }

    /// Waits until exactly `count` more drops than in `before` are counted under `reason`.
    #[track_caller]
    pub fn await_drops(&self, before: &Stats, reason: &str, count: u64) {
        let mut last = Default::default();
        let seen = wait::within(wait::PATIENCE, || {
            last = self.daemon.stats().moved_since(before);
            (last.get(reason) == Some(&count)).then_some(())
        });
        assert!(seen.is_some(), "{count} x {reason} expected, moved: {last:?}");
    }

    /// The FDB of every overlay, as `fdb show` tells it.
    #[track_caller]
    pub fn fdb(&self) -> Vec<FdbRow> {
        let rows = self.daemon.json(&["fdb", "show"]);
        let rows = rows.as_array().unwrap_or_else(|| panic!("not an array: {rows}"));
        rows.iter().filter(|row| !row["vni"].is_null()).map(FdbRow::read).collect()
    }

    /// The entry for a MAC address in one VNI.
    #[track_caller]
    pub fn fdb_entry(&self, vni: u32, mac: Mac) -> Option<FdbRow> {
        self.fdb().into_iter().find(|row| row.vni == vni && row.mac == mac)
    }
}

/// One line of `weft fdb show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdbRow {
    /// The network identifier.
    pub vni: u32,
    /// The station.
    pub mac: Mac,
    /// The VTEP behind which it is; `None` when it is behind a local port.
    pub vtep: Option<IpAddr>,
}

impl FdbRow {
    #[track_caller]
    fn read(json: &serde_json::Value) -> Self {
        FdbRow {
            vni: json["vni"].as_u64().expect("a row names its VNI") as u32,
            mac: netns::parse_mac(json["mac"].as_str().expect("a row names its MAC")),
            vtep: json["vtep"].as_str().map(|text| text.parse().expect("an address")),
        }
    }
}

/// A container of the daemon under test, with a packet socket on its interface.
#[derive(Debug)]
pub struct Container {
    /// A packet socket on `eth0`: sends as the container, receives what the daemon delivers.
    pub tap: RawSocket,
    /// Its addresses.
    pub station: Station,
    /// Its endpoint's name.
    pub name: String,
    /// Its namespace.
    pub ns: Namespace,
}

impl Container {
    /// Makes a namespace and connects it as 10.77.0.`number`, endpoint `cN`, interface `eth0`.
    #[track_caller]
    pub fn connect(daemon: &Daemon, network: &str, number: u8, options: &[&str]) -> Self {
        let ns = Namespace::new(&format!("c{number}"));
        // Fewer frames of the kernel's own making; the tests of IPv6 switch it on again.
        ns.sysctl("ipv6/conf/default/router_solicitations", "0");
        Self::connect_namespace(daemon, network, number, options, ns)
    }

    /// One that says nothing of itself and answers nothing: every frame that comes from it is a test's own.
    #[track_caller]
    pub fn silent(daemon: &Daemon, network: &str, number: u8) -> Self {
        let ns = Namespace::new(&format!("c{number}"));
        ns.sysctl("ipv6/conf/default/disable_ipv6", "1");
        let container = Self::connect_namespace(daemon, network, number, &[], ns);
        container.ns.ip(&["address", "flush", "dev", "eth0"]);
        container
    }

    #[track_caller]
    fn connect_namespace(
        daemon: &Daemon,
        network: &str,
        number: u8,
        options: &[&str],
        ns: Namespace,
    ) -> Self {
        let (name, ip) = (format!("c{number}"), Ipv4Addr::new(10, 77, 0, number));
        let (path, address) = (ns.path(), ip.to_string());
        let line = ["network", "connect", network, &path, "--name", &name, "--ip", &address];
        daemon.weft(&[line.as_slice(), options].concat()).must();
        let station = Station { mac: ns.mac("eth0"), ip };
        Container { tap: RawSocket::open(&ns, "eth0"), station, name, ns }
    }
}
