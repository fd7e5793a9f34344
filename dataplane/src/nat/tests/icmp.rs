//! RFC 5508, and what the other two say of ICMP.

use super::tcp::{Connection, state};
use super::world::*;
use crate::gateway::{Filtering, LinkId};
use crate::nat::{Outcome, SessionState};
use crate::tables::PortId;
use crate::verdict::DropReason;
use crate::wire::TcpFlags;

const A: &str = "10.1.0.2";
const B: &str = "10.1.0.3";
const PEER: &str = "8.8.8.8";

#[test]
fn i1_a_query_and_its_reply_pass_and_nothing_else_does() {
    let mut world = World::new();
    let outside = world.out(1, echo(at(A, 77), PEER, true)).source();
    let reply = |from: &str| Pk { source: at(from, outside.1), ..echo(outside, ONE, false) };
    assert!(matches!(world.back(1, reply(PEER)), Seen::Delivered(1, _, to) if to == at(A, 77)));
    assert_eq!(world.back(1, reply("9.9.9.9")), Seen::Dropped(DropReason::NatFiltered));
    let asked = Pk { request: true, ..reply(PEER) };
    assert_eq!(world.back(1, asked), Seen::Dropped(DropReason::NatNotMapped), "the host answers for itself");
    assert_eq!(world.out(1, echo(at(A, 78), PEER, false)), Seen::Dropped(DropReason::NatNoSession));
}

#[test]
fn i1a_a_query_id_is_the_same_whatever_the_destination() {
    let mut world = World::new();
    let outside = world.out(1, echo(at(A, 77), PEER, true)).source();
    assert_eq!(world.out(1, echo(at(A, 77), "9.9.9.9", true)).source(), outside);
    assert_ne!(world.out(2, echo(at(A, 77), PEER, true)).source(), outside);
}

#[test]
fn i1_over_ipv6_too() {
    let mut world = World::new();
    let outside = world.out(1, echo(at("fd00::2", 77), "2001:db8:9::1", true)).source();
    let reply = Pk { source: at("2001:db8:9::1", outside.1), ..echo(outside, SIX, false) };
    assert!(matches!(world.back(1, reply), Seen::Delivered(1, _, to) if to == at("fd00::2", 77)));
}

