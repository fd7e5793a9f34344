//! Weft: a real daemon, met through its executable, configuration file and command line.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use super::command::finish;
use super::contender::Mode;
use super::daemon::{Daemon, directory, text};
use super::docker::Machine;
use super::underlay::Host;
use super::{Container, VNI};
use crate::error::LabError;

/// How long a command of its command line may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The network's name.
const NETWORK: &str = "bench";

/// A daemon on one host with one container.
#[derive(Debug)]
pub(super) struct Weft {
    daemon: Daemon,
    status: Status,
    command_line: CommandLine,
    /// Removed last.
    _directory: TempDir,
}

/// The command line of one daemon.
#[derive(Debug)]
struct CommandLine {
    executable: PathBuf,
    /// Its API socket.
    api: String,
}

impl CommandLine {
    fn run(&self, args: &[&str]) -> Result<String, LabError> {
        let mut command = Command::new(&self.executable);
        command.args(["-H", &self.api]).args(args).env_clear();
        finish(command, LIMIT).map_err(without_name)
    }
}

/// What is read of `weft status --format json`.
#[derive(Debug, Deserialize)]
struct Status {
    ready: bool,
    underlay_mode: Option<String>,
    underlay_reason: Option<String>,
    workers: usize,
    daemon_pid: u32,
    dataplane_pid: u32,
}

impl Weft {
    /// Starts a daemon on `host` and connects the container to an overlay.
    ///
    /// # Errors
    /// [`LabError::Refused`] when it does not offer the mode.
    pub(super) fn join(
        executable: &Path,
        mode: Mode,
        host: &Host,
        container: &Container,
        peer: Ipv4Addr,
    ) -> Result<Self, LabError> {
        let weft = Self::start(executable, host, &underlay(mode, host.address, peer))?;
        check_mode(mode, &weft.status)?;
        weft.connect(&["-d", "overlay", "--vni", &VNI.to_string()], "10.77.0.0/24", container, &[])?;
        Ok(weft)
    }

    /// Starts a daemon on `host` and connects the container to a bridge network, everything at its default. True when
    /// `port` of the container is published as the host's port of that number; an executable without `--publish` does not.
    pub(super) fn join_nat(
        executable: &Path,
        host: &Host,
        container: &Container,
        subnet: &str,
        port: u16,
    ) -> Result<(Self, bool), LabError> {
        let weft = Self::start(executable, host, "")?;
        let publishes = weft.command_line.run(&["network", "connect", "--help"])?.contains("--publish");
        let rule = format!("{port}:{port}");
        let publish: &[&str] = if publishes { &["--publish", &rule] } else { &[] };
        weft.connect(&["-d", "bridge"], subnet, container, publish)?;
        Ok((weft, publishes))
    }

    /// Starts a daemon on `host` that an engine on `machine` finds there as its plugin.
    ///
    /// # Errors
    /// Whatever keeps it from becoming ready.
    pub(super) fn serve_docker(
        executable: &Path,
        host: &Host,
        settings: &str,
        machine: &Machine,
    ) -> Result<Self, LabError> {
        Self::launch(executable, host, settings, machine.command(executable))
    }

    fn start(executable: &Path, host: &Host, settings: &str) -> Result<Self, LabError> {
        let mut command = Command::new(executable);
        command.env_clear().env("WEFT_DOCKER_PLUGIN", "false");
        Self::launch(executable, host, settings, command)
    }

    /// Starts the daemon that `command` becomes.
    fn launch(
        executable: &Path,
        host: &Host,
        settings: &str,
        mut command: Command,
    ) -> Result<Self, LabError> {
        let directory = directory()?;
        let (here, file) = (text(directory.path()), directory.path().join("config.toml"));
        let places = format!("state_dir = \"{here}/state\"\nrun_dir = \"{here}/run\"\n");
        let written = std::fs::write(&file, places + settings);
        written.map_err(LabError::io(format!("write {}", file.display())))?;
        command.arg("daemon").arg("--config").arg(&file);
        let mut daemon = Daemon::start(&host.ns, command, directory.path().join("log"))?;
        let api = format!("unix://{here}/run/weft.sock");
        let command_line = CommandLine { executable: executable.to_owned(), api };
        let status = || {
            let shown = command_line.run(&["status", "--format", "json"]).ok()?;
            serde_json::from_str::<Status>(&shown).ok().filter(|status| status.ready)
        };
        let status = daemon.ready("the daemon is ready", status).map_err(without_name)?;
        Ok(Self { daemon, status, command_line, _directory: directory })
    }

