//! RFC 6864.

use std::collections::{HashMap, HashSet};

use etherparse::{IpFragOffset, Ipv4Header};
use proptest::prelude::*;

use super::world::*;
use crate::gateway::testing::{cut, reassemble};
use crate::nat::{Outcome, Policy, Protocol};

const PEERS: [&str; 2] = ["8.8.8.8", "9.9.9.9"];

fn header(ip: &[u8]) -> Ipv4Header {
    let header = Ipv4Header::from_slice(ip).unwrap().0;
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    header
}

/// A packet with another header.
fn changed(ip: &[u8], change: impl FnOnce(&mut Ipv4Header)) -> Vec<u8> {
    let mut header = header(ip);
    change(&mut header);
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], &ip[20..]].concat()
}

/// A datagram of 1,200 bytes from endpoint `from`, as its parts.
fn parts(from: u32, to: &str, identification: u16) -> Vec<Vec<u8>> {
    let inside = at(&format!("10.1.0.{from}"), 5_000);
    let whole = Pk { payload: 1_200, ..udp(inside, at(to, 9)) }.bytes();
    let whole = changed(&whole, |header| {
        header.dont_fragment = false;
        header.identification = identification;
    });
    cut(&whole, 500)
}

impl World {
    /// What leaves: the packet, and those that were held for it.
    fn leaving(&mut self, from: u32, mut ip: Vec<u8>) -> Vec<Vec<u8>> {
        let outcome = self.nat.outbound(self.inside(from), &mut ip, false, self.policy, self.now);
        let mut left = match outcome {
            Outcome::Leave(_) => vec![ip],
            Outcome::Held => Vec::new(),
            other => panic!("{other:?}"),
        };
        left.extend(self.nat.released().into_iter().map(|(ip, _)| ip.into_vec()));
        left
    }
}

#[test]
fn fragments_of_two_endpoints_with_one_identification_are_told_apart() {
    let mut world = World::new();
    let (one, two) = (parts(1, PEERS[0], 7), parts(2, PEERS[0], 7));
    // In turn, and of one endpoint the first one last.
    let mut left = Vec::new();
    for (a, b) in one.iter().zip(two.iter().rev()) {
        left.extend(world.leaving(1, a.clone()));
        left.extend(world.leaving(2, b.clone()));
    }
    assert_eq!(left.len(), 6);
    let mut datagrams: HashMap<u16, Vec<Vec<u8>>> = HashMap::new();
    for ip in left {
        datagrams.entry(header(&ip).identification).or_default().push(ip);
    }
    assert_eq!(datagrams.len(), 2);
    for datagram in datagrams.values() {
        let (header, payload) = reassemble(datagram);
        assert_eq!((header.source, payload.len()), ([192, 0, 2, 1], 1_208));
        assert_eq!(payload[8..], [0x5a; 1_200]);
    }
}

#[test]
fn what_may_be_cut_gets_one_anew_and_what_may_not_keeps_its_own() {
    let mut world = World::new();
    let sent = |divisible: bool| {
        let packet = udp(at("10.1.0.1", 5_000), at(PEERS[0], 9)).bytes();
        changed(&packet, |header| (header.dont_fragment, header.identification) = (!divisible, 7))
    };
    let mut id = |ip: Vec<u8>| header(&world.leaving(1, ip)[0]).identification;
    let first = id(sent(true));
    assert_eq!(id(sent(false)), 7);
    assert_eq!(id(sent(true)), first.wrapping_add(1));
    // What may be a super-frame takes some for its segments.
    let mut large =
        changed(&Pk { payload: 5_000, ..udp(at("10.1.0.1", 5_000), at(PEERS[0], 9)) }.bytes(), |h| {
            h.dont_fragment = false;
        });
    let inside = world.inside(1);
    assert!(matches!(
        world.nat.outbound(inside, &mut large, true, Policy::Begin, world.now),
        Outcome::Leave(_)
    ));
    assert_eq!(header(&large).identification, first.wrapping_add(2));
    assert_eq!(header(&world.leaving(1, sent(true))[0]).identification, first.wrapping_add(2 + 10));
}

#[test]
fn what_keeps_its_source_keeps_its_identification() {
    let mut world = World::new();
    world.nat.publish(&[published(Protocol::Udp, 53, 1, at("10.1.0.1", 53))]);
    let asks = |to: At| {
        changed(&udp(at(PEERS[0], 9), to).bytes(), |h| {
            (h.dont_fragment, h.identification, h.fragment_offset) = (false, 7, IpFragOffset::ZERO);
        })
    };
    let mut comes = asks(at(ONE, 53));
    let outcome = world.nat.inbound(crate::gateway::LinkId(1), &mut comes, false, world.now);
    assert!(matches!(outcome, Outcome::Deliver { .. }));
    assert_eq!(header(&comes).identification, 7);
    world.policy = Policy::Answer;
    let routed = changed(&udp(at("10.1.0.9", 9), at(PEERS[0], 9)).bytes(), |h| {
        (h.dont_fragment, h.identification) = (false, 7);
    });
    assert_eq!(header(&world.leaving(9, routed)[0]).identification, 7);
}

proptest! {
    /// Whoever sends what, no destination sees an identification twice.
    #[test]
    fn none_is_used_twice(sent in prop::collection::vec((1..4_u32, 0..2_usize, 0..3_u16), 1..200)) {
        let mut world = World::new();
        let mut seen = HashSet::new();
        for (from, to, identification) in sent {
            let ids: HashSet<u16> = parts(from, PEERS[to], identification)
                .into_iter()
                .flat_map(|part| world.leaving(from, part))
                .map(|ip| header(&ip).identification)
                .collect();
            prop_assert_eq!(ids.len(), 1);
            prop_assert!(ids.into_iter().all(|id| seen.insert((to, id))));
        }
    }
}
