//! The life of a pool against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::{holder, id, ip};
use super::*;
use crate::model::Name;

/// A plain map of who has what, and the rules in the plainest words.
struct Model {
    owners: BTreeMap<IpAddr, Option<usize>>,
    window: Vec<IpAddr>,
    policy: Policy,
    last: Option<IpAddr>,
}

impl Model {
    fn allocate(&mut self, holder: usize) -> Option<IpAddr> {
        let free = |address: &&IpAddr| !self.owners.contains_key(address);
        let after = |address: &&IpAddr| {
            self.policy == Policy::Serial && self.last.is_some_and(|last| **address > last)
        };
        let mut free_ones = self.window.iter().filter(free);
        let chosen = free_ones.clone().find(after).or_else(|| free_ones.next()).copied()?;
        self.owners.insert(chosen, Some(holder));
        self.last = Some(chosen);
        Some(chosen)
    }

    fn claim(&mut self, address: IpAddr, holder: usize) -> bool {
        let free = !self.owners.contains_key(&address);
        if free {
            self.owners.insert(address, Some(holder));
        }
        free
    }

    fn release(&mut self, address: IpAddr, holder: usize) -> bool {
        let ours = self.owners.get(&address) == Some(&Some(holder));
        if ours {
            self.owners.remove(&address);
        }
        ours
    }
}

#[derive(Clone, Debug)]
enum Step {
    Allocate,
    Claim(u128),
    Release(u128, usize),
}

/// What happens in a subnet of a few dozen addresses, and which part of it is the range.
fn lives() -> impl Strategy<Value = (PoolSpec, Vec<Step>)> {
    let step = prop_oneof![
        3 => Just(Step::Allocate),
        1 => (0u128..64).prop_map(Step::Claim),
        2 => (0u128..64, 0usize..4).prop_map(|(n, holder)| Step::Release(n, holder)),
    ];
    let spec = (any::<bool>(), 1u8..7, prop::option::of((0u8..7, 0u128..64)), any::<bool>(), 0u128..64)
        .prop_map(|(v6, bits, range, serial, auxiliary)| {
            let base = if v6 { ip("fd00::") } else { ip("10.0.0.0") };
            let net = IpNet::new(base, if v6 { 128 } else { 32 } - bits).unwrap();
            let at = |n: u128| match net {
                IpNet::V4(_) => IpAddr::from(Ipv4Addr::from((number(base) + n % (1 << bits)) as u32)),
                IpNet::V6(_) => IpAddr::from(Ipv6Addr::from(number(base) + n % (1 << bits))),
            };
            let range = range.map(|(range_bits, n)| {
                IpNet::new(at(n), net.max_prefix_len() - range_bits.min(bits)).unwrap().trunc()
            });
            let auxiliary =
                Some(at(auxiliary)).filter(|&a| a != first_usable(net) && !reserved(net).contains(&a));
            let auxiliary = auxiliary.map(|a| (Name::new("aux").unwrap(), a)).into_iter().collect();
            let policy = if serial { Policy::Serial } else { Policy::FirstFree };
            PoolSpec { range, auxiliary, policy, ..PoolSpec::new(net) }
        });
    (spec, prop::collection::vec(step, 1..150))
}

proptest! {
    /// An address has one owner, is the one that the policy says, is given back by its owner only, and is refused only
    /// when none is left; and what the leases say is all there is to know.
    #[test]
    fn a_pool_agrees_with_a_plain_map((spec, steps) in lives()) {
        let mut pool = Pool::new(&spec).unwrap();
        let all: Vec<_> = { let (first, last) = span(spec.net); (first..=last).map(|n| address(spec.net, n)).collect() };
        let taken = reserved(spec.net).into_iter().chain([pool.gateway()]).chain(spec.auxiliary.values().copied());
        let mut model = Model {
            owners: taken.map(|address| (address, None)).collect(),
            window: all.iter().copied().filter(|a| spec.range.is_none_or(|range| range.contains(a))).collect(),
            policy: spec.policy,
            last: None,
        };
        for (step, n) in steps.into_iter().zip(0..) {
            let holder_of = n % 4;
            match step {
                Step::Allocate => {
                    prop_assert_eq!(pool.allocate(holder(holder_of)).ok(), model.allocate(holder_of));
                }
                Step::Claim(n) => {
                    let address = address(spec.net, span(spec.net).0 + n);
                    let possible = all.contains(&address) && model.claim(address, holder_of);
                    prop_assert_eq!(pool.claim(address, holder(holder_of)).is_ok(), possible);
                }
                Step::Release(n, who) => {
                    let address = address(spec.net, span(spec.net).0 + n);
                    prop_assert_eq!(pool.release(address, id(who)), model.release(address, who));
                }
            }
            let leases: Vec<_> = model.owners.iter()
                .filter_map(|(&address, owner)| Some(Lease { address, holder: holder((*owner)?) })).collect();
            prop_assert_eq!(pool.leases(), leases.clone());
            let usage = pool.usage();
            let free = model.window.iter().filter(|a| !model.owners.contains_key(a)).count();
            prop_assert_eq!((usage.available(), usage.in_use), (free as u128, model.owners.len() as u128));
            if spec.policy == Policy::FirstFree {
                let mut restored = Pool::restore(&spec, leases).unwrap();
                prop_assert_eq!(restored.usage(), usage);
                prop_assert_eq!(restored.allocate(holder(9)), pool.clone().allocate(holder(9)));
            }
        }
    }
}

fn address(net: IpNet, n: u128) -> IpAddr {
    match net {
        IpNet::V4(_) => Ipv4Addr::from(n as u32).into(),
        IpNet::V6(_) => Ipv6Addr::from(n).into(),
    }
}
