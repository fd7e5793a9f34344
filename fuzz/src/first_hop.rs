//! Frames of a few endpoints and of a link, one after the other, through a host that routes and translates: each is a
//! byte that says from whom and how, two bytes of length, and its bytes.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use etherparse::Ipv4Header;
use weft_dataplane::datapath::{Datapath, Frame, Made, To};
use weft_dataplane::gateway::{
    Egress, EgressSpec, GATEWAY_MAC, GatewaySpec, LinkId, LinkSpec, NeighborSpec, RouteSpec,
};
use weft_dataplane::nat::{Protocol, Published};
use weft_dataplane::offload::{Checksum, Gso, GsoKind, Offload};
use weft_dataplane::tables::{
    Ground, PortId, PortKind, PortSpec, SegmentId, SegmentOptions, SegmentSpec, Tables, TablesSpec,
};
use weft_dataplane::time::Moment;
use weft_dataplane::verdict::Verdict;
use weft_dataplane::wire::{MacAddr, Prefix};

use crate::world::{NOW, datapath, ended, mac, v4, v6};

/// The host's outside addresses, by its wide and by its narrow link.
const OUTSIDE: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 129)];
/// The endpoint of the network that is routed.
const ROUTED: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 3);
const NARROW: u16 = 600;
/// Frames of one history.
const FRAMES: usize = 64;

/// From the link, rather than from one of three endpoints.
pub(crate) const LINK: u8 = 3;
/// The checksum of the TCP over IPv4 is owed.
pub(crate) const PARTIAL: u8 = 1 << 4;
/// And it is to be cut.
pub(crate) const SUPER: u8 = 1 << 5;
/// Twenty seconds pass before.
pub(crate) const LATER: u8 = 1 << 6;
/// It keeps the destination MAC that it has, which is the gateway's otherwise.
pub(crate) const AS_ADDRESSED: u8 = 1 << 7;

/// What has been offered so far.
#[derive(Default)]
struct Tally {
    offered: u64,
    /// Given up while it was held.
    lost: u64,
    /// Held when it had come from a link: the host's own fragments are forgotten without being counted.
    held_of_link: u64,
}

/// Sends every frame in `data` and looks at all that comes of it.
pub fn first_hop(mut data: &[u8]) {
    let (tables, mut datapath, mut now) = (tables(), datapath(), NOW);
    let mut tally = Tally::default();
    for _ in 0..FRAMES {
        let [how, high, low, rest @ ..] = data else { return };
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (frame, rest) = rest.split_at(len);
        if how & LATER != 0 {
            now = now.after(Duration::from_secs(20));
        }
        judge(&tables, &mut datapath, (*how, frame), now, &mut tally);
        data = rest;
    }
}

fn judge(
    tables: &Tables,
    datapath: &mut Datapath,
    (how, frame): (u8, &[u8]),
    now: Moment,
    tally: &mut Tally,
) {
    let (who, mut bytes) = (how % 4, frame.to_vec());
    if who != LINK && how & AS_ADDRESSED == 0 && bytes.len() >= 6 {
        bytes[..6].copy_from_slice(&GATEWAY_MAC.0);
    }
    let gso = Gso { kind: GsoKind::Tcp4, size: 500, ecn: false, header_len: 54 };
    let gso = (how & SUPER != 0 && bytes.len() > 554).then_some(gso);
    let owed = how & PARTIAL != 0 || gso.is_some();
    let checksum = if owed { Checksum::Partial { start: 34, offset: 16 } } else { Offload::NONE.checksum };
    let offload = Offload { checksum, gso };
    let before = ended(&tables.totals());
    let frame = Frame { bytes: &mut bytes, offload };
    let judged = if who == LINK {
        datapath.from_link(tables, LinkId(1), frame, now)
    } else {
        let port = tables.port(PortId(who.into())).expect("one of three");
        datapath.from_port(tables, port, frame, now)
    };
    let (verdict, sent) = (judged.verdict, &*judged.frame.bytes);
    if matches!(verdict, Verdict::Leave(_) | Verdict::ByHost(_)) {
        leaves(sent, who);
    }
    if let (Verdict::Deliver(port), true) = (verdict, who == LINK) {
        assert_eq!((&sent[..6], &sent[6..12]), (&mac_of(port).0[..], &GATEWAY_MAC.0[..]));
    }
    while let Some(made) = datapath.take_made() {
        well_formed(&made);
    }
    let counted = ended(&tables.totals());
    // What is the host's own was not offered to the switch.
    tally.offered += u64::from(who != LINK || verdict != Verdict::Consumed || counted > before);
    tally.held_of_link += u64::from(who == LINK && verdict == Verdict::Held);
    let mut outside = tables.house().outside();
    tally.lost += outside.nat.lost().iter().map(|(_, count)| count).sum::<u64>();
    let held = outside.nat.counts().fragments + outside.waiting();
    let accounted = counted + tally.lost + held as u64;
    assert!(accounted <= tally.offered, "{accounted} of {} frames are counted", tally.offered);
    assert!(accounted + tally.held_of_link >= tally.offered, "{accounted} of {} frames", tally.offered);
}

