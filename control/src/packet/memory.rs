//! Everything the packet process was given: what it takes to give it to another one.

use std::collections::BTreeMap;

use weft_dataplane::gateway::EgressSpec;
use weft_dataplane::gateway::route::LinkId;
use weft_dataplane::io::ledger::Ledger;
use weft_dataplane::io::link::LinkSockets;
use weft_dataplane::io::reserve::Reserved;
use weft_dataplane::io::tap::Tap;
use weft_dataplane::io::udp::Sockets;
use weft_dataplane::io::uplink::Uplink;
use weft_dataplane::nat::Restored;
use weft_dataplane::runtime::remote::{Client, Inventory, RemoteError};
use weft_dataplane::runtime::{HeldPort, Purpose, Stats, UnderlayInfo};
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
    pub(super) egress: EgressSpec,
    pub(super) links: BTreeMap<LinkId, LinkSockets>,
    pub(super) held: BTreeMap<HeldPort, (Purpose, Reserved)>,
    pub(super) ledger: Option<Ledger>,
    /// As last heard.
    pub(super) underlay: Option<UnderlayInfo>,
    /// As last heard.
    pub(super) stats: Option<Stats>,
}

impl Memory {
    /// What the packet process behind `client` has, descriptor by descriptor.
    pub(super) fn of(client: &mut Client, inventory: Inventory) -> Result<Self, RemoteError> {
        let taps = inventory.ports.iter().map(|(port, name)| Ok((*port, client.port(*port, name)?)));
        let taps = taps.collect::<Result<_, RemoteError>>()?;
        let links = inventory.links.iter().map(|id| Ok((*id, client.link(*id)?)));
        let links = links.collect::<Result<_, RemoteError>>()?;
        let (ports, purposes): (Vec<_>, Vec<_>) = inventory.held.into_iter().unzip();
        let sockets = client.held(&ports)?;
        Ok(Self {
            links,
            held: ports.into_iter().zip(purposes.into_iter().zip(sockets)).collect(),
            ledger: inventory.ledger.then(|| client.ledger()).transpose()?,
            egress: inventory.egress,
            taps,
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
        // Before the ports, so that no packet begins a session in the place of one that there was.
        self.tell_outside(client)?;
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

impl Memory {
    fn tell_outside(&self, client: &mut Client) -> Result<(), RemoteError> {
        let links = self.links.iter().map(|(id, socket)| (*id, socket));
        tolerate("its ways off the host", client.set_egress(&self.egress, links))?;
        let mut held =
            self.held.iter().map(|(port, (purpose, socket))| (port, *purpose, socket)).collect::<Vec<_>>();
        held.sort_by_key(|(port, purpose, _)| (port.address, port.transport, *purpose == Purpose::Lent));
        let same = |a: &(&HeldPort, Purpose, &Reserved), b: &(&HeldPort, Purpose, &Reserved)| {
            (a.0.address, a.0.transport, a.1) == (b.0.address, b.0.transport, b.1)
        };
        for group in held.chunk_by(same) {
            let (HeldPort { address, transport, .. }, purpose, _) = group[0];
            let ports = group.iter().map(|(port, _, socket)| (port.port, *socket));
            tolerate("its reserved ports", client.hold(purpose, (*address, *transport), ports))?;
            if purpose == Purpose::Lent {
                let numbers = group.iter().map(|(port, ..)| port.port).collect();
                tolerate("its lent ports", client.lend(*address, *transport, numbers))?;
            }
        }
        let Some(ledger) = &self.ledger else { return Ok(()) };
        let restored = client.keep_ledger(ledger);
        if let Ok(Restored { sessions, skipped }) = restored
            && sessions + skipped > 0
        {
            tracing::info!(sessions, skipped, "NAT sessions go on");
        }
        tolerate("its NAT sessions", restored.map(|_| ()))
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
