//! What a port may not say (anti-spoofing, on by default), and that it is dropped under the right name.

use etherparse::ArpOperation;
use harness::frame::{self, BROADCAST, Mac, Station, cookie};
use harness::need;
use harness::underlay::Family;
use harness::wire::{Container, NETWORK, VNI, Wire};
use std::net::Ipv6Addr;

const ALL_NODES: (Mac, Ipv6Addr) = ([0x33, 0x33, 0, 0, 0, 1], Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
const STRANGER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x66);
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

/// The link-local address a container makes of its MAC (RFC 4291 appendix A).
fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.map(u16::from);
    Ipv6Addr::new(0xfe80, 0, 0, 0, ((a ^ 2) << 8) | b, (c << 8) | 0xff, 0xfe00 | d, (e << 8) | f)
}

/// Sends `lie` from the container and expects it to be counted under `reason`, and neither tunnelled nor delivered.
#[track_caller]
fn is_refused(wire: &Wire, liar: &Container, witness: &Container, lie: &[u8], reason: &str, payload: &[u8]) {
    let before = wire.daemon.stats();
    liar.tap.send(lie);
    wire.await_drops(&before, reason, 1);
    let wired = wire.put_on_the_wire(liar);
    assert!(wired.iter().all(|datagram| !frame::carries(&datagram.inner, payload)), "a lie was tunnelled");
    let heard = wire.delivered_to(VNI, witness);
    assert!(heard.iter().all(|bytes| !frame::carries(bytes, payload)), "a lie was delivered");
}

/// The usual scene: a liar, a witness, and whom the liar would like to be.
struct Scene {
    wire: Wire,
    liar: Container,
    witness: Container,
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        let wire = Wire::with(Family::V4, options);
        let [liar, witness] = [11, 12].map(|number| wire.container_on(NETWORK, number, &[]));
        Scene { wire, liar, witness }
    }

    #[track_caller]
    fn refuses(&self, lie: &[u8], reason: &str, payload: &[u8]) {
        is_refused(&self.wire, &self.liar, &self.witness, lie, reason, payload);
    }

    #[track_caller]
    fn delivers(&self, honest: &[u8], payload: &[u8]) {
        self.liar.tap.send(honest);
        self.witness.tap.wait_for("an allowed frame", |bytes| frame::carries(bytes, payload).then_some(()));
    }
}

#[test]
fn a_foreign_source_mac_is_refused() {
    need!(Root, Tun);
    let scene = Scene::new(&[]);
    let payload = cookie("lie");
    let liar = Station { mac: scene.witness.station.mac, ..scene.liar.station };
    scene.refuses(&frame::udp(liar, Station::EVERYBODY, &payload), "spoofed_mac", &payload);
    assert_eq!(
        scene.wire.fdb().iter().filter(|row| row.mac == liar.mac).count(),
        1,
        "one entry, the owner's"
    );
}

#[test]
fn a_foreign_source_address_is_refused() {
    need!(Root, Tun);
    let scene = Scene::new(&[]);
    let payload = cookie("lie");
    let liar = Station { ip: scene.witness.station.ip, ..scene.liar.station };
    scene.refuses(&frame::udp(liar, Station::EVERYBODY, &payload), "spoofed_ip", &payload);
}

#[test]
fn a_foreign_ipv6_source_address_is_refused() {
    need!(Root, Tun);
    let scene = Scene::new(&[]);
    let (from, payload) = ((scene.liar.station.mac, STRANGER), cookie("lie"));
    scene.refuses(
        &frame::udp6(from, ALL_NODES, (40_000, frame::TEST_PORT), &payload),
        "spoofed_ip",
        &payload,
    );
}

#[test]
fn arp_for_somebody_else_is_refused_by_address_and_by_mac() {
    need!(Root, Tun);
    let scene = Scene::new(&[]);
    let (liar, victim) = (scene.liar.station, scene.witness.station);
    let by_address = Station { mac: liar.mac, ip: victim.ip };
    let by_mac = Station { mac: Station::made_up(66).mac, ip: liar.ip };
    let nobody = Station { mac: [0; 6], ip: Station::made_up(77).ip };
    for (sender, operation) in [
        (by_address, ArpOperation::REPLY),
        (by_address, ArpOperation::REQUEST),
        (by_mac, ArpOperation::REPLY),
    ] {
        let lie = frame::arp(liar.mac, BROADCAST, operation, sender, nobody);
        scene.refuses(&lie, "spoofed_arp", &nobody.ip.octets());
    }
}

#[test]
fn a_neighbor_advertisement_for_somebody_else_is_refused() {
    need!(Root, Tun);
    let scene = Scene::new(&[]);
    let mac = scene.liar.station.mac;
    let target_and_link_layer = [STRANGER.octets().as_slice(), &[2, 1], &mac].concat();
    let own = (mac, link_local(mac));
    let lie = frame::icmp6(own, ALL_NODES, NEIGHBOR_ADVERTISEMENT, [0x20, 0, 0, 0], &target_and_link_layer);
    scene.refuses(&lie, "spoofed_nd", &STRANGER.octets());
}

