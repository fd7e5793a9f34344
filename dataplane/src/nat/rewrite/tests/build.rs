//! Packets for the tests, and their checksums by the definition.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::nat::rewrite::{Protocol, Side};

/// Cheap numbers, the same ones each time (xorshift).
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((self.next() >> 32) as usize * bound) >> 32
    }

    /// A word, rather often one of those at which ones' complement sums are peculiar.
    pub(super) fn word(&mut self) -> u16 {
        let bits = self.next();
        match bits >> 60 {
            0 => 0,
            1 => 0xffff,
            _ => (bits >> 8) as u16,
        }
    }

    pub(super) fn port(&mut self) -> u16 {
        self.word().max(1)
    }

    /// An address that is no martian.
    pub(super) fn address(&mut self, v4: bool) -> IpAddr {
        let mut words: [u16; 8] = std::array::from_fn(|_| self.word());
        if v4 {
            let first = [1, 10, 100, 126, 128, 192, 203, 223][self.below(8)];
            let [_, second] = words[0].to_be_bytes();
            let [third, fourth] = words[1].to_be_bytes();
            return Ipv4Addr::new(first, second, third, fourth).into();
        }
        words[0] = [0x2001, 0xfd00, 0xfe80][self.below(3)];
        Ipv6Addr::from(words).into()
    }
}

/// How the transport checksum of a packet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sum {
    Complete,
    /// The folded sum of the pseudo header.
    Partial,
    /// UDP without one.
    Absent,
}

/// A packet, and what is needed to change it and compute its checksums.
#[derive(Clone, Debug)]
pub(super) struct Built {
    pub(super) ip: Vec<u8>,
    pub(super) l4: usize,
    pub(super) protocol: Protocol,
    pub(super) sum: Sum,
}

impl Built {
    /// One of all that there are. Its payload is short and even more often than not.
    pub(super) fn random(random: &mut Random) -> Self {
        let v4 = random.below(2) == 0;
        let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp][random.below(3)];
        let sum = match (random.below(4), protocol) {
            (0, _) => Sum::Partial,
            (1, Protocol::Udp) => Sum::Absent,
            _ => Sum::Complete,
        };
        Self::of(random, v4, protocol, sum)
    }

    pub(super) fn of(random: &mut Random, v4: bool, protocol: Protocol, sum: Sum) -> Self {
        let (source, destination) = (random.address(v4), random.address(v4));
        let payload = random.below(9);
        let transport = Self::transport(random, v4, protocol, payload);
        let number = protocol.number(source);
        // Options of no operation; an extension header of destination options.
        let long = random.below(4) == 0;
        let mut ip = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let words = if long { 3 } else { 0 };
                let total = (20 + words * 4 + transport.len()) as u16;
                let [high, low] = total.to_be_bytes();
                let mut ip = vec![0x45 + words as u8, 0, high, low, 1, 2, 0x40, 0, 64, number, 0, 0];
                ip.extend(source.octets());
                ip.extend(destination.octets());
                ip.extend(vec![1; words * 4]);
                ip
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let extension: &[u8] = if long { &[number, 0, 1, 4, 0, 0, 0, 0] } else { &[] };
                let [high, low] = ((extension.len() + transport.len()) as u16).to_be_bytes();
                let mut ip = vec![0x60, 0, 0, 0, high, low, if long { 60 } else { number }, 64];
                ip.extend(source.octets());
                ip.extend(destination.octets());
                ip.extend(extension);
                ip
            }
            _ => unreachable!("two addresses of one family"),
        };
        let l4 = ip.len();
        ip.extend(transport);
        let mut built = Self { ip, l4, protocol, sum };
        built.finish();
        built
    }

    fn transport(random: &mut Random, v4: bool, protocol: Protocol, payload: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32);
        let words = match protocol {
            Protocol::Tcp => 10,
            Protocol::Udp | Protocol::Icmp => 4,
        };
        (0..words).for_each(|_| bytes.extend(random.port().to_be_bytes()));
        match protocol {
            Protocol::Tcp => bytes[12] = 0x50,
            Protocol::Udp => bytes[4..6].copy_from_slice(&((8 + payload) as u16).to_be_bytes()),
            Protocol::Icmp => {
                let [ask, answer] = if v4 { [8, 0] } else { [128, 129] };
                bytes[..2].copy_from_slice(&[if random.below(2) == 0 { ask } else { answer }, 0]);
                // Now and then nothing but zeros, whose sum is the other zero.
                if random.below(4) == 0 {
                    bytes[6..8].fill(0);
                    bytes.extend(vec![0; payload]);
                    return bytes;
                }
            }
        }
        bytes.extend((0..payload).map(|_| random.next() as u8));
        bytes
    }

    pub(super) fn v4(&self) -> bool {
        self.ip[0] >> 4 == 4
    }

    /// Computes all checksums for which there is room.
    pub(super) fn finish(&mut self) {
        let v4 = self.v4();
        let Self { ip, l4, protocol, sum } = self;
        finish_header(ip);
        let at = *l4 + [16, 6, 2][*protocol as usize];
        if at + 2 > ip.len() {
            return;
        }
        put(ip, at, 0);
        let len = (ip.len() - *l4) as u32;
        let pseudo = match (v4, *protocol) {
            (true, Protocol::Icmp) => 0,
            (true, protocol) => words(&ip[12..20], len + [6, 17, 1][protocol as usize]).into(),
            (false, protocol) => words(&ip[8..40], len + [6, 17, 58][protocol as usize]).into(),
        };
        let value = match (*sum, !words(&ip[*l4..], pseudo)) {
            (Sum::Absent, _) => 0,
            (Sum::Partial, _) => pseudo as u16,
            (Sum::Complete, 0) if *protocol == Protocol::Udp => 0xffff,
            (Sum::Complete, value) => value,
        };
        put(ip, at, value);
    }

    /// The same packet with another end, all checksums computed anew.
    pub(super) fn with(mut self, side: Side, address: IpAddr, port: Option<u16>) -> Self {
        let second = usize::from(side == Side::Destination);
        match address {
            IpAddr::V4(address) => self.ip[12 + second * 4..][..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => self.ip[8 + second * 16..][..16].copy_from_slice(&address.octets()),
        }
        let at = if self.protocol == Protocol::Icmp { 4 } else { second * 2 };
        if let Some(port) = port {
            put(&mut self.ip, self.l4 + at, port);
        }
        self.finish();
        self
    }
}

/// Computes the header checksum of an IPv4 packet, if its header is there.
pub(super) fn finish_header(ip: &mut [u8]) {
    let header_len = usize::from(ip[0] & 15) * 4;
    if ip[0] >> 4 == 4 && (20..=ip.len()).contains(&header_len) {
        put(ip, 10, 0);
        let sum = !words(&ip[..header_len], 0);
        put(ip, 10, sum);
    }
}

pub(super) fn put(bytes: &mut [u8], at: usize, word: u16) {
    bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

/// The sum of `bytes` and `start` by RFC 1071 section 4.1, not complemented.
pub(super) fn words(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(if pair.len() > 1 { pair[1] } else { 0 });
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
