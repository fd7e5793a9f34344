//! A host with two links, its endpoints and its neighbours outside, for tests: packets are built and read back by
//! etherparse, so that the grammar does not judge itself.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use etherparse::{Icmpv4Type, PacketBuilder, SlicedPacket, TransportSlice};

use crate::gateway::{Egress, EgressSpec, Filtering, LinkId, LinkSpec, RouteSpec};
use crate::nat::{Inside, Limits, Nat, Outcome, Policy, Protocol, Published, Timers};
use crate::tables::PortId;
use crate::time::Moment;
use crate::verdict::DropReason;
use crate::wire::{MacAddr, TcpFlags};

pub(super) type At = (IpAddr, u16);

pub(super) fn at(address: &str, port: u16) -> At {
    (address.parse().expect("an address"), port)
}

/// The outside address by link 1, where everything but 203.0.113.0/24 lies, and by link 2.
pub(super) const ONE: &str = "192.0.2.1";
pub(super) const TWO: &str = "198.51.100.1";
/// An address of the host that no link leaves from.
pub(super) const OTHER: &str = "192.0.2.7";
pub(super) const SIX: &str = "2001:db8::1";

/// How the second link fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Two {
    Up,
    /// Nothing leaves by it, and the host has its address still.
    Down,
    Gone,
}

/// A packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pk {
    pub(super) protocol: Protocol,
    pub(super) source: At,
    pub(super) destination: At,
    pub(super) flags: TcpFlags,
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
    pub(super) payload: usize,
    /// Whether an ICMP query asks.
    pub(super) request: bool,
}

pub(super) fn packet(protocol: Protocol, source: At, destination: At) -> Pk {
    let (flags, request) = (TcpFlags::SYN, true);
    Pk { protocol, source, destination, flags, sequence: 0, acknowledgement: 0, payload: 8, request }
}

pub(super) fn udp(source: At, destination: At) -> Pk {
    packet(Protocol::Udp, source, destination)
}

/// A SYN.
pub(super) fn syn(source: At, destination: At) -> Pk {
    Pk { payload: 0, ..packet(Protocol::Tcp, source, destination) }
}

/// An echo request, or with `request` false its reply.
pub(super) fn echo(source: At, destination: &str, request: bool) -> Pk {
    Pk { request, ..packet(Protocol::Icmp, source, at(destination, source.1)) }
}

impl Pk {
    pub(super) fn with(self, flags: TcpFlags, sequence: u32, acknowledgement: u32, payload: usize) -> Self {
        Self { flags, sequence, acknowledgement, payload, ..self }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let payload = vec![0x5a; self.payload];
        let mut bytes = Vec::new();
        let step = match (self.source.0, self.destination.0) {
            (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 63),
            (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 63),
            _ => panic!("one family"),
        };
        let (from, to) = (self.source.1, self.destination.1);
        match (self.protocol, self.source.0.is_ipv4()) {
            (Protocol::Udp, _) => step.udp(from, to).write(&mut bytes, &payload),
            (Protocol::Tcp, _) => {
                let mut header = etherparse::TcpHeader::new(from, to, self.sequence, 65_535);
                header.acknowledgment_number = self.acknowledgement;
                header.syn = self.flags.contains(TcpFlags::SYN);
                header.ack = self.flags.contains(TcpFlags::ACK);
                header.rst = self.flags.contains(TcpFlags::RST);
                header.fin = self.flags.contains(TcpFlags::FIN);
                step.tcp_header(header).write(&mut bytes, &payload)
            }
            (Protocol::Icmp, true) if self.request => {
                step.icmpv4_echo_request(from, 1).write(&mut bytes, &payload)
            }
            (Protocol::Icmp, true) => step.icmpv4_echo_reply(from, 1).write(&mut bytes, &payload),
            (Protocol::Icmp, false) if self.request => {
                step.icmpv6_echo_request(from, 1).write(&mut bytes, &payload)
            }
            (Protocol::Icmp, false) => step.icmpv6_echo_reply(from, 1).write(&mut bytes, &payload),
        }
        .expect("it can be built");
        bytes
    }

    /// An ICMP error of `code` about this packet, from `router` to its sender.
    pub(super) fn refused_by(&self, router: &str, code: u8) -> Vec<u8> {
        let (IpAddr::V4(from), IpAddr::V4(to)) = (at(router, 0).0, self.source.0) else { panic!("IPv4") };
        let kind = Icmpv4Type::Unknown { type_u8: 3, code_u8: code, bytes5to8: [0; 4] };
        let mut bytes = Vec::new();
        let step = PacketBuilder::ipv4(from.octets(), to.octets(), 60).icmpv4(kind);
        step.write(&mut bytes, &self.bytes()).expect("it can be built");
        bytes
    }
}

