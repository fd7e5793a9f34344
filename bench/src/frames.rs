//! Named frames and a ready-made network for benchmarks of the pure packet path.

use std::net::{IpAddr, Ipv4Addr};

use weft_dataplane::datapath::Datapath;
use weft_dataplane::tables::{
    Ground, PortId, PortSpec, SegmentId, SegmentOptions, SegmentSpec, Tables, TablesSpec,
};
use weft_dataplane::time::Moment;
use weft_dataplane::tunnel::Vtep;
use weft_dataplane::wire::checksum::Sum;
use weft_dataplane::wire::{Ecn, MacAddr, Vni, vxlan};

/// This host's VTEP.
pub const OWN: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// The other host's VTEP.
pub const PEER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// The network's VNI.
pub const VNI: u32 = 42;

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
            mtu: 1_450,
            options: SegmentOptions { storm_kpps: 0, ..SegmentOptions::default() },
            vteps: vec![PEER.into()],
        };
        let ports = (0..ports).map(|n| PortSpec {
            id: PortId(n),
            segment: SegmentId(1),
            mac: MacAddr::from_ipv4(address(n)),
            addresses: vec![IpAddr::V4(address(n))],
        });
        let spec = TablesSpec { segments: vec![segment], ports: ports.collect() };
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
    let mut udp = vec![0; 8 + payload];
    udp[..2].copy_from_slice(&4_000u16.to_be_bytes());
    udp[2..4].copy_from_slice(&5_000u16.to_be_bytes());
    udp[4..6].copy_from_slice(&(8 + payload as u16).to_be_bytes());
    let sum = Sum::pseudo_v4(source, destination, 17, udp.len()).add(&udp).finish();
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    ip_frame(source, destination, 17, &udp)
}

/// A TCP frame, or super-frame, with `payload` bytes of payload and only the pseudo-header sum as its checksum.
#[must_use]
pub fn tcp_frame(source: Ipv4Addr, destination: Ipv4Addr, payload: usize) -> Vec<u8> {
    let mut tcp = vec![0x5a; 20 + payload];
    tcp[..20].fill(0);
    tcp[..2].copy_from_slice(&4_000u16.to_be_bytes());
    tcp[2..4].copy_from_slice(&5_000u16.to_be_bytes());
    tcp[12] = 5 << 4;
    tcp[13] = 0x10;
    let sum = Sum::pseudo_v4(source, destination, 6, tcp.len()).fold();
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    ip_frame(source, destination, 6, &tcp)
}

fn ip_frame(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(34 + payload.len());
    frame.extend(MacAddr::from_ipv4(destination).0);
    frame.extend(MacAddr::from_ipv4(source).0);
    frame.extend([0x08, 0x00, 0x45, 0]);
    frame.extend((20 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    let sum = Sum::new().add(&frame[14..34]).finish();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend(payload);
    frame
}
