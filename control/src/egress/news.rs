//! What a notification says about what we know.

use netlink_packet_route::RouteNetlinkMessage as Message;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};

use crate::sandbox::link::in_main_table;

/// How much of what is known is out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stale {
    Nothing,
    Neighbors,
    All,
}

impl Stale {
    /// After `message`; `is_link` tells whether the interface of an index is a link. One that was lost can have said
    /// anything.
    pub(super) fn after(message: &NetlinkMessage<Message>, is_link: impl Fn(u32) -> bool) -> Self {
        match &message.payload {
            NetlinkPayload::InnerMessage(message) => match message {
                Message::NewLink(_) | Message::DelLink(_) => Self::All,
                Message::NewAddress(_) | Message::DelAddress(_) => Self::All,
                Message::NewRoute(route) | Message::DelRoute(route) if in_main_table(route) => Self::All,
                Message::NewNeighbour(n) | Message::DelNeighbour(n) if is_link(n.header.ifindex) => {
                    Self::Neighbors
                }
                _ => Self::Nothing,
            },
            NetlinkPayload::Overrun(_) => Self::All,
            _ => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::link::LinkMessage;
    use netlink_packet_route::neighbour::NeighbourMessage;
    use netlink_packet_route::route::{RouteHeader, RouteMessage};
    use netlink_packet_route::tc::TcMessage;

    fn after(message: Message) -> Stale {
        Stale::after(&NetlinkMessage::from(message), |index| index == 4)
    }

    #[test]
    fn links_and_routes_of_the_main_table_change_everything_and_neighbors_little() {
        assert_eq!(after(Message::NewLink(LinkMessage::default())), Stale::All);
        assert_eq!(after(Message::DelQueueDiscipline(TcMessage::with_index(4))), Stale::Nothing);
        for (table, stale) in [(RouteHeader::RT_TABLE_MAIN, Stale::All), (100, Stale::Nothing)] {
            let mut route = RouteMessage::default();
            route.header.table = table;
            assert_eq!(after(Message::DelRoute(route)), stale);
        }
        for (index, stale) in [(4, Stale::Neighbors), (5, Stale::Nothing)] {
            let mut neighbor = NeighbourMessage::default();
            neighbor.header.ifindex = index;
            assert_eq!(after(Message::NewNeighbour(neighbor)), stale);
        }
        let mut lost = NetlinkMessage::from(Message::NewLink(LinkMessage::default()));
        lost.payload = NetlinkPayload::Overrun(Vec::new());
        assert_eq!(Stale::after(&lost, |_| false), Stale::All);
    }
}
