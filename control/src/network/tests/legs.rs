//! The host's own legs: who has one, and what becomes of it.

use std::sync::Arc;

use weft_dataplane::gateway::GATEWAY_MAC;
use weft_dataplane::tables::PortKind;

use super::*;
use crate::store::MemoryStore;

/// Names, addresses and MTUs of the legs that stand.
fn standing(plane: &FakePlane) -> Vec<(String, Vec<String>, u32)> {
    let told = |nets: &[IpNet]| nets.iter().map(ToString::to_string).collect();
    plane.world(|world| {
        let legs = world.standing();
        legs.iter().map(|(_, leg)| (leg.ifname.clone(), told(&leg.addresses), leg.mtu)).collect()
    })
}

fn with_option(name: &str, key: &str, value: &str) -> NetworkRequest {
    NetworkRequest { options: [(key.to_owned(), value.to_owned())].into(), ..network(name) }
}

#[test]
fn the_host_stands_on_every_bridge_with_the_gateways_addresses() {
    let (manager, plane) = manager();
    manager.ensure_predefined();
    let subnets = vec![net("10.1.0.0/24"), net("fd00:1::/64")];
    let request = NetworkRequest { subnets, mtu: Some(1400), ..network("blue") };
    let blue = manager.create(&request).unwrap();
    manager.create(&overlay("wide")).unwrap();
    manager.create(&NetworkRequest { internal: true, ..network("inner") }).unwrap();
    manager.create(&with_option("apart", "host_access", "off")).unwrap();
    let name = format!("wb-{}", &blue.network.id.to_string()[..10]);
    let expected = [
        ("weft0".to_owned(), vec!["172.17.0.1/16".to_owned()], 1500),
        (name, vec!["10.1.0.1/24".to_owned(), "fd00:1::1/64".to_owned()], 1400),
    ];
    assert_eq!(standing(&plane), expected);
    plane.world(|world| {
        let leg = world.tables.ports.iter().find(|port| Some(port.id) == blue.host).unwrap();
        assert_eq!((leg.kind, leg.mac), (PortKind::Host, GATEWAY_MAC));
        assert_eq!(
            (leg.segment, &leg.addresses[..]),
            (blue.network.segment, &[ip("10.1.0.1"), ip("fd00:1::1")][..])
        );
        let gateways: Vec<_> =
            world.tables.segments.iter().map(|s| s.gateway.as_ref().map(|g| g.host)).collect();
        assert_eq!(gateways.len(), 5);
        assert!(gateways.contains(&Some(blue.host)) && gateways.contains(&Some(None)), "{gateways:?}");
        assert_eq!(gateways.iter().filter(|gateway| gateway.is_none()).count(), 1, "of the internal one");
    });
    manager.remove("blue").unwrap();
    assert_eq!(standing(&plane).len(), 1);
    manager.close();
    assert!(plane.world(|world| world.open.is_empty()));
}

#[test]
fn what_a_network_cannot_have_is_refused() {
    let (manager, _) = manager();
    for key in ["nat", "host_access"] {
        let request = NetworkRequest { internal: true, ..with_option("inner", key, "on") };
        let problem = Problem::from(manager.create(&request).unwrap_err());
        assert!(
            problem.message.contains(&format!("'{key}' makes no sense on an internal network")),
            "{problem}"
        );
    }
    let request = NetworkRequest { driver: Driver::Overlay, ..with_option("wide", "host_access", "on") };
    assert!(manager.create(&request).unwrap_err().to_string().contains("cannot be on for an overlay"));
    manager.create(&with_subnet("blue", "10.1.0.0/24")).unwrap();
    let mac = EndpointRequest { mac: Some(GATEWAY_MAC.to_string()), ..endpoint("e") };
    assert!(matches!(manager.connect("blue", &mac).unwrap_err(), NetworkError::BadMac { .. }));
}

