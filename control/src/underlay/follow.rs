//! Next hops, kept current: the kernel's notifications in, [`hops::resolve`]'s conclusions out.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use netlink_packet_route::RouteNetlinkMessage as Message;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use weft_dataplane::tunnel::Vtep;
use weft_dataplane::tunnel::outer::NextHop;

use super::hops::{self, Path, Resolved};
use super::snapshot;
use crate::sandbox::{Link, Netns, SandboxError};

/// How often everything is read again and neighbours in use are made sure of, whatever the notifications say. Less than
/// the kernel's default for forgetting an unused entry (60 s); and a path MTU changes without notification.
const REFRESH: Duration = Duration::from_secs(15);

/// The shortest time between two recomputations. The first after a silence is at once.
const SPACING: Duration = Duration::from_millis(50);

/// How long to wait before trying again after netlink has failed.
const RETRY: Duration = Duration::from_secs(1);

/// Whose next hops are followed.
#[derive(Clone, Debug)]
pub struct Following {
    /// The index of the underlay device.
    pub device: u32,
    /// This host's VTEP address.
    pub own: IpAddr,
    /// The tunnel's UDP port.
    pub port: u16,
    /// The other VTEPs.
    pub peers: Vec<IpAddr>,
}

/// Publishes the next hops whenever they change, until `publish` answers that nobody wants them any more. Works in the
/// network namespace of the thread that polls it. While netlink fails, no hop is known.
pub async fn follow(following: Following, publish: impl Fn(Vec<(Vtep, NextHop)>) -> bool) {
    loop {
        let ended = match Watch::open() {
            Ok((mut watch, news)) => watch.run(&following, news, &publish).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(Ended::Unwanted) => return,
            Ok(Ended::Lost) => tracing::warn!("the kernel has closed a netlink socket; opening it again"),
            Err(error) => tracing::warn!(%error, "next hops cannot be read; trying again"),
        }
        if !publish(Vec::new()) {
            return;
        }
        sleep(RETRY).await;
    }
}

/// How much of what is known is out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    Nothing,
    Neighbors,
    Everything,
}

enum Ended {
    /// Nobody wants next hops any more.
    Unwanted,
    /// No notification will come.
    Lost,
}

/// A socket to ask by, and one that listens. They are two, because one that overflows with notifications also loses
/// answers.
struct Watch {
    link: Link,
    listener: AbortHandle,
    paths: Vec<Path>,
    published: Option<Vec<(Vtep, NextHop)>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Watch {
    fn open() -> Result<(Self, impl Stream<Item = NetlinkMessage<Message>> + Unpin), SandboxError> {
        let netns = Netns::current()?;
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ];
        let failed = |source| SandboxError::Netlink {
            step: "watch routes and neighbours".into(),
            netns: netns.to_string(),
            source,
        };
        let (connection, _, news) = rtnetlink::new_multicast_connection(&groups).map_err(failed)?;
        let listener = tokio::spawn(connection).abort_handle();
        let link = netns.link()?;
        Ok((Self { link, listener, paths: Vec::new(), published: None }, news.map(|(message, _)| message)))
    }

