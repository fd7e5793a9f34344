//! The log: what the process says about itself, to whom, and in how many words.
//!
//! Three forms: text on standard error for people, JSON on standard error (an object a line) for collectors, and the
//! journal's own protocol, which keeps fields apart. How much is said is a filter of `tracing`: a level (`error`, `warn`,
//! `info`, `debug`, `trace`), and levels for parts of the program (`info,weft::underlay=debug`). The level of a running
//! daemon can be changed, the form cannot. `-v` beats the configuration, which beats `RUST_LOG`, which beats `info`.
//!
//! Nothing here is on the packet path: packets are counted, not logged.

use std::io;
use std::str::FromStr;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::error::{Code, Explain};

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Lines on standard error, for people.
    #[default]
    Text,
    /// An object a line on standard error.
    Json,
    /// To systemd's journal, fields apart.
    Journald,
}

/// A word that is no [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a log format")]
pub struct NotAFormat;

impl FromStr for Format {
    type Err = NotAFormat;

    fn from_str(text: &str) -> Result<Self, NotAFormat> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "journald" => Ok(Self::Journald),
            _ => Err(NotAFormat),
        }
    }
}

/// What the configuration says about the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// How it is written.
    pub format: Format,
    /// How much is said; a legal filter.
    pub level: Option<String>,
}

/// Whether `text` is a filter: a level, or levels of parts of the program.
#[must_use]
pub fn is_level(text: &str) -> bool {
    // `tracing` takes any single word for the name of a part.
    let named = ["off", "error", "warn", "info", "debug", "trace"];
    let whole = |word: &str| word.contains('=') || named.contains(&word);
    !text.is_empty() && text.split(',').all(whole) && EnvFilter::try_new(text).is_ok()
}

/// Starts the log of a command: on standard error, and only when something is odd.
pub fn start_for_command(verbose: bool, color: bool) {
    let usual = if verbose { VERBOSE } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let text = fmt::layer().with_writer(io::stderr).with_ansi(color).with_target(verbose);
    tracing_subscriber::registry().with(filter).with(text).init();
}

/// What `-v` says.
const VERBOSE: &str = "info,weft=debug,weft_dataplane=debug";

/// The log of a daemon.
#[derive(Clone, Debug)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    verbose: bool,
}

impl Log {
    /// Starts the log of this process.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn start(config: &LogConfig, verbose: bool, color: bool) -> Result<Self, LogError> {
        let (filter, handle) = reload::Layer::new(filter(config.level.as_deref(), verbose));
        let layer: Box<dyn Layer<_> + Send + Sync> = match config.format {
            Format::Text => {
                fmt::layer().with_writer(io::stderr).with_ansi(color).with_target(verbose).boxed()
            }
            Format::Json => fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed(),
            Format::Journald => tracing_journald::layer()
                .map_err(LogError::NoJournal)?
                .with_syslog_identifier("weft".into())
                .boxed(),
        };
        let started = tracing_subscriber::registry().with(filter).with(layer).try_init();
        started.map_err(|_| LogError::Started)?;
        Ok(Self { filter: handle, verbose })
    }

    /// Says as much as `level` allows from now on.
    pub fn set_level(&self, level: Option<&str>) {
        // Fails only when the subscriber is gone, and then nothing is said any more.
        let _ = self.filter.reload(filter(level, self.verbose));
    }
}

/// `-v`, or the configured level, or `RUST_LOG`, or `info`.
fn filter(level: Option<&str>, verbose: bool) -> EnvFilter {
    match level {
        _ if verbose => EnvFilter::new(VERBOSE),
        Some(level) => EnvFilter::new(level),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Nobody listens at the journal's socket.
    #[error("log.format = journald: cannot reach the journal: {0}")]
    NoJournal(io::Error),
    /// The process has one already.
    #[error("this process has a log already")]
    Started,
}

impl Explain for LogError {
    fn code(&self) -> Code {
        Code::Failed
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::NoJournal(_) => Some("use text or json where there is no systemd".into()),
            Self::Started => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_levels_are_words() {
        for (word, format) in [("text", Format::Text), ("json", Format::Json), ("journald", Format::Journald)]
        {
            assert_eq!(word.parse(), Ok(format));
        }
        assert_eq!("JSON".parse::<Format>(), Err(NotAFormat));
        for level in ["off", "debug", "info,weft=trace", "warn,weft::underlay=debug", "weft[{port}]=info"] {
            assert!(is_level(level), "{level}");
        }
        for bad in ["", "loud", "info,", "weft=loud", "info weft", "weft[=debug"] {
            assert!(!is_level(bad), "{bad}");
        }
    }
}
