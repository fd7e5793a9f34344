//! Interfaces, as far as frames through them matter.

use futures_util::TryStreamExt;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use rustix::io::Errno;
use weft_dataplane::wire::MacAddr;

use super::{Link, SandboxError};

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its index.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// Its MAC; zero if it has none.
    pub(crate) mac: MacAddr,
    /// Its MTU in bytes.
    pub(crate) mtu: u32,
    /// Whether it is administratively up.
    pub(crate) up: bool,
    /// Whether it takes Ethernet frames: the loopback interface does not.
    pub(crate) ethernet: bool,
    /// Whether it is a TAP or TUN device.
    pub(crate) tun: bool,
}

impl Device {
    fn of(message: &LinkMessage) -> Self {
        let mut device = Self {
            index: message.header.index,
            name: String::new(),
            mac: MacAddr::ZERO,
            mtu: 0,
            up: message.header.flags.contains(LinkFlags::Up),
            ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            tun: false,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::Address(bytes) => device.mac = mac(bytes).unwrap_or(MacAddr::ZERO),
                LinkAttribute::Mtu(mtu) => device.mtu = *mtu,
                LinkAttribute::IfName(name) => device.name.clone_from(name),
                LinkAttribute::LinkInfo(infos) => {
                    device.tun = infos.contains(&LinkInfo::Kind(InfoKind::Tun));
                }
                _ => {}
            }
        }
        device
    }
}

impl Link {
    /// The interface of this index; `None` when there is none.
    pub(crate) async fn device(&self, index: u32) -> Result<Option<Device>, SandboxError> {
        let mut found = std::pin::pin!(self.raw().link().get().match_index(index).execute());
        match self.finish(|| format!("look up interface {index}"), found.try_next()).await {
            Ok(message) => Ok(message.as_ref().map(Device::of)),
            Err(e) if e.errno() == Some(Errno::NODEV) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// All interfaces.
    pub(crate) async fn devices(&self) -> Result<Vec<Device>, SandboxError> {
        Ok(self.links().await?.iter().map(Device::of).collect())
    }
}

/// Six bytes.
pub(super) fn mac(bytes: &[u8]) -> Option<MacAddr> {
    bytes.try_into().ok().map(MacAddr)
}
