//! Named frames and a ready-made network for benchmarks of the pure packet path.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weft_dataplane::datapath::Datapath;
use weft_dataplane::offload::{Checksum, Gso, GsoKind, Offload, segments};
use weft_dataplane::tables::{
    Ground, PortId, PortKind, PortSpec, SegmentId, SegmentOptions, SegmentSpec, Tables, TablesSpec,
};
use weft_dataplane::time::Moment;
use weft_dataplane::tunnel::Vtep;
use weft_dataplane::wire::checksum::Sum;
use weft_dataplane::wire::{Ecn, EtherType, MacAddr, Vni, ethernet, protocol, tcp, udp, vxlan};

/// This host's VTEP.
pub const OWN: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// The other host's VTEP.
pub const PEER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// The network's VNI.
pub const VNI: u32 = 42;
/// The inner MTU of an IPv4 underlay, in bytes of an IP packet.
pub const MTU: u16 = 1_450;
/// Full segments of a super-frame: as many as fit 64 KiB in each [`Kind`].
pub const SEGMENTS: usize = 45;

/// One overlay network with `ports` endpoints here and `macs` learned behind the peer.
#[derive(Debug)]
pub struct Lab {
    /// What workers read.
    pub tables: Tables,
    /// A worker's view.
    pub datapath: Datapath,
}

impl Lab {
    /// Builds the network and teaches it.
    #[must_use]
    pub fn new(ports: u32, macs: u32) -> Self {
        let ground = Ground { shards: 1, seed: 7, underlay: Some((Vtep::new(OWN.into()), vxlan::PORT)) };
        let segment = SegmentSpec {
            id: SegmentId(1),
            vni: Some(vni()),
            mtu: MTU,
            options: SegmentOptions { storm_kpps: 0, ..SegmentOptions::default() },
            vteps: vec![PEER.into()],
            gateway: None,
        };
        let ports = (0..ports).map(|n| PortSpec {
            id: PortId(n),
            kind: PortKind::Endpoint,
            segment: SegmentId(1),
            mac: MacAddr::from_ipv4(address(n)),
            addresses: vec![IpAddr::V4(address(n))],
        });
        let spec = TablesSpec { segments: vec![segment], ports: ports.collect(), ..TablesSpec::default() };
        #[expect(clippy::expect_used, reason = "the specification above is valid")]
        let tables = Tables::build(&spec, &Tables::empty(&ground), &ground).expect("valid tables");
        let mut lab = Self { tables, datapath: Datapath::new(0, 7).remembering() };
        for n in 0..macs {
            let mut datagram = in_tunnel(&udp_frame(remote(n), address(0), 18));
            let _ = lab.datapath.from_tunnel(
                &lab.tables,
                Vtep::new(PEER.into()),
                Ecn::NotEct,
                &mut datagram,
                Moment::from_secs(1),
            );
        }
        lab
    }
}

/// The address of local endpoint `n`.
#[must_use]
pub fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a01_0000 + 2 + n)
}

/// The address of remote endpoint `n`.
#[must_use]
pub fn remote(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a80_0000 + 2 + n)
}

/// The network's VNI.
#[must_use]
pub fn vni() -> Vni {
    #[expect(clippy::expect_used, reason = "42 has fewer than 24 bits")]
    Vni::new(VNI).expect("a VNI")
}

/// `frame` behind a VXLAN header.
#[must_use]
pub fn in_tunnel(frame: &[u8]) -> Vec<u8> {
    [&vxlan::header(vni())[..], frame].concat()
}

/// A UDP frame with `payload` bytes of payload; 18 make it 60 bytes, the 64-byte frame of the field.
#[must_use]
pub fn udp_frame(source: Ipv4Addr, destination: Ipv4Addr, payload: usize) -> Vec<u8> {
    let mut datagram = udp_datagram(payload);
    let sum = Sum::pseudo_v4(source, destination, protocol::UDP, datagram.len()).add(&datagram).finish();
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    in_ipv4(source, destination, protocol::UDP, &datagram)
}

/// What is cut into segments and joined again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over IPv4.
    Udp4,
    /// UDP over IPv6.
    Udp6,
}

impl Kind {
    /// All of them, with names for benchmarks.
    pub const ALL: [(&str, Self); 4] =
        [("tcp4", Self::Tcp4), ("tcp6", Self::Tcp6), ("udp4", Self::Udp4), ("udp6", Self::Udp6)];

    fn is_v4(self) -> bool {
        matches!(self, Self::Tcp4 | Self::Udp4)
    }

    fn protocol(self) -> u8 {
        match self {
            Self::Tcp4 | Self::Tcp6 => protocol::TCP,
            Self::Udp4 | Self::Udp6 => protocol::UDP,
        }
    }

    /// What a partial checksum field holds before `len` bytes of upper layer.
    fn pseudo_sum(self, len: usize) -> u16 {
        let (from, to) = (remote(0), address(0));
        let sum = if self.is_v4() {
            Sum::pseudo_v4(from, to, self.protocol(), len)
        } else {
            Sum::pseudo_v6(address_v6(from), address_v6(to), self.protocol(), len)
        };
        sum.fold()
    }

