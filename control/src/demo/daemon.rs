//! Real daemons: our own executable, started inside a host's namespace.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::control::Control;
use super::error::DemoError;
use super::lab::Host;
use crate::sandbox::{Netns, NetnsId};

/// How long a daemon may take to become ready.
const READY: Duration = Duration::from_secs(20);
/// How often it is asked.
const POLL: Duration = Duration::from_millis(20);
/// How long it may take to end on SIGTERM before it gets SIGKILL.
const GRACE: Duration = Duration::from_secs(8);
/// What the one that serves Docker's plugin is told besides: it has no business with monitoring.
const PLUGIN: &str = "[docker]\nplugin = true\n\n[metrics]\nlisten = \"off\"\n";
/// How much of a failed daemon's log is shown; its last error is among so many lines.
const LAST_LINES: usize = 2;

/// One daemon. Dropping it kills it; [`Daemon::stop`] is the kinder way.
pub(super) struct Daemon {
    host: &'static str,
    /// The namespace that is all its own; `None` where others are, too.
    netns: Option<NetnsId>,
    child: Child,
    config: PathBuf,
    log: PathBuf,
    /// The way to talk to it.
    pub(super) control: Control,
}

impl Daemon {
    /// Starts a daemon on `host` with its own configuration and directories below `directory`.
    pub(super) fn start(host: &Host, directory: &Path, vteps: &[Ipv4Addr]) -> Result<Self, DemoError> {
        let netns = host.netns.netns();
        let daemon = Self::start_in(netns, host.label, directory, &underlay(host, vteps))?;
        Ok(Self { netns: Some(netns.id()), ..daemon })
    }

    /// Starts a daemon on this very machine, that serves the plugin of Docker and nobody else.
    pub(super) fn start_here(label: &'static str, directory: &Path) -> Result<Self, DemoError> {
        Self::start_in(&Netns::current()?, label, directory, PLUGIN)
    }

    fn start_in(
        netns: &Netns,
        host: &'static str,
        directory: &Path,
        settings: &str,
    ) -> Result<Self, DemoError> {
        let home = directory.join(host);
        let (config, log) = (home.join("config.toml"), home.join("log"));
        std::fs::create_dir(&home).map_err(DemoError::io(format!("make {}", home.display())))?;
        std::fs::write(&config, configuration(host, &home) + settings)
            .map_err(DemoError::io(format!("write {}", config.display())))?;
        let child = spawn(netns, &config, &log)?;
        let control = Control::new(host, home.join("weft.sock"));
        Ok(Self { host, netns: None, child, config, log, control })
    }

    /// Kills it without a word, and starts another one on the same files, which is `host`'s.
    ///
    /// # Errors
    /// [`DemoError`] when the next one does not become ready.
    pub(super) async fn replace(&mut self, host: &Host) -> Result<(), DemoError> {
        self.child.kill().await.map_err(DemoError::io("kill a daemon"))?;
        self.child = spawn(host.netns.netns(), &self.config, &self.log)?;
        self.ready().await
    }

    /// Kills its packet process, and waits until it has another one.
    ///
    /// # Errors
    /// [`DemoError`] when there is none to kill, or no other in time.
    pub(super) async fn lose_packet_process(&mut self) -> Result<(), DemoError> {
        let former = self.control.packet_process().await?;
        let killed = former.pid.ok_or(Errno::SRCH).and_then(|pid| kill_process(pid, Signal::KILL));
        killed.map_err(|errno| DemoError::io("kill a packet process")(errno.into()))?;
        let deadline = Instant::now() + READY;
        while self.control.packet_process().await?.before == former.before {
            self.go_on_waiting(deadline).await?;
        }
        self.ready().await
    }

    /// Waits until it says that it is ready.
    pub(super) async fn ready(&mut self) -> Result<(), DemoError> {
        let deadline = Instant::now() + READY;
        while !self.control.is_ready().await {
            self.go_on_waiting(deadline).await?;
        }
        Ok(())
    }

    async fn go_on_waiting(&mut self, deadline: Instant) -> Result<(), DemoError> {
        self.is_alive()?;
        if Instant::now() > deadline {
            let log = self.last_words();
            return Err(DemoError::DaemonNotReady { host: self.host, seconds: READY.as_secs(), log });
        }
        sleep(POLL).await;
        Ok(())
    }

    /// Makes sure that it has not ended by itself.
    ///
    /// # Errors
    /// [`DemoError::DaemonEnded`], with the end of its log.
    pub(super) fn is_alive(&mut self) -> Result<(), DemoError> {
        match self.child.try_wait().map_err(DemoError::io("wait for a daemon"))? {
            Some(status) => Err(DemoError::DaemonEnded { host: self.host, status, log: self.last_words() }),
            None => Ok(()),
        }
    }

