//! The table at the head of the room, row by row: what an endpoint may send, and what it may not.

use super::*;
use crate::testing::{Station, arp, ether, fragment4, ipv6, plain, station, tagged, udp4, udp6, vtep};
use crate::wire::ArpOp;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Judges `frame` as sent by station 1 where 192.0.2.2 and 2001:db8::2 are VTEPs.
fn judge(frame: &[u8]) -> Result<(), DropReason> {
    let Station { mac, v4, v6 } = station(1);
    let binding = Binding { mac, addresses: vec![v4.into(), v6.into()] };
    let v6_vtep: Ipv6Addr = "2001:db8::2".parse().unwrap();
    let vteps = VtepPorts { addresses: vec![vtep(2).address(), v6_vtep.into()], port: 4789 };
    check(frame, &binding, &vteps)
}

fn at(v4: [u8; 4]) -> Station {
    Station { v4: v4.into(), ..station(9) }
}

/// Station 1 with another IPv4 address.
fn me_at(v4: [u8; 4]) -> Station {
    Station { v4: v4.into(), ..station(1) }
}

/// An IPv6 packet that station 1 sends from its own address.
fn mine6(next: u8, payload: &[u8]) -> Vec<u8> {
    ipv6((station(1).mac, station(1).v6), ALL_NODES, next, payload)
}

/// An ND message: type, the word after the checksum, the rest.
fn nd(kind: u8, flags: u8, rest: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    rest.iter().for_each(|part| message.extend(*part));
    message
}

fn link_address(option: u8, mac: MacAddr) -> Vec<u8> {
    [&[option, 1], &mac.0[..]].concat()
}

fn router_advert() -> Vec<u8> {
    nd(134, 0, &[&[0; 8]])
}

/// An extension header of eight bytes.
fn extension(next: u8) -> [u8; 8] {
    [next, 0, 1, 4, 0, 0, 0, 0]
}

fn fragment6(next: u8, offset: u16, more: bool) -> [u8; 8] {
    let [a, b] = (offset & 0xfff8 | u16::from(more)).to_be_bytes();
    [next, 0, a, b, 0, 0, 0, 1]
}

#[test]
fn the_source_mac_is_the_endpoints() {
    assert_eq!(judge(&plain(station(2).mac, station(1).mac, b"x")), Ok(()));
    assert_eq!(judge(&plain(station(2).mac, station(3).mac, b"x")), Err(DropReason::SpoofedMac));
    assert_eq!(judge(&udp4(station(3), station(2), (1, 2), b"x")), Err(DropReason::SpoofedMac));
    assert_eq!(judge(&[0; 13]), Err(DropReason::Runt));
}

#[test]
fn an_ipv4_source_is_the_endpoints() {
    assert_eq!(judge(&udp4(station(1), station(2), (1, 2), b"x")), Ok(()));
    for spoofed in [[10, 1, 0, 3], [0, 0, 0, 0], [255, 255, 255, 255], [127, 0, 0, 1]] {
        let frame = udp4(me_at(spoofed), station(2), (1, 2), b"x");
        assert_eq!(judge(&frame), Err(DropReason::SpoofedIp), "{spoofed:?}");
    }
}

#[test]
fn an_ipv6_source_is_the_endpoints_or_its_link_local_address() {
    let from = |v6| udp6(Station { v6, ..station(1) }, station(2), (1, 2), b"x");
    assert_eq!(judge(&from(station(1).v6)), Ok(()));
    assert_eq!(judge(&from(station(1).mac.link_local())), Ok(()));
    for spoofed in [station(3).v6, station(3).mac.link_local(), Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST] {
        assert_eq!(judge(&from(spoofed)), Err(DropReason::SpoofedIp), "{spoofed}");
    }
}

