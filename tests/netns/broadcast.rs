//! Broadcast, multicast and unknown unicast: once to each member, never in a circle (RFC 7348 section 4.2; VX-11, VX-18;
//! IEEE 802.1D 7.12.6).

use harness::daemon::{Config, Daemon};
use harness::frame::{self, Station, cookie, occurrences};
use harness::need;
use harness::underlay::{Family, Offloads, Underlay};
use harness::wire::{Container, NETWORK, VNI, Wire};
use std::net::IpAddr;

#[test]
fn a_broadcast_from_a_container_reaches_each_member_exactly_once() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let [a, b, c] = [11, 12, 13].map(|number| wire.container(number));
    let payload = cookie("to all");
    a.tap.send(&frame::udp(a.station, Station::EVERYBODY, &payload));
    let mut vteps: Vec<IpAddr> = wire
        .put_on_the_wire(&a)
        .iter()
        .filter(|datagram| frame::carries(&datagram.inner, &payload))
        .map(|datagram| datagram.ips.1)
        .collect();
    vteps.sort();
    assert_eq!(vteps, [wire.peer, wire.second_peer]);
    for (container, copies) in [(&a, 0), (&b, 1), (&c, 1)] {
        assert_eq!(
            occurrences(&wire.delivered_to(VNI, container), &payload),
            copies,
            "copies at {}",
            container.name
        );
    }
}

#[test]
fn a_broadcast_from_a_vtep_reaches_each_local_container_once_and_no_vtep() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let [a, b] = [11, 12].map(|number| wire.container(number));
    let payload = cookie("to all");
    wire.from_peer(VNI, &frame::udp(Station::made_up(50), Station::EVERYBODY, &payload));
    for container in [&a, &b] {
        assert_eq!(
            occurrences(&wire.delivered_to(VNI, container), &payload),
            1,
            "copies at {}",
            container.name
        );
    }
    let wired = wire.put_on_the_wire(&a);
    assert!(wired.iter().all(|datagram| !frame::carries(&datagram.inner, &payload)), "tunnel to tunnel");
}

#[test]
fn over_three_hosts_every_broadcast_arrives_everywhere_exactly_once() {
    need!(Root, Tun);
    let underlay = Underlay::new(3, Family::V4, Offloads::On);
    let all: Vec<IpAddr> = underlay.hosts.iter().map(|host| host.address).collect();
    let daemons: Vec<Daemon> = underlay
        .hosts
        .iter()
        .map(|host| {
            let others: Vec<IpAddr> =
                all.iter().copied().filter(|address| *address != host.address).collect();
            let daemon = Daemon::start(&host.ns, &Config::new(host.address, &others));
            let line =
                ["network", "create", NETWORK, "-d", "overlay", "--subnet", "10.77.0.0/24", "--vni", "7001"];
            daemon.weft(&line).must();
            daemon
        })
        .collect();
    let containers: Vec<Container> = (0..6u8)
        .map(|number| Container::connect(&daemons[usize::from(number) / 2], NETWORK, 11 + number, &[]))
        .collect();

    let mut sent: Vec<(usize, Vec<u8>)> = Vec::new();
    for _ in 0..20 {
        for (sender, container) in containers.iter().enumerate() {
            let payload = cookie("to all");
            container.tap.send(&frame::udp(container.station, Station::EVERYBODY, &payload));
            sent.push((sender, payload));
        }
    }
    for (receiver, container) in containers.iter().enumerate() {
        assert_hears_each_once(receiver, container, &containers, &sent);
    }
}

/// Hears every other container out and counts copies of each broadcast.
fn assert_hears_each_once(
    receiver: usize,
    container: &Container,
    containers: &[Container],
    sent: &[(usize, Vec<u8>)],
) {
    let mut heard = Vec::new();
    for other in containers.iter().filter(|other| other.name != container.name) {
        let unicast = |mark: &[u8]| other.tap.send(&frame::udp(other.station, container.station, mark));
        heard.extend(container.tap.up_to_now(unicast));
    }
    for (sender, payload) in sent {
        let copies = usize::from(*sender != receiver);
        assert_eq!(occurrences(&heard, payload), copies, "copies of a broadcast from {sender} at {receiver}");
    }
}

#[test]
fn reserved_group_addresses_are_not_relayed_from_a_container_or_a_vtep() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let [a, b] = [11, 12].map(|number| wire.container(number));
    let (before, payload) = (wire.daemon.stats(), cookie("to the bridge"));
    for last in 0..16u8 {
        let group = [0x01, 0x80, 0xc2, 0, 0, last];
        a.tap.send(&frame::plain(a.station.mac, group, &payload));
        wire.from_peer(VNI, &frame::plain(Station::made_up(50).mac, group, &payload));
    }
    wire.await_drops(&before, "reserved_group", 32);
    assert_eq!(occurrences(&wire.delivered_to(VNI, &b), &payload), 0);
    assert!(wire.put_on_the_wire(&a).iter().all(|datagram| !frame::carries(&datagram.inner, &payload)));
    assert_eq!(
        wire.fdb_entry(VNI, Station::made_up(50).mac),
        None,
        "learned from a frame that was not relayed"
    );
}

#[test]
fn the_group_after_the_reserved_ones_is_relayed() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let [a, b] = [11, 12].map(|number| wire.container(number));
    let payload = cookie("to a group");
    a.tap.send(&frame::plain(a.station.mac, [0x01, 0x80, 0xc2, 0, 0, 0x10], &payload));
    b.tap.wait_for("the frame", |bytes| frame::carries(bytes, &payload).then_some(()));
}

#[test]
fn a_storm_is_limited_at_its_port_and_unicast_passes_unharmed() {
    need!(Root, Tun);
    let wire = Wire::with(Family::V4, &["-o", "storm_kpps=1"]);
    let [storming, quiet, other] =
        [11, 12, 13].map(|number| Container::silent(&wire.daemon, NETWORK, number));
    let (before, storm) = (wire.daemon.stats(), cookie("storm"));
    let mut heard = 0;
    for _ in 0..200 {
        for _ in 0..100 {
            storming.tap.send(&frame::udp(storming.station, Station::EVERYBODY, &storm));
        }
        // Each burst ends in unicast that has to arrive; awaiting it also keeps the TAP's queue from filling.
        let unicast = |mark: &[u8]| storming.tap.send(&frame::udp(storming.station, other.station, mark));
        heard += occurrences(&other.tap.up_to_now(unicast), &storm);
    }
    let dropped = wire.daemon.stats().drop("storm") - before.drop("storm");
    assert!(dropped > 0, "20,000 broadcasts passed a limit of 1,000 a second");
    assert_eq!(heard as u64 + dropped, 20_000, "every copy is delivered or counted");
    let payload = cookie("quiet");
    quiet.tap.send(&frame::udp(quiet.station, Station::EVERYBODY, &payload));
    other.tap.wait_for("another port's broadcast", |bytes| frame::carries(bytes, &payload).then_some(()));
}
