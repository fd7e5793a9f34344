//! Every command with wrong, missing, duplicate and hostile arguments: refused in one line that names the value, before
//! any daemon is asked.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

/// Runs the command line against a daemon that is not there; gives exit code, standard output, standard error.
fn run(args: &[&OsStr]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.args(args).env_clear().env("WEFT_HOST", "unix:///nonexistent/weft.sock").stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().expect("the executable runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').map(|word| if word == "''" { "" } else { word }).collect()
}

/// Asserts that these arguments are wrong usage, told in one line with `told` in it.
fn refused(args: &[&str], told: &str) {
    let (code, stdout, stderr) = run(&args.iter().map(OsStr::new).collect::<Vec<_>>());
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:.99?}: {stderr}");
    let line = stderr.strip_suffix('\n').unwrap_or_else(|| panic!("{args:?}: {stderr}"));
    assert!(line.starts_with("weft: ") && !line.contains(char::is_control), "{args:?}: {line}");
    assert!(line.contains(told), "{args:?}: {line}");
}

#[test]
fn wrong_arguments() {
    for (args, told) in [
        ("frobnicate", "frobnicate"),
        ("network frobnicate", "frobnicate"),
        ("status extra", "extra"),
        ("stats --colour", "--colour"),
        ("status --format xml", "xml"),
        ("status --color sometimes", "sometimes"),
        ("-H tcp://10.0.0.1:1 status", "unix:///run/weft/weft.sock"),
        ("-H unix://relative status", "relative"),
        ("daemon --set underlay.port", "underlay.port"),
        ("daemon --set =4789", "=4789"),
        ("daemon --set underlay.port=0", "underlay.port = 0"),
        ("daemon --set colour=red", "colour"),
        ("daemon --set metrics.listen=here", "metrics.listen = here"),
        ("daemon --set log.level=loud", "log.level = loud"),
        ("demo extra", "extra"),
        ("network create a/b", "'a/b' is not a valid name"),
        ("network create ''", "a name cannot be empty"),
        ("network create a --vni 16777216", "16777216 is not in 0..=16777215"),
        ("network create a --vni -1", "-1"),
        ("network create a -d macvlan", "the driver 'macvlan' is not in this build"),
        ("network create a -d qvlan", "there is no driver 'qvlan'"),
        ("network create a --subnet 10.1.0.0/33", "10.1.0.0/33"),
        ("network create a --subnet 10.1.0.0", "10.1.0.0"),
        ("network create a --gateway 10.1.0", "10.1.0"),
        ("network create a --ip-range lots", "lots"),
        ("network create a --mtu big", "big"),
        ("network create a --mtu 99999999999", "99999999999"),
        ("network create a -o anti_spoof", "KEY=VALUE"),
        ("network create a --label =v", "=v"),
        ("network create a --internal=yes", "yes"),
        ("network ls -f colour=red", "name, id, driver, label, scope, type or dangling"),
        ("network ls -f name", "KEY=VALUE"),
        ("network ls -f dangling=maybe", "dangling=true|false"),
        ("network inspect ''", "write a name or an id"),
        ("network rm a ''", "write a name or an id"),
        ("network prune --all", "--all"),
        ("network connect a /x --ifname much-too-long-a-name", "has 20 bytes"),
        ("network connect a /x --ifname a/b", "'a/b' is not an interface name"),
        ("network connect a /x --mac 02:42", "02:42"),
        ("network connect a /x --ip 10.1.0.0.1", "10.1.0.0.1"),
        ("network connect a /x --ip fd00::1", "fd00::1"),
        ("network connect a /x --ip6 10.1.0.1", "10.1.0.1"),
        ("network connect a /x --name a:b", "'a:b' is not a valid name"),
        ("network connect a /x -p 0", "'0' is no port"),
        ("network connect a /x -p 65536:80", "'65536' is no port"),
        ("network connect a /x -p 80:80/sctp", "'sctp' cannot be published"),
        ("network connect a /x -p 8000-8010:80-81", "11 ports of the host for 2 of the endpoint"),
        ("network connect a /x -p ::1:80:80", "an IPv6 address in brackets"),
        ("network connect a /x -p here:80:80", "'here' is no IP address"),
        ("network connect a /x -p ''", "'' is no port"),
        ("network connect a ''", "write a path"),
        ("network connect '' /x", "write a name or an id"),
        ("network disconnect a ''", "write a name or an id"),
        ("endpoint ls extra", "extra"),
        ("endpoint inspect ''", "write a name or an id"),
        ("port ls extra", "extra"),
        ("nat show extra", "extra"),
        ("nat show -f state=new", "network, endpoint or protocol"),
        ("nat show -f protocol=sctp", "protocol=tcp|udp|icmp"),
        ("nat show -f network=", "write a name or an id"),
        ("node ls extra", "extra"),
        ("fdb show ''", "write a name or an id"),
        ("capture -w - --count 0", "'0'"),
        ("capture -w - --count many", "many"),
        ("capture -w - --network ''", "write a name or an id"),
        ("completion csh", "csh"),
    ] {
        refused(&words(args), told);
    }
}

