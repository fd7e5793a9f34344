//! A netlink socket in one namespace, and the few requests Weft makes of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::SandboxError;

/// How long one netlink request may take.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// How often a state is asked for that the kernel reaches by itself.
const POLL: Duration = Duration::from_millis(5);

/// A netlink socket inside one namespace. Keeps the namespace alive until dropped.
#[derive(Debug)]
pub struct Link {
    handle: Handle,
    netns: String,
    driver: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    /// Opens the socket in the namespace of the calling thread, which must have entered a tokio runtime. `netns` is the
    /// namespace's name in error messages.
    pub(super) fn in_current_thread(netns: String) -> Result<Self, SandboxError> {
        match rtnetlink::new_connection() {
            Ok((connection, handle, _notifications)) => {
                let driver = tokio::spawn(connection).abort_handle();
                Ok(Self { handle, netns, driver })
            }
            Err(source) => Err(SandboxError::Netlink { step: "open a netlink socket".into(), netns, source }),
        }
    }

    /// The namespace's name, for messages.
    #[must_use]
    pub fn netns(&self) -> &str {
        &self.netns
    }

    /// The raw requests, for what this type does not wrap.
    pub(crate) fn raw(&self) -> &Handle {
        &self.handle
    }

    /// The index of an interface.
    ///
    /// # Errors
    /// [`SandboxError::NoInterface`].
    pub async fn index_of(&self, ifname: &str) -> Result<u32, SandboxError> {
        let found = self.get_link(ifname).await?;
        let missing = || SandboxError::NoInterface { ifname: ifname.to_owned(), netns: self.netns.clone() };
        found.map(|link| link.header.index).ok_or_else(missing)
    }

    /// The interface of this name, or `None`.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`].
    pub async fn get_link(&self, ifname: &str) -> Result<Option<LinkMessage>, SandboxError> {
        let mut links = std::pin::pin!(self.handle.link().get().match_name(ifname.to_owned()).execute());
        match self.finish(|| format!("look up interface {ifname}"), links.try_next()).await {
            Err(e) if e.errno() == Some(rustix::io::Errno::NODEV) => Ok(None),
            other => other,
        }
    }

    /// Changes an interface as the message says; `step` names the change in errors.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`].
    pub async fn set(&self, step: impl FnOnce() -> String, message: LinkMessage) -> Result<(), SandboxError> {
        self.finish(step, self.handle.link().set(message).execute()).await
    }

    /// Brings an interface up.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`].
    pub async fn up(&self, index: u32) -> Result<(), SandboxError> {
        let message = LinkUnspec::new_with_index(index).up().build();
        self.set(|| format!("bring up interface {index}"), message).await
    }

    /// Waits, at most [`TIMEOUT`], until an interface that is up also carries frames. One end of a veth pair does so a
    /// moment after the other end came up; what is sent before that is lost.
    ///
    /// # Errors
    /// [`SandboxError::Silent`], or [`SandboxError::Netlink`].
    pub async fn until_running(&self, ifname: &str) -> Result<(), SandboxError> {
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            let link = self.get_link(ifname).await?;
            if link.is_some_and(|link| link.header.flags.contains(LinkFlags::Running)) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        Err(self.silent(format!("wait for interface {ifname} to run")))
    }

