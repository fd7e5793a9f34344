//! Where unicast goes, and who is remembered where (IEEE 802.1D 7.7 to 7.9; RFC 7348 section 4.1).

use harness::frame::{self, Station, Tunnelled, cookie};
use harness::need;
use harness::underlay::Family;
use harness::wait;
use harness::wire::{NETWORK, VNI, Wire};
use std::net::IpAddr;

fn destinations(datagrams: &[Tunnelled], payload: &[u8]) -> Vec<IpAddr> {
    let ours = datagrams.iter().filter(|datagram| frame::carries(&datagram.inner, payload));
    let mut to: Vec<IpAddr> = ours.map(|datagram| datagram.ips.1).collect();
    to.sort();
    to
}

#[test]
fn unicast_to_an_unknown_station_goes_to_every_vtep_and_then_only_to_the_one_it_answered_from() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let (container, station) = (wire.container(11), Station::made_up(50));
    let (first, second) = (cookie("first"), cookie("second"));
    container.tap.send(&frame::udp(container.station, station, &first));
    assert_eq!(destinations(&wire.put_on_the_wire(&container), &first), [wire.peer, wire.second_peer]);

    let answer = cookie("answer");
    wire.from_vtep(wire.second_peer, VNI, &frame::udp(station, container.station, &answer));
    container.tap.wait_for("the answer", |bytes| frame::carries(bytes, &answer).then_some(()));
    assert_eq!(wire.fdb_entry(VNI, station.mac).and_then(|row| row.vtep), Some(wire.second_peer));
    container.tap.send(&frame::udp(container.station, station, &second));
    assert_eq!(destinations(&wire.put_on_the_wire(&container), &second), [wire.second_peer]);
}

#[test]
fn a_station_that_moves_to_another_vtep_is_followed() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let (container, station) = (wire.container(11), Station::made_up(50));
    for vtep in [wire.peer, wire.second_peer] {
        let hello = cookie("hello");
        wire.from_vtep(vtep, VNI, &frame::udp(station, container.station, &hello));
        container.tap.wait_for("the hello", |bytes| frame::carries(bytes, &hello).then_some(()));
        assert_eq!(wire.fdb_entry(VNI, station.mac).and_then(|row| row.vtep), Some(vtep));
        let back = cookie("back");
        container.tap.send(&frame::udp(container.station, station, &back));
        assert_eq!(destinations(&wire.put_on_the_wire(&container), &back), [vtep]);
    }
}

#[test]
fn unicast_between_local_containers_never_touches_the_wire() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let [a, b] = [11, 12].map(|number| wire.container(number));
    let payload = cookie("local");
    a.tap.send(&frame::udp(a.station, b.station, &payload));
    b.tap.wait_for("the frame", |bytes| frame::carries(bytes, &payload).then_some(()));
    assert!(destinations(&wire.put_on_the_wire(&a), &payload).is_empty());
}

#[test]
fn unicast_reaches_its_container_and_no_other() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let [a, b] = [11, 12].map(|number| wire.container(number));
    let payload = cookie("for a");
    wire.from_peer(VNI, &frame::udp(Station::made_up(50), a.station, &payload));
    a.tap.wait_for("the frame", |bytes| frame::carries(bytes, &payload).then_some(()));
    assert!(wire.delivered_to(VNI, &b).iter().all(|bytes| !frame::carries(bytes, &payload)));
}

#[test]
fn a_vtep_cannot_take_the_address_of_a_local_endpoint() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let [victim, other] = [11, 12].map(|number| wire.container(number));
    let before = wire.daemon.stats();
    let lie =
        frame::udp(Station { ip: Station::made_up(66).ip, ..victim.station }, other.station, &cookie("lie"));
    wire.from_peer(VNI, &lie);
    wire.await_drops(&before, "source_conflict", 1);
    assert_eq!(wire.fdb_entry(VNI, victim.station.mac).and_then(|row| row.vtep), None);
    let payload = cookie("to the victim");
    other.tap.send(&frame::udp(other.station, victim.station, &payload));
    victim.tap.wait_for("the frame", |bytes| frame::carries(bytes, &payload).then_some(()));
}

