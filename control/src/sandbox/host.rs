//! What the daemon must know of its own namespace before it promises anything: where the underlay is, which addresses
//! are spoken for, and whether the kernel will let us work at all.

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;

use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rustix::thread::CapabilitySet;

use super::link::{in_main_table, name_of};
use super::{Link, Netns, SandboxError};

const TUN: &str = "/dev/net/tun";

/// Why this process cannot do the daemon's work here.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The kernel's TUN/TAP driver is not there.
    #[error(
        "/dev/net/tun does not exist: run `modprobe tun`, or in a container start it with --device /dev/net/tun"
    )]
    NoTun,
    /// It is there, but not for us.
    #[error("no permission to open /dev/net/tun: run as root, or allow this device to the container")]
    TunForbidden,
    /// It cannot be opened for another reason.
    #[error("cannot open /dev/net/tun: {0}")]
    Tun(io::Error),
    /// A capability is missing.
    #[error(
        "{missing} is missing: run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN CAP_SYS_ADMIN"
    )]
    Unprivileged {
        /// The missing capabilities, as capabilities(7) writes them.
        missing: String,
    },
}

/// Whether TAPs can be opened.
///
/// # Errors
/// [`HostError::NoTun`], [`HostError::TunForbidden`] or [`HostError::Tun`].
pub fn check_tun() -> Result<(), HostError> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    match std::fs::OpenOptions::new().read(true).write(true).custom_flags(nonblock).open(TUN) {
        Ok(_) => Ok(()),
        // ENODEV, ENXIO: a device node without its driver.
        Err(e) if matches!(e.raw_os_error(), Some(19 | 6)) => Err(HostError::NoTun),
        Err(e) => Err(match e.kind() {
            io::ErrorKind::NotFound => HostError::NoTun,
            io::ErrorKind::PermissionDenied => HostError::TunForbidden,
            _ => HostError::Tun(e),
        }),
    }
}

/// Whether this process may make interfaces (CAP_NET_ADMIN) and enter namespaces (CAP_SYS_ADMIN).
///
/// # Errors
/// [`HostError::Unprivileged`], naming what is missing.
pub fn check_privileges() -> Result<(), HostError> {
    // The call fails only on kernels older than capabilities themselves; then nothing is effective.
    let have = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let needed = [(CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"), (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN")];
    let missing: Vec<_> =
        needed.iter().filter(|(cap, _)| !have.contains(*cap)).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(HostError::Unprivileged { missing: missing.join(" and ") })
}

/// One interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MTU in bytes.
    pub mtu: u32,
}

/// The interface that default traffic leaves by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The interface.
    pub interface: Interface,
    /// Its first global address of the route's family.
    pub address: IpAddr,
}

/// A snapshot of one namespace's interfaces, addresses and routes.
#[derive(Clone, Debug)]
pub struct HostNets {
    interfaces: Vec<Interface>,
    addresses: Vec<(u32, IpNet)>,
    routes: Vec<Route>,
}

#[derive(Clone, Debug)]
struct Route {
    to: IpNet,
    interface: Option<u32>,
    metric: u32,
}

impl HostNets {
    /// Reads the namespace of the calling thread.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`].
    pub async fn read() -> Result<Self, SandboxError> {
        Self::read_by(&Netns::current()?.link()?).await
    }

    /// Reads the namespace of `link`.
    ///
    /// # Errors
    /// [`SandboxError::Netlink`].
    pub async fn read_by(link: &Link) -> Result<Self, SandboxError> {
        let interfaces = link.links().await?.iter().filter_map(interface).collect();
        let addresses = link.addresses().await?.iter().filter_map(address).collect();
        let mut routes = link.routes(false).await?;
        routes.extend(link.routes(true).await?);
        Ok(Self { interfaces, addresses, routes: routes.iter().filter_map(route).collect() })
    }

    /// The default route's interface and address: IPv4 if there is one, else IPv6; the smallest metric wins.
    #[must_use]
    pub fn default_route(&self) -> Option<DefaultRoute> {
        let mut defaults: Vec<_> = self.routes.iter().filter(|r| r.to.prefix_len() == 0).collect();
        defaults.sort_by_key(|r| (r.to.addr().is_ipv6(), r.metric));
        defaults.into_iter().find_map(|route| {
            let interface = self.interface(route.interface?)?.clone();
            let same_family = |net: &IpNet| net.addr().is_ipv6() == route.to.addr().is_ipv6();
            let mut own =
                self.addresses.iter().filter(|(index, _)| *index == interface.index).map(|(_, net)| net);
            let address = own.find(|net| same_family(net) && !is_link_local(net.addr()))?.addr();
            Some(DefaultRoute { interface, address })
        })
    }

    /// The interface that has this address.
    #[must_use]
    pub fn interface_with(&self, address: IpAddr) -> Option<&Interface> {
        let (index, _) = self.addresses.iter().find(|(_, net)| net.addr() == address)?;
        self.interface(*index)
    }

    /// The interface of this name.
    #[must_use]
    pub fn interface_named(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.name == name)
    }

    /// All addresses with their prefix lengths.
    pub fn addresses(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.addresses.iter().map(|(_, net)| *net)
    }

    /// What `subnet` would collide with: an address or a route of this namespace (default and link-local ones aside),
    /// together with the interface's name, if it has one.
    #[must_use]
    pub fn overlap(&self, subnet: IpNet) -> Option<(IpNet, Option<&str>)> {
        let addresses = self.addresses.iter().map(|(index, net)| (*net, Some(*index)));
        let routes = self.routes.iter().filter(|r| r.to.prefix_len() > 0).map(|r| (r.to, r.interface));
        let mut nets = addresses.chain(routes).filter(|(net, _)| !is_link_local(net.network()));
        let (net, index) = nets.find(|(net, _)| overlaps(*net, subnet))?;
        Some((net, index.and_then(|i| self.interface(i)).map(|i| i.name.as_str())))
    }

    fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.index == index)
    }
}

fn overlaps(a: IpNet, b: IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast(),
    }
}

fn interface(link: &LinkMessage) -> Option<Interface> {
    let mtu = link.attributes.iter().find_map(|a| match a {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    })?;
    Some(Interface { index: link.header.index, name: name_of(link)?.to_owned(), mtu })
}

/// On a point-to-point link `Address` is the peer's and `Local` ours; elsewhere IPv6 sends only `Address`.
fn address(message: &AddressMessage) -> Option<(u32, IpNet)> {
    let local = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let plain = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    });
    let net = IpNet::new(local.or(plain)?, message.header.prefix_len).ok()?;
    Some((message.header.index, net))
}

fn route(message: &RouteMessage) -> Option<Route> {
    if !in_main_table(message) {
        return None;
    }
    let mut destination = None;
    let mut interface = None;
    let mut metric = 0;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => destination = Some(IpAddr::from(*ip)),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => destination = Some(IpAddr::from(*ip)),
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::MultiPath(hops) => interface = hops.first().map(|h| h.interface_index),
            RouteAttribute::Priority(priority) => metric = *priority,
            _ => {}
        }
    }
    let any = match message.header.address_family {
        netlink_packet_route::AddressFamily::Inet => IpAddr::from([0; 4]),
        netlink_packet_route::AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let to = IpNet::new(destination.unwrap_or(any), message.header.destination_prefix_length).ok()?;
    Some(Route { to, interface, metric })
}
