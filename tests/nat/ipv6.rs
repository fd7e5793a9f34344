//! IPv6 out of a network with private addresses: NAT66.

use crate::lab::{HOST6, Kind, Lab, SERVER6};
use crate::outcome::{Outcome, hold};
use crate::sockets::{Udp, accept, connect_from, listen, talks};
use harness::datagram;
use std::net::SocketAddr;

const PORT: u16 = 6000;

fn place(port: u16) -> SocketAddr {
    (SERVER6, port).into()
}

pub(crate) fn nat66_pings_of_every_size_pass(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    for size in [0, 56, 1452, 1453, 3000] {
        hold!(a.pings(SERVER6, size), "a ping of {size} bytes is not answered");
    }
    Ok(())
}

pub(crate) fn nat66_udp_keeps_one_outside_port_and_shares_none(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, b) = (lab.container(11), lab.container(12));
    let [one, other] =
        [&a, &b].map(|container| Udp::bind(&container.ns, (container.ip6, PORT).into(), lab.patience()));
    let servers = [7001, 7002].map(|port| lab.server_udp(place(port)));
    let first = lab.seen(&other, &servers[0])?;
    let seen = [lab.seen(&one, &servers[1])?, lab.seen(&one, &servers[0])?];
    hold!(first.ip() == HOST6, "a datagram came from {first}");
    hold!(seen[0] == seen[1], "one socket was seen as {seen:?}");
    hold!(!seen.contains(&first), "two containers share {first}");
    Ok(())
}

pub(crate) fn nat66_tcp_connects(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let listener = listen(lab.server(), place(7001));
    let mut near = connect_from(&a.ns, (a.ip6, PORT).into(), place(7001), lab.patience())?;
    let (mut far, from) = accept(&listener, lab.patience())?;
    hold!(from.ip() == HOST6, "the connection came from {from}");
    talks(&mut near, &mut far)
}

pub(crate) fn nat66_large_datagrams_pass_both_ways(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let client = Udp::bind(&a.ns, (a.ip6, PORT).into(), lab.patience());
    let server = lab.server_udp(place(7001));
    let seen = lab.seen(&client, &server)?;
    for size in [1452, 1453, 4000, 20_000] {
        let (there, back) = (datagram::write(1, size), datagram::write(2, size));
        client.send(place(7001), &there)?;
        server.awaits(&there)?;
        server.send(seen, &back)?;
        client.awaits(&back)?;
    }
    Ok(())
}

pub(crate) fn nat66_a_closed_port_is_told(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let refused = connect_from(&a.ns, (a.ip6, 0).into(), place(9), lab.patience());
    let why = format!("{:?}", refused.err());
    hold!(why.contains("ECONNREFUSED"), "a connection to a closed port ended with {why}");
    let client = Udp::bind(&a.ns, (a.ip6, PORT).into(), lab.patience());
    client.send(place(9), b"to nobody")?;
    client.is_refused()
}
