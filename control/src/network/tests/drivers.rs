//! What each driver gives and refuses, and networks of several subnets.

use super::*;

#[test]
fn the_predefined_network_is_made_once_and_stays() {
    let (manager, plane) = manager();
    manager.ensure_predefined();
    manager.ensure_predefined();
    let network = manager.network(PREDEFINED).unwrap().network;
    assert_eq!((network.driver, network.subnets[0].net), (Driver::Bridge, net("172.17.0.0/16")));
    for key in [PREDEFINED.to_owned(), network.id.to_string()] {
        let problem = Problem::from(manager.remove(&key).unwrap_err());
        assert!(problem.message.contains("is a pre-defined network"), "{problem}");
    }
    assert_eq!((manager.networks().len(), plane.world(|world| world.tables.segments.len())), (1, 1));
}

#[test]
fn without_interfaces_there_is_nothing_to_switch() {
    let (manager, plane) = manager();
    for (name, driver) in [("quiet", Driver::None), ("open", Driver::Host)] {
        let network = manager.create(&NetworkRequest { driver, ..network(name) }).unwrap().network;
        assert_eq!((network.subnets.len(), network.mtu, network.vni), (0, 0, None));
        let (_, endpoint, _) = manager.connect(name, &endpoint("e")).unwrap();
        assert_eq!(endpoint.interface, None);
        assert!(matches!(manager.capture(Some(name), Some("e")), Err(NetworkError::NoInterface { .. })));
    }
    plane.world(|world| {
        assert_eq!((world.open.len(), world.tables.segments.len(), world.tables.ports.len()), (0, 0, 0));
        assert_eq!(world.loopbacks, 1, "of the endpoint on the network without any");
    });
    assert_eq!(manager.doctor(), []);
    plane.world(|world| world.dead.insert(NETNS.into()));
    manager.reconcile();
    assert!(manager.endpoints().is_empty(), "they die with their namespace");
}

#[test]
fn what_only_an_interface_has_is_refused_by_name() {
    let (manager, _) = manager();
    let bare = || NetworkRequest { driver: Driver::None, ..network("quiet") };
    let requests = [
        ("--subnet", NetworkRequest { subnets: vec![net("10.1.0.0/24")], ..bare() }),
        ("--gateway", NetworkRequest { gateways: vec![ip("10.1.0.1")], ..bare() }),
        ("--ip-range", NetworkRequest { ip_ranges: vec![net("10.1.0.0/25")], ..bare() }),
        ("--vni", NetworkRequest { vni: Some(9), ..bare() }),
        ("--mtu", NetworkRequest { mtu: Some(1400), ..bare() }),
        ("--internal", NetworkRequest { internal: true, ..bare() }),
        ("--ipv6", NetworkRequest { ipv6: true, ..bare() }),
        ("-o", NetworkRequest { options: [("vlan".into(), "pass".into())].into(), ..bare() }),
    ];
    for (option, request) in requests {
        let error = manager.create(&request).unwrap_err();
        assert!(matches!(error, NetworkError::NotOnDriver { what, .. } if what == option), "{error}");
    }
    manager.create(&bare()).unwrap();
    let requests = [
        ("--ifname", EndpointRequest { ifname: Some(IfName::eth(0)), ..endpoint("e") }),
        ("--ip", with_ip("e", 9)),
        ("--ip6", EndpointRequest { ip6: Some("fd00::9".parse().unwrap()), ..endpoint("e") }),
        ("--mac", EndpointRequest { mac: Some("02:42:0a:01:00:02".into()), ..endpoint("e") }),
    ];
    for (option, request) in requests {
        let error = manager.connect("quiet", &request).unwrap_err();
        assert!(matches!(error, NetworkError::NotOnDriver { what, .. } if what == option), "{error}");
    }
    assert!(manager.endpoints().is_empty());
}

#[test]
fn an_endpoint_has_one_address_of_each_family_from_the_first_subnet_with_room() {
    let (manager, _) = manager();
    let request = NetworkRequest {
        subnets: vec![net("10.1.0.0/30"), net("fd00:1::/64"), net("10.2.0.0/24"), net("fd00:2::/64")],
        gateways: vec![ip("10.2.0.254")],
        ip_ranges: vec![net("10.2.0.64/26")],
        ..network("a")
    };
    let subnets = manager.create(&request).unwrap().network.subnets;
    let gateways: Vec<_> = subnets.iter().map(|subnet| subnet.gateway.to_string()).collect();
    assert_eq!(gateways, ["10.1.0.1", "10.2.0.254", "fd00:1::1", "fd00:2::1"], "IPv4 first");
    let addresses = |request: EndpointRequest| {
        let interface = manager.connect("a", &request).unwrap().1.interface.unwrap();
        interface.addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(addresses(endpoint("e")), ["10.1.0.2/30", "fd00:1::2/64"]);
    assert_eq!(addresses(endpoint("f")), ["10.2.0.64/24", "fd00:1::3/64"], "the first is full");
    let chosen = EndpointRequest {
        ip: Some(Ipv4Addr::new(10, 2, 0, 9)),
        ip6: Some("fd00:2::9".parse().unwrap()),
        ..endpoint("g")
    };
    assert_eq!(addresses(chosen), ["10.2.0.9/24", "fd00:2::9/64"]);
    let outside = EndpointRequest { ip: Some(Ipv4Addr::new(10, 9, 0, 9)), ..endpoint("h") };
    assert!(matches!(
        manager.connect("a", &outside).unwrap_err(),
        NetworkError::Ipam(IpamError::Outside { .. })
    ));
    let ambiguous =
        NetworkRequest { gateways: vec![ip("10.9.0.1")], name: Name::new("b").unwrap(), ..request };
    assert!(matches!(manager.create(&ambiguous), Err(NetworkError::NoSubnetFor { .. })));
    let many = (0..=SUBNETS_MAX).map(|n| net(&format!("10.{n}.0.0/24"))).collect();
    let error = manager.create(&NetworkRequest { subnets: many, ..network("b") }).unwrap_err();
    assert!(matches!(error, NetworkError::TooManySubnets { count: 17 }), "{error}");
}
