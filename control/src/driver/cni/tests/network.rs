use super::*;

fn differences(more: Value, driver: &str) -> Vec<String> {
    read(&with(more)).unwrap().network.differences(&info(driver))
}

#[test]
fn a_network_is_what_is_meant_as_far_as_that_is_said() {
    assert_eq!(differences(json!({}), "overlay"), [""; 0]);
    let all = json!({
        "driver": "overlay", "vni": 7, "mtu": 1450, "internal": false, "subnets": ["fd01::/64", "10.1.0.0/24"],
        "gateway": "10.1.0.1", "options": {"nat": "off", "anti_spoof": "on", "filtering": "address-dependent"},
    });
    assert_eq!(differences(all, "overlay"), [""; 0], "defaults that are spelled out are no difference");
}

#[test]
fn each_difference_is_told() {
    for (more, told) in [
        (json!({"driver": "bridge"}), "its driver is overlay, not bridge"),
        (json!({"vni": 8}), "its VNI is 7, not 8"),
        (json!({"mtu": 1400}), "its MTU is 1450, not 1400"),
        (json!({"internal": true}), "'internal' is false, not true"),
        (json!({"subnet": "10.1.0.0/24"}), "it has 10.1.0.0/24, fd01::/64, not 10.1.0.0/24"),
        (json!({"gateway": "10.1.0.2"}), "its gateway is 10.1.0.1, fd01::1, not 10.1.0.2"),
        (json!({"ipMasq": true}), "its option nat is off, not on"),
        (json!({"options": {"fdb_limit": "9"}}), "its option fdb_limit is not 9"),
    ] {
        assert_eq!(differences(more, "overlay"), [told]);
    }
    assert_eq!(differences(json!({}), "host"), ["its driver is host, not one that gives interfaces"]);
    let error = CniError::Differs {
        network: "web".into(),
        differences: differences(json!({"vni": 8, "mtu": 9}), "overlay"),
    };
    let told = error.told(Version::NEWEST);
    assert_eq!(told.code, 7);
    assert!(told.msg.ends_with("its VNI is 7, not 8; its MTU is 1450, not 9"), "{}", told.msg);
}
