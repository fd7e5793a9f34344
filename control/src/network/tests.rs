use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::IpNet;

use super::fake::{FakePlane, Refuse};
use super::*;
use crate::error::{Explain, Problem};
use crate::ipam::IpamError;
use crate::model::{Driver, IfName};

/// A namespace that every process may open: its own.
const NETNS: &str = "/proc/self/ns/net";

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn manager() -> (Manager, FakePlane) {
    let plane = FakePlane::default();
    let underlay = Underlay { address: ip("10.9.0.1"), subnet: net("10.9.0.0/24"), mtu: 1500 };
    let peers = vec![ip("10.9.0.2"), ip("192.0.2.7")];
    (Manager::new(Box::new(plane.clone()), Some(underlay), peers).unwrap(), plane)
}

fn network(name: &str) -> NetworkRequest {
    NetworkRequest::new(Name::new(name).unwrap())
}

fn overlay(name: &str) -> NetworkRequest {
    NetworkRequest { driver: Driver::Overlay, ..network(name) }
}

fn with_subnet(name: &str, subnet: &str) -> NetworkRequest {
    NetworkRequest { subnets: vec![net(subnet)], ..network(name) }
}

fn endpoint(name: &str) -> EndpointRequest {
    EndpointRequest { name: Some(Name::new(name).unwrap()), ..EndpointRequest::new(NETNS) }
}

fn ifname(endpoint: &Endpoint) -> IfName {
    endpoint.interface.as_ref().unwrap().ifname.clone()
}

fn with_ip(name: &str, last: u8) -> EndpointRequest {
    EndpointRequest { ip: Some(Ipv4Addr::new(10, 1, 0, last)), ..endpoint(name) }
}

#[test]
fn an_overlay_gets_a_vni_a_subnet_and_what_the_underlay_leaves() {
    let (manager, plane) = manager();
    let first = manager.create(&overlay("a")).unwrap().network;
    let second = manager.create(&overlay("b")).unwrap().network;
    assert_eq!((first.vni.unwrap().get(), second.vni.unwrap().get()), (4096, 4097));
    assert_eq!(first.mtu, 1450);
    assert_eq!(first.subnets[0].net, net("10.0.0.0/24"));
    assert_eq!(second.subnets[0].net, net("10.0.1.0/24"));
    let vteps = plane.world(|world| world.tables.segments[0].vteps.clone());
    assert_eq!(vteps, [ip("10.9.0.2"), ip("192.0.2.7")]);
    manager.remove("a").unwrap();
    assert_eq!(
        manager.create(&overlay("c")).unwrap().network.vni.unwrap().get(),
        4096,
        "a freed VNI is free"
    );
}

#[test]
fn a_bridge_has_no_vni_and_no_vteps() {
    let (manager, plane) = manager();
    let bridge = manager.create(&network("a")).unwrap().network;
    assert_eq!((bridge.vni, bridge.mtu), (None, 1500));
    assert!(plane.world(|world| world.tables.segments[0].vteps.is_empty()));
    let error = manager.create(&NetworkRequest { vni: Some(7), ..network("b") }).unwrap_err();
    assert!(matches!(error, NetworkError::VniOnBridge { vni: 7 }));
}

#[test]
fn without_an_underlay_there_are_bridges_only() {
    let manager = Manager::new(Box::new(FakePlane::default()), None, vec![]).unwrap();
    assert!(manager.create(&network("a")).is_ok());
    assert!(matches!(manager.create(&overlay("b")), Err(NetworkError::NoUnderlay)));
}

#[test]
fn what_is_taken_is_a_conflict() {
    let (manager, _) = manager();
    manager.create(&NetworkRequest { vni: Some(5000), ..overlay("blue") }).unwrap();
    let conflicts = [
        manager.create(&overlay("blue")).unwrap_err(),
        manager.create(&NetworkRequest { vni: Some(5000), ..overlay("red") }).unwrap_err(),
        manager.create(&with_subnet("red", "10.9.0.128/25")).unwrap_err(),
        manager.create(&with_subnet("red", "192.0.2.0/24")).unwrap_err(),
    ];
    for error in conflicts {
        assert_eq!(error.code(), crate::error::Code::Conflict, "{error}");
    }
    assert_eq!(manager.networks().len(), 1);
}

