//! Identifications of IPv4 datagrams that leave under an address that endpoints share (RFC 6864).
//!
//! A receiver puts fragments together by source, destination, protocol and identification. Endpoints behind one address
//! choose theirs without knowing of each other, so every datagram that is in fragments, or that a router may cut, gets
//! one anew (section 5.3.1: whoever rewrites addresses is held to what a source is). Counters are shared by hash, as the
//! kernel's are: what is drawn from one is never drawn again within 65,536 datagrams, also for another destination.
//!
//! Not here: datagrams that nobody can cut keep theirs, which says nothing. The host's own fragments to the same
//! destination are numbered by its kernel. Of a super-frame one is taken for every [`SEGMENT`] bytes, since its
//! segments count on from its own. IPv6 identifications have 32 bits and are random: they stay as they are.

use std::net::IpAddr;

use foldhash::fast::FixedState;

use super::key::{Ip, hash};

/// Counters: 8 KiB of them.
const COUNTERS: usize = 4_096;

/// Bytes of a super-frame for which one identification is taken.
const SEGMENT: usize = 512;

/// The counters.
#[derive(Debug)]
pub(super) struct Identifications {
    seed: FixedState,
    next: Box<[u16]>,
}

impl Identifications {
    pub(super) fn new(seed: FixedState) -> Self {
        let next = (0..COUNTERS).map(|at| hash(&seed, at) as u16).collect();
        Self { seed, next }
    }

    /// For a datagram of `protocol` from `source` to `destination`, of which `len` bytes are here; `partial`: it may be a
    /// super-frame.
    pub(super) fn take(
        &mut self,
        (source, destination): (IpAddr, IpAddr),
        protocol: u8,
        len: usize,
        partial: bool,
    ) -> u16 {
        let hash = hash(&self.seed, (Ip::from(source), Ip::from(destination), protocol));
        let next = &mut self.next[hash as usize % COUNTERS];
        let taken = *next;
        let count = if partial { len.div_ceil(SEGMENT) } else { 1 };
        *next = next.wrapping_add(count as u16);
        taken
    }
}
