//! The host's own interface on a network: a TAP of ours that stays in the host's namespace.

use std::collections::BTreeSet;

use ipnet::IpNet;
use rustix::io::Errno;
use weft_dataplane::wire::MacAddr;

use super::link::change;
use super::nets::{address_of, is_link_local};
use super::plug::{derive_link_local_from_mac, limit_super_frames};
use super::{Link, Netns, SandboxError};

/// What the host's interface shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Its name.
    pub ifname: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its addresses, each with the prefix length of its subnet.
    pub addresses: Vec<IpNet>,
    /// Its MTU in bytes.
    pub mtu: u32,
}

/// Makes the TAP of that name, in the calling thread's namespace, what `leg` says, up and running. One that stands already
/// is changed; addresses of its own that it should not have go. A host without IPv6 does without those addresses.
///
/// After an error it may be half set up; closing the TAP's descriptors removes it.
///
/// # Errors
/// [`SandboxError::NoInterface`], or the kernel's refusal.
pub async fn stand(leg: &Leg) -> Result<(), SandboxError> {
    let link = Netns::current()?.link()?;
    let index = link.index_of(&leg.ifname).await?;
    let message = change(index).address(leg.mac.0.to_vec()).mtu(leg.mtu).build();
    link.set(|| format!("set MAC and MTU {} of {}", leg.mtu, leg.ifname), message).await?;
    limit_super_frames(&link, index).await;
    refuse_routers(&leg.ifname);
    derive_link_local_from_mac(&link, index).await;
    let there = clear(&link, index, &leg.addresses).await?;
    for &address in leg.addresses.iter().filter(|address| !there.contains(address)) {
        match link.add_address(index, address).await {
            Err(error) if address.addr().is_ipv6() && is_without_ipv6(&error) => {
                tracing::debug!(%error, "the host has no IPv6 on {}", leg.ifname);
            }
            other => other?,
        }
    }
    link.up(index).await
}

/// The host takes no router on the network for one of its own, and asks for none. Best effort: where there is no IPv6 there
/// is no such file.
fn refuse_routers(ifname: &str) {
    let path = format!("/proc/sys/net/ipv6/conf/{ifname}/accept_ra");
    if let Err(error) = std::fs::write(&path, "0") {
        tracing::debug!(%error, path, "router advertisements are not refused");
    }
}

/// Takes away every address but those in `wanted`, and the link-local one; gives those that are there.
async fn clear(link: &Link, index: u32, wanted: &[IpNet]) -> Result<BTreeSet<IpNet>, SandboxError> {
    let mut there = BTreeSet::new();
    for message in link.addresses().await? {
        match address_of(&message).filter(|&(of, net)| of == index && !is_link_local(net.addr())) {
            Some((_, net)) if wanted.contains(&net) => drop(there.insert(net)),
            Some((_, net)) => link.remove_address(net, message).await?,
            None => {}
        }
    }
    Ok(there)
}

/// EACCES: switched off by sysctl. The others: a kernel booted or built without IPv6.
fn is_without_ipv6(error: &SandboxError) -> bool {
    matches!(error.errno(), Some(Errno::ACCESS | Errno::OPNOTSUPP | Errno::AFNOSUPPORT))
}
