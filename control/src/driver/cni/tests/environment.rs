use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;

use super::*;

const ADD: [(&str, &str); 4] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "c1"),
    ("CNI_NETNS", "/run/netns/c1"),
    ("CNI_IFNAME", "eth0"),
];

fn call(changes: &[(&str, Option<&str>)]) -> Result<Call, CniError> {
    let mut variables: BTreeMap<&str, &str> = ADD.into();
    for &(name, value) in changes {
        match value {
            Some(value) => variables.insert(name, value),
            None => variables.remove(name),
        };
    }
    Call::read(|name| variables.get(name).map(OsString::from))
}

fn args(text: &str) -> Result<Args, CniError> {
    Args::parse(text, "c1")
}

#[test]
fn each_verb_asks_for_what_it_needs() {
    let Ok(Call::Add(place)) = call(&[]) else { panic!("an ADD was described") };
    assert_eq!((place.attachment.container.as_str(), place.attachment.ifname.as_str()), ("c1", "eth0"));
    assert_eq!((place.netns.to_str(), place.any_netns), (Some("/run/netns/c1"), false));
    let gone = [("CNI_COMMAND", Some("DEL")), ("CNI_NETNS", None)];
    assert_eq!(call(&gone).unwrap(), Call::Del(place.attachment));
    for (verb, expected) in [("GC", Call::Gc), ("STATUS", Call::Status), ("VERSION", Call::Version)] {
        let bare = ADD.map(|(name, _)| (name, None)).into_iter().chain([("CNI_COMMAND", Some(verb))]);
        assert_eq!(call(&bare.collect::<Vec<_>>()).unwrap(), expected);
    }
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    for (name, value, part) in [
        ("CNI_COMMAND", None, "missing"),
        ("CNI_COMMAND", Some("add"), "'add', which is no verb"),
        ("CNI_CONTAINERID", None, "missing"),
        ("CNI_CONTAINERID", Some(""), "missing"),
        ("CNI_CONTAINERID", Some("-c"), "'-c'"),
        ("CNI_CONTAINERID", Some("a/b"), "'a/b'"),
        ("CNI_IFNAME", None, "missing"),
        ("CNI_IFNAME", Some("sixteen-bytes-it"), "16 bytes"),
        ("CNI_IFNAME", Some("a/b"), "'a/b'"),
        ("CNI_NETNS", None, "missing"),
        ("CNI_ARGS", Some("IP"), "malformed at 'IP'"),
    ] {
        let (code, message) = refusal(call(&[(name, value)]));
        assert_eq!(code, 4, "{message}");
        assert!(message.contains(name) && message.contains(part), "{message}");
    }
    let binary = |_: &str| Some(OsString::from_vec(vec![0xff]));
    assert!(refusal(Call::read(binary)).1.contains("not UTF-8"));
    let long = "c".repeat(CONTAINER_ID_MAX + 1);
    assert_eq!(refusal(call(&[("CNI_CONTAINERID", Some(&long))])).0, 4);
}

#[test]
fn args_are_read_and_those_that_lie_are_refused() {
    let read =
        args("IgnoreUnknown=1;K8S_POD_NAMESPACE=n;K8S_POD_NAME=p;K8S_POD_INFRA_CONTAINER_ID=c1;X=1").unwrap();
    assert_eq!(read.labels["io.kubernetes.pod.name"], "p");
    let read = args("IP=10.1.0.5/24;MAC=02:AB:00:00:00:01;").unwrap();
    let wish = AddressWish { address: [10, 1, 0, 5].into(), prefix: Some(24) };
    assert_eq!((read.ip, read.mac.unwrap().to_string().as_str()), (Some(wish), "02:ab:00:00:00:01"));
    assert_eq!(args("IP=fd00::5").unwrap().ip.unwrap().prefix, None);
    assert!(args("IgnoreUnknown=true;IgnoreUnknown=true;FOO=x").is_ok());
    for (text, part) in [
        ("FOO=x", "CNI_ARGS (FOO)"),
        ("IgnoreUnknown=0;FOO=x", "CNI_ARGS (FOO)"),
        ("IgnoreUnknown=perhaps", "'perhaps'"),
        ("=x", "malformed at '=x'"),
        ("IP=10.1.0.256", "'10.1.0.256', which is not an IP address"),
        ("IP=10.1.0.5;IP=10.1.0.6", "which is not what it was before, 10.1.0.5"),
        ("MAC=ff:ff:ff:ff:ff:ff", "not a MAC address"),
        ("MAC=00:00:00:00:00:00", "not a MAC address"),
        ("MAC=no", "not a MAC address"),
        ("K8S_POD_INFRA_CONTAINER_ID=c2", "not the container id, c1"),
    ] {
        let (code, message) = refusal(args(text));
        assert!(code == 4 && message.contains(part), "{text}: {message}");
    }
    assert_eq!(refusal(args(&"a=b;".repeat(ARGS_MAX))).0, 4);
}

proptest! {
    #[test]
    fn no_args_are_too_strange(text in "[A-Z=;0-9./:]{0,40}|\\PC{0,40}") {
        let _ = args(&text);
    }

    #[test]
    fn names_are_legal_and_tell_attachments_apart(
        ids in proptest::collection::btree_set("[a-z0-9][a-zA-Z0-9_.-]{0,200}", 2),
        ifname in "[a-z]{1,15}",
    ) {
        let named = |container: &String| {
            let ifname = crate::model::IfName::new(ifname.clone()).unwrap();
            labels::name_of(&Attachment { container: container.clone(), ifname }).unwrap()
        };
        let names: Vec<_> = ids.iter().map(named).collect();
        prop_assert_ne!(&names[0], &names[1]);
        for (id, name) in ids.iter().zip(&names) {
            prop_assert!(name.as_str().starts_with(&id[..id.len().min(32)]));
        }
    }
}

#[test]
fn container_and_interface_are_not_one_text() {
    let name = |container: &str, ifname: &str| {
        let ifname = crate::model::IfName::new(ifname).unwrap();
        labels::name_of(&Attachment { container: container.into(), ifname }).unwrap()
    };
    let (a, b) = (name("a", "beth0"), name("ab", "eth0"));
    assert_ne!(a.as_str().rsplit_once('-'), b.as_str().rsplit_once('-'));
    assert_ne!(name("a", "eth0"), name("a", "eth1"));
    assert_eq!(name("a", "eth0").as_str(), name("a", "eth0").as_str());
}
