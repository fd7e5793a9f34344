//! A frame into a datagram and out again, trusting nobody.
//!
//! ```text
//!  outer IP | UDP, port 4789 | VXLAN: 08 00 00 00 | VNI (24 bit) 00 | inner Ethernet frame
//! ```
//!
//! [`encap`] chooses what the outer headers say, [`decap`] decides whether a datagram may become a frame. The outer IP
//! and UDP headers themselves are written and read by the kernel's UDP socket; this room sees the datagram's payload,
//! its sender and its ECN field. RFC 7348 sections 4-6, RFC 6040 for ECN.
//!
//! Only VTEPs that control listed for a VNI are heard on it; from all others nothing is delivered and nothing learned.
//! There is no multicast group: BUM frames are replicated by head-end. The RFC's authentication advice (section 7)
//! amounts to that list; a forged source address on the underlay passes it.

pub mod decap;
pub mod encap;
pub mod outer;
mod vtep;

pub use decap::{Inner, decap};
pub use encap::Envelope;
pub use vtep::Vtep;
