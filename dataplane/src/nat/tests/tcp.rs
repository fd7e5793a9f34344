//! RFC 5382 and RFC 7857.

use super::world::*;
use crate::gateway::{Egress, Filtering};
use crate::nat::{Protocol, SessionState};
use crate::verdict::DropReason;
use crate::wire::TcpFlags;

const A: &str = "10.1.0.2";
const B: &str = "10.1.0.3";
const PEER: &str = "8.8.8.8";
const ACK: TcpFlags = TcpFlags::ACK;
const SYN_ACK: TcpFlags = TcpFlags::SYN.with(TcpFlags::ACK);
const FIN_ACK: TcpFlags = TcpFlags::FIN.with(TcpFlags::ACK);

/// A connection from endpoint 1, with the numbers 100 and 500 at the start of its two sides.
pub(super) struct Connection {
    pub(super) inside: At,
    pub(super) remote: At,
    pub(super) outside: At,
}

impl Connection {
    pub(super) fn open(world: &mut World, inside: At, remote: At) -> Self {
        let outside = world.out(1, syn(inside, remote).with(TcpFlags::SYN, 100, 0, 0)).source();
        let connection = Self { inside, remote, outside };
        assert!(connection.comes(world, SYN_ACK, 500, 101, 0) && connection.goes(world, ACK, 101, 501, 0));
        connection
    }

    pub(super) fn goes(&self, world: &mut World, flags: TcpFlags, seq: u32, ack: u32, len: usize) -> bool {
        let seen = world.out(1, syn(self.inside, self.remote).with(flags, seq, ack, len));
        matches!(seen, Seen::Left(_, source, _) if source == self.outside)
    }

    pub(super) fn comes(&self, world: &mut World, flags: TcpFlags, seq: u32, ack: u32, len: usize) -> bool {
        let seen = world.back(1, syn(self.remote, self.outside).with(flags, seq, ack, len));
        matches!(seen, Seen::Delivered(1, _, to) if to == self.inside)
    }

    pub(super) fn close(&self, world: &mut World) {
        assert!(self.goes(world, FIN_ACK, 101, 501, 0) && self.comes(world, FIN_ACK, 501, 102, 0));
        assert!(self.goes(world, ACK, 102, 502, 0));
    }
}

pub(super) fn state(world: &World) -> Option<SessionState> {
    world.nat.sessions(world.now).next().map(|row| row.state)
}

#[test]
fn a_connection_whose_outside_address_has_gone_is_told_so_and_a_new_one_begins() {
    let mut world = World::new();
    let lost = Connection::open(&mut world, at(A, 5_000), at("203.0.113.9", 80));
    let kept = Connection::open(&mut world, at(A, 5_001), at(PEER, 80));
    let closed = Connection::open(&mut world, at(A, 5_002), at("203.0.113.9", 80));
    closed.close(&mut world);
    let mut less = spec();
    less.links.truncate(1);
    less.routes.remove(1);
    less.own.retain(|own| *own != at(TWO, 0).0);
    world.nat.set_egress(Egress::build(&less).expect("it makes sense"), world.now);
    assert!(kept.goes(&mut world, ACK, 101, 501, 7));
    let segment = |c: &Connection, flags| syn(c.inside, c.remote).with(flags, 101, 501, 7);
    for (connection, flags, reason) in [
        (&lost, ACK, DropReason::NatAddressGone),
        (&lost, FIN_ACK, DropReason::NatAddressGone),
        (&lost, TcpFlags::RST, DropReason::NatNoSession),
        (&closed, ACK, DropReason::NatNoSession),
    ] {
        assert_eq!(world.out(1, segment(connection, flags)), Seen::Dropped(reason));
    }
    assert_eq!(world.out(2, segment(&lost, ACK)), Seen::Dropped(DropReason::NatNoSession), "another's");
    // Without any way out, too.
    less.routes.clear();
    world.nat.set_egress(Egress::build(&less).expect("it makes sense"), world.now);
    assert_eq!(world.out(1, segment(&lost, ACK)), Seen::Dropped(DropReason::NatAddressGone));
    assert!(world.nat.is_of_lost_connection(world.inside(1), &segment(&lost, ACK).bytes()));
    assert!(!world.nat.is_of_lost_connection(world.inside(1), &segment(&kept, ACK).bytes()));
    world.nat.set_egress(Egress::build(&spec()).expect("it makes sense"), world.now);
    world.lend(&[40_000, 40_001]);
    assert!(matches!(world.out(1, syn(lost.inside, lost.remote)), Seen::Left(..)));
}

#[test]
fn t1_a_mapping_is_the_same_whatever_the_destination() {
    let mut world = World::new();
    let first = world.out(1, syn(at(A, 5_000), at(PEER, 80))).source();
    assert_eq!(world.out(1, syn(at(A, 5_000), at("9.9.9.9", 443))).source(), first);
}

