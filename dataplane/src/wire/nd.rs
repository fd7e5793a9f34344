//! Neighbour solicitations and advertisements to be sent (RFC 4861 section 4); reading them is
//! [`NdMessage`](super::NdMessage)'s part.

use std::net::Ipv6Addr;

use super::checksum::Sum;
use super::icmp::{self, NEIGHBOR_ADVERT, NEIGHBOR_SOLICIT, SOURCE_LINK_ADDRESS, TARGET_LINK_ADDRESS};
use super::{MacAddr, ipv6, protocol, put16};

/// Bytes of the IPv6 packet: header, message, and one link-layer address option.
pub const PACKET_LEN: usize = ipv6::HEADER_LEN + MESSAGE_LEN;

const MESSAGE_LEN: usize = 32;

/// The hop limit that shows that a message comes from this link.
pub const HOP_LIMIT: u8 = 255;

/// All nodes of the link, `ff02::1`.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A neighbour discovery message to be sent; always with a link-layer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdRepr {
    /// Who has the target address?
    Solicit {
        /// The address asked about.
        target: Ipv6Addr,
        /// The asker's MAC.
        source_mac: MacAddr,
    },
    /// The target address is here, whatever was thought before (override).
    Advert {
        /// The address spoken for.
        target: Ipv6Addr,
        /// Its MAC.
        target_mac: MacAddr,
        /// Whether this answers a solicitation; not when the answer goes to all nodes (N-3).
        solicited: bool,
        /// Whether the target is a router.
        router: bool,
    },
}

impl NdRepr {
    /// The IPv6 packet, to follow an Ethernet header.
    #[must_use]
    pub fn emit(&self, source: Ipv6Addr, destination: Ipv6Addr) -> [u8; PACKET_LEN] {
        let mut packet = [0; PACKET_LEN];
        let (header, message) = packet.split_at_mut(ipv6::HEADER_LEN);
        header[0] = 6 << 4;
        put16(header, ipv6::field::PAYLOAD_LEN, MESSAGE_LEN as u16);
        header[ipv6::field::NEXT_HEADER] = protocol::ICMPV6;
        header[ipv6::field::HOP_LIMIT] = HOP_LIMIT;
        header[ipv6::field::SOURCE..ipv6::field::DESTINATION].copy_from_slice(&source.octets());
        header[ipv6::field::DESTINATION..].copy_from_slice(&destination.octets());
        self.emit_message(message);
        let sum = Sum::pseudo_v6(source, destination, protocol::ICMPV6, MESSAGE_LEN).add(message);
        put16(message, icmp::field::CHECKSUM, sum.finish());
        packet
    }

    fn emit_message(&self, message: &mut [u8]) {
        let (kind, flags, target, option, mac) = match *self {
            Self::Solicit { target, source_mac } => {
                (NEIGHBOR_SOLICIT, 0, target, SOURCE_LINK_ADDRESS, source_mac)
            }
            Self::Advert { target, target_mac, solicited, router } => {
                let flags = u8::from(router) << 7 | u8::from(solicited) << 6 | 1 << 5;
                (NEIGHBOR_ADVERT, flags, target, TARGET_LINK_ADDRESS, target_mac)
            }
        };
        message[0] = kind;
        message[4] = flags;
        message[8..24].copy_from_slice(&target.octets());
        // The length counts units of eight bytes.
        message[24..26].copy_from_slice(&[option, 1]);
        message[26..32].copy_from_slice(&mac.0);
    }
}

/// The group that whoever has `address` listens to (RFC 4291 section 2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a as u16, (b as u16) << 8 | c as u16)
}

/// The MAC of an IPv6 group (RFC 2464 section 7).
#[must_use]
pub const fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}
