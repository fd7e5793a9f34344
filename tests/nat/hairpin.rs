//! Containers that meet outside (RFC 4787 section 6, RFC 5382 section 4.4, RFC 5508 section 7).

use crate::lab::{GATEWAY, GATEWAY6, HOST, Kind, Lab, Publish, Setup};
use crate::outcome::{OrBreaks, Outcome, hold};
use crate::sockets::{Udp, accept, connect_from, listen, talks};
use harness::frame::cookie;
use harness::wait;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

pub(crate) fn u_9_two_mappings_reach_each_other_with_their_outside_addresses(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, b, server) = (lab.container(11), lab.container(12), &lab.servers()[0]);
    let (one, other) = (lab.udp(&a, 6000), lab.udp(&b, 6001));
    let (seen_one, seen_other) = (lab.seen(&one, server)?, lab.seen(&other, server)?);
    // Filtering holds here too: each has to have sent before it may hear.
    one.send(seen_other, b"punch")?;
    let from = reaches(&lab, &other, seen_one, &one)?;
    hold!(from == seen_other, "{seen_other} came as {from}");
    let from = reaches(&lab, &one, seen_other, &other)?;
    hold!(from == seen_one, "{seen_one} came as {from}");
    Ok(())
}

/// Sends until one arrives, and tells whom it came from: nothing orders the datagrams of two containers.
fn reaches(lab: &Lab, from: &Udp, place: SocketAddr, to: &Udp) -> Outcome<SocketAddr> {
    let seen = wait::within(lab.patience(), || {
        let there = cookie("there");
        from.send(place, &there).ok()?;
        to.awaits_within(Duration::from_millis(200), &there).ok()
    });
    seen.or_breaks(format!("{} does not reach {} by {place}", from.address(), to.address()))
}

pub(crate) fn u_9a_a_published_udp_port_sees_a_siblings_outside_address(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, b) = (lab.publishing(11, &[Publish::udp(6053, 53)]), lab.container(12));
    let (service, client) = (lab.udp(&a, 53), lab.udp(&b, 6001));
    let seen = lab.seen(&client, &lab.servers()[0])?;
    exchange(&client, &service, seen)
}

pub(crate) fn u_9a_a_container_reaches_its_own_published_udp_port(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.publishing(11, &[Publish::udp(6053, 53)]);
    let (service, client) = (lab.udp(&a, 53), lab.udp(&a, 6001));
    let seen = lab.seen(&client, &lab.servers()[0])?;
    exchange(&client, &service, seen)
}

/// The service is asked by its published port, sees `seen` and answers.
fn exchange(client: &Udp, service: &Udp, seen: SocketAddr) -> Outcome {
    let (question, answer) = (cookie("question"), cookie("answer"));
    client.send((HOST, 6053).into(), &question)?;
    let from = service.awaits(&question)?;
    service.send(from, &answer)?;
    let back = client.awaits(&answer)?;
    hold!(back == (HOST, 6053).into(), "the answer came from {back}");
    hold!(from == seen, "{seen} came as {from}");
    Ok(())
}

pub(crate) fn t_8_a_published_tcp_port_sees_a_siblings_outside_address(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, b) = (lab.publishing(11, &[Publish::tcp(8080, 80)]), lab.container(12));
    let listener = listen(&a.ns, (a.ip, 80).into());
    let mut near = connect_from(&b.ns, b.at(0).into(), (HOST, 8080).into(), lab.patience())?;
    let (mut far, from) = accept(&listener, lab.patience())?;
    talks(&mut near, &mut far)?;
    hold!(from.ip() == HOST, "the connection came from {from}");
    Ok(())
}

pub(crate) fn t_8_a_container_reaches_its_own_published_tcp_port(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.publishing(11, &[Publish::tcp(8080, 80)]);
    let listener = listen(&a.ns, (a.ip, 80).into());
    let mut near = connect_from(&a.ns, a.at(0).into(), (HOST, 8080).into(), lab.patience())?;
    let (mut far, from) = accept(&listener, lab.patience())?;
    talks(&mut near, &mut far)?;
    hold!(from.ip() == HOST, "the connection came from {from}");
    Ok(())
}