    fn gso(self) -> GsoKind {
        match self {
            Self::Tcp4 => GsoKind::Tcp4,
            Self::Tcp6 => GsoKind::Tcp6,
            Self::Udp4 | Self::Udp6 => GsoKind::Udp,
        }
    }
}

/// A frame that stands for [`SEGMENTS`] of them, from remote endpoint 0 to local endpoint 0, as a TAP brings it.
#[derive(Clone, Debug)]
pub struct SuperFrame {
    /// Its protocols.
    pub kind: Kind,
    /// The frame.
    pub bytes: Vec<u8>,
    /// What is left to do to it.
    pub offload: Offload,
}

impl SuperFrame {
    /// The one of this kind, its segments as long as [`MTU`] allows.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let is_udp = kind.gso() == GsoKind::Udp;
        let protocol = kind.protocol();
        let (header, offset) = if is_udp { (udp::HEADER_LEN, 6) } else { (tcp::HEADER_LEN, 16) };
        let network = if kind.is_v4() { 20 } else { 40 };
        let start = ethernet::HEADER_LEN as u16 + network;
        let size = MTU - network - header as u16;
        let payload = SEGMENTS * usize::from(size);
        let mut upper = if is_udp { udp_datagram(payload) } else { tcp_segment(payload) };
        let sum = kind.pseudo_sum(upper.len());
        upper[offset..offset + 2].copy_from_slice(&sum.to_be_bytes());
        let (from, to) = (remote(0), address(0));
        let bytes = if kind.is_v4() {
            in_ipv4(from, to, protocol, &upper)
        } else {
            in_ipv6(from, to, protocol, &upper)
        };
        let checksum = Checksum::Partial { start, offset: offset as u16 };
        let gso = Gso { kind: kind.gso(), size, ecn: false, header_len: start + header as u16 };
        Self { kind, bytes, offload: Offload { checksum, gso: Some(gso) } }
    }

    /// The frames that it stands for, with checksums of their own.
    #[must_use]
    pub fn cut(&self) -> Vec<Vec<u8>> {
        #[expect(clippy::expect_used, reason = "the offload was made for the frame")]
        let pieces = segments(&self.bytes, self.offload).expect("a super-frame");
        let write = |index| {
            let mut frame = vec![0; pieces.max_len()];
            let len = pieces.write(index, &mut frame);
            frame.truncate(len);
            frame
        };
        (0..pieces.len()).map(write).collect()
    }

    /// The same with only the pseudo-header sum in each checksum field, as a VTEP on the same machine leaves them.
    #[must_use]
    pub fn cut_partial(&self) -> Vec<Vec<u8>> {
        let mut frames = self.cut();
        if let Checksum::Partial { start, offset } = self.offload.checksum {
            let field = usize::from(start + offset);
            for frame in &mut frames {
                let sum = self.kind.pseudo_sum(frame.len() - usize::from(start));
                frame[field..field + 2].copy_from_slice(&sum.to_be_bytes());
            }
        }
        frames
    }
}

fn udp_datagram(payload: usize) -> Vec<u8> {
    let mut datagram = vec![0x5a; udp::HEADER_LEN + payload];
    datagram[..2].copy_from_slice(&4_000u16.to_be_bytes());
    datagram[2..4].copy_from_slice(&5_000u16.to_be_bytes());
    datagram[4..6].copy_from_slice(&((udp::HEADER_LEN + payload) as u16).to_be_bytes());
    datagram[6..8].fill(0);
    datagram
}

fn tcp_segment(payload: usize) -> Vec<u8> {
    let mut segment = vec![0x5a; tcp::HEADER_LEN + payload];
    segment[..tcp::HEADER_LEN].fill(0);
    segment[..2].copy_from_slice(&4_000u16.to_be_bytes());
    segment[2..4].copy_from_slice(&5_000u16.to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = 0x10;
    segment
}

/// The IPv6 address of an endpoint.
fn address_v6(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from((0xfd00 << 112) | u128::from(address.to_bits()))
}

fn in_ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (20 + payload.len() as u16).to_be_bytes();
    let mut header = [0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[12..16].copy_from_slice(&source.octets());
    header[16..].copy_from_slice(&destination.octets());
    let sum = Sum::new().add(&header).finish();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    on_link(source, destination, EtherType::IPV4, &[&header, payload])
}

fn in_ipv6(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let fixed = [0x60, 0, 0, 0, high, low, protocol, 64];
    let (source_v6, destination_v6) = (address_v6(source).octets(), address_v6(destination).octets());
    on_link(source, destination, EtherType::IPV6, &[&fixed, &source_v6, &destination_v6, payload])
}

fn on_link(source: Ipv4Addr, destination: Ipv4Addr, ether_type: EtherType, parts: &[&[u8]]) -> Vec<u8> {
    let [destination, source] = [destination, source].map(|address| MacAddr::from_ipv4(address).0);
    [&[&destination[..], &source, &ether_type.0.to_be_bytes()], parts].concat().concat()
}
