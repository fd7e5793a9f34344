//! Ports of the host that lead to a container: from everywhere, in every form, one owner each.

use crate::ends::Container;
use crate::lab::{HOST, HOST6, Kind, Lab, Publish, SERVER6, SERVERS, Setup, places};
use crate::outcome::{OrBreaks, Outcome, hold};
use crate::sockets::{Udp, accept, connect_from, listen, talks};
use crate::weft::NETWORK;
use harness::frame::cookie;
use harness::netns::Namespace;
use harness::random::Random;
use harness::wait;
use nix::sys::signal::{Signal, kill};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::thread;

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Somebody in `from` connects to `to`, talks with what listens on `port` of the container, and is seen as the result.
fn reaches(
    lab: &Lab,
    from: &Namespace,
    to: SocketAddr,
    container: &Container,
    port: u16,
) -> Outcome<SocketAddr> {
    let listener = listen(&container.ns, (Ipv4Addr::UNSPECIFIED, port).into());
    let mut near = connect_from(from, ANY, to, lab.patience())?;
    let (mut far, seen) = accept(&listener, lab.patience())?;
    talks(&mut near, &mut far)?;
    Ok(seen)
}

/// The same by UDP: a question and its answer.
fn asks(lab: &Lab, from: &Namespace, to: SocketAddr, service: &Udp) -> Outcome<SocketAddr> {
    let client = Udp::bind(from, ANY, lab.patience());
    let (question, answer) = (cookie("question"), cookie("answer"));
    client.send(to, &question)?;
    let seen = service.awaits(&question)?;
    service.send(seen, &answer)?;
    let back = client.awaits(&answer)?;
    hold!(back == to, "the answer of {to} came from {back}");
    Ok(seen)
}

pub(crate) fn published_tcp_sees_the_address_of_another_machine(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.publishing(11, &[Publish::tcp(8080, 80)]);
    let listener = listen(&a.ns, (a.ip, 80).into());
    let client = SocketAddr::from((SERVERS[1], 4321));
    let mut near = connect_from(lab.server(), client, (HOST, 8080).into(), lab.patience())?;
    let (mut far, seen) = accept(&listener, lab.patience())?;
    talks(&mut near, &mut far)?;
    hold!(seen == client, "{client} was seen as {seen}");
    Ok(())
}

pub(crate) fn published_udp_sees_the_address_of_another_machine(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.publishing(11, &[Publish::udp(6053, 53)]);
    let (service, servers) = (lab.udp(&a, 53), lab.servers());
    for client in &servers {
        let (question, answer) = (cookie("question"), cookie("answer"));
        client.send((HOST, 6053).into(), &question)?;
        let seen = service.awaits(&question)?;
        hold!(seen == client.address(), "{} was seen as {seen}", client.address());
        service.send(seen, &answer)?;
        hold!(client.awaits(&answer)? == (HOST, 6053).into(), "the answer came from another port");
    }
    Ok(())
}

pub(crate) fn published_tcp_and_udp_answer_the_host_itself(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.publishing(11, &[Publish::tcp(8080, 80), Publish::udp(6053, 53)]);
    let service = Udp::bind(&a.ns, (Ipv4Addr::UNSPECIFIED, 53).into(), lab.patience());
    for ip in [Ipv4Addr::LOCALHOST, HOST] {
        reaches(&lab, lab.host(), (ip, 8080).into(), &a, 80)?;
        asks(&lab, lab.host(), (ip, 6053).into(), &service)?;
    }
    Ok(())
}

pub(crate) fn published_large_datagrams_pass_from_outside_and_from_the_host(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.publishing(11, &[Publish::udp(6053, 53)]);
    let service = Udp::bind(&a.ns, (Ipv4Addr::UNSPECIFIED, 53).into(), lab.patience());
    for (from, to) in [(lab.server(), HOST), (lab.host(), Ipv4Addr::LOCALHOST)] {
        let client = Udp::bind(from, ANY, lab.patience());
        for size in [1473, 8000, 60_000] {
            let payload = harness::datagram::write(7, size);
            client.send((to, 6053).into(), &payload)?;
            let seen = service.awaits(&payload)?;
            service.send(seen, &payload)?;
            client.awaits(&payload)?;
        }
    }
    Ok(())
}

