//! Containers that meet outside (RFC 4787 section 6, RFC 5382 section 4.4, RFC 5508 section 7).

use crate::lab::{HOST, Kind, Lab, Publish};
use crate::outcome::{OrBreaks, Outcome, hold};
use crate::sockets::{Udp, accept, connect_from, listen, talks};
use harness::frame::cookie;
use harness::wait;
use std::net::SocketAddr;
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
