//! Packets that are odd or wrong, and what is done with their checksums.

use crate::ends::{Container, Craft};
use crate::lab::{GATEWAY, GHOST, HOST, Kind, Lab, STRANGER, Setup};
use crate::outcome::{Outcome, hold};
use crate::packet::{Packet, SYN};
use harness::frame::cookie;
use harness::wait;
use std::net::{Ipv4Addr, SocketAddrV4};

const PEER: SocketAddrV4 = SocketAddrV4::new(GHOST, 4000);

struct Scene {
    lab: Lab,
    a: Container,
    inside: Craft,
    outside: Craft,
    mapping: SocketAddrV4,
}

impl Scene {
    fn new(kind: Kind) -> Outcome<Self> {
        let lab = Lab::new(kind)?;
        let a = lab.container(11);
        let (inside, outside) = (a.silence(), lab.ghost());
        let mapping = lab.opened(&inside, &outside, a.at(6000), PEER)?;
        Ok(Scene { lab, a, inside, outside, mapping })
    }

    /// Nothing of the wrong packet leaves; the product counts it under one of these reasons.
    fn never_leaves(&self, what: &str, wrong: &[u8], reasons: &[&str]) -> Outcome {
        let before = self.lab.weft().ok().map(|daemon| daemon.stats());
        let (own, gateway) = self.inside.macs;
        self.inside.raw.send(&[&gateway[..], &own, &[0x08, 0x00], wrong].concat());
        let mark = cookie("mark");
        self.inside.send(&Packet::udp(self.a.at(6000), PEER, &mark));
        let others = self.outside.before(&mark)?;
        let own_host = |packet: &&Packet| packet.destination == GHOST || packet.destination == STRANGER;
        hold!(others.iter().find(own_host).is_none(), "{what} left as {:?}", others.iter().find(own_host));
        let (Some(before), Ok(daemon)) = (before, self.lab.weft()) else { return Ok(()) };
        let mut moved = Default::default();
        let counted = wait::within(self.lab.patience(), || {
            moved = daemon.stats().moved_since(&before);
            reasons.iter().any(|reason| moved.contains_key(*reason)).then_some(())
        });
        hold!(counted.is_some(), "{what} is not counted under any of {reasons:?}, but {moved:?} moved");
        Ok(())
    }
}

pub(crate) fn k_2_a_udp_checksum_of_zero_stays_zero(kind: Kind) -> Outcome {
    let scene = Scene::new(kind)?;
    let (out, back) = (cookie("out"), cookie("in"));
    scene.inside.send(&Packet::udp(scene.a.at(6000), PEER, &out).with_checksum(0));
    let left = scene.outside.awaits(&out)?;
    hold!(left.checksum() == Some(0), "it left with {:#x?}", left.checksum());
    scene.outside.send(&Packet::udp(PEER, scene.mapping, &back).with_checksum(0));
    let came = scene.inside.awaits(&back)?;
    hold!(came.checksum() == Some(0), "it came in with {:#x?}", came.checksum());
    Ok(())
}

pub(crate) fn k_3_no_computed_udp_checksum_is_zero(kind: Kind) -> Outcome {
    let scene = Scene::new(kind)?;
    // Two bytes of payload that make the checksum outside come to zero, which is written as 0xffff.
    let base = Packet::udp(scene.mapping, PEER, b"\0\0zero");
    let filler = base.checksum().expect("UDP");
    let payload = [&filler.to_be_bytes()[..], b"zero"].concat();
    hold!(Packet::udp(scene.mapping, PEER, &payload).checksum() == Some(0xffff), "the test is wrong");
    scene.inside.send(&Packet::udp(scene.a.at(6000), PEER, &payload));
    let left = scene.outside.awaits(&payload)?;
    hold!(left.checksum() == Some(0xffff), "it left with {:#x?}", left.checksum());
    Ok(())
}

pub(crate) fn k_1_checksums_are_right_and_a_wrong_one_stays_wrong(kind: Kind) -> Outcome {
    let scene = Scene::new(kind)?;
    for seed in 0..32u64 {
        let payload = [cookie("sum"), harness::random::Random::new(seed).bytes(seed as usize)].concat();
        scene.inside.send(&Packet::udp(scene.a.at(6000), PEER, &payload));
        let left = scene.outside.awaits(&payload)?;
        hold!(left.checksum_is_right() && left.flow() == Some((scene.mapping, PEER)), "it left as {left:?}");
        scene.outside.send(&Packet::udp(PEER, scene.mapping, &payload));
        let came = scene.inside.awaits(&payload)?;
        hold!(came.checksum_is_right(), "it came in as {came:?}");
    }
    // A translator that computes anew would make damaged bytes look whole.
    let mark = cookie("damaged");
    let good = Packet::udp(scene.a.at(6000), PEER, &mark);
    scene.inside.send(&good.clone().with_checksum(good.checksum().expect("UDP") ^ 0x0101));
    scene.inside.send(&Packet::udp(scene.a.at(6000), PEER, b"the end"));
    let left = scene.outside.before(b"the end")?;
    hold!(
        left.iter().filter(|packet| packet.carries(&mark)).all(|packet| !packet.checksum_is_right()),
        "a wrong checksum became right"
    );
    Ok(())
}

