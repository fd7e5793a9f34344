//! Published ports.

use super::tcp::{Connection, state};
use super::world::*;
use crate::nat::{Limits, Protocol, Published, SessionState};
use crate::verdict::DropReason;
use crate::wire::TcpFlags;

const A: &str = "10.1.0.2";
const B: &str = "10.1.0.3";
const CLIENT: &str = "8.8.8.8";
const SYN_ACK: TcpFlags = TcpFlags::SYN.with(TcpFlags::ACK);

/// Whether UDP to this outside end is translated.
fn is_mapped(world: &World, (address, port): At) -> bool {
    let net = crate::nat::key::Net::new(Protocol::Udp, address);
    world.nat.mapping_at(net, crate::nat::key::End::new(address, port)).is_some()
}

#[test]
fn a_published_port_is_reached_at_every_address_and_answers_from_the_one_asked() {
    let mut world = World::new();
    world.nat.publish(&[published(Protocol::Udp, 53, 1, at(A, 5_353))]);
    for (n, own) in [ONE, TWO, OTHER].into_iter().enumerate() {
        let client = at(CLIENT, 6_000 + n as u16);
        assert_eq!(
            world.back(1, udp(client, at(own, 53))),
            Seen::Delivered(1, client, at(A, 5_353)),
            "client kept"
        );
        assert_eq!(world.out(1, udp(at(A, 5_353), client)).source(), at(own, 53));
    }
    assert_eq!(
        world.back(1, udp(at(CLIENT, 6_000), at("127.0.0.1", 53))),
        Seen::Dropped(DropReason::Martian)
    );
    assert!(!is_mapped(&world, at("127.0.0.1", 53)));
    assert!(!is_mapped(&world, at("192.0.2.200", 53)), "no transit is captured");
}

#[test]
fn a_gateways_address_is_one_of_all_while_it_is_there() {
    let mut world = World::new();
    world.nat.publish(&[published(Protocol::Udp, 53, 1, at(A, 53))]);
    let (gateway, other) = ("10.1.0.1", "10.2.0.1");
    world.nat.set_gateways([gateway, other].map(|address| at(address, 0).0));
    for (port, own) in [(5_000, gateway), (5_001, other), (5_002, ONE)] {
        let seen = world.out(2, udp(at(B, port), at(own, 53)));
        let Seen::Delivered(1, source, _) = seen else { panic!("{own}: {seen:?}") };
        assert_eq!(world.out(1, udp(at(A, 53), source)), Seen::Delivered(2, at(own, 53), at(B, port)));
    }
    assert_eq!(world.sessions(), 6);
    world.nat.set_gateways([at(gateway, 0).0]);
    assert_eq!(world.sessions(), 5, "that of the published port by the other one has ended");
    assert!(matches!(world.out(2, udp(at(B, 5_000), at(other, 53))), Seen::Left(..)), "as any address");
    assert!(is_mapped(&world, at(gateway, 53)) && !is_mapped(&world, at(other, 53)));
}

#[test]
fn a_rule_for_one_address_goes_before_one_for_all() {
    let mut world = World::new();
    let special = Published { outside: Some(at(TWO, 0).0), ..published(Protocol::Udp, 53, 2, at(B, 53)) };
    world.nat.publish(&[published(Protocol::Udp, 53, 1, at(A, 53)), special]);
    assert!(matches!(world.back(1, udp(at(CLIENT, 9), at(ONE, 53))), Seen::Delivered(1, ..)));
    assert!(matches!(world.back(2, udp(at(CLIENT, 9), at(TWO, 53))), Seen::Delivered(2, ..)));
}

#[test]
fn a_rule_for_one_address_takes_over_from_one_for_all() {
    let mut world = World::new();
    let all = published(Protocol::Udp, 53, 1, at(A, 53));
    world.nat.publish(&[all]);
    world.back(1, udp(at(CLIENT, 9), at(ONE, 53)));
    world.back(2, udp(at(CLIENT, 10), at(TWO, 53)));
    world.nat.publish(&[
        all,
        Published { outside: Some(at(TWO, 0).0), ..published(Protocol::Udp, 53, 2, at(B, 53)) },
    ]);
    assert_eq!(world.nat.sessions(world.now).map(|row| row.outside).collect::<Vec<_>>(), [at(ONE, 53)]);
}

