//! Anything at all may come from either side.

use proptest::prelude::*;

use super::world::*;
use crate::gateway::{Filtering, LinkId};
use crate::nat::{Outcome, Protocol};

/// A packet that makes sense, to be spoiled.
fn bytes(which: usize, outside: At) -> Vec<u8> {
    let (inside, remote) = (at("10.1.0.2", 5_000), at("8.8.8.8", 80));
    match which {
        0 => udp(inside, remote).bytes(),
        1 => syn(inside, remote).bytes(),
        2 => echo(inside, "8.8.8.8", true).bytes(),
        3 => udp(remote, inside).refused_by("10.1.0.2", 3),
        4 => udp(remote, outside).bytes(),
        5 => syn(remote, outside).bytes(),
        6 => udp(outside, remote).refused_by("8.8.8.8", 4),
        _ => udp(at("fd00::2", 9), at("2001:db8:9::1", 9)).bytes(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn spoiled_packets_neither_panic_nor_spoil_the_tables(
        packets in proptest::collection::vec(
            (0..8usize, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), any::<prop::sample::Index>(), any::<bool>()),
            1..30,
        ),
        partial: bool,
    ) {
        let mut world = World::new();
        world.filtering = Filtering::EndpointIndependent;
        world.nat.publish(&[published(Protocol::Tcp, 80, 1, at("10.1.0.2", 80))]);
        let outside = world.out(1, udp(at("10.1.0.2", 5_000), at("8.8.8.8", 80))).source();
        for (which, spoils, cut, inward) in packets {
            let mut ip = bytes(which, outside);
            for (place, value) in spoils {
                let place = place.index(ip.len());
                ip[place] = value;
            }
            if cut.index(4) == 0 {
                ip.truncate(cut.index(ip.len() + 1));
            }
            let before = ip.clone();
            let inside = world.inside(1);
            let outcome = if inward {
                world.nat.inbound(LinkId(1), &mut ip, partial, world.now)
            } else {
                world.nat.outbound(inside, &mut ip, partial, world.policy, world.now)
            };
            if matches!(outcome, Outcome::Held | Outcome::Drop(_)) {
                prop_assert_eq!(ip, before, "what goes nowhere is left as it is");
            }
            world.nat.released();
        }
        world.wait(0);
        world.wait(100_000);
        prop_assert_eq!(world.sessions(), 0);
        prop_assert_eq!(world.nat.counts().endpoints, 1, "the one that has a published port");
    }
}
