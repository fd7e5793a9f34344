//! Frames in, frames out: Weft's dataplane.
//!
//! TAP devices feed a userspace switch that learns MACs and carries frames between hosts as VXLAN over UDP. This crate
//! knows nothing of containers, names or stores: control states what is wanted as [`tables`], and the switch does it.
//!
//! ```text
//!   runtime  -->  datapath  -->  switch, gateway, nat, tunnel, offload  -->  wire    (pure: no clock, socket, thread)
//!      |
//!      +------->  io                                                               (the kernel at arm's length)
//! ```
//!
//! The pure rooms answer `(tables, frame, now) -> verdict`; they build without the `os` feature and then have no OS crate
//! in their tree. `io` and `runtime` need it. All `unsafe` is in `io`.

pub mod counters;
pub mod datapath;
pub mod gateway;
pub mod house;
pub mod nat;
pub mod offload;
pub mod switch;
pub mod tables;
#[cfg(test)]
mod testing;
pub mod time;
pub mod tunnel;
pub mod verdict;
pub mod wire;

#[cfg(feature = "os")]
#[expect(unsafe_code, reason = "system calls; every block says why it is sound")]
pub mod io;
#[cfg(feature = "os")]
pub mod runtime;
