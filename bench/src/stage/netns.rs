//! Network namespaces with unique names, gone when the lab is, however it ended.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::command::run;
use crate::error::LabError;

/// Where iproute2 keeps named namespaces.
const DIRECTORY: &str = "/run/netns";

/// How every name begins; the process id and a running number follow.
const PREFIX: &str = "weftbench";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A named network namespace with loopback up. Dropping it removes it with everything in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one; `role` ends up in its name.
    pub(crate) fn new(role: &str) -> Result<Self, LabError> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{number}-{role}", std::process::id());
        run("ip", &["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name under `/run/netns`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The path that stands for it.
    pub(crate) fn path(&self) -> String {
        format!("{DIRECTORY}/{}", self.name)
    }

    /// Runs `ip` inside.
    pub(crate) fn ip(&self, args: &[&str]) -> Result<String, LabError> {
        run("ip", &[&["-n", self.name.as_str()], args].concat())
    }

    /// Runs any command inside.
    pub(crate) fn exec(&self, args: &[&str]) -> Result<String, LabError> {
        run("ip", &[&["netns", "exec", self.name.as_str()], args].concat())
    }

    /// Starts a program inside, in a process group of its own so that Ctrl-C reaches the lab alone.
    pub(crate) fn spawn(&self, mut command: Command) -> Result<Child, LabError> {
        let step = format!("start {} in {}", command.get_program().to_string_lossy(), self.name);
        let started = File::open(self.path()).and_then(|namespace| {
            thread::scope(|scope| {
                // A child starts where the thread that starts it stands; this thread ends afterwards.
                let inside = scope.spawn(|| {
                    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                    command.process_group(0).spawn()
                });
                inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        });
        started.map_err(LabError::io(step))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Ends what still runs inside and removes the name.
fn remove(name: &str) {
    for pid in run("ip", &["netns", "pids", name]).unwrap_or_default().lines() {
        if let Ok(pid) = pid.trim().parse() {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    if let Err(error) = run("ip", &["netns", "del", name]) {
        eprintln!("left behind: {error}");
    }
}

/// Removes the namespaces of runs that were killed before they could do it themselves.
pub(crate) fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner(&name).is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true)) {
            eprintln!("removing {name}, left by a run that was killed");
            remove(&name);
        }
    }
}

/// The process that made a namespace of this name; `None` when it is not one of the lab's.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_owner() {
        assert_eq!(owner("weftbench-4711-3-host1"), Some(4711));
        assert_eq!(owner("weftbench-x-3-host1"), None);
        assert_eq!(owner("weftbenchmark-1-2-c"), None);
        assert_eq!(owner("c1"), None);
    }
}
