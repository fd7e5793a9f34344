use std::collections::BTreeMap;

use proptest::prelude::*;

use super::numbers::steps_of;
use super::*;
use crate::error::{Code, Explain};
use crate::model::{Driver, Id, Name};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn id(n: usize) -> Id {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Id::from_bytes(bytes)
}

pub(super) fn holder(n: usize) -> Holder {
    Holder { id: id(n), name: Name::new(format!("e{n}")).unwrap() }
}

fn spec(text: &str) -> PoolSpec {
    PoolSpec::new(net(text))
}

fn pool(text: &str) -> Pool {
    Pool::new(&spec(text)).unwrap()
}

fn serial(text: &str) -> PoolSpec {
    PoolSpec { policy: Policy::Serial, ..spec(text) }
}

#[test]
fn the_lowest_free_address_comes_first() {
    let mut v4 = pool("10.1.0.0/24");
    assert_eq!(v4.gateway(), ip("10.1.0.1"));
    assert_eq!(v4.allocate(holder(0)), Ok(ip("10.1.0.2")));
    assert_eq!(v4.allocate(holder(1)), Ok(ip("10.1.0.3")));
    assert!(v4.release(ip("10.1.0.2"), id(0)));
    assert_eq!(v4.allocate(holder(2)), Ok(ip("10.1.0.2")));

    let mut v6 = pool("fd00::/64");
    assert_eq!(v6.gateway(), ip("fd00::1"));
    assert_eq!(v6.allocate(holder(0)), Ok(ip("fd00::2")));
}

#[test]
fn a_serial_pool_lets_an_address_rest_until_its_turn_comes_again() {
    let mut pool = Pool::new(&serial("10.1.0.0/29")).unwrap();
    for last in 2..=4 {
        assert_eq!(pool.allocate(holder(last)), Ok(ip(&format!("10.1.0.{last}"))));
    }
    pool.release(ip("10.1.0.3"), id(3));
    let rest: Vec<_> = (0..3).map(|n| pool.allocate(holder(n)).unwrap().to_string()).collect();
    assert_eq!(rest, ["10.1.0.5", "10.1.0.6", "10.1.0.3"]);
    assert!(pool.allocate(holder(9)).is_err());
}

#[test]
fn drivers_have_the_policy_that_docker_gives_them() {
    assert_eq!(Policy::of(Driver::Bridge), Policy::FirstFree);
    assert_eq!(Policy::of(Driver::Overlay), Policy::Serial);
}

#[test]
fn a_given_gateway_leaves_the_first_address_to_endpoints() {
    let spec = PoolSpec { gateway: Some(ip("10.1.0.254")), ..spec("10.1.0.0/24") };
    let mut pool = Pool::new(&spec).unwrap();
    assert_eq!(pool.allocate(holder(0)), Ok(ip("10.1.0.1")));
    assert_eq!(
        pool.claim(ip("10.1.0.254"), holder(1)),
        Err(IpamError::Taken { address: ip("10.1.0.254"), owner: Owner::Gateway })
    );
}

#[test]
fn auxiliary_addresses_are_never_given_out() {
    let auxiliary = BTreeMap::from([
        (Name::new("router").unwrap(), ip("10.1.0.2")),
        (Name::new("nas").unwrap(), ip("10.1.0.4")),
    ]);
    let spec = PoolSpec { auxiliary, ..spec("10.1.0.0/29") };
    let mut pool = Pool::new(&spec).unwrap();
    assert_eq!(pool.usage(), Usage { taken: 0, capacity: 3, in_use: 5 });
    assert_eq!(pool.allocate(holder(0)), Ok(ip("10.1.0.3")));
    let error = pool.claim(ip("10.1.0.2"), holder(1)).unwrap_err();
    assert_eq!(error.to_string(), "the address 10.1.0.2 is taken by the auxiliary address 'router'");
    assert!(!pool.release(ip("10.1.0.2"), id(0)));

    let with = |address: &str| {
        let auxiliary = BTreeMap::from([(Name::new("router").unwrap(), ip(address))]);
        Pool::new(&PoolSpec { auxiliary, ..spec.clone() }).unwrap_err()
    };
    assert!(matches!(with("10.1.0.1"), IpamError::Taken { owner: Owner::Gateway, .. }));
    assert!(matches!(with("10.1.0.7"), IpamError::Taken { owner: Owner::Reserved, .. }));
    assert!(matches!(with("10.2.0.1"), IpamError::Outside { .. }));
    let name = |n| (Name::new(format!("a{n}")).unwrap(), ip("10.1.0.9"));
    let many = PoolSpec { auxiliary: (0..=AUXILIARY_MAX).map(name).collect(), ..spec };
    assert!(matches!(Pool::new(&many), Err(IpamError::TooManyAuxiliary { .. })));
}

