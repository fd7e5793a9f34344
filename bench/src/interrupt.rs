//! Ctrl-C, SIGTERM and SIGHUP: noticed, so that everything is removed before the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::LabError;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How often a condition is looked at while it is awaited.
const POLL: Duration = Duration::from_millis(10);

/// From now on signals set a flag instead of ending the process. Children start with the default handling.
///
/// # Errors
/// [`LabError::Io`] when no handler can be installed.
pub(crate) fn watch() -> Result<(), LabError> {
    let failed = || LabError::io("watch for signals");
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed())?;
    let install = |kind| {
        let _inside = runtime.enter();
        signal(kind).map_err(failed())
    };
    let mut interrupt = install(SignalKind::interrupt())?;
    let mut terminate = install(SignalKind::terminate())?;
    let mut hangup = install(SignalKind::hangup())?;
    let wait = move || loop {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
                _ = hangup.recv() => (),
            }
        });
        if !INTERRUPTED.swap(true, Ordering::Relaxed) {
            eprintln!("\ninterrupted: removing what was made");
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map(drop).map_err(failed())
}

/// Ends the caller's work when the user asked for the end.
///
/// # Errors
/// [`LabError::Interrupted`].
pub(crate) fn check() -> Result<(), LabError> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(LabError::Interrupted) } else { Ok(()) }
}

/// Asks until the answer is `Some`, and returns it.
///
/// # Errors
/// [`LabError::TooLong`] after `limit`, [`LabError::Interrupted`], or what `ask` fails with.
pub(crate) fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, LabError>,
) -> Result<T, LabError> {
    let deadline = Instant::now() + limit;
    loop {
        check()?;
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            return Err(LabError::TooLong { what: what.into(), seconds: limit.as_secs() });
        }
        thread::sleep(POLL);
    }
}

/// Sleeps for `time`, or less when interrupted.
///
/// # Errors
/// [`LabError::Interrupted`].
pub(crate) fn pause(time: Duration) -> Result<(), LabError> {
    let deadline = Instant::now() + time;
    loop {
        check()?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(Duration::from_millis(100)));
    }
}
