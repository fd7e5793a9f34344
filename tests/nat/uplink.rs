//! The uplink goes, comes back, and changes.

use crate::ends::Container;
use crate::lab::{HOST, Kind, Lab, SERVERS, places};
use crate::outcome::{OrBreaks, Outcome, hold};
use crate::sockets::{Udp, accept, connect_from, hears_nothing, listen, talks};
use harness::daemon::Daemon;
use harness::underlay::{UPLINK, veth};
use harness::wait;
use nix::sys::signal::{Signal, kill};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

const OTHER: Ipv4Addr = Ipv4Addr::new(172, 31, 77, 9);

/// How long one try may take: what was begun while the uplink changed is lost.
const TRY: Duration = Duration::from_millis(500);

/// Waits until new sessions work, and returns the address they are seen with.
fn comes_back(lab: &Lab, a: &Container) -> Outcome<IpAddr> {
    let seen = wait::within(lab.patience(), || new_sessions(lab, a).ok());
    seen.or_breaks("no new session works")
}

/// One by UDP and one by TCP.
fn new_sessions(lab: &Lab, a: &Container) -> Outcome<IpAddr> {
    let server = Udp::bind(lab.server(), places()[0], TRY);
    let seen = lab.seen(&Udp::bind(&a.ns, (a.ip, 0).into(), TRY), &server)?;
    let listener = listen(lab.server(), places()[1]);
    let mut near = connect_from(&a.ns, (a.ip, 0).into(), places()[1], TRY)?;
    let (mut far, from) = accept(&listener, TRY)?;
    hold!(from.ip() == seen.ip(), "{} by UDP and {} by TCP", seen.ip(), from.ip());
    talks(&mut near, &mut far)?;
    Ok(seen.ip())
}

/// Takes the uplink down and waits until that is known.
fn goes_down(lab: &Lab, a: &Container) -> Outcome {
    let daemon = lab.weft().ok();
    let before = daemon.map(Daemon::stats);
    lab.host().ip(&["link", "set", UPLINK, "down"]);
    let known = wait::within(lab.patience(), || {
        let silent = hears_nothing(&a.ns, SERVERS[0].into());
        let moved = daemon.zip(before.as_ref()).map(|(daemon, before)| daemon.stats().moved_since(before));
        (silent && moved.is_none_or(|moved| moved.contains_key("no_route"))).then_some(())
    });
    known.or_breaks("it is not down, or nothing is dropped for want of a route")
}

/// A UDP socket of the container and one of the server.
fn pair(lab: &Lab, a: &Container) -> (Udp, Udp) {
    (Udp::bind(&a.ns, (a.ip, 6000).into(), TRY), Udp::bind(lab.server(), places()[1], TRY))
}

pub(crate) fn uplink_down_and_up_new_sessions_work(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    comes_back(&lab, &a)?;
    goes_down(&lab, &a)?;
    lab.host().ip(&["link", "set", UPLINK, "up"]);
    comes_back(&lab, &a).map(drop)
}

pub(crate) fn uplink_down_and_up_sessions_live_on(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let listener = listen(lab.server(), places()[0]);
    let mut near = connect_from(&a.ns, a.at(0).into(), places()[0], lab.patience())?;
    let (mut far, _) = accept(&listener, lab.patience())?;
    talks(&mut near, &mut far)?;
    let (client, server) = pair(&lab, &a);
    let seen = lab.seen(&client, &server)?;
    goes_down(&lab, &a)?;
    // What is said meanwhile comes later.
    let (said, mut heard) = (*b"is the link down?", [0; 17]);
    near.write_all(&said).or_breaks("saying something")?;
    lab.host().ip(&["link", "set", UPLINK, "up"]);
    let again = wait::within(lab.patience(), || lab.seen(&client, &server).ok());
    hold!(again == Some(seen), "{seen} is now {again:?}");
    far.read_exact(&mut heard).or_breaks("hearing it")?;
    hold!(heard == said, "other bytes came than were sent");
    talks(&mut near, &mut far)
}

pub(crate) fn uplink_down_sessions_outlive_both_processes(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (daemon, a) = (lab.weft()?, lab.container(11));
    let (client, server) = pair(&lab, &a);
    let seen = lab.seen(&client, &server)?;
    goes_down(&lab, &a)?;
    let packets = daemon.dataplane();
    kill(packets, Signal::SIGKILL).expect("it runs");
    wait::until("another packet process", || {
        let pid = daemon.json(&["status"])["dataplane_pid"].as_i64()?;
        (pid != i64::from(packets.as_raw())).then_some(pid)
    });
    kill(daemon.pid(), Signal::SIGKILL).expect("it runs");
    let next = lab.successor()?;
    let shown = next.json(&["nat", "show"]).to_string();
    hold!(shown.contains(&format!("{seen}")), "the next daemon does not know of {seen}: {shown}");
    lab.host().ip(&["link", "set", UPLINK, "up"]);
    let again = wait::within(lab.patience(), || lab.seen(&client, &server).ok());
    hold!(again == Some(seen), "{seen} is now {again:?}");
    let taken = lab.host().enter(|| UdpSocket::bind(seen));
    hold!(taken.is_err(), "a process of the host has taken {seen}");
    Ok(())
}

