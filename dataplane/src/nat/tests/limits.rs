//! RFC 6888: what happens when there is no more.

use super::tcp::Connection;
use super::world::*;
use crate::nat::{Limits, Policy, Protocol};
use crate::tables::PortId;
use crate::verdict::DropReason;
use crate::wire::TcpFlags;

const A: &str = "10.1.0.2";
const B: &str = "10.1.0.3";
const PEER: &str = "8.8.8.8";
const SYN_ACK: TcpFlags = TcpFlags::SYN.with(TcpFlags::ACK);

#[test]
fn c4_an_endpoint_has_so_many_ports_for_each_protocol_and_others_have_theirs() {
    let mut world = World::with(Limits { endpoint_ports: 10, ..Limits::default() });
    for port in 5_000..5_010 {
        world.out(1, udp(at(A, port), at(PEER, 9))).source();
    }
    assert_eq!(world.out(1, udp(at(A, 5_010), at(PEER, 9))), Seen::Dropped(DropReason::NatPorts));
    world.out(1, udp(at(A, 5_000), at("9.9.9.9", 9))).source();
    world.out(1, syn(at(A, 5_010), at(PEER, 80))).source();
    world.out(2, udp(at(B, 5_010), at(PEER, 9))).source();
}

#[test]
fn c5_an_endpoint_has_so_many_sessions_and_others_have_theirs() {
    let mut world = World::with(Limits { endpoint_sessions: 10, ..Limits::default() });
    for port in 1..=10 {
        world.out(1, udp(at(A, 5_000), at(PEER, port))).source();
    }
    assert_eq!(world.out(1, udp(at(A, 5_000), at(PEER, 11))), Seen::Dropped(DropReason::NatSessions));
    assert!(matches!(world.out(1, udp(at(A, 5_000), at(PEER, 1))), Seen::Left(..)), "what there is goes on");
    world.out(2, udp(at(B, 5_000), at(PEER, 11))).source();
}

#[test]
fn c5_an_endpoint_begins_so_many_sessions_a_second() {
    let mut world = World::with(Limits { endpoint_rate: 10, ..Limits::default() });
    let begun = |world: &mut World, from: u16| {
        let mut left = |n: u16| matches!(world.out(1, udp(at(A, 5_000), at(PEER, from + n))), Seen::Left(..));
        (1..=50).filter(|&n| left(n)).count()
    };
    // The first is not counted: before it the endpoint is nobody.
    assert_eq!(begun(&mut world, 0), 11);
    assert_eq!(world.out(1, udp(at(A, 5_000), at(PEER, 50))), Seen::Dropped(DropReason::NatRate));
    world.wait(1);
    assert_eq!(begun(&mut world, 100), 10);
}

#[test]
fn c11_a_full_table_refuses_and_evicts_nothing_that_lives() {
    let mut world = World::with(Limits { sessions: 16, ..Limits::default() });
    let inside = |n: u16| at(A, 5_000 + n);
    let first: Vec<At> = (0..16).map(|n| world.out(1, udp(inside(n), at(PEER, 9))).source()).collect();
    assert_eq!(world.out(2, udp(at(B, 1), at(PEER, 9))), Seen::Dropped(DropReason::NatSessions));
    for (n, &outside) in first.iter().enumerate() {
        let back = world.back(1, udp(at(PEER, 9), outside));
        assert_eq!(back, Seen::Delivered(1, at(PEER, 9), inside(n as u16)));
    }
}

#[test]
fn c11_the_last_eighth_is_for_endpoints_with_few_sessions() {
    let mut world = World::with(Limits { sessions: 2_048, ..Limits::default() });
    let left = |world: &mut World, n: u32| {
        matches!(world.out(1, udp(at(A, 5_000), at(PEER, 1 + n as u16))), Seen::Left(..))
    };
    let got = (0..2_048).filter(|&n| left(&mut world, n)).count();
    assert_eq!(got, 2_048 - 256);
    world.out(2, udp(at(B, 5_000), at(PEER, 9))).source();
}

#[test]
fn closed_connections_give_way_oldest_first_when_room_is_needed() {
    let mut world = World::with(Limits { endpoint_sessions: 3, ..Limits::default() });
    for port in [5_000, 5_001] {
        // Closed by its own exact RST.
        let c = Connection::open(&mut world, at(A, port), at(PEER, 80));
        assert!(c.goes(&mut world, TcpFlags::RST, 101, 0, 0));
    }
    Connection::open(&mut world, at(A, 5_002), at(PEER, 80));
    world.out(1, syn(at(A, 5_003), at(PEER, 80))).source();
    let mut left: Vec<u16> = world.nat.sessions(world.now).map(|row| row.inside.1).collect();
    left.sort_unstable();
    assert_eq!((left, world.nat.counts().reclaimed), (vec![5_001, 5_002, 5_003], 1));
    world.out(1, syn(at(A, 5_004), at(PEER, 80))).source();
    assert_eq!(world.out(1, syn(at(A, 5_005), at(PEER, 80))), Seen::Dropped(DropReason::NatSessions));
}

