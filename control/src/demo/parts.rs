//! The parts of the show that stay on the networks: each tries one thing and returns the line to print about it.

use super::broadcast::shout;
use super::bulk::{Way, bulk, transfer};
use super::error::DemoError;
use super::lab::{Cast, Container, SUBNET};
use super::ping::{Watch, is_unanswered, ping};

/// Pings in a series.
pub(super) const PINGS: u16 = 20;
/// The ICMP identifiers of the series and of the pings of other parts, so that no answer is mistaken.
const SERIES: u16 = 1;
const TO_OWN: u16 = 2;
const TO_FOREIGN: u16 = 3;

/// A series of pings, all answered.
pub(super) async fn ping_between(from: &Container, to: &Container) -> Result<String, DemoError> {
    let times = ping(from.netns(), to.ip, SERIES, PINGS).await?;
    let [min, median] = [times.min(), times.median()].map(|time| time.as_secs_f64() * 1e3);
    Ok(format!("{} of {PINGS} answered, min {min:.3} ms, median {median:.3} ms", times.count()))
}

/// A bulk transfer, arrived as it left.
pub(super) async fn bulk_between(from: &Container, to: &Container) -> Result<String, DemoError> {
    Ok(transfer(Way::direct(from.netns(), to.netns(), to.ip), bulk).await?.to_string())
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
