//! The verbs about the ways off the host.

use std::net::IpAddr;

use weft_dataplane::gateway::EgressSpec;
use weft_dataplane::gateway::route::LinkId;
use weft_dataplane::io::link::LinkSockets;
use weft_dataplane::io::packet::PacketSocket;
use weft_dataplane::io::reserve::Reserved;
use weft_dataplane::nat::{Counts, SessionRow};
use weft_dataplane::runtime::{HeldPort, OutsideWants, Purpose};
use weft_dataplane::tables::Transport;

use super::error::io;
use super::{Dataplane, PacketError};

impl Dataplane {
    /// As [`Handle::set_egress`](weft_dataplane::runtime::Handle::set_egress).
    ///
    /// # Errors
    /// [`PacketError`]; the former routing stays.
    pub fn set_egress(
        &self,
        spec: &EgressSpec,
        links: Vec<(LinkId, LinkSockets)>,
    ) -> Result<(), PacketError> {
        let mut links = Some(links);
        self.shared.ask(|client, memory| {
            client.set_egress(spec, links.iter().flatten().map(|(id, sockets)| (*id, sockets)))?;
            if !memory.egress.same_ways(spec) {
                memory.links.retain(|id, _| spec.links.iter().any(|link| link.id == *id));
                let addresses = spec.addresses();
                let lives = |port: &HeldPort| addresses.contains(&port.address);
                memory.held.retain(|port, (purpose, _)| *purpose == Purpose::Published || lives(port));
            }
            memory.links.extend(links.take().into_iter().flatten());
            memory.egress = spec.clone();
            Ok(())
        })
    }

    /// As [`Handle::hold`](weft_dataplane::runtime::Handle::hold), and for [`Purpose::Lent`] as
    /// [`Handle::lend`](weft_dataplane::runtime::Handle::lend).
    ///
    /// # Errors
    /// [`PacketError`]; some of the ports may be held by the packet process until it is told to release them.
    pub fn hold(
        &self,
        purpose: Purpose,
        address: IpAddr,
        transport: Transport,
        ports: Vec<(u16, Reserved)>,
    ) -> Result<(), PacketError> {
        let mut ports = Some(ports);
        self.shared.ask(|client, memory| {
            let sockets = ports.iter().flatten().map(|(port, socket)| (*port, socket));
            client.hold(purpose, (address, transport), sockets)?;
            if purpose == Purpose::Lent {
                let numbers = ports.iter().flatten().map(|(port, _)| *port).collect();
                client.lend(address, transport, numbers)?;
            }
            for (port, socket) in ports.take().into_iter().flatten() {
                memory.held.insert(HeldPort { address, transport, port }, (purpose, socket));
            }
            Ok(())
        })
    }

    /// Lets go of published ports.
    pub fn release(&self, ports: &[HeldPort]) {
        self.shared.tell(
            |memory| {
                let stays = |port: &HeldPort, purpose| purpose == Purpose::Lent || !ports.contains(port);
                memory.held.retain(|port, (purpose, _)| stays(port, *purpose));
            },
            |client, _| client.release(ports),
        );
    }

    /// Second descriptors of the ports that are held for `purpose`, as by an earlier daemon.
    ///
    /// # Errors
    /// [`PacketError::Io`] when there are no more descriptors.
    pub fn held(&self, purpose: Purpose) -> Result<Vec<(HeldPort, Reserved)>, PacketError> {
        self.shared.recall(|memory| {
            let of = memory.held.iter().filter(|(_, (for_what, _))| *for_what == purpose);
            let cloned = of.map(|(port, (_, socket))| Ok((*port, socket.try_clone()?)));
            cloned.collect::<std::io::Result<_>>().map_err(io("duplicate the socket of a port"))
        })
    }

    /// Second descriptors of the links' packet sockets, as an earlier daemon may have opened them.
    ///
    /// # Errors
    /// [`PacketError::Io`] when there are no more descriptors.
    pub fn links(&self) -> Result<Vec<(LinkId, PacketSocket)>, PacketError> {
        self.shared.recall(|memory| {
            let cloned = memory.links.iter().map(|(id, sockets)| Ok((*id, sockets.packets.try_clone()?)));
            cloned.collect::<std::io::Result<_>>().map_err(io("duplicate the socket of a link"))
        })
    }

    /// How packets leave, as an earlier daemon may have told.
    #[must_use]
    pub fn egress(&self) -> EgressSpec {
        self.shared.recall(|memory| memory.egress.clone())
    }

    /// As [`Handle::take_wants`](weft_dataplane::runtime::Handle::take_wants).
    #[must_use]
    pub fn take_wants(&self) -> OutsideWants {
        self.shared.tell(|_| (), |client, _| client.take_wants()).unwrap_or_default()
    }

    /// NAT sessions, `max` at most; none while there is no packet process.
    #[must_use]
    pub fn sessions(&self, max: usize) -> Vec<SessionRow> {
        self.shared.tell(|_| (), |client, _| client.sessions(max)).unwrap_or_default()
    }

    /// How much the NAT holds.
    #[must_use]
    pub fn nat_counts(&self) -> Counts {
        self.shared.tell(|_| (), |client, _| client.nat_counts()).unwrap_or_default()
    }
}