/// The ends of a packet.
pub(super) fn ends(ip: &[u8]) -> (At, At) {
    let sliced = SlicedPacket::from_ip(ip).expect("a packet");
    let net = sliced.net.expect("IP");
    let (from, to): (IpAddr, IpAddr) = match &net {
        etherparse::NetSlice::Ipv4(v4) => {
            (v4.header().source_addr().into(), v4.header().destination_addr().into())
        }
        etherparse::NetSlice::Ipv6(v6) => {
            (v6.header().source_addr().into(), v6.header().destination_addr().into())
        }
        etherparse::NetSlice::Arp(_) => panic!("no IP"),
    };
    let ports = match sliced.transport.expect("a transport") {
        TransportSlice::Udp(udp) => (udp.source_port(), udp.destination_port()),
        TransportSlice::Tcp(tcp) => (tcp.source_port(), tcp.destination_port()),
        TransportSlice::Icmpv4(icmp) => id(&icmp.bytes5to8()),
        TransportSlice::Icmpv6(icmp) => id(&icmp.bytes5to8()),
        TransportSlice::Igmp(_) => panic!("no ports"),
    };
    ((from, ports.0), (to, ports.1))
}

fn id(bytes: &[u8; 4]) -> (u16, u16) {
    let id = u16::from_be_bytes([bytes[0], bytes[1]]);
    (id, id)
}

/// Of an ICMP error: sender and receiver, and the ends of the packet it is about.
pub(super) fn error_ends(ip: &[u8]) -> (IpAddr, IpAddr, (At, At)) {
    let address = |at: usize| IpAddr::V4(Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]));
    (address(12), address(16), ends(&ip[28..]))
}

/// What became of a packet, with its ends as they are then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Left(LinkId, At, At),
    Delivered(u32, At, At),
    Held,
    Dropped(DropReason),
}

impl Seen {
    /// The source with which it left.
    #[track_caller]
    pub(super) fn source(self) -> At {
        match self {
            Self::Left(_, source, _) | Self::Delivered(_, source, _) => source,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn seen(outcome: Outcome, ip: &[u8]) -> Seen {
    match outcome {
        Outcome::Leave(hop) => Seen::Left(hop.link, ends(ip).0, ends(ip).1),
        Outcome::Deliver { port } => Seen::Delivered(port.0, ends(ip).0, ends(ip).1),
        Outcome::Held => Seen::Held,
        Outcome::Drop(reason) => Seen::Dropped(reason),
    }
}

pub(super) fn spec() -> EgressSpec {
    let link = |id: u32, addresses: &[&str]| LinkSpec {
        id: LinkId(id),
        mac: MacAddr([2, 0, 0, 0, 0, id as u8]),
        mtu: 1_500,
        addresses: addresses.iter().map(|a| at(a, 0).0).collect(),
    };
    let route = |prefix: &str, id: u32| RouteSpec {
        prefix: prefix.parse().expect("a prefix"),
        link: Some(LinkId(id)),
        via: None,
        source: None,
    };
    EgressSpec {
        links: vec![link(1, &[ONE, SIX]), link(2, &[TWO])],
        routes: vec![route("0.0.0.0/0", 1), route("203.0.113.0/24", 2), route("::/0", 1)],
        neighbors: Vec::new(),
        own: [ONE, TWO, OTHER, SIX, "127.0.0.1"].iter().map(|a| at(a, 0).0).collect(),
    }
}

/// The host.
pub(super) struct World {
    pub(super) nat: Nat,
    pub(super) now: Moment,
    pub(super) filtering: Filtering,
    pub(super) policy: Policy,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    /// With ports 40,000 to 40,199 and 1,000 to 1,003 lent everywhere.
    pub(super) fn with(limits: Limits) -> Self {
        let mut world = Self::bare(limits);
        let ports: Vec<u16> = (40_000..40_200).chain(1_000..1_004).collect();
        world.lend(&ports);
        world
    }

    /// With no port lent.
    pub(super) fn bare(limits: Limits) -> Self {
        let mut nat = Nat::new(7, limits, Timers::default());
        let now = Moment::from_secs(1_000);
        nat.set_egress(Egress::build(&spec()).expect("it makes sense"), now);
        Self { nat, now, filtering: Filtering::AddressDependent, policy: Policy::Begin }
    }

    pub(super) fn lend(&mut self, ports: &[u16]) {
        for address in [ONE, TWO, SIX] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                self.nat.lend(at(address, 0).0, protocol, ports);
            }
        }
    }

    pub(super) fn wait(&mut self, secs: u64) {
        self.now = self.now.after(Duration::from_secs(secs));
        self.nat.expire(self.now, usize::MAX);
        self.nat.table.audit();
    }

    pub(super) fn inside(&self, port: u32) -> Inside {
        Inside { port: PortId(port), filtering: self.filtering }
    }

    pub(super) fn out(&mut self, from: u32, packet: Pk) -> Seen {
        let mut ip = packet.bytes();
        let outcome = self.nat.outbound(self.inside(from), &mut ip, false, self.policy, self.now);
        seen(outcome, &ip)
    }

    pub(super) fn back(&mut self, link: u32, packet: Pk) -> Seen {
        let mut ip = packet.bytes();
        let outcome = self.nat.inbound(LinkId(link), &mut ip, false, self.now);
        seen(outcome, &ip)
    }

    pub(super) fn sessions(&self) -> usize {
        self.nat.sessions(self.now).count()
    }
}

/// Published at every address.
pub(super) fn published(protocol: Protocol, outside_port: u16, port: u32, inside: At) -> Published {
    Published {
        port: PortId(port),
        inside: inside.0,
        inside_port: inside.1,
        outside: None,
        outside_port,
        protocol,
    }
}
