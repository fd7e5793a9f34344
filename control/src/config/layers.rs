//! The three places where configuration is written.

use std::io::Read;
use std::path::Path;

use super::file::{ConfigFile, Settings};
use super::{ConfigError, DEFAULT_FILE, Place};
use crate::error::one_line;

/// The largest configuration file, in bytes: room for every peer there can be.
pub const FILE_MAX: u64 = 1 << 20;

/// The environment variables that set a key, and the key.
pub const ENVIRONMENT: [(&str, &str); 13] = [
    ("WEFT_NODE", "node"),
    ("WEFT_STATE_DIR", "state_dir"),
    ("WEFT_RUN_DIR", "run_dir"),
    ("WEFT_UNDERLAY_ADDRESS", "underlay.address"),
    ("WEFT_UNDERLAY_PORT", "underlay.port"),
    ("WEFT_UNDERLAY_MODE", "underlay.mode"),
    ("WEFT_UPLINK_INTERFACE", "uplink.interface"),
    ("WEFT_DATAPLANE_WORKERS", "dataplane.workers"),
    ("WEFT_STORE_URL", "store.url"),
    ("WEFT_METRICS_LISTEN", "metrics.listen"),
    ("WEFT_LOG_FORMAT", "log.format"),
    ("WEFT_LOG_LEVEL", "log.level"),
    ("WEFT_DOCKER_PLUGIN", "docker.plugin"),
];

/// Reads the named file, or the default one if it is there.
pub(super) fn from_file(named: Option<&Path>) -> Result<Settings, ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return named
                .map_or(Ok(Settings::default()), |path| Err(ConfigError::NoFile { path: path.into() }));
        }
        other => other.map_err(|source| ConfigError::Unreadable { path: path.into(), source })?,
    };
    if text.len() as u64 > FILE_MAX {
        return Err(ConfigError::TooLarge { path: path.into() });
    }
    parse(&text, |offset| Place::File { path: path.into(), line: line_of(&text, offset) })
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads the `WEFT_*` variables that `lookup` has; an empty one counts as unset.
pub(super) fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    for (variable, key) in ENVIRONMENT {
        if let Some(value) = lookup(variable).filter(|value| !value.is_empty()) {
            settings.fill_from(assign(key, &value, &Place::Variable(variable))?);
        }
    }
    Ok(settings)
}

/// Reads the `--set` flags; of two with one key the later wins.
pub(super) fn from_flags(set: &[String]) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    for text in set.iter().rev() {
        let bad = || ConfigError::BadSet { text: text.clone() };
        let (key, value) = text.split_once('=').ok_or_else(bad)?;
        let (key, value) = (key.trim(), value.trim());
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.');
        if key.is_empty() || !key.bytes().all(legal) {
            return Err(bad());
        }
        settings.fill_from(assign(key, value, &Place::Flag(text.clone()))?);
    }
    Ok(settings)
}

/// One dotted key and its value. The value may be TOML (`4789`, `"10.9.0.1"`, `[{address="10.9.0.2"}]`) or bare text.
fn assign(key: &str, value: &str, place: &Place) -> Result<Settings, ConfigError> {
    let literal = format!("{key} = {value}");
    let bare = format!("{key} = {}", toml::Value::String(value.to_owned()));
    let is_toml = !value.contains('\n') && toml::from_str::<toml::Table>(&literal).is_ok();
    let read = |text: &str| parse(text, |_| place.clone());
    match (is_toml, read(&bare)) {
        (true, bare) => read(&literal).or_else(|error| bare.map_err(|_| error)),
        (false, bare) => bare,
    }
}

fn parse(text: &str, place: impl Fn(usize) -> Place) -> Result<Settings, ConfigError> {
    match toml::from_str::<ConfigFile>(text) {
        Ok(file) => Ok(file.locate(place)),
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            Err(ConfigError::Grammar { place: place(offset), what: one_line(error.message()) })
        }
    }
}

/// The line, from 1, of a byte of `text`.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&b| b == b'\n').count()
}
