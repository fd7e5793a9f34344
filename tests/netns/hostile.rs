//! Any bytes at all: each ends in one counted verdict, and the honest are served as before.

use harness::daemon::Stats;
use harness::frame::{self, Station, cookie};
use harness::need;
use harness::random::Random;
use harness::wait;
use harness::wire::{Container, NETWORK, VNI, Wire};

/// How many pieces of nonsense each test sends.
const NONSENSE: u64 = 4_000;

/// So many at a time are sent before their verdicts are awaited: less than any queue on the way holds.
const BURST: u64 = 100;

/// Verdicts of any kind.
fn verdicts(stats: &Stats) -> u64 {
    stats.packets + stats.dropped()
}

/// Sends `NONSENSE` pieces and holds the daemon to one verdict for each.
#[track_caller]
fn each_ends_in_a_verdict(wire: &mut Wire, mut send: impl FnMut(&Wire)) {
    let before = verdicts(&wire.daemon.stats());
    for burst in 1..=NONSENSE / BURST {
        (0..BURST).for_each(|_| send(wire));
        wait::until_true("each frame ends in a verdict", || {
            verdicts(&wire.daemon.stats()) - before >= burst * BURST
        });
    }
    assert_eq!(verdicts(&wire.daemon.stats()) - before, NONSENSE, "more verdicts than frames");
    assert!(wire.daemon.alive());
}

#[track_caller]
fn still_serves(wire: &Wire, a: &Container, b: &Container) {
    let payload = cookie("honest");
    a.tap.send(&frame::udp(a.station, b.station, &payload));
    b.tap.wait_for("an honest frame", |bytes| frame::carries(bytes, &payload).then_some(()));
    let payload = cookie("honest from far");
    wire.from_peer(VNI, &frame::udp(Station::made_up(50), b.station, &payload));
    b.tap.wait_for("an honest datagram", |bytes| frame::carries(bytes, &payload).then_some(()));
}

#[test]
fn random_bytes_on_the_tunnel_port() {
    need!(Root, Tun);
    let mut wire = Wire::blue();
    let [a, b] = [11, 12].map(|number| Container::silent(&wire.daemon, NETWORK, number));
    let mut random = Random::new(2);
    each_ends_in_a_verdict(&mut wire, |wire| {
        let length = random.below(1_400);
        wire.far.send(&wire.outer(wire.peer).around(&random.bytes(length)));
    });
    still_serves(&wire, &a, &b);
}

#[test]
fn random_frames_behind_a_good_header() {
    need!(Root, Tun);
    let mut wire = Wire::blue();
    let [a, b] = [11, 12].map(|number| Container::silent(&wire.daemon, NETWORK, number));
    let mut random = Random::new(3);
    each_ends_in_a_verdict(&mut wire, |wire| {
        let inner = mutilated(&mut random, Station::made_up(50), a.station);
        wire.from_peer(VNI, &inner);
    });
    still_serves(&wire, &a, &b);
}

#[test]
fn random_bytes_from_a_container() {
    need!(Root, Tun);
    let mut wire = Wire::blue();
    let [a, b] = [11, 12].map(|number| Container::silent(&wire.daemon, NETWORK, number));
    let mut random = Random::new(4);
    each_ends_in_a_verdict(&mut wire, |_| {
        // The kernel takes no frame without a whole Ethernet header.
        let length = 14 + random.below(1_400);
        a.tap.send(&random.bytes(length));
    });
    still_serves(&wire, &a, &b);
}

#[test]
fn mutilated_frames_from_a_container_that_may_say_anything() {
    need!(Root, Tun);
    let mut wire = Wire::blue();
    wire.create("red", 7002, "10.77.0.0/24", &["-o", "anti_spoof=off", "-o", "vlan=pass"]);
    let [a, b] = [11, 12].map(|number| Container::silent(&wire.daemon, NETWORK, number));
    let wild = Container::silent(&wire.daemon, "red", 13);
    let mut random = Random::new(5);
    each_ends_in_a_verdict(&mut wire, |_| {
        wild.tap.send(&mutilated(&mut random, wild.station, Station::EVERYBODY))
    });
    still_serves(&wire, &a, &b);
}

/// An honest frame with a few bytes changed, or cut short: what parsers trip over.
fn mutilated(random: &mut Random, from: Station, to: Station) -> Vec<u8> {
    let size = random.below(200);
    let payload = random.bytes(size);
    let mut bytes = match random.below(4) {
        0 => frame::udp(from, to, &payload),
        1 => frame::arp(from.mac, to.mac, etherparse::ArpOperation::REQUEST, from, to),
        2 => frame::tagged(&frame::udp(from, to, &payload), 5),
        _ => {
            let [a, b] = [from, to].map(|station| (station.mac, station.ip.to_ipv6_mapped()));
            frame::icmp6(a, b, 135, [0; 4], &payload)
        }
    };
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        bytes[at] = random.bytes(1)[0];
    }
    let keep = 14 + random.below(bytes.len() - 13);
    bytes.truncate(keep.min(bytes.len()));
    bytes
}
