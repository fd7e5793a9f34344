use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::error::Explain;
use crate::model::Driver;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(n: usize) -> Name {
    Name::new(format!("e{n}")).unwrap()
}

fn pool(text: &str) -> Pool {
    Pool::new(net(text), None, None).unwrap()
}

#[test]
fn addresses_come_in_order_after_the_gateway() {
    let mut v4 = pool("10.1.0.0/24");
    assert_eq!(v4.gateway(), ip("10.1.0.1"));
    assert_eq!(v4.allocate(name(0)), Ok(ip("10.1.0.2")));
    assert_eq!(v4.allocate(name(1)), Ok(ip("10.1.0.3")));
    v4.release(ip("10.1.0.2"));
    assert_eq!(v4.allocate(name(2)), Ok(ip("10.1.0.2")));

    let mut v6 = pool("fd00::/64");
    assert_eq!(v6.gateway(), ip("fd00::1"));
    assert_eq!(v6.allocate(name(0)), Ok(ip("fd00::2")));
}

#[test]
fn a_given_gateway_leaves_the_first_address_to_endpoints() {
    let mut pool = Pool::new(net("10.1.0.0/24"), Some(ip("10.1.0.254")), None).unwrap();
    assert_eq!(pool.allocate(name(0)), Ok(ip("10.1.0.1")));
    assert_eq!(
        pool.claim(ip("10.1.0.254"), name(1)),
        Err(IpamError::Taken { address: ip("10.1.0.254"), owner: Owner::Gateway })
    );
}

#[test]
fn a_range_bounds_what_is_chosen_but_not_what_is_asked_for() {
    let mut pool = Pool::new(net("10.1.0.0/24"), None, Some(net("10.1.0.128/30"))).unwrap();
    for last in 128..132 {
        assert_eq!(pool.allocate(name(0)), Ok(IpAddr::from([10, 1, 0, last])));
    }
    let full = IpamError::Exhausted { net: net("10.1.0.0/24"), taken: 4, capacity: 4 };
    assert_eq!(full.to_string(), "no address is free in 10.1.0.0/24: 4 of 4 are taken");
    assert_eq!(pool.allocate(name(0)), Err(full));
    assert_eq!(pool.claim(ip("10.1.0.7"), name(1)), Ok(()));
}

#[test]
fn who_has_an_address_is_told() {
    let mut pool = pool("10.1.0.0/24");
    pool.claim(ip("10.1.0.9"), name(7)).unwrap();
    let error = pool.claim(ip("10.1.0.9"), name(8)).unwrap_err();
    assert_eq!(error.to_string(), "the address 10.1.0.9 is taken by endpoint 'e7'");
    assert!(matches!(
        pool.claim(ip("10.1.0.0"), name(8)),
        Err(IpamError::Taken { owner: Owner::Reserved, .. })
    ));
    assert!(matches!(
        pool.claim(ip("10.1.0.255"), name(8)),
        Err(IpamError::Taken { owner: Owner::Reserved, .. })
    ));
    assert!(matches!(pool.claim(ip("10.2.0.9"), name(8)), Err(IpamError::Outside { .. })));
    assert!(matches!(pool.claim(ip("fd00::9"), name(8)), Err(IpamError::Outside { .. })));
}

#[test]
fn gateway_and_reserved_addresses_are_never_released() {
    let mut pool = pool("10.1.0.0/30");
    for last in 0..4 {
        pool.release(IpAddr::from([10, 1, 0, last]));
    }
    assert_eq!(pool.allocate(name(0)), Ok(ip("10.1.0.2")));
    assert!(matches!(pool.allocate(name(1)), Err(IpamError::Exhausted { taken: 1, capacity: 1, .. })));
}

