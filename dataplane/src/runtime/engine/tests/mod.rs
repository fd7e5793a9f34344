//! Whole hosts over memory: what enters one of them, and what comes out of the others.

mod hostile;
mod nat;
mod net;
mod super_frames;

use self::net::Net;
use super::*;
use crate::io::memory::{Carried, RING_FRAMES};
use crate::io::{Gone, Received};
use crate::offload::Offload;
use crate::offload::vnet::VnetError;
use crate::tables::SegmentId;
use crate::testing::{plain, station, udp4, vni, vtep, vxlan};
use crate::wire::{Ecn, MacAddr, Vni};

/// Where copies of `frame` were delivered, as (host, port).
fn got(net: &mut Net, frame: &[u8]) -> Vec<(u8, u32)> {
    let delivered = net.delivered();
    assert!(delivered.iter().all(|(_, bytes, _)| bytes == frame), "every copy is the frame");
    let mut places: Vec<_> = delivered.into_iter().map(|(place, ..)| place).collect();
    places.sort_unstable();
    places
}

#[test]
fn unicast_goes_to_one_and_a_flood_once_to_each_other_member() {
    // Hosts 1 to 3; on host h the ports 10h+1 and 10h+2 of stations with the same numbers.
    let mut net = Net::of(3);
    let broadcast = plain(MacAddr::BROADCAST, station(11).mac, b"who is there");
    net.send(1, 11, &broadcast);
    assert_eq!(got(&mut net, &broadcast), [(1, 12), (2, 21), (2, 22), (3, 31), (3, 32)]);
    let unknown = plain(MacAddr([2; 6]), station(11).mac, b"anybody?");
    net.send(1, 11, &unknown);
    assert_eq!(got(&mut net, &unknown), [(1, 12), (2, 21), (2, 22), (3, 31), (3, 32)]);

    let answer = udp4(station(31), station(11), (1, 2), b"me");
    net.send(3, 31, &answer);
    assert_eq!(got(&mut net, &answer), [(1, 11)], "learned from the flood");
    let onward = udp4(station(11), station(31), (2, 1), b"you");
    net.send(1, 11, &onward);
    assert_eq!(got(&mut net, &onward), [(3, 31)]);
    let local = udp4(station(11), station(12), (2, 1), b"you");
    net.send(1, 11, &local);
    assert_eq!(got(&mut net, &local), [(1, 12)]);
    net.assert_nothing_dropped();
}

#[test]
fn a_group_frame_from_every_member_is_never_reflected() {
    let mut net = Net::of(3);
    for (host, port) in [(1, 11), (1, 12), (2, 21), (2, 22), (3, 31), (3, 32)] {
        let frame = plain(MacAddr([0x33, 0x33, 0, 0, 0, 1]), station(port as u8).mac, b"group");
        net.send(host, port, &frame);
        let got = got(&mut net, &frame);
        assert_eq!(got.len(), 5);
        assert!(!got.contains(&(host, port)));
    }
    net.assert_nothing_dropped();
}

#[test]
fn networks_with_the_same_stations_never_mix() {
    // Port p + 100 is the same station as port p, on another VNI.
    let mut net = Net::of(2);
    for (from, to) in [(11, MacAddr::BROADCAST), (11, station(21).mac), (11, station(12).mac)] {
        let frame = plain(to, station(from).mac, b"red");
        net.send(1, from.into(), &frame);
        let red = got(&mut net, &frame);
        assert!(!red.is_empty() && red.iter().all(|&(_, port)| port < 100), "{red:?}");
        let frame = plain(to, station(from).mac, b"blue");
        net.send(1, u32::from(from) + 100, &frame);
        let blue = got(&mut net, &frame);
        assert!(!blue.is_empty() && blue.iter().all(|&(_, port)| port > 100), "{blue:?}");
    }
}

#[test]
fn the_envelope_says_what_the_inner_frame_is() {
    let mut net = Net::of(1);
    let peer = net.stranger(2);
    let frame = udp4(station(11), station(77), (1, 2), b"x");
    net.send(1, 11, &frame);
    let Carried { sender, source_port, ecn, payload } = peer.take().unwrap();
    assert_eq!((sender, ecn, payload), (vtep(1), Ecn::NotEct, vxlan(vni(1), &frame)));
    assert!(source_port >= 49_152);
    net.send(1, 11, &frame);
    assert_eq!(peer.take().unwrap().source_port, source_port, "a flow keeps its source port");
    let ports: std::collections::HashSet<_> = (0..64)
        .map(|n| {
            net.send(1, 11, &udp4(station(11), station(77), (1_000 + n, 2), b"x"));
            peer.take().unwrap().source_port
        })
        .collect();
    assert!(ports.len() > 48, "flows are told apart: {} ports for 64", ports.len());
}

