//! What stands in the tables.

use super::super::conntrack::Tracker;
use super::super::key::{End, Ip, Net};
use super::super::timers::{Class, Link, Queue};
use crate::gateway::Filtering;
use crate::tables::PortId;

/// What stands for an inside end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::nat) enum Outside {
    /// A port that was drawn for it.
    Lent(End),
    /// A published one; without an address, at every address of the host, and each session says which.
    Published { ip: Option<Ip>, port: u16 },
}

impl Outside {
    pub(in crate::nat) const fn port(self) -> u16 {
        match self {
            Self::Lent(end) => end.port,
            Self::Published { port, .. } => port,
        }
    }
}

/// An inside end and what stands for it outside.
#[derive(Debug)]
pub(in crate::nat) struct Mapping {
    pub(in crate::nat) port: PortId,
    pub(in crate::nat) inside: End,
    pub(in crate::nat) net: Net,
    pub(in crate::nat) outside: Outside,
    pub(in crate::nat) filtering: Filtering,
    pub(in crate::nat) owner: u32,
    pub(in crate::nat) sessions: Queue,
    /// The half-open sessions of a published port.
    pub(in crate::nat) half_open: Queue,
}

/// A mapping in use with one remote end.
#[derive(Debug)]
pub(in crate::nat) struct Session {
    pub(in crate::nat) mapping: u32,
    pub(in crate::nat) remote: End,
    /// The outside address in use.
    pub(in crate::nat) outside: Ip,
    pub(in crate::nat) class: Class,
    /// The tick in which it was last refreshed.
    pub(in crate::nat) stamp: u32,
    pub(in crate::nat) links: [Link; 3],
    /// Of TCP.
    pub(in crate::nat) tcp: Tracker,
}
