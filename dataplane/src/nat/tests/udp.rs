//! RFC 4787.

use super::world::*;
use crate::gateway::{Egress, Filtering, LinkId};
use crate::nat::{Limits, Outcome, Protocol};
use crate::verdict::DropReason;

const A: &str = "10.1.0.2";
const B: &str = "10.1.0.3";
const PEER: &str = "8.8.8.8";

#[test]
fn u1_a_mapping_is_the_same_whatever_the_destination() {
    let mut world = World::new();
    let first = world.out(1, udp(at(A, 5_000), at(PEER, 9))).source();
    for (address, port) in [(PEER, 10), ("9.9.9.9", 9), ("1.1.1.1", 53)] {
        assert_eq!(world.out(1, udp(at(A, 5_000), at(address, port))).source(), first);
    }
    assert_ne!(world.out(1, udp(at(A, 5_001), at(PEER, 9))).source(), first, "another port, another mapping");
    assert_eq!(world.nat.counts().mappings, 2);
}

#[test]
fn u1_tenants_with_the_same_address_and_port_have_mappings_of_their_own() {
    let mut world = World::new();
    let one = world.out(1, udp(at(A, 5_000), at(PEER, 9))).source();
    let two = world.out(2, udp(at(A, 5_000), at(PEER, 9))).source();
    assert_ne!(one, two);
    assert_eq!(world.back(1, udp(at(PEER, 9), one)), Seen::Delivered(1, at(PEER, 9), at(A, 5_000)));
    assert_eq!(world.back(1, udp(at(PEER, 9), two)), Seen::Delivered(2, at(PEER, 9), at(A, 5_000)));
}

#[test]
fn u1_over_ipv6_too() {
    let mut world = World::new();
    let inside = at("fd00::2", 5_000);
    let outside = world.out(1, udp(inside, at("2001:db8:9::1", 9))).source();
    assert_eq!(outside.0, at(SIX, 0).0);
    assert_eq!(world.out(1, udp(inside, at("2001:db8:9::2", 7))).source(), outside);
    let answer = udp(at("2001:db8:9::1", 9), outside);
    assert_eq!(world.back(1, answer), Seen::Delivered(1, at("2001:db8:9::1", 9), inside));
}

#[test]
fn u2_an_endpoint_keeps_one_outside_address_for_each_way_out() {
    let mut world = World::new();
    for port in 5_000..5_050 {
        assert_eq!(world.out(1, udp(at(A, port), at(PEER, 9))).source().0, at(ONE, 0).0);
    }
    let Seen::Left(link, source, _) = world.out(1, udp(at(A, 5_000), at("203.0.113.5", 9))) else { panic!() };
    assert_eq!((link, source.0), (LinkId(2), at(TWO, 0).0), "the host's routing decides");
}

#[test]
fn u3_no_outside_port_is_lent_twice() {
    let mut world = World::new();
    let mut outside: Vec<At> =
        (0..204).map(|n| world.out(n, udp(at(A, 5_000), at(PEER, 9))).source()).collect();
    outside.sort_unstable();
    outside.dedup();
    assert_eq!(outside.len(), 204);
    assert_eq!(world.out(999, udp(at(A, 5_000), at(PEER, 9))), Seen::Dropped(DropReason::NatPortsLate));
}

#[test]
fn u3a_u4_class_and_parity_are_kept_where_possible() {
    let mut world = World::new();
    for port in [5_000, 5_001, 6_000, 6_001] {
        let outside = world.out(1, udp(at(A, port), at(PEER, 9))).source().1;
        assert!(outside >= 1_024 && outside % 2 == port % 2, "{port} became {outside}");
    }
    for port in [500, 501, 502, 503] {
        let outside = world.out(1, udp(at(A, port), at(PEER, 9))).source().1;
        assert!(outside < 1_024 && outside % 2 == port % 2, "{port} became {outside}");
    }
    assert!(world.out(1, udp(at(A, 504), at(PEER, 9))).source().1 >= 1_024, "where none is left, any");
}

#[test]
fn u5_a_mapping_lives_five_minutes_idle_and_no_longer() {
    let mut world = World::new();
    let outside = world.out(1, udp(at(A, 5_000), at(PEER, 9))).source();
    world.wait(300);
    assert_eq!(world.back(1, udp(at(PEER, 9), outside)), Seen::Delivered(1, at(PEER, 9), at(A, 5_000)));
    world.wait(1);
    assert_eq!(world.back(1, udp(at(PEER, 9), outside)), Seen::Dropped(DropReason::NatNotMapped));
    assert_eq!(world.nat.counts().mappings, 0);
}

#[test]
fn u5_a_session_that_is_over_is_not_used_although_nobody_swept() {
    let mut world = World::new();
    let outside = world.out(1, udp(at(A, 5_000), at(PEER, 9))).source();
    world.now = crate::time::Moment::from_secs(1_301);
    let mut ip = udp(at(PEER, 9), outside).bytes();
    assert_eq!(
        world.nat.inbound(LinkId(1), &mut ip, false, world.now),
        Outcome::Drop(DropReason::NatNotMapped)
    );
}

