//! What people see of the API's answers: columns without lines, as Docker prints them.

use std::fmt::Write;

use comfy_table::presets::NOTHING;
use comfy_table::{Row, Table};

use crate::api::types::{
    Counters, EndpointInfo, FdbEntry, Finding, NatInfo, NetworkInfo, NextHopInfo, NodeInfo, PortInfo, Stats,
    Status,
};
use crate::model::Id;

/// Spaces between columns.
const GAP: u16 = 3;

/// Columns under `header`.
fn columns<R: Into<Row>>(header: &[&str], rows: impl IntoIterator<Item = R>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.iter().copied()).add_rows(rows);
    finish(table)
}

fn finish(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    let text = table.to_string();
    text.lines().fold(String::new(), |mut text, line| {
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

pub(super) fn networks(networks: &[NetworkInfo]) -> String {
    let row = |network: &NetworkInfo| {
        [
            short(&network.id),
            network.name.clone(),
            network.driver.to_string(),
            optional(network.vni),
            list(network.subnets.iter().map(|subnet| subnet.subnet)),
            network.endpoints.len().to_string(),
        ]
    };
    columns(&["NETWORK ID", "NAME", "DRIVER", "VNI", "SUBNETS", "ENDPOINTS"], networks.iter().map(row))
}

pub(super) fn endpoints(endpoints: &[EndpointInfo]) -> String {
    let row = |endpoint: &EndpointInfo| {
        [
            short(&endpoint.id),
            endpoint.name.clone(),
            endpoint.network.clone(),
            endpoint.ifname.clone(),
            endpoint.mac.clone(),
            list(&endpoint.addresses),
            endpoint.netns.clone(),
        ]
    };
    columns(
        &["ENDPOINT ID", "NAME", "NETWORK", "INTERFACE", "MAC", "ADDRESSES", "NAMESPACE"],
        endpoints.iter().map(row),
    )
}

pub(super) fn ports(ports: &[PortInfo]) -> String {
    let row = |port: &PortInfo| {
        [
            port.network.clone(),
            port.endpoint.clone(),
            port.protocol.to_string(),
            port.host_address.to_string(),
            port.host_port.to_string(),
            port.container_port.to_string(),
        ]
    };
    columns(
        &["NETWORK", "ENDPOINT", "PROTOCOL", "HOST ADDRESS", "HOST PORT", "CONTAINER PORT"],
        ports.iter().map(row),
    )
}

pub(super) fn nat(sessions: &[NatInfo]) -> String {
    let row = |session: &NatInfo| {
        [
            session.network.clone(),
            session.endpoint.clone(),
            session.protocol.clone(),
            session.inside.to_string(),
            session.outside.to_string(),
            session.remote.to_string(),
            session.state.clone(),
            session.idle_s.to_string(),
            session.expires_s.to_string(),
        ]
    };
    columns(
        &["NETWORK", "ENDPOINT", "PROTOCOL", "INSIDE", "OUTSIDE", "REMOTE", "STATE", "IDLE S", "EXPIRES S"],
        sessions.iter().map(row),
    )
}

pub(super) fn nodes(nodes: &[NodeInfo]) -> String {
    let row = |node: &NodeInfo| [node.name.clone(), optional(node.vtep), node.state.clone()];
    columns(&["NAME", "VTEP", "STATE"], nodes.iter().map(row))
}

pub(super) fn findings(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "everything is as it should be\n".into();
    }
    columns(&["DIFFERENCE", "REMEDY"], findings.iter().map(|f| [f.what.clone(), f.remedy.clone()]))
}

pub(super) fn fdb(entries: &[FdbEntry]) -> String {
    let row = |entry: &FdbEntry| {
        [
            entry.network.clone(),
            optional(entry.vni),
            entry.mac.clone(),
            entry.kind.clone(),
            entry.port.clone().unwrap_or_else(|| "-".into()),
            optional(entry.vtep),
            optional(entry.age_s.map(|age| format!("{age} s"))),
        ]
    };
    columns(&["NETWORK", "VNI", "MAC", "KIND", "ENDPOINT", "VTEP", "AGE"], entries.iter().map(row))
}

pub(super) fn status(status: &Status) -> String {
    let mode = match (&status.underlay_mode, &status.underlay_reason) {
        (Some(mode), Some(reason)) => format!("{mode} ({reason})"),
        (mode, _) => optional(mode.as_ref()),
    };
    let vtep = match (status.vtep, status.underlay_port) {
        (Some(vtep), Some(port)) => format!("{vtep}, port {port}"),
        _ => "none: bridge networks only".into(),
    };
    let rows = [
        ("Node", status.node.clone()),
        ("Version", status.version.clone()),
        ("Ready", if status.ready { "yes".into() } else { "no".into() }),
        ("VTEP", vtep),
        ("Underlay mode", mode),
        ("Peers", list(&status.peers)),
        ("Workers", status.workers.to_string()),
        ("Daemon pid", status.daemon_pid.to_string()),
        ("Dataplane pid", packet_process(status)),
        ("Networks", status.networks.to_string()),
        ("Endpoints", status.endpoints.to_string()),
        ("Up for", format!("{} s", status.uptime_s)),
    ];
    let mut text = String::new();
    let warnings = status.warnings.iter().map(|warning| ("Warning", warning.clone()));
    for (key, value) in rows.into_iter().chain(warnings) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<16}{value}", format!("{key}:"));
    }
    if !status.next_hops.is_empty() {
        text.push('\n');
        text.push_str(&next_hops(&status.next_hops));
    }
    text
}

