//! What control does about the ways off the host.

use std::io;
use std::net::IpAddr;

use super::doors::{HeldPort, Purpose};
use super::handle::Handle;
use super::worker::{Command, Reads};
use crate::gateway::route::LinkId;
use crate::gateway::{Egress, EgressError, EgressSpec};
use crate::house::OutsideWants;
use crate::io::ledger::{Ledger, LedgerError, SLOTS_MAX};
use crate::io::link::LinkSockets;
use crate::io::reserve::Reserved;
use crate::nat::{Counts, Protocol, RECORD_LEN, Restored, SessionRow};
use crate::tables::Transport;

/// Why the ways off the host are not as control wants them.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// The routing is nonsense.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// No descriptor is left for a link.
    #[error("cannot duplicate a socket: {0}")]
    Descriptors(#[from] io::Error),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Handle {
    /// Routes packets that leave the host by `spec`. `links` are sockets of links that are new or opened anew. Links that
    /// `spec` does not name are closed, and so are ports lent on addresses that the host has no more.
    ///
    /// # Errors
    /// [`OutsideError`]; nothing has changed.
    pub fn set_egress(
        &self,
        spec: &EgressSpec,
        links: Vec<(LinkId, LinkSockets)>,
    ) -> Result<(), OutsideError> {
        let egress = Egress::build(spec)?;
        let for_all = |sockets: &LinkSockets| {
            self.workers.iter().map(|_| sockets.try_clone()).collect::<io::Result<Vec<_>>>()
        };
        let clones = links.iter().map(|(id, sockets)| Ok((*id, for_all(sockets)?)));
        let clones: Vec<(LinkId, Vec<LinkSockets>)> = clones.collect::<io::Result<_>>()?;

        // Links are there before the NAT sends to them, and both links and ports stay until it does no more.
        for (id, clones) in clones {
            for (index, (worker, LinkSockets { packets, raw })) in self.workers.iter().zip(clones).enumerate()
            {
                let reads = if index == 0 { Reads::Yes } else { Reads::No };
                worker.tell(Command::AttachLink(id, Box::new(packets), Box::new(raw), reads));
            }
        }
        let (dead, gone) = self.shared.doors.open().lead(spec, &egress, links);
        let (tables, now) = (self.shared.tables.load(), self.shared.now());
        tables.house.outside().nat.set_egress(egress, now);
        drop(dead);
        for id in gone.into_keys() {
            self.workers.iter().for_each(|worker| worker.tell(Command::DetachLink(id)));
        }
        tables.house.touch();
        self.wake();
        Ok(())
    }

    /// Holds reserved ports until they are released.
    pub fn hold(&self, purpose: Purpose, address: IpAddr, transport: Transport, ports: Vec<(u16, Reserved)>) {
        let mut open = self.shared.doors.open();
        for (port, reserved) in ports {
            open.held.insert(HeldPort { address, transport, port }, (purpose, reserved));
        }
        if purpose == Purpose::Lent {
            open.refresh();
        }
    }

    /// Lends ports that are held to NAT, which may use them outside. Fewer than it wanted, or none, is an answer.
    pub fn lend(&self, address: IpAddr, transport: Transport, ports: &[u16]) {
        let open = self.shared.doors.open();
        let is_held = |&port: &u16| open.held.contains_key(&HeldPort { address, transport, port });
        let ports: Vec<_> = ports.iter().copied().filter(is_held).collect();
        drop(open);
        let tables = self.shared.tables.load();
        if tables.house.lend(address, transport.into(), &ports) {
            self.wake();
        }
    }

    /// Lets go of published ports.
    pub fn release(&self, ports: &[HeldPort]) {
        let mut open = self.shared.doors.open();
        open.held.retain(|port, (purpose, _)| *purpose == Purpose::Lent || !ports.contains(port));
    }

    /// What NAT wants of control.
    #[must_use]
    pub fn take_wants(&self) -> OutsideWants {
        self.shared.tables.load().house.outside().take_wants()
    }

    /// NAT sessions, `max` at most.
    #[must_use]
    pub fn sessions(&self, max: usize) -> Vec<SessionRow> {
        let (tables, now) = (self.shared.tables.load(), self.shared.now());
        let outside = tables.house.outside();
        outside.nat.sessions(now).take(max).collect()
    }

    /// How much NAT holds.
    #[must_use]
    pub fn nat_counts(&self) -> Counts {
        self.shared.tables.load().house.outside().nat.counts()
    }

    /// Takes over the sessions that `ledger` tells of, and writes to it from here on. To be called when the tables, the
    /// egress and the lent ports are what they were.
    ///
    /// # Errors
    /// [`OutsideError::Ledger`]; what can be read has been taken over, and sessions are not written down.
    pub fn keep_ledger(&self, ledger: Ledger) -> Result<Restored, OutsideError> {
        let mut records: Vec<[u8; RECORD_LEN]> = Vec::new();
        let read = ledger.read(SLOTS_MAX, |_, record| {
            records.extend(<[u8; RECORD_LEN]>::try_from(record));
        });
        let (tables, now) = (self.shared.tables.load(), self.shared.now());
        let mut kept = self.shared.doors.ledger();
        let mut outside = tables.house.outside();
        let restored = outside.nat.restore(&records, now);
        // Sessions have new slots, and are all written again, those that there were before among them.
        outside.nat.change_all();
        drop(outside);
        read?;
        ledger.clear(0, SLOTS_MAX)?;
        *kept = Some(ledger);
        tables.house.touch();
        drop(kept);
        self.wake();
        Ok(restored)
    }

    fn wake(&self) {
        self.workers.iter().take(1).for_each(super::handle::Running::wake);
    }
}

impl From<Transport> for Protocol {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp,
            Transport::Udp => Self::Udp,
        }
    }
}
