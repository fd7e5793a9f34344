//! How a failure reaches a person or a program.
//!
//! Every room has its own error enum; each of those explains itself through [`Explain`]: what kind of failure it is and
//! what to do about it. At the edge (the API answer, the last line of a command) the typed error becomes a [`Problem`],
//! which is plain text and has one JSON form: `{"code","message","remedy"}`. Nothing inside the program looks into a
//! `Problem` to decide anything but an exit code or an HTTP status.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of a failure; fixes the exit code of a command and the HTTP status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request itself is wrong: exit 2, HTTP 400.
    InvalidArgument,
    /// What the request names does not exist: exit 3, HTTP 404.
    NotFound,
    /// The request collides with what exists: exit 4, HTTP 409.
    Conflict,
    /// No daemon answers: exit 5; never sent by a daemon.
    Unreachable,
    /// The caller is not one who may ask: exit 1, HTTP 403.
    Forbidden,
    /// The request body exceeds its limit: exit 2, HTTP 413.
    TooLarge,
    /// The route exists, the method does not: exit 2, HTTP 405.
    MethodNotAllowed,
    /// Something was not done in its time: exit 1, HTTP 408.
    Timeout,
    /// The daemon has no room for more: exit 1, HTTP 503.
    Exhausted,
    /// Everything else: exit 1, HTTP 500.
    Failed,
}

impl Code {
    /// The exit code of a command that ends with this failure.
    #[must_use]
    pub const fn exit(self) -> u8 {
        match self {
            Self::Forbidden | Self::Timeout | Self::Exhausted | Self::Failed => 1,
            Self::InvalidArgument | Self::TooLarge | Self::MethodNotAllowed => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Unreachable => 5,
        }
    }

    /// The HTTP status of an answer that carries this failure.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InvalidArgument => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Exhausted | Self::Unreachable => 503,
            Self::Failed => 500,
        }
    }
}

/// An error that knows its kind and its cure.
pub trait Explain: std::error::Error {
    /// The kind of failure.
    fn code(&self) -> Code;

    /// What the reader can do about it, as an imperative phrase; `None` when the message says it all.
    fn remedy(&self) -> Option<String>;
}

/// A failure in words, as the API carries it and as commands print it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The kind of failure.
    pub code: Code,
    /// One line: what was wrong, with the value.
    pub message: String,
    /// One line: what to do.
    pub remedy: Option<String>,
}

impl<E: Explain> From<E> for Problem {
    fn from(error: E) -> Self {
        Self { code: error.code(), message: one_line(&error.to_string()), remedy: error.remedy() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.remedy {
            Some(remedy) => write!(f, "{}; {remedy}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// The longest line that [`one_line`] makes, in characters.
const LINE_MAX: usize = 1000;

/// Folds a message into one line that no terminal obeys: errors of libraries are not always as terse as ours, and values
/// that others gave us hold anything. Characters that control it or reorder what it shows are escaped, and of an endless line the middle is left out.
#[must_use]
pub fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let tame = |c: char| if obeyed(c) { c.escape_default().to_string() } else { c.to_string() };
    let line: String = words.chars().map(tame).collect();
    let length = line.chars().count();
    if length <= LINE_MAX {
        return line;
    }
    let head = line.chars().take(LINE_MAX / 2);
    let tail = line.chars().skip(length - LINE_MAX / 2 + 5);
    head.chain(" ... ".chars()).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no network named\n 'blue'")]
    struct Missing;

    impl Explain for Missing {
        fn code(&self) -> Code {
            Code::NotFound
        }

        fn remedy(&self) -> Option<String> {
            Some("see 'weft network ls'".into())
        }
    }

    #[test]
    fn a_typed_error_becomes_one_line_with_its_remedy() {
        let problem = Problem::from(Missing);
        assert_eq!(problem.to_string(), "no network named 'blue'; see 'weft network ls'");
        assert_eq!((problem.code.exit(), problem.code.http_status()), (3, 404));
    }

    #[test]
    fn hostile_values_do_not_reach_the_terminal() {
        assert_eq!(one_line("a\u{1b}[31mb\0\u{9b}c\r\nd"), "a\\u{1b}[31mb\\u{0}\\u{9b}c d");
        let long = one_line(&format!("head{}tail", "x".repeat(1 << 20)));
        assert_eq!(long.chars().count(), LINE_MAX);
        assert!(long.starts_with("headx") && long.contains("x ... x") && long.ends_with("xtail"));
        assert_eq!(one_line(&"é".repeat(LINE_MAX)).chars().count(), LINE_MAX);
    }

    #[test]
    fn the_json_form_has_three_keys() {
        let json = serde_json::to_value(Problem::from(Missing)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"code": "not_found", "message": "no network named 'blue'", "remedy": "see 'weft network ls'"})
        );
    }
}
