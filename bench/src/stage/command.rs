//! Programs of the system, with a time limit.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::LabError;

/// How long an ordinary command may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// How long an installation may take.
const INSTALL: Duration = Duration::from_secs(600);

/// Runs a program to its end and returns what it wrote.
///
/// # Errors
/// [`LabError::Command`] with the last line it said when it fails, is not there or takes too long.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<String, LabError> {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C");
    finish(command, LIMIT)
}

/// Runs a prepared command like [`run`].
///
/// # Errors
/// As [`run`].
pub(crate) fn finish(mut command: Command, limit: Duration) -> Result<String, LabError> {
    let line = line_of(&command);
    let failed = |said: String| LabError::Command { line: line.clone(), said };
    // In a group of its own, Ctrl-C leaves it alone: half of what is run here cleans up.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let (send, receive) = mpsc::channel();
    thread::spawn(move || send.send(child.wait_with_output()));
    let output = receive.recv_timeout(limit).map_err(|_| {
        // The thread has not reaped it yet, so the id is still its own.
        let _ = kill(pid, Signal::SIGKILL);
        failed(format!("no end after {} s", limit.as_secs()))
    })?;
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(failed(last_line(&said).unwrap_or_else(|| output.status.to_string())))
}

/// The last line with something on it.
pub(crate) fn last_line(text: &str) -> Option<String> {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// Whether a program can be found.
pub(crate) fn exists(program: &str) -> bool {
    find(program).is_some()
}

/// Where a program is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// Makes sure that a program is there, by installing its Debian package when that is allowed.
///
/// # Errors
/// [`LabError::Missing`] when it is not and may not be installed, [`LabError::Command`] when that fails.
pub(crate) fn require(program: &'static str, package: &'static str, install: bool) -> Result<(), LabError> {
    if exists(program) {
        return Ok(());
    }
    if !install || !exists("apt-get") {
        return Err(LabError::Missing { program, package });
    }
    eprintln!("installing {package}");
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        // RUNLEVEL=1: services the package brings are not started; the lab runs its own.
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        finish(command, INSTALL)
    };
    apt(&["update", "-q"])?;
    apt(&["install", "-qy", "--no-install-recommends", package]).map(drop)
}

/// Reads a file that may not be there, without the white space around its text.
pub(crate) fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_says_why() {
        assert_eq!(run("echo", &["a b"]).unwrap(), "a b\n");
        let error = run("sh", &["-c", "echo first >&2; echo reason >&2; echo >&2; exit 3"]).unwrap_err();
        assert!(error.to_string().ends_with("failed: reason"), "{error}");
        assert!(run("no-such-program-anywhere", &[]).is_err());
    }

    #[test]
    fn a_command_that_does_not_end_is_ended() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let error = finish(command, Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("sleep 60"), "{error}");
    }

    #[test]
    fn what_is_missing_names_its_package() {
        assert!(exists("sh"));
        let error = require("no-such-program-anywhere", "the-package", false).unwrap_err();
        assert!(error.to_string().contains("apt-get install the-package"), "{error}");
    }
}
