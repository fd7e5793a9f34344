//! What the kernel tells unasked.

use futures_util::{Stream, StreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkMessage;
use tokio::task::AbortHandle;

use super::{Netns, SandboxError};

/// A socket that listens. It is not the one to ask by: one that overflows with notifications also loses answers.
pub(crate) struct Listener {
    messages: Box<dyn Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Send + Unpin>,
    driver: AbortHandle,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Listener {
    /// Listens in `netns` for links, addresses, neighbours, routes and traffic control, on the current tokio runtime.
    pub(crate) fn open(netns: &Netns) -> Result<Self, SandboxError> {
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
        let runtime = tokio::runtime::Handle::current();
        netns.run(|| {
            let _inside = runtime.enter();
            let (connection, _, messages) = rtnetlink::new_multicast_connection(&groups).map_err(failed)?;
            let driver = tokio::spawn(connection).abort_handle();
            Ok(Self { messages: Box::new(messages.map(|(message, _)| message)), driver })
        })?
    }

    /// The next notification, or that some were lost (`NetlinkPayload::Overrun`); `None`: there will be none.
    pub(crate) async fn next(&mut self) -> Option<NetlinkMessage<RouteNetlinkMessage>> {
        self.messages.next().await
    }
}