#[test]
fn a_range_bounds_what_is_chosen_but_not_what_is_asked_for() {
    for policy in [Policy::FirstFree, Policy::Serial] {
        let spec = PoolSpec { range: Some(net("10.1.0.128/30")), policy, ..spec("10.1.0.0/24") };
        let mut pool = Pool::new(&spec).unwrap();
        for last in 128..132 {
            assert_eq!(pool.allocate(holder(0)), Ok(IpAddr::from([10, 1, 0, last])));
        }
        let full = pool.allocate(holder(0)).unwrap_err();
        assert_eq!(full.to_string(), "no address is free in 10.1.0.0/24: 4 of 4 are taken");
        assert_eq!((full.code(), full.remedy().is_some()), (Code::Exhausted, true));
        assert_eq!(pool.claim(ip("10.1.0.7"), holder(1)), Ok(()));
        assert_eq!(pool.usage(), Usage { taken: 4, capacity: 4, in_use: 8 });
    }
}

#[test]
fn who_has_an_address_is_told() {
    let mut pool = pool("10.1.0.0/24");
    pool.claim(ip("10.1.0.9"), holder(7)).unwrap();
    let error = pool.claim(ip("10.1.0.9"), holder(8)).unwrap_err();
    assert_eq!(error.to_string(), "the address 10.1.0.9 is taken by endpoint 'e7'");
    for reserved in ["10.1.0.0", "10.1.0.255"] {
        let refused = pool.claim(ip(reserved), holder(8));
        assert!(matches!(refused, Err(IpamError::Taken { owner: Owner::Reserved, .. })));
    }
    assert!(matches!(pool.claim(ip("10.2.0.9"), holder(8)), Err(IpamError::Outside { .. })));
    assert!(matches!(pool.claim(ip("fd00::9"), holder(8)), Err(IpamError::Outside { .. })));
}

#[test]
fn a_late_release_frees_nobody_elses_address() {
    let mut pool = pool("10.1.0.0/30");
    assert_eq!(pool.allocate(holder(1)), Ok(ip("10.1.0.2")));
    assert!(pool.release(ip("10.1.0.2"), id(1)));
    assert_eq!(pool.allocate(holder(2)), Ok(ip("10.1.0.2")));
    assert!(!pool.release(ip("10.1.0.2"), id(1)), "it went to somebody else in the meantime");
    assert_eq!(pool.owner(ip("10.1.0.2")), Some(&Owner::Endpoint(holder(2))));
}

#[test]
fn gateway_and_reserved_addresses_are_never_released() {
    let mut pool = pool("10.1.0.0/30");
    for last in 0..4 {
        assert!(!pool.release(IpAddr::from([10, 1, 0, last]), id(0)));
    }
    assert_eq!(pool.allocate(holder(0)), Ok(ip("10.1.0.2")));
    assert!(matches!(pool.allocate(holder(1)), Err(IpamError::Exhausted { .. })));
}

#[test]
fn the_smallest_subnets() {
    let mut v4 = pool("10.1.0.0/31");
    assert_eq!((v4.gateway(), v4.allocate(holder(0))), (ip("10.1.0.0"), Ok(ip("10.1.0.1"))));
    let mut v6 = pool("fd00::/127");
    assert_eq!((v6.gateway(), v6.allocate(holder(0))), (ip("fd00::"), Ok(ip("fd00::1"))));
    for tiny in ["10.1.0.0/32", "fd00::/128"] {
        assert!(matches!(Pool::new(&spec(tiny)), Err(IpamError::TooSmall { .. })));
    }
}

