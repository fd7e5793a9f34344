//! From a TAP in a container to the container's interface.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute};
use rustix::io::Errno;
use weft_dataplane::wire::MacAddr;

use super::link::change;
use super::{Link, Netns, SandboxError, StaticRoute};

/// The longest interface name the kernel takes, in bytes (IFNAMSIZ less the final zero).
pub const IFNAME_MAX: usize = 15;

/// The largest super-frame a container may send, in bytes: with the outer headers it still fits one UDP datagram that
/// crosses a device whole (65,490 bytes of payload), so it never has to be cut in software on the way out.
const GSO_MAX_SIZE: u32 = 65_400;

/// What the container's interface shall be.
#[derive(Clone, Debug)]
pub struct Plug {
    /// The name inside the sandbox.
    pub ifname: String,
    /// The MAC address.
    pub mac: MacAddr,
    /// The addresses, each with the prefix length of its subnet.
    pub addresses: Vec<IpNet>,
    /// One default route for each, on the link whatever the subnet.
    pub gateways: Vec<IpAddr>,
    /// Other routes.
    pub routes: Vec<StaticRoute>,
    /// The MTU in bytes; at least 1280 if there are IPv6 addresses.
    pub mtu: u32,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugged {
    /// The interface's index inside the sandbox.
    pub index: u32,
    /// What was left out without harm, one line each, for the log and the user.
    pub warnings: Vec<String>,
}

/// Whether the kernel would take `ifname` literally.
///
/// # Errors
/// [`SandboxError::BadIfname`].
pub fn check_ifname(ifname: &str) -> Result<(), SandboxError> {
    // '%' is legal but makes a pattern of the name, and the kernel would pick another one.
    let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%');
    let good = (1..=IFNAME_MAX).contains(&ifname.len()) && ifname.chars().all(allowed);
    if good && ifname != "." && ifname != ".." {
        return Ok(());
    }
    Err(SandboxError::BadIfname { ifname: ifname.to_owned() })
}

/// Brings up the loopback of `netns`.
///
/// # Errors
/// The kernel's refusal.
pub async fn loopback_up(netns: &Netns) -> Result<(), SandboxError> {
    let inside = netns.link()?;
    let index = inside.index_of("lo").await?;
    inside.up(index).await
}

/// Makes the TAP that was made inside `netns` as `plug.ifname` what `plug` says, up and running.
///
/// After an error it may be half set up. The caller closes its descriptors, which removes the link with everything on it;
/// nothing else is ever created here.
///
/// # Errors
/// [`SandboxError::NoInterface`], [`SandboxError::Ipv6Disabled`], or the kernel's refusal.
pub async fn plug(netns: &Netns, plug: &Plug) -> Result<Plugged, SandboxError> {
    let inside = netns.link()?;
    let index = set_mac_and_mtu(&inside, plug).await?;
    derive_link_local_from_mac(&inside, index).await;
    give_addresses(&inside, index, plug).await?;
    inside.up(index).await?;
    for &route in &plug.routes {
        inside.add_route(index, route).await?;
    }
    let mut warnings = Vec::new();
    for &gateway in &plug.gateways {
        warnings.extend(add_default_route(&inside, index, gateway).await?);
    }
    Ok(Plugged { index, warnings })
}

/// Gives the TAP that was made in the calling thread's namespace as `plug.ifname` its MAC and MTU. It stays down, so that
/// nobody speaks by it before it is where it is to be.
///
/// # Errors
/// As [`plug`].
pub async fn shape(plug: &Plug) -> Result<(), SandboxError> {
    set_mac_and_mtu(&Netns::current()?.link()?, plug).await.map(drop)
}

async fn set_mac_and_mtu(link: &Link, plug: &Plug) -> Result<u32, SandboxError> {
    let index = link.index_of(&plug.ifname).await?;
    let message = change(index).address(plug.mac.0.to_vec()).mtu(plug.mtu).build();
    link.set(|| format!("set MAC and MTU {} of {}", plug.mtu, plug.ifname), message).await?;
    limit_super_frames(link, index).await;
    Ok(index)
}

async fn give_addresses(inside: &Link, index: u32, plug: &Plug) -> Result<(), SandboxError> {
    for &address in &plug.addresses {
        inside.add_address(index, address).await.map_err(|e| match e.errno() {
            // EACCES: switched off by sysctl. The others: a kernel booted or built without IPv6.
            Some(Errno::ACCESS | Errno::OPNOTSUPP | Errno::AFNOSUPPORT) if address.addr().is_ipv6() => {
                SandboxError::Ipv6Disabled {
                    address: address.addr(),
                    ifname: plug.ifname.clone(),
                    netns: inside.netns().to_owned(),
                }
            }
            _ => e,
        })?;
    }
    Ok(())
}

/// Adds the default route, unless the sandbox has one: a container on several networks keeps its first.
async fn add_default_route(
    inside: &Link,
    index: u32,
    gateway: IpAddr,
) -> Result<Option<String>, SandboxError> {
    let skipped = || format!("{} has a default route already: none added via {gateway}", inside.netns());
    if inside.has_default_route(gateway).await? {
        return Ok(Some(skipped()));
    }
    match inside.add_default_route(index, gateway).await {
        Err(e) if e.errno() == Some(Errno::EXIST) => Ok(Some(skipped())),
        other => other.map(|()| None),
    }
}

/// Best effort: without it, the largest super-frames are cut once more on their way out, and arrive all the same.
pub(super) async fn limit_super_frames(link: &Link, index: u32) {
    let message = change(index).append_extra_attribute(LinkAttribute::GsoMaxSize(GSO_MAX_SIZE)).build();
    if let Err(error) = link.set(|| format!("set gso_max_size {GSO_MAX_SIZE}"), message).await {
        tracing::debug!(%error, "super-frame limit not set");
    }
}

/// The link-local address follows from the MAC (EUI-64), so that the switch can tell which one a port may speak from.
/// Best effort: it fails only where there is no IPv6 to speak.
pub(super) async fn derive_link_local_from_mac(link: &Link, index: u32) {
    let inet6 = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::Eui64)]);
    let message = change(index).append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![inet6])).build();
    if let Err(error) = link.set(|| "set addr_gen_mode eui64".into(), message).await {
        tracing::debug!(%error, "addr_gen_mode not set");
    }
}

/// That `netns` has an interface of this name.
#[must_use]
pub fn taken(ifname: &str, netns: &Netns) -> SandboxError {
    SandboxError::IfnameTaken { ifname: ifname.to_owned(), netns: netns.to_string() }
}
