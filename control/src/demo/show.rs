//! The order of events: the stage, the daemons, the networks, and then one part after the other.

use std::time::Instant;

use super::control::Attachment;
use super::daemon::Daemon;
use super::docker::{self, Unplayed};
use super::error::DemoError;
use super::lab::{Cast, Container, Lab, SUBNET, VNI};
use super::outside::{self, PUBLISHED};
use super::parts;
use super::report::{Outcome, Report};
use super::restart;
use crate::model::PortMapping;

/// The network that most of the show is about.
const NETWORK: &str = "demo";
/// The one that must not notice.
const OTHER: &str = "other";

/// Plays everything. A part that fails is reported and does not end the show.
///
/// # Errors
/// What keeps the parts from being played at all.
pub(super) async fn show(lab: &mut Lab, report: &mut Report) -> Result<(), DemoError> {
    report.begin("hosts and underlay");
    let cast = lab.build().await?;
    let kernel = if cast.kernel.is_some() { ", a kernel VTEP" } else { "" };
    let joined = format!("2 hosts with 3 containers each{kernel}, a machine outside, joined by veth");
    report.end(Outcome::Passed, joined);

    report.begin("daemons");
    let started = Instant::now();
    start_daemons(lab, &cast).await?;
    report.end(Outcome::Passed, format!("2 ready in {:.2} s", started.elapsed().as_secs_f64()));

    report.begin("networks");
    let attached = connect(lab, &cast).await?;
    report.end(Outcome::Passed, attached);

    play(&cast, report).await;
    if let Some(daemon) = lab.daemons.first_mut() {
        tell(report, "host a's daemon is killed", restart::daemon(&cast, daemon)).await;
    }
    report.begin("counters");
    for daemon in &mut lab.daemons {
        daemon.is_alive()?;
        report.counters(daemon.control.counters().await?);
    }
    // Now, because the next one counts anew.
    if let Some(daemon) = lab.daemons.first_mut() {
        tell(report, "packet process is killed", restart::packet_process(&cast, daemon)).await;
    }
    report.begin("Docker Engine");
    match docker::show(lab).await {
        Ok(detail) => report.end(Outcome::Passed, detail),
        Err(Unplayed::Skipped(reason)) => report.end(Outcome::Skipped, format!("skipped: {reason}")),
        Err(Unplayed::Failed(error)) => report.end(Outcome::Failed, error.to_string()),
    }
    Ok(())
}

async fn start_daemons(lab: &mut Lab, cast: &Cast) -> Result<(), DemoError> {
    let directory = lab.directory()?.to_owned();
    for host in [&cast.a, &cast.b] {
        lab.daemons.push(Daemon::start(host, &directory, &cast.vteps)?);
    }
    for daemon in &mut lab.daemons {
        daemon.ready().await?;
    }
    Ok(())
}

/// Creates both networks on both hosts and connects the containers; returns what to say about it.
async fn connect(lab: &Lab, cast: &Cast) -> Result<String, DemoError> {
    type Place<'a> = (&'static str, &'a Container, &'a [PortMapping]);
    let on_a: [Place<'_>; 3] =
        [(NETWORK, &cast.a1, &[PUBLISHED]), (NETWORK, &cast.a2, &[]), (OTHER, &cast.a3, &[])];
    let on_b: [Place<'_>; 3] = [(NETWORK, &cast.b1, &[]), (NETWORK, &cast.b2, &[]), (OTHER, &cast.b3, &[])];
    let mut slowest = std::time::Duration::ZERO;
    for (daemon, containers) in lab.daemons.iter().zip([on_a, on_b]) {
        daemon.control.create(NETWORK, VNI, SUBNET).await?;
        daemon.control.create(OTHER, VNI + 1, SUBNET).await?;
        for (network, container, publish) in containers {
            let started = Instant::now();
            let (name, netns, ip) = (container.label, container.path(), container.ip);
            let attachment = Attachment { name, netns, ip, publish };
            daemon.control.connect(network, attachment).await?;
            slowest = slowest.max(started.elapsed());
        }
    }
    let slowest = slowest.as_secs_f64() * 1e3;
    Ok(format!(
        "{NETWORK} (VNI {VNI}) and {OTHER} (VNI {}), 6 endpoints, slowest attach {slowest:.1} ms",
        VNI + 1
    ))
}

async fn play(cast: &Cast, report: &mut Report) {
    let (a1, a2, b1) = (&cast.a1, &cast.a2, &cast.b1);
    tell(report, "ping a1 -> b1 (hosts)", parts::ping_between(a1, b1)).await;
    tell(report, "ping a1 -> a2 (one host)", parts::ping_between(a1, a2)).await;
    tell(report, "TCP a1 -> b1", parts::bulk_between(a1, b1)).await;
    tell(report, "TCP b1 -> a1", parts::bulk_between(b1, a1)).await;
    tell(report, "broadcast", parts::broadcast(cast)).await;
    tell(report, "isolation", parts::isolation(cast)).await;
    tell(report, "ping a1 -> outside", parts::ping_between(a1, &cast.o)).await;
    tell(report, "egress a1 -> outside", outside::egress(cast)).await;
    tell(report, "published port, outside", outside::published(cast)).await;
    tell(report, "published port, host itself", outside::published_to_host(cast)).await;
    let Some(k) = &cast.kernel else {
        report.begin("kernel vxlan device");
        report.end(Outcome::Skipped, "skipped: this kernel has no vxlan");
        return;
    };
    tell(report, "kernel vxlan, ping k -> a1", parts::ping_between(k, a1)).await;
    tell(report, "kernel vxlan, ping b1 -> k", parts::ping_between(b1, k)).await;
    tell(report, "kernel vxlan, TCP k -> b1", parts::bulk_between(k, b1)).await;
    tell(report, "kernel vxlan, TCP a1 -> k", parts::bulk_between(a1, k)).await;
}

async fn tell(report: &mut Report, title: &str, part: impl Future<Output = Result<String, DemoError>>) {
    report.begin(title);
    match part.await {
        Ok(detail) => report.end(Outcome::Passed, detail),
        Err(error) => report.end(Outcome::Failed, error.to_string()),
    }
}
