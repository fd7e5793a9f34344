//! Where the CPU time went: the whole machine's from `/proc/stat`, the daemons' from `/proc/PID/stat`.
//!
//! The kernel counts in ticks, a hundredth of a second as a rule, so a window should be long enough for the answer: over
//! half a second on two cores one tick is one per cent.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::error::LabError;

/// Ticks since boot, of all cores together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Machine {
    /// user + nice + system + irq + softirq.
    busy: u64,
    /// Taken by the hypervisor for somebody else.
    steal: u64,
    /// All of it, idle time included.
    total: u64,
}

/// CPU time within a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// CPU-seconds of the whole machine.
    pub(crate) machine_s: f64,
    /// CPU-seconds of the daemons.
    pub(crate) daemons_s: f64,
    /// Share of the machine the hypervisor took away, in per cent.
    pub(crate) steal_percent: f64,
    /// Share of the machine that was busy, in per cent.
    pub(crate) busy_percent: f64,
}

/// One look at the clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    machine: Machine,
    daemons: u64,
}

impl Look {
    /// Looks now. A daemon that has gone counts as 0.
    ///
    /// # Errors
    /// [`LabError::Io`] when `/proc` is not mounted or not as proc(5) has it.
    pub(crate) fn now(daemons: &[u32]) -> Result<Self, LabError> {
        let bad = || LabError::io("read /proc/stat");
        let text = fs::read_to_string("/proc/stat").map_err(bad())?;
        let machine = Machine::parse(&text).ok_or(std::io::ErrorKind::InvalidData.into()).map_err(bad())?;
        let of = |pid: &u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            process_ticks(&text)
        };
        Ok(Self { machine, daemons: daemons.iter().filter_map(of).sum() })
    }

    /// What was used since `before`.
    pub(crate) fn since(self, before: Self) -> Usage {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let total = (self.machine.total.saturating_sub(before.machine.total)).max(1) as f64;
        let busy = self.machine.busy.saturating_sub(before.machine.busy) as f64;
        let steal = self.machine.steal.saturating_sub(before.machine.steal) as f64;
        Usage {
            machine_s: busy / ticks,
            daemons_s: self.daemons.saturating_sub(before.daemons) as f64 / ticks,
            steal_percent: 100.0 * steal / total,
            busy_percent: 100.0 * busy / total,
        }
    }
}

impl Machine {
    /// From the first line of `/proc/stat`: `cpu user nice system idle iowait irq softirq steal guest guest_nice`. The
    /// guests' time is part of user and nice already.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else { return None };
        let busy = user + nice + system + irq + softirq;
        Some(Self { busy, steal, total: busy + steal + idle + iowait })
    }
}

/// utime + stime of `/proc/PID/stat`, fields 14 and 15. The name, field 2, may hold spaces and parentheses.
fn process_ticks(text: &str) -> Option<u64> {
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Resident memory of some processes together, in bytes. One that has gone counts as 0.
pub(crate) fn resident(pids: &[u32]) -> u64 {
    let of = |pid: &u32| resident_of(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?);
    pids.iter().filter_map(of).sum()
}

/// The line `VmRSS:  8552 kB` of `/proc/PID/status`, in bytes.
fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_counts_what_is_busy_and_what_was_stolen() {
        let text = "cpu  10 20 30 400 5 0 7 9 3 1\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(Machine::parse(text), Some(Machine { busy: 67, steal: 9, total: 481 }));
        assert_eq!(Machine::parse("cpu  10 20 30"), None);
        assert_eq!(Machine::parse("intr 1 2 3"), None);
    }

    #[test]
    fn a_process_may_have_any_name() {
        let text = "42 (a) b) (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 6 0 999";
        assert_eq!(process_ticks(text), Some(300));
        assert_eq!(process_ticks("42 (short) S 1"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident_of("Name:\tweft\nVmRSS:\t    8552 kB\n"), Some(8_757_248));
        assert_eq!(resident_of("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn a_window_is_the_difference_of_two_looks() {
        let look = |busy, steal, total, daemons| Look { machine: Machine { busy, steal, total }, daemons };
        let usage = look(300, 10, 1_000, 70).since(look(100, 5, 600, 20));
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(usage.machine_s, 200.0 / ticks);
        assert_eq!(usage.daemons_s, 50.0 / ticks);
        assert_eq!((usage.steal_percent, usage.busy_percent), (1.25, 50.0));
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let own = std::process::id();
        let before = Look::now(&[own]).unwrap();
        assert!(Look::now(&[own]).unwrap().since(before).busy_percent <= 100.0);
        assert!(resident(&[own]) > 100_000);
    }
}
