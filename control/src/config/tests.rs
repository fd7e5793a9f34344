use std::io::Write;

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::error::{Code, Problem};

fn load(text: &str, environment: &[(&str, &str)], set: &[&str]) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let lookup = |key: &str| environment.iter().find(|(k, _)| *k == key).map(|(_, v)| (*v).to_owned());
    let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
    Config::load(Some(file.path()), lookup, &set)
}

/// The message, without the file's random name.
fn refusal(text: &str, set: &[&str]) -> String {
    let message = load(text, &[], set).unwrap_err().to_string();
    match message.split_once(", line ") {
        Some((_, rest)) => format!("line {rest}"),
        None => message,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_empty_file_means_the_defaults() {
    let config = load("", &[], &[]).unwrap();
    assert_eq!(config.state_dir, Path::new("/var/lib/weft"));
    assert_eq!(config.socket(), Path::new("/run/weft/weft.sock"));
    assert_eq!((config.underlay_address, config.underlay_port, config.workers), (None, 4789, 0));
    assert_eq!(config.underlay_mode, Mode::Auto);
    assert!(config.peers.is_empty() && config.uplink.is_none());
    assert_eq!(config.metrics.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:9789"));
    assert_eq!(config.log, LogConfig::default());
    assert_eq!(load("", &[], &["metrics.listen=off"]).unwrap().metrics, None);
    assert!(config.docker);
}

#[test]
fn every_key_of_this_build_is_read() {
    let text = r#"
        node = "host-a"
        state_dir = "/s"
        run_dir = "/r"
        [underlay]
        address = "10.9.0.1"
        port = 4790
        mode = "udp"
        [uplink]
        interface = "eth0"
        [dataplane]
        workers = 2
        [store]
        url = "redb:/x/y"
        [metrics]
        listen = "[::1]:9000"
        [log]
        format = "json"
        level = "warn"
        [docker]
        plugin = false
        [[peer]]
        address = "10.9.0.2"
        [[peer]]
        address = "10.9.0.3"
    "#;
    let expected = Config {
        node: Name::new("host-a").unwrap(),
        state_dir: "/s".into(),
        run_dir: "/r".into(),
        underlay_address: Some(ip("10.9.0.1")),
        underlay_port: 4790,
        underlay_mode: Mode::Udp,
        uplink: Some(IfName::new("eth0").unwrap()),
        workers: 2,
        store: StoreUrl::Redb("/x/y".into()),
        metrics: Some("[::1]:9000".parse().unwrap()),
        log: LogConfig { format: crate::log::Format::Json, level: Some("warn".into()) },
        docker: false,
        peers: vec![ip("10.9.0.2"), ip("10.9.0.3")],
    };
    assert_eq!(load(text, &[], &[]).unwrap(), expected);
}

#[test]
fn flags_beat_variables_beat_the_file() {
    let file = "node = 'file'\nrun_dir = '/file'\n[underlay]\nport = 1";
    let environment = [("WEFT_NODE", "variable"), ("WEFT_UNDERLAY_PORT", "2"), ("WEFT_STATE_DIR", "")];
    let config = load(file, &environment, &["underlay.port=3", "underlay.port = 4"]).unwrap();
    assert_eq!(config.node.as_str(), "variable");
    assert_eq!(config.run_dir, Path::new("/file"));
    assert_eq!(config.underlay_port, 4, "the later flag wins");
    assert_eq!(config.state_dir, Path::new("/var/lib/weft"), "an empty variable is unset");
}

#[test]
fn differences_are_told_by_key_and_by_when_they_take_effect() {
    let old = load("", &[], &[]).unwrap();
    assert!(old.differences(&old).is_empty());
    let every_key = [
        ("node=other", "node", Takes::Restart),
        ("state_dir=/s", "state_dir", Takes::Restart),
        ("run_dir=/r", "run_dir", Takes::Restart),
        ("underlay.address=10.9.0.1", "underlay.address", Takes::Restart),
        ("underlay.port=4790", "underlay.port", Takes::Restart),
        ("underlay.mode=udp", "underlay.mode", Takes::Restart),
        ("uplink.interface=eth7", "uplink.interface", Takes::Restart),
        ("dataplane.workers=2", "dataplane.workers", Takes::Restart),
        ("store.url=redb:/x", "store.url", Takes::Restart),
        ("metrics.listen=off", "metrics.listen", Takes::Now),
        ("log.format=json", "log.format", Takes::Restart),
        ("log.level=debug", "log.level", Takes::Now),
        ("docker.plugin=false", "docker.plugin", Takes::Restart),
        ("peer=[{address='10.9.0.2'}]", "peer", Takes::Now),
    ];
    for (set, key, takes) in every_key {
        let differences = old.differences(&load("", &[], &[set]).unwrap());
        // The embedded store lives in the state directory unless it is told otherwise.
        let first = differences.iter().find(|difference| difference.key == key);
        assert_eq!(first, Some(&Difference { key, takes }), "{set}");
        assert_eq!(differences.len(), 1 + usize::from(key == "state_dir"), "{set}: {differences:?}");
    }
}

#[test]
fn a_flag_takes_toml_or_bare_text() {
    let set = ["node=123", "underlay.address=\"10.9.0.1\"", "peer=[{address='10.9.0.2'}]"];
    let config = load("", &[], &set).unwrap();
    assert_eq!(config.node.as_str(), "123");
    assert_eq!(config.peers, [ip("10.9.0.2")]);
}

#[test]
fn every_error_names_key_value_and_place() {
    let unknown = refusal("node = 'a'\n\n[underlay]\nadress = '10.9.0.1'", &[]);
    assert!(unknown.starts_with("line 4: unknown field `adress`, expected one of `address`"), "{unknown}");
    let port = refusal("[underlay]\nport = 70000", &[]);
    assert!(port.starts_with("line 2: ") && port.contains("70000"), "{port}");
    let unknown_set = refusal("", &["underlay.adress=1"]);
    assert!(unknown_set.starts_with("--set underlay.adress=1: unknown field `adress`"), "{unknown_set}");
    let wrong_type = refusal("", &["underlay.port=many"]);
    assert!(wrong_type.contains("\"many\""), "{wrong_type}");
    assert_eq!(refusal("", &["underlay.port"]), "--set 'underlay.port' is not of the form KEY=VALUE");
    assert_eq!(refusal("node = 'a'\nnode = ", &[]).lines().count(), 1);
}

#[test]
fn features_of_other_builds_are_refused_by_name() {
    for table in ["gossip", "dns"] {
        assert_eq!(
            refusal(&format!("\n[{table}]\nkey = 1"), &[]),
            format!("line 2: '{table}' is not in this build")
        );
        assert!(matches!(
            load("", &[], &[&format!("{table}.x=1")]),
            Err(ConfigError::NotInThisBuild { place: Place::Flag(_), .. })
        ));
    }
}

#[test]
fn impossible_values_are_refused_with_their_line() {
    let reason_of = |text: &str| match load(text, &[], &[]).unwrap_err() {
        ConfigError::Impossible { place: Place::File { line, .. }, reason, .. } => (line, reason),
        other => panic!("{other}"),
    };
    let address = |a: &str| reason_of(&format!("[underlay]\naddress = '{a}'"));
    assert_eq!(address("10.9.0.300"), (2, Reason::NotAnAddress));
    assert_eq!(address("0.0.0.0"), (2, Reason::Unspecified));
    assert_eq!(address("127.0.0.1"), (2, Reason::Loopback));
    assert_eq!(address("::1"), (2, Reason::Loopback));
    assert_eq!(address("239.1.1.1"), (2, Reason::Multicast));
    assert_eq!(address("255.255.255.255"), (2, Reason::Multicast));
    assert_eq!(address("ff02::1"), (2, Reason::Multicast));
    assert_eq!(address("fe80::1"), (2, Reason::LinkLocal));
    assert_eq!(address("241.0.0.1"), (2, Reason::ReservedAddress));
    assert_eq!(reason_of("[underlay]\nport = 0"), (2, Reason::PortZero));
    assert_eq!(reason_of("[underlay]\nmode = 'fast'"), (2, Reason::NotAMode));
    assert_eq!(reason_of("node = 'a b'"), (1, Reason::NotAName));
    assert_eq!(reason_of("run_dir = 'run'"), (1, Reason::NotAbsolute));
    assert_eq!(reason_of("[uplink]\ninterface = 'much-too-long-a-name'"), (2, Reason::NotAnInterface));
    for bad in ["9789", "127.0.0.1", "localhost:9789", "127.0.0.1:70000", ""] {
        assert_eq!(reason_of(&format!("[metrics]\nlisten = '{bad}'")), (2, Reason::NotAListener), "{bad}");
    }
    assert_eq!(reason_of("[metrics]\nlisten = '127.0.0.1:0'"), (2, Reason::ListenerPortZero));
    assert_eq!(reason_of("[log]\nformat = 'xml'"), (2, Reason::NotALogFormat));
    assert_eq!(reason_of("[log]\nlevel = 'loud'"), (2, Reason::NotALogLevel));
    assert_eq!(reason_of("[dataplane]\nworkers = 65"), (2, Reason::TooManyWorkers));
}

#[test]
fn the_store_is_a_file_of_the_state_directory_unless_the_url_says_otherwise() {
    let store = |set: &[&str]| load("", &[], set).unwrap().store.to_string();
    assert_eq!(store(&[]), "redb:/var/lib/weft/weft.redb");
    assert_eq!(store(&["store.url=redb:", "state_dir=/s"]), "redb:/s/weft.redb");
    assert_eq!(store(&["store.url=redb:/x"]), "redb:/x");
    for later in ["etcd://h:2379/weft", "consul://h:8500", "zk://h:2181"] {
        let error = load(&format!("[store]\nurl = '{later}'"), &[], &[]).unwrap_err();
        let message = Problem::from(error).to_string();
        assert!(
            message
                .contains(&format!("line 2: store.url = {later}: this kind of store is not in this build")),
            "{message}"
        );
        assert!(message.contains("use redb:"), "{message}");
    }
    let relative = refusal("[store]\nurl = 'redb:weft.redb'", &[]);
    assert_eq!(relative, "line 2: store.url = redb:weft.redb: not the absolute path of a file");
}

#[test]
fn impossible_peers_are_refused_with_their_line() {
    let peers = |addresses: &[&str]| {
        let tables: String = addresses.iter().map(|a| format!("[[peer]]\naddress = '{a}'\n")).collect();
        match load(&tables, &[], &["underlay.address=10.9.0.1"]).unwrap_err() {
            ConfigError::Impossible { place: Place::File { line, .. }, reason, .. } => (line, reason),
            other => panic!("{other}"),
        }
    };
    assert_eq!(peers(&["10.9.0.2", "10.9.0.1"]), (4, Reason::Ourselves));
    assert_eq!(peers(&["10.9.0.2", "10.9.0.2"]), (4, Reason::DuplicatePeer));
    assert_eq!(peers(&["::ffff:10.9.0.1"]), (2, Reason::Ourselves));
    assert_eq!(peers(&["fd00::2"]), (2, Reason::OtherFamily));
    assert_eq!(peers(&["224.0.0.1"]), (2, Reason::Multicast));
}

#[test]
fn a_missing_file_is_an_error_only_when_it_was_named() {
    let error = Config::load(Some(Path::new("/nonexistent/weft.toml")), |_| None, &[]).unwrap_err();
    let problem = Problem::from(error);
    assert_eq!(problem.code, Code::NotFound);
    assert!(problem.message.contains("/nonexistent/weft.toml"));
}

/// A host with `eth0` 10.9.0.1/24 and the default route, and `eth1` without an address.
struct Host;

impl HostView for Host {
    fn default_address(&self) -> Option<IpAddr> {
        Some(ip("10.9.0.1"))
    }

    fn has_interface(&self, ifname: &str) -> bool {
        ["eth0", "eth1"].contains(&ifname)
    }

    fn address_of(&self, ifname: &str) -> Option<IpAddr> {
        (ifname == "eth0").then(|| ip("10.9.0.1"))
    }

    fn subnet_of(&self, address: IpAddr) -> Option<IpNet> {
        (address == ip("10.9.0.1")).then(|| "10.9.0.0/24".parse().unwrap())
    }

    fn mtu_of(&self, address: IpAddr) -> Option<u32> {
        (address == ip("10.9.0.1")).then_some(9000)
    }
}

#[test]
fn the_host_decides_what_the_text_left_open() {
    let settle = |set: &[&str]| load("", &[], set).unwrap().settle(&Host);
    let expected = Underlay { address: ip("10.9.0.1"), subnet: "10.9.0.0/24".parse().unwrap(), mtu: 9000 };
    assert_eq!(expected.inner_mtu(), 8950);
    assert_eq!(settle(&[]).unwrap(), Some(expected.clone()));
    assert_eq!(settle(&["uplink.interface=eth0"]).unwrap(), Some(expected));
    assert!(matches!(settle(&["uplink.interface=eth1"]), Err(ConfigError::NoUplink { exists: true, .. })));
    assert!(matches!(settle(&["uplink.interface=eth9"]), Err(ConfigError::NoUplink { exists: false, .. })));
    assert!(matches!(settle(&["underlay.address=10.9.0.7"]), Err(ConfigError::NotOurs { .. })));
    assert!(matches!(settle(&["peer=[{address='10.9.0.1'}]"]), Err(ConfigError::PeerIsUs { .. })));
    assert!(matches!(settle(&["peer=[{address='fd00::2'}]"]), Err(ConfigError::PeerFamily { .. })));
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_one_line(text in ".{0,200}", value in ".{0,40}") {
        let lines = |result: Result<Config, ConfigError>| result.err().map(|e| Problem::from(e).to_string().lines().count());
        prop_assert!(lines(load(&text, &[], &[])).is_none_or(|n| n == 1));
        let set = format!("node={value}");
        prop_assert!(lines(load("", &[], &[&set])).is_none_or(|n| n == 1));
    }
}
