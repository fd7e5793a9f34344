//! What the kernel tells unasked and what the clock says, and what that means to us.

use std::net::IpAddr;

use futures_util::{Stream, StreamExt};
use netlink_packet_route::RouteNetlinkMessage as Message;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use tokio::task::AbortHandle;
use weft_dataplane::tunnel::Vtep;

use super::snapshot::has_address;
use crate::sandbox::{Netns, SandboxError};

/// How much of what is known is out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum News {
    Nothing,
    Neighbors,
    Routes,
    /// Whether there is a road, or can be one.
    Road,
}

/// What the clock asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing: it was not the clock.
    None,
    /// To make sure of what is in use.
    Verify,
    /// To look at everything.
    Refresh,
}

impl Beat {
    /// What is looked at for it when `used` peers were sent to. No notification tells that a path's MTU has changed.
    pub(super) fn stale(self, used: &[Vtep]) -> News {
        match self {
            Self::Refresh => News::Road,
            Self::Verify if !used.is_empty() => News::Routes,
            Self::Verify | Self::None => News::Nothing,
        }
    }
}

/// Whose news matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// The underlay address.
    pub(super) address: IpAddr,
    /// The index of the underlay device, if there is one.
    pub(super) device: Option<u32>,
    /// The index of the uplink, if there is one.
    pub(super) uplink: Option<u32>,
}

/// A socket that listens. It is not the one to ask by: one that overflows with notifications also loses answers.
pub(super) struct Listener {
    messages: Box<dyn Stream<Item = NetlinkMessage<Message>> + Send + Unpin>,
    driver: AbortHandle,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Listener {
    /// Listens in `netns`, which must be the calling thread's.
    pub(super) fn open(netns: &Netns) -> Result<Self, SandboxError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Tc,
        ];
        let failed = |source| SandboxError::Netlink {
            step: "watch links, routes and neighbours".into(),
            netns: netns.to_string(),
            source,
        };
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&groups).map_err(failed)?;
        let driver = tokio::spawn(connection).abort_handle();
        Ok(Self { messages: Box::new(messages.map(|(message, _)| message)), driver })
    }

    /// The next notification; `None`: there will be none.
    pub(super) async fn next(&mut self, scope: Scope) -> Option<News> {
        self.messages.next().await.map(|message| scope.meaning(&message))
    }
}

impl Scope {
    /// What a notification says about what we know. One that was lost can have said anything.
    fn meaning(self, message: &NetlinkMessage<Message>) -> News {
        let of_device = |index| Some(index) == self.device;
        let of_uplink = |index| Some(index) == self.uplink;
        let if_so = |so: bool, news| if so { news } else { News::Nothing };
        match &message.payload {
            NetlinkPayload::InnerMessage(message) => match message {
                Message::NewLink(link) | Message::DelLink(link) => {
                    let index = link.header.index;
                    if_so(of_device(index) || of_uplink(index), News::Road)
                }
                Message::NewAddress(ours) | Message::DelAddress(ours) => {
                    if_so(has_address(ours, self.address), News::Road)
                }
                Message::NewNeighbour(n) | Message::DelNeighbour(n) => {
                    if_so(of_device(n.header.ifindex), News::Neighbors)
                }
                Message::NewRoute(_) | Message::DelRoute(_) => News::Routes,
                Message::NewQueueDiscipline(tc)
                | Message::DelQueueDiscipline(tc)
                | Message::NewTrafficFilter(tc)
                | Message::DelTrafficFilter(tc) => {
                    if_so(of_uplink(tc.header.index.cast_unsigned()), News::Road)
                }
                _ => News::Nothing,
            },
            NetlinkPayload::Overrun(_) => News::Road,
            _ => News::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::address::{AddressAttribute, AddressMessage};
    use netlink_packet_route::link::LinkMessage;
    use netlink_packet_route::neighbour::NeighbourMessage;
    use netlink_packet_route::route::RouteMessage;
    use netlink_packet_route::tc::TcMessage;

    const OURS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn meaning(message: Message) -> News {
        let scope = Scope { address: OURS, device: Some(4), uplink: Some(5) };
        scope.meaning(&NetlinkMessage::from(message))
    }

    #[test]
    fn other_devices_are_none_of_our_business() {
        use News::{Neighbors, Nothing, Road};
        for (index, of_link, of_neighbor, of_filter) in
            [(4, Road, Neighbors, Nothing), (5, Road, Nothing, Road), (6, Nothing, Nothing, Nothing)]
        {
            let mut link = LinkMessage::default();
            link.header.index = index;
            let mut neighbor = NeighbourMessage::default();
            neighbor.header.ifindex = index;
            let filter = TcMessage::with_index(index.cast_signed());
            assert_eq!(meaning(Message::NewLink(link.clone())), of_link);
            assert_eq!(meaning(Message::DelLink(link)), of_link);
            assert_eq!(meaning(Message::NewNeighbour(neighbor.clone())), of_neighbor);
            assert_eq!(meaning(Message::DelNeighbour(neighbor)), of_neighbor);
            assert_eq!(meaning(Message::DelTrafficFilter(filter.clone())), of_filter);
            assert_eq!(meaning(Message::DelQueueDiscipline(filter)), of_filter);
        }
    }

    #[test]
    fn only_our_own_address_matters_and_not_a_peer_of_the_same_name() {
        let message = |attributes: &[AddressAttribute]| {
            let mut message = AddressMessage::default();
            message.attributes = attributes.to_vec();
            meaning(Message::DelAddress(message))
        };
        use AddressAttribute::{Address, Local};
        assert_eq!(message(&[Address(OURS)]), News::Road);
        assert_eq!(message(&[Address(OTHER)]), News::Nothing);
        assert_eq!(message(&[Address(OTHER), Local(OURS)]), News::Road);
        assert_eq!(message(&[Address(OURS), Local(OTHER)]), News::Nothing);
    }

    #[test]
    fn a_route_may_concern_any_peer_and_a_lost_notification_anything() {
        assert_eq!(meaning(Message::DelRoute(RouteMessage::default())), News::Routes);
        let mut lost = NetlinkMessage::from(Message::DelRoute(RouteMessage::default()));
        lost.payload = NetlinkPayload::Overrun(Vec::new());
        assert_eq!(Scope { address: OURS, device: None, uplink: None }.meaning(&lost), News::Road);
    }
}