#[test]
fn u5a_a_question_to_a_name_server_is_forgotten_sooner() {
    let mut world = World::new();
    world.out(1, udp(at(A, 5_000), at(PEER, 53)));
    world.out(1, udp(at(A, 5_001), at(PEER, 54)));
    world.wait(31);
    assert_eq!(world.nat.counts().mappings, 1);
}

#[test]
fn u6_what_leaves_refreshes_and_what_comes_does_not() {
    let mut world = World::new();
    let outside = world.out(1, udp(at(A, 5_000), at(PEER, 9))).source();
    let idle = world.out(1, udp(at(A, 5_001), at(PEER, 9))).source();
    for _ in 0..4 {
        world.wait(100);
        world.back(1, udp(at(PEER, 9), idle));
        assert_eq!(world.out(1, udp(at(A, 5_000), at(PEER, 9))).source(), outside);
    }
    assert_eq!(world.back(1, udp(at(PEER, 9), idle)), Seen::Dropped(DropReason::NatNotMapped));
}

#[test]
fn u8_by_default_an_address_that_was_addressed_may_answer_from_any_port_and_no_other() {
    let mut world = World::new();
    let outside = world.out(1, udp(at(A, 5_000), at(PEER, 9))).source();
    let other = world.out(1, udp(at(A, 5_001), at("9.9.9.9", 9))).source();
    assert!(matches!(world.back(1, udp(at(PEER, 4_000), outside)), Seen::Delivered(1, ..)));
    assert_eq!(world.back(1, udp(at("9.9.9.9", 9), outside)), Seen::Dropped(DropReason::NatFiltered));
    assert_eq!(
        world.back(1, udp(at(PEER, 9), other)),
        Seen::Dropped(DropReason::NatFiltered),
        "for each mapping"
    );
    assert_eq!(world.sessions(), 2, "what comes unasked leaves no trace");
}

#[test]
fn u8_endpoint_independent_filtering_lets_anybody_answer() {
    let mut world = World::new();
    world.filtering = Filtering::EndpointIndependent;
    let outside = world.out(1, udp(at(A, 5_000), at(PEER, 9))).source();
    assert!(matches!(world.back(1, udp(at("9.9.9.9", 9), outside)), Seen::Delivered(1, ..)));
    assert_eq!(world.sessions(), 1, "a scan leaves no trace");
}

#[test]
fn u9_a_hairpinned_packet_comes_from_the_outside_end() {
    let mut world = World::new();
    let b = world.out(2, udp(at(B, 6_000), at(PEER, 9))).source();
    let stranger = world.out(1, udp(at(A, 5_000), b));
    assert_eq!(stranger, Seen::Dropped(DropReason::NatFiltered), "the filter holds for insiders as well");
    let a = world.out(1, udp(at(A, 5_000), at(PEER, 9))).source();
    assert_eq!(world.out(2, udp(at(B, 6_000), a)), Seen::Delivered(1, b, at(A, 5_000)));
    assert_eq!(world.out(1, udp(at(A, 5_000), b)), Seen::Delivered(2, a, at(B, 6_000)));
}

#[test]
fn u9_a_packet_to_the_host_itself_is_the_hosts_and_leaves_no_trace() {
    let mut world = World::new();
    assert_eq!(world.out(1, udp(at(A, 5_000), at(ONE, 22))), Seen::Dropped(DropReason::NatNotMapped));
    assert_eq!(world.sessions(), 0);
}

#[test]
fn u11_behaviour_is_the_same_after_ports_have_run_out() {
    let mut world = World::new();
    let first = world.out(1, udp(at(A, 5_000), at(PEER, 9))).source();
    for n in 0..400 {
        world.out(2, udp(at(B, 1_024 + n), at(PEER, 9)));
    }
    assert_eq!(world.out(1, udp(at(A, 5_000), at("9.9.9.9", 1))).source(), first);
}

#[test]
fn u14_fragments_in_any_order_go_the_way_of_the_first() {
    let mut world = World::new();
    let whole = crate::nat::tests::world::Pk { payload: 40, ..udp(at(A, 5_000), at(PEER, 9)) }.bytes();
    let piece = |from: usize, to: usize, more: bool| {
        let mut ip = whole[..20].to_vec();
        ip.extend(&whole[20 + from..20 + to]);
        let total = (ip.len() as u16).to_be_bytes();
        let fragment = ((from as u16 / 8) | if more { 0x2000 } else { 0 }).to_be_bytes();
        ip[2..4].copy_from_slice(&total);
        ip[4..6].copy_from_slice(&[0, 9]);
        ip[6..8].copy_from_slice(&fragment);
        ip[10..12].copy_from_slice(&[0, 0]);
        let sum = crate::wire::checksum::checksum(&ip[..20]).to_be_bytes();
        ip[10..12].copy_from_slice(&sum);
        ip
    };
    let (mut last, mut first) = (piece(24, 48, false), piece(0, 24, true));
    let inside = world.inside(1);
    assert_eq!(world.nat.outbound(inside, &mut last, false, world.policy, world.now), Outcome::Held);
    assert_eq!(world.nat.counts().fragments, 1);
    let outcome = world.nat.outbound(inside, &mut first, false, world.policy, world.now);
    assert!(matches!(outcome, Outcome::Leave(_)));
    let released = world.nat.released();
    let [(held, then)] = &released[..] else { panic!("{released:?}") };
    assert_eq!((*then, &held[12..16]), (outcome, &first[12..16]));
    assert_eq!(held[12..16], [192, 0, 2, 1]);
    assert!(world.nat.released().is_empty());
}

