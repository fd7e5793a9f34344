//! What is seen on standard error while it works.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// On a terminal one line that is written over and over; elsewhere a line for each turn.
pub(super) struct Progress {
    terminal: bool,
    started: Instant,
    /// The estimate of everything, and of what is done.
    whole: Duration,
    done: Duration,
}

impl Progress {
    /// Says how long it may take.
    pub(super) fn new(estimate: Duration) -> Self {
        eprintln!("this will take about {}", span(estimate));
        let terminal = std::io::stderr().is_terminal();
        Self { terminal, started: Instant::now(), whole: estimate, done: Duration::ZERO }
    }

    /// A part of the estimate has been done.
    pub(super) fn advance(&mut self, part: Duration) {
        self.done += part;
    }

    /// What is being done now; not worth keeping.
    pub(super) fn say(&self, text: &str) {
        if self.terminal {
            self.over(text);
        }
    }

    /// What has been measured.
    pub(super) fn turn(&self, text: &str) {
        let share = (self.done.as_secs_f64() / self.whole.as_secs_f64().max(1.0)).min(1.0);
        let left = remaining(self.started.elapsed(), share);
        let line = format!("[{:>3.0} %, {} left] {text}", share * 100.0, span(left));
        if self.terminal { self.over(&line) } else { eprintln!("{line}") }
    }

    /// What should stay on the screen.
    pub(super) fn keep(&self, text: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{text}");
    }

    /// Leaves an empty line behind.
    pub(super) fn end(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }

    fn over(&self, text: &str) {
        // Longer than the line it would wrap, and could not be written over.
        let short: String = text.chars().take(110).collect();
        eprint!("\r\x1b[K{short}");
        // A progress line that is not shown is no reason to stop.
        let _ = std::io::stderr().flush();
    }
}

/// How long the rest takes if it goes on as it went; the share is at least a hundredth.
fn remaining(elapsed: Duration, share: f64) -> Duration {
    elapsed.mul_f64((1.0 - share) / share.max(0.01))
}

/// `45 s`, `12 min`.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        assert_eq!(span(Duration::from_secs(45)), "45 s");
        assert_eq!(span(Duration::from_secs(121)), "3 min");
    }

    #[test]
    fn the_rest_goes_on_as_it_went() {
        assert_eq!(remaining(Duration::from_secs(10), 0.5), Duration::from_secs(10));
        assert_eq!(remaining(Duration::from_secs(10), 1.0), Duration::ZERO);
    }
}
