//! What one container or one stranger takes from the others: nothing.

use crate::lab::{GHOST, HOST, Kind, Lab, Publish, SERVERS, STRANGER, places};
use crate::outcome::{Outcome, hold};
use crate::packet::{Packet, SYN, UNREACHABLE};
use crate::sockets::{accept, connect_from, listen, talks};
use harness::frame::cookie;
use std::net::SocketAddrV4;

pub(crate) fn limits_many_sessions_at_once_all_work(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, server) = (lab.container(11), lab.server_udp(places()[0]));
    let clients: Vec<_> = (0..1_000).map(|_| lab.udp(&a, 0)).collect();
    let seen = clients.iter().map(|client| lab.seen(client, &server)).collect::<Outcome<Vec<_>>>()?;
    let mut distinct = seen.clone();
    distinct.sort();
    distinct.dedup();
    hold!(distinct.len() == seen.len(), "{} sockets have {} outside ports", seen.len(), distinct.len());
    // All of them still do: the last comers pushed nobody out.
    for (client, former) in clients.iter().zip(&seen) {
        let now = lab.seen(client, &server)?;
        hold!(now == *former, "{former} became {now}");
    }
    Ok(())
}

pub(crate) fn limits_a_burst_of_new_sessions_loses_none(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, server) = (lab.container(11), lab.server_udp(places()[0]).roomy());
    // More than there are outside ports in reserve: some have to wait for the next ones.
    let clients: Vec<_> = (0..800).map(|_| lab.udp(&a, 0)).collect();
    // The first packet waits for neighbours, and what is queued for one is bounded everywhere.
    lab.seen(&clients[0], &server)?;
    let questions: Vec<_> = clients.iter().map(|client| (client, cookie("burst"))).collect();
    std::thread::scope(|scope| {
        let sender = scope
            .spawn(|| questions.iter().try_for_each(|(client, text)| client.send(server.address(), text)));
        server.gathers(questions.iter().map(|(_, text)| text.clone()).collect())?;
        sender.join().expect("it does not panic")
    })
}

pub(crate) fn limits_one_container_that_takes_all_ports_harms_no_other(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    lab.weft()?;
    let (a, b, server) = (lab.container(11), lab.container(12), lab.server_udp(places()[0]));
    let old = lab.udp(&b, 6000);
    let before = lab.seen(&old, &server)?;
    let greedy = a.silence();
    let to = SocketAddrV4::new(GHOST, 4000);
    let first = cookie("first");
    greedy.send(&Packet::udp(a.at(2000), to, &first));
    let outside = lab.ghost();
    let mapping = lab.opened(&greedy, &outside, a.at(2000), to)?;
    for port in 2001..=62_000 {
        greedy.send(&Packet::udp(a.at(port), to, b"more"));
    }
    // One that has too many is told so.
    let refused =
        greedy.wait_for("administratively prohibited", |packet| packet.kind() == Some((UNREACHABLE, 13)))?;
    hold!(refused.destination == a.ip, "{refused:?}");
    let after = lab.seen(&old, &server)?;
    hold!(after == before, "{before} became {after}");
    lab.seen(&lab.udp(&b, 6001), &server)?;
    hold!(lab.opened(&greedy, &outside, a.at(2000), to)? == mapping, "its own first mapping is gone");
    Ok(())
}

pub(crate) fn limits_a_flood_of_syns_does_not_stop_a_connection(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.publishing(11, &[Publish::tcp(8080, 80)]);
    let listener = listen(&a.ns, (a.ip, 80).into());
    let outside = lab.ghost();
    let from = (SERVERS[0], 4321).into();
    let mut old = connect_from(lab.server(), from, (HOST, 8080).into(), lab.patience())?;
    let (mut old_end, _) = accept(&listener, lab.patience())?;
    let flood = |ports: std::ops::Range<u16>| {
        for port in ports {
            let flow = (SocketAddrV4::new(STRANGER, port), SocketAddrV4::new(HOST, 8080));
            outside.send(&Packet::tcp(flow, SYN, (u32::from(port), 0), b""));
        }
    };
    flood(1_024..11_024);
    let from = (SERVERS[1], 4322).into();
    let mut near = connect_from(lab.server(), from, (HOST, 8080).into(), lab.patience())?;
    let (mut far, _) = accept(&listener, lab.patience())?;
    flood(11_024..21_024);
    talks(&mut near, &mut far)?;
    talks(&mut old, &mut old_end)
}
