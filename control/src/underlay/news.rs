//! What the kernel tells unasked and what the clock says, and what that means to us.

use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage as Message;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use weft_dataplane::tunnel::Vtep;

use super::snapshot::has_address;

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

impl Scope {
    /// What a notification says about what we know. One that was lost can have said anything.
    pub(super) fn meaning(self, message: &NetlinkMessage<Message>) -> News {
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
