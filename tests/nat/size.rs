//! Packets larger than a link, and packets in pieces (RFC 4787 REQ-13, REQ-14; RFC 5722; CVE-2021-24086 and its kin).

use crate::ends::{Container, Craft};
use crate::lab::{GATEWAY, GATEWAY6, GHOST, HOST, Kind, Lab, SERVER6, SERVERS, STRANGER, Setup, places};
use crate::outcome::{OrBreaks, Outcome, hold};
use crate::packet::{Packet, UNREACHABLE};
use crate::sockets::{accept, connect_from, listen, talks};
use harness::datagram;
use harness::frame::{self, cookie};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

const PORT: u16 = 6000;
const NARROW: u16 = 1300;

fn narrow() -> Setup<'static> {
    Setup { mtu: Some(NARROW), ..Setup::default() }
}

pub(crate) fn u_13_a_datagram_with_df_too_big_for_the_uplink_is_answered(kind: Kind) -> Outcome {
    let lab = Lab::with(kind, narrow())?;
    let a = lab.container(11);
    let (inside, outside) = (a.silence(), lab.ghost());
    let to = SocketAddrV4::new(GHOST, 4000);
    let mut large = Packet::udp(a.at(PORT), to, &[7; 1400]);
    large.dont_fragment = true;
    inside.send(&large);
    let told = inside.wait_for("an answer", |packet| packet.kind().is_some())?;
    hold!(told.kind() == Some((UNREACHABLE, 4)), "the answer is ICMP {:?}", told.kind());
    hold!(told.payload[6..8] == NARROW.to_be_bytes(), "it tells an MTU of {:?}", &told.payload[6..8]);
    hold!(told.source == GATEWAY && told.destination == a.ip && told.checksum_is_right(), "{told:?}");
    let embedded = told.embedded().or_breaks("it embeds no packet")?;
    hold!(embedded.flow() == large.flow(), "it embeds {:?}", embedded.flow());
    inside.send(&Packet::udp(a.at(PORT), to, b"small enough"));
    let before = outside.before(b"small enough")?;
    hold!(before.iter().all(|packet| packet.destination != GHOST), "some of it left all the same");
    Ok(())
}

pub(crate) fn u_13_the_mtu_told_fits_and_tcp_gets_through(kind: Kind) -> Outcome {
    let lab = Lab::with(kind, narrow())?;
    let a = lab.container(11);
    let [a_end, far_end] = [(&a.ns, a.ip), (lab.server(), SERVERS[0])]
        .map(|(ns, ip)| harness::traffic::End { ns, ip: ip.into() });
    harness::traffic::tcp_bulk(a_end, far_end, 1 << 20);
    Ok(())
}

pub(crate) fn u_13_a_datagram_with_df_too_big_for_the_network_is_answered_outside(kind: Kind) -> Outcome {
    let lab = Lab::with(kind, Setup { options: &["--mtu", "1300"], ..Setup::default() })?;
    let a = lab.container(11);
    let (inside, outside) = (a.silence(), lab.ghost());
    let peer = SocketAddrV4::new(GHOST, 4000);
    let mapping = lab.opened(&inside, &outside, a.at(PORT), peer)?;
    let mut large = Packet::udp(peer, mapping, &[7; 1400]);
    large.dont_fragment = true;
    outside.send(&large);
    let told = outside.wait_for("an answer", |packet| packet.kind().is_some())?;
    hold!(told.kind() == Some((UNREACHABLE, 4)), "the answer is ICMP {:?}", told.kind());
    hold!(told.payload[6..8] == NARROW.to_be_bytes(), "it tells an MTU of {:?}", &told.payload[6..8]);
    hold!(told.source == HOST && told.destination == GHOST && told.checksum_is_right(), "{told:?}");
    let embedded = told.embedded().or_breaks("it embeds no packet")?;
    hold!(embedded.flow() == large.flow(), "it embeds {:?}", embedded.flow());
    Ok(())
}

pub(crate) fn u_13a_a_datagram_without_df_is_cut_in_order(kind: Kind) -> Outcome {
    let lab = Lab::with(kind, narrow())?;
    let a = lab.container(11);
    let (inside, outside) = (a.silence(), lab.ghost());
    let server = lab.server_udp(places()[0]);
    let payload = datagram::write(1, 1400);
    inside.send(&Packet::udp(a.at(PORT), crate::lab::v4(places()[0]), &payload));
    server.awaits(&payload)?;
    let pieces: Vec<u16> = std::iter::from_fn(|| outside.raw.next_within(Duration::ZERO))
        .filter_map(|bytes| Packet::in_frame(&bytes))
        .filter(|packet| packet.destination == SERVERS[0] && (packet.more || packet.offset > 0))
        .map(|packet| packet.offset)
        .collect();
    hold!(pieces.len() >= 2 && pieces.is_sorted(), "the pieces came at {pieces:?}");
    Ok(())
}