#[test]
fn u3_a_rule_for_all_addresses_does_not_speak_where_another_one_is_published() {
    let mut world = World::new();
    let special = Published { outside: Some(at(TWO, 0).0), ..published(Protocol::Udp, 53, 2, at(B, 53)) };
    world.nat.publish(&[published(Protocol::Udp, 53, 1, at(A, 53)), special]);
    assert_eq!(world.out(1, udp(at(A, 53), at(CLIENT, 9))).source(), at(ONE, 53));
    assert_ne!(
        world.out(1, udp(at(A, 53), at("203.0.113.9", 9))).source(),
        at(TWO, 53),
        "that is endpoint 2"
    );
}

#[test]
fn u1_what_a_published_port_sends_to_others_leaves_from_it_too() {
    let mut world = World::new();
    world.nat.publish(&[published(Protocol::Udp, 53, 1, at(A, 5_353))]);
    assert_eq!(world.out(1, udp(at(A, 5_353), at(CLIENT, 9))).source(), at(ONE, 53));
    assert_eq!(world.out(1, udp(at(A, 5_353), at("203.0.113.9", 9))).source(), at(TWO, 53));
}

#[test]
fn a_republished_udp_port_reaches_the_new_endpoint_at_once() {
    let mut world = World::new();
    world.nat.publish(&[published(Protocol::Udp, 53, 1, at(A, 53))]);
    let question = udp(at(CLIENT, 9), at(ONE, 53));
    assert!(matches!(world.back(1, question), Seen::Delivered(1, ..)));
    world.nat.publish(&[published(Protocol::Udp, 53, 2, at(B, 53))]);
    assert_eq!(world.back(1, question), Seen::Delivered(2, at(CLIENT, 9), at(B, 53)));
    world.nat.publish(&[]);
    assert_eq!(world.back(1, question), Seen::Dropped(DropReason::NatNotMapped));
    assert_eq!(world.sessions(), 0);
}

#[test]
fn an_unchanged_rule_keeps_its_sessions() {
    let mut world = World::new();
    let rule = published(Protocol::Tcp, 80, 1, at(A, 8_080));
    world.nat.publish(&[rule]);
    let c = Connection { inside: at(A, 8_080), remote: at(CLIENT, 9), outside: at(ONE, 80) };
    assert!(c.comes(&mut world, TcpFlags::SYN, 0, 0, 0) && c.goes(&mut world, SYN_ACK, 0, 1, 0));
    assert!(c.comes(&mut world, TcpFlags::ACK, 1, 1, 0));
    world.nat.publish(&[published(Protocol::Udp, 80, 1, at(A, 8_080)), rule]);
    assert_eq!(state(&world), Some(SessionState::Open));
}

#[test]
fn nonsense_is_refused_and_named() {
    let mut world = World::with(Limits { published: 2, ..Limits::default() });
    let good = published(Protocol::Tcp, 80, 1, at(A, 80));
    let bad = [
        Published { inside_port: 0, ..good },
        Published { outside_port: 0, ..good },
        Published { protocol: Protocol::Icmp, ..good },
        Published { outside: Some(at(SIX, 0).0), ..good },
        Published { inside: at("0.0.0.0", 0).0, ..good },
    ];
    let taken = Published { inside_port: 81, ..good };
    let second = Published { outside_port: 81, ..good };
    let third = Published { outside_port: 82, ..good };
    let refused = world.nat.publish(&[&bad[..], &[good, taken, second, third]].concat());
    assert_eq!(refused, [&bad[..], &[taken, third]].concat());
    assert_eq!(world.nat.counts().published, 2);
}