pub(crate) fn uplink_removed_and_made_anew_new_sessions_work(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    comes_back(&lab, &a)?;
    lab.host().ip(&["link", "del", UPLINK]);
    hold!(hears_nothing(&a.ns, SERVERS[0].into()), "it is not gone");
    veth(lab.host(), UPLINK, lab.server(), UPLINK);
    for (ns, address) in [(lab.host(), HOST), (lab.server(), SERVERS[0]), (lab.server(), SERVERS[1])] {
        ns.ip(&["address", "add", &format!("{address}/24"), "dev", UPLINK]);
        ns.ip(&["link", "set", UPLINK, "up"]);
    }
    comes_back(&lab, &a).map(drop)
}

pub(crate) fn uplink_with_another_address_new_sessions_have_it(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    hold!(comes_back(&lab, &a)? == HOST, "it was seen with another address");
    lab.host().ip(&["address", "add", &format!("{OTHER}/24"), "dev", UPLINK]);
    // The other one is promoted to the subnet's first address.
    lab.host().sysctl(&format!("ipv4/conf/{UPLINK}/promote_secondaries"), "1");
    lab.host().ip(&["address", "del", &format!("{HOST}/24"), "dev", UPLINK]);
    let changed = wait::within(lab.patience(), || new_sessions(&lab, &a).ok().filter(|seen| *seen == OTHER));
    changed.map(drop).or_breaks("no session has the new address")
}

pub(crate) fn uplink_with_another_address_connections_by_the_former_one_are_reset(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (daemon, a) = (lab.weft()?, lab.container(11));
    let listener = listen(lab.server(), places()[0]);
    let mut near = connect_from(&a.ns, a.at(0).into(), places()[0], lab.patience())?;
    let (mut far, _) = accept(&listener, lab.patience())?;
    talks(&mut near, &mut far)?;
    lab.host().ip(&["address", "add", &format!("{OTHER}/24"), "dev", UPLINK]);
    lab.host().sysctl(&format!("ipv4/conf/{UPLINK}/promote_secondaries"), "1");
    lab.host().ip(&["address", "del", &format!("{HOST}/24"), "dev", UPLINK]);
    let changed = wait::within(lab.patience(), || new_sessions(&lab, &a).ok().filter(|seen| *seen == OTHER));
    changed.or_breaks("no session has the new address")?;
    let (before, mut buffer) = (daemon.stats(), [0; 1]);
    near.write_all(b"anybody there?").or_breaks("saying something")?;
    let end = near.read(&mut buffer).map_err(|error| error.kind());
    hold!(end == Err(ErrorKind::ConnectionReset), "the container reads {end:?}");
    let moved = daemon.stats().moved_since(&before);
    hold!(moved.contains_key("nat_address_gone"), "counted: {moved:?}");
    Ok(())
}

pub(crate) fn uplink_with_a_smaller_mtu_is_followed(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    comes_back(&lab, &a)?;
    lab.host().ip(&["link", "set", UPLINK, "mtu", "1300"]);
    let told = wait::within(lab.patience(), || {
        let line = ["ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", "1400", &SERVERS[0].to_string()];
        let said = a.ns.exec(&line);
        (said.stdout.contains("mtu = 1300") || said.stderr.contains("mtu=1300")).then_some(())
    });
    told.or_breaks("a large ping is not told the new MTU")
}

pub(crate) fn uplink_by_two_links_each_destination_takes_its_own(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    if kind == Kind::Kernel {
        // Its rules name one uplink, as this battery wrote them.
        lab.host().exec(&["nft", "add rule ip lab post oifname u1 ip saddr 10.88.0.0/24 masquerade"]).must();
    }
    let second = [Ipv4Addr::new(172, 31, 78, 1), Ipv4Addr::new(172, 31, 78, 2)];
    veth(lab.host(), "u1", lab.server(), "u1");
    for (ns, address) in [(lab.host(), second[0]), (lab.server(), second[1])] {
        ns.ip(&["address", "add", &format!("{address}/24"), "dev", "u1"]);
        ns.ip(&["link", "set", "u1", "up"]);
    }
    let a = lab.container(11);
    hold!(comes_back(&lab, &a)? == HOST, "the first link has another address");
    let server = Udp::bind(lab.server(), (second[1], 7001).into(), Duration::from_millis(500));
    // Until the second link is known, the default route leads there too: the server has both addresses.
    let mut last = None;
    let seen = wait::within(lab.patience(), || {
        last = lab.seen(&Udp::bind(&a.ns, (a.ip, 0).into(), TRY), &server).ok();
        last.filter(|seen| seen.ip() == second[0])
    });
    seen.map(drop).or_breaks(format!("what is behind the second link sees {last:?}"))
}
