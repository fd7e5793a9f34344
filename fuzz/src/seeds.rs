//! Inputs to start from: one good packet of each kind, and the ways of being bad that have names.

use etherparse::{Icmpv6Type, IpFragOffset, IpNumber, Ipv4Header, PacketBuilder};

use crate::mutate::Mutator;
use crate::world::{VNIS, VTEPS, mac, v4, v6};

mod first_hop;
mod rewrite;

/// A named input.
pub type Seed = (String, Vec<u8>);

/// The seeds of `target`.
#[must_use]
pub fn of(target: &str) -> Vec<Seed> {
    let frames = frames();
    match target {
        "parse" => frames.into_iter().chain(vxlan_headers()).collect(),
        "from_port" => {
            let ports = |(name, frame): Seed| {
                [(0u8, "dropping_tags"), (2, "passing_tags")]
                    .map(|(port, what)| (format!("{name}_{what}"), [&[port], &frame[..]].concat()))
            };
            frames.into_iter().flat_map(ports).collect()
        }
        "decap" => decap(&frames),
        "gateway" => gateway(frames),
        "first_hop" => first_hop::seeds(frames),
        "vnet" => vnet(),
        "fdb_history" => histories(),
        "rewrite" => rewrite::seeds(),
        _ => Vec::new(),
    }
}

/// Frames that endpoint 1 sends.
fn frames() -> Vec<Seed> {
    let udp = udp4(2_000, b"payload");
    let tagged = |times: usize| {
        let mut frame = udp.clone();
        (0..times).for_each(|_| drop(frame.splice(12..12, [0x81, 0, 0, 0])));
        frame
    };
    let mut frames = vec![
        ("udp4", udp.clone()),
        ("udp4_to_a_vtep", to_vtep()),
        ("udp6", udp6(1_000, 2_000)),
        ("dhcpv6_reply", udp6(547, 546)),
        ("tcp4", tcp4(b"payload")),
        ("tcp6", tcp6(b"payload")),
        ("arp_request", arp(1)),
        ("arp_reply", arp(2)),
        ("echo4", echo4()),
        ("neighbor_solicit", nd(135, &v6(2).octets(), 1)),
        ("neighbor_advert", nd(136, &v6(1).octets(), 2)),
        ("router_advert", nd(134, &[0; 8], 1)),
        ("redirect", nd(137, &[0; 32], 2)),
        ("router_advert_behind_options", hidden(60, [58, 0, 1, 4, 0, 0, 0, 0])),
        ("router_advert_in_an_atomic_fragment", hidden(44, [58, 0, 0, 0, 0, 0, 0, 1])),
        ("router_advert_in_a_later_fragment", hidden(44, [58, 0, 0, 8, 0, 0, 0, 1])),
        ("first_fragment", fragment(0, true)),
        ("last_fragment", fragment(8, false)),
        ("one_tag", tagged(1)),
        ("two_tags", tagged(2)),
        ("broadcast", ether([0xff; 6], b"hello")),
        ("bridge_group", ether([1, 0x80, 0xc2, 0, 0, 0], b"bpdu")),
        ("header_only", ether(mac(2).0, b"")),
        ("a_byte_short", ether(mac(2).0, b"")[..13].to_vec()),
    ];
    frames.push(("spoofed_mac", [&udp[..6], &mac(2).0, &udp[12..]].concat()));
    frames.into_iter().map(|(name, frame)| (name.to_owned(), frame)).collect()
}

fn vxlan_headers() -> Vec<Seed> {
    let header = |flags: u8| [&[flags, 0, 0, 0, 1, 2, 3, 0][..], &ether([0xff; 6], b"inner")].concat();
    [("vxlan", header(8)), ("vxlan_without_vni", header(0)), ("vxlan_all_bits", header(0xff))]
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .into()
}