#[test]
fn nobody_may_ask_for_an_address_by_dhcp_and_by_icmpv6() {
    assert_eq!(judge(&udp4(me_at([0; 4]), at([255; 4]), (68, 67), b"discover")), Ok(()));
    assert_eq!(judge(&udp4(station(1), at([10, 1, 0, 1]), (68, 67), b"renew")), Ok(()));
    for ports in [(67, 68), (68, 69), (69, 67)] {
        let frame = udp4(me_at([0; 4]), at([255; 4]), ports, b"x");
        assert_eq!(judge(&frame), Err(DropReason::SpoofedIp), "{ports:?}");
    }
    let nobody = (station(1).mac, Ipv6Addr::UNSPECIFIED);
    let dad = nd(135, 0, &[&station(1).v6.octets()]);
    assert_eq!(judge(&ipv6(nobody, ALL_NODES, ICMPV6, &dad)), Ok(()), "duplicate address detection");
    assert_eq!(judge(&ipv6(nobody, ALL_NODES, ICMPV6, &[143, 0, 0, 0, 0, 0, 0, 0])), Ok(()), "MLD report");
    assert_eq!(judge(&ipv6(nobody, ALL_NODES, UDP, &[0; 8])), Err(DropReason::SpoofedIp));
}

#[test]
fn an_arp_sender_is_the_endpoint() {
    let me = station(1);
    for operation in [ArpOp::Request, ArpOp::Reply, ArpOp::Other(9)] {
        assert_eq!(judge(&arp(me.mac, operation, (me.mac, me.v4), station(2).v4)), Ok(()));
        for (mac, v4) in [(me.mac, station(3).v4), (station(3).mac, me.v4), (station(3).mac, station(3).v4)] {
            let frame = arp(me.mac, operation, (mac, v4), station(2).v4);
            assert_eq!(judge(&frame), Err(DropReason::SpoofedArp), "{operation:?} {mac} {v4}");
        }
    }
    assert_eq!(judge(&arp(me.mac, ArpOp::Request, (me.mac, me.v4), me.v4)), Ok(()), "gratuitous");
    assert_eq!(judge(&arp(me.mac, ArpOp::Request, (me.mac, [0; 4].into()), me.v4)), Ok(()), "a probe");
    let cut = arp(me.mac, ArpOp::Request, (me.mac, me.v4), me.v4);
    assert_eq!(judge(&cut[..cut.len() - 1]), Err(DropReason::Malformed));
    let mut token_ring = cut;
    token_ring[15] = 6;
    assert_eq!(judge(&token_ring), Err(DropReason::Malformed), "not Ethernet");
}

#[test]
fn a_neighbor_advertisement_speaks_for_the_endpoint() {
    let (me, other) = (station(1), station(3));
    let mine = [me.v6, me.mac.link_local()];
    for target in mine {
        assert_eq!(judge(&mine6(ICMPV6, &nd(136, 0x60, &[&target.octets()]))), Ok(()));
        let with_mac = nd(136, 0x20, &[&target.octets(), &link_address(2, me.mac)]);
        assert_eq!(judge(&mine6(ICMPV6, &with_mac)), Ok(()));
        let at_another_mac = nd(136, 0x20, &[&target.octets(), &link_address(2, other.mac)]);
        assert_eq!(judge(&mine6(ICMPV6, &at_another_mac)), Err(DropReason::SpoofedNd));
        let as_router = nd(136, 0xa0, &[&target.octets()]);
        assert_eq!(judge(&mine6(ICMPV6, &as_router)), Err(DropReason::SpoofedNd));
    }
    let for_another = nd(136, 0x20, &[&other.v6.octets(), &link_address(2, me.mac)]);
    assert_eq!(judge(&mine6(ICMPV6, &for_another)), Err(DropReason::SpoofedNd));
}

#[test]
fn a_solicitation_gives_no_mac_but_the_endpoints() {
    let (me, other) = (station(1), station(3));
    for (kind, head) in [(133, &[][..]), (135, &other.v6.octets()[..])] {
        assert_eq!(judge(&mine6(ICMPV6, &nd(kind, 0, &[head]))), Ok(()));
        assert_eq!(judge(&mine6(ICMPV6, &nd(kind, 0, &[head, &link_address(1, me.mac)]))), Ok(()));
        let poison = nd(kind, 0, &[head, &link_address(1, other.mac)]);
        assert_eq!(judge(&mine6(ICMPV6, &poison)), Err(DropReason::SpoofedNd));
    }
}

#[test]
fn an_endpoint_is_no_router() {
    let redirect = nd(137, 0, &[&station(2).v6.octets(), &station(3).v6.octets()]);
    assert_eq!(judge(&mine6(ICMPV6, &router_advert())), Err(DropReason::RouterAdvert));
    assert_eq!(judge(&mine6(ICMPV6, &redirect)), Err(DropReason::RouterAdvert));
    let echo = [128, 0, 0, 0, 0, 1, 0, 1];
    assert_eq!(judge(&mine6(ICMPV6, &echo)), Ok(()));
}