/// A packet that goes off the host has hops left, a right header, and no source of a network that is translated.
fn leaves(frame: &[u8], who: u8) {
    let packet = &frame[14..];
    if packet[0] >> 4 == 4 {
        let (header, _) = Ipv4Header::from_slice(packet).expect("an IPv4 packet");
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        assert!(header.time_to_live > 0);
        let source = Ipv4Addr::from(header.source);
        assert!(OUTSIDE.contains(&source) || who == 2 && source == ROUTED, "{source}");
    } else {
        assert!(packet[7] > 0);
        assert_ne!(packet[8] & 0xfe, 0xfc, "a unique local source");
        assert_ne!(packet[8..10], [0xfe, 0x80], "a link-local source");
    }
}

/// A packet of the datapath's own making is as long as it says, and has the checksum that it needs.
fn well_formed(made: &Made) {
    let packet = &made.bytes[14..];
    assert!(!matches!(made.to, To::Link(LinkId(2)) | To::Host(LinkId(2))) || packet.len() <= NARROW.into());
    assert_eq!(made.offload, Offload::NONE);
    match &made.bytes[12..14] {
        [8, 0] => {
            let (header, _) = Ipv4Header::from_slice(packet).expect("an IPv4 packet");
            assert!(usize::from(header.total_len) <= packet.len());
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert!(header.time_to_live > 0);
        }
        [0x86, 0xdd] => {
            assert!(packet.len() >= 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]])));
            assert!(packet[7] > 0);
        }
        [8, 6] => assert_eq!(packet.len(), 28),
        other => panic!("type {other:02x?}"),
    }
}

fn mac_of(port: PortId) -> MacAddr {
    [mac(1), mac(2), mac(3)][port.0 as usize]
}

/// A network that is translated, with an endpoint and a server whose UDP port 80 is published, and one that is routed.
fn tables() -> Tables {
    let subnet = |base: IpAddr, len, own: IpAddr| (Prefix::new(base, len).expect("no host bits"), own);
    let routed6 = |n| IpAddr::from([0x2001, 0xdb8, 2, 0, 0, 0, 0, n]);
    let networks = [
        (vec![subnet(v4(0).into(), 24, v4(254).into()), subnet(v6(0).into(), 64, v6(254).into())], true),
        (
            vec![
                subnet([10, 2, 0, 0].into(), 24, [10, 2, 0, 254].into()),
                subnet(routed6(0), 64, routed6(254)),
            ],
            false,
        ),
    ];
    let mut spec = TablesSpec::default();
    for (id, (subnets, nat)) in (0..).map(SegmentId).zip(networks) {
        let gateway = Some(GatewaySpec { subnets, nat, ..GatewaySpec::default() });
        let (mtu, options) = (1_450 - 50 * id.0 as u16, SegmentOptions::default());
        spec.segments.push(SegmentSpec { id, vni: None, mtu, options, vteps: vec![], gateway });
    }
    let hosts = [
        (0, mac(1), vec![v4(1).into(), v6(1).into()]),
        (0, mac(2), vec![v4(2).into(), v6(2).into()]),
        (1, mac(3), vec![ROUTED.into(), routed6(3)]),
    ];
    for (id, (segment, mac, addresses)) in (0..).map(PortId).zip(hosts) {
        let (kind, segment) = (PortKind::Endpoint, SegmentId(segment));
        spec.ports.push(PortSpec { id, kind, segment, mac, addresses });
    }
    let (port, inside, protocol) = (PortId(1), v4(2).into(), Protocol::Udp);
    spec.published.push(Published {
        port,
        inside,
        inside_port: 80,
        outside: None,
        outside_port: 80,
        protocol,
    });
    let ground = Ground { shards: 1, seed: 7, underlay: None };
    let tables = Tables::build(&spec, &Tables::empty(&ground), &ground).expect("a spec that makes sense");
    assert!(tables.take_effect(&spec).is_empty());
    let mut outside = tables.house().outside();
    outside.nat.set_egress(Egress::build(&egress()).expect("routing that makes sense"), NOW);
    for address in OUTSIDE {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            outside.nat.lend(address.into(), protocol, &[40_000, 40_001, 40_002, 40_003]);
        }
    }
    drop(outside);
    tables
}

/// A wide link to everywhere by a router, and to some by a hop that is not resolved; a narrow one to 198.18.0.0/15.
fn egress() -> EgressSpec {
    let outside6 = IpAddr::from([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1]);
    let router = IpAddr::from([203, 0, 113, 2]);
    let link = |id: u32, mtu, addresses| LinkSpec { id: LinkId(id), mac: mac(100), mtu, addresses };
    let route = |prefix: &str, id: u32| RouteSpec {
        prefix: prefix.parse().expect("a prefix"),
        link: Some(LinkId(id)),
        via: (prefix != "198.51.100.0/24" && prefix != "::/0").then_some(router),
        source: None,
    };
    let neighbor = |id: u32| NeighborSpec { link: LinkId(id), address: router, mac: mac(101) };
    EgressSpec {
        links: vec![
            link(1, 1_500, vec![OUTSIDE[0].into(), outside6]),
            link(2, NARROW, vec![OUTSIDE[1].into()]),
        ],
        routes: ["0.0.0.0/0", "198.51.100.0/24", "::/0"]
            .map(|p| route(p, 1))
            .into_iter()
            .chain([route("198.18.0.0/15", 2)])
            .collect(),
        neighbors: vec![neighbor(1), neighbor(2)],
        own: vec![OUTSIDE[0].into(), OUTSIDE[1].into(), outside6],
    }
}