#[test]
fn a_vtep_is_not_a_way_to_another_vtep() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let (container, station) = (wire.container(11), Station::made_up(50));
    let hello = cookie("hello");
    wire.from_vtep(wire.second_peer, VNI, &frame::udp(station, container.station, &hello));
    container.tap.wait_for("the hello", |bytes| frame::carries(bytes, &hello).then_some(()));
    let (before, payload) = (wire.daemon.stats(), cookie("transit"));
    wire.from_vtep(wire.peer, VNI, &frame::udp(Station::made_up(51), station, &payload));
    wire.await_drops(&before, "split_horizon", 1);
    assert!(destinations(&wire.put_on_the_wire(&container), &payload).is_empty());
}

#[test]
fn a_flood_of_addresses_stays_within_the_cap_of_its_port_and_hurts_nobody_else() {
    need!(Root, Tun);
    let wire = Wire::with(Family::V4, &["-o", "anti_spoof=off", "-o", "fdb_limit=8"]);
    let [flooder, victim] = [11, 12].map(|number| wire.container(number));
    let station = Station::made_up(50);
    wire.from_peer(VNI, &frame::udp(station, victim.station, &cookie("hello")));
    wait::until_true("the station is learned", || wire.fdb_entry(VNI, station.mac).is_some());
    for number in 0..200u8 {
        let liar = Station { mac: [0x02, 0xbb, 0, 0, 0, number], ip: flooder.station.ip };
        flooder.tap.send(&frame::udp(liar, victim.station, &cookie("flood")));
    }
    let last = cookie("last");
    flooder.tap.send(&frame::udp(flooder.station, victim.station, &last));
    victim.tap.wait_for("the last frame", |bytes| frame::carries(bytes, &last).then_some(()));
    let flooded = wire.fdb().iter().filter(|row| row.mac[1] == 0xbb).count();
    assert!((1..=8).contains(&flooded), "{flooded} entries for one port");
    assert_eq!(wire.fdb_entry(VNI, station.mac).and_then(|row| row.vtep), Some(wire.peer));
    for container in [&flooder, &victim] {
        assert!(
            wire.fdb_entry(VNI, container.station.mac).is_some(),
            "an endpoint's own entry was displaced"
        );
    }
}

#[test]
fn a_vtep_that_floods_addresses_is_capped_too() {
    need!(Root, Tun);
    let wire = Wire::with(Family::V4, &["-o", "fdb_limit=2"]);
    let container = wire.container(11);
    let station = Station::made_up(50);
    wire.from_vtep(wire.second_peer, VNI, &frame::udp(station, container.station, &cookie("hello")));
    for number in 0..600u16 {
        let [high, low] = number.to_be_bytes();
        let liar = Station { mac: [0x02, 0xbb, 0, 0, high, low], ip: Station::made_up(66).ip };
        wire.from_peer(VNI, &frame::udp(liar, container.station, &cookie("flood")));
    }
    wire.delivered_to(VNI, &container);
    let flooded = wire.fdb().iter().filter(|row| row.mac[1] == 0xbb).count();
    assert!((1..600).contains(&flooded), "{flooded} entries for one VTEP with a limit of 2 for each port");
    assert_eq!(wire.fdb_entry(VNI, station.mac).and_then(|row| row.vtep), Some(wire.second_peer));
}

#[test]
fn fdb_show_names_the_network_and_the_place() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let container = wire.container(11);
    wire.from_peer(VNI, &frame::udp(Station::made_up(50), container.station, &cookie("hello")));
    wait::until_true("the station is learned", || wire.fdb_entry(VNI, Station::made_up(50).mac).is_some());
    for row in wire.daemon.json(&["fdb", "show", NETWORK]).as_array().expect("an array") {
        assert_eq!((&row["network"], &row["vni"]), (&NETWORK.into(), &VNI.into()));
        assert!(row["kind"].is_string() && (row["vtep"].is_string() ^ !row["port"].is_null()), "{row}");
    }
    assert_eq!(wire.daemon.weft(&["fdb", "show", "nowhere"]).code, Some(3));
}
