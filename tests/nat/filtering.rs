//! Who may come in, and what nobody may take from the host (RFC 4787 section 5, RFC 5382 section 4.3; CVE-2021-3773).

use crate::ends::{Container, Craft};
use crate::lab::{GHOST, HOST, Kind, Lab, Publish, STRANGER, Setup};
use crate::outcome::{Outcome, hold};
use crate::packet::{ACK, Packet, RST, SYN, TCP, UDP};
use crate::sockets::{Udp, listen};
use harness::frame::{self, cookie};
use std::net::{SocketAddrV4, TcpListener, UdpSocket};
use std::time::Duration;

const PORT: u16 = 6000;

/// Sends from `sender` and then from `friend`, who is known to come through, and tells whether the first came too.
fn comes_through(client: &Udp, seen: std::net::SocketAddr, sender: &Udp, friend: &Udp) -> Outcome<bool> {
    let (tried, mark) = (cookie("tried"), cookie("mark"));
    sender.send(seen, &tried)?;
    friend.send(seen, &mark)?;
    Ok(client.before(&mark)?.contains(&tried))
}

pub(crate) fn u_8_strangers_are_dropped_and_other_ports_of_a_peer_are_not(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, servers) = (lab.container(11), lab.servers());
    let client = lab.udp(&a, PORT);
    let seen = lab.seen(&client, &servers[0])?;
    hold!(
        !comes_through(&client, seen, &servers[2], &servers[0])?,
        "an address it never sent to came through"
    );
    hold!(
        comes_through(&client, seen, &servers[1], &servers[0])?,
        "another port of its peer did not come through"
    );
    Ok(())
}

pub(crate) fn u_8_endpoint_independent_filtering_can_be_chosen(kind: Kind) -> Outcome {
    let options = ["-o", "filtering=endpoint-independent"];
    let lab = Lab::with(kind, Setup { options: &options, ..Setup::default() })?;
    let (a, servers) = (lab.container(11), lab.servers());
    let client = lab.udp(&a, PORT);
    let seen = lab.seen(&client, &servers[0])?;
    for stranger in &servers[1..] {
        let came = comes_through(&client, seen, stranger, &servers[0])?;
        hold!(came, "{} did not come through", stranger.address());
    }
    Ok(())
}

pub(crate) fn t_3_a_stranger_cannot_connect_to_a_mapping(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let (inside, outside) = (a.silence(), lab.ghost());
    let seen = syn(&lab, &inside, &outside, a.at(PORT), SocketAddrV4::new(GHOST, 80))?;
    let mark = cookie("mark");
    outside.send(&Packet::tcp((SocketAddrV4::new(STRANGER, 80), seen), SYN, (7, 0), b""));
    outside.send(&Packet::tcp((SocketAddrV4::new(GHOST, 80), seen), SYN, (7, 0), &mark));
    let before = inside.before(&mark)?;
    hold!(before.iter().all(|packet| packet.source != STRANGER), "a stranger's SYN came through");
    Ok(())
}

/// Opens a TCP mapping by a SYN from the inside.
fn syn(
    lab: &Lab,
    inside: &Craft,
    outside: &Craft,
    from: SocketAddrV4,
    to: SocketAddrV4,
) -> Outcome<SocketAddrV4> {
    inside.send(&Packet::tcp((from, to), SYN, (100, 0), b""));
    let out = outside.wait_for("the SYN", |packet| packet.flags() == SYN && packet.source == HOST)?;
    hold!(out.checksum_is_right(), "the SYN has a wrong checksum ({:?})", lab.kind);
    Ok(out.flow().expect("TCP").0)
}

pub(crate) fn t_4_an_unsolicited_syn_is_met_with_silence(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let (inside, outside) = (a.silence(), lab.ghost());
    let seen = syn(&lab, &inside, &outside, a.at(PORT), SocketAddrV4::new(GHOST, 80))?;
    let stranger = SocketAddrV4::new(STRANGER, 80);
    outside.send(&Packet::tcp((stranger, seen), SYN, (7, 0), b""));
    let answer = outside.within(Duration::from_secs(1), |packet| packet.destination == STRANGER);
    hold!(
        answer.is_none(),
        "an unsolicited SYN was answered by {:?}",
        answer.map(|packet| describe(&packet))
    );
    // The SYN that leaves meanwhile makes a connection of its own.
    inside.send(&Packet::tcp((a.at(PORT), stranger), SYN, (200, 0), b""));
    let out = outside.wait_for("the SYN that leaves", |packet| packet.destination == STRANGER)?;
    hold!(out.flags() == SYN && out.flow() == Some((seen, stranger)), "{} left instead", describe(&out));
    Ok(())
}

