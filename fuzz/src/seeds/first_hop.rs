//! Short histories of a host that routes and translates.

use etherparse::{IpFragOffset, Ipv4Header, PacketBuilder};

use super::Seed;
use crate::first_hop::{AS_ADDRESSED, LATER, LINK, PARTIAL, SUPER};
use crate::world::{mac, v4, v6};

type Bytes = [u8; 4];

const PEER: Bytes = [8, 8, 8, 8];
const OUTSIDE: Bytes = [203, 0, 113, 1];

/// One frame of a history.
fn step(how: u8, frame: &[u8]) -> Vec<u8> {
    [&[how][..], &(frame.len() as u16).to_be_bytes(), frame].concat()
}

fn udp(n: u8, from: Bytes, to: Bytes, ports: (u16, u16), len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(mac(n).0, mac(100).0).ipv4(from, to, 64);
    builder.udp(ports.0, ports.1).write(&mut frame, &vec![7; len]).expect("room for it");
    frame
}

fn tcp(from: Bytes, to: Bytes, len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(mac(1).0, mac(100).0).ipv4(from, to, 64);
    builder.tcp(5_000, 80, 1, 9_000).syn().write(&mut frame, &vec![7; len]).expect("room for it");
    frame
}

fn with(mut frame: Vec<u8>, change: impl Fn(&mut Ipv4Header)) -> Vec<u8> {
    let (mut header, _) = Ipv4Header::from_slice(&frame[14..]).expect("an IPv4 packet");
    change(&mut header);
    header.header_checksum = header.calc_header_checksum();
    let bytes = header.to_bytes();
    frame[14..14 + bytes.len()].copy_from_slice(&bytes);
    frame
}

/// The frames that any endpoint may send, to the gateway and as they are, and what only a router is asked.
pub(super) fn seeds(frames: Vec<Seed>) -> Vec<Seed> {
    let me = v4(1).octets();
    let out = |to| udp(1, me, to, (5_000, 53), 20);
    let part = |at: u16, more| {
        with(udp(1, me, PEER, (5_000, 53), 24), |header| {
            header.identification = 9;
            header.dont_fragment = false;
            header.more_fragments = more;
            header.fragment_offset = IpFragOffset::try_new(at).expect("it fits");
        })
    };
    let mut out6 = Vec::new();
    let to6 = [0x20, 1, 0x48, 0x60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8];
    let builder = PacketBuilder::ethernet2(mac(1).0, mac(100).0).ipv6(v6(1).octets(), to6, 64);
    builder.udp(5_000, 53).write(&mut out6, b"x").expect("room for it");
    let from_peer = |to, ports| udp(101, PEER, to, ports, 20);
    let back: Vec<u8> =
        (40_000..40_004).flat_map(|port| step(LINK, &from_peer(OUTSIDE, (53, port)))).collect();
    let own = [
        ("out_and_back", [step(0, &out(PEER)), back].concat()),
        ("out_by_ipv6", step(0, &out6)),
        ("to_a_hop_that_is_not_resolved", step(0, &out([198, 51, 100, 9]))),
        ("too_long", step(0, &with(udp(1, me, [198, 18, 0, 1], (1, 2), 900), |h| h.dont_fragment = true))),
        ("cut", step(0, &with(udp(1, me, [198, 18, 0, 1], (1, 2), 900), |h| h.dont_fragment = false))),
        ("super_frame", step(SUPER, &tcp(me, PEER, 3_000))),
        ("super_frame_cut", step(SUPER, &with(tcp(me, [198, 18, 0, 1], 3_000), |h| h.dont_fragment = false))),
        ("partial", step(PARTIAL, &tcp(me, PEER, 100))),
        ("no_hop_left", step(0, &with(out(PEER), |header| header.time_to_live = 1))),
        ("to_the_other_network", step(0, &out([10, 2, 0, 3]))),
        ("to_the_gateway", step(0, &out(v4(254).octets()))),
        ("to_a_martian", step(0, &out([127, 0, 0, 1]))),
        ("to_a_published_port", step(LINK, &from_peer(OUTSIDE, (999, 80)))),
        ("hairpin", step(0, &udp(1, me, OUTSIDE, (5_000, 80), 20))),
        ("hairpin_from_a_routed_network", step(2, &udp(3, [10, 2, 0, 3], OUTSIDE, (5_000, 80), 20))),
        (
            "routed",
            [
                step(2, &udp(3, [10, 2, 0, 3], PEER, (1, 2), 20)),
                step(LINK, &from_peer([10, 2, 0, 3], (2, 1))),
            ]
            .concat(),
        ),
        (
            "too_long_for_the_routed",
            step(LINK, &with(udp(101, PEER, [10, 2, 0, 3], (2, 1), 1_420), |h| h.dont_fragment = true)),
        ),
        ("fragments_out_of_order", [step(0, &part(4, false)), step(0, &part(0, true))].concat()),
        ("fragments_given_up", [step(0, &part(4, false)), step(LATER, &out(PEER))].concat()),
    ];
    let own = own.into_iter().map(|(name, history)| (name.to_owned(), history));
    let any = |(name, frame): Seed| (name, [step(0, &frame), step(AS_ADDRESSED, &frame)].concat());
    frames.into_iter().map(any).chain(own).collect()
}
