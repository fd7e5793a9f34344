//! What the interfaces of a namespace are like.

use ipnet::IpNet;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use weft_dataplane::wire::MacAddr;

use super::link::name_of;
use super::nets::{address_of, mtu_of};
use super::{Netns, SandboxError};

/// An interface as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub ifname: String,
    /// Whether it is up, as far as that is the namespace's decision.
    pub up: bool,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its MAC address, if it has one.
    pub mac: Option<MacAddr>,
    /// Its addresses with their prefix lengths.
    pub addresses: Vec<IpNet>,
}

/// Every interface of `netns`.
///
/// # Errors
/// The kernel's refusal.
pub async fn interfaces(netns: &Netns) -> Result<Vec<Found>, SandboxError> {
    let inside = netns.link()?;
    let addresses: Vec<_> = inside.addresses().await?.iter().filter_map(address_of).collect();
    let links = inside.links().await?;
    let found = links.iter().filter_map(|link| {
        let of_it = addresses.iter().filter(|(index, _)| *index == link.header.index);
        Some(Found {
            ifname: name_of(link)?.to_owned(),
            up: link.header.flags.contains(LinkFlags::Up),
            mtu: mtu_of(link)?,
            mac: mac_of(link),
            addresses: of_it.map(|(_, net)| *net).collect(),
        })
    });
    Ok(found.collect())
}

fn mac_of(link: &LinkMessage) -> Option<MacAddr> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok().map(MacAddr),
        _ => None,
    })
}
