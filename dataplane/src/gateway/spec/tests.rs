//! Which way destinations lie, and what is refused.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn spec(subnets: &[(&str, &str)]) -> GatewaySpec {
    let subnets = subnets.iter().map(|(subnet, own)| (subnet.parse().expect("a prefix"), ip(own))).collect();
    GatewaySpec { subnets, nat: true, ..GatewaySpec::default() }
}

fn gateway() -> Gateway {
    Gateway::build(&spec(&[
        ("10.1.0.0/24", "10.1.0.1"),
        ("10.2.0.0/31", "10.2.0.0"),
        ("fd00:1::/64", "fd00:1::1"),
    ]))
    .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_destination_lies_one_way() {
    let gateway = gateway();
    for (own, others) in [
        (Whither::Own(ip("10.1.0.1")), &["10.1.0.1"][..]),
        (Whither::Own(ip("fe80::57:45ff:fe46:5401")), &["fe80::57:45ff:fe46:5401"]),
        (Whither::Inside, &["10.1.0.2", "10.1.0.0", "10.2.0.1", "fd00:1::2"]),
        (Whither::Multicast, &["10.1.0.255", "224.0.0.1", "255.255.255.255", "ff02::1", "ff0e::1"]),
        (Whither::Martian, &["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.9.9.9", "240.9.0.1"]),
        (Whither::Martian, &["::", "::1", "::7f00:1", "::ffff:10.1.0.2", "fe80::1", "febf::1"]),
        (
            Whither::Outside,
            &["10.1.1.0", "8.8.8.8", "169.254.169.254", "fd00:2::1", "2001:db8::1", "fec0::1"],
        ),
    ] {
        for &to in others {
            assert_eq!(gateway.whither(ip(to)), own, "{to}");
        }
    }
}

#[test]
fn the_link_local_address_belongs_to_ipv6() {
    let v4 = Gateway::build(&spec(&[("10.1.0.0/24", "10.1.0.1")])).unwrap();
    assert_eq!(v4.whither(GATEWAY_MAC.link_local().into()), Whither::Martian);
    assert_eq!(Gateway::default().whither(ip("10.1.0.1")), Whither::Outside);
}

#[test]
fn the_nearest_address_answers() {
    let gateway = gateway();
    assert_eq!(gateway.address_for(ip("10.2.0.1")), Some(ip("10.2.0.0")));
    assert_eq!(gateway.address_for(ip("8.8.8.8")), Some(ip("10.1.0.1")));
    assert_eq!(gateway.address_for(ip("2001:db8::1")), Some(ip("fd00:1::1")));
    assert_eq!(Gateway::default().address_for(ip("8.8.8.8")), None);
}

#[test]
fn nonsense_is_refused_by_name() {
    let refused = |subnets: &[(&str, &str)]| Gateway::build(&spec(subnets)).unwrap_err();
    let error = refused(&[("10.1.0.0/24", "10.2.0.1")]);
    assert_eq!(
        error.to_string(),
        "10.2.0.1 is not in 10.1.0.0/24: give the gateway an address of its subnet"
    );
    for (subnet, own) in [
        ("10.1.0.0/24", "10.1.0.255"),
        ("127.0.0.0/8", "127.0.0.1"),
        ("ff00::/8", "ff02::1"),
        ("240.1.0.0/16", "240.1.0.1"),
    ] {
        assert_eq!(refused(&[(subnet, own)]), GatewayError::NoHost(ip(own)));
    }
    let many = [("10.1.0.0/24", "10.1.0.1"); 17];
    assert_eq!(refused(&many), GatewayError::TooManySubnets { count: 17 });
    assert!(Gateway::build(&spec(&many[..16])).is_ok());
}
