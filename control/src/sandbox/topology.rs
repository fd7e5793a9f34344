//! Links between scratch namespaces, and the kernel's own VXLAN device to talk to: the underlay of a demonstration.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute};
use netlink_packet_route::neighbour::NeighbourFlags;
use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan};
use rustix::io::Errno;
use weft_dataplane::wire::vxlan;

use super::{Link, Netns, SandboxError, check_ifname};

/// One end of a veth pair.
#[derive(Clone, Copy, Debug)]
pub struct VethEnd<'a> {
    /// The namespace it is made in.
    pub netns: &'a Netns,
    /// Its name there.
    pub ifname: &'a str,
}

/// Makes a veth pair with its ends where they belong from the start. Both are down.
///
/// # Errors
/// [`SandboxError::BadIfname`], or [`SandboxError::Netlink`] (`EEXIST` for a name in use).
pub async fn veth_pair(link: &Link, a: VethEnd<'_>, b: VethEnd<'_>, mtu: u32) -> Result<(), SandboxError> {
    check_ifname(a.ifname)?;
    check_ifname(b.ifname)?;
    let mut peer = LinkMessageBuilder::<LinkUnspec>::default().name(b.ifname).mtu(mtu).build();
    peer.attributes.push(LinkAttribute::NetNsFd(b.netns.as_fd().as_raw_fd()));
    let message = LinkMessageBuilder::<LinkVeth>::new(a.ifname, b.ifname)
        .mtu(mtu)
        .setns_by_fd(a.netns.as_fd().as_raw_fd())
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .build();
    let step = || format!("make the veth pair {} - {}", a.ifname, b.ifname);
    link.finish(step, link.raw().link().add(message).execute()).await
}

/// A kernel VXLAN device (RFC 7348) to be made.
#[derive(Clone, Debug)]
pub struct KernelVxlan<'a> {
    /// The device's name.
    pub ifname: &'a str,
    /// The VNI, 24 bits.
    pub vni: u32,
    /// Our VTEP address.
    pub local: Ipv4Addr,
    /// The other VTEPs: unknown and group destinations are sent to each of them.
    pub peers: &'a [Ipv4Addr],
    /// The MTU in bytes.
    pub mtu: u32,
}

/// Makes the device in the namespace of `link`, down, with one flood entry for each peer, and returns its index.
///
/// # Errors
/// [`SandboxError::NoVxlan`] when the kernel has no such driver, else [`SandboxError::Netlink`].
pub async fn kernel_vxlan(link: &Link, device: &KernelVxlan<'_>) -> Result<u32, SandboxError> {
    check_ifname(device.ifname)?;
    let message = LinkVxlan::new(device.ifname, device.vni)
        .local(device.local)
        .port(vxlan::PORT)
        .learning(true)
        .mtu(device.mtu)
        .build();
    let step = || format!("make the vxlan device {}", device.ifname);
    link.finish(step, link.raw().link().add(message).execute()).await.map_err(|e| match e.errno() {
        Some(Errno::OPNOTSUPP) => SandboxError::NoVxlan,
        _ => e,
    })?;
    let index = link.index_of(device.ifname).await?;
    for &peer in device.peers {
        flood_to(link, index, peer).await?;
    }
    Ok(index)
}

/// `bridge fdb append 00:00:00:00:00:00 dev DEVICE dst PEER`: the all-zero entry is where unknown frames go. Appending
/// is what rtnetlink's own request cannot do, so the message is sent by hand.
async fn flood_to(link: &Link, index: u32, peer: Ipv4Addr) -> Result<(), SandboxError> {
    let step = || format!("add {peer} to the flood list of interface {index}");
    let handle = link.raw().neighbours();
    let mut request = handle.add_bridge(index, &[0; 6]).destination(peer.into());
    request.message_mut().header.flags = NeighbourFlags::Own;
    let message = RouteNetlinkMessage::NewNeighbour(request.message_mut().clone());
    link.request(step, message, NLM_F_CREATE | NLM_F_APPEND).await
}
