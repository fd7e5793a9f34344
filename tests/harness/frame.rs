//! Ethernet frames and VXLAN datagrams, built and read with a library that is not the product's.

use etherparse::{
    ArpOperation, ArpPacket, EtherType, Ipv4Header, NetSlice, PacketBuilder, SlicedPacket, TransportSlice,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};

/// A hardware address.
pub type Mac = [u8; 6];

/// Everybody on the segment.
pub const BROADCAST: Mac = [0xff; 6];

/// The UDP port the crafted inner datagrams go to; nothing else on the segment uses it.
pub const TEST_PORT: u16 = 40_077;

/// The port assigned to VXLAN.
pub const VXLAN_PORT: u16 = 4789;

/// The flag that says the VNI is valid (RFC 7348 section 5).
pub const VNI_VALID: u8 = 0x08;

/// A station on the overlay: what one has to know to speak as it or to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// Its hardware address.
    pub mac: Mac,
    /// Its address on the subnet.
    pub ip: Ipv4Addr,
}

impl Station {
    /// Everybody.
    pub const EVERYBODY: Station = Station { mac: BROADCAST, ip: Ipv4Addr::new(10, 77, 0, 255) };

    /// A station that exists only in crafted frames: `02:99:00:00:00:N` at 10.77.0.N.
    pub fn made_up(number: u8) -> Self {
        Station { mac: [0x02, 0x99, 0, 0, 0, number], ip: Ipv4Addr::new(10, 77, 0, number) }
    }
}

/// A UDP datagram from one station to another, all checksums complete.
pub fn udp(from: Station, to: Station, payload: &[u8]) -> Vec<u8> {
    udp_ports(from, to, (40_000, TEST_PORT), payload)
}

/// The same with source and destination port chosen.
pub fn udp_ports(from: Station, to: Station, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from.mac, to.mac)
        .ipv4(from.ip.octets(), to.ip.octets(), 64)
        .udp(ports.0, ports.1);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).expect("the payload fits");
    frame
}

/// A UDP datagram over IPv6.
pub fn udp6(from: (Mac, Ipv6Addr), to: (Mac, Ipv6Addr), ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let builder =
        PacketBuilder::ethernet2(from.0, to.0).ipv6(from.1.octets(), to.1.octets(), 64).udp(ports.0, ports.1);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).expect("the payload fits");
    frame
}

/// The same UDP datagram with an ECN field.
pub fn udp_ecn(from: Station, to: Station, ecn: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = udp(from, to, payload);
    let mut header = Ipv4Header::from_slice(&frame[14..]).expect("just written").0;
    header.ecn = ecn.try_into().expect("two bits");
    header.header_checksum = header.calc_header_checksum();
    frame[14..34].copy_from_slice(&header.to_bytes());
    frame
}

/// An ICMPv6 message given by its type, the four bytes after the checksum and the body.
pub fn icmp6(from: (Mac, Ipv6Addr), to: (Mac, Ipv6Addr), kind: u8, word: [u8; 4], body: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from.0, to.0)
        .ipv6(from.1.octets(), to.1.octets(), 255)
        .icmpv6_raw(kind, 0, word);
    let mut frame = Vec::with_capacity(builder.size(body.len()));
    builder.write(&mut frame, body).expect("the body fits");
    frame
}

/// An ARP message inside an Ethernet frame from `ethernet_from`, claiming to be `sender`.
pub fn arp(
    ethernet_from: Mac,
    to: Mac,
    operation: ArpOperation,
    sender: Station,
    target: Station,
) -> Vec<u8> {
    let packet = ArpPacket::new(
        etherparse::ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        operation,
        &sender.mac,
        &sender.ip.octets(),
        &target.mac,
        &target.ip.octets(),
    )
    .expect("the addresses have the right lengths");
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(ethernet_from, to).arp(packet).write(&mut frame).expect("into memory");
    frame
}

/// A frame of an experimental type (0x88b5) that carries `payload` and nothing a switch could look into.
pub fn plain(from: Mac, to: Mac, payload: &[u8]) -> Vec<u8> {
    [to.as_slice(), &from, &[0x88, 0xb5], payload].concat()
}

/// The same frame with an 802.1Q tag of VLAN `id`.
pub fn tagged(frame: &[u8], id: u16) -> Vec<u8> {
    [&frame[..12], &[0x81, 0x00], &id.to_be_bytes(), &frame[12..]].concat()
}

/// A payload unlike any other of this process; none is part of another.
pub fn cookie(what: &str) -> Vec<u8> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("<{what} {}>", COUNTER.fetch_add(1, Ordering::Relaxed)).into_bytes()
}

/// True when `payload` occurs in the frame: how tests recognise their own among the kernel's chatter.
pub fn carries(frame: &[u8], payload: &[u8]) -> bool {
    frame.windows(payload.len()).any(|window| window == payload)
}

/// How often `payload` occurs in all of the frames; several datagrams of one flow may come as one super-frame.
pub fn occurrences(frames: &[Vec<u8>], payload: &[u8]) -> usize {
    let in_frame = |bytes: &Vec<u8>| bytes.windows(payload.len()).filter(|window| *window == payload).count();
    frames.iter().map(in_frame).sum()
}