#[test]
fn nd_that_cannot_be_read_cannot_be_judged() {
    for (message, what) in [
        (nd(136, 0, &[&station(1).v6.octets()[..8]]), "cut off"),
        (nd(136, 0, &[&station(1).v6.octets(), &[2, 0]]), "an option of length zero"),
        (nd(136, 0, &[&station(1).v6.octets(), &[2, 2, 0, 0, 0, 0, 0, 0]]), "an option beyond the end"),
        (nd(135, 0, &[&ALL_NODES.octets()]), "a multicast target"),
    ] {
        assert_eq!(judge(&mine6(ICMPV6, &message)), Err(DropReason::Malformed), "{what}");
    }
}

#[test]
fn extension_headers_hide_nothing() {
    // RFC 7113 section 2.1: RA guards that look at the first next header only.
    let ra = router_advert();
    for chain in [vec![HOP_BY_HOP], vec![DESTINATION_OPTIONS], vec![HOP_BY_HOP, 43, DESTINATION_OPTIONS]] {
        let mut payload = Vec::new();
        for next in chain.iter().skip(1).chain([&ICMPV6]) {
            payload.extend(extension(*next));
        }
        payload.extend(&ra);
        assert_eq!(judge(&mine6(chain[0], &payload)), Err(DropReason::RouterAdvert), "{chain:?}");
    }
    let long = [[extension(DESTINATION_OPTIONS); 8].concat(), extension(ICMPV6).to_vec(), ra].concat();
    assert_eq!(judge(&mine6(DESTINATION_OPTIONS, &long)), Err(DropReason::Malformed), "too long a chain");
    let cut = [DESTINATION_OPTIONS, 5, 0, 0];
    assert_eq!(
        judge(&mine6(DESTINATION_OPTIONS, &cut)),
        Err(DropReason::Malformed),
        "a chain that ends early"
    );
    let honest = [&extension(UDP)[..], &[0, 1, 0, 2, 0, 8, 0, 0]].concat();
    assert_eq!(judge(&mine6(DESTINATION_OPTIONS, &honest)), Ok(()));
}

#[test]
fn fragments_hide_nothing() {
    // RFC 7113 section 2.2 and RFC 6980.
    let ra = router_advert();
    let atomic = [&fragment6(ICMPV6, 0, false)[..], &ra].concat();
    assert_eq!(judge(&mine6(FRAGMENT, &atomic)), Err(DropReason::Malformed), "an atomic fragment of ND");
    let first = [&fragment6(ICMPV6, 0, true)[..], &ra].concat();
    assert_eq!(judge(&mine6(FRAGMENT, &first)), Err(DropReason::Malformed));
    // The first fragment holds extension headers only, the RA comes in the second.
    let headers_only = [fragment6(DESTINATION_OPTIONS, 0, true), extension(DESTINATION_OPTIONS)].concat();
    assert_eq!(judge(&mine6(FRAGMENT, &headers_only)), Err(DropReason::Malformed), "RFC 7112");
    let later = [&fragment6(ICMPV6, 8, false)[..], &ra].concat();
    assert_eq!(judge(&mine6(FRAGMENT, &later)), Ok(()), "nothing without its first fragment");
    let spoofed = ipv6((station(1).mac, station(3).v6), ALL_NODES, FRAGMENT, &later);
    assert_eq!(judge(&spoofed), Err(DropReason::SpoofedIp), "but held to its address");
    let nobody = ipv6((station(1).mac, Ipv6Addr::UNSPECIFIED), ALL_NODES, FRAGMENT, &later);
    assert_eq!(judge(&nobody), Err(DropReason::SpoofedIp));
    let echo = [&fragment6(ICMPV6, 0, true)[..], &[128, 0, 0, 0, 0, 1, 0, 1]].concat();
    assert_eq!(judge(&mine6(FRAGMENT, &echo)), Ok(()), "a large ping");
}

