use super::super::wishes::{Given, Wishes, subnets};
use super::*;

fn wishes(more: Value, args: &str) -> Result<Wishes, CniError> {
    Wishes::of(&read(&with(more))?, &Args::parse(args, "c1")?)
}

fn given(result: Value, asked: Value) -> Result<Given, CniError> {
    let mut asked = with(asked);
    asked["ipam"] = json!({"type": "other"});
    let config = read(&asked)?;
    let wishes = Wishes::of(&config, &Args::default())?;
    Given::of(&Attached::read(result, "it")?, &info("bridge"), &wishes, &config.runtime.ranges)
}

#[test]
fn all_who_ask_are_heard_and_may_not_contradict_each_other() {
    let both = json!({"runtimeConfig": {"ips": ["10.1.0.5/24"], "mac": "02:00:00:00:00:05"}, "args": {"cni": {"ips": ["fd01::5"]}}});
    let asked = wishes(both.clone(), "IP=10.1.0.5;MAC=02:00:00:00:00:05").unwrap();
    assert_eq!(asked.by_family().unwrap(), (Some([10, 1, 0, 5].into()), Some("fd01::5".parse().unwrap())));
    asked.fit(&subnets(&info("bridge"))).unwrap();
    let (code, message) = refusal(wishes(both.clone(), "MAC=02:00:00:00:00:06"));
    assert!(code == 7 && message.contains("02:00:00:00:00:06"), "{message}");
    let (code, message) = refusal(wishes(both, "IP=10.1.0.6").unwrap().by_family());
    assert!(code == 7 && message.contains("10.1.0.5 and 10.1.0.6"), "{message}");
    for (wish, part) in [("10.1.0.5/16", "in the network's 10.1.0.0/24"), ("10.2.0.5/24", "in none of")] {
        let asked = wishes(json!({"runtimeConfig": {"ips": [wish]}}), "").unwrap();
        let (code, message) = refusal(asked.fit(&subnets(&info("bridge"))));
        assert!(code == 7 && message.contains(part), "{message}");
    }
}

#[test]
fn what_another_plugin_gives_must_fit_the_network() {
    let v6 = json!({"address": "fd01::7/64"});
    let v4 = json!({"address": "10.1.0.7/24", "gateway": "10.1.0.1"});
    let result = |routes: Value| json!({"ips": [v4, v6], "routes": routes});
    let routes =
        json!([{"dst": "0.0.0.0/0"}, {"dst": "192.0.2.0/24", "gw": "10.1.0.9"}, {"dst": "2001:db8::/32"}]);
    let fits = given(result(routes), json!({"runtimeConfig": {"ips": ["10.1.0.7"]}})).unwrap();
    assert_eq!((fits.ip, fits.routes.len()), (Some([10, 1, 0, 7].into()), 2));
    assert_eq!(fits.routes[1].via, Some("fd01::1".parse().unwrap()));
    let none = json!({});
    for (told, asked, part) in [
        (json!({"ips": [v4]}), none.clone(), "no address for the network's fd01::/64"),
        (json!({"ips": [v4, v6, {"address": "10.1.0.8/24"}]}), none.clone(), "10.1.0.7 and 10.1.0.8"),
        (json!({"ips": [{"address": "10.2.0.7/24"}]}), none.clone(), "10.2.0.7 is in none of"),
        (json!({"ips": [{"address": "10.1.0.7/16"}]}), none.clone(), "10.1.0.7/16"),
        (json!({"ips": [{"address": "10.1.0.7/24", "gateway": "10.1.0.9"}]}), none.clone(), "10.1.0.9"),
        (result(json!([])), json!({"runtimeConfig": {"ips": ["10.1.0.8"]}}), "10.1.0.8 is asked for"),
        (
            result(json!([])),
            json!({"runtimeConfig": {"ipRanges": [[{"subnet": "10.1.0.128/25"}]]}}),
            "gave no address of",
        ),
        (result(json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.9"}])), none.clone(), "via 10.1.0.9"),
        (result(json!([{"dst": "192.0.2.0/24", "gw": "198.51.100.1"}])), none.clone(), "not on the network"),
        (result(json!([{"dst": "192.0.2.0/24", "mtu": 1400}])), none, "more than 'dst' and 'gw'"),
    ] {
        let (code, message) = refusal(given(told, asked));
        assert!(code == 7 && message.contains(part), "{message}");
    }
}
