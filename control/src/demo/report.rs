//! What the spectator sees: a line for each part while it works, and a table at the end.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How one part went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Skipped,
    Failed,
}

impl Outcome {
    fn mark(self) -> &'static str {
        match self {
            Self::Passed => "✓",
            Self::Skipped => "-",
            Self::Failed => "✗",
        }
    }

    /// The ANSI colour: green, yellow, red.
    fn colour(self) -> u8 {
        match self {
            Self::Passed => 32,
            Self::Skipped => 33,
            Self::Failed => 31,
        }
    }
}

/// One finished part.
#[derive(Clone, Debug)]
struct Part {
    title: String,
    outcome: Outcome,
    detail: String,
}

/// The counters of one host's switch.
#[derive(Clone, Debug)]
pub(super) struct HostCounters {
    pub(super) host: &'static str,
    pub(super) mode: String,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) drops: BTreeMap<String, u64>,
}

/// Progress goes to stderr as it happens, the summary to stdout at the end.
pub(super) struct Report {
    parts: Vec<Part>,
    counters: Vec<HostCounters>,
    running: Option<String>,
    live: bool,
    talk_colour: bool,
    table_colour: bool,
    /// Whether stdout is the screen on which the progress is seen.
    seen: bool,
}

/// The width of the title column.
const TITLE: usize = 28;

impl Report {
    /// `colour` overrules what terminals and `NO_COLOR` say.
    pub(super) fn new(colour: Option<bool>) -> Self {
        let wanted = |terminal: bool| {
            let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            colour.unwrap_or(terminal && !refused)
        };
        let live = std::io::stderr().is_terminal();
        Self {
            parts: Vec::new(),
            counters: Vec::new(),
            running: None,
            live,
            talk_colour: wanted(live),
            table_colour: wanted(std::io::stdout().is_terminal()),
            seen: live && std::io::stdout().is_terminal(),
        }
    }

    /// Says that a part begins. One that is never ended gives way to the next without a trace.
    pub(super) fn begin(&mut self, title: impl Into<String>) {
        let title = title.into();
        if self.live {
            eprint!("\r\x1b[K  · {title} ...");
            // A progress line that is not shown is no reason to stop.
            let _ = std::io::stderr().flush();
        }
        self.running = Some(title);
    }

    /// Says how the part that was begun last has ended.
    pub(super) fn end(&mut self, outcome: Outcome, detail: impl Into<String>) {
        let Some(title) = self.running.take() else { return };
        let part = Part { title, outcome, detail: detail.into() };
        let clear = if self.live { "\r\x1b[K" } else { "" };
        eprintln!("{clear}  {}", line(&part, self.talk_colour));
        self.parts.push(part);
    }

    /// Begins nothing, ends nothing: one line of talk.
    pub(super) fn say(&self, text: &str) {
        let clear = if self.live { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{text}");
    }

    /// Keeps a host's counters for the summary.
    pub(super) fn counters(&mut self, counters: HostCounters) {
        self.counters.push(counters);
    }

    /// Whether nothing has failed so far.
    pub(super) fn all_passed(&self) -> bool {
        self.parts.iter().all(|part| part.outcome != Outcome::Failed)
    }

    /// The summary on stdout. It repeats the parts, unless that is the screen on which they were just seen.
    pub(super) fn print_summary(&self, elapsed: Duration) {
        // Whoever closed stdout does not want the summary.
        let _ = std::io::stdout().write_all(self.summary(elapsed).as_bytes());
    }

    fn summary(&self, elapsed: Duration) -> String {
        let mut lines = Vec::new();
        if !self.seen {
            lines.extend(self.parts.iter().map(|part| line(part, self.table_colour)));
            lines.push(String::new());
        }
        if !self.counters.is_empty() {
            lines.push(format!(
                "{:<6}{:<13}{:>12}{:>12}  drops by reason",
                "host", "underlay", "packets", "MB"
            ));
            lines.extend(self.counters.iter().map(counter_line));
            lines.push(String::new());
        }
        let count = |outcome| self.parts.iter().filter(|part| part.outcome == outcome).count();
        let (passed, skipped, failed) =
            (count(Outcome::Passed), count(Outcome::Skipped), count(Outcome::Failed));
        let verdict = if failed == 0 { Outcome::Passed } else { Outcome::Failed };
        let words = format!("{passed} parts worked, {skipped} skipped, {failed} failed");
        lines.push(format!(
            "{} in {:.1} s",
            paint(&words, verdict, self.table_colour),
            elapsed.as_secs_f64()
        ));
        let indented =
            lines.iter().map(|line| if line.is_empty() { "\n".into() } else { format!("  {line}\n") });
        std::iter::once("\n".to_owned()).chain(indented).collect()
    }
}

fn counter_line(host: &HostCounters) -> String {
    let HostCounters { host, mode, packets, bytes, drops } = host;
    let megabytes = *bytes as f64 / 1e6;
    let some: Vec<_> = drops.iter().filter(|(_, n)| **n > 0).map(|(why, n)| format!("{why} {n}")).collect();
    let drops = if some.is_empty() { "none".into() } else { some.join(", ") };
    format!("{host:<6}{mode:<13}{packets:>12}{megabytes:>12.1}  {drops}")
}

fn line(part: &Part, colour: bool) -> String {
    let mark = paint(part.outcome.mark(), part.outcome, colour);
    format!("{mark} {:<TITLE$}{}", part.title, part.detail)
}

fn paint(text: &str, outcome: Outcome, colour: bool) -> String {
    if colour { format!("\x1b[{}m{text}\x1b[0m", outcome.colour()) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(colour: bool) -> Report {
        let mut report = Report { seen: false, ..Report::new(Some(colour)) };
        report.begin("ping");
        report.end(Outcome::Passed, "20 of 20");
        report.begin("kernel vxlan");
        report.end(Outcome::Skipped, "no such device here");
        report
    }

    #[test]
    fn the_summary_lines_up_and_counts() {
        let mut report = report(false);
        report.counters(HostCounters {
            host: "a",
            mode: "udp-gso".into(),
            packets: 1234,
            bytes: 5_600_000,
            drops: BTreeMap::from([("unknown_vni".to_owned(), 2), ("storm".to_owned(), 0)]),
        });
        let text = report.summary(Duration::from_millis(1500));
        assert_eq!(
            text,
            "\n  ✓ ping                        20 of 20\
             \n  - kernel vxlan                no such device here\
             \n\n  host  underlay          packets          MB  drops by reason\
             \n  a     udp-gso              1234         5.6  unknown_vni 2\
             \n\n  1 parts worked, 1 skipped, 0 failed in 1.5 s\n"
        );
        assert!(report.all_passed());
    }

    #[test]
    fn a_failure_shows_in_the_verdict() {
        let mut report = report(false);
        report.begin("bulk");
        report.end(Outcome::Failed, "it stalled");
        assert!(!report.all_passed());
        assert!(report.summary(Duration::ZERO).contains("✗ bulk"));
    }

    #[test]
    fn colour_only_where_it_is_wanted() {
        assert!(!report(false).summary(Duration::ZERO).contains('\x1b'));
        assert!(report(true).summary(Duration::ZERO).contains("\x1b[32m✓\x1b[0m ping"));
    }
}