#[test]
fn an_mtu_must_fit() {
    let (manager, _) = manager();
    let refused = |request: NetworkRequest, mtu| {
        let error = manager.create(&NetworkRequest { mtu: Some(mtu), ..request }).unwrap_err();
        Problem::from(error).to_string()
    };
    assert!(refused(overlay("a"), 1451).ends_with("use at most --mtu 1450"));
    assert!(refused(network("a"), 67).ends_with("use 68 to 65521 bytes"));
    assert!(refused(network("a"), 65_522).ends_with("use 68 to 65521 bytes"));
    assert!(refused(network("a"), 1 << 20).contains("1048576"));
    assert!(
        refused(NetworkRequest { ipv6: true, ..network("a") }, 1279).ends_with("use 1280 to 65521 bytes")
    );
    let exact = manager.create(&NetworkRequest { mtu: Some(1450), ..overlay("a") });
    assert_eq!(exact.unwrap().network.mtu, 1450);
}

#[test]
fn subnets_that_nobody_asked_for_never_overlap() {
    let (manager, plane) = manager();
    plane.world(|world| world.host = vec![net("172.17.0.0/16"), net("172.19.4.0/24")]);
    manager.create(&with_subnet("given", "172.18.0.0/24")).unwrap();
    assert_eq!(manager.create(&network("auto")).unwrap().network.subnets[0].net, net("172.20.0.0/16"));
    assert!(
        manager.create(&with_subnet("again", "172.18.0.0/24")).is_ok(),
        "asked for by name, overlap is allowed"
    );
}

#[test]
fn both_families() {
    let (manager, _) = manager();
    let automatic = manager.create(&NetworkRequest { ipv6: true, ..network("a") }).unwrap().network;
    assert_eq!(automatic.subnets.len(), 2);
    assert!(automatic.subnets[1].net.to_string().starts_with("fd"));
    let request = NetworkRequest {
        subnets: vec![net("fd00:1::/64"), net("10.1.0.0/24")],
        gateways: vec![ip("10.1.0.254"), ip("fd00:1::fe")],
        ip_ranges: vec![net("10.1.0.64/26")],
        ..network("b")
    };
    let given = manager.create(&request).unwrap().network;
    let gateways: Vec<_> = given.subnets.iter().map(|subnet| subnet.gateway).collect();
    assert_eq!(gateways, [ip("10.1.0.254"), ip("fd00:1::fe")]);
    let (_, endpoint, _) = manager.connect("b", &endpoint("e")).unwrap();
    assert_eq!(endpoint.addresses(), [net("10.1.0.64/24"), net("fd00:1::1/64")]);
    assert_eq!(endpoint.interface.unwrap().mac.to_string(), "02:42:0a:01:00:40");
}

#[test]
fn what_belongs_to_no_subnet_is_refused() {
    let (manager, _) = manager();
    let create = |request: NetworkRequest| manager.create(&request).unwrap_err();
    let subnet = || with_subnet("a", "10.1.0.0/24");
    assert!(matches!(
        create(NetworkRequest { gateways: vec![ip("10.1.0.1")], ..network("a") }),
        NetworkError::NoSubnetFor { .. }
    ));
    assert!(matches!(
        create(NetworkRequest { ip_ranges: vec![net("fd00::/80")], ..subnet() }),
        NetworkError::NoSubnetFor { .. }
    ));
    assert!(matches!(
        create(NetworkRequest { ip_ranges: vec![net("10.1.0.0/26"), net("10.1.0.64/26")], ..subnet() }),
        NetworkError::TwoRanges { .. }
    ));
    assert!(matches!(
        create(NetworkRequest { gateways: vec![ip("10.1.0.1"), ip("10.1.0.2")], ..subnet() }),
        NetworkError::TwoGateways { .. }
    ));
    assert!(matches!(
        create(NetworkRequest { subnets: vec![net("10.1.0.0/16"), net("10.1.2.0/24")], ..network("a") }),
        NetworkError::SubnetsOverlap { .. }
    ));
    assert!(matches!(
        create(NetworkRequest { gateways: vec![ip("10.2.0.1")], ..subnet() }),
        NetworkError::Ipam(IpamError::GatewayOutside { .. })
    ));
    assert!(manager.networks().is_empty());
}

