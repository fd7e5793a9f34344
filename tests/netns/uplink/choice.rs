//! Chosen by trial, by what the device offers, or by force; on the wire it is VXLAN as it should be.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use harness::daemon::{Config, Daemon};
use harness::frame::Tunnelled;
use harness::need;
use harness::netns::Namespace;
use harness::raw::RawSocket;
use harness::traffic;
use harness::underlay::{Family, Offloads, UPLINK, Underlay};
use std::time::Duration;

use super::{MIB, Pair, Site, carried, until_used, uplinks};

#[test]
fn two_hosts_choose_it_and_everything_arrives() {
    need!(Root, Tun);
    for family in [Family::V4, Family::V6] {
        let pair = Pair::start(family, Offloads::On, None);
        let [a, b] = &pair.sites;
        let status = a.daemon.json(&["status"]);
        assert_eq!(status["underlay_mode"], "tunnel-gso", "{status}");
        assert!(status["underlay_reason"].is_null(), "{status}");
        pair.until_whole();
        let before = [a, b].map(|site| site.daemon.stats().dropped());
        for (from, to) in [(a, b), (b, a)] {
            let count = carried(pair.host(0));
            traffic::ping(from.end(), to.end());
            traffic::udp_of_every_size(from.end(), to.end(), family.inner_mtu());
            traffic::tcp_bulk(from.end(), to.end(), 32 * MIB);
            assert!(carried(pair.host(0)) > count + 1000, "most of it went through the uplink");
        }
        assert_eq!([a, b].map(|site| site.daemon.stats().dropped()), before);
    }
}

#[test]
fn what_it_puts_on_the_wire_is_vxlan_with_right_checksums() {
    need!(Root, Tun);
    for family in [Family::V4, Family::V6] {
        let pair = Pair::start(family, Offloads::Off, Some("tunnel-gso"));
        pair.until_whole();
        let [a, b] = &pair.sites;
        let bulk: &dyn Fn() = &|| traffic::tcp_bulk(a.end(), b.end(), MIB);
        let datagrams: &dyn Fn() = &|| traffic::udp_of_every_size(a.end(), b.end(), 600);
        for (expected, talk) in [(6, bulk), (17, datagrams)] {
            let wire = RawSocket::open(pair.host(1), UPLINK);
            talk();
            let mut seen = 0;
            while let Some(frame) = wire.next_within(Duration::from_millis(100)) {
                assert!(frame.len() <= 1514, "{} bytes on the wire", frame.len());
                let Some(datagram) = Tunnelled::parse(&frame) else { continue };
                assert!(datagram.checksum_is_right && datagram.checksum != 0, "{family:?} {datagram:?}");
                let envelope = (datagram.ttl, datagram.dont_fragment, datagram.fragment);
                assert_eq!(envelope, (64, true, false), "{family:?}");
                assert_eq!(datagram.header, [8, 0, 0, 0, 0, 0x1b, 0x59, 0]);
                assert!(datagram.ports.0 >= 49_152);
                if let Some((protocol, right)) = inner_checksum(&datagram.inner) {
                    assert!(right, "the checksum of an inner packet of protocol {protocol} is wrong");
                    seen += u32::from(protocol == expected);
                }
            }
            // The socket's buffer does not hold everything; what it holds is enough.
            assert!(seen > 20, "{seen} packets of protocol {expected} were looked at");
        }
    }
}

/// The protocol of an inner TCP or UDP packet, and whether its checksum is right.
fn inner_checksum(frame: &[u8]) -> Option<(u8, bool)> {
    let packet = SlicedPacket::from_ethernet(frame).expect("an Ethernet frame");
    let Some(NetSlice::Ipv4(ip)) = packet.net else { return None };
    assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
    let (from, to) = (ip.header().source(), ip.header().destination());
    match packet.transport? {
        TransportSlice::Tcp(tcp) => {
            let right = tcp.to_header().calc_checksum_ipv4_raw(from, to, tcp.payload());
            Some((6, right == Ok(tcp.checksum())))
        }
        TransportSlice::Udp(udp) => {
            let right = udp.to_header().calc_checksum_ipv4_raw(from, to, udp.payload());
            Some((17, right == Ok(udp.checksum())))
        }
        _ => None,
    }
}

#[test]
fn a_device_that_does_not_offer_it_gets_the_next_best_unless_it_is_forced() {
    need!(Root, Tun);
    let underlay = Underlay::new(2, Family::V4, Offloads::On);
    let [a, b] = underlay.hosts.as_slice() else { panic!("two hosts were made") };
    a.ns.exec(&["ethtool", "-K", UPLINK, "tx-udp_tnl-csum-segmentation", "off"]).must();
    let left = Site::start(&a.ns, 11, a.address, b.address, None);
    let status = left.daemon.json(&["status"]);
    assert_eq!(status["underlay_mode"], "udp-gso", "{status}");
    let reason = status["underlay_reason"].as_str().expect("there is a reason");
    assert!(
        reason.starts_with("tunnel-gso: u0 ") && reason.contains("tx-udp_tnl-csum-segmentation"),
        "{reason}"
    );
    assert_eq!(uplinks(&a.ns), Vec::<String>::new());
    drop(left);

    let left = Site::start(&a.ns, 11, a.address, b.address, Some("tunnel-gso"));
    let right = Site::start(&b.ns, 12, b.address, a.address, Some("udp"));
    assert_eq!([left.mode(), right.mode()], ["tunnel-gso", "udp"]);
    until_used(&[&a.ns], &left, &right);
    for (from, to) in [(&left, &right), (&right, &left)] {
        traffic::udp_of_every_size(from.end(), to.end(), 1450);
        traffic::tcp_bulk(from.end(), to.end(), 8 * MIB);
    }
}

#[test]
fn forced_where_it_cannot_be_had_it_is_refused_in_one_line() {
    need!(Root, Tun);
    let host = Namespace::new("host");
    let [own, peer] = [1, 2].map(|number| Family::V4.address(number));
    host.ip(&["address", "add", &format!("{own}/24"), "dev", "lo"]);
    let mut config = Config::new(own, &[peer]);
    config.mode = Some("tunnel-gso");
    let refusal = Daemon::refusal(&host, &config);
    assert_eq!(refusal.code, Some(1), "{refusal:?}");
    assert_eq!(refusal.stderr.lines().count(), 1, "{refusal:?}");
    for part in ["tunnel-gso", "lo is not an Ethernet device", "underlay.mode"] {
        assert!(refusal.stderr.contains(part), "{refusal:?}");
    }
    assert_eq!(host.links(), ["lo"]);
    config.mode = None;
    let daemon = Daemon::start(&host, &config);
    let status = daemon.json(&["status"]);
    assert_eq!(status["underlay_mode"], "udp-gso", "{status}");
}
