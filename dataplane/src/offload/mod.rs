//! Super-frames and unfinished checksums: what a frame still owes before it may travel alone.
//!
//! A network stack that sends to a virtual device leaves work to it: a TCP frame of up to 64 KB that stands for forty
//! (GSO), and a checksum field that holds only the sum of the pseudo header (partial). Between two TAPs of one host
//! the debt is passed on as it is. Towards the underlay it is paid here; from the underlay it is recognised here,
//! because a VTEP on the same machine hands over such frames without saying so.
//!
//! ```text
//!   TAP --[virtio header]--> vnet::parse --> Offload --> vnet::emit --> TAP
//!                                              |
//!            checksum::recognise (tunnel) -----+----> checksum::complete, segment::segments (tunnel)
//!            coalesce::Coalescer (tunnel) -----+
//! ```
//!
//! An [`Offload`] from [`vnet::parse`] or [`checksum::recognise`] is true of its frame: offsets lie within it, and
//! the headers are what they are said to be. It is worth nothing beside another frame; whoever shortens the frame
//! says so with [`Offload::shift`].
//!
//! # What is refused, and why
//!
//! - A virtio header that contradicts its frame. A tenant with a packet socket can write any: a checksum field placed
//!   over an address would be filled in *after* the anti-spoofing check, and so forge it.
//! - UFO (UDP fragmentation by the device), which Linux stopped asking for in 4.14.
//! - A super-frame from a tunnel whose checksum is complete and wrong: cutting it would give the corruption as many
//!   correct checksums as there are segments.
//! - Segments in excess of [`segment::MAX_SEGMENTS`], which no honest segment size needs.
//!
//! The room does not know the MTU unless told, and does not touch addresses or ports.
//!
//! Sources: virtio 1.2 section 5.1.6, RFC 9293 and 768 for what a segment is, RFC 3168 section 6.1.2 for CWR.

pub mod checksum;
pub mod coalesce;
mod layout;
pub mod segment;
#[cfg(test)]
mod tests;
pub mod tunnel;
pub mod vnet;

pub use segment::{Segments, segments};

/// What a frame still owes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Offload {
    /// The state of the transport checksum.
    pub checksum: Checksum,
    /// How to cut the frame into segments, if it stands for several.
    pub gso: Option<Gso>,
}

/// The state of a transport checksum.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// In the packet, unverified.
    #[default]
    Complete,
    /// In the packet, and somebody trustworthy has verified it.
    Verified,
    /// To be computed over everything from `start`; the field holds the folded sum of the pseudo header.
    Partial {
        /// Where the sum begins, in bytes from the start of the frame: the transport header.
        start: u16,
        /// Where the checksum field stands, in bytes from `start`.
        offset: u16,
    },
}

/// How to cut a super-frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gso {
    /// The headers to repeat.
    pub kind: GsoKind,
    /// Payload bytes per segment; the last may have fewer. Not 0.
    pub size: u16,
    /// Whether TCP's CWR is set: then it belongs to the first segment only.
    pub ecn: bool,
    /// Bytes repeated before each payload: Ethernet, tags, IP with options or extensions, transport with options.
    pub header_len: u16,
}

/// What a super-frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GsoKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams of one flow, over either.
    Udp,
}

impl Offload {
    /// Nothing owed.
    pub const NONE: Self = Self { checksum: Checksum::Complete, gso: None };

    /// The same debt after the frame has lost `by` bytes in front of layer 3 (a VLAN tag).
    #[must_use]
    pub fn shift(mut self, by: usize) -> Self {
        let by = u16::try_from(by).unwrap_or(u16::MAX);
        if let Checksum::Partial { start, .. } = &mut self.checksum {
            *start = start.saturating_sub(by);
        }
        if let Some(gso) = &mut self.gso {
            gso.header_len = gso.header_len.saturating_sub(by);
        }
        self
    }
}

/// Why a frame cannot be delivered or cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OffloadError {
    /// The frame is larger than the MTU, and is nothing that could be cut.
    #[error("the frame is larger than the MTU and cannot be segmented")]
    Oversize,
    /// A super-frame whose complete checksum is wrong.
    #[error("the checksum of the super-frame is wrong")]
    BadChecksum,
    /// The offload does not describe the frame beside it.
    #[error("the offload does not match the frame's headers")]
    Mismatch,
    /// The segment size is 0, or so small that there would be more than [`segment::MAX_SEGMENTS`] segments.
    #[error("the segment size is too small for the frame")]
    TooManySegments,
}
