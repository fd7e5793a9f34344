//! Waiting for a condition instead of for a while.

use std::thread;
use std::time::{Duration, Instant};

/// How long a condition may take before the test gives up. Generous: no test asserts a time, and a loaded
/// machine is not a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until the answer is `Some`, and returns it.
///
/// # Panics
/// After [`PATIENCE`], naming what was awaited.
#[track_caller]
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, ask).unwrap_or_else(|| panic!("gave up waiting: {what}"))
}

/// Asks until the answer is yes.
///
/// # Panics
/// After [`PATIENCE`], naming what was awaited.
#[track_caller]
pub fn until_true(what: &str, mut ask: impl FnMut() -> bool) {
    until(what, || ask().then_some(()));
}

/// Asks until the answer is `Some`; `None` after `limit`.
pub fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
