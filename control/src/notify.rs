//! The supervisor's ear: systemd's notification protocol (sd_notify(3)), silent where nobody listens.
//!
//! `READY=1` when everything is up, `RELOADING=1` around a reload, `STOPPING=1` at the end, and, if the unit has
//! `WatchdogSec=`, `WATCHDOG=1` twice in that time. A watchdog that is fed by a timer proves nothing: it is fed only when
//! the one who changes networks has answered, so that a daemon whose work hangs is restarted.

use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use crate::network::Manager;

/// Everything is up.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again; [`ready`] ends that.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Feeds the watchdog, if there is one, as long as `manager` answers. Ends only without a watchdog.
pub async fn watchdog(manager: Arc<Manager>) {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) else { return };
    let mut ticks = interval(period / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let manager = Arc::clone(&manager);
        let answered = tokio::task::spawn_blocking(move || manager.networks().len()).await;
        if answered.is_ok() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the supervisor cannot be told");
    }
}