    async fn run(
        &mut self,
        following: &Following,
        mut news: impl Stream<Item = NetlinkMessage<Message>> + Unpin,
        publish: impl Fn(Vec<(Vtep, NextHop)>) -> bool,
    ) -> Result<Ended, SandboxError> {
        let mut tick = interval(REFRESH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut earliest = Instant::now();
        loop {
            let (mut stale, refresh) = tokio::select! {
                message = news.next() => match message {
                    Some(message) => (meaning(&message, following.device), false),
                    None => return Ok(Ended::Lost),
                },
                _ = tick.tick() => (News::Everything, true),
            };
            // Whatever has come by then is answered at once, so that a storm of notifications costs little.
            while let Ok(message) = timeout_at(earliest, news.next()).await {
                let Some(message) = message else { return Ok(Ended::Lost) };
                stale = stale.max(meaning(&message, following.device));
            }
            if stale == News::Nothing {
                continue;
            }
            let resolved = self.resolve(following, stale).await?;
            if !self.publish_new(&resolved, &publish) {
                return Ok(Ended::Unwanted);
            }
            self.remind(following.device, &resolved, refresh).await;
            earliest = Instant::now() + SPACING;
        }
    }

    async fn resolve(&mut self, following: &Following, stale: News) -> Result<Resolved, SandboxError> {
        let Following { device, own, port, ref peers } = *following;
        if stale == News::Everything {
            self.paths.clear();
            for &peer in peers {
                self.paths.extend(snapshot::path(&self.link, own, port, peer).await?);
            }
        }
        let device = snapshot::device(&self.link, device).await?;
        let neighbors = snapshot::neighbors(&self.link).await?;
        Ok(hops::resolve(device.as_ref(), &self.paths, &neighbors))
    }

    /// False when nobody wants them any more.
    fn publish_new(&mut self, resolved: &Resolved, publish: impl Fn(Vec<(Vtep, NextHop)>) -> bool) -> bool {
        if self.published.as_ref() == Some(&resolved.hops) {
            return true;
        }
        tracing::debug!(known = resolved.hops.len(), peers = self.paths.len(), "next hops have changed");
        self.published = Some(resolved.hops.clone());
        publish(resolved.hops.clone())
    }

    /// Neighbours that do not answer are asked for with the others, every [`REFRESH`], and not whenever the kernel says
    /// that they do not answer. A refusal changes nothing: the sockets ask, too.
    async fn remind(&self, device: u32, resolved: &Resolved, refresh: bool) {
        let none = BTreeSet::new();
        let refresh = if refresh { &resolved.refresh } else { &none };
        for &neighbor in resolved.unknown.iter().chain(refresh) {
            if let Err(error) = snapshot::remind(&self.link, device, neighbor).await {
                tracing::debug!(%error, "the kernel does not look for a neighbour");
            }
        }
    }
}

/// What a notification says about what we know. One that was lost can have said anything.
fn meaning(message: &NetlinkMessage<Message>, device: u32) -> News {
    match &message.payload {
        NetlinkPayload::InnerMessage(Message::NewLink(link) | Message::DelLink(link)) => {
            if link.header.index == device { News::Everything } else { News::Nothing }
        }
        NetlinkPayload::InnerMessage(Message::NewNeighbour(n) | Message::DelNeighbour(n)) => {
            if n.header.ifindex == device { News::Neighbors } else { News::Nothing }
        }
        NetlinkPayload::InnerMessage(Message::NewRoute(_) | Message::DelRoute(_))
        | NetlinkPayload::Overrun(_) => News::Everything,
        _ => News::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::link::LinkMessage;
    use netlink_packet_route::neighbour::NeighbourMessage;
    use netlink_packet_route::route::RouteMessage;

    fn inner(message: Message) -> NetlinkMessage<Message> {
        NetlinkMessage::from(message)
    }

    #[test]
    fn other_devices_are_none_of_our_business() {
        let mut link = LinkMessage::default();
        link.header.index = 4;
        let mut neighbor = NeighbourMessage::default();
        neighbor.header.ifindex = 4;
        for (device, of_link, of_neighbor) in
            [(4, News::Everything, News::Neighbors), (5, News::Nothing, News::Nothing)]
        {
            assert_eq!(meaning(&inner(Message::NewLink(link.clone())), device), of_link);
            assert_eq!(meaning(&inner(Message::DelLink(link.clone())), device), of_link);
            assert_eq!(meaning(&inner(Message::NewNeighbour(neighbor.clone())), device), of_neighbor);
            assert_eq!(meaning(&inner(Message::DelNeighbour(neighbor.clone())), device), of_neighbor);
        }
    }

    #[test]
    fn a_route_may_concern_any_peer_and_a_lost_notification_anything() {
        assert_eq!(meaning(&inner(Message::DelRoute(RouteMessage::default())), 4), News::Everything);
        let mut lost = inner(Message::DelRoute(RouteMessage::default()));
        lost.payload = NetlinkPayload::Overrun(Vec::new());
        assert_eq!(meaning(&lost, 4), News::Everything);
    }
}
