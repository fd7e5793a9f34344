//! What an IP packet says to a NAT, and how its addresses and ports are exchanged in place.
//!
//! ```text
//!   parse(ip) --> Packet { addresses, Kind } --> (the table decides) --> translate(ip, &packet, side, address, port)
//!                                                                        translate_embedded, for ICMP errors
//! ```
//!
//! Everything is one read and one write of headers: the payload is never touched and no checksum computed anew, so a
//! super-frame of 64 KB costs what a frame of 64 bytes does. Checksums follow the change (RFC 1624); one that was
//! wrong stays wrong by as much. ICMP errors are the exception: theirs is verified over the whole message, which is
//! why one longer than [`MAX_ERROR_LEN`] is refused.
//!
//! The bytes given are an IP packet: no link header before it, link padding allowed behind it. A [`Packet`] is true of
//! the bytes it was parsed from and stays so when [`translate`] has exchanged their addresses and ports, except that it
//! names those before the exchange.
//!
//! # What is refused
//!
//! Headers that contradict themselves, wrong IPv4 header checksums, source routes (RFC 7126 section 4.3, RFC 5095),
//! addresses that no router forwards, port 0, transport headers cut short (also by fragmentation: RFC 1858), ICMP
//! errors that are wrong, cut short, or about something of which there is no translation.
//!
//! # Not here
//!
//! No payload is looked into (no ALG). Protocols other than TCP, UDP and ICMP queries are told by number only. The TTL
//! is told, not decremented. A TCP or UDP checksum is never verified. IPv6 packets with an authentication header are
//! translated like others, and their receiver refuses them.
//!
//! Sources: RFC 4787, 5382, 5508 (what is translated), RFC 1624 and 768 (checksums), RFC 4884 (what of an ICMP error is
//! the packet it is about), RFC 791, 792, 4443, 8200.

mod embedded;
mod parse;
#[cfg(test)]
mod tests;
mod translate;

use std::net::IpAddr;

pub use parse::parse;
pub use translate::{translate, translate_embedded};

use super::fragments::{FragmentKey, Part};
use crate::tables::PortId;
use crate::wire::{TcpFlags, protocol};

/// Longest ICMP error that is accepted, in bytes from its ICMP header. RFC 1812 section 4.3.2.3 has senders stay below
/// 576, RFC 4443 section 2.4 below 1,280.
pub const MAX_ERROR_LEN: usize = 2_048;

/// What of an IP packet a NAT goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The sender; of the family of `destination`.
    pub source: IpAddr,
    /// The receiver.
    pub destination: IpAddr,
    /// Where the transport header stands, in bytes from the start of the packet. In a later fragment, where its
    /// payload does.
    pub l4: usize,
    /// Bytes of the packet; what follows is padding.
    pub total: usize,
    /// Hops left.
    pub ttl: u8,
    /// Which part of its datagram the packet is, unless it is the whole.
    pub part: Option<Part>,
    /// Whether it is the whole and no router may cut it (RFC 6864 section 4), as in IPv6.
    pub atomic: bool,
    /// What the packet carries.
    pub kind: Kind,
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A packet of a flow that can be translated: whole, or the first fragment of one.
    Flow {
        /// The transport.
        protocol: Protocol,
        /// The sender's port, not 0; of an ICMP query the query id, which may be.
        source: u16,
        /// The receiver's port, not 0; of an ICMP query the same id.
        destination: u16,
        /// Whether an ICMP query asks rather than answers. False for TCP and UDP.
        request: bool,
        /// The TCP header.
        tcp: Option<Tcp>,
    },
    /// A later fragment, which has no ports; the first one's decide for it. The protocol number is what the IP header
    /// (or the IPv6 fragment header) says.
    Later(u8),
    /// An ICMP error.
    Error {
        /// The ICMP type.
        icmp_type: u8,
        /// The ICMP code.
        code: u8,
        /// The packet that the error is about.
        embedded: Embedded,
    },
    /// Anything else, by protocol number: another transport, or an ICMP message that is neither query nor error.
    Other(u8),
}

/// The TCP header, as far as connection tracking needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// The control bits.
    pub flags: TcpFlags,
    /// The number of the first payload byte (or of SYN).
    pub sequence: u32,
    /// The next number expected from the other side, if ACK is set.
    pub acknowledgement: u32,
    /// The receive window, unscaled.
    pub window: u16,
    /// Bytes of payload in this packet. The header, options included, is what remains of `total - l4`.
    pub payload: u32,
}

/// The packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// Its sender, to whom the error is addressed.
    pub source: IpAddr,
    /// Its receiver.
    pub destination: IpAddr,
    /// Its transport.
    pub protocol: Protocol,
    /// Its sender's port; of an ICMP query the query id.
    pub source_port: u16,
    /// Its receiver's port; of an ICMP query the same id.
    pub destination_port: u16,
    /// Where its IP header stands, in bytes from the start of the error's packet.
    pub at: usize,
    /// Where its transport header stands, likewise.
    pub l4: usize,
    /// Where its quoted bytes end, likewise; what follows is padding or ICMP extensions.
    pub end: usize,
}

/// A transport that is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Queries of ICMP or ICMPv6: echo, and the timestamp of ICMP.
    Icmp,
}

impl Protocol {
    /// The number in the IP header of a packet from or to `address`.
    #[must_use]
    pub const fn number(self, address: IpAddr) -> u8 {
        match (self, address) {
            (Self::Tcp, _) => protocol::TCP,
            (Self::Udp, _) => protocol::UDP,
            (Self::Icmp, IpAddr::V4(_)) => protocol::ICMP,
            (Self::Icmp, IpAddr::V6(_)) => protocol::ICMPV6,
        }
    }
}

/// Which end of a packet is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The sender's address and port.
    Source,
    /// The receiver's.
    Destination,
}

impl Packet {
    /// Which datagram the packet is a part of, and which part; `None` when it is whole. `from` is the endpoint it was
    /// received from, `None` for a link: the same addresses may be in use in several networks.
    #[must_use]
    pub fn fragment(&self, from: Option<PortId>) -> Option<(FragmentKey, Part)> {
        let part = self.part?;
        let protocol = match (self.kind, self.source) {
            // The fragment headers of one datagram need not agree on what follows them (RFC 8200 section 4.5).
            (_, IpAddr::V6(_)) => 0,
            (Kind::Flow { protocol, .. }, source) => protocol.number(source),
            (Kind::Error { .. }, _) => protocol::ICMP,
            (Kind::Later(protocol) | Kind::Other(protocol), _) => protocol,
        };
        let key =
            FragmentKey { from, source: self.source, destination: self.destination, protocol, id: part.id };
        Some((key, part))
    }
}