/// The frames as the datagrams of a stranger behind a VTEP, and headers that are bad.
fn decap(frames: &[Seed]) -> Vec<Seed> {
    let datagram = |who: u8, ecn: u8, flags: u8, vni: u32, frame: &[u8]| {
        let [_, a, b, c] = vni.to_be_bytes();
        let mut inner = frame.to_vec();
        if inner.len() >= 12 && inner[6..12] == mac(1).0 {
            inner[..6].copy_from_slice(&mac(2).0);
            inner[6..12].copy_from_slice(&[2, 9, 9, 9, 9, 9]);
        }
        [&[who, ecn, flags, 0, 0, 0, a, b, c, 0][..], &inner].concat()
    };
    let mut seeds: Vec<Seed> =
        frames.iter().map(|(name, frame)| (name.clone(), datagram(0, 0, 8, VNIS[0], frame))).collect();
    let udp = udp4(2_000, b"payload");
    let large: Vec<u8> = (0..1_800).map(|n| n as u8).collect();
    let mut partial = tcp4(&large);
    let sum = pseudo(&partial).to_be_bytes();
    partial[50..52].copy_from_slice(&sum);
    for (name, bytes) in [
        ("tags_allowed", datagram(1, 0, 8, VNIS[1], &[&udp[..12], &[0x81, 0, 0, 5], &udp[12..]].concat())),
        ("unknown_vni", datagram(0, 0, 8, 77, &udp)),
        ("unknown_vtep", datagram(3, 0, 8, VNIS[0], &udp)),
        ("no_vni_flag", datagram(0, 0, 0xf7, VNIS[0], &udp)),
        ("congestion_on_not_ect", datagram(0, 3, 8, VNIS[0], &udp)),
        ("congestion_on_ect", datagram(0, 3, 8, VNIS[0], &with_ecn(udp.clone(), 2))),
        ("super_frame_complete", datagram(0, 0, 8, VNIS[0], &tcp4(&large))),
        ("super_frame_partial", datagram(0, 0, 8, VNIS[0], &partial)),
        ("oversize_udp", datagram(0, 0, 8, VNIS[0], &udp4(2_000, &large))),
        ("empty", vec![0, 0]),
    ] {
        seeds.push((name.to_owned(), bytes));
    }
    seeds
}

/// The frames before links of several widths, and what only a gateway looks into.
fn gateway(frames: Vec<Seed>) -> Vec<Seed> {
    let with_options = |more: bool, options: &[u8], payload: usize| {
        let mut header = Ipv4Header::new(payload as u16, 64, IpNumber::UDP, v4(1).octets(), v4(2).octets())
            .expect("it fits");
        header.options = options.try_into().expect("words");
        (header.dont_fragment, header.more_fragments) = (false, more);
        header.header_checksum = header.calc_header_checksum();
        [&mac(2).0[..], &mac(1).0, &[8, 0], &header.to_bytes(), &vec![7; payload]].concat()
    };
    let mut probe = arp(1);
    probe[28..32].fill(0);
    let own = [
        ("arp_probe", probe),
        ("neighbor_solicit_checked", solicit(v6(1).octets(), &[1, 1, 2, 0x42, 10, 1, 0, 1])),
        ("duplicate_address_detection", solicit([0; 16], &[])),
        ("echo6", echo6()),
        ("long_with_options", with_options(false, &[7, 7, 4, 0, 0, 0, 0, 1, 148, 4, 0, 0], 400)),
        ("long_middle_fragment", with_options(true, &[], 400)),
        ("source_route", with_options(false, &[131, 3, 4, 0], 16)),
    ];
    let own = own.into_iter().map(|(name, frame)| (name.to_owned(), frame));
    let widths = |(name, frame): Seed| (name, [&[0, 100], &frame[..]].concat());
    frames.into_iter().chain(own).map(widths).collect()
}