    fn connect(
        &self,
        network: &[&str],
        subnet: &str,
        container: &Container,
        more: &[&str],
    ) -> Result<(), LabError> {
        let create = ["network", "create", NETWORK, "--subnet", subnet];
        self.command_line.run(&[create.as_slice(), network].concat())?;
        let (path, address) = (container.ns.path(), container.address.to_string());
        let connect = ["network", "connect", NETWORK, &path, "--name", "c", "--ip", &address];
        self.command_line.run(&[connect.as_slice(), more].concat()).map(drop)
    }

    /// Its processes.
    pub(super) fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.daemon.pid(), self.status.daemon_pid, self.status.dataplane_pid];
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// What it says of itself.
    pub(super) fn note(&self) -> String {
        let mode = self.status.underlay_mode.as_deref().unwrap_or("no underlay");
        let reason = self.status.underlay_reason.as_deref().map(|reason| format!(" ({reason})"));
        let workers = self.status.workers;
        let s = if workers == 1 { "" } else { "s" };
        format!("{mode}{}, {workers} worker{s}", reason.unwrap_or_default())
    }
}

/// A daemon that was given a mode may choose a lesser one and say why.
fn check_mode(wanted: Mode, status: &Status) -> Result<(), LabError> {
    let got = status.underlay_mode.as_deref().unwrap_or("none");
    if wanted == Mode::Auto || got == wanted.name() {
        return Ok(());
    }
    let reason = status.underlay_reason.as_deref().unwrap_or("it gives no reason");
    Err(LabError::Refused(format!("it took {got} instead: {reason}")))
}

/// What Weft says begins with its own name, and the command line before it with the way to it.
fn without_name(error: LabError) -> LabError {
    let short = |said: String| said.strip_prefix("weft: ").map(str::to_owned).unwrap_or(said);
    match error {
        LabError::Refused(said) => LabError::Refused(short(said)),
        LabError::Command { line, said } => {
            let words: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
            LabError::Command { line: format!("weft {}", words.join(" ")), said: short(said) }
        }
        other => other,
    }
}

/// The part of the configuration that says how hosts reach each other.
pub(super) fn underlay(mode: Mode, address: Ipv4Addr, peer: Ipv4Addr) -> String {
    let mode = mode.name();
    format!("[underlay]\naddress = \"{address}\"\nmode = \"{mode}\"\n[[peer]]\naddress = \"{peer}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(mode: &str, reason: Option<&str>) -> Status {
        let reason = reason.map_or("null".into(), |reason| format!("\"{reason}\""));
        let text = format!(
            r#"{{"node":"a","ready":true,"underlay_mode":"{mode}","underlay_reason":{reason},"workers":1,
                "daemon_pid":5,"dataplane_pid":5}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_error_is_said_shortly() {
        let line = "/work/weft -H unix:///tmp/x/weft.sock network connect bench /run/netns/c1".into();
        let error = without_name(LabError::Command { line, said: "weft: the address is taken".into() });
        assert_eq!(error.to_string(), "`weft network connect` failed: the address is taken");
    }

    #[test]
    fn a_mode_that_is_not_in_effect_is_refused_with_its_reason() {
        assert!(check_mode(Mode::Udp, &status("udp", None)).is_ok());
        assert!(check_mode(Mode::Auto, &status("udp", None)).is_ok());
        let error = check_mode(Mode::TunnelGso, &status("udp-gso", Some("no uplink"))).unwrap_err();
        assert_eq!(error.to_string(), "it took udp-gso instead: no uplink");
    }
}