    /// Gives an interface an address. IPv6 addresses skip duplicate address detection: they are usable at once, and
    /// that no one else has them is the allocator's promise.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`], `EEXIST` if it is there already.
    pub async fn add_address(&self, index: u32, address: IpNet) -> Result<(), SandboxError> {
        let mut request = self.handle.address().add(index, address.addr(), address.prefix_len());
        if address.addr().is_ipv6() {
            request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.finish(|| format!("add address {address} to interface {index}"), request.execute()).await
    }

    /// Takes `address` away, which the kernel has told by `message`.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`].
    pub async fn remove_address(&self, address: IpNet, message: AddressMessage) -> Result<(), SandboxError> {
        let index = message.header.index;
        let step = || format!("remove address {address} from interface {index}");
        self.finish(step, self.handle.address().del(message).execute()).await
    }

    /// Gives an interface the address `local` with the single neighbour `peer` behind it (a point-to-point /32).
    ///
    /// # Errors
    /// [`SandboxError::Netlink`].
    pub async fn add_peer_address(
        &self,
        index: u32,
        local: Ipv4Addr,
        peer: Ipv4Addr,
    ) -> Result<(), SandboxError> {
        let mut request = self.handle.address().add(index, local.into(), 32);
        let attributes = &mut request.message_mut().attributes;
        attributes.retain(|a| !matches!(a, AddressAttribute::Address(_) | AddressAttribute::Broadcast(_)));
        attributes.push(AddressAttribute::Address(peer.into()));
        self.finish(|| format!("add address {local} peer {peer} to interface {index}"), request.execute())
            .await
    }

    /// Adds a default route out of an interface. The gateway counts as a neighbour on the link, whatever the subnet.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`], `EEXIST` if there is one of the same metric.
    pub async fn add_default_route(&self, index: u32, gateway: IpAddr) -> Result<(), SandboxError> {
        let message = match gateway {
            IpAddr::V4(v4) => {
                RouteMessageBuilder::<Ipv4Addr>::new().output_interface(index).gateway(v4).onlink().build()
            }
            IpAddr::V6(v6) => {
                RouteMessageBuilder::<Ipv6Addr>::new().output_interface(index).gateway(v6).onlink().build()
            }
        };
        self.finish(
            || format!("add the default route via {gateway}"),
            self.handle.route().add(message).execute(),
        )
        .await
    }

    /// Whether the main table has a default route for the family of `like`.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`].
    pub async fn has_default_route(&self, like: IpAddr) -> Result<bool, SandboxError> {
        let routes = self.routes(like.is_ipv6()).await?;
        Ok(routes.iter().any(|r| r.header.destination_prefix_length == 0 && in_main_table(r)))
    }

    /// All routes of one family, of every table.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`]. A kernel without IPv6 has no IPv6 routes, which is not an error.
    pub async fn routes(&self, ipv6: bool) -> Result<Vec<RouteMessage>, SandboxError> {
        let filter = if ipv6 {
            RouteMessageBuilder::<Ipv6Addr>::new().build()
        } else {
            RouteMessageBuilder::<Ipv4Addr>::new().build()
        };
        let routes = self.handle.route().get(filter).execute();
        self.finish(|| "list routes".into(), routes.try_collect()).await
    }

    /// All interfaces.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`].
    pub async fn links(&self) -> Result<Vec<LinkMessage>, SandboxError> {
        self.finish(|| "list interfaces".into(), self.handle.link().get().execute().try_collect()).await
    }

    /// All addresses of both families.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`].
    pub async fn addresses(&self) -> Result<Vec<AddressMessage>, SandboxError> {
        self.finish(|| "list addresses".into(), self.handle.address().get().execute().try_collect()).await
    }

    /// Waits for one request, within [`TIMEOUT`], and gives its error the name of what was tried.
    pub(crate) async fn finish<T>(
        &self,
        step: impl FnOnce() -> String,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, SandboxError> {
        match tokio::time::timeout(TIMEOUT, request).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(e)) => {
                Err(SandboxError::Netlink { step: step(), netns: self.netns.clone(), source: to_io(e) })
            }
            Err(_) => Err(self.silent(step())),
        }
    }

    /// Sends one message that rtnetlink has no request for, with `flags` besides those that ask for an answer.
    pub(super) async fn request(
        &self,
        step: impl FnOnce() -> String,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), SandboxError> {
        self.finish(step, async {
            let mut message = NetlinkMessage::from(message);
            message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
            let mut answers = self.handle.clone().request(message)?;
            while let Some(answer) = answers.next().await {
                if let NetlinkPayload::Error(e) = answer.payload {
                    return Err(rtnetlink::Error::NetlinkError(e));
                }
            }
            Ok(())
        })
        .await
    }

    fn silent(&self, step: String) -> SandboxError {
        SandboxError::Silent { step, netns: self.netns.clone(), seconds: TIMEOUT.as_secs() }
    }
}

/// Whether a route is in the table that ordinary traffic is routed by.
pub(crate) fn in_main_table(route: &RouteMessage) -> bool {
    let long = route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    long.unwrap_or(route.header.table.into()) == u32::from(RouteHeader::RT_TABLE_MAIN)
}

/// The address of ours that a message is about. On a point-to-point link `Address` is the peer's and `Local` ours;
/// elsewhere IPv6 sends only `Address`.
pub(crate) fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })
}

/// The interface's name; the kernel always sends one.
pub(super) fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|a| match a {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// A message about one interface, to be filled in.
pub(crate) fn change(index: u32) -> LinkMessageBuilder<LinkUnspec> {
    LinkUnspec::new_with_index(index)
}

fn to_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}
