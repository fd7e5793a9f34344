//! The product: one daemon in one host, met through its executable, configuration file and command line.

pub use crate::config::Config;

use crate::cmd::{self, LIMIT, Outcome};
use crate::netns::{self, Namespace};
use crate::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// Where the executable is: `WEFT_BIN`, or the release build beside the test's own.
///
/// # Panics
/// When there is none, with the command that makes it.
#[track_caller]
pub fn executable() -> PathBuf {
    if let Some(path) = std::env::var_os("WEFT_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().expect("a test knows its executable");
    let target = own.ancestors().nth(3).expect("target/PROFILE/deps/TEST");
    let found = target.join("release/weft");
    assert!(found.exists(), "{} is missing: cargo build --release --bin weft", found.display());
    found
}

/// A command for the executable with a clean environment, so that the tests' own variables configure nothing.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(executable());
    command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Runs the executable in the root namespace.
#[track_caller]
pub fn weft(args: &[&str]) -> Outcome {
    cmd::finish_within(LIMIT, command(args))
}

/// A running daemon. Dropping it sends SIGTERM and, if that does not help, SIGKILL. A packet process that was left behind
/// ends with the namespace of its host.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    directory: TempDir,
}

impl Daemon {
    /// Starts one in `host` and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends or never becomes ready, with what it wrote.
    #[track_caller]
    pub fn start(host: &Namespace, config: &Config) -> Self {
        Self::spawn(host, config).ready()
    }

    /// Waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends or never becomes ready, with what it wrote.
    #[track_caller]
    pub fn ready(mut self) -> Self {
        let ready = wait::within(LIMIT, || {
            let ended = !self.alive();
            (ended || self.is_ready()).then_some(!ended)
        });
        assert_eq!(ready, Some(true), "the daemon is not ready:\n{}", self.stderr());
        self
    }

