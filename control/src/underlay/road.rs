//! From this host to the underlay device: what it takes, building it, and whether it still holds.

use std::io;
use std::net::IpAddr;

use weft_dataplane::io::ethtool::{self, UDP_TUNNEL_SEGMENTATION};
use weft_dataplane::io::tap::TapError;
use weft_dataplane::io::uplink::Uplink;

use super::trial::{self, TrialError};
use super::{plumb, snapshot};
use crate::packet::PacketError;
use crate::sandbox::{Device, Link, SandboxError};

/// An uplink TAP that leads to the underlay device.
#[derive(Debug)]
pub(super) struct Road {
    /// The index of the underlay device.
    pub(super) device: u32,
    /// The index of the TAP.
    pub(super) uplink: u32,
    /// The TAP's name.
    name: String,
}

/// Why `tunnel-gso` is not used.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The underlay address is on no interface.
    #[error("no interface has the address {0}")]
    NoDevice(IpAddr),
    /// It cannot carry anything.
    #[error("{0} is down")]
    Down(String),
    /// Outer Ethernet headers would make no sense there.
    #[error("{0} is not an Ethernet device")]
    NotEthernet(String),
    /// Sockets do as well there.
    #[error("{0} does not offer {UDP_TUNNEL_SEGMENTATION}")]
    NotOffered(String),
    /// The driver cannot be asked.
    #[error("the features of {device} cannot be read: {source}")]
    Features {
        /// The underlay device.
        device: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It was tried, and did not work.
    #[error("the trial failed: {0}")]
    Trial(#[from] TrialError),
    /// No TAP.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// The dataplane does not take the TAP.
    #[error(transparent)]
    Attach(#[from] PacketError),
    /// Netlink refuses.
    #[error(transparent)]
    Netlink(#[from] SandboxError),
    /// No name for the TAP.
    #[error("no random number can be had: {0}")]
    Random(rustix::io::Errno),
    /// The underlay device is another one now.
    #[error("the underlay device has been replaced by {0}")]
    Replaced(String),
    /// Somebody has deleted the TAP.
    #[error("the uplink {0} has been deleted")]
    UplinkGone(String),
    /// Somebody has taken the TAP down.
    #[error("the uplink {0} has been taken down")]
    UplinkDown(String),
    /// Somebody has removed the filter, or the TAP's ingress qdisc.
    #[error("the redirect of the uplink {0} has been removed")]
    NoRedirect(String),
}

impl Refusal {
    /// Whether no change on this host can make it go away while this process lives.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Trial(TrialError::NoTunnelOffload))
    }
}

/// The device that has the underlay address.
pub(super) async fn find(link: &Link, address: IpAddr) -> Result<Device, Refusal> {
    snapshot::device_with(link, address).await?.ok_or(Refusal::NoDevice(address))
}

/// Whether `device` can do `tunnel-gso`. Without its help the kernel cuts super-frames itself. That works, but measures
/// hardly better than sockets: only `forced` asks for it.
pub(super) fn admit(device: &Device, forced: bool) -> Result<(), Refusal> {
    let name = || device.name.clone();
    if !device.ethernet {
        return Err(Refusal::NotEthernet(name()));
    }
    if !device.up {
        return Err(Refusal::Down(name()));
    }
    if forced {
        return Ok(());
    }
    match ethtool::has_feature(&device.name, UDP_TUNNEL_SEGMENTATION) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refusal::NotOffered(name())),
        Err(source) => Err(Refusal::Features { device: name(), source }),
    }
}

impl Road {
    /// Makes a road to `device` with a queue for each of `workers`, after a trial with frames like those of `address`. It
    /// is made in the calling thread's network namespace; the trial has its own and leaves nothing behind.
    pub(super) async fn build(
        link: &Link,
        device: &Device,
        address: IpAddr,
        workers: usize,
    ) -> Result<(Self, Uplink), Refusal> {
        trial::run(address.is_ipv6()).await?;
        let mut number = [0; 4];
        rustix::rand::getrandom(&mut number, rustix::rand::GetRandomFlags::empty())
            .map_err(Refusal::Random)?;
        let uplink = Uplink::create(&format!("wfu{:08x}", u32::from_ne_bytes(number)), workers)?;
        plumb::lead(link, uplink.name(), device.index).await?;
        let index = link.index_of(uplink.name()).await?;
        Ok((Self { device: device.index, uplink: index, name: uplink.name().to_owned() }, uplink))
    }

    /// Whether the road is as it was built, and leads where it should.
    pub(super) async fn check(&self, link: &Link, address: IpAddr, forced: bool) -> Result<(), Refusal> {
        let device = find(link, address).await?;
        admit(&device, forced)?;
        if device.index != self.device {
            return Err(Refusal::Replaced(device.name));
        }
        match link.device(self.uplink).await? {
            None => Err(Refusal::UplinkGone(self.name.clone())),
            Some(uplink) if !uplink.up => Err(Refusal::UplinkDown(self.name.clone())),
            Some(_) if !plumb::leads_to(link, self.uplink, self.device).await? => {
                Err(Refusal::NoRedirect(self.name.clone()))
            }
            Some(_) => Ok(()),
        }
    }
}