#[test]
fn the_largest_subnet() {
    let mut pool = pool("4000::/2");
    assert_eq!(pool.usage().capacity, (1 << 126) - 2);
    let last = ip("7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    assert_eq!(pool.claim(last, holder(0)), Ok(()));
    assert_eq!(pool.allocate(holder(1)), Ok(ip("4000::2")));
    let end = PoolSpec { range: Some(IpNet::from(last)), ..spec("4000::/2") };
    let mut pool = Pool::new(&end).unwrap();
    assert_eq!(pool.allocate(holder(0)), Ok(last));
    assert!(matches!(pool.allocate(holder(1)), Err(IpamError::Exhausted { .. })));
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |subnet: &str, gateway: Option<&str>, range: Option<&str>| {
        Pool::new(&PoolSpec { gateway: gateway.map(ip), range: range.map(net), ..spec(subnet) }).unwrap_err()
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
fn leases_that_cannot_be_are_no_pool() {
    let lease = |address: &str, n| Lease { address: ip(address), holder: holder(n) };
    let restore = |leases: Vec<Lease>| Pool::restore(&spec("10.1.0.0/24"), leases).unwrap_err();
    assert!(matches!(restore(vec![lease("10.2.0.1", 0)]), IpamError::Outside { .. }));
    assert!(matches!(restore(vec![lease("10.1.0.1", 0)]), IpamError::Taken { owner: Owner::Gateway, .. }));
    let twice = restore(vec![lease("10.1.0.9", 0), lease("10.1.0.9", 1)]);
    assert_eq!(twice, IpamError::Taken { address: ip("10.1.0.9"), owner: Owner::Endpoint(holder(0)) });
}

#[test]
fn a_restored_serial_pool_goes_on_after_its_highest_lease() {
    let spec = PoolSpec { range: Some(net("10.1.0.0/29")), ..serial("10.1.0.0/24") };
    let lease = |address: &str| Lease { address: ip(address), holder: holder(0) };
    let mut next = Pool::restore(&spec, [lease("10.1.0.4"), lease("10.1.0.99")]).unwrap();
    assert_eq!(next.allocate(holder(1)), Ok(ip("10.1.0.5")), "what lies outside the range does not count");
    let mut wrapped = Pool::restore(&spec, [lease("10.1.0.7")]).unwrap();
    assert_eq!(wrapped.allocate(holder(1)), Ok(ip("10.1.0.2")));
}

/// However full the subnet is and wherever its gaps are, an operation looks at two words for each level at most.
#[test]
fn no_operation_searches() {
    let addresses = 20_000;
    for (subnet, levels) in [("10.0.0.0/8", 4), ("fd00::/64", 11)] {
        for policy in [Policy::FirstFree, Policy::Serial] {
            let mut pool = Pool::new(&PoolSpec { policy, ..spec(subnet) }).unwrap();
            let mut most = 0;
            let mut counted = |(result, steps): (_, u64)| {
                most = most.max(steps);
                result
            };
            let leased: Vec<IpAddr> =
                (0..addresses).map(|n| counted(steps_of(|| pool.allocate(holder(n)).unwrap()))).collect();
            // Gaps near both ends of what is taken, each given out again.
            for n in [0, 63, 64, 4095, 4096, addresses - 1] {
                assert!(steps_of(|| pool.release(leased[n], id(n))).0);
                counted(steps_of(|| pool.allocate(holder(n)).unwrap()));
            }
            assert!(most <= 3 * levels, "{subnet} {policy:?}: {most} steps");
        }
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
    assert!(choose_ipv6(Driver::Bridge, ula, &[net("::/0")]).is_err());
}

#[test]
fn a_hosts_prefix_is_read_back_and_no_other_is_one() {
    let json = serde_json::to_string(&UlaPrefix::new([1, 2, 3, 4, 5])).unwrap();
    assert_eq!(json, "\"fd01:203:405::/48\"");
    assert_eq!(serde_json::from_str::<UlaPrefix>(&json).unwrap(), UlaPrefix::new([1, 2, 3, 4, 5]));
    for bad in ["fd01:203:405::/49", "fc01:203:405::/48", "fd01:203:405:1::/48", "2001:db8::/48"] {
        assert!(serde_json::from_str::<UlaPrefix>(&format!("\"{bad}\"")).is_err(), "{bad}");
    }
}

proptest! {
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

    /// The first free block of the pools, as found by trying each.
    #[test]
    fn an_automatic_subnet_is_the_first_free_one(busy in prop::collection::vec((0u32..16, 0u32..256, 22u8..=26), 0..40)) {
        let near = |(b, c, prefix): (u32, u32, u8)| {
            IpNet::new(Ipv4Addr::from((10 << 24) | ((b / 15) << 16) | ((c / 16) << 8)).into(), prefix).unwrap()
        };
        let busy: Vec<IpNet> = busy.into_iter().map(near).collect();
        let candidates = (0u32..1 << 16).map(|n| IpNet::new(Ipv4Addr::from((10 << 24) | (n << 8)).into(), 24).unwrap());
        let first = candidates.into_iter().find(|&net| busy.iter().all(|&other| !overlaps(net, other)));
        prop_assert_eq!(choose_ipv4(Driver::Overlay, &busy).ok(), first);
    }
}
