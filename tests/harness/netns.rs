//! Network namespaces with unique names, gone when the test is, however it ended.

use crate::cmd::{self, Outcome};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A name no other test of this machine uses: the process and a running number make it unique.
pub fn unique(role: &str) -> String {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("wt{}-{number}-{role}", std::process::id())
}

/// A named network namespace with loopback up. Dropping it ends what still runs inside and removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one; `role` ends up in its name.
    #[track_caller]
    pub fn new(role: &str) -> Self {
        let name = unique(role);
        cmd::run("ip", &["netns", "add", &name]).must();
        let namespace = Namespace { name };
        namespace.sysctl("ipv6/conf/default/accept_dad", "0");
        namespace.sysctl("ipv6/conf/all/accept_dad", "0");
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// Its name under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path that stands for it.
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// Runs `ip` inside; it has to succeed.
    #[track_caller]
    pub fn ip(&self, args: &[&str]) -> String {
        self.try_ip(args).must()
    }

    /// Runs `ip` inside.
    #[track_caller]
    pub fn try_ip(&self, args: &[&str]) -> Outcome {
        cmd::run("ip", &[&["-n", self.name.as_str()], args].concat())
    }

    /// Runs any command inside.
    #[track_caller]
    pub fn exec(&self, args: &[&str]) -> Outcome {
        self.exec_within(cmd::LIMIT, args)
    }

    /// Runs any command inside, for at most `limit`.
    #[track_caller]
    pub fn exec_within(&self, limit: Duration, args: &[&str]) -> Outcome {
        cmd::run_within(limit, "ip", &[&["netns", "exec", self.name.as_str()], args].concat())
    }

    /// Calls `f` on a thread that stands in the namespace. Sockets made there stay there, wherever they are used.
    #[track_caller]
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.path()).expect("the namespace exists");
        thread::scope(|scope| {
            scope
                .spawn(move || {
                    setns(&namespace, CloneFlags::CLONE_NEWNET).expect("entering a namespace of our own");
                    f()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Sets a key under `/proc/sys/net`.
    #[track_caller]
    pub fn sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/net/{key}");
        self.enter(|| fs::write(&path, value)).unwrap_or_else(|error| panic!("{path} = {value}: {error}"));
    }

    /// What `ip -json link show` says of a link; `None` when there is no such link.
    pub fn link(&self, name: &str) -> Option<Value> {
        let shown = cmd::run("ip", &["-n", &self.name, "-json", "-details", "address", "show", "dev", name]);
        let list: Value = shown.ok().then(|| serde_json::from_str(&shown.stdout).ok())??;
        list.as_array()?.iter().find(|link| link["ifname"] == name).cloned()
    }

    /// The names of all links inside, sorted.
    pub fn links(&self) -> Vec<String> {
        let shown = cmd::run("ip", &["-n", &self.name, "-json", "link", "show"]).must();
        let list: Value = serde_json::from_str(&shown).expect("ip writes JSON");
        let mut names: Vec<String> = list
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|link| Some(link["ifname"].as_str()?.into()))
            .collect();
        names.sort();
        names
    }

    /// The hardware address of a link.
    #[track_caller]
    pub fn mac(&self, link: &str) -> [u8; 6] {
        let shown = self.link(link).unwrap_or_else(|| panic!("{} has no link {link}", self.name));
        parse_mac(shown["address"].as_str().expect("a link has an address"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for pid in cmd::run("ip", &["netns", "pids", &self.name]).stdout.lines() {
            if let Ok(pid) = pid.trim().parse() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        cmd::run("ip", &["netns", "del", &self.name]);
    }
}

/// Reads `02:42:0a:00:00:01`.
///
/// # Panics
/// On anything else.
#[track_caller]
pub fn parse_mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> =
        text.split(':').map(|part| u8::from_str_radix(part, 16).expect("hexadecimal")).collect();
    bytes.try_into().expect("six bytes")
}

/// Writes `02:42:0a:00:00:01`.
pub fn format_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The directory for a test's own files, removed with the value.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("weft-test-").tempdir().expect("a directory for the test's files")
}

/// The workspace's root directory.
pub fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace exists")
}