#[test]
fn t2_a_handshake_opens_and_a_simultaneous_one_too() {
    let mut world = World::new();
    let (inside, remote) = (at(A, 5_000), at(PEER, 80));
    let outside = world.out(1, syn(inside, remote).with(TcpFlags::SYN, 100, 0, 0)).source();
    let crossing = Connection { inside, remote, outside };
    assert_eq!(state(&world), Some(SessionState::Opening));
    assert!(crossing.comes(&mut world, TcpFlags::SYN, 500, 0, 0));
    assert!(crossing.goes(&mut world, SYN_ACK, 100, 501, 0));
    assert_eq!(state(&world), Some(SessionState::Opening));
    assert!(crossing.comes(&mut world, SYN_ACK, 500, 101, 0));
    assert_eq!(state(&world), Some(SessionState::Open));
}

#[test]
fn t2_data_in_a_syn_is_carried() {
    let mut world = World::new();
    let (inside, remote) = (at(A, 5_000), at(PEER, 80));
    let outside = world.out(1, syn(inside, remote).with(TcpFlags::SYN, 100, 0, 900)).source();
    let fast = Connection { inside, remote, outside };
    assert!(fast.comes(&mut world, SYN_ACK, 500, 101, 0), "the server did not take the data");
    assert!(fast.goes(&mut world, ACK, 101, 501, 900));
    assert_eq!(state(&world), Some(SessionState::Open));
}

#[test]
fn t3_a_stranger_may_open_only_where_the_filter_says_so() {
    let mut world = World::new();
    let outside = world.out(1, syn(at(A, 5_000), at(PEER, 80))).source();
    assert_eq!(world.back(1, syn(at("9.9.9.9", 9), outside)), Seen::Dropped(DropReason::NatFiltered));
    assert!(matches!(world.back(1, syn(at(PEER, 9), outside)), Seen::Delivered(1, ..)));
    world.filtering = Filtering::EndpointIndependent;
    let open = world.out(1, syn(at(A, 5_001), at(PEER, 80))).source();
    assert!(matches!(world.back(1, syn(at("9.9.9.9", 9), open)), Seen::Delivered(1, ..)));
    let stray = syn(at("9.9.9.9", 10), open).with(ACK, 7, 7, 0);
    assert_eq!(world.back(1, stray), Seen::Dropped(DropReason::NatNoSession), "only by a SYN");
}

#[test]
fn t4_an_unsolicited_syn_is_dropped_in_silence_and_the_crossing_one_opens() {
    let mut world = World::new();
    let outside = world.out(1, syn(at(A, 5_000), at("9.9.9.9", 80))).source();
    assert_eq!(world.back(1, syn(at(PEER, 80), outside)), Seen::Dropped(DropReason::NatFiltered));
    world.wait(5);
    assert_eq!(world.out(1, syn(at(A, 5_000), at(PEER, 80))).source(), outside);
    assert!(matches!(world.back(1, syn(at(PEER, 80), outside)), Seen::Delivered(1, ..)));
}

