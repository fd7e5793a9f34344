//! Ping: ICMP echo (RFC 792) between containers, and the proof of its absence.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use weft_dataplane::wire::{EchoRepr, Icmpv4Packet, Ipv4Packet};

use super::error::DemoError;
use super::socket::Icmp;
use crate::sandbox::Netns;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many lost pings end a series; it has failed with the first.
const HOPELESS: usize = 3;
/// How long we listen before we believe in silence: a hundred times a round trip here.
pub(super) const SILENCE: Duration = Duration::from_millis(300);
/// What an ordinary ping carries.
const PAYLOAD: [u8; 56] = [0xa5; 56];

/// The round trips of one series.
#[derive(Clone, Debug)]
pub(super) struct RoundTrips(Vec<Duration>);

impl RoundTrips {
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn min(&self) -> Duration {
        self.0.first().copied().unwrap_or_default()
    }

    pub(super) fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }
}

/// Sends `count` echo requests, one after the other's answer.
///
/// # Errors
/// [`DemoError::PingsLost`] unless each is answered within a second.
pub(super) async fn ping(
    netns: &Netns,
    to: Ipv4Addr,
    ident: u16,
    count: u16,
) -> Result<RoundTrips, DemoError> {
    let socket = Icmp::open(netns)?;
    let mut times = Vec::with_capacity(count.into());
    let mut lost = 0;
    for sequence in 0..count {
        let asked = Instant::now();
        ask(&socket, to, ident, sequence).await?;
        let is_answer = |icmp: Icmpv4Packet<'_>, from| {
            icmp.is_echo_reply() && from == to && (icmp.ident(), icmp.sequence()) == (ident, sequence)
        };
        if hear(&socket, asked + PATIENCE, is_answer).await? {
            times.push(asked.elapsed());
        } else {
            lost += 1;
        }
        if lost == HOPELESS {
            break;
        }
    }
    if lost > 0 {
        return Err(DemoError::PingsLost { sent: times.len() + lost, received: times.len(), to });
    }
    times.sort_unstable();
    Ok(RoundTrips(times))
}

/// Whether one echo request stays unanswered for [`SILENCE`].
pub(super) async fn is_unanswered(netns: &Netns, to: Ipv4Addr, ident: u16) -> Result<bool, DemoError> {
    let socket = Icmp::open(netns)?;
    ask(&socket, to, ident, 0).await?;
    let is_answer =
        |icmp: Icmpv4Packet<'_>, from| icmp.is_echo_reply() && from == to && icmp.ident() == ident;
    Ok(!hear(&socket, Instant::now() + SILENCE, is_answer).await?)
}

/// Someone who notes whether echo requests come by.
pub(super) struct Watch(Icmp);

impl Watch {
    pub(super) fn open(netns: &Netns) -> Result<Self, DemoError> {
        Icmp::open(netns).map(Self)
    }

    /// Whether a request of `ident` has come, or comes within [`SILENCE`].
    pub(super) async fn saw_request(&self, ident: u16) -> Result<bool, DemoError> {
        let is_request = |icmp: Icmpv4Packet<'_>, _| icmp.is_echo_request() && icmp.ident() == ident;
        hear(&self.0, Instant::now() + SILENCE, is_request).await
    }
}

async fn ask(socket: &Icmp, to: Ipv4Addr, ident: u16, sequence: u16) -> Result<(), DemoError> {
    let mut message = EchoRepr { reply: false, ident, sequence }.emit(&PAYLOAD).to_vec();
    message.extend_from_slice(&PAYLOAD);
    let sent = timeout(PATIENCE, socket.send(&message, to)).await;
    sent.unwrap_or_else(|elapsed| Err(elapsed.into())).map_err(DemoError::io(format!("send a ping to {to}")))
}

/// Whether a message that `wanted` accepts (given its sender) arrives before the deadline.
async fn hear(
    socket: &Icmp,
    deadline: Instant,
    wanted: impl Fn(Icmpv4Packet<'_>, Ipv4Addr) -> bool,
) -> Result<bool, DemoError> {
    let mut packet = [0; 2048];
    while let Ok(received) = timeout_at(deadline, socket.receive(&mut packet)).await {
        let length = received.map_err(DemoError::io("receive a ping"))?;
        let Ok(ip) = Ipv4Packet::parse(&packet[..length]) else { continue };
        let Ok(icmp) = Icmpv4Packet::parse(ip.payload()) else { continue };
        if wanted(icmp, ip.source()) {
            return Ok(true);
        }
    }
    Ok(false)
}
