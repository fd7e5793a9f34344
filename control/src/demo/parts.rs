//! The parts of the show: each tries one thing and returns the line to print about it.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::broadcast::shout;
use super::bulk::transfer;
use super::daemon::Daemon;
use super::error::DemoError;
use super::lab::{Cast, Container, SUBNET};
use super::ping::{Watch, is_unanswered, ping};

/// Pings in a series.
const PINGS: u16 = 20;
/// The ICMP identifiers of the series and of the pings of other parts, so that no answer is mistaken.
const SERIES: u16 = 1;
const TO_OWN: u16 = 2;
const TO_FOREIGN: u16 = 3;
const RESTART_NEAR: u16 = 4;
const RESTART_FAR: u16 = 5;

/// Between the series of pings while a daemon is replaced: other people use this machine too.
const PAUSE: Duration = Duration::from_millis(1);

/// A series of pings, all answered.
pub(super) async fn ping_between(from: &Container, to: &Container) -> Result<String, DemoError> {
    let times = ping(from.netns(), to.ip, SERIES, PINGS).await?;
    let [min, median] = [times.min(), times.median()].map(|time| time.as_secs_f64() * 1e3);
    Ok(format!("{} of {PINGS} answered, min {min:.3} ms, median {median:.3} ms", times.count()))
}

/// A bulk transfer, arrived as it left.
pub(super) async fn bulk_between(from: &Container, to: &Container) -> Result<String, DemoError> {
    let transfer = transfer(from.netns(), to.netns(), to.ip).await?;
    let (gigabytes, seconds) = (transfer.bytes as f64 / 1e9, transfer.elapsed.as_secs_f64());
    let rate = transfer.gigabits_per_second();
    Ok(format!("{gigabytes:.2} GB in {seconds:.2} s, {rate:.2} Gb/s, hashes equal ({:016x})", transfer.hash))
}

/// The daemon of `a1`'s host is killed and another one started while `a1` pings its neighbours here and there: the packets
/// do not notice.
pub(super) async fn restart(cast: &Cast, daemon: &mut Daemon) -> Result<String, DemoError> {
    let (from, ended) = (&cast.a1, Cell::new(false));
    let ping_on = async |to: &Container, ident| {
        let mut answered = 0;
        while !ended.get() {
            answered += ping(from.netns(), to.ip, ident, PINGS).await?.count();
            sleep(PAUSE).await;
        }
        Ok::<usize, DemoError>(answered)
    };
    let replace = async {
        let started = Instant::now();
        let replaced = daemon.replace(&cast.a).await;
        ended.set(true);
        replaced.map(|()| started.elapsed())
    };
    let (elapsed, near, far) =
        tokio::join!(replace, ping_on(&cast.a2, RESTART_NEAR), ping_on(&cast.b1, RESTART_FAR));
    let (milliseconds, answered) = (elapsed?.as_secs_f64() * 1e3, near? + far?);
    Ok(format!(
        "another one took over after {milliseconds:.0} ms; {answered} of {answered} pings answered meanwhile"
    ))
}

/// One broadcast reaches every other member exactly once, and nobody else.
pub(super) async fn broadcast(cast: &Cast) -> Result<String, DemoError> {
    let mut members = vec![cast.a2.member(), cast.b1.member(), cast.b2.member()];
    members.extend(cast.kernel.as_ref().map(Container::member));
    let strangers = [cast.a3.member(), cast.b3.member()];
    shout(cast.a1.member(), SUBNET.broadcast(), "to everyone on demo", &members, &strangers).await?;
    let labels: Vec<_> = members.iter().map(|member| member.label).collect();
    Ok(format!("from a1 to {}: exactly once each", labels.join(", ")))
}

/// The other network has the same subnet, addresses and MACs; its frames reach only its own.
pub(super) async fn isolation(cast: &Cast) -> Result<String, DemoError> {
    let mut strangers = vec![cast.a1.member(), cast.a2.member(), cast.b1.member(), cast.b2.member()];
    strangers.extend(cast.kernel.as_ref().map(Container::member));
    let own = [cast.b3.member()];
    shout(cast.a3.member(), SUBNET.broadcast(), "to everyone on other", &own, &strangers).await?;

    // b2 and b3 share an address: a3 must reach the one on its own network.
    let twin = Watch::open(cast.b2.netns())?;
    ping(cast.a3.netns(), cast.b3.ip, TO_OWN, 1).await?;
    if twin.saw_request(TO_OWN).await? {
        return Err(DemoError::Leaked { stranger: cast.b2.label, what: "ping", from: cast.a3.label });
    }
    // And b1's address exists only on the first network.
    if !is_unanswered(cast.a3.netns(), cast.b1.ip, TO_FOREIGN).await? {
        return Err(DemoError::Leaked { stranger: cast.b1.label, what: "ping", from: cast.a3.label });
    }
    Ok("same subnet, addresses and MACs on another VNI: nothing crosses".into())
}
