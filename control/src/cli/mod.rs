//! The command line: a client of the API, and the door to `weft daemon`, `weft demo` and the CNI plugin.
//!
//! Data goes to standard output, talk to standard error; an error is one line that says what was wrong, with the value,
//! and what to do. Exit codes follow [`crate::error::Code`]. A reader that closes our output early (`| head`) has what it
//! wanted: that is a success.

mod args;
mod docker;
mod network;
mod output;
mod run;
mod table;
mod values;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Cli, ColorChoice, Command, Global};

use crate::api::ClientError;
use crate::config::ConfigError;
use crate::daemon::DaemonError;
use crate::driver::cni;
use crate::driver::docker::InstallError;
use crate::error::{Code, Explain, Problem, one_line};
use crate::log::{self, LogError};
use crate::packet::PacketError;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    // Before anything else is looked at: a runtime waits for every start.
    if cni::is_called() {
        return cni::main();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse_arguments(&error),
    };
    let color = cli.global.wants_color();
    if !matches!(cli.command, Command::Daemon(_)) {
        log::start_for_command(cli.global.verbose, color);
    }
    match run::run(cli) {
        Ok(code) => code,
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => complain(&Problem::from(error), color).into(),
    }
}

/// The last line of a command that failed; gives the exit code.
fn complain(problem: &Problem, color: bool) -> u8 {
    let name = if color { "\x1b[1;31mweft:\x1b[0m" } else { "weft:" };
    // Without standard error there is nobody to tell.
    let _ = writeln!(io::stderr(), "{name} {problem}");
    problem.code.exit()
}

/// A question, to be answered on the same line.
fn prompt(text: &str) {
    // Nothing is done without an answer, so a question that is not seen does no harm.
    let _ = write!(io::stderr(), "{text}");
}

/// Something worth knowing about a command that worked.
fn remark(text: &str) {
    // Without standard error there is nobody to tell.
    let _ = writeln!(io::stderr(), "weft: {text}");
}

/// Help and version as clap has them; everything else in one line.
fn refuse_arguments(error: &clap::Error) -> ExitCode {
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if is_help {
        // A closed pipe is no error here either.
        let _ = error.print();
        return if error.use_stderr() {
            ExitCode::from(Code::InvalidArgument.exit())
        } else {
            ExitCode::SUCCESS
        };
    }
    let text = error.render().to_string();
    let parts = text.trim_start_matches("error: ").split("\n\n");
    let telling =
        parts.filter(|part| !part.starts_with("Usage:") && !part.starts_with("For more information"));
    let message = telling.map(one_line).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    let remedy = Some("try --help".to_owned());
    complain(&Problem { code: Code::InvalidArgument, message, remedy }, false).into()
}

impl Global {
    /// Whether standard error may be coloured.
    fn wants_color(&self) -> bool {
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            }
        }
    }

    /// What `--color` leaves to others to decide: `None` for `auto`.
    fn forced_color(&self) -> Option<bool> {
        match self.color {
            ColorChoice::Auto => None,
            ColorChoice::Always => Some(true),
            ColorChoice::Never => Some(false),
        }
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Packet(PacketError),
    #[error("{0:#}")]
    Demo(anyhow::Error),
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    #[error("cannot write {path}: {source}")]
    File { path: String, source: io::Error },
    #[error("cannot read the answer: {0}")]
    Input(io::Error),
    #[error("this asks before it removes, and standard input is no terminal")]
    NobodyToAsk,
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    #[error("cannot find the path of '{path}': {source}")]
    Path { path: String, source: io::Error },
}

impl Explain for CliError {
    fn code(&self) -> Code {
        match self {
            Self::Client(error) => error.code(),
            Self::Config(error) => error.code(),
            Self::Daemon(error) => error.code(),
            Self::Path { .. } | Self::NobodyToAsk | Self::Packet(PacketError::NotStarted) => {
                Code::InvalidArgument
            }
            Self::Log(error) => error.code(),
            Self::Install(error) => error.code(),
            _ => Code::Failed,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Client(error) => error.remedy(),
            Self::Config(error) => error.remedy(),
            Self::Daemon(error) => error.remedy(),
            Self::File { .. } => Some("choose another file, or '-' for standard output".into()),
            Self::Path { .. } => Some("give one such as /run/netns/c1".into()),
            Self::NobodyToAsk => Some("add --force".into()),
            Self::Log(error) => error.remedy(),
            Self::Install(error) => error.remedy(),
            Self::Packet(_) | Self::Input(_) | Self::Demo(_) | Self::Output(_) | Self::Runtime(_) => None,
        }
    }
}
