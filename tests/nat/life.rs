//! Processes that die under traffic, bulk that stays in one piece, and counters that stay where they are.

use crate::ends::Container;
use crate::lab::{HOST, Kind, Lab, SERVERS, Setup, places};
use crate::outcome::{Outcome, hold};
use crate::sockets::{accept, connect_from, listen, talks};
use harness::netns::Namespace;
use harness::traffic::{self, End};
use harness::underlay::UPLINK;
use harness::{stream, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::TcpStream;
use std::thread;

fn ends<'a>(lab: &'a Lab, a: &'a Container) -> [End<'a>; 2] {
    [End { ns: &a.ns, ip: a.ip.into() }, End { ns: lab.server(), ip: SERVERS[0].into() }]
}

fn is_gone(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}

/// A connection from a container to the server, both ends.
fn connected(lab: &Lab, a: &Container) -> Outcome<[TcpStream; 2]> {
    let listener = listen(lab.server(), places()[0]);
    let near = connect_from(&a.ns, a.at(0).into(), places()[0], lab.patience())?;
    let (far, seen) = accept(&listener, lab.patience())?;
    hold!(seen.ip() == HOST, "the connection came from {seen}");
    Ok([near, far])
}

/// A lab with as many workers as the product chooses.
fn usual(kind: Kind) -> Outcome<(Lab, Container)> {
    let lab = Lab::with(kind, Setup { workers: None, ..Setup::default() })?;
    let a = lab.container(11);
    Ok((lab, a))
}

/// The process is killed in the middle of a transfer to the server, which completes.
fn killed_under_a_transfer(lab: &Lab, a: &Container, pid: Pid) {
    let [inside, outside] = ends(lab, a);
    thread::scope(|scope| {
        let transfer = scope.spawn(|| stream::carry(inside, outside, 512));
        let before = received(lab.server(), UPLINK).0;
        wait::until_true("the transfer is under way", || {
            received(lab.server(), UPLINK).0 > before + (1 << 20)
        });
        kill(pid, Signal::SIGKILL).expect("it runs");
        transfer.join().expect("the transfer completes");
    });
}

pub(crate) fn life_a_daemon_killed_under_a_transfer_breaks_nothing(kind: Kind) -> Outcome {
    let (lab, a) = usual(kind)?;
    let daemon = lab.weft()?;
    let packets = daemon.dataplane();
    killed_under_a_transfer(&lab, &a, daemon.pid());
    hold!(!is_gone(packets), "the packet process has ended too");
    // New sessions work without a daemon, as long as reserved ports last.
    let [mut near, mut far] = connected(&lab, &a)?;
    talks(&mut near, &mut far)
}

pub(crate) fn life_sessions_outlive_the_packet_process(kind: Kind) -> Outcome {
    let (lab, a) = usual(kind)?;
    let daemon = lab.weft()?;
    let [mut near, mut far] = connected(&lab, &a)?;
    talks(&mut near, &mut far)?;
    let (client, server) = (lab.udp(&a, 6000), &lab.servers()[1]);
    let seen = lab.seen(&client, server)?;
    let packets = daemon.dataplane();
    kill(packets, Signal::SIGKILL).expect("it runs");
    wait::until_true("it is gone", || is_gone(packets));
    // Both directions go on: what was lost meanwhile is sent again by TCP.
    for _ in 0..4 {
        talks(&mut near, &mut far)?;
    }
    let again = wait::within(lab.patience(), || lab.seen(&client, server).ok());
    hold!(again == Some(seen), "{seen} is now {again:?}");
    let next = wait::until("another packet process", || {
        let pid = daemon.json(&["status"])["dataplane_pid"].as_i64()?;
        (pid != i64::from(packets.as_raw())).then_some(pid)
    });
    hold!(next > 0, "no packet process");
    Ok(())
}

pub(crate) fn life_sessions_outlive_a_daemon_and_its_successor_knows_them(kind: Kind) -> Outcome {
    let (lab, a) = usual(kind)?;
    let daemon = lab.weft()?;
    let [mut near, mut far] = connected(&lab, &a)?;
    let (client, server) = (lab.udp(&a, 6000), &lab.servers()[1]);
    let seen = lab.seen(&client, server)?;
    kill(daemon.pid(), Signal::SIGKILL).expect("it runs");
    let next = lab.successor()?;
    talks(&mut near, &mut far)?;
    let now = lab.seen(&client, server)?;
    hold!(now == seen, "{seen} is now {now}");
    let shown = next.json(&["nat", "show"]).to_string();
    hold!(shown.contains(&format!("{seen}")), "the next daemon does not know of {seen}: {shown}");
    // Its ports are still nobody else's.
    let b = lab.container(12);
    for port in 6000..6020 {
        let other = lab.seen(&lab.udp(&b, port), server)?;
        hold!(other != seen, "two containers share {seen}");
    }
    let taken = lab.host().enter(|| std::net::UdpSocket::bind(seen));
    hold!(taken.is_err(), "a process of the host has taken {seen}");
    Ok(())
}

