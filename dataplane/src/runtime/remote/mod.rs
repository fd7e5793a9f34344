//! A dataplane in a process of its own, and how control speaks to it.
//!
//! ```text
//!   control process                                  packet process
//!   Client  ==== requests, answers, descriptors ====  serve  > Handle > workers
//!           <=== events                      ========  herald
//!           <==> a capture, one socket each  ========  capture thread
//! ```
//!
//! Control opens every socket and TAP and sends the descriptors (SCM_RIGHTS); the packet process opens nothing but its
//! workers' epoll and eventfd, has no privileges ([`drop_privileges`]) and needs none. Both sides keep all descriptors,
//! so either can die: a TAP loses its carrier only when both have closed it. What the packet process holds it can also
//! give back ([`Client::inventory`], [`Client::port`]), which is how the next control process gets to know it.
//!
//! **Conversation.** The first client is the socket that the process is started with; it sends [`Setup`] and, with the
//! sockets, a bound Unix socket on which the packet process then listens for later clients. One client is served at a
//! time; another one waits until the first has closed. Both sides begin with their version, and go no further if it
//! differs. Then each request has one answer, in order. A request is carried out when all of it has arrived, or not at
//! all, and each one alone leaves the packet process in order: control may die between any two.
//!
//! **On the wire** a message is its length (4 bytes, little-endian) and a postcard encoding. Descriptors travel with the
//! length.
//!
//! Limits: [`MESSAGE_MAX`] and [`DESCRIPTORS_MAX`] per message; beyond them nothing is sent, or the connection is given
//! up. A message that has begun must go on: after [`PATIENCE`] without a byte the other side is given up. Only processes
//! of the same user are served. Captures are bounded by [`super::capture::CAPTURES_MAX`].
//!
//! What it is not: a protocol for anybody else. Both ends come from one executable; a packet process of another version
//! is replaced.

mod channel;
mod client;
mod error;
mod herald;
mod message;
mod privileges;
mod recorder;
mod server;

use std::time::Duration;

pub use client::{Client, Events};
pub use error::{RemoteError, Version};
pub use message::{Inventory, Setup};
pub use privileges::drop_privileges;
pub use recorder::RemoteCapture;
pub use server::serve;

/// Bytes of one message: the largest tables there can be, 4,096 segments of 1,024 IPv6 VTEPs, with room.
pub const MESSAGE_MAX: usize = 128 << 20;

/// Descriptors of one message (the kernel's `SCM_MAX_FD`).
pub const DESCRIPTORS_MAX: usize = 253;

/// How long the other side may keep silent in the middle of a message, or before an answer.
pub const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
