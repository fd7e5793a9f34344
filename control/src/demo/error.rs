//! Why the demonstration could not go on, or why one of its parts did not work.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitStatus;

use crate::api::ClientError;
use crate::driver::docker::EngineError;
use crate::model::{IfNameError, NameError};
use crate::sandbox::SandboxError;
use crate::sandbox::host::HostError;

/// What can go wrong. What comes before the pings ends the demonstration; the rest is the verdict on one part.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// This process may not do it, or the kernel lacks TAPs.
    #[error("the demonstration needs root: {0}")]
    Host(#[from] HostError),
    /// A namespace, link or address could not be made.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The operating system refused something else.
    #[error("cannot {step}: {source}")]
    Io {
        /// What was being done.
        step: String,
        /// Its answer.
        source: io::Error,
    },
    /// A daemon of ours ended early.
    #[error("the daemon on host {host} ended ({status}); its last words: {log}")]
    DaemonEnded {
        /// The host's letter.
        host: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// A daemon of ours did not become ready.
    #[error("the daemon on host {host} was not ready within {seconds} s; its last words: {log}")]
    DaemonNotReady {
        /// The host's letter.
        host: &'static str,
        /// How long we waited.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
    /// A daemon of ours refused what it was asked.
    #[error("host {host} did not {call}: {source}")]
    Api {
        /// The host's letter.
        host: &'static str,
        /// What it was asked to do.
        call: String,
        /// Its answer.
        source: ClientError,
    },
    /// A name of the demonstration's own is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An interface name of the demonstration's own is none.
    #[error(transparent)]
    IfName(#[from] IfNameError),
    /// Pings were lost.
    #[error("{received} of {sent} pings to {to} were answered")]
    PingsLost {
        /// How many were sent.
        sent: usize,
        /// How many were answered.
        received: usize,
        /// Who was asked.
        to: Ipv4Addr,
    },
    /// A transfer stopped moving.
    #[error("the transfer to {to} was not through after {seconds} s")]
    Stalled {
        /// What the sender had connected to.
        to: SocketAddr,
        /// How long we waited.
        seconds: u64,
    },
    /// What arrived is not what was sent.
    #[error(
        "sent {sent} bytes with hash {sent_hash:016x}, received {received} bytes with hash {received_hash:016x}"
    )]
    Corrupt {
        /// Bytes sent.
        sent: u64,
        /// Their hash.
        sent_hash: u64,
        /// Bytes received.
        received: u64,
        /// Their hash.
        received_hash: u64,
    },
    /// A connection came from another address than it should.
    #[error("{by} saw a connection from {seen} instead of {expected}")]
    WrongSource {
        /// The receiver.
        by: &'static str,
        /// The address it saw.
        seen: IpAddr,
        /// The address it should have seen.
        expected: IpAddr,
    },
    /// A broadcast reached a member not at all, or more than once.
    #[error("the broadcast of {from} reached {to} {copies} times")]
    BroadcastCopies {
        /// The sender.
        from: &'static str,
        /// The receiver.
        to: &'static str,
        /// How often it came.
        copies: usize,
    },
    /// A frame crossed from one network to another.
    #[error("{stranger} heard the {what} of {from}, which is on another network")]
    Leaked {
        /// Who should not have heard it.
        stranger: &'static str,
        /// What it was.
        what: &'static str,
        /// Who sent it.
        from: &'static str,
    },
    /// The engine did not do what it was asked.
    #[error("Docker did not {call}: {source}")]
    Docker {
        /// What it was asked to do.
        call: String,
        /// Its answer.
        source: EngineError,
    },
    /// Something was left behind.
    #[error("{0}")]
    LeftBehind(String),
}

impl DemoError {
    /// For `map_err`: the error of a step of the operating system.
    pub(super) fn io(step: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let step = step.into();
        move |source| Self::Io { step, source }
    }
}
