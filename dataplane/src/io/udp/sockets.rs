//! The sockets of an underlay before anybody uses them: what one process opens, and another one reads and writes.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::sources::{SOURCE_PORTS, bind_all};
use super::{Mode, UnderlayError, choose, io_error, listen};

/// Open sockets, and what they were opened for.
#[derive(Debug)]
pub struct Sockets {
    /// One for each worker, all on the tunnel's port.
    pub(super) receivers: Vec<Socket>,
    /// Those that only send.
    pub(super) sources: Vec<Socket>,
    pub(super) terms: Terms,
}

/// What cannot be read off the sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The tunnel's UDP port.
    pub port: u16,
    /// Whether datagrams may leave and arrive as one.
    pub gso: bool,
    /// Why not, if that needs a reason.
    pub reason: Option<String>,
}

impl Sockets {
    /// Opens them in the calling thread's network namespace for `workers` workers.
    ///
    /// # Errors
    /// [`UnderlayError`]; none is left open.
    pub fn open(address: IpAddr, port: u16, mode: Mode, workers: usize) -> Result<Self, UnderlayError> {
        let (mode, reason) = choose(address, mode)?;
        let gso = mode == Mode::UdpGso;
        let sources = bind_all(address, gso)?;
        // A socket that shares its port would let a second daemon share it too, so the first question is asked without.
        drop(listen(address, port, false)?);
        let receivers = (0..workers).map(|_| listen(address, port, workers > 1)).collect::<Result<_, _>>()?;
        Ok(Self { receivers, sources, terms: Terms { port, gso, reason } })
    }

    /// What [`Sockets::descriptors`] and [`Sockets::terms`] were read from; `None` when there are too few descriptors.
    #[must_use]
    pub fn from_descriptors(mut descriptors: Vec<OwnedFd>, terms: Terms) -> Option<Self> {
        let workers = descriptors.len().checked_sub(SOURCE_PORTS).filter(|&workers| workers > 0)?;
        let sources = descriptors.split_off(workers).into_iter().map(Socket::from).collect();
        let receivers = descriptors.into_iter().map(Socket::from).collect();
        Some(Self { receivers, sources, terms })
    }

    /// All descriptors, in an order of our own.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.receivers.iter().chain(&self.sources).map(AsFd::as_fd).collect()
    }

    /// What cannot be read off the sockets.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// A second set of descriptors for the same sockets.
    ///
    /// # Errors
    /// [`UnderlayError::Io`] when there are no more descriptors.
    pub fn try_clone(&self) -> Result<Self, UnderlayError> {
        let twice = |sockets: &[Socket]| {
            let clones = sockets.iter().map(Socket::try_clone).collect::<Result<Vec<_>, _>>();
            clones.map_err(io_error("duplicate a socket"))
        };
        Ok(Self {
            receivers: twice(&self.receivers)?,
            sources: twice(&self.sources)?,
            terms: self.terms.clone(),
        })
    }
}
