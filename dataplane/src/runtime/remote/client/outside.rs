//! The verbs about the ways off the host.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use super::super::RemoteError;
use super::super::message::{Answer, Request};
use super::Client;
use crate::gateway::EgressSpec;
use crate::gateway::route::LinkId;
use crate::io::ledger::Ledger;
use crate::io::link::LinkSockets;
use crate::io::reserve::Reserved;
use crate::nat::{Counts, RECORD_LEN, Restored, SessionRow};
use crate::runtime::{HeldPort, OutsideWants, Purpose};
use crate::tables::Transport;

/// Sockets of held ports in one message: fewer than descriptors can be.
const BATCH: usize = 128;

impl Client {
    /// As [`Handle::set_egress`](crate::runtime::Handle::set_egress). The caller keeps the sockets.
    ///
    /// # Errors
    /// [`RemoteError::Outside`] and those of the connection.
    pub fn set_egress<'s>(
        &mut self,
        spec: &EgressSpec,
        links: impl IntoIterator<Item = (LinkId, &'s LinkSockets)>,
    ) -> Result<(), RemoteError> {
        let links = links.into_iter().map(|(id, sockets)| (id, sockets.descriptors()));
        let (ids, descriptors): (Vec<_>, Vec<_>) =
            links.map(|(id, descriptors)| ((id, descriptors.len()), descriptors)).unzip();
        self.done(&Request::Egress(spec.clone(), ids), &descriptors.concat())
    }

    /// As [`Handle::hold`](crate::runtime::Handle::hold). The caller keeps the sockets.
    ///
    /// # Errors
    /// Those of the connection; some ports may be held.
    pub fn hold<'s>(
        &mut self,
        purpose: Purpose,
        (address, transport): (IpAddr, Transport),
        ports: impl IntoIterator<Item = (u16, &'s Reserved)>,
    ) -> Result<(), RemoteError> {
        let ports: Vec<_> = ports.into_iter().collect();
        for batch in ports.chunks(BATCH) {
            let (numbers, sockets): (Vec<_>, Vec<_>) = batch.iter().copied().unzip();
            let descriptors: Vec<_> = sockets.into_iter().map(Reserved::descriptor).collect();
            self.done(&Request::Hold(purpose, address, transport, numbers), &descriptors)?;
        }
        Ok(())
    }

    /// As [`Handle::lend`](crate::runtime::Handle::lend).
    ///
    /// # Errors
    /// Those of the connection.
    pub fn lend(
        &mut self,
        address: IpAddr,
        transport: Transport,
        ports: Vec<u16>,
    ) -> Result<(), RemoteError> {
        self.done(&Request::Lend(address, transport, ports), &[])
    }

    /// As [`Handle::release`](crate::runtime::Handle::release).
    ///
    /// # Errors
    /// Those of the connection.
    pub fn release(&mut self, ports: &[HeldPort]) -> Result<(), RemoteError> {
        self.done(&Request::Release(ports.to_vec()), &[])
    }

    /// As [`Handle::take_wants`](crate::runtime::Handle::take_wants).
    ///
    /// # Errors
    /// Those of the connection.
    pub fn take_wants(&mut self) -> Result<OutsideWants, RemoteError> {
        match self.ask(&Request::Wants, &[])? {
            (Answer::Wants(wants), _) => Ok(wants),
            (answer, _) => Err(self.unwanted(answer)),
        }
    }

    /// As [`Handle::sessions`](crate::runtime::Handle::sessions).
    ///
    /// # Errors
    /// Those of the connection.
    pub fn sessions(&mut self, max: usize) -> Result<Vec<SessionRow>, RemoteError> {
        match self.ask(&Request::Sessions(max), &[])? {
            (Answer::Sessions(rows), _) => Ok(rows),
            (answer, _) => Err(self.unwanted(answer)),
        }
    }

    /// As [`Handle::nat_counts`](crate::runtime::Handle::nat_counts).
    ///
    /// # Errors
    /// Those of the connection.
    pub fn nat_counts(&mut self) -> Result<Counts, RemoteError> {
        match self.ask(&Request::NatCounts, &[])? {
            (Answer::NatCounts(counts), _) => Ok(counts),
            (answer, _) => Err(self.unwanted(answer)),
        }
    }

    /// As [`Handle::keep_ledger`](crate::runtime::Handle::keep_ledger). The caller keeps `ledger`.
    ///
    /// # Errors
    /// [`RemoteError::Outside`] and those of the connection.
    pub fn keep_ledger(&mut self, ledger: &Ledger) -> Result<Restored, RemoteError> {
        match self.ask(&Request::Ledger, &[ledger.descriptor()])? {
            (Answer::Restored(restored), _) => Ok(restored),
            (answer, _) => Err(self.unwanted(answer)),
        }
    }

    /// A second set of descriptors of the link `id`.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn link(&mut self, id: LinkId) -> Result<LinkSockets, RemoteError> {
        LinkSockets::from_descriptors(self.given(&Request::Link(id))?).ok_or(RemoteError::NoDescriptors)
    }

    /// A second set of descriptors of these held ports.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn held(&mut self, ports: &[HeldPort]) -> Result<Vec<Reserved>, RemoteError> {
        let mut held = Vec::with_capacity(ports.len());
        for batch in ports.chunks(BATCH) {
            let descriptors = self.handed(&Request::Held(batch.to_vec()))?;
            if descriptors.len() != batch.len() {
                return Err(RemoteError::NoDescriptors);
            }
            held.extend(descriptors.into_iter().map(Reserved::from_descriptor));
        }
        Ok(held)
    }

    /// A second descriptor of the ledger.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn ledger(&mut self) -> Result<Ledger, RemoteError> {
        let fd = self.given(&Request::GiveLedger)?.into_iter().next().ok_or(RemoteError::NoDescriptors)?;
        Ok(Ledger::from_descriptor(fd, RECORD_LEN)?)
    }

    /// Descriptors that there may be none of.
    fn handed(&mut self, request: &Request) -> Result<Vec<OwnedFd>, RemoteError> {
        match self.ask(request, &[])? {
            (Answer::Done, descriptors) => Ok(descriptors),
            (answer, _) => Err(self.unwanted(answer)),
        }
    }
}
