//! Which underlay a configuration means on this host.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Config, ConfigError};
use crate::sandbox::host::HostNets;

/// What the configuration must know of the host.
pub trait HostView {
    /// The address that default traffic leaves from.
    fn default_address(&self) -> Option<IpAddr>;
    /// Whether there is an interface of this name.
    fn has_interface(&self, ifname: &str) -> bool;
    /// The first address of that interface which could be an underlay's.
    fn address_of(&self, ifname: &str) -> Option<IpAddr>;
    /// The subnet that one of the host's addresses stands in; `None` when the host has no such address.
    fn subnet_of(&self, address: IpAddr) -> Option<IpNet>;
    /// The MTU, in bytes, of the interface with this address.
    fn mtu_of(&self, address: IpAddr) -> Option<u32>;
}

impl HostView for HostNets {
    fn default_address(&self) -> Option<IpAddr> {
        self.default_route().map(|route| route.address)
    }

    fn has_interface(&self, ifname: &str) -> bool {
        self.interface_named(ifname).is_some()
    }

    fn address_of(&self, ifname: &str) -> Option<IpAddr> {
        let index = self.interface_named(ifname)?.index;
        let here = |address: &IpAddr| self.interface_with(*address).is_some_and(|i| i.index == index);
        let routable = |address: &IpAddr| {
            !address.is_loopback() && !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
        };
        let mut candidates: Vec<_> =
            self.addresses().map(|net| net.addr()).filter(|a| here(a) && routable(a)).collect();
        candidates.sort_by_key(IpAddr::is_ipv6);
        candidates.first().copied()
    }

    fn subnet_of(&self, address: IpAddr) -> Option<IpNet> {
        self.addresses().find(|net| net.addr() == address).map(|net| net.trunc())
    }

    fn mtu_of(&self, address: IpAddr) -> Option<u32> {
        self.interface_with(address).map(|interface| interface.mtu)
    }
}

/// The underlay that overlays of this host use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// This host's VTEP.
    pub address: IpAddr,
    /// The subnet it stands in.
    pub subnet: IpNet,
    /// The MTU of its interface, in bytes.
    pub mtu: u32,
}

impl Underlay {
    /// Bytes that VXLAN adds to an inner IP packet: inner Ethernet 14, VXLAN 8, UDP 8, and the outer IP header.
    #[must_use]
    pub fn overhead(&self) -> u32 {
        if self.address.is_ipv4() { 50 } else { 70 }
    }

    /// The largest MTU, in bytes, that an overlay can give its endpoints.
    #[must_use]
    pub fn inner_mtu(&self) -> u32 {
        self.mtu.saturating_sub(self.overhead())
    }
}

impl Config {
    /// Decides the underlay: the configured address, or the uplink's, or that of the default route. A host with none of
    /// these has no underlay, which is fine as long as no peer needs one.
    ///
    /// # Errors
    /// [`ConfigError`] when the configuration does not fit this host.
    pub fn settle(&self, host: &impl HostView) -> Result<Option<Underlay>, ConfigError> {
        let Some(address) = self.find_address(host)? else {
            return if self.peers.is_empty() { Ok(None) } else { Err(ConfigError::NoUnderlay) };
        };
        for &peer in &self.peers {
            if peer.is_ipv4() != address.is_ipv4() {
                return Err(ConfigError::PeerFamily { peer, address });
            }
            if host.subnet_of(peer).is_some() {
                return Err(ConfigError::PeerIsUs { peer });
            }
        }
        let (Some(subnet), Some(mtu)) = (host.subnet_of(address), host.mtu_of(address)) else {
            return Err(ConfigError::NotOurs { address });
        };
        Ok(Some(Underlay { address, subnet, mtu }))
    }

    fn find_address(&self, host: &impl HostView) -> Result<Option<IpAddr>, ConfigError> {
        if self.underlay_address.is_some() {
            return Ok(self.underlay_address);
        }
        let Some(uplink) = &self.uplink else { return Ok(host.default_address()) };
        match host.address_of(uplink.as_str()) {
            Some(address) => Ok(Some(address)),
            None => {
                let exists = host.has_interface(uplink.as_str());
                Err(ConfigError::NoUplink { ifname: uplink.clone(), exists })
            }
        }
    }
}
