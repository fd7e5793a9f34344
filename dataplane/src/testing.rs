//! Frames and tables for tests, built with a library that is not the crate's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{IpFragOffset, Ipv4Header, PacketBuilder};

use crate::gateway::{GATEWAY_MAC, GatewaySpec};
use crate::nat::{Protocol, Published};
use crate::tables::{
    Ground, PortId, PortKind, PortSpec, SegmentId, SegmentOptions, SegmentSpec, Tables, TablesSpec,
    VlanPolicy,
};
use crate::tunnel::Vtep;
use crate::wire::{ArpOp, ArpRepr, EtherType, MacAddr, Prefix, Vni};

/// A station: `02:42:…` on 10.1.0.0/24 and fd00:1::/64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Station {
    pub(crate) mac: MacAddr,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

/// The `n`th station.
pub(crate) fn station(n: u8) -> Station {
    let v4 = Ipv4Addr::new(10, 1, 0, n);
    let v6 = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, n.into());
    Station { mac: MacAddr::from_ipv4(v4), v4, v6 }
}

/// The VTEP 192.0.2.`n`.
pub(crate) fn vtep(n: u8) -> Vtep {
    Vtep::new(Ipv4Addr::new(192, 0, 2, n).into())
}

/// A frame with any payload.
pub(crate) fn ether(to: MacAddr, from: MacAddr, ether_type: EtherType, payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, &ether_type.0.to_be_bytes(), payload].concat()
}

/// A frame of an experimental type, which the switch cannot look into.
pub(crate) fn plain(to: MacAddr, from: MacAddr, payload: &[u8]) -> Vec<u8> {
    ether(to, from, EtherType(0x88b5), payload)
}

/// `frame` with an 802.1Q tag of VLAN `id` in front of whatever it has.
pub(crate) fn tagged(frame: &[u8], id: u16) -> Vec<u8> {
    [&frame[..12], &[0x81, 0], &id.to_be_bytes(), &frame[12..]].concat()
}

/// A UDP datagram over IPv4.
pub(crate) fn udp4(from: Station, to: Station, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from.mac.0, to.mac.0)
        .ipv4(from.v4.octets(), to.v4.octets(), 64)
        .udp(ports.0, ports.1);
    written(|out| builder.write(out, payload))
}

/// A UDP datagram over IPv6.
pub(crate) fn udp6(from: Station, to: Station, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from.mac.0, to.mac.0)
        .ipv6(from.v6.octets(), to.v6.octets(), 64)
        .udp(ports.0, ports.1);
    written(|out| builder.write(out, payload))
}

/// A TCP segment over IPv4 with the PSH flag; larger than any MTU, if the payload is.
pub(crate) fn tcp4(from: Station, to: Station, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from.mac.0, to.mac.0)
        .ipv4(from.v4.octets(), to.v4.octets(), 64)
        .tcp(40_000, 80, sequence, 1_000)
        .ack(7)
        .psh();
    written(|out| builder.write(out, payload))
}

/// An ARP packet from `ethernet`, in which `sender` speaks.
pub(crate) fn arp(
    ethernet: MacAddr,
    operation: ArpOp,
    sender: (MacAddr, Ipv4Addr),
    target: Ipv4Addr,
) -> Vec<u8> {
    let packet = ArpRepr {
        operation,
        sender_mac: sender.0,
        sender_ip: sender.1,
        target_mac: MacAddr::ZERO,
        target_ip: target,
    };
    ether(MacAddr::BROADCAST, ethernet, EtherType::ARP, &packet.emit())
}

/// An IPv4 packet that is a fragment.
pub(crate) fn fragment4(from: Station, to: Station, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut header = Ipv4Header::new(
        payload.len() as u16,
        64,
        etherparse::IpNumber::UDP,
        from.v4.octets(),
        to.v4.octets(),
    )
    .unwrap();
    header.more_fragments = more;
    header.fragment_offset = IpFragOffset::try_new(offset / 8).unwrap();
    header.header_checksum = header.calc_header_checksum();
    ether(to.mac, from.mac, EtherType::IPV4, &[&header.to_bytes()[..], payload].concat())
}

/// An IPv6 packet whose payload begins with a header of type `next`, with hop limit 255.
pub(crate) fn ipv6(from: (MacAddr, Ipv6Addr), to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 255]);
    packet.extend(from.1.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    ether(MacAddr([0x33, 0x33, 0, 0, 0, 1]), from.0, EtherType::IPV6, &packet)
}