pub(crate) fn published_over_ipv6_sees_the_address_of_another_machine(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    lab.weft()?;
    let a = lab.publishing(11, &[Publish::tcp(8080, 80), Publish::udp(6053, 53)]);
    let listener = listen(&a.ns, (Ipv6Addr::UNSPECIFIED, 80).into());
    let client = SocketAddr::from((SERVER6, 4321));
    let mut near = connect_from(lab.server(), client, (HOST6, 8080).into(), lab.patience())?;
    let (mut far, seen) = accept(&listener, lab.patience())?;
    talks(&mut near, &mut far)?;
    hold!(seen == client, "{client} was seen as {seen}");
    let service = Udp::bind(&a.ns, (a.ip6, 53).into(), lab.patience());
    let client = lab.server_udp((SERVER6, 4322).into());
    let question = cookie("question");
    client.send((HOST6, 6053).into(), &question)?;
    let seen = service.awaits(&question)?;
    hold!(seen == client.address(), "{} was seen as {seen}", client.address());
    service.send(seen, &question)?;
    client.awaits(&question)?;
    let from = (Ipv6Addr::UNSPECIFIED, 0).into();
    let mut near = connect_from(lab.host(), from, (Ipv6Addr::LOCALHOST, 8080).into(), lab.patience())?;
    let (mut far, _) = accept(&listener, lab.patience())?;
    talks(&mut near, &mut far)
}

pub(crate) fn published_bulk_arrives_whole_from_outside_and_from_the_host(kind: Kind) -> Outcome {
    let lab = Lab::with(kind, Setup { workers: None, ..Setup::default() })?;
    let a = lab.publishing(11, &[Publish::tcp(8080, 80)]);
    let listener = listen(&a.ns, (Ipv4Addr::UNSPECIFIED, 80).into());
    let bytes = Random::new(8).bytes(4 << 20);
    for (from, to) in [(lab.server(), HOST), (lab.host(), HOST), (lab.host(), Ipv4Addr::LOCALHOST)] {
        let mut near = connect_from(from, ANY, (to, 8080).into(), lab.patience())?;
        let (mut far, _) = accept(&listener, lab.patience())?;
        carries(&mut near, &mut far, &bytes)?;
        carries(&mut far, &mut near, &bytes)?;
    }
    Ok(())
}

fn carries(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) -> Outcome {
    let mut heard = vec![0; bytes.len()];
    thread::scope(|scope| {
        let sender = scope.spawn(|| from.write_all(bytes));
        to.read_exact(&mut heard).or_breaks("hearing all of it")?;
        sender.join().expect("it does not panic").or_breaks("saying all of it")
    })?;
    hold!(heard == bytes, "other bytes came than were sent");
    Ok(())
}

pub(crate) fn published_ranges_lead_port_by_port(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let daemon = lab.weft()?;
    let ns = Namespace::new("range");
    let line = ["network", "connect", NETWORK, &ns.path(), "--name", "more", "-p", "8000-8003:9000-9003"];
    daemon.weft(&line).must();
    for number in 0..4 {
        let listener = listen(&ns, (Ipv4Addr::UNSPECIFIED, 9000 + number).into());
        let mut near = connect_from(lab.server(), ANY, (HOST, 8000 + number).into(), lab.patience())?;
        let (mut far, _) = accept(&listener, lab.patience())?;
        talks(&mut near, &mut far)?;
    }
    Ok(())
}