#[test]
fn closed_connections_give_their_ports() {
    let mut world = World::bare(Limits::default());
    world.nat.lend(at(ONE, 0).0, Protocol::Tcp, &[40_000, 40_001]);
    let c = Connection::open(&mut world, at(A, 5_000), at(PEER, 80));
    Connection::open(&mut world, at(A, 5_001), at(PEER, 80));
    assert_eq!(world.out(2, syn(at(B, 1), at(PEER, 80))), Seen::Dropped(DropReason::NatPortsLate));
    assert!(c.goes(&mut world, TcpFlags::RST, 101, 0, 0));
    assert_eq!(world.out(2, syn(at(B, 1), at(PEER, 80))).source(), c.outside, "also to another endpoint");
}

#[test]
fn a_syn_flood_displaces_half_open_sessions_of_its_port_only() {
    let mut world = World::with(Limits { half_open: 8, ..Limits::default() });
    let (http, ssh) =
        (published(Protocol::Tcp, 80, 1, at(A, 80)), published(Protocol::Tcp, 22, 1, at(A, 22)));
    world.nat.publish(&[http, ssh]);
    let slow = Connection { inside: at(A, 22), remote: at(PEER, 9), outside: at(ONE, 22) };
    let live = Connection { inside: at(A, 80), remote: at(PEER, 9), outside: at(ONE, 80) };
    assert!(slow.comes(&mut world, TcpFlags::SYN, 0, 0, 0));
    assert!(live.comes(&mut world, TcpFlags::SYN, 0, 0, 0) && live.goes(&mut world, SYN_ACK, 0, 1, 0));
    assert!(live.comes(&mut world, TcpFlags::ACK, 1, 1, 0));
    let late = Connection { inside: at(A, 80), remote: at(PEER, 10), outside: at(ONE, 80) };
    assert!(late.comes(&mut world, TcpFlags::SYN, 0, 0, 0));
    for n in 0..1_000 {
        assert!(matches!(world.back(1, syn(at("9.9.9.9", 1 + n), at(ONE, 80))), Seen::Delivered(1, ..)));
    }
    assert_eq!((world.nat.counts().half_open, world.nat.counts().displaced), (9, 993));
    assert!(slow.goes(&mut world, SYN_ACK, 0, 1, 0) && live.goes(&mut world, TcpFlags::ACK, 1, 1, 5));
    // Its session had to give way; the connection is made all the same.
    assert!(late.goes(&mut world, SYN_ACK, 700, 1, 0) && late.comes(&mut world, TcpFlags::ACK, 1, 701, 0));
    assert!(late.goes(&mut world, TcpFlags::ACK, 701, 1, 100));
    let open = world.nat.sessions(world.now).filter(|row| row.state == crate::nat::SessionState::Open);
    assert_eq!(open.map(|row| row.remote).collect::<Vec<_>>().len(), 2);
}

#[test]
fn a_flood_from_outside_takes_nothing_of_what_the_endpoint_may_have() {
    let limits = Limits { half_open: 64, endpoint_sessions: 4, endpoint_rate: 4, ..Limits::default() };
    let mut world = World::with(limits);
    world.nat.publish(&[published(Protocol::Udp, 53, 1, at(A, 53))]);
    for n in 0..500 {
        world.back(1, udp(at("9.9.9.9", 1 + n), at(ONE, 53)));
    }
    for port in 5_000..5_004 {
        world.out(1, udp(at(A, port), at(PEER, 9))).source();
    }
}

#[test]
fn a_network_that_may_only_answer_answers() {
    let mut world = World::new();
    world.policy = Policy::Answer;
    world.nat.publish(&[published(Protocol::Tcp, 80, 1, at(A, 80))]);
    assert_eq!(world.out(1, udp(at(A, 5_000), at(PEER, 9))).source(), at(A, 5_000), "routed, untouched");
    assert_eq!(world.sessions(), 0);
    let c = Connection { inside: at(A, 80), remote: at(PEER, 9), outside: at(ONE, 80) };
    assert!(c.comes(&mut world, TcpFlags::SYN, 0, 0, 0) && c.goes(&mut world, SYN_ACK, 0, 1, 0));
}

#[test]
fn an_endpoint_that_has_gone_leaves_nothing() {
    let mut world = World::new();
    for n in 0..20 {
        world.out(1, udp(at(A, 5_000 + n), at(PEER, 9))).source();
    }
    let b = world.out(2, udp(at(B, 5_000), at(PEER, 9))).source();
    world.nat.retain(|port| port == PortId(2));
    assert_eq!((world.sessions(), world.nat.counts().endpoints), (1, 1));
    assert!(matches!(world.back(1, udp(at(PEER, 9), b)), Seen::Delivered(2, ..)));
    world.wait(0);
}

#[test]
fn expiry_keeps_to_its_budget() {
    let mut world = World::new();
    for n in 0..100 {
        world.out(1, udp(at(A, 5_000), at(PEER, 1 + n))).source();
    }
    world.now = world.now.after(std::time::Duration::from_secs(400));
    assert_eq!((world.nat.expire(world.now, 30), world.nat.expire(world.now, usize::MAX)), (30, 70));
}
