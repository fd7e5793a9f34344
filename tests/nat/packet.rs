//! IPv4 packets byte by byte, right or wrong on purpose. Nothing here is the product's.

use harness::frame::Mac;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// ICMP types (RFC 792).
pub(crate) const ECHO_REPLY: u8 = 0;
pub(crate) const UNREACHABLE: u8 = 3;
pub(crate) const ECHO: u8 = 8;
pub(crate) const TIME_EXCEEDED: u8 = 11;

/// One packet: the header's fields and what stands behind the header.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) protocol: u8,
    pub(crate) ttl: u8,
    pub(crate) id: u16,
    pub(crate) dont_fragment: bool,
    pub(crate) more: bool,
    /// In bytes, a multiple of 8.
    pub(crate) offset: u16,
    /// A multiple of 4 bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: Vec<u8>) -> Self {
        Packet {
            source,
            destination,
            protocol,
            ttl: 64,
            id: 0x4242,
            dont_fragment: false,
            more: false,
            offset: 0,
            options: Vec::new(),
            payload,
        }
    }

    /// A UDP datagram with its checksum.
    pub(crate) fn udp(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Self {
        let length = (8 + payload.len()) as u16;
        let head = [from.port(), to.port(), length, 0].map(u16::to_be_bytes).concat();
        Packet::new(*from.ip(), *to.ip(), UDP, [head.as_slice(), payload].concat()).sealed()
    }

    /// A TCP segment with its checksum and a window of 65,535.
    pub(crate) fn tcp(
        (from, to): (SocketAddrV4, SocketAddrV4),
        flags: u8,
        (sequence, acknowledgement): (u32, u32),
        payload: &[u8],
    ) -> Self {
        let ports = [from.port(), to.port()].map(u16::to_be_bytes).concat();
        let numbers = [sequence, acknowledgement].map(u32::to_be_bytes).concat();
        let rest = [5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0];
        let bytes = [ports.as_slice(), &numbers, &rest, payload].concat();
        Packet::new(*from.ip(), *to.ip(), TCP, bytes).sealed()
    }

    /// An ICMP message: type, code, the four bytes behind the checksum, and the rest.
    pub(crate) fn icmp(
        (from, to): (Ipv4Addr, Ipv4Addr),
        (kind, code): (u8, u8),
        word: [u8; 4],
        rest: &[u8],
    ) -> Self {
        Packet::new(from, to, ICMP, [&[kind, code, 0, 0], &word, rest].concat()).sealed()
    }

    /// An echo request.
    pub(crate) fn echo(from: Ipv4Addr, to: Ipv4Addr, id: u16, payload: &[u8]) -> Self {
        let [a, b] = id.to_be_bytes();
        Packet::icmp((from, to), (ECHO, 0), [a, b, 0, 1], payload)
    }

    /// The answer to this echo request.
    pub(crate) fn echo_reply(&self) -> Self {
        let word = [self.payload[4], self.payload[5], self.payload[6], self.payload[7]];
        Packet::icmp((self.destination, self.source), (ECHO_REPLY, 0), word, &self.payload[8..])
    }

    /// An ICMP error from `from` about this packet, to its source; it embeds the header and eight bytes.
    pub(crate) fn error(&self, from: Ipv4Addr, kind: u8, code: u8) -> Self {
        self.error_with(from, (kind, code), [0; 4])
    }

    /// The same with the four bytes behind the checksum chosen.
    pub(crate) fn error_with(&self, from: Ipv4Addr, what: (u8, u8), word: [u8; 4]) -> Self {
        let bytes = self.bytes();
        let end = bytes.len().min(28 + self.options.len());
        Packet::icmp((from, self.source), what, word, &bytes[..end])
    }

    /// The packet that an ICMP error embeds, as far as it goes.
    pub(crate) fn embedded(&self) -> Option<Packet> {
        (self.protocol == ICMP).then(|| Packet::parse(self.payload.get(8..)?)).flatten()
    }

    /// With the transport's checksum computed.
    pub(crate) fn sealed(mut self) -> Self {
        let Some(at) = self.checksum_at() else { return self };
        self.payload[at..at + 2].fill(0);
        let sum = self.transport_sum();
        let sum = if self.protocol == UDP && sum == 0 { 0xffff } else { sum };
        self.payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        self
    }

    /// With another transport checksum, right or not.
    pub(crate) fn with_checksum(mut self, checksum: u16) -> Self {
        let at = self.checksum_at().expect("a transport with a checksum");
        self.payload[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        self
    }

    /// The transport's checksum.
    pub(crate) fn checksum(&self) -> Option<u16> {
        let at = self.checksum_at()?;
        Some(u16::from_be_bytes([*self.payload.get(at)?, *self.payload.get(at + 1)?]))
    }

    /// True when the transport's checksum fits what it covers.
    pub(crate) fn checksum_is_right(&self) -> bool {
        self.transport_sum() == 0
    }

    fn checksum_at(&self) -> Option<usize> {
        match self.protocol {
            ICMP => Some(2),
            TCP => Some(16),
            UDP => Some(6),
            _ => None,
        }
    }

    fn transport_sum(&self) -> u16 {
        let pseudo = match self.protocol {
            ICMP => Vec::new(),
            protocol => {
                let length = (self.payload.len() as u16).to_be_bytes();
                [&self.source.octets()[..], &self.destination.octets(), &[0, protocol], &length].concat()
            }
        };
        checksum(&[pseudo, self.payload.clone()].concat())
    }

    /// Source and destination of a TCP or UDP packet.
    pub(crate) fn flow(&self) -> Option<(SocketAddrV4, SocketAddrV4)> {
        let word = |at: usize| Some(u16::from_be_bytes([*self.payload.get(at)?, *self.payload.get(at + 1)?]));
        (self.protocol != ICMP && self.offset == 0).then_some(())?;
        Some((SocketAddrV4::new(self.source, word(0)?), SocketAddrV4::new(self.destination, word(2)?)))
    }

    /// TCP flags.
    pub(crate) fn flags(&self) -> u8 {
        if self.protocol == TCP { self.payload.get(13).copied().unwrap_or(0) & 0x3f } else { 0 }
    }

    /// Type and code of an ICMP message.
    pub(crate) fn kind(&self) -> Option<(u8, u8)> {
        (self.protocol == ICMP && self.offset == 0)
            .then(|| Some((*self.payload.first()?, *self.payload.get(1)?)))?
    }

    /// The identifier of an echo.
    pub(crate) fn query(&self) -> Option<u16> {
        matches!(self.kind()?.0, ECHO | ECHO_REPLY)
            .then(|| u16::from_be_bytes([self.payload[4], self.payload[5]]))
    }

    /// True when these bytes occur in it.
    pub(crate) fn carries(&self, bytes: &[u8]) -> bool {
        harness::frame::carries(&self.payload, bytes)
    }

    /// Cut into fragments whose payloads are `size` bytes (a multiple of 8), the last one shorter.
    pub(crate) fn fragments(&self, size: usize) -> Vec<Packet> {
        let count = self.payload.len().div_ceil(size);
        let cut = |(number, piece): (usize, &[u8])| Packet {
            offset: (number * size) as u16,
            more: number + 1 < count,
            payload: piece.to_vec(),
            ..self.clone()
        };
        self.payload.chunks(size).enumerate().map(cut).collect()
    }

    /// The packet as it crosses a wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let header = 20 + self.options.len();
        let total = ((header + self.payload.len()) as u16).to_be_bytes();
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more) << 13 | (self.offset / 8);
        let mut bytes = vec![0x40 | (header / 4) as u8, 0, total[0], total[1]];
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(flags.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(&self.options);
        let sum = checksum(&bytes);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The frame around it.
    pub(crate) fn frame(&self, from: Mac, to: Mac) -> Vec<u8> {
        [&to[..], &from, &[0x08, 0x00], &self.bytes()].concat()
    }

    /// Reads a packet whose header checksum is right; one that is cut short gives what is there.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Packet> {
        let header = usize::from(bytes.first()? & 15) * 4;
        if bytes[0] >> 4 != 4 || header < 20 || bytes.len() < header || checksum(&bytes[..header]) != 0 {
            return None;
        }
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let address = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
        let end = usize::from(word(2)).clamp(header, bytes.len());
        Some(Packet {
            source: address(12),
            destination: address(16),
            protocol: bytes[9],
            ttl: bytes[8],
            id: word(4),
            dont_fragment: word(6) & 0x4000 != 0,
            more: word(6) & 0x2000 != 0,
            offset: (word(6) & 0x1fff) * 8,
            options: bytes[20..header].to_vec(),
            payload: bytes[header..end].to_vec(),
        })
    }

    /// Reads the packet in a frame.
    pub(crate) fn in_frame(frame: &[u8]) -> Option<Packet> {
        (frame.get(12..14)? == [0x08, 0x00]).then(|| Packet::parse(&frame[14..])).flatten()
    }
}

/// One line, for messages.
impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.protocol, self.flow(), self.kind()) {
            (protocol, Some((from, to)), _) => {
                let name = if protocol == TCP { "TCP" } else { "UDP" };
                write!(f, "{name} {from} to {to} flags {:#x}", self.flags())?;
            }
            (_, _, Some(kind)) => write!(f, "ICMP {kind:?} {} to {}", self.source, self.destination)?,
            _ => write!(f, "protocol {} {} to {}", self.protocol, self.source, self.destination)?,
        }
        let checksum = if self.checksum_is_right() { "right" } else { "wrong" };
        write!(
            f,
            " ttl {} offset {} {} bytes, checksum {checksum}",
            self.ttl,
            self.offset,
            self.payload.len()
        )
    }
}

/// The internet checksum (RFC 1071); 0 over bytes that hold a right one.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}
