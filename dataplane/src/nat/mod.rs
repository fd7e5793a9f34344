//! Network address translation: lends the host's address to flows and remembers the loans.
//!
//! ```text
//!   endpoint --> outbound --> session? --> mapping? --> a port is drawn --> rewritten --> leaves by the hop
//!                                                                             |
//!   link ------> inbound ---> published? mapping? --> filter, session --> rewritten <-- (its own address: hairpin)
//! ```
//!
//! # What it promises
//!
//! A *mapping* ties an inside end (switch port, address, port, protocol) to an outside end: one for each outside
//! address, whatever the destination (RFC 4787 REQ-1), never two on one outside end (REQ-3). The outside address is the
//! one that the host's routing gives for the destination, and it stays the mapping's for as long as the host has it, also
//! while nothing leaves by it. A *session* is a mapping in use with one remote end; it has the timer. Who else may answer
//! is the mapping's filter. An outside port is the host's to give: it is lent by control, which holds a socket on it, or
//! it is published.
//!
//! Silence is the policy for what nobody asked for: an unsolicited SYN has no answer (RFC 5382 REQ-4). ICMP errors are
//! translated both ways for sessions that there are, and neither refresh nor end them.
//!
//! # At the limits
//!
//! | what | limit | at the limit |
//! |---|---|---|
//! | sessions of an endpoint; of all | [`Limits`] | its closed ones go, oldest first; else what is new is refused |
//! | outside ports of an endpoint | [`Limits`] | likewise |
//! | sessions begun a second | [`Limits`] | refused |
//! | half-open sessions, each published port | [`Limits`] | the oldest gives way; TCP to a published port needs none to pass |
//! | addresses with ports | those of the host that are outside ones or were | none |
//! | ports of an address | what control lends, asked for in steps | the caller is told whether more are asked for |
//! | fragments | [`fragments`] | see there |
//! | connections whose outside address has gone | 16,384 | the oldest is forgotten: its endpoint meets silence |
//!
//! A session that lives is never given up for another one. The last eighth of the table, and of a pool of ports that
//! cannot grow, is for endpoints that have few.
//!
//! # Not here
//!
//! No payload is looked at (no ALG). TTL, MTU and ICMP errors of our own are the caller's. The sequence numbers of a
//! session do not survive a restart; they are learned anew.
//!
//! Sources: RFC 4787, 5382, 5508, 6864, 6888, 7857.

mod conntrack;
mod control;
mod errors;
pub mod fragments;
mod identify;
mod inbound;
mod key;
mod ledger;
mod orphans;
mod outbound;
mod pieces;
pub mod ports;
mod publish;
pub mod quota;
pub mod rewrite;
mod room;
mod slab;
mod table;
#[cfg(test)]
mod tests;
pub mod timers;
mod types;

use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use self::fragments::Fragments;
use self::identify::Identifications;
use self::orphans::Orphans;
use self::pieces::Through;
use self::ports::Ports;
use self::publish::Rules;
use self::table::Table;
use crate::gateway::Egress;

pub use self::ledger::{RECORD_LEN, Record};
pub use self::rewrite::Protocol;
pub use self::types::{
    Counts, Inside, Limits, Outcome, Policy, Published, Restored, SessionRow, SessionState, Timers, Want,
};
pub use crate::gateway::Filtering;

/// The NAT of one host.
#[derive(Debug)]
pub struct Nat {
    seed: FixedState,
    limits: Limits,
    timers: Timers,
    egress: Egress,
    /// Addresses of the networks' gateways: to endpoints they are the host's.
    gateways: HashSet<IpAddr, FixedState>,
    table: Table,
    ports: Ports,
    rules: Rules,
    orphans: Orphans,
    fragments: Fragments<Through>,
    identifications: Identifications,
    released: Vec<(Box<[u8]>, Outcome)>,
    /// The tick of the last call that said what time it is.
    tick: u32,
    begun: u64,
    displaced: u64,
    reclaimed: u64,
}