    /// Starts one that is expected to refuse, and returns how it ended.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn refusal(host: &Namespace, config: &Config) -> Outcome {
        Self::spawn(host, config).outcome()
    }

    /// How a daemon ends that is expected to refuse.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn outcome(mut self) -> Outcome {
        let status = wait::until("the daemon refuses to start", || self.child.try_wait().expect("our child"));
        Outcome {
            command: "weft daemon".into(),
            code: status.code(),
            stdout: fs::read_to_string(self.directory.path().join("stdout")).unwrap_or_default(),
            stderr: self.stderr(),
        }
    }

    /// Starts one and waits for nothing.
    #[track_caller]
    pub fn spawn(host: &Namespace, config: &Config) -> Self {
        let directory = netns::scratch();
        config.write(directory.path());
        Self::spawn_in(host, directory, &[])
    }

    /// Starts one with a directory that already holds a `config.toml`, and more arguments.
    #[track_caller]
    pub fn spawn_in(host: &Namespace, directory: TempDir, args: &[&str]) -> Self {
        Self::spawn_with(host, directory, args, &[])
    }

    /// The same with environment variables.
    #[track_caller]
    pub fn spawn_with(
        host: &Namespace,
        directory: TempDir,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let launcher = ["/sbin/ip", "netns", "exec", host.name()].map(str::to_owned);
        Self::launch(&launcher, directory, args, variables)
    }

    /// The same where `launcher`, a command that becomes another, leads to.
    #[track_caller]
    pub fn launch(
        launcher: &[String],
        directory: TempDir,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let open = |name: &str| File::create(directory.path().join(name)).expect("our own directory");
        let child = Command::new(&launcher[0])
            .args(&launcher[1..])
            .arg(executable())
            .args(["daemon", "--config"])
            .arg(directory.path().join("config.toml"))
            .args(args)
            .env_clear()
            // The daemon does its work by system calls: it is given no way to find a program.
            .env("PATH", "/nonexistent")
            .envs(variables.iter().copied())
            .envs(std::env::var_os("RUST_LOG").map(|level| ("RUST_LOG", level)))
            .stdin(Stdio::null())
            .stdout(open("stdout"))
            .stderr(open("stderr"))
            .spawn()
            .expect("the launcher is installed");
        Daemon { child, directory }
    }

    /// The address of its API.
    pub fn api(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The path of its API socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("run/weft.sock")
    }

    /// Its state, run and configuration files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process id of the daemon itself.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// The process id of its packet process.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn dataplane(&self) -> Pid {
        let status = self.json(&["status"]);
        let pid = status["dataplane_pid"].as_i64().unwrap_or_else(|| panic!("no packet process in {status}"));
        Pid::from_raw(pid as i32)
    }

    /// Runs a command of its command line.
    #[track_caller]
    pub fn weft(&self, args: &[&str]) -> Outcome {
        let api = self.api();
        weft(&[&["-H", api.as_str()], args].concat())
    }

    /// The JSON a command prints; it has to succeed.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.weft(&[args, &["--format", "json"]].concat()).must();
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{args:?} printed no JSON ({error}): {text}"))
    }

    /// What its API answers to GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).expect("the daemon listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: weft\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
    }

    /// The packet counters.
    #[track_caller]
    pub fn stats(&self) -> Stats {
        Stats::read(&self.json(&["stats"]))
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        kill(self.pid(), Signal::SIGTERM).expect("the daemon runs");
        wait::until("the daemon ends after SIGTERM", || self.child.try_wait().expect("the child is ours"))
    }

    /// Ends it with SIGTERM and gives back the directory with all its files.
    #[track_caller]
    pub fn end(mut self) -> TempDir {
        assert_eq!(self.terminate().code(), Some(0), "{}", self.stderr());
        std::mem::replace(&mut self.directory, netns::scratch())
    }

    /// Kills it, as a crash would, and gives back the directory with all its files.
    #[track_caller]
    pub fn crash(mut self) -> TempDir {
        self.child.kill().expect("the daemon runs");
        self.child.wait().expect("the child is ours");
        std::mem::replace(&mut self.directory, netns::scratch())
    }

    /// How many descriptors it has open.
    #[track_caller]
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the daemon runs").count()
    }

    /// True until it has ended.
    pub fn alive(&mut self) -> bool {
        self.child.try_wait().expect("the child is ours").is_none()
    }

    /// What it has written on standard error.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default()
    }

    fn is_ready(&self) -> bool {
        let status = self.weft(&["status", "--format", "json"]);
        let parsed: Result<Value, _> = serde_json::from_str(&status.stdout);
        status.ok() && parsed.is_ok_and(|status| status["ready"] == true)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon wrote:\n{}", self.stderr());
            eprintln!("its counters:\n{}", self.weft(&["stats"]).stdout);
        }
        if !self.alive() {
            return;
        }
        let _ = kill(self.pid(), Signal::SIGTERM);
        if wait::within(LIMIT, || self.child.try_wait().ok().flatten()).is_none() {
            eprintln!("the daemon does not end after SIGTERM");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What `weft stats --format json` says about the whole daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames that ended in any verdict.
    pub packets: u64,
    /// Frames that ended in a drop, by reason.
    pub drops: BTreeMap<String, u64>,
}

impl Stats {
    fn read(json: &Value) -> Self {
        let drops = json["drops"].as_object().unwrap_or_else(|| panic!("no drops in {json}"));
        Stats {
            packets: json["packets"].as_u64().unwrap_or_else(|| panic!("no packets in {json}")),
            drops: drops
                .iter()
                .map(|(reason, count)| (reason.clone(), count.as_u64().unwrap_or(0)))
                .collect(),
        }
    }

    /// How many were dropped for this reason.
    pub fn drop(&self, reason: &str) -> u64 {
        self.drops.get(reason).copied().unwrap_or(0)
    }

    /// How many were dropped for any reason.
    pub fn dropped(&self) -> u64 {
        self.drops.values().sum()
    }

    /// The reasons that moved since `before`, with by how much.
    pub fn moved_since(&self, before: &Stats) -> BTreeMap<String, u64> {
        let moved = self.drops.iter().map(|(reason, count)| (reason.clone(), count - before.drop(reason)));
        moved.filter(|(_, by)| *by > 0).collect()
    }
}
