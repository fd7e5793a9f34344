//! Networks never see each other's frames, whatever they have in common (VX-4; IEEE 802.1Q: one FDB for each).

use harness::frame::{self, Station, cookie};
use harness::need;
use harness::wire::{Container, NETWORK, VNI, Wire};

const OTHER_VNI: u32 = 7002;
const SAME_MAC: &str = "02:42:0a:4d:00:0b";

/// The same container twice: same address, same MAC, one on `blue` and one on `red`.
fn twins(wire: &Wire) -> [Container; 2] {
    wire.create("red", OTHER_VNI, "10.77.0.0/24", &[]);
    [NETWORK, "red"].map(|network| wire.container_on(network, 11, &["--mac", SAME_MAC]))
}

fn heard(frames: &[Vec<u8>], payload: &[u8]) -> bool {
    frames.iter().any(|bytes| frame::carries(bytes, payload))
}

#[test]
fn a_broadcast_stays_on_its_network() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let [blue, red] = twins(&wire);
    let payload = cookie("blue only");
    blue.tap.send(&frame::udp(blue.station, Station::EVERYBODY, &payload));
    let wired = wire.put_on_the_wire(&blue);
    let ours: Vec<u32> =
        wired.iter().filter(|datagram| frame::carries(&datagram.inner, &payload)).map(|d| d.vni()).collect();
    assert_eq!(ours, [VNI, VNI], "one copy for each peer, with the VNI of its own network");
    assert!(!heard(&wire.delivered_to(OTHER_VNI, &red), &payload));
}

#[test]
fn a_datagram_is_delivered_on_the_network_of_its_vni_only() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let [blue, red] = twins(&wire);
    let (for_blue, for_red) = (cookie("for blue"), cookie("for red"));
    wire.from_peer(VNI, &frame::udp(Station::made_up(50), blue.station, &for_blue));
    wire.from_peer(OTHER_VNI, &frame::udp(Station::made_up(50), red.station, &for_red));
    let (at_blue, at_red) = (wire.delivered_to(VNI, &blue), wire.delivered_to(OTHER_VNI, &red));
    assert_eq!((heard(&at_blue, &for_blue), heard(&at_blue, &for_red)), (true, false));
    assert_eq!((heard(&at_red, &for_red), heard(&at_red, &for_blue)), (true, false));
}

#[test]
fn a_station_is_known_separately_on_each_network() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let [blue, red] = twins(&wire);
    let station = Station::made_up(50);
    wire.from_vtep(wire.peer, VNI, &frame::udp(station, blue.station, &cookie("hello")));
    wire.from_vtep(wire.second_peer, OTHER_VNI, &frame::udp(station, red.station, &cookie("hello")));
    wire.delivered_to(OTHER_VNI, &red);
    assert_eq!(wire.fdb_entry(VNI, station.mac).and_then(|row| row.vtep), Some(wire.peer));
    assert_eq!(wire.fdb_entry(OTHER_VNI, station.mac).and_then(|row| row.vtep), Some(wire.second_peer));
    let payload = cookie("to the red one");
    red.tap.send(&frame::udp(red.station, station, &payload));
    assert_eq!(wire.tunnelled(&payload).ips.1, wire.second_peer);
}

#[test]
fn a_bridge_network_never_uses_the_tunnel() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let line = ["network", "create", "local", "-d", "bridge", "--subnet", "10.77.0.0/24"];
    wire.daemon.weft(&line).must();
    let (local, blue) = (wire.container_on("local", 11, &[]), wire.container_on(NETWORK, 12, &[]));
    let payload = cookie("local only");
    local.tap.send(&frame::udp(local.station, Station::EVERYBODY, &payload));
    local.tap.send(&frame::udp(local.station, Station::made_up(50), &payload));
    let neighbour = wire.container_on("local", 13, &[]);
    let seen = cookie("seen");
    local.tap.send(&frame::udp(local.station, neighbour.station, &seen));
    neighbour.tap.wait_for("a frame after those", |bytes| frame::carries(bytes, &seen).then_some(()));
    let wired = wire.put_on_the_wire(&blue);
    assert!(wired.iter().all(|datagram| !frame::carries(&datagram.inner, &payload)));
    assert!(!heard(&wire.delivered_to(VNI, &blue), &payload));
}