pub(crate) fn u_14_large_datagrams_pass_both_ways(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let (client, server) = (lab.udp(&a, PORT), &lab.servers()[0]);
    let seen = lab.seen(&client, server)?;
    for size in [1472, 1473, 3000, 20_000, 65_507] {
        let (there, back) = (datagram::write(1, size), datagram::write(2, size));
        client.send(server.address(), &there)?;
        let from = server.awaits(&there)?;
        hold!(from == seen, "{size} bytes came from {from}, not {seen}");
        server.send(seen, &back)?;
        client.awaits(&back)?;
    }
    Ok(())
}

/// A crafted container and a server that is real, with a mapping between them.
struct Pieces {
    lab: Lab,
    a: Container,
    craft: Craft,
    outside: Craft,
}

impl Pieces {
    fn new(kind: Kind) -> Outcome<Self> {
        let lab = Lab::new(kind)?;
        let a = lab.container(11);
        let (craft, outside) = (a.craft(), lab.ghost());
        Ok(Pieces { lab, a, craft, outside })
    }
}

/// The order in which four pieces are sent: the last first, the first last, and a mix.
const ORDERS: [[usize; 4]; 3] = [[3, 2, 1, 0], [1, 2, 3, 0], [2, 0, 3, 1]];

pub(crate) fn u_14_pieces_out_of_order_leave_whole(kind: Kind) -> Outcome {
    let rig = Pieces::new(kind)?;
    let server = rig.lab.server_udp(places()[0]);
    let mut seen = Vec::new();
    for (id, order) in (1..).zip(ORDERS) {
        let payload = datagram::write(u64::from(id), 1500);
        let mut whole = Packet::udp(rig.a.at(PORT), crate::lab::v4(places()[0]), &payload);
        whole.id = id;
        let pieces = whole.fragments(400);
        order.iter().for_each(|number| rig.craft.send(&pieces[*number]));
        seen.push(server.awaits(&payload)?);
    }
    hold!(seen.iter().all(|from| *from == seen[0]), "they came from {seen:?}");
    Ok(())
}

pub(crate) fn rfc6864_pieces_of_two_containers_with_one_identification_are_told_apart(kind: Kind) -> Outcome {
    let rig = Pieces::new(kind)?;
    let b = rig.lab.container(12);
    let (other, to) = (b.craft(), SocketAddrV4::new(GHOST, 4000));
    let marks = [cookie("one"), cookie("other")];
    let cut = |from, mark: &[u8]| Packet::udp(from, to, &[mark, &[7; 1000], mark].concat()).fragments(400);
    for (a, b) in cut(rig.a.at(PORT), &marks[0]).iter().zip(cut(b.at(PORT), &marks[1])) {
        rig.craft.send(a);
        other.send(&b);
    }
    let mut pieces: Vec<Packet> = Vec::new();
    while pieces.len() < 6 {
        let of_ours = |packet: &Packet| packet.destination == GHOST && (packet.more || packet.offset > 0);
        pieces.push(rig.outside.wait_for("a piece", of_ours)?);
    }
    let (one, rest): (Vec<_>, Vec<_>) = pieces.iter().partition(|piece| piece.id == pieces[0].id);
    hold!(one.len() == 3 && rest.len() == 3, "of one datagram there are {} pieces", one.len());
    for datagram in [one, rest] {
        hold!(datagram.iter().all(|piece| piece.id == datagram[0].id), "{datagram:?} have several");
        let of = |mark: &[u8]| datagram.iter().filter(|piece| piece.carries(mark)).count();
        let counts = [of(&marks[0]), of(&marks[1])];
        hold!(counts == [2, 0] || counts == [0, 2], "a datagram holds pieces of both");
    }
    Ok(())
}

pub(crate) fn u_14_pieces_out_of_order_come_in_whole(kind: Kind) -> Outcome {
    let rig = Pieces::new(kind)?;
    let (client, server) = (rig.lab.udp(&rig.a, PORT), rig.lab.server_udp(places()[0]));
    let seen = crate::lab::v4(rig.lab.seen(&client, &server)?);
    for (id, order) in (1..).zip(ORDERS) {
        let payload = datagram::write(u64::from(id), 1500);
        let mut whole = Packet::udp(crate::lab::v4(places()[0]), seen, &payload);
        whole.id = id;
        let pieces = whole.fragments(400);
        order.iter().for_each(|number| rig.outside.send(&pieces[*number]));
        let from = client.awaits(&payload)?;
        hold!(from == places()[0], "it came from {from}");
    }
    Ok(())
}

