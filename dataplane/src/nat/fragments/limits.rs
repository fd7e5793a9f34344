//! How much account is kept of fragments.

use std::time::Duration;

/// How much account [`Fragments`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Packets held because their first fragment has not come.
    pub packets: usize,
    /// Bytes of those packets.
    pub bytes: usize,
    /// Datagrams known.
    pub datagrams: usize,
    /// Datagrams known from one source.
    pub per_source: u32,
    /// Parts of one datagram.
    pub parts: usize,
    /// How long a datagram is known after its first part to come, unless it is complete before.
    pub lifetime: Duration,
}

impl Default for FragmentLimits {
    /// 1,000 packets and 4 MiB held; 4,096 datagrams, 256 from one source; 128 parts, enough for 64 KB in packets of
    /// 576 bytes; 15 s. That is at most 4 MiB beside the packets.
    fn default() -> Self {
        Self {
            packets: 1_000,
            bytes: 4 << 20,
            datagrams: 4_096,
            per_source: 256,
            parts: 128,
            lifetime: Duration::from_secs(15),
        }
    }
}
