//! Everything that can go wrong in the lab.

use std::io;

/// Why something could not be built or measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LabError {
    /// No privilege.
    #[error("needs root for namespaces and TAPs; run it with sudo")]
    NotRoot,
    /// A program is not there.
    #[error("`{program}` is not installed; apt-get install {package}, or add --install")]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// No `weft` to compare.
    #[error("no `weft` beside {beside}; cargo build --release --bin weft, or set WEFT_BIN")]
    NoWeft {
        /// The lab's own executable.
        beside: String,
    },
    /// A program failed.
    #[error("`{line}` failed: {said}")]
    Command {
        /// The command line.
        line: String,
        /// The last thing it said.
        said: String,
    },
    /// A system call failed.
    #[error("cannot {step}: {source}")]
    Io {
        /// What was being done.
        step: String,
        /// Why not.
        source: io::Error,
    },
    /// The contender itself declines; not a fault.
    #[error("{0}")]
    Refused(String),
    /// A condition did not come about.
    #[error("gave up after {seconds} s waiting until {what}")]
    TooLong {
        /// The condition.
        what: String,
        /// How long it was awaited.
        seconds: u64,
    },
    /// The program inside a container reports an error, or answers something else.
    #[error("traffic: {0}")]
    Traffic(String),
    /// A report that cannot be read back.
    #[error("{file} is not a report of this program: {source}")]
    BadReport {
        /// The file.
        file: String,
        /// Where it stops being one.
        source: serde_json::Error,
    },
    /// The user wants it to end.
    #[error("interrupted")]
    Interrupted,
}

impl LabError {
    /// For `map_err`: names the step that failed.
    pub(crate) fn io(step: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let step = step.into();
        move |source| Self::Io { step, source }
    }
}