#[test]
fn an_endpoint_is_found_by_name_id_and_first_digits() {
    let (manager, _) = manager();
    let network = manager.create(&with_subnet("blue", "10.1.0.0/24")).unwrap().network;
    let (_, endpoint, _) = manager.connect(&network.id.short(), &endpoint("e")).unwrap();
    for key in ["e".to_owned(), endpoint.id.to_string(), endpoint.id.short()] {
        assert_eq!(manager.endpoints_named(&key).unwrap()[0].1.id, endpoint.id);
    }
    assert!(matches!(manager.endpoints_named(""), Err(NetworkError::NoEndpoint { .. })));
    assert!(matches!(manager.network(""), Err(NetworkError::NoNetwork { .. })));
    assert!(matches!(manager.network("no such/name"), Err(NetworkError::NoNetwork { .. })));
}

#[test]
fn names_and_interfaces_are_chosen_when_not_given() {
    let (manager, plane) = manager();
    manager.create(&with_subnet("a", "10.1.0.0/24")).unwrap();
    manager.create(&NetworkRequest { internal: true, ..with_subnet("b", "10.2.0.0/24") }).unwrap();
    manager.create(&with_subnet("c", "10.3.0.0/24")).unwrap();
    let connect = |network: &str| manager.connect(network, &EndpointRequest::new(NETNS)).unwrap().1;
    let (a, b, c) = (connect("a"), connect("b"), connect("c"));
    assert_eq!(a.name.as_str(), "pid-self");
    assert_eq!([&a, &b, &c].map(ifname), [0, 1, 2].map(IfName::eth));
    let gateways: Vec<_> =
        plane.world(|world| world.plugged.iter().map(|plug| plug.gateways.clone()).collect());
    assert_eq!(
        gateways,
        [vec![ip("10.1.0.1")], vec![], vec![]],
        "one default route, none from an internal network"
    );
    manager.disconnect("a", "pid-self").unwrap();
    assert_eq!(ifname(&connect("a")), IfName::eth(0));
}

#[test]
fn what_an_endpoint_cannot_have_is_refused() {
    let (manager, plane) = manager();
    manager.create(&with_subnet("blue", "10.1.0.0/24")).unwrap();
    manager.connect("blue", &with_ip("e", 9)).unwrap();
    let refused = |request: EndpointRequest| manager.connect("blue", &request).unwrap_err();
    assert!(matches!(refused(endpoint("e")), NetworkError::EndpointExists { .. }));
    assert!(matches!(refused(with_ip("f", 9)), NetworkError::Ipam(IpamError::Taken { .. })));
    assert!(matches!(refused(with_ip("f", 1)), NetworkError::Ipam(IpamError::Taken { .. })));
    let six = EndpointRequest { ip6: Some("fd00::9".parse().unwrap()), ..endpoint("f") };
    assert!(matches!(refused(six), NetworkError::NoFamily { .. }));
    let mac = |text: &str| EndpointRequest { mac: Some(text.into()), ..endpoint("f") };
    for bad in ["", "02:42", "01:00:5e:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"] {
        assert!(matches!(refused(mac(bad)), NetworkError::BadMac { .. }), "{bad}");
    }
    assert!(matches!(refused(mac("02:42:0a:01:00:09")), NetworkError::MacTaken { .. }));
    assert!(matches!(refused(EndpointRequest::new("run/netns/x")), NetworkError::RelativePath { .. }));
    let missing = refused(EndpointRequest::new("/nonexistent/netns"));
    assert_eq!(missing.code().exit(), 3, "{missing}");
    assert!(matches!(
        manager.connect("red", &endpoint("f")).unwrap_err(),
        NetworkError::NoNetwork { key } if key == "red"
    ));
    assert_eq!(plane.world(|world| (world.ports().len(), world.published_ports().len())), (1, 1));
    let (_, next, _) = manager.connect("blue", &endpoint("f")).unwrap();
    assert_eq!(next.addresses(), [net("10.1.0.2/24")], "nothing refused has kept an address");
}

