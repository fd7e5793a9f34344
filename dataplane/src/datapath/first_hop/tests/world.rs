//! The host, and packets that are built and read by a library that is not the crate's own.

use std::net::{IpAddr, Ipv4Addr};

use etherparse::{Icmpv4Slice, IpSlice, Ipv4Header, PacketBuilder, SlicedPacket, TransportSlice};

use crate::counters::Totals;
use crate::datapath::{Datapath, Frame, Made};
use crate::gateway::route::LinkId;
use crate::gateway::{Egress, EgressSpec, GATEWAY_MAC, LinkSpec, NeighborSpec, RouteSpec};
use crate::nat::Protocol;
use crate::offload::{Checksum, Gso, GsoKind, Offload};
use crate::tables::{PortId, Tables};
use crate::testing::{Station, World, station, vni, vtep, vxlan};
use crate::time::Moment;
use crate::verdict::{DropReason, Verdict};
use crate::wire::checksum::Sum;
use crate::wire::{Ecn, MacAddr};

pub(super) const NOW: Moment = Moment::from_secs(5);
/// The outside address, another one of the host, and who is outside.
pub(super) const OUTSIDE: &str = "203.0.113.1";
pub(super) const OTHER_OWN: &str = "203.0.113.2";
pub(super) const OUTSIDE6: &str = "2001:db8:ffff::1";
pub(super) const PEER: &str = "8.8.8.8";
pub(super) const PEER6: &str = "2001:4860::8";
/// Beyond a link that carries 1,000 bytes.
pub(super) const NARROW: &str = "198.18.0.1";
/// On the link, and nobody knows its MAC.
pub(super) const UNRESOLVED: &str = "198.51.100.9";
pub(super) const LINK_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(super) const ROUTER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 1]);
pub(super) const SERVICE: u16 = 8_080;

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// On the other subnet of the first network.
pub(super) fn beyond() -> Station {
    let v4 = Ipv4Addr::new(10, 1, 1, 3);
    Station { mac: MacAddr::from_ipv4(v4), v4, v6: "fd00:1:0:1::3".parse().unwrap() }
}

/// On the network without NAT.
pub(super) fn routed() -> Station {
    let v4 = Ipv4Addr::new(10, 2, 0, 1);
    Station { mac: MacAddr::from_ipv4(v4), v4, v6: "2001:db8:2::1".parse().unwrap() }
}

/// Network 1 (NAT; ports 11, 12 and, on another subnet, 13), network 2 (routed, MTU 1,400; port 21), network 3 (without
/// a gateway; port 31), network 4 (NAT, MTU 1,280, and the host behind port 49; port 41). Network 1 is behind VTEP 2, too.
pub(super) fn world() -> World {
    let world = World::default().segment(1, &[2]).port(11, 1).port(12, 2).station(13, beyond());
    let world = world.gateway(&["10.1.0.0/24", "10.1.1.0/24", "fd00:1::/64", "fd00:1:0:1::/64"], true);
    let mut world = world.segment(2, &[]).station(21, routed());
    world = world.gateway(&["10.2.0.0/24", "2001:db8:2::/64"], false);
    world.0.segments[1].mtu = 1_400;
    let mut world = world.segment(3, &[]).port(31, 1).segment(4, &[]).station(41, narrow());
    world.0.segments[3].mtu = 1_280;
    world.gateway(&["10.4.0.0/24"], true).host(49).publish(SERVICE, 12).publish(SERVICE + 1, 41)
}

/// On the network where the host stands.
pub(super) fn narrow() -> Station {
    let v4 = Ipv4Addr::new(10, 4, 0, 1);
    Station { mac: MacAddr::from_ipv4(v4), v4, v6: "fd00:4::1".parse().unwrap() }
}

pub(super) fn egress() -> EgressSpec {
    let link = |id: u32, mtu, addresses: &[&str]| LinkSpec {
        id: LinkId(id),
        mac: LINK_MAC,
        mtu,
        addresses: addresses.iter().map(|a| ip(a)).collect(),
    };
    let route = |prefix: &str, id: u32, via: Option<&str>| RouteSpec {
        prefix: prefix.parse().unwrap(),
        link: Some(LinkId(id)),
        via: via.map(ip),
        source: None,
    };
    let neighbor =
        |id: u32, address: &str| NeighborSpec { link: LinkId(id), address: ip(address), mac: ROUTER_MAC };
    EgressSpec {
        links: vec![link(1, 1_500, &[OUTSIDE, OUTSIDE6]), link(2, 1_000, &["203.0.113.129"])],
        routes: vec![
            route("0.0.0.0/1", 1, Some("203.0.113.3")),
            route("198.51.100.0/24", 1, None),
            route("198.18.0.0/15", 2, Some("203.0.113.130")),
            route("::/0", 1, Some("2001:db8:ffff::2")),
        ],
        neighbors: vec![
            neighbor(1, "203.0.113.3"),
            neighbor(2, "203.0.113.130"),
            neighbor(1, "2001:db8:ffff::2"),
        ],
        own: [OUTSIDE, OTHER_OWN, OUTSIDE6, "203.0.113.129", "127.0.0.1"].iter().map(|a| ip(a)).collect(),
    }
}

