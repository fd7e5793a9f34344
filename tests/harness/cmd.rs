//! Commands with a time limit: nothing the tests start may outlive its welcome.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long an ordinary command may take on a machine that is busy with other tests.
pub const LIMIT: Duration = Duration::from_secs(30);

/// What a command left behind.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The command as it was given, for messages.
    pub command: String,
    /// Exit code; `None` when a signal (the time limit among them) ended it.
    pub code: Option<i32>,
    /// Everything it wrote on standard output.
    pub stdout: String,
    /// Everything it wrote on standard error.
    pub stderr: String,
}

impl Outcome {
    /// True when the command exited with 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output of a command that has to succeed.
    ///
    /// # Panics
    /// With the command and its standard error when it failed.
    #[track_caller]
    pub fn must(self) -> String {
        assert!(self.ok(), "`{}` ended with {:?}\n{}{}", self.command, self.code, self.stdout, self.stderr);
        self.stdout
    }
}

/// Runs a command to its end, within [`LIMIT`].
#[track_caller]
pub fn run(program: &str, args: &[&str]) -> Outcome {
    run_within(LIMIT, program, args)
}

/// Runs a command to its end; one that exceeds `limit` is killed and has no exit code.
///
/// # Panics
/// When the command cannot be started.
#[track_caller]
pub fn run_within(limit: Duration, program: &str, args: &[&str]) -> Outcome {
    let mut command = Command::new(program);
    command.args(args);
    finish_within(limit, command)
}

/// Runs a prepared command to its end; one that exceeds `limit` is killed and has no exit code.
///
/// # Panics
/// When the command cannot be started.
#[track_caller]
pub fn finish_within(limit: Duration, mut command: Command) -> Outcome {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let line = words.join(" ");
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start `{line}`: {error}"));
    let pid = Pid::from_raw(child.id() as i32);
    let (send, receive) = mpsc::channel();
    thread::spawn(move || send.send(child.wait_with_output()));
    let output = match receive.recv_timeout(limit) {
        Ok(output) => output,
        Err(_) => {
            // The reaping thread still holds the child, so the id cannot have been given to another process.
            let _ = kill(pid, Signal::SIGKILL);
            receive.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("`{line}` does not die"))
        }
    };
    let output = output.unwrap_or_else(|error| panic!("cannot read from `{line}`: {error}"));
    Outcome {
        command: line,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
