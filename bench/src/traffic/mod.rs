//! The programs inside the containers: senders and receivers of TCP and UDP, driven line by line.
//!
//! One agent, this same executable, stands in each container as long as the container does. It reads a [`Task`] a line
//! on standard input and writes an [`Answer`] a line on standard output; it ends with its input. Both ends of a figure
//! are ours, so every contender meets exactly the same traffic, and a figure means what is written here:
//!
//! - TCP: blocking sockets, blocks of 128 KiB, one thread for each stream, buffers left to the kernel. The receiver
//!   counts, after a warm-up, by its own clock, and reads the CPU clocks at the same two moments.
//! - TCP connections: blocking sockets, one thread for each that is open at a time; who serves closes first.
//! - UDP: one datagram a packet (no segmentation offload, so packets are packets), sent in batches by sendmmsg(2),
//!   received by recvmmsg(2) into a 4 MiB buffer, counted in the receiving process. Paced by the clock: what is due is
//!   sent, in bursts of at most [`udp::BATCH`].
//! - Request and response: one datagram there and back at a time, 64 bytes.
//!
//! Limits: a task ends by itself after its time and a grace of [`GRACE`]; the lab waits a little longer than that.

pub(crate) mod agent;
mod connections;
pub(crate) mod handle;
pub(crate) mod protocol;
mod rr;
mod tcp;
mod udp;

use std::time::Duration;

pub(crate) use handle::Agent;
pub(crate) use protocol::{Answer, End, Task};

/// How much longer than asked for a task may take before it is given up.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
