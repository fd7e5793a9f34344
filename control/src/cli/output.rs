//! Writing data to standard output.

use std::io::{self, Write};

use serde::Serialize;

use super::CliError;
use super::args::Format;

/// Writes `value` as JSON, or as what `table` makes of it.
pub(super) fn print<T: Serialize>(
    format: Format,
    value: &T,
    table: impl FnOnce(&T) -> String,
) -> Result<(), CliError> {
    match format {
        Format::Json => json(value),
        Format::Table => text(&table(value)),
    }
}

/// Writes `value` as indented JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| CliError::Output(error.into()))?;
    text.push('\n');
    self::text(&text)
}

/// Writes one line.
pub(super) fn line(line: &str) -> Result<(), CliError> {
    text(&format!("{line}\n"))
}

/// Writes text as it is.
pub(super) fn text(text: &str) -> Result<(), CliError> {
    bytes(text.as_bytes())
}

/// Writes bytes as they are, at once.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(CliError::Output)
}
