use std::sync::Arc;

use super::*;
use crate::error::{Code, Explain};
use crate::ipam::overlaps;
use crate::model::{Name, PortsBy};
use crate::network::fake::FakePlane;
use crate::network::{EndpointRequest, EngineNetwork, NetworkRequest};
use crate::store::{Catalog, MemoryStore};

const NETWORK: Id = Id::from_bytes([0xaa; 32]);

fn host() -> (Manager, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::default());
    (open(&store), store)
}

fn open(store: &Arc<MemoryStore>) -> Manager {
    Manager::over(Arc::clone(store) as Arc<_>, Box::new(FakePlane::default()), None, vec![]).unwrap()
}

fn wanted(net: &str) -> PoolRequest {
    PoolRequest { net: Some(net.parse().unwrap()), range: None, ipv6: false }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What an engine does to create a network; gives its pool.
fn network(manager: &Manager) -> String {
    let pool = manager.request_pool(&wanted("10.7.0.0/24")).unwrap().id;
    manager.request_address(&pool, None, true).unwrap();
    manager.request_address(&pool, Some(ip("10.7.0.9")), false).unwrap();
    let mut request = NetworkRequest::new(Name::new("multinet").unwrap());
    request.subnets = vec!["10.7.0.0/24".parse().unwrap()];
    request.auxiliary.insert(Name::new("router").unwrap(), ip("10.7.0.9"));
    manager.adopt_network(NETWORK, &EngineNetwork { request, ports: PortsBy::Weft }).unwrap();
    pool
}

#[test]
fn pools_that_are_left_to_weft_are_different_ones() {
    let (manager, _) = host();
    let any = PoolRequest { net: None, range: None, ipv6: false };
    let (first, second) = (manager.request_pool(&any).unwrap(), manager.request_pool(&any).unwrap());
    assert!(!overlaps(first.net, second.net), "{} {}", first.net, second.net);
    let v6 = manager.request_pool(&PoolRequest { ipv6: true, ..any }).unwrap();
    assert!(v6.net.addr().is_ipv6());
    let network = manager.create(&NetworkRequest::new(Name::new("blue").unwrap())).unwrap();
    assert!(![first.net, second.net].contains(&network.network.subnets[0].net));
}

#[test]
fn what_overlaps_is_refused_and_named() {
    let (manager, _) = host();
    manager.request_pool(&wanted("10.7.0.0/24")).unwrap();
    let error = manager.request_pool(&wanted("10.7.0.0/16")).unwrap_err();
    assert_eq!(error.code(), Code::Conflict);
    assert!(error.to_string().contains("10.7.0.0/24"), "{error}");
    let mut request = NetworkRequest::new(Name::new("blue").unwrap());
    request.subnets = vec!["10.8.0.0/24".parse().unwrap()];
    manager.create(&request).unwrap();
    let error = manager.request_pool(&wanted("10.8.0.128/25")).unwrap_err();
    assert!(error.to_string().contains("'blue'"), "{error}");
    let outside = PoolRequest { range: Some("10.6.0.0/24".parse().unwrap()), ..wanted("10.9.0.0/24") };
    assert_eq!(manager.request_pool(&outside).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn a_pool_comes_back_as_often_as_it_was_lent() {
    let (manager, store) = host();
    let pool = manager.request_pool(&wanted("10.7.0.0/24")).unwrap();
    assert_eq!(manager.request_pool(&wanted("10.7.0.0/24")).unwrap(), pool);
    manager.release_pool(&pool.id).unwrap();
    let manager = open(&store);
    manager.request_address(&pool.id, None, true).unwrap();
    manager.release_pool(&pool.id).unwrap();
    manager.release_pool(&pool.id).unwrap();
    let error = manager.request_address(&pool.id, None, true).unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(Catalog::new(store).load().unwrap().pools.is_empty());
}

#[test]
fn without_a_network_addresses_stand_with_the_pool() {
    let (manager, store) = host();
    let pool = manager.request_pool(&wanted("10.7.0.0/29")).unwrap().id;
    let gateway = manager.request_address(&pool, Some(ip("10.7.0.6")), true).unwrap();
    assert_eq!(gateway.to_string(), "10.7.0.6/29");
    let first = manager.request_address(&pool, None, false).unwrap().addr();
    let manager = open(&store);
    assert!(manager.request_address(&pool, Some(first), false).is_err(), "it is out");
    let more: Vec<_> = (0..4).map(|_| manager.request_address(&pool, None, false).unwrap().addr()).collect();
    assert!(!more.contains(&first) && !more.contains(&gateway.addr()));
    assert_eq!(manager.request_address(&pool, None, false).unwrap_err().code(), Code::Exhausted);
    manager.release_address(&pool, first).unwrap();
    assert_eq!(manager.request_address(&pool, None, false).unwrap().addr(), first);
    assert!(manager.request_address(&pool, Some(ip("10.8.0.1")), false).is_err());
}

#[test]
fn a_network_accounts_for_what_is_out_of_its_pool() {
    let (manager, store) = host();
    let pool = network(&manager);
    let address = manager.request_address(&pool, None, false).unwrap().addr();
    assert_eq!(address, ip("10.7.0.2"));
    let taken = EndpointRequest {
        ip: Some("10.7.0.2".parse().unwrap()),
        ..EndpointRequest::new("/proc/self/ns/net")
    };
    assert_eq!(manager.connect("multinet", &taken).unwrap_err().code(), Code::Conflict);
    let (_, other, _) = manager.connect("multinet", &EndpointRequest::new("/proc/self/ns/net")).unwrap();
    let theirs = other.addresses()[0].addr();
    assert_ne!(theirs, address);
    assert!(manager.request_address(&pool, Some(theirs), false).is_err(), "an endpoint of ours has it");
    assert!(manager.request_address(&pool, Some(ip("10.7.0.9")), false).is_err(), "set aside");
    let documents = Catalog::new(store).load().unwrap().pools;
    assert_eq!(documents[0].out, [ip("10.7.0.1"), ip("10.7.0.9")].into(), "no more is on record");
}

#[test]
fn an_address_that_nobody_comes_to_use_is_free_again() {
    let (manager, _) = host();
    let pool = network(&manager);
    let address = manager.request_address(&pool, None, false).unwrap().addr();
    (0..IDLE_ROUNDS - 1).for_each(|_| manager.reconcile());
    assert!(manager.request_address(&pool, Some(address), false).is_err());
    manager.reconcile();
    manager.request_address(&pool, Some(address), false).unwrap();
}

#[test]
fn addresses_come_from_the_part_that_was_asked_for_with_the_pool() {
    let (manager, _) = host();
    let range = Some("10.7.0.128/25".parse().unwrap());
    let pool = manager.request_pool(&PoolRequest { range, ..wanted("10.7.0.0/24") }).unwrap().id;
    assert_eq!(manager.request_address(&pool, None, true).unwrap().addr(), ip("10.7.0.1"));
    assert_eq!(manager.request_address(&pool, None, false).unwrap().addr(), ip("10.7.0.128"));
    let range = Some("fd07::8000/113".parse().unwrap());
    let six = manager.request_pool(&PoolRequest { range, ..wanted("fd07::/64") }).unwrap().id;
    let mut request = NetworkRequest::new(Name::new("multinet").unwrap());
    request.subnets = vec!["10.7.0.0/24".parse().unwrap(), "fd07::/64".parse().unwrap()];
    manager.adopt_network(NETWORK, &EngineNetwork { request, ports: PortsBy::Weft }).unwrap();
    assert_eq!(manager.request_address(&pool, None, false).unwrap().addr(), ip("10.7.0.129"));
    assert_eq!(manager.request_address(&six, None, false).unwrap().addr(), ip("fd07::8000"));
}

#[test]
fn an_engine_takes_its_network_down_in_its_own_order() {
    let (manager, store) = host();
    let pool = network(&manager);
    for address in [ip("10.7.0.1"), ip("10.7.0.9"), ip("10.7.0.77")] {
        manager.release_address(&pool, address).unwrap();
    }
    manager.release_pool(&pool).unwrap();
    manager.abandon_network(NETWORK).unwrap();
    let left = Catalog::new(store).load().unwrap();
    assert_eq!((left.pools.len(), left.networks.len(), left.strays.len()), (0, 0, 0));
    assert_eq!(network(&manager), pool);
}