fn vnet() -> Vec<Seed> {
    let header = |flags: u8, kind: u8, len: u16, size: u16, start: u16, offset: u16| {
        let mut header = vec![flags, kind];
        for field in [len, size, start, offset, 0] {
            header.extend(field.to_le_bytes());
        }
        header
    };
    let (large, udp): (Vec<u8>, _) = ((0..1_000).map(|n| n as u8).collect(), udp4(2_000, b"payload"));
    let tag = |frame: Vec<u8>| [&frame[..12], &[0x81, 0, 0, 5], &frame[12..]].concat();
    [
        ("nothing_owed", header(0, 0, 0, 0, 0, 0), udp.clone()),
        ("verified", header(2, 0, 0, 0, 0, 0), udp.clone()),
        ("partial_udp4", header(1, 0, 0, 0, 34, 6), udp.clone()),
        ("partial_udp6", header(1, 0, 0, 0, 54, 6), udp6(1_000, 2_000)),
        ("partial_tcp4", header(1, 0, 0, 0, 34, 16), tcp4(b"payload")),
        ("partial_echo6", header(1, 0, 0, 0, 54, 2), nd(135, &v6(2).octets(), 1)),
        ("partial_in_a_tunnel", header(1, 0, 0, 0, 44, 2), udp4(2_000, &large)),
        ("partial_over_an_address", header(1, 0, 0, 0, 12, 14), udp.clone()),
        ("partial_beyond_the_end", header(1, 0, 0, 0, 60, 60), udp),
        ("tso4", header(1, 1, 54, 100, 34, 16), tcp4(&large)),
        ("tso4_ecn", header(1, 0x81, 54, 100, 34, 16), tcp4(&large)),
        ("tso4_tagged", header(1, 1, 58, 100, 38, 16), tag(tcp4(&large))),
        ("tso6", header(1, 4, 74, 100, 54, 16), tcp6(&large)),
        ("uso4", header(1, 5, 42, 100, 34, 6), udp4(2_000, &large)),
        ("tso4_of_one_segment", header(1, 1, 54, 2_000, 34, 16), tcp4(&large)),
        ("tso4_of_too_many", header(1, 1, 54, 1, 34, 16), tcp4(&[0; 1_100])),
        ("tso4_on_udp", header(1, 1, 54, 100, 34, 16), udp4(2_000, &large)),
        ("tso4_complete", header(0, 1, 54, 100, 34, 16), tcp4(&large)),
        ("ufo", header(1, 3, 42, 100, 34, 6), udp4(2_000, &large)),
    ]
    .map(|(name, header, frame)| (name.to_owned(), [header, frame].concat()))
    .into()
}

fn histories() -> Vec<Seed> {
    let mut random = Mutator::new(1);
    let mut seeds: Vec<Seed> = (0..16)
        .map(|n| (format!("random_{n}"), (0..(n + 1) * 64).map(|_| random.byte()).collect()))
        .collect();
    let flap: Vec<u8> =
        (0..12).flat_map(|n| [0, 1, 4 + n % 2, 0]).chain([9, 0, 0, 181, 0, 1, 4, 0]).collect();
    let flood: Vec<u8> = (0..32).flat_map(|n| [0, n, 1, 0]).collect();
    let age = [
        [0, 1, 1, 0],
        [9, 0, 0, 200],
        [6, 1, 1, 0],
        [9, 0, 0, 200],
        [12, 0, 0, 0],
        [9, 0, 0, 250],
        [12, 0, 0, 0],
    ];
    seeds.extend([
        ("flapping".to_owned(), flap),
        ("flood".to_owned(), flood),
        ("ageing".to_owned(), age.concat()),
    ]);
    seeds
}

fn written<E: std::fmt::Debug>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame).expect("into memory");
    frame
}

fn ether(to: [u8; 6], payload: &[u8]) -> Vec<u8> {
    [&to[..], &mac(1).0, &[0x88, 0xb5], payload].concat()
}

fn udp4(port: u16, payload: &[u8]) -> Vec<u8> {
    let link = PacketBuilder::ethernet2(mac(1).0, mac(2).0);
    written(|out| link.ipv4(v4(1).octets(), v4(2).octets(), 64).udp(1_000, port).write(out, payload))
}

fn to_vtep() -> Vec<u8> {
    let link = PacketBuilder::ethernet2(mac(1).0, mac(2).0);
    written(|out| link.ipv4(v4(1).octets(), VTEPS[0].octets(), 64).udp(1_000, 4_789).write(out, b"forged"))
}

fn udp6(from: u16, to: u16) -> Vec<u8> {
    let link = PacketBuilder::ethernet2(mac(1).0, mac(2).0);
    written(|out| link.ipv6(v6(1).octets(), v6(2).octets(), 64).udp(from, to).write(out, b"payload"))
}

