//! A port: where one endpoint's TAP meets its segment.

use std::net::IpAddr;
use std::sync::Arc;

use super::storm::Storm;
use crate::tables::{PortId, PortKind};
use crate::wire::MacAddr;

/// A port as workers see it; frozen, but for the storm limiter that all table versions share.
#[derive(Debug)]
pub struct Port {
    /// Its name among ports.
    pub id: PortId,
    /// What stands behind it.
    pub kind: PortKind,
    /// Index of its segment in the tables it belongs to.
    pub(crate) segment: usize,
    /// What its endpoint may claim to be.
    pub binding: Binding,
    /// How much BUM traffic it has sent.
    pub(crate) storm: Arc<Storm>,
}

/// The addresses that an endpoint was given, which are the only ones it may speak from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its IP addresses; IPv6 link-local speech is allowed from the EUI-64 address of `mac` as well.
    pub addresses: Vec<IpAddr>,
}

impl Binding {
    /// Whether the endpoint may speak from `address`.
    #[must_use]
    pub fn owns(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) || matches!(address, IpAddr::V6(v6) if v6 == self.mac.link_local())
    }
}