pub(crate) fn published_without_a_host_port_gets_one_and_port_ls_tells_it(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let daemon = lab.weft()?;
    let ns = Namespace::new("ephemeral");
    daemon
        .weft(&["network", "connect", NETWORK, &ns.path(), "--name", "e", "-p", "80", "-p", "53/udp"])
        .must();
    let shown = daemon.json(&["port", "ls"]);
    let rows = shown.as_array().or_breaks("port ls prints no array")?;
    let port = |protocol: &str| -> Outcome<u16> {
        let row = rows
            .iter()
            .find(|row| row["protocol"] == protocol)
            .or_breaks(format!("no {protocol} in {shown}"))?;
        row["host_port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .or_breaks(format!("no host_port in {row}"))
    };
    hold!(rows.iter().all(|row| row["endpoint"] == "e"), "{shown}");
    let listener = listen(&ns, (Ipv4Addr::UNSPECIFIED, 80).into());
    let mut near = connect_from(lab.server(), ANY, (HOST, port("tcp")?).into(), lab.patience())?;
    let (mut far, _) = accept(&listener, lab.patience())?;
    talks(&mut near, &mut far)?;
    let service = Udp::bind(&ns, (Ipv4Addr::UNSPECIFIED, 53).into(), lab.patience());
    asks(&lab, lab.server(), (HOST, port("udp")?).into(), &service).map(drop)
}

pub(crate) fn published_udp_goes_to_the_new_container_at_once(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.publishing(11, &[Publish::udp(6053, 53)]);
    let client = lab.server_udp(places()[0]);
    // The client goes on with one socket: what knows it would lead it to the former container.
    let exchange = |service: &Udp| {
        let question = cookie("question");
        client.send((HOST, 6053).into(), &question)?;
        let seen = service.awaits(&question)?;
        service.send(seen, &question)?;
        client.awaits(&question)
    };
    exchange(&lab.udp(&a, 53))?;
    lab.disconnect(11);
    let b = lab.publishing(12, &[Publish::udp(6053, 53)]);
    exchange(&lab.udp(&b, 53)).map(drop)
}

pub(crate) fn published_ends_with_the_connection_to_the_network(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.publishing(11, &[Publish::tcp(8080, 80)]);
    reaches(&lab, lab.server(), (HOST, 8080).into(), &a, 80)?;
    lab.disconnect(11);
    let refused = wait::within(lab.patience(), || {
        let limit = std::time::Duration::from_millis(500);
        connect_from(lab.server(), ANY, (HOST, 8080).into(), limit).err()
    });
    refused.or_breaks("the port still answers")?;
    // The host may use it itself again.
    let mine = listen(lab.host(), (HOST, 8080).into());
    let mut near = connect_from(lab.server(), ANY, (HOST, 8080).into(), lab.patience())?;
    let (mut far, _) = accept(&mine, lab.patience())?;
    talks(&mut near, &mut far)
}

pub(crate) fn published_on_one_address_answers_there_only(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let daemon = lab.weft()?;
    lab.host().ip(&["address", "add", "172.31.77.9/24", "dev", harness::underlay::UPLINK]);
    let ns = Namespace::new("bound");
    let ports = ["-p", "127.0.0.1:8080:80", "-p", "172.31.77.1:8081:80"];
    let connect = ["network", "connect", NETWORK, &ns.path(), "--name", "bound"];
    daemon.weft(&[connect.as_slice(), &ports].concat()).must();
    let listener = listen(&ns, (Ipv4Addr::UNSPECIFIED, 80).into());
    let talk = |from: &Namespace, to: SocketAddr| {
        let mut near = connect_from(from, ANY, to, lab.patience())?;
        let (mut far, _) = accept(&listener, lab.patience())?;
        talks(&mut near, &mut far)
    };
    talk(lab.host(), (Ipv4Addr::LOCALHOST, 8080).into())?;
    talk(lab.server(), (HOST, 8081).into())?;
    let other = Ipv4Addr::new(172, 31, 77, 9);
    for (from, to) in
        [(lab.server(), (HOST, 8080)), (lab.server(), (other, 8081)), (lab.host(), (other, 8081))]
    {
        let limit = std::time::Duration::from_millis(500);
        hold!(connect_from(from, ANY, to.into(), limit).is_err(), "{to:?} answers too");
    }
    Ok(())
}

pub(crate) fn published_ports_survive_a_daemon_and_its_successor(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let daemon = lab.weft()?;
    let a = lab.publishing(11, &[Publish::tcp(8080, 80)]);
    let tries = || {
        let listener = listen(&a.ns, (Ipv4Addr::UNSPECIFIED, 80).into());
        let mut near = connect_from(lab.server(), ANY, (HOST, 8080).into(), lab.patience())?;
        let (mut far, _) = accept(&listener, lab.patience())?;
        talks(&mut near, &mut far)?;
        Ok((near, far))
    };
    let (mut near, mut far) = tries()?;
    kill(daemon.pid(), Signal::SIGKILL).expect("it runs");
    talks(&mut near, &mut far)?;
    tries()?;
    let _next = lab.successor()?;
    talks(&mut near, &mut far)?;
    tries()?;
    // The host itself is served by the successor.
    reaches(&lab, lab.host(), (Ipv4Addr::LOCALHOST, 8080).into(), &a, 80).map(drop)
}

pub(crate) fn published_is_shown_by_inspect_and_nat_show(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let daemon = lab.weft()?;
    let a = lab.publishing(11, &[Publish::tcp(8080, 80)]);
    let shown = daemon.weft(&["port", "ls"]).must();
    hold!(shown.contains("8080") && shown.contains("c11"), "port ls says: {shown}");
    let listener = listen(&a.ns, (a.ip, 80).into());
    let near = connect_from(lab.server(), (SERVERS[0], 4321).into(), (HOST, 8080).into(), lab.patience())?;
    let (far, _) = accept(&listener, lab.patience())?;
    let sessions = daemon.json(&["nat", "show"]);
    let text = sessions.to_string();
    hold!(sessions.as_array().is_some(), "nat show prints no array: {text}");
    for part in ["172.31.77.2:4321", "172.31.77.1:8080", "10.88.0.11:80"] {
        hold!(text.contains(part), "nat show has no {part}: {text}");
    }
    drop((near, far));
    Ok(())
}
