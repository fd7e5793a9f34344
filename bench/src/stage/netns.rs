//! Network namespaces with unique names, gone when the lab is, however it ended.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
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

/// How every name begins, of namespaces and of directories; the process id follows.
pub(super) const PREFIX: &str = "weftbench";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A named network namespace with loopback up. Dropping it removes it with everything in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one; `role` ends up in its name.
    pub(crate) fn new(role: &str) -> Result<Self, LabError> {
        let name = next_name(role);
        run("ip", &["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Names the namespace in which a process is, as if it had been made here: dropping this ends who is in it.
    pub(crate) fn adopt(role: &str, pid: &str) -> Result<Self, LabError> {
        let namespace = Self { name: next_name(role) };
        run("ip", &["netns", "attach", &namespace.name, pid])?;
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
        // A child starts where the thread that starts it stands.
        self.inside(|| command.process_group(0).spawn()).map_err(LabError::io(step))
    }

    /// Does something inside, on a thread that ends afterwards.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let namespace = File::open(self.path())?;
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// A name that nobody else has.
fn next_name(role: &str) -> String {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}-{}-{number}-{role}", std::process::id())
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

/// Removes what runs that were killed could not remove themselves: namespaces, the daemons in them, their files.
pub(crate) fn remove_leftovers() {
    for name in leftovers(DIRECTORY.as_ref()) {
        eprintln!("removing {name}, left by a run that was killed");
        remove(&name);
    }
    let files = std::env::temp_dir();
    for name in leftovers(&files) {
        if let Err(error) = fs::remove_dir_all(files.join(&name)) {
            eprintln!("left behind: {name}: {error}");
        }
    }
}

/// The lab's names in a directory whose process has gone.
fn leftovers(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let gone = |pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true);
    names.filter(|name| owner(name).is_some_and(gone)).collect()
}

/// The process that made something of this name; `None` when it is not one of the lab's.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_labs_and_nobodys_is_left_over() {
        let directory = tempfile::tempdir().unwrap();
        // No process id is as large as this one.
        let (own, dead) =
            (format!("{PREFIX}-{}-0-c", std::process::id()), format!("{PREFIX}-4294967295-0-c"));
        for name in [own.as_str(), dead.as_str(), "c1"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        assert_eq!(leftovers(directory.path()), [dead]);
        assert!(leftovers(&directory.path().join("nowhere")).is_empty());
    }

    #[test]
    fn a_name_tells_its_owner() {
        assert_eq!(owner("weftbench-4711-3-host1"), Some(4711));
        assert_eq!(owner("weftbench-x-3-host1"), None);
        assert_eq!(owner("weftbenchmark-1-2-c"), None);
        assert_eq!(owner("c1"), None);
    }
}
