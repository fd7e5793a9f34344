//! One broadcast, counted at every member of the network and at everyone who must not hear it.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::error::DemoError;
use super::ping::SILENCE;
use super::socket;
use crate::sandbox::Netns;

/// How long the first copy may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where the listeners listen: inside containers, any port is free.
const PORT: u16 = 9;

/// Someone on a network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    pub(super) label: &'static str,
    pub(super) netns: &'a Netns,
}

/// Sends one broadcast and counts its copies.
///
/// # Errors
/// [`DemoError::BroadcastCopies`] unless every one of `members` hears it exactly once, [`DemoError::Leaked`] if one of
/// `strangers` hears it at all.
pub(super) async fn shout(
    from: Member<'_>,
    to: Ipv4Addr,
    words: &str,
    members: &[Member<'_>],
    strangers: &[Member<'_>],
) -> Result<(), DemoError> {
    let listen = |member: &Member<'_>| Ok((member.label, socket::udp(member.netns, PORT)?));
    let member_ears = members.iter().map(listen).collect::<Result<Vec<_>, DemoError>>()?;
    let stranger_ears = strangers.iter().map(listen).collect::<Result<Vec<_>, DemoError>>()?;

    let mouth = socket::udp(from.netns, 0)?;
    mouth.send_to(words.as_bytes(), (to, PORT)).await.map_err(DemoError::io(format!("send to {to}")))?;
    let deadline = Instant::now() + PATIENCE;
    for (label, ears) in &member_ears {
        if !hears(ears, words, deadline).await? {
            return Err(DemoError::BroadcastCopies { from: from.label, to: label, copies: 0 });
        }
    }
    // Everybody has it; what comes now is one copy too many, or has gone astray.
    let deadline = Instant::now() + SILENCE;
    for (label, ears) in &member_ears {
        let copies = 1 + copies(ears, words, deadline).await?;
        if copies > 1 {
            return Err(DemoError::BroadcastCopies { from: from.label, to: label, copies });
        }
    }
    for (stranger, ears) in &stranger_ears {
        if hears(ears, words, deadline).await? {
            return Err(DemoError::Leaked { stranger, what: "broadcast", from: from.label });
        }
    }
    Ok(())
}

/// How many more copies arrive before the deadline.
async fn copies(ears: &UdpSocket, words: &str, deadline: Instant) -> Result<usize, DemoError> {
    let mut copies = 0;
    while hears(ears, words, deadline).await? {
        copies += 1;
    }
    Ok(copies)
}

/// Whether these words are there already, or arrive before the deadline.
async fn hears(ears: &UdpSocket, words: &str, deadline: Instant) -> Result<bool, DemoError> {
    let mut datagram = [0; 256];
    while let Ok(received) = timeout_at(deadline, ears.recv(&mut datagram)).await {
        let length = received.map_err(DemoError::io("receive a broadcast"))?;
        if datagram[..length] == *words.as_bytes() {
            return Ok(true);
        }
    }
    Ok(false)
}