fn describe(packet: &Packet) -> String {
    match packet.protocol {
        TCP if packet.flags() & RST != 0 => "a RST".into(),
        TCP => format!("TCP flags {:#x}", packet.flags()),
        _ => format!("ICMP {:?}", packet.kind()),
    }
}

pub(crate) fn shadow_udp_a_containers_port_never_takes_a_host_services(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, servers) = (lab.container(11), lab.servers());
    let service = Udp::bind(lab.host(), (HOST, 5353).into(), lab.patience());
    let client = lab.udp(&a, 5353);
    lab.seen(&client, &servers[0])?;
    let question = cookie("for the host");
    servers[0].send(service.address(), &question)?;
    let from = service.awaits(&question)?;
    service.send(from, &question)?;
    servers[0].awaits(&question).map(drop)
}

pub(crate) fn shadow_tcp_a_containers_port_never_takes_a_host_services(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let _service = listen(lab.host(), (HOST, 8443).into());
    shadows(&lab, &a, 8443)
}

/// A container talks from this port; a service of the host by the same number still answers the one it talked to.
fn shadows(lab: &Lab, client: &Container, port: u16) -> Outcome {
    let (inside, outside) = (client.silence(), lab.ghost());
    let (near, far) = (SocketAddrV4::new(HOST, port), SocketAddrV4::new(GHOST, 80));
    let answers = |peer: SocketAddrV4| {
        outside.send(&Packet::tcp((peer, near), SYN, (7, 0), b""));
        let what = format!("the service's answer to {peer}");
        let answer = outside.wait_for(&what, |packet| packet.flow() == Some((near, peer)))?;
        hold!(answer.flags() == SYN | ACK, "the service answered {}", describe(&answer));
        Ok(())
    };
    answers(SocketAddrV4::new(STRANGER, 80))?;
    syn(lab, &inside, &outside, client.at(port), far)?;
    answers(far)
}

pub(crate) fn shadow_udp_a_containers_port_never_takes_a_published_one(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let service = lab.publishing(11, &[Publish::udp(6053, 53)]);
    let (b, servers) = (lab.container(12), lab.servers());
    let server = lab.udp(&service, 53);
    let client = lab.udp(&b, 6053);
    lab.seen(&client, &servers[0])?;
    let question = cookie("for the service");
    servers[0].send((HOST, 6053).into(), &question)?;
    let from = server.awaits(&question)?;
    hold!(from == servers[0].address(), "it came from {from}");
    server.send(from, &question)?;
    servers[0].awaits(&question).map(drop)
}

pub(crate) fn shadow_tcp_a_containers_port_never_takes_a_published_one(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let service = lab.publishing(11, &[Publish::tcp(8080, 80)]);
    let b = lab.container(12);
    let _listener = listen(&service.ns, (service.ip, 80).into());
    shadows(&lab, &b, 8080)
}

pub(crate) fn shadow_the_host_cannot_take_a_mappings_port(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let seen = lab.seen(&lab.udp(&a, PORT), &lab.servers()[0])?;
    let taken = lab.host().enter(|| UdpSocket::bind((HOST, seen.port())));
    hold!(taken.is_err(), "a process of the host has taken {seen}");
    let (inside, outside) = (a.silence(), lab.ghost());
    let seen = syn(&lab, &inside, &outside, a.at(PORT), SocketAddrV4::new(GHOST, 80))?;
    let taken = lab.host().enter(|| TcpListener::bind((HOST, seen.port())));
    hold!(taken.is_err(), "a process of the host listens on {seen}");
    Ok(())
}

pub(crate) fn shadow_the_tunnel_port_is_nobodys_mapping(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    lab.weft()?;
    let (a, server) = (lab.container(11), &lab.servers()[0]);
    let seen = lab.seen(&lab.udp(&a, frame::VXLAN_PORT), server)?;
    hold!(seen.port() != frame::VXLAN_PORT, "a container speaks as the tunnel");
    // What it sends to the server's tunnel port is a datagram like any other, or refused, but never the tunnel's own.
    let (inside, outside) = (a.silence(), lab.ghost());
    let mark = cookie("tunnel");
    inside.send(&Packet::udp(a.at(frame::VXLAN_PORT), SocketAddrV4::new(GHOST, frame::VXLAN_PORT), &mark));
    inside.send(&Packet::udp(a.at(PORT), SocketAddrV4::new(GHOST, 9), b"end of tunnel"));
    for packet in outside.before(b"end of tunnel")? {
        let source = packet.flow().filter(|_| packet.protocol == UDP && packet.carries(&mark));
        hold!(source.is_none_or(|flow| flow.0.port() != frame::VXLAN_PORT), "it came from the tunnel's port");
    }
    Ok(())
}
