//! Which outside ports are reserved, and in which order.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use weft_dataplane::io::reserve::{ReserveError, Transport};

/// Ports that Linux gives to nobody who does not ask for them, unless its `ip_local_port_range` was changed.
const SPARE: RangeInclusive<u16> = 61_000..=65_535;
/// Of those that it gives out (32768 to 60999), the upper ones; 8,192 stay the host's.
const SHARED: RangeInclusive<u16> = 40_960..=60_999;

/// What was tried so far.
#[derive(Debug)]
pub(super) struct Ports {
    seed: u64,
    pools: BTreeMap<(IpAddr, Transport), Pool>,
}

/// The ports of one address and transport.
#[derive(Debug)]
struct Pool {
    order: Vec<u16>,
    tried: usize,
}

impl Ports {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, pools: BTreeMap::new() }
    }

    /// At most `count` more ports on `address`, by way of `reserve`. Those in use are skipped; any other refusal ends it.
    pub(super) fn take<R>(
        &mut self,
        address: IpAddr,
        transport: Transport,
        count: usize,
        mut reserve: impl FnMut(u16) -> Result<R, ReserveError>,
    ) -> Vec<(u16, R)> {
        let seed = self.seed.wrapping_add(self.pools.len() as u64);
        let pool = self.pools.entry((address, transport)).or_insert_with(|| Pool::new(seed));
        let mut taken = Vec::new();
        while taken.len() < count {
            let Some(&port) = pool.order.get(pool.tried) else { break };
            match reserve(port) {
                Ok(reserved) => taken.push((port, reserved)),
                Err(ReserveError::InUse { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, %address, %transport, port, "no outside port can be reserved");
                    break;
                }
            }
            pool.tried += 1;
        }
        taken
    }

    /// Forgets addresses that are no more.
    pub(super) fn retain(&mut self, lives: impl Fn(IpAddr) -> bool) {
        self.pools.retain(|(address, _), _| lives(*address));
    }

    /// Where everything was tried it is tried again: the host may have given ports back. Ours are in use still.
    pub(super) fn retry(&mut self) {
        for pool in self.pools.values_mut().filter(|pool| pool.tried == pool.order.len()) {
            pool.tried = 0;
        }
    }
}

impl Pool {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut order = shuffled(SPARE, &mut random);
        order.extend(shuffled(SHARED, &mut random));
        Self { order, tried: 0 }
    }
}

/// Fisher and Yates.
fn shuffled(ports: RangeInclusive<u16>, random: &mut Random) -> Vec<u16> {
    let mut ports: Vec<u16> = ports.collect();
    for last in (1..ports.len()).rev() {
        let other = random.next() % (last as u64 + 1);
        ports.swap(last, other as usize);
    }
    ports
}

/// SplitMix64: enough for an order that is not the same everywhere. NAT's own choice among what it was lent is what
/// makes ports hard to guess.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn in_use(port: u16) -> ReserveError {
        ReserveError::InUse { transport: Transport::Tcp, address: ADDRESS, port }
    }

    /// Takes `count` ports of which `free` says whether they can be had.
    fn take(ports: &mut Ports, count: usize, free: impl Fn(u16) -> bool) -> Vec<u16> {
        let reserve = |port| if free(port) { Ok(()) } else { Err(in_use(port)) };
        ports.take(ADDRESS, Transport::Tcp, count, reserve).into_iter().map(|(port, ())| port).collect()
    }

    #[test]
    fn spare_ports_come_first_and_most_of_the_others_after_them() {
        let mut ports = Ports::new(7);
        let first = take(&mut ports, 4_000, |_| true);
        let second = take(&mut ports, 536, |_| true);
        assert_eq!([&first[..], &second].concat().into_iter().collect::<BTreeSet<_>>(), SPARE.collect());
        assert!(!first.is_sorted(), "in no order to rely on");
        let others = take(&mut ports, usize::MAX, |_| true);
        assert_eq!(others.into_iter().collect::<BTreeSet<_>>(), SHARED.collect());
        assert_eq!((32_768..=60_999_u16).len() - SHARED.len(), 8_192, "the host keeps some");
        assert!(take(&mut ports, 1, |_| true).is_empty());
    }

    #[test]
    fn the_seed_decides_the_order_and_pools_have_one_each() {
        let order = |seed| take(&mut Ports::new(seed), 100, |_| true);
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let mut ports = Ports::new(1);
        let tcp = take(&mut ports, 100, |_| true);
        let udp = ports.take(ADDRESS, Transport::Udp, 100, Ok::<_, ReserveError>);
        assert_ne!(udp.into_iter().map(|(port, _)| port).collect::<Vec<_>>(), tcp);
    }

    #[test]
    fn what_is_in_use_is_skipped_and_tried_again_at_the_end() {
        let mut ports = Ports::new(7);
        let all = take(&mut ports, usize::MAX, |port| port != 61_005);
        assert!(!all.contains(&61_005) && all.contains(&61_004));
        assert!(take(&mut ports, 1, |_| true).is_empty());
        ports.retry();
        assert_eq!(take(&mut ports, 1, |port| port == 61_005), [61_005]);
        ports.retain(|address| address != ADDRESS);
        assert_eq!(take(&mut ports, 10, |_| true), all[..10], "as if for the first time");
    }

    #[test]
    fn another_refusal_ends_it_and_the_port_is_tried_first_next_time() {
        let mut ports = Ports::new(7);
        let none = ports.take(ADDRESS, Transport::Tcp, 5, |_| Err::<(), _>(ReserveError::NotLocal(ADDRESS)));
        assert!(none.is_empty());
        assert_eq!(take(&mut ports, 5, |_| true), take(&mut Ports::new(7), 5, |_| true));
    }
}