#[test]
fn ipv4_fragments_are_held_to_their_address_and_the_first_to_its_ports() {
    let to_vtep = Station { v4: [192, 0, 2, 2].into(), ..station(2) };
    let ports = |source: u16, destination: u16| {
        [&source.to_be_bytes()[..], &destination.to_be_bytes(), &[0, 99, 0, 0]].concat()
    };
    let (me, peer) = (station(1), station(2));
    assert_eq!(judge(&fragment4(me, peer, 0, true, &ports(1, 2))), Ok(()));
    assert_eq!(judge(&fragment4(me, peer, 8, false, b"tail")), Ok(()));
    assert_eq!(judge(&fragment4(me_at([10, 1, 0, 3]), peer, 8, false, b"tail")), Err(DropReason::SpoofedIp));
    assert_eq!(judge(&fragment4(me, to_vtep, 0, true, &ports(1, 4789))), Err(DropReason::ToVtepPort));
    assert_eq!(judge(&fragment4(me, peer, 0, true, &ports(67, 68))), Err(DropReason::DhcpServer));
    assert_eq!(
        judge(&fragment4(me, peer, 0, true, &ports(1, 2)[..7])),
        Err(DropReason::Malformed),
        "ports torn"
    );
}

#[test]
fn an_endpoint_is_no_dhcp_server_whatever_port_it_speaks_from() {
    let (me, peer) = (station(1), station(2));
    for ports in [(67, 68), (67, 9_999), (9_999, 68)] {
        assert_eq!(judge(&udp4(me, peer, ports, b"offer")), Err(DropReason::DhcpServer), "{ports:?}");
    }
    for ports in [(547, 546), (547, 9_999), (9_999, 546)] {
        assert_eq!(judge(&udp6(me, peer, ports, b"reply")), Err(DropReason::DhcpServer), "{ports:?}");
    }
    assert_eq!(judge(&udp6(me, peer, (546, 547), b"solicit")), Ok(()));
    assert_eq!(judge(&udp6(me, peer, (67, 68), b"not DHCP over IPv6")), Ok(()));
}

#[test]
fn the_tunnel_port_of_a_vtep_is_out_of_reach() {
    let me = station(1);
    assert_eq!(judge(&udp4(me, at([192, 0, 2, 2]), (1, 4789), b"x")), Err(DropReason::ToVtepPort));
    assert_eq!(judge(&udp4(me, at([192, 0, 2, 2]), (1, 53), b"x")), Ok(()), "another service of that host");
    assert_eq!(judge(&udp4(me, at([192, 0, 2, 3]), (1, 4789), b"x")), Ok(()), "another host");
    let v6 = |last| Station { v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last), ..station(9) };
    assert_eq!(judge(&udp6(me, v6(2), (1, 4789), b"x")), Err(DropReason::ToVtepPort));
    assert_eq!(judge(&udp6(me, v6(3), (1, 4789), b"x")), Ok(()));
    let no_underlay = VtepPorts::default();
    let binding = Binding { mac: me.mac, addresses: vec![me.v4.into()] };
    assert_eq!(check(&udp4(me, at([192, 0, 2, 2]), (1, 0), b"x"), &binding, &no_underlay), Ok(()));
}

#[test]
fn packets_that_contradict_themselves_are_malformed() {
    let good = udp4(station(1), station(2), (1, 2), b"x");
    for (at, value, what) in
        [(14, 0x55, "version 5"), (14, 0x44, "header of 16 bytes"), (17, 0xff, "too long")]
    {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(judge(&bad), Err(DropReason::Malformed), "{what}");
    }
    let bare = ether(station(2).mac, station(1).mac, EtherType::IPV6, &[0x60; 39]);
    assert_eq!(judge(&bare), Err(DropReason::Malformed));
}

#[test]
fn tags_hide_nothing() {
    let (good, spoofed) =
        (udp4(station(1), station(2), (1, 2), b"x"), udp4(me_at([10, 1, 0, 3]), station(2), (1, 2), b"x"));
    let twice = |frame: &[u8]| tagged(&tagged(frame, 5), 0);
    for (frame, verdict) in [(&good, Ok(())), (&spoofed, Err(DropReason::SpoofedIp))] {
        assert_eq!(judge(&tagged(frame, 5)), verdict);
        assert_eq!(judge(&twice(frame)), verdict);
        assert_eq!(judge(&tagged(&twice(frame), 0)), Err(DropReason::Malformed), "three tags");
    }
    assert_eq!(judge(&tagged(&good, 5)[..17]), Err(DropReason::Malformed), "a tag cut off");
}