#[test]
fn t5_an_established_connection_lives_two_hours_and_four_minutes_idle() {
    let mut world = World::new();
    let connection = Connection::open(&mut world, at(A, 5_000), at(PEER, 80));
    world.wait(7_440);
    assert!(connection.comes(&mut world, ACK, 501, 101, 0), "and either side refreshes");
    world.wait(7_440);
    assert_eq!(world.sessions(), 1);
    world.wait(1);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn t5_a_transitory_connection_lives_four_minutes_idle() {
    let mut world = World::new();
    world.out(1, syn(at(A, 5_000), at(PEER, 80)));
    world.wait(240);
    assert_eq!(world.sessions(), 1);
    world.wait(1);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn t5_a_connection_closed_one_way_is_established_and_one_closed_both_ways_is_not() {
    let mut world = World::new();
    let connection = Connection::open(&mut world, at(A, 5_000), at(PEER, 80));
    assert!(connection.comes(&mut world, FIN_ACK, 501, 101, 0));
    world.wait(7_000);
    assert!(connection.goes(&mut world, FIN_ACK, 101, 502, 0));
    assert_eq!(state(&world), Some(SessionState::Closing));
    assert!(connection.comes(&mut world, ACK, 502, 102, 0));
    assert_eq!(state(&world), Some(SessionState::Closed));
    world.wait(240);
    assert_eq!(world.sessions(), 1, "kept for what is still on its way");
    world.wait(1);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn t7_no_outside_port_is_lent_twice() {
    let mut world = World::new();
    let mut outside: Vec<At> =
        (0..200).map(|n| world.out(n, syn(at(A, 5_000), at(PEER, 80))).source()).collect();
    outside.sort_unstable();
    outside.dedup();
    assert_eq!(outside.len(), 200);
}

#[test]
fn t8_a_hairpinned_connection_has_outside_ends_on_both_sides() {
    let mut world = World::new();
    world.filtering = Filtering::EndpointIndependent;
    let b = world.out(2, syn(at(B, 80), at(PEER, 80))).source();
    let seen = world.out(1, syn(at(A, 5_000), b));
    let a = seen.source();
    assert_eq!(seen, Seen::Delivered(2, a, at(B, 80)));
    assert_eq!(a.0, at(ONE, 0).0);
    let answer = syn(at(B, 80), a).with(SYN_ACK, 500, 1, 0);
    assert_eq!(world.out(2, answer), Seen::Delivered(1, b, at(A, 5_000)));
    assert_eq!(world.out(1, syn(at(A, 5_000), b).with(ACK, 1, 501, 0)), Seen::Delivered(2, a, at(B, 80)));
    let open = world.nat.sessions(world.now).filter(|row| row.state == SessionState::Open).count();
    assert_eq!(open, 2, "one for each end");
}

#[test]
fn rfc7857_a_reset_is_passed_on_never_refreshes_and_is_forgiven_if_its_sender_goes_on() {
    let mut world = World::new();
    let connection = Connection::open(&mut world, at(A, 5_000), at(PEER, 80));
    assert!(connection.comes(&mut world, TcpFlags::RST, 501, 0, 0));
    assert_eq!(state(&world), Some(SessionState::Closed));
    assert!(connection.goes(&mut world, ACK, 101, 501, 10), "the other side's does not count");
    assert_eq!(state(&world), Some(SessionState::Closed));
    assert!(connection.comes(&mut world, ACK, 501, 111, 10));
    assert_eq!(state(&world), Some(SessionState::Open), "it was forged");
    world.wait(7_000);
    assert!(connection.comes(&mut world, TcpFlags::RST, 9_000, 0, 0), "inexact");
    assert!(connection.goes(&mut world, TcpFlags::RST, 9_000, 0, 0));
    world.wait(441);
    assert_eq!(world.sessions(), 0, "an RST does not refresh");
}

#[test]
fn a_segment_without_a_session_goes_nowhere() {
    let mut world = World::new();
    for flags in [ACK, SYN_ACK, FIN_ACK, TcpFlags::RST] {
        let stray = syn(at(A, 5_000), at(PEER, 80)).with(flags, 1, 1, 0);
        assert_eq!(world.out(1, stray), Seen::Dropped(DropReason::NatNoSession));
    }
    for flags in [TcpFlags(0), TcpFlags(3), TcpFlags(6), TcpFlags(5), TcpFlags(1)] {
        let absurd = syn(at(A, 5_000), at(PEER, 80)).with(flags, 1, 1, 0);
        assert_eq!(world.out(1, absurd), Seen::Dropped(DropReason::NatTcpFlags));
    }
    assert_eq!(world.sessions(), 0);
}

#[test]
fn a_port_is_used_anew_for_a_connection_between_the_same_ends() {
    let mut world = World::new();
    let connection = Connection::open(&mut world, at(A, 5_000), at(PEER, 80));
    connection.close(&mut world);
    assert_eq!(state(&world), Some(SessionState::Closed));
    let outside = world.out(1, syn(at(A, 5_000), at(PEER, 80)).with(TcpFlags::SYN, 9_000, 0, 0)).source();
    assert_eq!((outside, state(&world)), (connection.outside, Some(SessionState::Opening)));
    assert!(connection.comes(&mut world, SYN_ACK, 7_000, 9_001, 0));
    assert!(connection.goes(&mut world, ACK, 9_001, 7_001, 0));
    assert_eq!(state(&world), Some(SessionState::Open));
}

#[test]
fn c8_a_port_of_udp_rests_two_minutes_and_one_of_tcp_need_not() {
    for (protocol, rests) in [(Protocol::Udp, true), (Protocol::Tcp, false)] {
        let mut world = World::bare(crate::nat::Limits::default());
        world.nat.lend(at(ONE, 0).0, protocol, &[50_000]);
        let packet = |port| packet(protocol, at(A, port), at(PEER, 80));
        assert_eq!(world.out(1, packet(5_000)).source().1, 50_000);
        world.wait(301);
        // Lent now, so that there is a choice.
        let more: Vec<u16> = (50_100..50_400).step_by(2).collect();
        world.nat.lend(at(ONE, 0).0, protocol, &more);
        let drawn = |world: &mut World, from: u16| {
            (0..150).any(|n| world.out(1, packet(from + 2 * n)).source().1 == 50_000)
        };
        assert_eq!(drawn(&mut world, 6_000), !rests, "{protocol:?}: 149 or 150 others were free");
    }
}
