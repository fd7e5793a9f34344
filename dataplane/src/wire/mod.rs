//! The packet grammar: what the bytes of a frame mean, and nothing about what to do with them.
//!
//! ```text
//!  outer (underlay)                     inner (overlay)
//!  UDP payload:  [ VXLAN 8 ]  [ Ethernet 14 ][ VLAN 0-2 x 4 ][ IPv4 | IPv6 + extensions | ARP ][ TCP | UDP | ICMP ]
//!                  vxlan        ethernet       vlan            ipv4   ipv6               arp     tcp   udp   icmp
//! ```
//!
//! A header is read through a *view* (`Ethernet`, `Ipv4Packet`, ...): `parse` checks every length once, after which
//! the accessors cannot fail. A view borrows the bytes, copies nothing and allocates nothing. What Weft itself sends
//! is written from a *repr* (`ArpRepr`, `NdRepr`) in which only sendable packets can be expressed.
//!
//! The room does no forwarding, keeps no state, and decides nothing: a parser says what is there, and the rooms above
//! say whether it is welcome. Bad checksums are therefore a question to ask (`header_checksum_ok`), not an error.
//!
//! # Limits
//!
//! - At most two VLAN tags are looked through; a third is an EtherType like any other.
//! - At most eight IPv6 extension headers are walked; a longer chain has no known upper layer (`complete` is false).
//! - IPv6 jumbograms (RFC 2675) do not exist: a payload length of zero is an empty payload.
//! - ARP is Ethernet/IPv4 only. SCTP is known by number, never opened beyond its ports.
//!
//! # Sources
//!
//! RFC 791 and 8200 (IP), 826 (ARP), 792 and 4443 (ICMP), 4861 section 4 (neighbour discovery), 9293 (TCP),
//! 768 (UDP), 7348 section 5 (VXLAN), 1071 and 1624 (checksums), 3168 (ECN), IEEE 802.1Q and 802.1ad (tags).

pub mod arp;
pub mod checksum;
pub mod ecn;
pub mod ethernet;
pub mod flow;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod nd;
pub mod prefix;
pub mod tcp;
pub mod udp;
pub mod vlan;
pub mod vxlan;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use arp::{ArpOp, ArpPacket, ArpRepr};
pub use ecn::Ecn;
pub use ethernet::{EtherType, Ethernet, MacAddr, MacAddrError};
pub use icmp::{EchoRepr, Icmpv4Packet, NdMessage};
pub use ipv4::Ipv4Packet;
pub use ipv6::{Fragment, Ipv6Packet, UpperLayer};
pub use nd::NdRepr;
pub use prefix::{Prefix, PrefixError};
pub use tcp::{TcpFlags, TcpSegment};
pub use udp::UdpDatagram;
pub use vxlan::{Vni, VniError, VxlanError};

/// IP protocol numbers (IPv4 `protocol`, IPv6 `next header`) that Weft knows by name.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP: only its ports are ever read.
    pub const SCTP: u8 = 132;
}

/// Why some bytes are not the header they were taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ParseError {
    /// The buffer ends before the header does.
    #[error("the packet ends inside its header")]
    Truncated,
    /// The version field contradicts the EtherType, or is no IP version.
    #[error("the IP version field does not match the protocol")]
    BadVersion,
    /// A length field is smaller than its own header or larger than the buffer.
    #[error("a length field contradicts the packet")]
    BadLength,
    /// ARP for another hardware or protocol than Ethernet and IPv4 (A-1).
    #[error("the ARP packet is not Ethernet/IPv4")]
    NotEthernetIpv4,
    /// A neighbour discovery message with a code other than 0 (N-1).
    #[error("the neighbour discovery message has a code other than 0")]
    BadCode,
    /// A neighbour discovery message about a multicast target (N-1).
    #[error("the neighbour discovery target is a multicast address")]
    BadTarget,
    /// Neighbour discovery options that contradict each other: two different addresses for one link layer.
    #[error("the neighbour discovery options contradict each other")]
    BadOption,
}

/// The big-endian 16-bit field at `at`. The caller has checked that it is there.
#[inline]
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The big-endian 32-bit field at `at`. The caller has checked that it is there.
#[inline]
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

/// Stores a big-endian 16-bit field at `at`. The caller has checked that there is room.
#[inline]
pub(crate) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The `N` bytes at `at`. The caller has checked that they are there.
#[inline]
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}
