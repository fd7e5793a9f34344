//! The host's routing changes under sessions.

use proptest::prelude::*;

use super::world::*;
use crate::gateway::Egress;
use crate::nat::Protocol;

const REMOTES: [&str; 3] = ["8.8.8.8", "203.0.113.9", "2001:4860::8"];
const GATEWAY: &str = "10.1.0.1";

/// A host that has some of its addresses, of which the last is named by a route alone.
fn routing(bits: u8) -> Egress {
    let has = |bit: u8| bits & 1 << bit != 0;
    let mut spec = spec();
    let addresses = [ONE, TWO, OTHER, SIX].map(|address| at(address, 0).0);
    for (bit, address) in (0..).zip(addresses) {
        if !has(bit) {
            spec.own.retain(|own| *own != address);
            spec.links.iter_mut().for_each(|link| link.addresses.retain(|a| *a != address));
        }
    }
    if has(2) && has(4) {
        spec.routes[0].source = Some(addresses[2]);
    }
    Egress::build(&spec).expect("it makes sense")
}

proptest! {
    /// Whether sessions are looked through or not, none is left at an address that is not the host's.
    #[test]
    fn no_session_outlives_its_address(steps in prop::collection::vec((0..32_u8, any::<bool>()), 1..12)) {
        let mut world = World::new();
        world.nat.publish(&[published(Protocol::Udp, 53, 1, at("10.1.0.2", 53))]);
        for (round, (bits, gateway)) in (0..).zip(steps) {
            let ports: Vec<u16> = (40_000..40_200).collect();
            world.lend(&ports);
            world.nat.lend(at(OTHER, 0).0, Protocol::Udp, &ports);
            for remote in REMOTES {
                let inside = if remote.contains(':') { "fd00::2" } else { "10.1.0.3" };
                world.out(2, udp(at(inside, 5_000 + round), at(remote, 9)));
            }
            for own in [ONE, TWO, OTHER] {
                world.back(1, udp(at("9.9.9.9", 5_000 + round), at(own, 53)));
            }
            world.out(2, udp(at("10.1.0.3", 6_000 + round), at(GATEWAY, 53)));
            let (former, next) = (world.nat.egress().clone(), routing(bits));
            let before = world.sessions();
            let keeps = next.keeps(&former);
            world.nat.set_egress(next, world.now);
            prop_assert!(!keeps || world.sessions() == before);
            world.nat.set_gateways(gateway.then_some(at(GATEWAY, 0).0));
            let left = world.sessions();
            world.nat.end_homeless();
            prop_assert_eq!(world.sessions(), left);
            world.nat.table.audit();
        }
    }
}