/// A frame that was judged: what is to be sent, if anything.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) verdict: Verdict,
    pub(super) bytes: Vec<u8>,
    pub(super) offload: Offload,
    pub(super) made: Vec<Made>,
}

pub(super) struct Bench {
    pub(super) tables: Tables,
    pub(super) datapath: Datapath,
    pub(super) now: Moment,
    /// Frames that have been offered.
    offered: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        let world = world();
        let tables = world.tables(1);
        assert_eq!(tables.take_effect(&world.0), []);
        let mut outside = tables.house.outside();
        outside.nat.set_egress(Egress::build(&egress()).unwrap(), NOW);
        let ports: Vec<u16> = (40_000..40_064).collect();
        for address in [OUTSIDE, OUTSIDE6, "203.0.113.129"] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                outside.nat.lend(ip(address), protocol, &ports);
            }
        }
        drop(outside);
        Self { tables, datapath: Datapath::new(0, 7), now: NOW, offered: 0 }
    }

    pub(super) fn send(&mut self, port: u32, frame: &[u8]) -> Seen {
        self.send_owing(port, frame, Offload::NONE)
    }

    pub(super) fn send_owing(&mut self, port: u32, frame: &[u8], offload: Offload) -> Seen {
        let mut bytes = frame.to_vec();
        let port = self.tables.port(PortId(port)).unwrap();
        let frame = Frame { bytes: &mut bytes, offload };
        let judged = self.datapath.from_port(&self.tables, port, frame, self.now);
        let (verdict, offload) = (judged.verdict, judged.frame.offload);
        self.offered += 1;
        self.seen(verdict, bytes, offload)
    }

    /// A frame that has been held is judged again.
    pub(super) fn again(&mut self, port: u32, frame: &[u8]) -> Verdict {
        self.offered -= 1;
        self.send(port, frame).verdict
    }

    pub(super) fn arrive(&mut self, link: u32, frame: &[u8], offload: Offload) -> Seen {
        let before = self.counted();
        let mut bytes = frame.to_vec();
        let frame = Frame { bytes: &mut bytes, offload };
        let judged = self.datapath.from_link(&self.tables, LinkId(link), frame, self.now);
        let (verdict, offload) = (judged.verdict, judged.frame.offload);
        // What is the host's own was not offered to us.
        self.offered += u64::from(verdict != Verdict::Consumed || self.counted() > before);
        self.seen(verdict, bytes, offload)
    }

    pub(super) fn tunnel(&mut self, sender: u8, frame: &[u8]) -> Seen {
        let mut datagram = vxlan(vni(1), frame);
        let judged =
            self.datapath.from_tunnel(&self.tables, vtep(sender), Ecn::NotEct, &mut datagram, self.now);
        let (verdict, offload, bytes) = (judged.verdict, judged.frame.offload, judged.frame.bytes.to_vec());
        self.offered += 1;
        self.seen(verdict, bytes, offload)
    }

    fn seen(&mut self, verdict: Verdict, bytes: Vec<u8>, offload: Offload) -> Seen {
        let made = std::iter::from_fn(|| self.datapath.take_made()).collect();
        Seen { verdict, bytes, offload, made }
    }

    fn counted(&self) -> u64 {
        let totals = self.tables.totals();
        totals.packets + totals.drops.iter().sum::<u64>()
    }

    /// Every frame that was offered has been counted once, but for `held` that are held.
    #[track_caller]
    pub(super) fn adds_up(&self, held: u64) {
        assert_eq!(self.counted() + held, self.offered);
    }

    pub(super) fn totals(&self) -> Totals {
        self.tables.totals()
    }
}

impl Seen {
    /// That of a frame that was refused, whose sender was told `kind` and `code`; the message from its header on.
    #[track_caller]
    pub(super) fn refused(&self, reason: DropReason, to: u32, kind: u8, code: u8) -> Vec<u8> {
        assert_eq!(self.verdict, Verdict::Drop(reason));
        let [made] = &self.made[..] else { panic!("{:?}", self.made) };
        assert_eq!(made.to, crate::datapath::To::Port(PortId(to)));
        let message = error(&made.bytes);
        assert_eq!((message[0], message[1]), (kind, code));
        message
    }
}

