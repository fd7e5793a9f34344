//! The head of a file: one host, its networks, its endpoints, and stations elsewhere.
//!
//! ```text
//! host 192.0.2.1
//! network red vni=42 mtu=1450 vteps=192.0.2.2,192.0.2.3      also: vlan=pass anti_spoof=off storm_kpps=1 fdb_limit=8
//! port a red 02:42:0a:01:00:01 10.1.0.1 fd00::1
//! station r 02:42:0a:01:00:09 10.1.0.9 fd00::9
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weft_dataplane::tables::{
    PortId, PortKind, PortSpec, SegmentId, SegmentOptions, SegmentSpec, TablesSpec, VlanPolicy,
};
use weft_dataplane::wire::{MacAddr, Vni};

/// What one has to know to speak as a station or to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Station {
    pub(crate) mac: MacAddr,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

/// Everybody, for a frame to be sent to.
const ALL: Station = Station {
    mac: MacAddr::BROADCAST,
    v4: Ipv4Addr::BROADCAST,
    v6: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
};

/// A file's head.
#[derive(Debug)]
pub(crate) struct World {
    /// This host's VTEP.
    pub(crate) host: IpAddr,
    pub(crate) spec: TablesSpec,
    /// Names of networks, in the order of their ids.
    pub(crate) networks: Vec<String>,
    /// Names of ports, in the order of their ids.
    pub(crate) ports: Vec<String>,
    pub(crate) stations: BTreeMap<String, Station>,
}

impl World {
    pub(crate) fn parse(lines: &[String]) -> Self {
        let mut world = Self {
            host: [192, 0, 2, 1].into(),
            spec: TablesSpec::default(),
            networks: Vec::new(),
            ports: Vec::new(),
            stations: BTreeMap::from([("all".to_owned(), ALL)]),
        };
        for line in lines.iter().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["host", address] => world.host = parsed(address),
                ["network", name, ref settings @ ..] => world.add_network(name, settings),
                ["port", name, network, mac, ref addresses @ ..] => {
                    world.add_port(name, network, mac, addresses);
                }
                ["station", name, mac, ref addresses @ ..] => world.add_station(name, mac, addresses),
                _ => panic!("what is this? {line}"),
            }
        }
        world
    }

    /// The number of the network named `name`.
    pub(crate) fn network(&self, name: &str) -> usize {
        self.networks.iter().position(|n| n == name).unwrap_or_else(|| panic!("no network {name}"))
    }

    /// The id of the port named `name`.
    pub(crate) fn port(&self, name: &str) -> PortId {
        let position = self.ports.iter().position(|n| n == name);
        PortId(position.unwrap_or_else(|| panic!("no port {name}")) as u32)
    }

    pub(crate) fn station(&self, name: &str) -> Station {
        *self.stations.get(name).unwrap_or_else(|| panic!("no station {name}"))
    }

    fn add_network(&mut self, name: &str, settings: &[&str]) {
        let mut segment = SegmentSpec {
            id: SegmentId(self.networks.len() as u32),
            vni: None,
            mtu: 1_450,
            options: SegmentOptions::default(),
            vteps: Vec::new(),
            gateway: None,
        };
        for setting in settings {
            match setting.split_once('=').unwrap_or_else(|| panic!("no value: {setting}")) {
                ("vni", value) => segment.vni = Some(Vni::new(parsed(value)).expect("24 bits")),
                ("mtu", value) => segment.mtu = parsed(value),
                ("vteps", value) => segment.vteps = value.split(',').map(parsed).collect(),
                ("vlan", "pass") => segment.options.vlan = VlanPolicy::Pass,
                ("anti_spoof", "off") => segment.options.anti_spoof = false,
                ("storm_kpps", value) => segment.options.storm_kpps = parsed(value),
                ("fdb_limit", value) => segment.options.fdb_limit = parsed(value),
                _ => panic!("what is this? {setting}"),
            }
        }
        self.spec.segments.push(segment);
        self.networks.push(name.to_owned());
    }

    fn add_port(&mut self, name: &str, network: &str, mac: &str, addresses: &[&str]) {
        self.add_station(name, mac, addresses);
        self.spec.ports.push(PortSpec {
            id: PortId(self.ports.len() as u32),
            kind: PortKind::Endpoint,
            segment: SegmentId(self.network(network) as u32),
            mac: parsed(mac),
            addresses: addresses.iter().map(|address| parsed(address)).collect(),
        });
        self.ports.push(name.to_owned());
    }

    fn add_station(&mut self, name: &str, mac: &str, addresses: &[&str]) {
        let (mut v4, mut v6) = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
        for address in addresses {
            match parsed(address) {
                IpAddr::V4(address) => v4 = address,
                IpAddr::V6(address) => v6 = address,
            }
        }
        self.stations.insert(name.to_owned(), Station { mac: parsed(mac), v4, v6 });
    }
}

/// `text` as whatever is needed.
pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error:?}"))
}

/// Pairs of hexadecimal digits as bytes.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "half a byte at the end of {hex}");
    let pairs = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("{pair:?} is no byte"))).collect()
}

/// Bytes as pairs of hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
