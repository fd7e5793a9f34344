//! What can go wrong between control and the packet process.

use std::fmt;
use std::io;

use crate::io::ledger::LedgerError;
use crate::runtime::{AttachError, StartError};
use crate::tables::TablesError;

/// Who the other side is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its version of this protocol.
    pub protocol: u32,
    /// The version of its executable.
    pub build: String,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (protocol {})", self.build, self.protocol)
    }
}

/// Why a request to the packet process has failed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The connection does not work, or the other side keeps silent for too long.
    #[error("the packet process cannot be reached: {0}")]
    Io(#[from] io::Error),
    /// The other side has closed the connection.
    #[error("the packet process has closed the connection")]
    Closed,
    /// The message does not fit.
    #[error(
        "a message of {0} bytes to the packet process is too long: use fewer networks, endpoints or peers"
    )]
    TooLong(usize),
    /// More descriptors than a message holds.
    #[error("{0} descriptors are too many for one message: use fewer workers")]
    TooManyDescriptors(usize),
    /// A process has no room for the descriptors it was sent.
    #[error("no descriptors are left: raise the limit of the daemon (ulimit -n, LimitNOFILE)")]
    NoDescriptors,
    /// It is no message of this protocol, or not the expected one.
    #[error("the packet process speaks another language")]
    Garbled,
    /// It comes from another executable.
    #[error("the packet process is of another version: {0}")]
    OtherVersion(Version),
    /// Tables that cannot be.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// A TAP that does not fit.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The workers do not start.
    #[error("the packet process cannot start: {0}")]
    Start(String),
    /// There is no such port, or nothing of this kind.
    #[error("the packet process does not have what it was asked for")]
    NoSuch,
    /// The ways off the host cannot be so.
    #[error("the packet process cannot take over the host's routing: {0}")]
    Outside(String),
    /// As many captures as there can be are running.
    #[error("too many captures are running")]
    TooManyCaptures,
}

impl RemoteError {
    /// Whether the connection is of no more use. After every other error it is as before.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Closed | Self::Garbled | Self::OtherVersion(_))
    }
}

impl From<LedgerError> for RemoteError {
    fn from(error: LedgerError) -> Self {
        Self::Outside(error.to_string())
    }
}

impl From<postcard::Error> for RemoteError {
    /// Encoding into memory cannot fail; decoding fails on what is no message.
    fn from(_: postcard::Error) -> Self {
        Self::Garbled
    }
}

impl From<StartError> for RemoteError {
    fn from(error: StartError) -> Self {
        Self::Start(error.to_string())
    }
}