#[test]
fn the_members_of_one_network_are_not_those_of_another() {
    let mut net = Net::of(2);
    let peer = net.stranger(2);
    drop(peer.take());
    let inject = |net: &mut Net, vni: Vni| {
        let payload = vxlan(vni, &plain(MacAddr::BROADCAST, station(77).mac, b"x"));
        net.inject(1, Carried { sender: vtep(9), source_port: 50_000, ecn: Ecn::NotEct, payload });
    };
    inject(&mut net, vni(1));
    inject(&mut net, vni(2));
    inject(&mut net, vni(3));
    assert_eq!(net.delivered().len(), 0);
    let totals = net.host(1).tables.totals();
    assert_eq!((totals.drops(DropReason::UnknownVtep), totals.drops(DropReason::UnknownVni)), (2, 1));
}

#[test]
fn what_is_lost_at_the_edge_is_counted() {
    let mut net = Net::of(1);
    let frame = udp4(station(11), station(12), (1, 2), b"x");
    let dropped = |net: &mut Net, reason| net.host(1).tables.totals().drops(reason);
    for _ in 0..=RING_FRAMES {
        net.send(1, 11, &frame);
    }
    assert_eq!(dropped(&mut net, DropReason::PortFull), 1, "the queue holds {RING_FRAMES}");
    drop(net.host(1).engine.detach(PortId(12)));
    net.send(1, 11, &frame);
    assert_eq!(dropped(&mut net, DropReason::PortGone), 1);
    let remote = plain(station(77).mac, station(11).mac, b"x");
    net.send(1, 11, &remote);
    assert_eq!(dropped(&mut net, DropReason::UnderlayUnreachable), 2, "two VTEPs, and nobody is there");
    let segment = net.host(1).tables.segment(SegmentId(1)).unwrap().totals();
    assert_eq!(segment.drops(DropReason::UnderlayUnreachable), 2, "counted on the network");
    net.host(1).engine = Engine::new(Datapath::new(0, 7), None);
    net.attach(1, 11);
    net.send(1, 11, &remote);
    assert_eq!(dropped(&mut net, DropReason::UnderlayUnreachable), 3, "no underlay at all");
}

#[test]
fn a_port_has_its_turn_and_no_more() {
    let mut net = Net::of(1);
    let frame = udp4(station(11), station(12), (1, 2), b"x");
    net.offer(1, 11, &frame, BUDGET + 1);
    let host = net.host(1);
    assert_eq!(host.engine.drain_port(&host.tables, PortId(11), Moment::ZERO), Progress::More);
    assert_eq!(host.tables.totals().packets, BUDGET as u64);
    assert_eq!(host.engine.drain_port(&host.tables, PortId(11), Moment::ZERO), Progress::Empty);
    assert_eq!(host.engine.drain_port(&host.tables, PortId(99), Moment::ZERO), Progress::Gone);
}

/// A port whose kernel says nothing sensible, and then that it is gone.
struct Broken(u32);

impl FrameIo for Broken {
    fn recv(&mut self, _: &mut [u8]) -> Result<Option<Received>, Gone> {
        self.0 = self.0.checked_sub(1).ok_or(Gone)?;
        Ok(Some(Received { len: 60, offload: Err(VnetError::Ufo) }))
    }

    fn send(&mut self, _: &[u8], _: Offload) -> Result<(), DropReason> {
        Err(DropReason::PortRefused)
    }

    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

#[test]
fn a_virtio_header_that_lies_costs_its_frame_and_nothing_else() {
    let mut net = Net::of(1);
    let host = net.host(1);
    host.engine.attach(PortId(11), Box::new(Broken(3)));
    assert_eq!(host.engine.drain_port(&host.tables, PortId(11), Moment::ZERO), Progress::Gone);
    net.send(1, 12, &udp4(station(12), station(11), (1, 2), b"x"));
    let totals = net.host(1).tables.totals();
    assert_eq!((totals.packets, totals.drops(DropReason::BadVirtioHeader)), (1, 3));
    assert_eq!(totals.drops(DropReason::PortRefused), 1);
}