#[test]
fn missing_arguments() {
    for (args, told) in [
        ("network create", "<NAME>"),
        ("network create a --subnet", "--subnet"),
        ("network inspect", "<NETWORK>"),
        ("network rm", "<NETWORK>"),
        ("network connect", "<NETWORK>"),
        ("network connect a", "<NETNS>"),
        ("network disconnect a", "<ENDPOINT>"),
        ("network ls -f", "--filter"),
        ("endpoint inspect", "<ENDPOINT>"),
        ("capture", "--write"),
        ("completion", "<SHELL>"),
        ("man", "<DIR>"),
        ("daemon --config", "--config"),
        ("daemon --set", "--set"),
    ] {
        refused(&words(args), told);
    }
    for group in [&[][..], &["network"], &["endpoint"], &["port"], &["nat"], &["node"], &["fdb"]] {
        let (code, stdout, stderr) = run(&group.iter().map(OsStr::new).collect::<Vec<_>>());
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{group:?}");
        let told = stderr.contains("Usage: weft") || stderr.contains("requires a subcommand");
        assert!(told, "{group:?} shows what there is: {stderr}");
    }
}

#[test]
fn duplicate_arguments() {
    for (args, told) in [
        ("network create a b", "'b'"),
        ("network create a --vni 1 --vni 2", "--vni"),
        ("network create a --mtu 1400 --mtu 1400", "--mtu"),
        ("network create a -d bridge -d overlay", "--driver"),
        ("network create a --internal --internal", "--internal"),
        ("network connect a /x --ip 10.0.0.1 --ip 10.0.0.2", "--ip"),
        ("network connect a /x --mac 02:00:00:00:00:01 --mac 02:00:00:00:00:01", "--mac"),
        ("network connect a /x --name b --name c", "--name"),
        ("network prune -f -f", "--force"),
        ("endpoint inspect a b", "'b'"),
        ("fdb show a b", "'b'"),
        ("capture -w a -w b", "--write"),
        ("completion bash zsh", "'zsh'"),
        ("man a b", "'b'"),
        ("daemon --config a --config b", "--config"),
    ] {
        refused(&words(args), told);
    }
}

#[test]
fn hostile_arguments() {
    let long = "x".repeat(100_000);
    let cases: [(&[&str], &str); 12] = [
        (&["network", "create", "\u{1b}[2J\u{1b}]0;owned\u{7}"], "\\u{1b}[2J"),
        (&["network", "create", "a\nweft: all is well"], "a weft: all is well"),
        (&["network", "create", &long], "has 100000 characters"),
        (&["network", "create", "../../etc/passwd"], "../../etc/passwd"),
        (&["network", "create", "é"], "é"),
        (&["network", "inspect", &long], "100000 bytes"),
        (&["network", "rm", "a", &long], "100000 bytes"),
        (&["network", "connect", "a", "/x", "--ifname", "\u{1b}c"], "\\u{1b}c"),
        (&["network", "create", "a", "-o", "=\u{9b}31m"], "\\u{9b}31m"),
        (&["-H", "unix://\r\nHost: evil", "status"], "unix://"),
        (&["\u{202e}sutats\u{1b}[A"], "\\u{202e}sutats"),
        (&["daemon", "--set", "node=\u{1b}[1m"], "\\u{1b}[1m"),
    ];
    for (args, told) in cases {
        refused(args, told);
    }
    let (code, stdout, stderr) = run(&["network", "inspect"]
        .map(OsStr::new)
        .into_iter()
        .chain([OsStr::from_bytes(b"\xff\xfe")])
        .collect::<Vec<_>>());
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(2), "", 1), "{stderr}");
}

#[test]
fn right_arguments_reach_for_the_daemon() {
    for args in [
        "status",
        "stats --format json",
        "network ls",
        "network ls -q -f name=a -f label=k=v -f scope=local -f type=custom -f dangling=true",
        "network inspect a b",
        "network rm a b",
        "network prune -f",
        "network create a --label k --label k=v -o vlan=pass -o vlan=drop",
        "network connect a /x --ip 10.0.0.1 --ip6 fd00::1 --mac 02:00:00:00:00:01",
        "network disconnect a b",
        "endpoint ls",
        "endpoint inspect a",
        "node ls",
        "fdb show",
        "fdb show a",
        "capture -w - --network a --endpoint b --count 1",
    ] {
        let (code, stdout, stderr) = run(&words(args).into_iter().map(OsStr::new).collect::<Vec<_>>());
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(5), "", 1), "{args}: {stderr}");
        assert!(
            stderr.contains("/nonexistent/weft.sock") && stderr.contains("'weft daemon'"),
            "{args}: {stderr}"
        );
    }
}