#[test]
fn i2_a_query_is_remembered_for_a_minute() {
    let mut world = World::new();
    world.out(1, echo(at(A, 77), PEER, true));
    world.wait(60);
    assert_eq!(world.sessions(), 1);
    world.wait(1);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn i4_u12_t9_an_error_from_anywhere_about_a_session_is_translated() {
    let mut world = World::new();
    for sent in [udp(at(A, 5_000), at(PEER, 9)), syn(at(A, 5_000), at(PEER, 80)), echo(at(A, 77), PEER, true)]
    {
        let outside = world.out(1, sent).source();
        let destination = if sent.request && sent.protocol == crate::nat::Protocol::Icmp {
            at(PEER, outside.1)
        } else {
            sent.destination
        };
        let mut error = Pk { source: outside, destination, ..sent }.refused_by("7.7.7.7", 4);
        let outcome = world.nat.inbound(LinkId(1), &mut error, false, world.now);
        assert_eq!(outcome, Outcome::Deliver { port: PortId(1) });
        let (from, to, (source, embedded_to)) = error_ends(&error);
        assert_eq!((from, to), (at("7.7.7.7", 0).0, at(A, 0).0));
        assert_eq!((source, embedded_to.0), (sent.source, sent.destination.0));
        assert_eq!(error[20..22], [3, 4], "type and code stay");
    }
}

#[test]
fn i4_an_error_about_no_session_goes_nowhere() {
    let mut world = World::new();
    let outside = world.out(1, udp(at(A, 5_000), at(PEER, 9))).source();
    let errors = [
        (udp(outside, at(PEER, 10)), DropReason::NatNoSession),
        (udp(outside, at("9.9.9.9", 9)), DropReason::NatNoSession),
        (udp((outside.0, outside.1 ^ 1), at(PEER, 9)), DropReason::NatNotMapped),
        (syn(outside, at(PEER, 9)), DropReason::NatNotMapped),
    ];
    for (about, reason) in errors {
        let mut error = about.refused_by(PEER, 3);
        assert_eq!(world.nat.inbound(LinkId(1), &mut error, false, world.now), Outcome::Drop(reason));
    }
}

#[test]
fn i5_an_error_of_an_endpoint_is_translated_and_a_foreign_one_goes_nowhere() {
    let mut world = World::new();
    let outside = world.out(1, udp(at(A, 5_000), at(PEER, 9))).source();
    let inside = world.inside(1);
    // From another port of the address it has addressed: no session, but it was let in.
    for port in [9, 4_000] {
        let mut error = udp(at(PEER, port), at(A, 5_000)).refused_by(A, 3);
        let outcome = world.nat.outbound(inside, &mut error, false, world.policy, world.now);
        assert!(matches!(outcome, Outcome::Leave(hop) if hop.link == LinkId(1)), "{outcome:?}");
        let (from, to, embedded) = error_ends(&error);
        assert_eq!((from, to), (outside.0, at(PEER, 0).0));
        assert_eq!(embedded, (at(PEER, port), outside));
    }
    for about in [udp(at("9.9.9.9", 9), at(A, 5_000)), udp(at(PEER, 9), at(A, 5_001))] {
        let mut error = about.refused_by(A, 3);
        let outcome = world.nat.outbound(inside, &mut error, false, world.policy, world.now);
        assert_eq!(outcome, Outcome::Drop(DropReason::NatNoSession));
    }
}

#[test]
fn i6_u12_t10_no_error_refreshes_or_ends_a_session() {
    let mut world = World::new();
    let sent = udp(at(A, 5_000), at(PEER, 9));
    let outside = world.out(1, sent).source();
    let connection = Connection::open(&mut world, at(A, 6_000), at(PEER, 80));
    let inside = world.inside(1);
    world.wait(290);
    for code in 0..=15 {
        let tcp = syn(connection.outside, connection.remote).with(TcpFlags::ACK, 101, 501, 0);
        for about in [udp(outside, at(PEER, 9)), tcp] {
            let mut error = about.refused_by(PEER, code);
            let outcome = world.nat.inbound(LinkId(1), &mut error, false, world.now);
            assert_eq!(outcome, Outcome::Deliver { port: PortId(1) });
        }
        let mut error = udp(at(PEER, 9), at(A, 5_000)).refused_by(A, code);
        assert!(matches!(
            world.nat.outbound(inside, &mut error, false, world.policy, world.now),
            Outcome::Leave(_)
        ));
    }
    assert_eq!(world.sessions(), 2);
    world.wait(11);
    assert_eq!(state(&world), Some(SessionState::Open), "the connection is as it was");
    assert_eq!(world.sessions(), 1, "the datagrams' time was not prolonged");
}

#[test]
fn i7_an_error_about_a_hairpinned_packet_is_translated_on_both_ends() {
    let mut world = World::new();
    world.filtering = Filtering::EndpointIndependent;
    let b = world.out(2, udp(at(B, 6_000), at(PEER, 9))).source();
    let delivered = world.out(1, udp(at(A, 5_000), b));
    let a = delivered.source();
    assert_eq!(delivered, Seen::Delivered(2, a, at(B, 6_000)));
    let mut error = udp(a, at(B, 6_000)).refused_by(B, 3);
    let inside = world.inside(2);
    let outcome = world.nat.outbound(inside, &mut error, false, world.policy, world.now);
    assert_eq!(outcome, Outcome::Deliver { port: PortId(1) });
    assert_eq!(error_ends(&error), (b.0, at(A, 0).0, (at(A, 5_000), b)));
}