/// The packet process, or why there is none.
fn packet_process(status: &Status) -> String {
    match (status.dataplane_pid, status.dataplane_restarts) {
        (Some(pid), 0) => pid.to_string(),
        (Some(pid), restarts) => format!("{pid} (started again {restarts} times)"),
        (None, _) => format!("none: {}", status.dataplane_reason.as_deref().unwrap_or("it is being started")),
    }
}

fn next_hops(next_hops: &[NextHopInfo]) -> String {
    let row = |hop: &NextHopInfo| {
        let sent = match &hop.reason {
            Some(reason) => format!("{} ({reason})", hop.mode),
            None => hop.mode.clone(),
        };
        let mac = hop.mac.clone().unwrap_or_else(|| "-".into());
        let device = hop.device.clone().unwrap_or_else(|| "-".into());
        [hop.peer.to_string(), optional(hop.via), device, mac, optional(hop.mtu), sent]
    };
    columns(&["PEER", "VIA", "DEVICE", "MAC", "PATH MTU", "SENT BY"], next_hops.iter().map(row))
}

pub(super) fn stats(stats: &Stats) -> String {
    let all = std::iter::once(("(all)", &stats.total))
        .chain(stats.networks.iter().map(|(name, counters)| (name.as_str(), counters)));
    let row = |(name, counters): (&str, &Counters)| {
        let drops: u64 = counters.drops.values().sum();
        [name.to_owned(), counters.packets.to_string(), counters.bytes.to_string(), drops.to_string()]
    };
    let mut text = columns(&["NETWORK", "PACKETS", "BYTES", "DROPS"], all.clone().map(row));
    let reasons: Vec<[String; 3]> = all
        .flat_map(|(name, counters)| {
            counters
                .drops
                .iter()
                .map(move |(reason, count)| [name.to_owned(), reason.clone(), count.to_string()])
        })
        .collect();
    if !reasons.is_empty() {
        text.push('\n');
        text.push_str(&columns(&["NETWORK", "DROPPED FOR", "FRAMES"], reasons));
    }
    text
}

fn short(id: &str) -> String {
    id.chars().take(Id::SHORT_LEN).collect()
}

fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let joined = items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ");
    if joined.is_empty() { "-".into() } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let text = columns(&["A", "LONGER"], [["wide cell", "x"], ["y", ""]]);
        assert_eq!(text, "A           LONGER\nwide cell   x\ny\n");
        assert_eq!(columns::<[&str; 2]>(&["A", "B"], []), "A   B\n");
    }

    #[test]
    fn a_peer_left_to_the_sockets_says_why() {
        let hop = |peer: [u8; 4], mode: &str, reason: Option<&str>| NextHopInfo {
            peer: peer.into(),
            mode: mode.into(),
            reason: reason.map(Into::into),
            via: Some([192, 0, 2, 1].into()),
            device: reason.is_none().then(|| "eth0".into()),
            mac: reason.is_none().then(|| "02:00:00:00:00:01".into()),
            mtu: reason.is_none().then_some(1400),
        };
        let text = next_hops(&[
            hop([198, 51, 100, 1], "tunnel-gso", None),
            hop([203, 0, 113, 77], "udp-gso", Some("192.0.2.1 has not told its MAC")),
        ]);
        let expected = "\
PEER           VIA         DEVICE   MAC                 PATH MTU   SENT BY
198.51.100.1   192.0.2.1   eth0     02:00:00:00:00:01   1400       tunnel-gso
203.0.113.77   192.0.2.1   -        -                   -          udp-gso (192.0.2.1 has not told its MAC)
";
        assert_eq!(text, expected);
    }

    #[test]
    fn drop_reasons_are_told_only_when_there_are_some() {
        let mut stats_of = Stats::default();
        assert_eq!(stats(&stats_of), "NETWORK   PACKETS   BYTES   DROPS\n(all)     0         0       0\n");
        stats_of.total.drops.insert("storm".into(), 3);
        assert!(stats(&stats_of).contains("(all)     storm         3\n"), "{}", stats(&stats_of));
    }
}