pub(crate) fn life_sessions_end_with_their_container(kind: Kind) -> Outcome {
    let (lab, a) = usual(kind)?;
    let daemon = lab.weft()?;
    let _connection = connected(&lab, &a)?;
    lab.seen(&lab.udp(&a, 6000), &lab.servers()[1])?;
    let sessions = || daemon.json(&["nat", "show"]).as_array().map_or(0, Vec::len);
    hold!(sessions() >= 2, "{} sessions", sessions());
    lab.disconnect(11);
    let gone = wait::within(lab.patience(), || (sessions() == 0).then_some(()));
    hold!(gone.is_some(), "{} sessions are left", sessions());
    Ok(())
}

pub(crate) fn life_a_transfer_goes_on_when_the_packet_process_is_killed(kind: Kind) -> Outcome {
    let (lab, a) = usual(kind)?;
    killed_under_a_transfer(&lab, &a, lab.weft()?.dataplane());
    Ok(())
}

/// Bytes and packets an interface has received.
fn received(ns: &Namespace, link: &str) -> (u64, u64) {
    let shown: serde_json::Value =
        serde_json::from_str(&ns.ip(&["-json", "-stats", "link", "show", "dev", link]))
            .expect("ip writes JSON");
    let counted = &shown[0]["stats64"]["rx"];
    (counted["bytes"].as_u64().expect("a count"), counted["packets"].as_u64().expect("a count"))
}

pub(crate) fn speed_super_frames_stay_whole_on_the_way_out(kind: Kind) -> Outcome {
    let (lab, a) = usual(kind)?;
    let [inside, outside] = ends(&lab, &a);
    let before = received(lab.server(), UPLINK);
    traffic::tcp_bulk(inside, outside, 16 << 20);
    on_average(before, received(lab.server(), UPLINK))
}

pub(crate) fn speed_super_frames_stay_whole_on_the_way_in(kind: Kind) -> Outcome {
    let (lab, a) = usual(kind)?;
    let [mut near, far] = connected(&lab, &a)?;
    let before = received(&a.ns, "eth0");
    let block = vec![0x5a; 1 << 20];
    let mut total = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut far = far;
            (0..16).try_for_each(|_| std::io::Write::write_all(&mut far, &block))
        });
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(count @ 1..) = std::io::Read::read(&mut near, &mut buffer) {
            total += count;
        }
    });
    hold!(total == 16 << 20, "{total} bytes arrived");
    on_average(before, received(&a.ns, "eth0"))
}

/// Frames larger than any MTU here, on average.
fn on_average(before: (u64, u64), after: (u64, u64)) -> Outcome {
    let (bytes, packets) = (after.0 - before.0, after.1 - before.1);
    hold!(bytes > packets * 3_000, "{bytes} bytes came in {packets} frames");
    Ok(())
}

pub(crate) fn drops_none_are_counted_under_plain_traffic(kind: Kind) -> Outcome {
    let (lab, a) = usual(kind)?;
    let daemon = lab.weft()?;
    let before = daemon.stats();
    let [inside, outside] = ends(&lab, &a);
    traffic::ping(inside, outside);
    traffic::tcp_bulk(inside, outside, 4 << 20);
    let (client, servers) = (lab.udp(&a, 6000), lab.servers());
    for server in &servers {
        lab.seen(&client, server)?;
    }
    for size in [100, 1472, 1473, 9000] {
        let payload = harness::datagram::write(3, size);
        client.send(servers[0].address(), &payload)?;
        servers[0].awaits(&payload)?;
    }
    // Queues may be full for a moment under bulk, which TCP lives with.
    let allowed = ["port_full", "uplink_full", "underlay_full"];
    let mut moved = daemon.stats().moved_since(&before);
    moved.retain(|reason, _| !allowed.contains(&reason.as_str()));
    hold!(moved.is_empty(), "counted: {moved:?}");
    Ok(())
}

pub(crate) fn rules_none_of_netfilter_are_made(kind: Kind) -> Outcome {
    let (lab, a) = usual(kind)?;
    lab.weft()?;
    hold!(a.pings(SERVERS[0], 56), "no ping");
    let rules = lab.host().exec(&["nft", "list", "ruleset"]);
    hold!(rules.ok() && rules.stdout.trim().is_empty(), "{}{}", rules.stdout, rules.stderr);
    let forwarding = lab.host().exec(&["cat", "/proc/sys/net/ipv4/ip_forward"]).must();
    hold!(forwarding.trim() == "0", "the host forwards");
    Ok(())
}

/// A firewall that forwards nothing.
const STRICT: &str =
    "table inet strict { chain forward { type filter hook forward priority 0; policy drop; }; }";

pub(crate) fn firewall_a_flush_of_all_rules_changes_nothing(kind: Kind) -> Outcome {
    let (lab, a) = usual(kind)?;
    lab.weft()?;
    let [mut near, mut far] = connected(&lab, &a)?;
    lab.host().exec(&["nft", STRICT]).must();
    talks(&mut near, &mut far)?;
    lab.host().exec(&["nft", "flush", "ruleset"]).must();
    talks(&mut near, &mut far)?;
    let [mut near, mut far] = connected(&lab, &a)?;
    talks(&mut near, &mut far)
}