pub(crate) fn i_7_an_error_about_a_hairpinned_datagram_comes_back(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, b, server) = (lab.container(11), lab.container(12), &lab.servers()[0]);
    let (one, other) = (lab.udp(&a, 6000), lab.udp(&b, 6001));
    let (seen_one, seen_other) = (lab.seen(&one, server)?, lab.seen(&other, server)?);
    one.send(seen_other, b"punch")?;
    reaches(&lab, &other, seen_one, &one)?;
    drop(one);
    other.send(seen_one, b"to nobody")?;
    other.is_refused()
}

/// A sibling and the container itself reach ports that the container publishes by their gateway's address.
fn by_the_gateways_address(lab: &Lab) -> Outcome {
    let a = lab.publishing(11, &[Publish::tcp(8080, 80), Publish::udp(6053, 53)]);
    let b = lab.container(12);
    let listener = listen(&a.ns, (Ipv6Addr::UNSPECIFIED, 80).into());
    let service = lab.udp(&a, 53);
    for (client, port) in [(&b, 6001), (&a, 6002)] {
        for (from, gateway) in
            [(SocketAddr::from((client.ip, 0)), GATEWAY.into()), ((client.ip6, 0).into(), GATEWAY6.into())]
        {
            let to = SocketAddr::new(gateway, 8080);
            let mut near = connect_from(&client.ns, from, to, lab.patience())?;
            let (mut far, seen) = accept(&listener, lab.patience())?;
            talks(&mut near, &mut far)?;
            hold!(seen.ip() != from.ip(), "the connection by {to} came from {seen}");
        }
        let (question, answer) = (cookie("question"), cookie("answer"));
        let asking = lab.udp(client, port);
        asking.send((GATEWAY, 6053).into(), &question)?;
        let from = service.awaits(&question)?;
        service.send(from, &answer)?;
        let back = asking.awaits(&answer)?;
        hold!(back == (GATEWAY, 6053).into(), "the answer came from {back}");
        // An error about an answer finds its way, too (RFC 5508 REQ-7).
        drop(asking);
        service.send(from, b"to nobody")?;
        service.is_refused()?;
    }
    Ok(())
}

pub(crate) fn published_by_the_gateways_address_and_the_host_has_the_other_ports(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    lab.weft()?;
    by_the_gateways_address(&lab)?;
    // A port that is published at every address is nobody else's at this one.
    let taken = lab.host().enter(|| std::net::TcpListener::bind((GATEWAY, 8080)));
    hold!(taken.is_err(), "a process of the host has taken the port at the gateway's address");
    let c = lab.container(13);
    let other = listen(lab.host(), (GATEWAY, 8090).into());
    let mut near = connect_from(&c.ns, c.at(0).into(), (GATEWAY, 8090).into(), lab.patience())?;
    let (mut far, _) = accept(&other, lab.patience())?;
    talks(&mut near, &mut far)?;
    // Datagrams in fragments, and errors about what the host has sent, are the host's as before.
    let (service, client) =
        (Udp::bind(lab.host(), (GATEWAY, 8091).into(), lab.patience()), lab.udp(&c, 6003));
    let large = harness::datagram::write(5, 8_000);
    client.send((GATEWAY, 8091).into(), &large)?;
    let from = service.awaits(&large)?;
    drop(client);
    service.send(from, b"to nobody")?;
    service.is_refused()
}

pub(crate) fn published_by_the_gateways_address_on_an_overlay(kind: Kind) -> Outcome {
    let options = &["-d", "overlay", "--vni", "5000"];
    let lab = Lab::with(kind, Setup { options, ..Setup::default() })?;
    by_the_gateways_address(&lab)?;
    // The host does not stand there.
    let c = lab.container(13);
    let client = lab.udp(&c, 6003);
    client.send((GATEWAY, 8091).into(), b"to nobody")?;
    client.is_refused()
}
