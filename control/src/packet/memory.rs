//! Everything the packet process was given: what it takes to give it to another one.

use std::collections::BTreeMap;

use weft_dataplane::io::tap::Tap;
use weft_dataplane::io::udp::Sockets;
use weft_dataplane::io::uplink::Uplink;
use weft_dataplane::runtime::remote::{Client, Inventory, RemoteError};
use weft_dataplane::runtime::{Stats, UnderlayInfo};
use weft_dataplane::tables::{PortId, TablesSpec};
use weft_dataplane::tunnel::Vtep;
use weft_dataplane::tunnel::outer::NextHop;

/// Descriptors and facts.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) sockets: Option<Sockets>,
    pub(super) tables: TablesSpec,
    pub(super) taps: BTreeMap<PortId, Tap>,
    pub(super) uplink: Option<Uplink>,
    pub(super) hops: Vec<(Vtep, NextHop)>,
    /// As last heard.
    pub(super) underlay: Option<UnderlayInfo>,
    /// As last heard.
    pub(super) stats: Option<Stats>,
}

impl Memory {
    /// What the packet process behind `client` has, descriptor by descriptor.
    pub(super) fn of(client: &mut Client, inventory: Inventory) -> Result<Self, RemoteError> {
        let taps = inventory.ports.iter().map(|(port, name)| Ok((*port, client.port(*port, name)?)));
        Ok(Self {
            taps: taps.collect::<Result<_, RemoteError>>()?,
            sockets: client.sockets(&inventory.setup)?,
            uplink: inventory.uplink.map(|name| client.uplink(&name)).transpose()?,
            tables: inventory.tables,
            hops: inventory.hops,
            underlay: client.underlay()?,
            stats: None,
        })
    }

    /// Tells a packet process that has just started all of it. What it refuses is left out, with a line in the log: the
    /// rest is no worse for that.
    pub(super) fn tell(&mut self, client: &mut Client) -> Result<(), RemoteError> {
        tolerate("its tables", client.publish(&self.tables))?;
        for (port, error) in client.attach_all(self.taps.iter().map(|(port, tap)| (*port, tap)))? {
            tolerate(&format!("port {}", port.0), Err(error))?;
        }
        if let Some(uplink) = &self.uplink {
            tolerate(uplink.name(), client.open_uplink(uplink))?;
            tolerate("its next hops", client.set_next_hops(&self.hops))?;
        }
        self.underlay = client.underlay()?;
        Ok(())
    }
}

fn tolerate(what: &str, result: Result<(), RemoteError>) -> Result<(), RemoteError> {
    match result {
        Err(error) if !error.is_final() => {
            tracing::error!(%error, what, "the new packet process refuses what the old one had");
            Ok(())
        }
        other => other,
    }
}