pub(crate) fn bad_source_routed_packets_are_dropped(kind: Kind) -> Outcome {
    let scene = Scene::new(kind)?;
    for option in [131, 137] {
        let [a, b, c, d] = STRANGER.octets();
        let mut packet = Packet::udp(scene.a.at(6000), PEER, b"source routed");
        packet.options = vec![option, 7, 4, a, b, c, d, 0];
        scene.never_leaves("a source-routed packet", &packet.bytes(), &["source_routed"])?;
    }
    Ok(())
}

pub(crate) fn bad_source_addresses_never_leave(kind: Kind) -> Outcome {
    let scene = Scene::new(kind)?;
    for source in [[127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255], [0, 0, 0, 0], [240, 0, 0, 1]] {
        let from = SocketAddrV4::new(Ipv4Addr::from(source), 6000);
        let packet = Packet::udp(from, PEER, b"martian");
        let reasons = ["spoofed_ip", "martian", "nat_martian"];
        scene.never_leaves(&format!("a packet from {from}"), &packet.bytes(), &reasons)?;
    }
    Ok(())
}

pub(crate) fn bad_lengths_and_header_checksums_never_leave(kind: Kind) -> Outcome {
    let scene = Scene::new(kind)?;
    let good = Packet::udp(scene.a.at(6000), PEER, b"broken").bytes();
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    let cases = [
        ("a wrong header checksum", changed(10, good[10] ^ 0x5a)),
        ("a total length beyond the frame", changed(2, 0x40)),
        ("a header length beyond the packet", changed(0, 0x4f)),
        ("a header length of 16", changed(0, 0x44)),
    ];
    for (what, bytes) in &cases {
        scene.never_leaves(what, bytes, &["malformed", "bad_ip_header"])?;
    }
    Ok(())
}

pub(crate) fn bad_ports_of_zero_never_leave(kind: Kind) -> Outcome {
    let scene = Scene::new(kind)?;
    scene.lab.weft()?;
    let zero = |ip| SocketAddrV4::new(ip, 0);
    for packet in [
        Packet::udp(zero(scene.a.ip), PEER, b"port 0"),
        Packet::udp(scene.a.at(6000), zero(GHOST), b"port 0"),
        Packet::tcp((zero(scene.a.ip), PEER), SYN, (1, 0), b""),
        Packet::tcp((scene.a.at(6000), zero(GHOST)), SYN, (1, 0), b""),
    ] {
        scene.never_leaves("a packet with port 0", &packet.bytes(), &["malformed", "bad_transport"])?;
    }
    Ok(())
}

pub(crate) fn bad_answers_to_nobody_do_not_come_in(kind: Kind) -> Outcome {
    let scene = Scene::new(kind)?;
    let mark = cookie("mark");
    // To inside addresses directly, by whoever shares the wire with the host.
    let direct = Packet::udp(PEER, scene.a.at(6000), b"untranslated");
    scene.outside.send(&direct);
    // To the container's own port number on the outside address, without a mapping for it.
    if scene.mapping.port() != 6000 {
        scene.outside.send(&Packet::udp(PEER, SocketAddrV4::new(HOST, 6000), b"unmapped"));
    }
    scene.outside.send(&Packet::udp(PEER, scene.mapping, &mark));
    let before = scene.inside.before(&mark)?;
    let came = before.iter().find(|packet| packet.carries(b"untranslated") || packet.carries(b"unmapped"));
    hold!(came.is_none(), "{came:?} came in");
    Ok(())
}

pub(crate) fn bad_sources_from_outside_do_not_come_in(kind: Kind) -> Outcome {
    // Whoever may send may come in, so that filtering hides nothing.
    let options = ["-o", "filtering=endpoint-independent"];
    let lab = Lab::with(kind, Setup { options: &options, ..Setup::default() })?;
    let a = lab.container(11);
    let (inside, outside) = (a.silence(), lab.ghost());
    let mapping = lab.opened(&inside, &outside, a.at(6000), PEER)?;
    let mark = cookie("mark");
    let sources = [a.ip, GATEWAY, HOST, [127, 0, 0, 1].into(), [224, 0, 0, 1].into(), [0, 0, 0, 0].into()];
    for source in sources {
        outside.send(&Packet::udp(SocketAddrV4::new(source, 4000), mapping, b"martian"));
    }
    outside.send(&Packet::udp(SocketAddrV4::new(GHOST, 0), mapping, b"martian"));
    outside.send(&Packet::udp(PEER, mapping, &mark));
    let before = inside.before(&mark)?;
    let came: Vec<_> = before.iter().filter(|packet| packet.carries(b"martian")).collect();
    hold!(came.is_empty(), "{came:?} came in");
    Ok(())
}

pub(crate) fn bad_ttl_ends_and_the_others_count_down(kind: Kind) -> Outcome {
    let scene = Scene::new(kind)?;
    let (out, back) = (cookie("out"), cookie("in"));
    scene.inside.send(&Packet { ttl: 9, ..Packet::udp(scene.a.at(6000), PEER, &out) });
    let left = scene.outside.awaits(&out)?;
    hold!(left.ttl == 8, "a TTL of 9 left as {}", left.ttl);
    scene.outside.send(&Packet { ttl: 9, ..Packet::udp(PEER, scene.mapping, &back) });
    let came = scene.inside.awaits(&back)?;
    hold!(came.ttl == 8, "a TTL of 9 came in as {}", came.ttl);
    Ok(())
}