#[test]
fn a_neighbor_solicitation_with_a_foreign_link_layer_address_is_refused() {
    need!(Root, Tun);
    let scene = Scene::new(&[]);
    let mac = scene.liar.station.mac;
    let body = [STRANGER.octets().as_slice(), &[1, 1], &scene.witness.station.mac].concat();
    let lie = frame::icmp6((mac, link_local(mac)), ALL_NODES, NEIGHBOR_SOLICITATION, [0; 4], &body);
    scene.refuses(&lie, "spoofed_nd", &STRANGER.octets());
}

#[test]
fn router_advertisements_and_redirects_are_refused() {
    need!(Root, Tun);
    let scene = Scene::new(&[]);
    let own = (scene.liar.station.mac, link_local(scene.liar.station.mac));
    let mtu_option = [5, 1, 0, 0, 0, 0, 5, 0xdc];
    let body = [[0; 8], mtu_option].concat();
    let advertisement = frame::icmp6(own, ALL_NODES, ROUTER_ADVERTISEMENT, [64, 0, 7, 8], &body);
    scene.refuses(&advertisement, "router_advert", &mtu_option);
    let body = [STRANGER.octets(), link_local(scene.witness.station.mac).octets()].concat();
    let redirect = frame::icmp6(own, ALL_NODES, REDIRECT, [0; 4], &body);
    scene.refuses(&redirect, "router_advert", &STRANGER.octets());
}

#[test]
fn dhcp_servers_are_refused_over_both_families() {
    need!(Root, Tun);
    let scene = Scene::new(&[]);
    let (own, payload) = (scene.liar.station, cookie("an offer"));
    scene.refuses(&frame::udp_ports(own, Station::EVERYBODY, (67, 68), &payload), "dhcp_server", &payload);
    let own = (own.mac, link_local(own.mac));
    scene.refuses(&frame::udp6(own, ALL_NODES, (547, 546), &payload), "dhcp_server", &payload);
}

#[test]
fn a_container_cannot_address_the_tunnel_port_of_a_vtep() {
    need!(Root, Tun);
    let scene = Scene::new(&[]);
    let (own, payload) = (scene.liar.station, cookie("a tunnel in a tunnel"));
    for vtep in [scene.wire.vtep, scene.wire.peer] {
        let std::net::IpAddr::V4(ip) = vtep else { panic!("an IPv4 underlay") };
        let target = Station { mac: Station::made_up(1).mac, ip };
        let lie = frame::udp_ports(own, target, (40_000, frame::VXLAN_PORT), &payload);
        scene.refuses(&lie, "to_vtep_port", &payload);
    }
}

#[test]
fn a_group_source_mac_is_refused_even_without_anti_spoofing() {
    need!(Root, Tun);
    let scene = Scene::new(&["-o", "anti_spoof=off"]);
    let payload = cookie("lie");
    for mac in [[0x01, 0, 0x5e, 0, 0, 1], BROADCAST, [0; 6]] {
        let liar = Station { mac, ..scene.liar.station };
        scene.refuses(&frame::udp(liar, Station::EVERYBODY, &payload), "bad_source_mac", &payload);
    }
}

#[test]
fn what_a_host_may_say_without_an_address_passes() {
    need!(Root, Tun);
    let scene = Scene::new(&[]);
    let own = scene.liar.station;
    let (unspecified, payload) = (Station { ip: [0, 0, 0, 0].into(), ..own }, cookie("a discover"));
    scene.delivers(&frame::udp_ports(unspecified, Station::EVERYBODY, (68, 67), &payload), &payload);
    let wanted = Station { mac: [0; 6], ip: Station::made_up(77).ip };
    let probe = frame::arp(own.mac, BROADCAST, ArpOperation::REQUEST, unspecified, wanted);
    scene.delivers(&probe, &wanted.ip.octets());
    let own6 = (own.mac, link_local(own.mac));
    scene.delivers(&frame::udp6(own6, ALL_NODES, (40_000, frame::TEST_PORT), &payload), &payload);
}

#[test]
fn with_anti_spoofing_off_a_port_may_speak_for_others() {
    need!(Root, Tun);
    let scene = Scene::new(&["-o", "anti_spoof=off"]);
    let (other, payload) = (Station::made_up(66), cookie("for another"));
    scene.delivers(&frame::udp(other, Station::EVERYBODY, &payload), &payload);
    let nobody = Station { mac: [0; 6], ip: Station::made_up(77).ip };
    let reply = frame::arp(other.mac, BROADCAST, ArpOperation::REPLY, other, nobody);
    scene.delivers(&reply, &nobody.ip.octets());
    assert!(
        scene.wire.fdb_entry(VNI, other.mac).is_some_and(|row| row.vtep.is_none()),
        "learned behind the port"
    );
}