#[test]
fn port_shadow_a_published_port_is_never_drawn_and_wins() {
    let mut world = World::new();
    let taken = world.out(1, udp(at(A, 5_000), at(CLIENT, 9))).source();
    world.nat.publish(&[published(Protocol::Udp, taken.1, 2, at(B, 53))]);
    assert_eq!(world.back(1, udp(at(CLIENT, 9), taken)), Seen::Delivered(2, at(CLIENT, 9), at(B, 53)));
    let used: Vec<u16> =
        (0..203).map(|n| world.out(3, udp(at(A, 2_000 + n), at(CLIENT, 9))).source().1).collect();
    assert!(!used.contains(&taken.1));
    assert_eq!(world.out(3, udp(at(A, 9), at(CLIENT, 9))), Seen::Dropped(DropReason::NatPortsLate));
    world.nat.publish(&[]);
    assert_eq!(world.out(3, udp(at(A, 9), at(CLIENT, 9))).source(), taken, "lent still, and free again");
}

#[test]
fn port_shadow_only_lent_ports_stand_for_an_endpoint() {
    let mut world = World::new();
    world.filtering = crate::gateway::Filtering::EndpointIndependent;
    // An endpoint that sends from a port on which the host serves cannot come between.
    let outside = world.out(1, udp(at(A, 22), at(CLIENT, 9))).source();
    assert_ne!(outside.1, 22);
    assert_eq!(world.back(1, udp(at(CLIENT, 9), at(ONE, 22))), Seen::Dropped(DropReason::NatNotMapped));
}

#[test]
fn u9_t8_siblings_and_the_endpoint_itself_reach_a_published_port() {
    let mut world = World::new();
    world.nat.publish(&[published(Protocol::Tcp, 80, 1, at(A, 8_080))]);
    for (endpoint, source, own) in [(2, at(B, 5_000), ONE), (1, at(A, 5_001), OTHER)] {
        let seen = world.out(endpoint, syn(source, at(own, 80)));
        let outside = seen.source();
        assert_eq!(seen, Seen::Delivered(1, outside, at(A, 8_080)));
        assert_eq!(outside.0, at(ONE, 0).0, "with its external address");
        let answer = syn(at(A, 8_080), outside).with(SYN_ACK, 500, 1, 0);
        assert_eq!(world.out(1, answer), Seen::Delivered(endpoint, at(own, 80), source));
    }
}

#[test]
fn one_client_is_not_confused_by_two_ways_to_one_inside_port() {
    let mut world = World::new();
    let (one, two) = (published(Protocol::Tcp, 80, 1, at(A, 80)), published(Protocol::Tcp, 81, 1, at(A, 80)));
    world.nat.publish(&[one, two, Published { protocol: Protocol::Udp, ..one }]);
    assert!(matches!(world.back(1, syn(at(CLIENT, 9), at(ONE, 80))), Seen::Delivered(1, ..)));
    assert_eq!(world.back(1, syn(at(CLIENT, 9), at(ONE, 81))), Seen::Dropped(DropReason::NatClash));
    assert_eq!(world.back(1, syn(at(CLIENT, 9), at(TWO, 80))), Seen::Dropped(DropReason::NatClash));
    for own in [ONE, TWO] {
        world.back(1, udp(at(CLIENT, 9), at(own, 80)));
        assert_eq!(world.out(1, udp(at(A, 80), at(CLIENT, 9))).source(), at(own, 80), "the one asked last");
    }
}

#[test]
fn a_connection_of_a_former_process_goes_on_through_a_published_port() {
    let mut world = World::new();
    world.nat.publish(&[published(Protocol::Tcp, 80, 1, at(A, 8_080))]);
    let c = Connection { inside: at(A, 8_080), remote: at(CLIENT, 9), outside: at(ONE, 80) };
    assert!(c.comes(&mut world, TcpFlags::ACK, 7_000, 9_000, 10));
    assert_eq!(state(&world), Some(SessionState::HalfOpen));
    assert!(c.goes(&mut world, TcpFlags::ACK, 9_000, 7_010, 10));
    assert_eq!(state(&world), Some(SessionState::Open));
}