#[test]
fn ports_are_only_those_lent_and_control_is_asked_for_more() {
    let mut world = World::bare(Limits::default());
    assert_eq!(world.out(1, udp(at(A, 5_000), at(PEER, 9))), Seen::Dropped(DropReason::NatPortsLate));
    let wants = world.nat.wants();
    let want =
        wants.iter().find(|w| w.address == at(ONE, 0).0 && w.protocol == Protocol::Udp).expect("a want");
    assert!(want.count > 0 && world.nat.wants().is_empty(), "told once");
    world.nat.lend(want.address, want.protocol, &[50_000]);
    assert_eq!(world.out(1, udp(at(A, 5_000), at(PEER, 9))).source(), at(ONE, 50_000));
    assert!(world.nat.wants().is_empty(), "control had not enough: it is not asked again at once");
    let more = world.out(1, udp(at(A, 5_001), at(PEER, 9)));
    assert_eq!(more, Seen::Dropped(DropReason::NatPorts), "no use in waiting");
    world.wait(11);
    assert!(!world.nat.wants().is_empty());
}

#[test]
fn an_address_that_the_host_loses_ends_its_mappings() {
    let mut world = World::new();
    let one = world.out(1, udp(at(A, 5_000), at(PEER, 9))).source();
    let two = world.out(1, udp(at(A, 5_000), at("203.0.113.5", 9))).source();
    let mut changed = spec();
    changed.links[0].addresses = vec![at("192.0.2.99", 0).0];
    changed.own[0] = at("192.0.2.99", 0).0;
    changed.routes.truncate(2);
    world.nat.set_egress(Egress::build(&changed).expect("it makes sense"), world.now);
    assert_eq!(world.back(1, udp(at(PEER, 9), one)), Seen::Dropped(DropReason::NatNotMapped));
    assert!(matches!(world.back(2, udp(at("203.0.113.5", 9), two)), Seen::Delivered(1, ..)));
    assert_eq!(
        world.out(1, udp(at(A, 5_000), at(PEER, 9))),
        Seen::Dropped(DropReason::NatPortsLate),
        "none is lent there"
    );
    world.nat.lend(at("192.0.2.99", 0).0, Protocol::Udp, &[41_000]);
    assert_eq!(world.out(1, udp(at(A, 5_000), at(PEER, 9))).source(), at("192.0.2.99", 41_000));
}

#[test]
fn an_address_by_which_nothing_leaves_for_a_while_keeps_its_mappings_and_asks_for_no_ports() {
    let mut world = World::bare(Limits::default());
    let asked = world.nat.wants();
    assert_eq!(asked.len(), 6, "both transports at three addresses");
    world.lend(&[40_000, 40_002]);
    let (inside, remote) = (at(A, 5_000), at("203.0.113.5", 9));
    let outside = world.out(1, udp(inside, remote)).source();
    let mut down = spec();
    down.links.truncate(1);
    down.routes[1].link = None;
    world.wait(11);
    assert_eq!(world.nat.wants().len(), 6, "none had enough");
    world.nat.set_egress(Egress::build(&down).expect("it makes sense"), world.now);
    assert_eq!(world.out(1, udp(inside, remote)), Seen::Dropped(DropReason::NatNoRoute));
    assert_eq!(world.sessions(), 1);
    assert!(world.nat.wants().is_empty());
    world.nat.set_egress(Egress::build(&spec()).expect("it makes sense"), world.now);
    assert_eq!(world.out(1, udp(inside, remote)).source(), outside);
    assert!(matches!(world.back(2, udp(remote, outside)), Seen::Delivered(1, ..)));
    let again = world.nat.wants();
    assert!(again.len() == 2 && again.iter().all(|want| want.address == at(TWO, 0).0), "{again:?}");
}

#[test]
fn nothing_comes_from_the_hosts_own_addresses_or_by_an_unknown_link() {
    let mut world = World::new();
    let outside = world.out(1, udp(at(A, 5_000), at(PEER, 9))).source();
    assert_eq!(world.back(1, udp(at(OTHER, 9), outside)), Seen::Dropped(DropReason::NatMartian));
    assert_eq!(world.back(9, udp(at(PEER, 9), outside)), Seen::Dropped(DropReason::NatNoRoute));
}
