use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn sample() -> Attached {
    let interface = Interface {
        name: "eth0".into(),
        mac: "02:42:0a:01:00:02".into(),
        mtu: Some(1450),
        sandbox: "/run/netns/c1".into(),
        ..Interface::default()
    };
    Attached {
        interfaces: vec![interface],
        ips: vec![
            Address::new("10.1.0.2/24".parse().unwrap(), Some([10, 1, 0, 1].into()), Some(0)),
            Address::new("fd01::2/64".parse().unwrap(), None, Some(0)),
        ],
        routes: vec![Route {
            mtu: Some(1400),
            ..Route::new("0.0.0.0/0".parse().unwrap(), Some([10, 1, 0, 1].into()))
        }],
        dns: Dns { nameservers: vec!["192.0.2.53".into()], ..Dns::default() },
    }
}

#[test]
fn each_version_has_its_form() {
    let newest = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "mac": "02:42:0a:01:00:02", "mtu": 1450, "sandbox": "/run/netns/c1"}],
        "ips": [
            {"interface": 0, "address": "10.1.0.2/24", "gateway": "10.1.0.1"},
            {"interface": 0, "address": "fd01::2/64"},
        ],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1400}],
        "dns": {"nameservers": ["192.0.2.53"]},
    });
    assert_eq!(sample().write(Version::V1_1_0), newest);
    let mut older = newest;
    older["cniVersion"] = "1.0.0".into();
    older["interfaces"][0].as_object_mut().unwrap().remove("mtu");
    older["routes"][0].as_object_mut().unwrap().remove("mtu");
    assert_eq!(sample().write(Version::V1_0_0), older);
    for version in [Version::V0_3_1, Version::V0_4_0] {
        older["cniVersion"] = version.as_str().into();
        older["ips"][0]["version"] = "4".into();
        older["ips"][1]["version"] = "6".into();
        assert_eq!(sample().write(version), older);
    }
}

#[test]
fn what_came_before_stays_and_places_move() {
    let mut before = sample();
    before.interfaces.push(Interface { name: "veth1".into(), ..Interface::default() });
    let after = before.clone().and(Attached { dns: Dns::default(), ..sample() });
    assert_eq!((after.interfaces.len(), after.ips.len(), after.routes.len()), (3, 4, 2));
    assert_eq!((after.ips[0].interface, after.ips[2].interface), (Some(0), Some(2)));
    assert_eq!(after.dns, before.dns, "there is no later word about names");
    assert_eq!(Attached::default().and(sample()), sample());
    assert_eq!(before.interface("eth0", "/run/netns/c1").unwrap().0, 0);
    assert!(before.interface("eth0", "").is_none(), "the host's eth0 is another");
}

fn any_result() -> impl Strategy<Value = Attached> {
    let interface = ("[a-z]{1,8}", "[a-z/]{0,8}", proptest::option::of(68..65_535u32))
        .prop_map(|(name, sandbox, mtu)| Interface { name, sandbox, mtu, ..Interface::default() });
    let net = (any::<std::net::IpAddr>(), 0..=32u8)
        .prop_map(|(address, length)| ipnet::IpNet::new(address, length).unwrap());
    let gateway = || proptest::option::of(any::<std::net::IpAddr>());
    let address = (net.clone(), gateway(), proptest::option::of(0..9usize))
        .prop_map(|(net, gateway, place)| Address::new(net, gateway, place));
    let route = (net, gateway()).prop_map(|(net, gateway)| Route::new(net.trunc(), gateway));
    (vec(interface, 0..4), vec(address, 0..4), vec(route, 0..4))
        .prop_map(|(interfaces, ips, routes)| Attached { interfaces, ips, routes, dns: Dns::default() })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again_in_every_version(result in any_result()) {
        for version in Version::ALL {
            let read = Attached::read(result.write(version), "it").unwrap();
            prop_assert_eq!(read.write(Version::V1_0_0), result.write(Version::V1_0_0));
            prop_assert_eq!(read.interfaces.len(), result.interfaces.len());
            if version == Version::NEWEST {
                prop_assert_eq!(&read, &result);
            }
        }
    }
}

#[test]
fn what_others_leave_out_or_call_null_is_not_there() {
    let told = json!({"cniVersion": "0.4.0", "interfaces": null, "ips": [{"address": "10.1.0.2/24", "gateway": null}], "x": 1});
    let read = Attached::read(told, "it").unwrap();
    assert_eq!((read.interfaces.len(), read.ips[0].gateway, read.dns), (0, None, Dns::default()));
    let (code, message) = refusal(Attached::read(json!({"ips": [{}]}), "'prevResult'"));
    assert!(code == 6 && message.contains("'prevResult'") && message.contains("address"), "{message}");
}

#[test]
fn errors_have_the_specifications_shape() {
    let error = CniError::IfnameTaken { ifname: "eth0".into(), netns: "/run/netns/c1".into() };
    let told = json!(error.told(Version::V0_4_0));
    let expected = json!({
        "cniVersion": "0.4.0", "code": 100, "msg": "/run/netns/c1 has an interface 'eth0' already",
        "details": "choose another name, or remove it first",
    });
    assert_eq!(told, expected);
    assert_eq!(
        versions(Version::V0_4_0),
        json!({"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]})
    );
}