/// The ICMP message of a frame with an error, whose checksums are right.
#[track_caller]
pub(super) fn error(frame: &[u8]) -> Vec<u8> {
    let packet = IpSlice::from_slice(&frame[14..]).unwrap();
    let message = packet.payload().payload;
    match &packet {
        IpSlice::Ipv4(v4) => {
            let header = v4.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!(crate::wire::checksum::checksum(message), 0);
            Icmpv4Slice::from_slice(message).unwrap();
        }
        IpSlice::Ipv6(v6) => {
            let (source, destination) = (v6.header().source_addr(), v6.header().destination_addr());
            let sum = Sum::pseudo_v6(source, destination, 58, message.len()).add(message);
            assert_eq!(sum.finish(), 0);
        }
    }
    message.to_vec()
}

/// A UDP frame to the gateway's MAC, not to be fragmented.
pub(super) fn udp(from: Station, to: IpAddr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let source = if to.is_ipv4() { IpAddr::from(from.v4) } else { from.v6.into() };
    packet((from.mac, source), (GATEWAY_MAC, to), ports, payload)
}

/// A UDP frame from outside.
pub(super) fn reply(from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    packet((ROUTER_MAC, from.0), (LINK_MAC, to.0), (from.1, to.1), payload)
}

fn packet(from: (MacAddr, IpAddr), to: (MacAddr, IpAddr), ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from.0.0, to.0.0);
    let builder = match (from.1, to.1) {
        (IpAddr::V4(from), IpAddr::V4(to)) => builder.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => builder.ipv6(from.octets(), to.octets(), 64),
        _ => panic!("one family"),
    };
    let mut frame = Vec::new();
    builder.udp(ports.0, ports.1).write(&mut frame, payload).unwrap();
    if to.1.is_ipv4() { changed(frame, |header| header.dont_fragment = true) } else { frame }
}

/// The IPv4 frame with another header, and its checksum.
pub(super) fn changed(mut frame: Vec<u8>, change: impl FnOnce(&mut Ipv4Header)) -> Vec<u8> {
    let (mut header, _) = Ipv4Header::from_slice(&frame[14..]).unwrap();
    change(&mut header);
    header.header_checksum = header.calc_header_checksum();
    let bytes = header.to_bytes();
    frame[14..14 + bytes.len()].copy_from_slice(&bytes);
    frame
}

/// A TCP SYN over IPv4 with `payload` as a stack leaves it: the checksum field holds the pseudo header's sum.
pub(super) fn tcp_owing(from: Station, to: Ipv4Addr, payload: &[u8], size: u16) -> (Vec<u8>, Offload) {
    let builder = PacketBuilder::ethernet2(from.mac.0, GATEWAY_MAC.0);
    let builder = builder.ipv4(from.v4.octets(), to.octets(), 64).tcp(5_000, 80, 1_000, 65_535).syn();
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    let pseudo = Sum::pseudo_v4(from.v4, to, 6, frame.len() - 34).fold();
    frame[50..52].copy_from_slice(&pseudo.to_be_bytes());
    let gso = Gso { kind: GsoKind::Tcp4, size, ecn: false, header_len: 54 };
    let checksum = Checksum::Partial { start: 34, offset: 16 };
    (changed(frame, |header| header.dont_fragment = true), Offload { checksum, gso: Some(gso) })
}

/// Addresses, ports and hops of a frame whose checksums are right; `partial`: that of the transport is owed.
#[track_caller]
pub(super) fn read(frame: &[u8], partial: bool) -> ((IpAddr, u16), (IpAddr, u16), u8) {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let (source, destination, ttl) = match sliced.net.as_ref().unwrap() {
        etherparse::NetSlice::Ipv4(v4) => {
            let header = v4.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum(), "header checksum");
            (IpAddr::from(header.source), IpAddr::from(header.destination), header.time_to_live)
        }
        etherparse::NetSlice::Ipv6(v6) => {
            let header = v6.header();
            (header.source_addr().into(), header.destination_addr().into(), header.hop_limit())
        }
        etherparse::NetSlice::Arp(_) => panic!("no IP"),
    };
    let (protocol, ports, l4) = match sliced.transport.as_ref().unwrap() {
        TransportSlice::Udp(udp) => (17, (udp.source_port(), udp.destination_port()), udp.slice()),
        TransportSlice::Tcp(tcp) => (6, (tcp.source_port(), tcp.destination_port()), tcp.slice()),
        other => panic!("{other:?}"),
    };
    let pseudo = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Sum::pseudo_v4(source, destination, protocol, l4.len())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Sum::pseudo_v6(source, destination, protocol, l4.len())
        }
        _ => panic!("one family"),
    };
    if partial {
        assert_eq!(frame[50..52], pseudo.fold().to_be_bytes(), "the pseudo header's sum");
    } else {
        assert_eq!(pseudo.add(l4).finish(), 0, "transport checksum");
    }
    ((source, ports.0), (destination, ports.1), ttl)
}

/// The two stations that exchange most packets here.
pub(super) fn pair() -> (Station, Station) {
    (station(1), station(2))
}