    /// Asks it to end, waits, and insists. Also ends what it may have left running. Bounded.
    ///
    /// # Errors
    /// [`DemoError::LeftBehind`] when asking was not enough; nothing is left even then.
    pub(super) async fn stop(mut self) -> Result<(), DemoError> {
        let packet = timeout(GRACE, self.control.packet_process()).await;
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // ESRCH only: it has ended by itself, which the wait below finds out.
            let _ = kill_process(pid, Signal::TERM);
        }
        let willing = matches!(timeout(GRACE, self.child.wait()).await, Ok(Ok(_)));
        if !willing {
            self.child.kill().await.map_err(DemoError::io("kill a daemon"))?;
        }
        let orphans = match self.netns {
            Some(netns) => kill_own(processes().into_iter().filter(|pid| is_in(netns, *pid))).await,
            None => kill_own(packet.ok().and_then(Result::ok).and_then(|packet| packet.pid)).await,
        };
        match (willing, orphans) {
            (true, 0) => Ok(()),
            (true, n) => {
                let what =
                    format!("the daemon on host {} left {n} processes running; they were killed", self.host);
                Err(DemoError::LeftBehind(what))
            }
            (false, _) => {
                let seconds = GRACE.as_secs();
                let what =
                    format!("the daemon on host {} did not end within {seconds} s and was killed", self.host);
                Err(DemoError::LeftBehind(what))
            }
        }
    }

    /// The end of its log, on one line.
    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let mut lines: Vec<_> = log.lines().rev().take(LAST_LINES).map(str::trim).collect();
        lines.reverse();
        let words = lines.join(" | ");
        if words.is_empty() { "none".into() } else { words }
    }
}

/// Starts the executable in `netns`; what it says is added to the file `log`.
fn spawn(netns: &Netns, config: &Path, log: &Path) -> Result<Child, DemoError> {
    let file = std::fs::File::options().create(true).append(true).open(log);
    let file = file.map_err(DemoError::io(format!("write {}", log.display())))?;
    let mut command = command(config, file)?;
    // A process starts in the namespace of the thread that starts it.
    let runtime = tokio::runtime::Handle::current();
    let child = netns.run(|| {
        let _inside = runtime.enter();
        command.spawn()
    })?;
    child.map_err(DemoError::io("start `weft daemon`"))
}

/// What every daemon is told.
fn configuration(label: &str, home: &Path) -> String {
    let home = home.display();
    format!("node = \"demo-{label}\"\nstate_dir = \"{home}/state\"\nrun_dir = \"{home}\"\n\n")
}

/// What one with peers is told besides.
fn underlay(host: &Host, vteps: &[Ipv4Addr]) -> String {
    let vtep = host.vtep;
    let mut text = format!("[docker]\nplugin = false\n\n[underlay]\naddress = \"{vtep}\"\n");
    for peer in vteps.iter().filter(|&&peer| peer != vtep) {
        let _ = write!(text, "\n[[peer]]\naddress = \"{peer}\"\n");
    }
    text
}

/// The environment is emptied, because `WEFT_*` variables overrule the file; the process group is its own, because
/// Ctrl-C is for us, and we say when a daemon ends.
fn command(config: &Path, log: std::fs::File) -> Result<Command, DemoError> {
    let executable = std::env::current_exe().map_err(DemoError::io("find our own executable"))?;
    let mut command = Command::new(executable);
    command.arg("daemon").arg("--config").arg(config);
    command.env_clear().envs(std::env::vars_os().filter(|(key, _)| key == "RUST_LOG" || key == "PATH"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0).kill_on_drop(true);
    Ok(command)
}

fn is_in(netns: NetnsId, pid: Pid) -> bool {
    Netns::open(proc(pid).join("ns/net")).is_ok_and(|its| its.id() == netns)
}

fn proc(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()))
}

/// Kills those of some processes that are of this executable, and returns how many there were. A packet process outlives a
/// daemon that was killed, and has no other parent to end it.
async fn kill_own(pids: impl IntoIterator<Item = Pid>) -> usize {
    let own = std::fs::read_link("/proc/self/exe").ok();
    let mut killed = 0;
    for pid in pids {
        let proc = proc(pid);
        let is_ours = own.is_some() && std::fs::read_link(proc.join("exe")).ok() == own;
        if is_ours && kill_process(pid, Signal::KILL).is_ok() {
            killed += 1;
            wait_until_gone(&proc).await;
        }
    }
    killed
}

async fn wait_until_gone(proc: &Path) {
    let deadline = Instant::now() + GRACE;
    while std::fs::read_link(proc.join("exe")).is_ok() && Instant::now() < deadline {
        sleep(POLL).await;
    }
}

fn processes() -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}