fn written<E: std::fmt::Debug>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame).unwrap();
    frame
}

/// A spec under construction: segments by number, whose VNI is 1,000 times that.
#[derive(Clone, Debug, Default)]
pub(crate) struct World(pub(crate) TablesSpec);

impl World {
    /// Adds segment `id` with the VTEPs 192.0.2.x.
    pub(crate) fn segment(mut self, id: u32, vteps: &[u8]) -> Self {
        self.0.segments.push(SegmentSpec {
            id: SegmentId(id),
            vni: Some(vni(id)),
            mtu: 1_450,
            options: SegmentOptions::default(),
            vteps: vteps.iter().map(|&n| vtep(n).address()).collect(),
            gateway: None,
        });
        self
    }

    /// Changes the options of the segment added last.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut SegmentOptions)) -> Self {
        change(&mut self.0.segments.last_mut().unwrap().options);
        self
    }

    /// Lets the segment added last pass tags.
    pub(crate) fn passing_tags(self) -> Self {
        self.with(|options| options.vlan = VlanPolicy::Pass)
    }

    /// Adds port `id` for station `n` on the segment added last.
    pub(crate) fn port(mut self, id: u32, n: u8) -> Self {
        let Station { mac, v4, v6 } = station(n);
        let segment = self.0.segments.last().unwrap().id;
        let addresses: Vec<IpAddr> = vec![v4.into(), v6.into()];
        let kind = PortKind::Endpoint;
        self.0.ports.push(PortSpec { id: PortId(id), kind, segment, mac, addresses });
        self
    }

    /// Adds port `id` for a station of its own making.
    pub(crate) fn station(mut self, id: u32, Station { mac, v4, v6 }: Station) -> Self {
        let segment = self.0.segments.last().unwrap().id;
        let (kind, addresses) = (PortKind::Endpoint, vec![v4.into(), v6.into()]);
        self.0.ports.push(PortSpec { id: PortId(id), kind, segment, mac, addresses });
        self
    }

    /// Gives the segment added last a gateway that is the last but one address of each of `subnets`.
    pub(crate) fn gateway(mut self, subnets: &[&str], nat: bool) -> Self {
        let own = |subnet: &&str| {
            let subnet: Prefix = subnet.parse().unwrap();
            let before = |last: IpAddr| match last {
                IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() - 1)),
                IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() - 1)),
            };
            (subnet, before(subnet.last()))
        };
        let subnets = subnets.iter().map(own).collect();
        let gateway = GatewaySpec { subnets, nat, ..GatewaySpec::default() };
        self.0.segments.last_mut().unwrap().gateway = Some(gateway);
        self
    }

    /// Lets the host stand on the segment added last, which has a gateway, behind port `id`.
    pub(crate) fn host(mut self, id: u32) -> Self {
        let segment = self.0.segments.last_mut().unwrap();
        segment.gateway.as_mut().unwrap().host = Some(PortId(id));
        let (kind, segment) = (PortKind::Host, segment.id);
        self.0.ports.push(PortSpec { id: PortId(id), kind, segment, mac: GATEWAY_MAC, addresses: vec![] });
        self
    }

    /// Publishes UDP `port` of the host, at every address, as the same port of the IPv4 address of port `id`.
    pub(crate) fn publish(mut self, port: u16, id: u32) -> Self {
        let inside = self.0.ports.iter().find(|p| p.id == PortId(id)).unwrap().addresses[0];
        self.0.published.push(Published {
            port: PortId(id),
            inside,
            inside_port: port,
            outside: None,
            outside_port: port,
            protocol: Protocol::Udp,
        });
        self
    }

    /// The tables of host 192.0.2.`host`.
    pub(crate) fn tables(&self, host: u8) -> Tables {
        let ground = ground(host);
        Tables::build(&self.0, &Tables::empty(&ground), &ground).unwrap()
    }
}

/// What host 192.0.2.`host` is built on.
pub(crate) fn ground(host: u8) -> Ground {
    Ground { shards: 2, seed: 7, underlay: Some((vtep(host), 4789)) }
}

/// The VNI of segment `id`.
pub(crate) fn vni(id: u32) -> Vni {
    Vni::new(id * 1_000).unwrap()
}

/// The datagram that carries `frame` in `vni`.
pub(crate) fn vxlan(vni: Vni, frame: &[u8]) -> Vec<u8> {
    [&crate::wire::vxlan::header(vni)[..], frame].concat()
}
