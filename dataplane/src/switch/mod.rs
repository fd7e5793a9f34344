//! Where a frame goes inside a VNI, and who spoke from where.
//!
//! ```text
//!            port p ----+                             +---- port q
//!                       |         one Segment         |
//!   guard > storm? -----+---- learn > look up --------+---- deliver
//!                       |            (Fdb)            |
//!            port r ----+                             +==== VTEP v (encapsulate)
//! ```
//!
//! A [`Segment`] is one broadcast domain: the ports and VTEPs of one VNI and a forwarding database of its own, so the
//! same MAC or subnet on two networks is two unrelated facts (802.1D independent learning). [`forward`] maps a
//! destination to a verdict, [`Fdb`] remembers sources, [`guard`] holds a port to the addresses its endpoint was
//! given, [`storm`] bounds what one speaker can make everybody else receive.
//!
//! It is not a spanning tree bridge. Loops cannot form: a VTEP never relays from tunnel to tunnel, and a port is one
//! endpoint. BPDUs and the other reserved group addresses are not relayed. There is no multicast snooping: a group
//! frame goes to every member.
//!
//! # Limits, and what happens there
//!
//! - FDB entries per port: the network's `fdb_limit`, and per VTEP [`fdb::VTEP_SHARE`] times as many; beyond it the
//!   speaker's own least recently seen entry goes.
//! - FDB entries per VNI: [`fdb::SEGMENT_LIMIT`]; beyond it the least recently seen entry of whoever holds most goes.
//! - BUM frames per port and per VTEP: see [`storm`]; beyond it they are dropped as `storm`. Known unicast is never limited.
//!
//! # Threads
//!
//! Workers share a segment. The FDB is behind a reader-writer lock: forwarding and refreshing take it shared, and only
//! a new or moved source takes it exclusively; most frames need neither, because a worker remembers what it asked
//! before (`memo`). Storm limiters are single atomics.

pub mod fdb;
pub mod forward;
pub mod guard;
pub(crate) mod memo;
pub mod port;
pub mod segment;
pub mod storm;

pub use fdb::{EntryKind, Fdb, FdbRow, Location};
pub use forward::forward;
pub use port::Port;
pub use segment::Segment;
