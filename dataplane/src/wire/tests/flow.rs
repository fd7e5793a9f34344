//! What makes a flow, and how well flows spread over the port range.

use std::collections::HashSet;

use proptest::prelude::*;

use crate::wire::flow::{self, flow_hash};
use crate::wire::testing::{Chain, Network, Recipe, Transport, any_recipe, hostile};

#[test]
fn sixty_four_thousand_flows_use_the_port_range() {
    for (v6, seed) in [(false, 0), (false, 0x9e37_79b9), (true, 1)] {
        let mut recipe = Recipe {
            macs: [[2; 6], [4; 6]],
            tags: 0,
            network: if v6 {
                Network::V6 { addresses: [[0xfd; 16]; 2], traffic_class: 0, chain: Chain::default() }
            } else {
                Network::V4 {
                    addresses: [[10, 0, 0, 2], [10, 0, 0, 3]],
                    tos: 0,
                    identification: 0,
                    option_words: 0,
                }
            },
            transport: Transport::Udp { ports: [0, 80] },
            payload: vec![],
        };
        let mut frame = recipe.build();
        let l4 = frame.len() - 8;
        let mut ports = vec![0u32; 1 << 14];
        for port in 0..=u16::MAX {
            frame[l4..l4 + 2].copy_from_slice(&port.to_be_bytes());
            ports[usize::from(flow::source_port(flow_hash(&frame, seed)) - 49_152)] += 1;
        }
        let used = ports.iter().filter(|&&count| count > 0).count();
        assert!(used >= 15_000, "{used} ports used, v6 {v6}");
        assert!(ports.iter().all(|&count| count < 24), "one port carries {:?} flows", ports.iter().max());

        recipe.transport = Transport::Tcp { ports: [0, 80], sequence: 0, flags: 0, option_words: 0 };
        let udp = {
            frame[l4..l4 + 2].fill(0);
            flow_hash(&frame, seed)
        };
        assert_ne!(flow_hash(&recipe.build(), seed), udp, "the protocol counts");
    }
}

#[test]
fn hosts_and_seeds_spread_too() {
    let mut frame = vec![0xff; 12];
    frame.extend([8, 6]);
    frame.resize(42, 0);
    let mut ports = HashSet::new();
    for host in 0..=u16::MAX {
        frame[10..12].copy_from_slice(&host.to_be_bytes());
        ports.insert(flow::source_port(flow_hash(&frame, 5)));
    }
    assert!(ports.len() >= 15_000, "{} ports for 65,536 stations", ports.len());
    let seeds: HashSet<_> = (0..1000).map(|seed| flow_hash(&frame, seed)).collect();
    assert!(seeds.len() >= 999);
    assert_eq!(flow::source_port(0), 49_152);
    assert_eq!(flow::source_port(u32::MAX), 65_535);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_flow_is_its_addresses_and_ports(recipe in any_recipe(), seed: u64, other in any_recipe()) {
        let mut same = recipe.clone();
        same.payload = other.payload.clone();
        same.tags = other.tags;
        same.macs = other.macs;
        if let (Network::V4 { tos, identification, .. }, Network::V4 { tos: t, identification: i, .. }) = (&mut same.network, &other.network) {
            (*tos, *identification) = (*t, *i);
        }
        if let (Transport::Tcp { sequence, flags, .. }, Transport::Tcp { sequence: s, flags: f, .. }) = (&mut same.transport, &other.transport) {
            (*sequence, *flags) = (*s, *f);
        }
        prop_assert_eq!(flow_hash(&recipe.build(), seed), flow_hash(&same.build(), seed));
        // Two random flows share a 32-bit number once in four billion.
        prop_assert_ne!(flow_hash(&recipe.build(), seed), flow_hash(&other.build(), seed));
    }

    #[test]
    fn fragments_of_a_datagram_hash_alike(
        mut recipe in any_recipe(), seed: u64, offset in 1u16..100, bytes: [u8; 4],
    ) {
        if let Network::V6 { chain, .. } = &mut recipe.network {
            *chain = Chain { atomic: true, ..Default::default() };
        }
        let l3 = 14 + 4 * recipe.tags;
        let mut first = recipe.build();
        let mut later = first.clone();
        let l4 = match recipe.network {
            Network::V4 { option_words, .. } => {
                first[l3 + 6] |= 0x20;
                later[l3 + 6..l3 + 8].copy_from_slice(&offset.to_be_bytes());
                l3 + 20 + 4 * option_words
            }
            Network::V6 { .. } => {
                first[l3 + 43] |= 1;
                later[l3 + 42..l3 + 44].copy_from_slice(&(offset << 3).to_be_bytes());
                l3 + 48
            }
        };
        later[l4..l4 + 4].copy_from_slice(&bytes);
        prop_assert_eq!(flow_hash(&first, seed), flow_hash(&later, seed));
    }

    #[test]
    fn any_bytes_have_a_flow(frame in hostile(), seed: u64) {
        prop_assert!(flow::source_port(flow_hash(&frame, seed)) >= 49_152);
    }
}