pub(crate) fn u_14a_overlapping_pieces_are_not_delivered_and_harm_nobody(kind: Kind) -> Outcome {
    let rig = Pieces::new(kind)?;
    let (client, server) = (rig.lab.udp(&rig.a, PORT), rig.lab.server_udp(places()[0]));
    let seen = crate::lab::v4(rig.lab.seen(&client, &server)?);
    let lie = datagram::write(1, 1200);
    let whole = Packet::udp(crate::lab::v4(places()[0]), seen, &lie);
    let mut pieces = whole.fragments(400);
    // The second starts eight bytes early, with other bytes.
    let early = Packet {
        offset: 392,
        payload: [&[0xee; 8], pieces[1].payload.as_slice()].concat(),
        ..pieces[1].clone()
    };
    pieces.insert(1, early);
    pieces.iter().for_each(|piece| rig.outside.send(piece));
    // Pieces of datagrams that never come whole: a few of the peer's, many of somebody else's.
    for id in 0x5000..0x5200 {
        let mut lone = pieces[2].clone();
        lone.id = id;
        lone.source = if id < 0x5010 { lone.source } else { STRANGER };
        rig.outside.send(&lone);
    }
    let mut good = Packet::udp(crate::lab::v4(places()[0]), seen, &datagram::write(2, 1500));
    good.id = 0x77;
    good.fragments(800).iter().rev().for_each(|piece| rig.outside.send(piece));
    let before = client.before(&datagram::write(2, 1500))?;
    hold!(before.is_empty(), "{} datagrams were made of pieces that overlap", before.len());
    Ok(())
}

pub(crate) fn u_14a_pieces_of_many_strangers_do_not_stop_large_datagrams(kind: Kind) -> Outcome {
    let rig = Pieces::new(kind)?;
    let (client, server) = (rig.lab.udp(&rig.a, PORT), rig.lab.server_udp(places()[0]));
    let seen = rig.lab.seen(&client, &server)?;
    let pieces = Packet::udp(crate::lab::v4(places()[0]), crate::lab::v4(seen), &[1; 1200]).fragments(400);
    for number in 0..3_000u16 {
        let mut lone = pieces[1].clone();
        lone.id = number;
        lone.source = Ipv4Addr::new(198, 18, 0, number as u8);
        rig.outside.send(&lone);
    }
    for size in [2_000, 8_000, 30_000] {
        let (there, back) = (datagram::write(1, size), datagram::write(2, size));
        client.send(server.address(), &there)?;
        server.awaits(&there)?;
        server.send(seen, &back)?;
        client.awaits(&back)?;
    }
    Ok(())
}

pub(crate) fn u_14_large_pings_come_back_in_pieces(kind: Kind) -> Outcome {
    let rig = Pieces::new(kind)?;
    let mark = [cookie("large"), vec![3; 2000]].concat();
    let request = Packet::echo(rig.a.ip, GHOST, 99, &mark);
    request.fragments(800).iter().rev().for_each(|piece| rig.craft.send(piece));
    let pieces: Vec<Packet> = (0..3)
        .map(|_| rig.outside.wait_for("a piece of a ping", |packet| packet.destination == GHOST))
        .collect::<Outcome<_>>()?;
    let first = pieces.iter().find(|piece| piece.offset == 0).or_breaks("no first piece came")?;
    let mut whole = first.clone();
    let mut sorted: Vec<&Packet> = pieces.iter().collect();
    sorted.sort_by_key(|piece| piece.offset);
    whole.payload = sorted.iter().flat_map(|piece| piece.payload.clone()).collect();
    hold!(whole.checksum_is_right() && whole.carries(&mark), "the pieces do not make the ping");
    Ok(())
}

pub(crate) fn u_13_over_ipv6_packet_too_big_tells_the_mtu(kind: Kind) -> Outcome {
    let lab = Lab::with(kind, narrow())?;
    let a = lab.container(11);
    let craft = a.craft();
    let to = (lab.gateway_mac(), SERVER6);
    craft.raw.send(&frame::udp6((craft.macs.0, a.ip6), to, (PORT, 7001), &[7; 1400]));
    let (source, mtu) = crate::gateway::awaits6(&craft, "packet too big", |source, message| {
        (message[0] == 2)
            .then(|| (source, u32::from_be_bytes([message[4], message[5], message[6], message[7]])))
    })?;
    hold!(mtu == u32::from(NARROW), "it tells an MTU of {mtu}");
    hold!(source == GATEWAY6, "it came from {source}");
    let listener = listen(lab.server(), SocketAddr::from((SERVER6, 7001)));
    let mut near = connect_from(&a.ns, (a.ip6, 0).into(), (SERVER6, 7001).into(), lab.patience())?;
    let (mut far, _) = accept(&listener, lab.patience())?;
    talks(&mut near, &mut far)
}
