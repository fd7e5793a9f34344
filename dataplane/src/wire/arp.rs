//! ARP for IPv4 over Ethernet (RFC 826); every other combination is refused.

use std::net::Ipv4Addr;

use super::{EtherType, MacAddr, ParseError, array, be16, put16};

/// Bytes of an Ethernet/IPv4 ARP packet.
pub const PACKET_LEN: usize = 28;

/// Where fields stand.
mod field {
    pub(super) const HARDWARE: usize = 0;
    pub(super) const PROTOCOL: usize = 2;
    pub(super) const HARDWARE_LEN: usize = 4;
    pub(super) const PROTOCOL_LEN: usize = 5;
    pub(super) const OPERATION: usize = 6;
    pub(super) const SENDER_MAC: usize = 8;
    pub(super) const SENDER_IP: usize = 14;
    pub(super) const TARGET_MAC: usize = 18;
    pub(super) const TARGET_IP: usize = 24;
}

const HARDWARE_ETHERNET: u16 = 1;

/// What an ARP packet asks or says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArpOp {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
    /// Anything else, to be ignored.
    Other(u16),
}

impl From<u16> for ArpOp {
    fn from(number: u16) -> Self {
        match number {
            1 => Self::Request,
            2 => Self::Reply,
            other => Self::Other(other),
        }
    }
}

impl From<ArpOp> for u16 {
    fn from(operation: ArpOp) -> Self {
        match operation {
            ArpOp::Request => 1,
            ArpOp::Reply => 2,
            ArpOp::Other(number) => number,
        }
    }
}

/// An Ethernet/IPv4 ARP packet.
#[derive(Clone, Copy, Debug)]
pub struct ArpPacket<'a> {
    bytes: &'a [u8],
}

impl<'a> ArpPacket<'a> {
    /// A view of the packet at the start of `packet`; what follows its 28 bytes is padding.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] below 28 bytes, [`ParseError::NotEthernetIpv4`] when a type or a length says so.
    pub fn parse(packet: &'a [u8]) -> Result<Self, ParseError> {
        let bytes = packet.get(..PACKET_LEN).ok_or(ParseError::Truncated)?;
        let ethernet = be16(bytes, field::HARDWARE) == HARDWARE_ETHERNET && bytes[field::HARDWARE_LEN] == 6;
        let ipv4 = be16(bytes, field::PROTOCOL) == EtherType::IPV4.0 && bytes[field::PROTOCOL_LEN] == 4;
        if !ethernet || !ipv4 {
            return Err(ParseError::NotEthernetIpv4);
        }
        Ok(Self { bytes })
    }

    /// What the packet asks or says.
    #[must_use]
    pub fn operation(&self) -> ArpOp {
        be16(self.bytes, field::OPERATION).into()
    }

    /// The sender's MAC.
    #[must_use]
    pub fn sender_mac(&self) -> MacAddr {
        MacAddr(array(self.bytes, field::SENDER_MAC))
    }

    /// The sender's address; unspecified in an address probe (RFC 5227), and then not to be learned.
    #[must_use]
    pub fn sender_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(array(self.bytes, field::SENDER_IP))
    }

    /// The target's MAC; meaningless in a request.
    #[must_use]
    pub fn target_mac(&self) -> MacAddr {
        MacAddr(array(self.bytes, field::TARGET_MAC))
    }

    /// The address asked about, or the one answered to.
    #[must_use]
    pub fn target_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(array(self.bytes, field::TARGET_IP))
    }
}

/// An ARP packet to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpRepr {
    /// What it asks or says.
    pub operation: ArpOp,
    /// The sender's MAC.
    pub sender_mac: MacAddr,
    /// The sender's address.
    pub sender_ip: Ipv4Addr,
    /// The target's MAC; zero in a request.
    pub target_mac: MacAddr,
    /// The target's address.
    pub target_ip: Ipv4Addr,
}

impl ArpRepr {
    /// The packet's bytes, to follow an Ethernet header.
    #[must_use]
    pub fn emit(&self) -> [u8; PACKET_LEN] {
        let mut bytes = [0; PACKET_LEN];
        put16(&mut bytes, field::HARDWARE, HARDWARE_ETHERNET);
        put16(&mut bytes, field::PROTOCOL, EtherType::IPV4.0);
        bytes[field::HARDWARE_LEN] = 6;
        bytes[field::PROTOCOL_LEN] = 4;
        put16(&mut bytes, field::OPERATION, self.operation.into());
        bytes[field::SENDER_MAC..field::SENDER_IP].copy_from_slice(&self.sender_mac.0);
        bytes[field::SENDER_IP..field::TARGET_MAC].copy_from_slice(&self.sender_ip.octets());
        bytes[field::TARGET_MAC..field::TARGET_IP].copy_from_slice(&self.target_mac.0);
        bytes[field::TARGET_IP..].copy_from_slice(&self.target_ip.octets());
        bytes
    }
}

impl From<ArpPacket<'_>> for ArpRepr {
    fn from(packet: ArpPacket<'_>) -> Self {
        Self {
            operation: packet.operation(),
            sender_mac: packet.sender_mac(),
            sender_ip: packet.sender_ip(),
            target_mac: packet.target_mac(),
            target_ip: packet.target_ip(),
        }
    }
}
