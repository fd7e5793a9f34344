//! Facts about the machine and the programs, without which a figure means nothing.

use std::collections::BTreeMap;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::model::About;
use crate::compare::Plan;
use crate::compare::lab::Lab;
use crate::stage::command::{read, run};
use crate::stage::underlay::{INNER_MTU, MTU};

/// What can be found out; what cannot is left empty.
pub(crate) fn about(plan: &Plan) -> About {
    let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
    let meminfo = read("/proc/meminfo").unwrap_or_default();
    About {
        started_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        command: std::env::args().collect(),
        kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
        cpu: field(&cpuinfo, "model name").unwrap_or("unknown CPU").to_owned(),
        cpus: std::thread::available_parallelism().map_or(1, Into::into),
        governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        memory_mib: field(&meminfo, "MemTotal").and_then(kilobytes).unwrap_or(0) / 1024,
        mitigations: mitigations(),
        versions: versions(plan),
        underlay_mtu: MTU,
        inner_mtu: if plan.lab.is_untunnelled() { MTU } else { INNER_MTU },
        offloads: BTreeMap::new(),
    }
}

/// The value of the first line `NAME : VALUE`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn kilobytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse().ok()
}

fn mitigations() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else { return BTreeMap::new() };
    let known =
        |entry: fs::DirEntry| Some((entry.file_name().to_string_lossy().into_owned(), read(entry.path())?));
    let affected = entries.flatten().filter_map(known);
    affected.filter(|(_, state)| state != "Not affected").collect()
}

/// The first line of what each program says of its version.
fn versions(plan: &Plan) -> BTreeMap<String, String> {
    let weft = plan.weft.as_ref().map(|path| path.display().to_string());
    let always = [
        ("weft", weft.as_deref().unwrap_or("weft"), "--version"),
        ("ip", "ip", "-V"),
        ("ethtool", "ethtool", "--version"),
    ];
    let others: &[_] = match plan.lab {
        Lab::Overlay => &[("ovs", "ovs-vswitchd", "--version")],
        Lab::Nat => &[("nft", "nft", "--version"), ("slirp4netns", "slirp4netns", "--version")],
        Lab::DockerLocal | Lab::DockerOutside | Lab::DockerHosts => &[("dockerd", "dockerd", "--version")],
    };
    let programs = always.into_iter().chain(others.iter().copied());
    let version = |(name, program, option): (&str, &str, &str)| {
        let said = run(program, &[option]).ok()?;
        Some((name.to_owned(), said.lines().next()?.trim().to_owned()))
    };
    programs.filter_map(version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t: 17\nmodel name\t: AMD EPYC: 9R14\nmodel name\t: second\nMemTotal:  8048 kB\n";
        assert_eq!(field(text, "model name"), Some("AMD EPYC: 9R14"));
        assert_eq!(field(text, "MemTotal").and_then(kilobytes), Some(8048));
        assert_eq!(field(text, "flags"), None);
    }
}