#[test]
fn whatever_fails_leaves_nothing_half_made() {
    let (manager, plane) = manager();
    manager.create(&with_subnet("blue", "10.1.0.0/30")).unwrap();
    for refuse in [Refuse::OpenPort, Refuse::Plug, Refuse::Publish] {
        plane.world(|world| world.refuse = Some(refuse));
        assert!(manager.connect("blue", &endpoint("e")).is_err(), "{refuse:?}");
        assert!(manager.endpoints().is_empty(), "{refuse:?}");
        plane.world(|world| {
            assert!(world.ports().is_empty() && world.published_ports().is_empty(), "{refuse:?}");
        });
    }
    assert!(manager.create(&network("red")).is_err(), "publishing is still refused");
    assert_eq!(manager.networks().len(), 1);
    plane.world(|world| world.refuse = None);
    let (_, endpoint, _) = manager.connect("blue", &endpoint("e")).unwrap();
    assert_eq!(endpoint.addresses(), [net("10.1.0.2/30")], "the only address is free again");
}

#[test]
fn a_network_takes_its_endpoints_with_it() {
    let (manager, plane) = manager();
    manager.create(&with_subnet("blue", "10.1.0.0/24")).unwrap();
    manager.create(&with_subnet("red", "10.1.0.0/24")).unwrap();
    for name in ["a", "b"] {
        manager.connect("blue", &endpoint(name)).unwrap();
    }
    let (_, stays, _) = manager.connect("red", &endpoint("a")).unwrap();
    assert_eq!(manager.remove("blue").unwrap().endpoints.len(), 2);
    plane.world(|world| {
        assert_eq!(world.ports(), [stays.port().unwrap()]);
        assert_eq!((world.tables.segments.len(), world.published_ports().len()), (1, 1));
    });
    manager.close();
    plane.world(|world| assert!(world.open.is_empty()));
    assert_eq!(manager.endpoints().len(), 1, "the record outlives the daemon");
    assert!(matches!(manager.create(&network("late")), Err(NetworkError::Closing)));
}

#[test]
fn a_dead_namespace_takes_its_endpoint_with_it() {
    let (manager, plane) = manager();
    manager.create(&with_subnet("blue", "10.1.0.0/24")).unwrap();
    let (_, gone, _) = manager.connect("blue", &with_ip("e", 7)).unwrap();
    plane.world(|world| world.dead.insert(NETNS.into()));
    manager.port_gone(gone.port().unwrap());
    manager.port_gone(gone.port().unwrap());
    assert!(manager.endpoints().is_empty());
    assert!(plane.world(|world| world.ports().is_empty() && world.published_ports().is_empty()));
    plane.world(|world| world.dead.clear());
    let (_, again, _) = manager.connect("blue", &with_ip("e", 7)).unwrap();
    assert_ne!(again.port(), gone.port(), "a port's number is never used again");
}

#[test]
fn a_capture_needs_an_unambiguous_endpoint() {
    let (manager, _) = manager();
    for name in ["blue", "red"] {
        manager.create(&with_subnet(name, "10.1.0.0/24")).unwrap();
        manager.connect(name, &endpoint("e")).unwrap();
    }
    assert!(manager.capture(None, None).is_ok());
    assert!(manager.capture(Some("blue"), Some("e")).is_ok());
    assert!(matches!(manager.capture(None, Some("e")), Err(NetworkError::OnSeveralNetworks { .. })));
    assert!(matches!(manager.capture(None, Some("f")), Err(NetworkError::NoEndpoint { .. })));
    assert!(matches!(manager.capture(Some("green"), None), Err(NetworkError::NoNetwork { .. })));
}

#[test]
fn a_namespace_is_one_whatever_its_path() {
    let (manager, _) = manager();
    manager.create(&with_subnet("a", "10.1.0.0/24")).unwrap();
    manager.create(&with_subnet("b", "10.2.0.0/24")).unwrap();
    let by_pid = format!("/proc/{}/ns/net", std::process::id());
    manager.connect("a", &EndpointRequest::new(NETNS)).unwrap();
    let (_, second, _) = manager.connect("b", &EndpointRequest::new(Path::new(&by_pid))).unwrap();
    assert_eq!(second.name.as_str(), format!("pid-{}", std::process::id()));
    assert_eq!(ifname(&second), IfName::eth(1));
}

mod aliases;
mod drivers;
mod legs;
mod life;
mod ports;
mod routes;
