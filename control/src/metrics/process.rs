//! What the kernel accounts to a process of ours (`proc_pid_stat(5)`).

use std::fs;
use std::path::PathBuf;

/// What a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// Processor time in user and system mode.
    pub(super) cpu_seconds: f64,
    /// Memory that is in RAM.
    pub(super) resident_bytes: u64,
    /// Threads.
    pub(super) threads: u64,
    /// Open descriptors.
    pub(super) open_fds: u64,
    /// How many there may be; `None`: no limit, or not to be known.
    pub(super) max_fds: Option<u64>,
}

/// What the process `pid` uses; `None` when it has gone.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let stat = fs::read_to_string(proc.join("stat")).ok()?;
    let status = fs::read_to_string(proc.join("status")).ok()?;
    let limits = fs::read_to_string(proc.join("limits")).unwrap_or_default();
    let of_status = |key: &str| number(status.lines().find_map(|line| line.strip_prefix(key))?);
    let max_fds = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    Some(Usage {
        cpu_seconds: cpu_ticks(&stat)? as f64 / rustix::param::clock_ticks_per_second() as f64,
        resident_bytes: of_status("VmRSS:").unwrap_or(0) * 1024,
        threads: of_status("Threads:")?,
        open_fds: fs::read_dir(proc.join("fd")).map_or(0, |entries| entries.count() as u64),
        max_fds: max_fds.and_then(number),
    })
}

/// The first word, if it is a number.
fn number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// User and system time. The second field is the program's name in parentheses, with whatever is in that.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_shifts_no_field() {
        let stat = "1 (a) b) (c) S 1 1 1 0 -1 4194560 1 2 3 4 70 7 9 9 20 0 1 0 5 6 7";
        assert_eq!(cpu_ticks(stat), Some(77));
        assert_eq!(cpu_ticks("1 (a"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 1 << 20 && usage.threads >= 1 && usage.open_fds >= 3, "{usage:?}");
        assert!(usage.max_fds.is_none_or(|max| max >= usage.open_fds));
        assert_eq!(super::usage(u32::MAX), None);
    }
}