#[test]
fn a_leg_that_cannot_stand_takes_its_network_with_it() {
    let (manager, plane) = manager();
    for refuse in [Refuse::OpenPort, Refuse::Stand] {
        plane.world(|world| world.refuse = Some(refuse));
        assert!(manager.create(&with_subnet("blue", "10.1.0.0/24")).is_err());
        plane.world(|world| {
            world.refuse = None;
            assert!(world.open.is_empty() && world.tables.ports.is_empty(), "{refuse:?}");
        });
        assert!(manager.networks().is_empty(), "{refuse:?}");
    }
}

#[test]
fn the_host_does_not_stand_where_it_would_lose_what_it_has() {
    let (manager, plane) = manager();
    plane.world(|world| world.host = vec![net("203.0.113.7/24"), net("10.0.0.0/8"), net("198.51.100.64/26")]);
    for subnet in ["203.0.113.0/24", "198.51.100.0/24"] {
        let problem = Problem::from(manager.create(&with_subnet("blue", subnet)).unwrap_err());
        assert!(problem.message.contains(&format!("the subnet {subnet} has the host's own")), "{problem}");
        assert_eq!(problem.code.exit(), 4);
    }
    manager.create(&with_subnet("narrower", "10.1.0.0/24")).unwrap();
    assert_eq!((standing(&plane).len(), manager.networks().len()), (1, 1));
    let options = [("host_access".to_owned(), "off".to_owned())].into();
    manager.create(&NetworkRequest { options, ..with_subnet("apart", "203.0.113.0/24") }).unwrap();
    plane.world(|world| world.open.clear());
    plane.world(|world| world.host.push(net("10.1.0.9/24")));
    manager.port_gone(manager.network("narrower").unwrap().host.unwrap());
    manager.reconcile();
    assert!(
        manager.doctor()[0].what.ends_with("the subnet 10.1.0.0/24 has the host's own 10.1.0.9/24 in it")
    );
}

#[test]
fn a_leg_that_somebody_deleted_stands_again_on_another_port() {
    let (manager, plane) = manager();
    let former = manager.create(&with_subnet("blue", "10.1.0.0/24")).unwrap().host.unwrap();
    plane.world(|world| world.open.remove(&former));
    manager.port_gone(former);
    assert!(plane.world(|world| world.tables.ports.is_empty()));
    let findings = manager.doctor();
    assert_eq!(findings[0].what, "this host has no interface on network 'blue'");
    plane.world(|world| world.refuse = Some(Refuse::Stand));
    manager.reconcile();
    assert!(manager.doctor()[0].what.contains("refused"));
    plane.world(|world| world.refuse = None);
    (0..3).for_each(|_| manager.reconcile());
    manager.port_gone(former);
    assert_eq!((manager.doctor(), standing(&plane).len()), (vec![], 1), "late news must not hit it");
    assert_ne!(manager.network("blue").unwrap().host, Some(former));
}

#[test]
fn the_next_daemon_adopts_legs_or_makes_them_anew() {
    let (store, plane) = (Arc::new(MemoryStore::default()), FakePlane::default());
    let start = || Manager::over(store.clone(), Box::new(plane.clone()), None, vec![]).unwrap();
    let first = start();
    first.ensure_predefined();
    let blue = first.create(&with_subnet("blue", "10.1.0.0/24")).unwrap();
    let gone = first.create(&with_subnet("gone", "10.2.0.0/24")).unwrap().host.unwrap();
    first.remove("gone").unwrap();
    drop(first);

    plane.world(|world| {
        world.open.insert(gone, "wb-0123456789".into());
        world.legs.clear();
    });
    let second = start();
    assert_eq!(second.network("blue").unwrap().host, blue.host, "the same port");
    assert_eq!(standing(&plane).len(), 2, "they are as they should be");
    second.reconcile();
    assert_eq!(second.doctor(), []);
    assert!(!plane.world(|world| world.open.contains_key(&gone)), "nobody's is closed");
    drop(second);

    plane.world(|world| world.open.clear());
    let third = start();
    assert_eq!(third.doctor().len(), 2);
    third.reconcile();
    assert_eq!((third.doctor(), standing(&plane).len()), (vec![], 2));
}