/// A VXLAN header with the flag set and every reserved bit zero.
pub fn vxlan_header(vni: u32) -> [u8; 8] {
    let [_, a, b, c] = vni.to_be_bytes();
    [VNI_VALID, 0, 0, 0, a, b, c, 0]
}

/// The payload of a VXLAN datagram.
pub fn vxlan(vni: u32, inner: &[u8]) -> Vec<u8> {
    [&vxlan_header(vni), inner].concat()
}

/// What to do about the outer UDP checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OuterChecksum {
    /// Computed.
    Good,
    /// Zero: none.
    Zero,
    /// Computed and then spoilt.
    Bad,
}

/// An outer datagram to be put on the underlay, header by header.
#[derive(Clone, Debug)]
pub struct Outer {
    /// Ethernet source and destination.
    pub macs: (Mac, Mac),
    /// Outer source and destination address, of one family.
    pub ips: (IpAddr, IpAddr),
    /// UDP source and destination port.
    pub ports: (u16, u16),
    /// The two bits of RFC 3168.
    pub ecn: u8,
    /// What to do about the checksum.
    pub checksum: OuterChecksum,
}

impl Outer {
    /// The whole frame around a UDP payload.
    pub fn around(&self, payload: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(self.macs.0, self.macs.1);
        let builder = match self.ips {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header =
                    Ipv4Header::new(0, 64, etherparse::IpNumber::UDP, from.octets(), to.octets())
                        .expect("an empty payload fits");
                header.ecn = self.ecn.try_into().expect("two bits");
                builder.ip(etherparse::IpHeaders::Ipv4(header, Default::default()))
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => builder.ip(etherparse::IpHeaders::Ipv6(
                etherparse::Ipv6Header {
                    traffic_class: self.ecn,
                    hop_limit: 64,
                    source: from.octets(),
                    destination: to.octets(),
                    ..Default::default()
                },
                Default::default(),
            )),
            _ => panic!("one family at a time"),
        };
        let mut frame = Vec::new();
        builder.udp(self.ports.0, self.ports.1).write(&mut frame, payload).expect("the payload fits");
        let checksum_at = frame.len() - payload.len() - 2;
        match self.checksum {
            OuterChecksum::Good => {}
            OuterChecksum::Zero => frame[checksum_at..checksum_at + 2].fill(0),
            OuterChecksum::Bad => frame[checksum_at] ^= 0x5a,
        }
        frame
    }
}

/// A VXLAN datagram as seen on the underlay.
#[derive(Clone, Debug)]
pub struct Tunnelled {
    /// Outer source and destination address.
    pub ips: (IpAddr, IpAddr),
    /// UDP source and destination port.
    pub ports: (u16, u16),
    /// TTL or hop limit.
    pub ttl: u8,
    /// The two bits of RFC 3168.
    pub ecn: u8,
    /// The DF flag; true for IPv6, which knows nothing else.
    pub dont_fragment: bool,
    /// True when this is a fragment of something larger.
    pub fragment: bool,
    /// The outer UDP checksum.
    pub checksum: u16,
    /// Whether that is the right one; it may also be absent, which is 0.
    pub checksum_is_right: bool,
    /// The eight bytes of the VXLAN header.
    pub header: [u8; 8],
    /// The inner frame.
    pub inner: Vec<u8>,
}

impl Tunnelled {
    /// Reads an underlay frame; `None` when it is not a whole VXLAN datagram.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let (ips, ttl, ecn, dont_fragment, fragment): ((IpAddr, IpAddr), _, _, _, _) = match packet.net? {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                let ips = (header.source_addr().into(), header.destination_addr().into());
                (
                    ips,
                    header.ttl(),
                    header.ecn().value(),
                    header.dont_fragment(),
                    header.is_fragmenting_payload(),
                )
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                let ips = (header.source_addr().into(), header.destination_addr().into());
                let ecn = header.traffic_class() & 3;
                (ips, header.hop_limit(), ecn, true, ip.is_payload_fragmented())
            }
            NetSlice::Arp(_) => return None,
        };
        let Some(TransportSlice::Udp(udp)) = packet.transport else { return None };
        let checksum_is_right = match ips {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                udp.to_header().calc_checksum_ipv4_raw(from.octets(), to.octets(), udp.payload())
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                udp.to_header().calc_checksum_ipv6_raw(from.octets(), to.octets(), udp.payload())
            }
            _ => return None,
        } == Ok(udp.checksum());
        let (header, inner) = udp.payload().split_first_chunk::<8>()?;
        (udp.destination_port() == VXLAN_PORT).then(|| Tunnelled {
            ips,
            ports: (udp.source_port(), udp.destination_port()),
            ttl,
            ecn,
            dont_fragment,
            fragment,
            checksum: udp.checksum(),
            checksum_is_right,
            header: *header,
            inner: inner.to_vec(),
        })
    }

    /// The network identifier.
    pub fn vni(&self) -> u32 {
        u32::from_be_bytes([0, self.header[4], self.header[5], self.header[6]])
    }
}
