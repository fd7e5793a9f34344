//! Which outside port an inside one gets (RFC 4787 section 4, RFC 5382 section 4.1).

use crate::lab::{HOST, Kind, Lab, SERVERS, places};
use crate::outcome::{OrBreaks, Outcome, hold};
use crate::sockets::{accept, connect_from, listen};
use harness::underlay::UPLINK;
use std::net::SocketAddr;
use std::time::Duration;

const PORT: u16 = 6000;

pub(crate) fn rig_udp_tcp_and_ping_pass(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    hold!(a.pings(SERVERS[0], 56), "no ping");
    let seen = lab.seen(&lab.udp(&a, PORT), &lab.servers()[0])?;
    hold!(seen.ip() == HOST, "a datagram came from {seen}");
    let listener = listen(lab.server(), places()[0]);
    let mut near = connect_from(&a.ns, a.at(0).into(), places()[0], lab.patience())?;
    let (mut far, from) = accept(&listener, lab.patience())?;
    hold!(from.ip() == HOST, "a connection came from {from}");
    crate::sockets::talks(&mut near, &mut far)
}

pub(crate) fn u_1_one_outside_port_for_every_destination(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, servers) = (lab.container(11), lab.servers());
    let client = lab.udp(&a, PORT);
    let seen = servers.iter().map(|server| lab.seen(&client, server)).collect::<Outcome<Vec<_>>>()?;
    hold!(seen.iter().all(|one| *one == seen[0]), "one socket was seen as {seen:?}");
    Ok(())
}

pub(crate) fn u_1_one_outside_port_also_when_two_hosts_use_the_same(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, b, servers) = (lab.container(11), lab.container(12), lab.servers());
    let [one, other] = [&a, &b].map(|container| lab.udp(container, PORT));
    // One is first at one destination and second at the next.
    lab.seen(&other, &servers[0])?;
    let order = [&servers[1], &servers[0], &servers[2], &servers[3]];
    let seen = order.map(|server| lab.seen(&one, server)).into_iter().collect::<Outcome<Vec<_>>>()?;
    hold!(seen.iter().all(|address| *address == seen[0]), "one socket was seen as {seen:?}");
    Ok(())
}

pub(crate) fn u_2_a_container_keeps_one_outside_address(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    lab.host().ip(&["address", "add", "172.31.77.9/24", "dev", UPLINK]);
    let (a, servers) = (lab.container(11), lab.servers());
    for port in 6000..6016 {
        let client = lab.udp(&a, port);
        for server in [&servers[0], &servers[2]] {
            let seen = lab.seen(&client, server)?;
            hold!(seen.ip() == HOST, "{seen} after {HOST}");
        }
    }
    Ok(())
}

pub(crate) fn u_3_two_containers_never_share_an_outside_port(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, b, servers) = (lab.container(11), lab.container(12), lab.servers());
    for port in PORT..PORT + 4 {
        let (one, other) = (lab.udp(&a, port), lab.udp(&b, port));
        let seen = (lab.seen(&one, &servers[0])?, lab.seen(&other, &servers[2])?);
        hold!(seen.0 != seen.1, "port {port} of two containers is {} outside", seen.0);
    }
    Ok(())
}

pub(crate) fn u_3a_a_port_stays_unprivileged(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, b, server) = (lab.container(11), lab.container(12), &lab.servers()[0]);
    for port in [1024, 6000, 50_000] {
        let seen = [&a, &b].map(|container| lab.seen(&lab.udp(container, port), server));
        for seen in seen {
            let seen = seen?;
            hold!(seen.port() >= 1024, "port {port} became {seen}");
        }
    }
    Ok(())
}

pub(crate) fn u_3a_a_privileged_port_stays_privileged(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let seen = lab.seen(&lab.udp(&a, 700), &lab.servers()[0])?;
    hold!(seen.port() < 1024, "port 700 became {seen}");
    Ok(())
}

pub(crate) fn u_4_a_port_keeps_its_parity(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, b, server) = (lab.container(11), lab.container(12), &lab.servers()[0]);
    for port in 6000..6012 {
        for container in [&a, &b] {
            let seen = lab.seen(&lab.udp(container, port), server)?;
            hold!(seen.port() % 2 == port % 2, "port {port} became {}", seen.port());
        }
    }
    Ok(())
}

pub(crate) fn t_1_one_outside_port_for_every_destination(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, b) = (lab.container(11), lab.container(12));
    let listeners = places().map(|place| listen(lab.server(), place));
    let connected = |from: SocketAddr, number: usize| {
        let ns = if from.ip() == a.ip { &a.ns } else { &b.ns };
        let near = connect_from(ns, from, places()[number], lab.patience())?;
        let (far, seen) = accept(&listeners[number], lab.patience())?;
        Ok((seen, near, far))
    };
    let _first = connected(b.at(PORT).into(), 0)?;
    let all = [1, 0, 2, 3].map(|number| connected(a.at(PORT).into(), number));
    let seen: Vec<SocketAddr> = all.iter().filter_map(|one| one.as_ref().ok()).map(|one| one.0).collect();
    all.into_iter().collect::<Outcome<Vec<_>>>()?;
    hold!(seen.iter().all(|one| *one == seen[0]), "one port was seen as {seen:?}");
    Ok(())
}

pub(crate) fn t_7_two_containers_never_share_an_outside_port(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, b) = (lab.container(11), lab.container(12));
    let [first, _, second, _] = places();
    let (here, there) = (listen(lab.server(), first), listen(lab.server(), second));
    let _one = connect_from(&a.ns, a.at(PORT).into(), first, lab.patience())?;
    let _other = connect_from(&b.ns, b.at(PORT).into(), second, lab.patience())?;
    let (one, other) = (accept(&here, lab.patience())?.1, accept(&there, lab.patience())?.1);
    hold!(one != other, "port {PORT} of two containers is {one} outside");
    Ok(())
}

pub(crate) fn u_6_what_leaves_keeps_a_mapping_alive(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    if kind == Kind::Kernel {
        for key in ["udp_timeout", "udp_timeout_stream"] {
            lab.host().sysctl(&format!("netfilter/nf_conntrack_{key}"), "1");
        }
    }
    let (a, server) = (lab.container(11), &lab.servers()[0]);
    let client = lab.udp(&a, PORT);
    let first = lab.seen(&client, server)?;
    if let Ok(daemon) = lab.weft() {
        // Its timers are minutes: what is left of one grows again when something leaves.
        let left = || expires(&daemon.json(&["nat", "show"]), PORT);
        let before =
            left().or_breaks("`weft nat show` tells of no session from that port, or not when it ends")?;
        let shrunk = harness::wait::within(Duration::from_secs(5), || left().filter(|now| *now < before));
        shrunk.or_breaks("the timer does not run")?;
        lab.seen(&client, server)?;
        let now = left().or_breaks("the session is gone")?;
        hold!(now >= before, "{before} s were left, and {now} s are after a refresh");
        return Ok(());
    }
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(400));
        client.send(server.address(), b"alive")?;
    }
    hold!(lab.seen(&client, server)? == first, "it got another port");
    Ok(())
}

/// In how many seconds the session from this inside port ends.
fn expires(shown: &serde_json::Value, port: u16) -> Option<u64> {
    let from = format!(":{port}");
    let session =
        shown.as_array()?.iter().find(|row| row["inside"].as_str().is_some_and(|at| at.ends_with(&from)))?;
    session["expires_s"].as_u64()
}
