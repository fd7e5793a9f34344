//! Everything that containers could leave behind.

use harness::daemon::Daemon;
use harness::netns::Namespace;
use serde_json::Value;
use std::fs;

/// All that a host may be left with: the store's keys, leases and names among them, links, sockets with their addresses,
/// packet sockets, and the TAPs and namespaces that the two processes hold.
pub(crate) fn inventory(host: &Namespace, daemon: &Daemon) -> Vec<String> {
    let store: Value = serde_json::from_str(&daemon.get("/v1/store")).expect("JSON");
    let keys =
        store["entries"].as_array().expect("entries").iter().map(|entry| format!("store {}", entry["key"]));
    let mut found: Vec<String> = keys.collect();
    // The underlay's own device has another name with every daemon.
    let name = |link: String| if link.starts_with("wfu") { "wfu..".to_owned() } else { link };
    found.extend(host.links().into_iter().map(|link| format!("link {}", name(link))));
    for table in ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"] {
        let text =
            host.enter(|| fs::read_to_string(format!("/proc/thread-self/net/{table}"))).expect("it is there");
        // Local address and state; connections that are over are no sockets of anybody.
        let rows = text.lines().skip(1).filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, state) = (words.next()?, words.nth(1)?);
            (!table.starts_with("tcp") || state == "0A").then(|| format!("{table} {local} {state}"))
        });
        found.extend(rows);
    }
    let packet = host.enter(|| fs::read_to_string("/proc/thread-self/net/packet")).expect("it is there");
    found.push(format!("packet sockets: {}", packet.lines().count()));
    for (process, pid) in [("daemon", daemon.pid()), ("dataplane", daemon.dataplane())] {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
        let open: Vec<_> = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
        let count =
            |begin: &str| open.iter().filter(|path| path.to_string_lossy().starts_with(begin)).count();
        found.push(format!("{process}: {} TAPs, {} namespaces", count("/dev/net/tun"), count("net:")));
    }
    found.sort();
    found
}
