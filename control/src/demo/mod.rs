//! `weft demo`: two hosts on this machine, real daemons, real traffic, and nothing left afterwards.
//!
//! The hosts are network namespaces joined by veth pairs; the daemons are this executable, started inside them; the
//! networks are made through their API. Then containers ping, transfer, shout, and fail to hear what is not theirs; one
//! of them reaches a machine outside under its host's address, and is reached from there by a published port; a kernel
//! vxlan device (RFC 7348) joins in where the kernel has one. At last the daemon and the packet process of a host are
//! killed under traffic. Where Docker Engine runs, two of its containers talk ([`docker`]). Everything is done by this program: it needs root, `/dev/net/tun`, and no package. No frame
//! leaves the namespaces it makes.
//!
//! What it is not: a benchmark. Both hosts, both switches and both ends of every transfer share this machine's cores,
//! and the figures are those of one short run.
//!
//! Limits: a bulk transfer ends after 1 GiB or 1 s, a ping waits 1 s, a daemon gets 20 s to start and 8 s to end; every wait
//! has an end. A part that fails is shown and the next one is tried; what fails before there is traffic ends the show.
//! Whatever happens, also Ctrl-C, SIGTERM or SIGHUP at any moment, the processes are ended and the namespaces and files
//! removed. Two demonstrations at a time do not meet: all names carry the process id.

mod broadcast;
mod bulk;
mod control;
mod daemon;
mod docker;
mod error;
mod hash;
mod lab;
mod outside;
mod parts;
mod ping;
mod report;
mod restart;
mod show;
mod socket;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::time::Instant;

use futures_util::future::join_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use error::DemoError;
use lab::Lab;
use report::{Outcome, Report};

use crate::sandbox::host::{check_privileges, check_tun};

/// How to present the demonstration.
#[derive(Clone, Copy, Debug, Default)]
pub struct DemoOptions {
    /// Colour: yes, no, or (`None`) on a terminal unless `NO_COLOR` is set.
    pub color: Option<bool>,
}

/// Runs the demonstration and says whether all of it worked.
///
/// # Errors
/// [`DemoError::Host`] without root or `/dev/net/tun`, and [`DemoError::Io`] without signal handlers. Everything later
/// is reported as it happens and only shows in the exit code.
pub async fn run(options: DemoOptions) -> anyhow::Result<ExitCode> {
    check_privileges().and_then(|()| check_tun()).map_err(DemoError::from)?;
    let mut interrupts = Interrupts::install().map_err(DemoError::io("watch for signals"))?;
    let started = Instant::now();
    let mut report = Report::new(options.color);
    let mut lab = Lab::new(format!("wfd{:x}", std::process::id()));
    report.say("weft demo: two hosts, one VXLAN network, and an outside, on this machine");

    let complete = tokio::select! {
        shown = show::show(&mut lab, &mut report) => {
            if let Err(error) = &shown {
                report.end(Outcome::Failed, error.to_string());
            }
            shown.is_ok()
        }
        name = interrupts.next() => {
            report.end(Outcome::Failed, format!("interrupted by {name}"));
            false
        }
    };
    clean_up(lab, &mut report).await;
    report.print_summary(started.elapsed());
    Ok(if complete && report.all_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The signals that end the show early. Once installed they no longer end the process, so they cannot cut the
/// clean-up short either.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    fn install() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

/// Ends the daemons, looks whether they took their interfaces with them, and removes the rest.
async fn clean_up(mut lab: Lab, report: &mut Report) {
    report.begin("clean-up");
    // First, because the engine says goodbye to its driver.
    let guests = lab.guests.take();
    let vacated = match guests {
        Some(mut guests) => guests.remove().await,
        None => Ok(()),
    };
    let daemons = std::mem::take(&mut lab.daemons);
    let (ended, namespaces) = (daemons.len(), lab.namespaces().len());
    let stopped = join_all(daemons.into_iter().map(daemon::Daemon::stop)).await;
    let left = match stopped.into_iter().collect::<Result<Vec<_>, _>>() {
        Ok(_) => lab.interfaces_left().await,
        Err(error) => Err(error),
    };
    let left = vacated.and(left);
    drop(lab);
    match left {
        Ok(()) => {
            let detail = format!("{ended} daemons ended, {namespaces} namespaces removed, nothing left");
            report.end(Outcome::Passed, detail);
        }
        Err(error) => report.end(Outcome::Failed, error.to_string()),
    }
}