#[test]
fn the_smallest_subnets() {
    let mut v4 = pool("10.1.0.0/31");
    assert_eq!((v4.gateway(), v4.allocate(name(0))), (ip("10.1.0.0"), Ok(ip("10.1.0.1"))));
    let mut v6 = pool("fd00::/127");
    assert_eq!((v6.gateway(), v6.allocate(name(0))), (ip("fd00::"), Ok(ip("fd00::1"))));
    for tiny in ["10.1.0.0/32", "fd00::/128"] {
        assert!(matches!(Pool::new(net(tiny), None, None), Err(IpamError::TooSmall { .. })));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |subnet: &str, gateway: Option<&str>, range: Option<&str>| {
        Pool::new(net(subnet), gateway.map(ip), range.map(net)).unwrap_err()
    };
    assert!(matches!(refused("10.1.0.5/24", None, None), IpamError::HostBits { .. }));
    assert_eq!(refused("10.1.0.5/24", None, None).remedy().unwrap(), "write 10.1.0.0/24");
    assert!(matches!(refused("10.1.0.0/24", Some("10.2.0.1"), None), IpamError::GatewayOutside { .. }));
    assert!(matches!(refused("10.1.0.0/24", Some("10.1.0.0"), None), IpamError::GatewayReserved { .. }));
    assert!(matches!(refused("10.1.0.0/24", Some("10.1.0.255"), None), IpamError::GatewayReserved { .. }));
    assert!(matches!(refused("10.1.0.0/24", None, Some("10.1.0.0/16")), IpamError::RangeOutside { .. }));
    for foreign in ["0.0.0.0/0", "127.0.0.0/24", "224.1.0.0/16", "::/64", "fe80::/64", "ff02::/64"] {
        assert!(matches!(refused(foreign, None, None), IpamError::NotUnicast { .. }), "{foreign}");
    }
}

#[test]
fn default_pools_are_dockers_in_dockers_order() {
    let mut busy = vec![];
    let mut chosen = vec![];
    while let Ok(next) = choose_ipv4(Driver::Bridge, &busy) {
        busy.push(next);
        chosen.push(next.to_string());
    }
    assert_eq!(chosen.len(), 31);
    assert_eq!(chosen[..4], ["172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16", "172.20.0.0/16"]);
    assert_eq!(chosen[15], "192.168.0.0/20");
    assert_eq!(chosen[30], "192.168.240.0/20");
    assert_eq!(choose_ipv4(Driver::Overlay, &busy), Ok(net("10.0.0.0/24")));
}

#[test]
fn what_is_in_use_is_stepped_over_whole() {
    assert_eq!(choose_ipv4(Driver::Bridge, &[net("172.16.0.0/12")]), Ok(net("192.168.0.0/20")));
    assert_eq!(
        choose_ipv4(Driver::Overlay, &[net("10.0.1.7/32"), net("10.0.0.0/24")]),
        Ok(net("10.0.2.0/24"))
    );
    assert!(choose_ipv4(Driver::Overlay, &[net("10.0.0.0/8")]).is_err());
    let ula = UlaPrefix::new([1, 2, 3, 4, 5]);
    assert_eq!(choose_ipv6(Driver::Bridge, ula, &[]), Ok(net("fd01:203:405::/64")));
    assert_eq!(choose_ipv6(Driver::Bridge, ula, &[net("fd01:203:405::/64")]), Ok(net("fd01:203:405:1::/64")));
}

proptest! {
    /// Against a plain map: an address has one owner, is in the window when chosen, is the lowest free one, and is
    /// refused only when none is left.
    #[test]
    fn a_pool_agrees_with_a_plain_map(
        v6 in any::<bool>(), prefix_from_end in 1u8..6, steps in prop::collection::vec((0u8..3, 0u128..40), 1..120)
    ) {
        let subnet = if v6 { format!("fd00::/{}", 128 - prefix_from_end) } else { format!("10.0.0.0/{}", 32 - prefix_from_end) };
        let subnet = net(&subnet);
        let mut pool = Pool::new(subnet, None, None).unwrap();
        let mut model: BTreeMap<IpAddr, Option<Name>> = reserved(subnet).into_iter().map(|a| (a, None)).collect();
        model.insert(pool.gateway(), None);
        let (first, last) = span(subnet);

        for (step, (kind, n)) in steps.into_iter().enumerate() {
            let address = pool.address(first + n);
            match kind {
                0 => {
                    let lowest = (first..=last).map(|n| pool.address(n)).find(|a| !model.contains_key(a));
                    let chosen = pool.allocate(name(step));
                    prop_assert_eq!(chosen.clone().ok(), lowest);
                    if let Ok(address) = chosen {
                        model.insert(address, Some(name(step)));
                    }
                }
                1 => {
                    let free = subnet.contains(&address) && !model.contains_key(&address);
                    prop_assert_eq!(pool.claim(address, name(step)).is_ok(), free);
                    if free {
                        model.insert(address, Some(name(step)));
                    }
                }
                _ => {
                    pool.release(address);
                    if model.get(&address).is_some_and(Option::is_some) {
                        model.remove(&address);
                    }
                }
            }
        }
    }

    #[test]
    fn an_automatic_subnet_overlaps_nothing_in_use(busy in prop::collection::vec((any::<u32>(), 4u8..=32), 0..30)) {
        let busy: Vec<IpNet> = busy.into_iter().map(|(a, p)| IpNet::new(Ipv4Addr::from(a).into(), p).unwrap()).collect();
        for driver in [Driver::Bridge, Driver::Overlay] {
            if let Ok(chosen) = choose_ipv4(driver, &busy) {
                prop_assert!(busy.iter().all(|&other| !overlaps(chosen, other)));
                prop_assert!(check_subnet(chosen).is_ok());
            }
        }
    }
}
