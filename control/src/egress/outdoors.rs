//! The packet process as the [`Door`].

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weft_dataplane::gateway::{EgressSpec, LinkId};
use weft_dataplane::io::link::LinkSockets;
use weft_dataplane::io::packet::PacketSocket;
use weft_dataplane::io::reserve::{Reserved, Transport};
use weft_dataplane::nat::Protocol;
use weft_dataplane::runtime::{OutsideWants, Purpose};

use super::{Door, Want};
use crate::packet::{Dataplane, PacketError};

/// A [`Dataplane`] that leads outside.
#[derive(Debug)]
pub struct Outdoors {
    dataplane: Arc<Dataplane>,
    /// What it has said it wants and nobody has taken.
    wants: Mutex<OutsideWants>,
}

impl Outdoors {
    /// That of `dataplane`. What an adopted one has asked an earlier daemon for, it will ask for again.
    #[must_use]
    pub fn new(dataplane: Arc<Dataplane>) -> Self {
        for address in dataplane.egress().outside() {
            for transport in [Transport::Tcp, Transport::Udp] {
                told("lend no port", dataplane.hold(Purpose::Lent, address, transport, Vec::new()));
            }
        }
        Self { dataplane, wants: Mutex::default() }
    }

    /// All that is wanted and not taken.
    fn wants(&self) -> MutexGuard<'_, OutsideWants> {
        let news = self.dataplane.take_wants();
        let mut wants = self.wants.lock().unwrap_or_else(PoisonError::into_inner);
        wants.used.extend(news.used);
        wants.wanted.extend(news.wanted);
        wants.ports.extend(news.ports);
        wants
    }
}

impl Door for Outdoors {
    fn is_closed(&self) -> bool {
        self.dataplane.is_ending()
    }

    fn links(&self) -> Vec<(LinkId, PacketSocket)> {
        self.dataplane.links().unwrap_or_else(|error| {
            tracing::error!(%error, "the links to the outside are opened anew");
            Vec::new()
        })
    }

    fn set_egress(&self, spec: EgressSpec, opened: Vec<(LinkId, LinkSockets)>) {
        told("pass on the host's routing", self.dataplane.set_egress(&spec, opened));
    }

    fn lend(&self, address: IpAddr, transport: Transport, ports: Vec<(u16, Reserved)>) {
        told("lend ports", self.dataplane.hold(Purpose::Lent, address, transport, ports));
    }

    fn take_wants(&self) -> Vec<Want> {
        let wants = std::mem::take(&mut self.wants().ports);
        let want = |want: weft_dataplane::nat::Want| {
            let transport = match want.protocol {
                Protocol::Tcp => Transport::Tcp,
                Protocol::Udp => Transport::Udp,
                // Query identifiers are nobody's to reserve.
                Protocol::Icmp => return None,
            };
            Some(Want { address: want.address, transport, count: want.count })
        };
        wants.into_iter().filter_map(want).collect()
    }

    fn take_used(&self) -> Vec<(LinkId, IpAddr)> {
        std::mem::take(&mut self.wants().used)
    }

    fn take_missing(&self) -> Vec<(LinkId, IpAddr)> {
        std::mem::take(&mut self.wants().wanted)
    }
}

/// The next look at the routing tells everything again.
fn told(what: &str, result: Result<(), PacketError>) {
    if let Err(error) = result {
        tracing::error!(%error, "cannot {what}");
    }
}