fn tcp4(payload: &[u8]) -> Vec<u8> {
    let link = PacketBuilder::ethernet2(mac(1).0, mac(2).0);
    written(|out| {
        link.ipv4(v4(1).octets(), v4(2).octets(), 64).tcp(1_000, 80, 1, 512).ack(1).psh().write(out, payload)
    })
}

fn tcp6(payload: &[u8]) -> Vec<u8> {
    let link = PacketBuilder::ethernet2(mac(1).0, mac(2).0);
    written(|out| {
        link.ipv6(v6(1).octets(), v6(2).octets(), 64).tcp(1_000, 80, 1, 512).ack(1).psh().write(out, payload)
    })
}

fn echo4() -> Vec<u8> {
    let link = PacketBuilder::ethernet2(mac(1).0, mac(2).0);
    let ip = link.ipv4(v4(1).octets(), v4(2).octets(), 64);
    written(|out| ip.icmpv4_echo_request(1, 2).write(out, b"ping"))
}

fn echo6() -> Vec<u8> {
    let link = PacketBuilder::ethernet2(mac(1).0, mac(2).0);
    let ip = link.ipv6(v6(1).octets(), v6(2).octets(), 64);
    written(|out| ip.icmpv6_echo_request(1, 2).write(out, b"ping"))
}

/// Who has the second endpoint's address, asked as a stack does.
fn solicit(source: [u8; 16], option: &[u8]) -> Vec<u8> {
    let message = Icmpv6Type::Unknown { type_u8: 135, code_u8: 0, bytes5to8: [0; 4] };
    let link = PacketBuilder::ethernet2(mac(1).0, [0x33, 0x33, 0xff, 0, 0, 2]);
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 2];
    let body = [&v6(2).octets()[..], option].concat();
    written(|out| link.ipv6(source, group, 255).icmpv6(message).write(out, &body))
}

fn arp(operation: u8) -> Vec<u8> {
    let head = [&[0xff; 6][..], &mac(1).0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]].concat();
    [&head[..], &mac(1).0, &v4(1).octets(), &[0; 6], &v4(2).octets()].concat()
}

/// A neighbour discovery message with the option that gives the speaker's MAC.
fn nd(kind: u8, body: &[u8], option: u8) -> Vec<u8> {
    let message = Icmpv6Type::Unknown { type_u8: kind, code_u8: 0, bytes5to8: [0; 4] };
    let link = PacketBuilder::ethernet2(mac(1).0, [0x33, 0x33, 0, 0, 0, 1]);
    let all_nodes = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let body = [body, &[option, 1], &mac(1).0].concat();
    written(|out| link.ipv6(v6(1).octets(), all_nodes, 255).icmpv6(message).write(out, &body))
}

/// A router advertisement behind an extension header.
fn hidden(next: u8, header: [u8; 8]) -> Vec<u8> {
    let mut frame = nd(134, &[0; 8], 1);
    frame[19] += 8;
    frame[20] = next;
    frame.splice(54..54, header);
    frame
}

fn fragment(offset: u16, more: bool) -> Vec<u8> {
    let mut header = Ipv4Header::new(16, 64, IpNumber::UDP, v4(1).octets(), v4(2).octets()).expect("it fits");
    header.more_fragments = more;
    header.fragment_offset = IpFragOffset::try_new(offset / 8).expect("13 bits");
    header.header_checksum = header.calc_header_checksum();
    [&mac(2).0[..], &mac(1).0, &[8, 0], &header.to_bytes(), &[7; 16]].concat()
}

fn with_ecn(mut frame: Vec<u8>, ecn: u8) -> Vec<u8> {
    let mut header = Ipv4Header::from_slice(&frame[14..]).expect("just written").0;
    header.ecn = ecn.try_into().expect("two bits");
    header.header_checksum = header.calc_header_checksum();
    frame[14..34].copy_from_slice(&header.to_bytes());
    frame
}

/// The sum of the pseudo header of an IPv4 frame, as a stack leaves it in the checksum field.
fn pseudo(frame: &[u8]) -> u16 {
    let words = frame[26..34].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum = words.sum::<u32>() + u32::from(frame[23]) + (frame.len() - 34) as u32;
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
