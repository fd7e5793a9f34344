//! Frames in words, built with a library that is not the product's.
//!
//! ```text
//! udp a r text=hello sport=1000 dport=2000      kinds: udp tcp udp6 tcp6 ether arp ra na ns redirect bytes
//! ```
//!
//! A kind, who speaks, to whom, and what is special about it:
//!
//! | word | what |
//! |---|---|
//! | `text=` `len=` | the payload: these letters, or so many bytes |
//! | `sport=` `dport=` | ports |
//! | `smac=` `dmac=` `sip=` `dip=` | other addresses than the stations' |
//! | `ecn=` | the two bits, 0 to 3 |
//! | `type=` | the EtherType of an `ether` frame, in hexadecimal |
//! | `op=` `sha=` `spa=` | ARP: 1 asks, 2 answers; other senders than the speaker |
//! | `target=` `mac=` | ND: the address spoken of and the MAC it is said to have |
//! | `hide=` | IPv6: a destination options header (`options`), or a fragment header (`fragment`) before the rest |
//! | `vlan=` | an 802.1Q tag; the last one given is outermost |
//! | `flip=` | a byte, counted from the end, that is changed when all checksums are done |
//! | `cut=` | the frame ends after so many bytes |
//! | `partial` `gso=` | the checksum is left partial; and the frame stands for segments with so much payload |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{Icmpv6Type, IpHeaders, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder};
use weft_dataplane::offload::{Checksum, Gso, GsoKind, Offload};
use weft_dataplane::wire::MacAddr;

use crate::world::{Station, World, bytes, parsed};

/// A frame, and what it owes.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) offload: Offload,
}

/// The words after kind, speaker and listener.
struct Words<'w>(&'w [&'w str]);

impl<'w> Words<'w> {
    fn all(&self, key: &'w str) -> impl Iterator<Item = &'w str> + use<'w> {
        self.0.iter().filter_map(move |word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn get<T: std::str::FromStr<Err: std::fmt::Debug>>(&self, key: &'w str) -> Option<T> {
        self.all(key).next().map(parsed)
    }

    fn payload(&self) -> Vec<u8> {
        match (self.all("text").next(), self.get::<usize>("len")) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, len) => (0..len.unwrap_or(0)).map(|at| at as u8).collect(),
        }
    }
}

/// Builds the frame that `words` describe.
pub(crate) fn build(world: &World, words: &[&str]) -> Frame {
    if let ["bytes", hex] = words {
        return Frame { bytes: bytes(hex), offload: Offload::NONE };
    }
    let [kind, from, to, rest @ ..] = words else { panic!("who speaks to whom? {words:?}") };
    let words = Words(rest);
    let (mut from, mut to) = (world.station(from), world.station(to));
    replace(&mut from, words.get("smac"), words.get("sip"));
    replace(&mut to, words.get("dmac"), words.get("dip"));
    let mut frame = match *kind {
        "ether" => ether(from, to, &words),
        "arp" => arp(from, to, &words),
        "udp" | "tcp" | "udp6" | "tcp6" => transport(kind, from, to, &words),
        nd => neighbor(nd, from, to, &words),
    };
    let offload = owe(&mut frame, &words);
    for id in words.all("vlan") {
        let tag = [&[0x81, 0][..], &parsed::<u16>(id).to_be_bytes()].concat();
        frame.splice(12..12, tag);
    }
    if let Some(from_end) = words.get::<usize>("flip") {
        let at = frame.len() - from_end;
        frame[at] ^= 0x10;
    }
    frame.truncate(words.get("cut").unwrap_or(usize::MAX));
    Frame { bytes: frame, offload }
}

fn replace(station: &mut Station, mac: Option<MacAddr>, address: Option<IpAddr>) {
    station.mac = mac.unwrap_or(station.mac);
    match address {
        Some(IpAddr::V4(v4)) => station.v4 = v4,
        Some(IpAddr::V6(v6)) => station.v6 = v6,
        None => {}
    }
}

fn ether(from: Station, to: Station, words: &Words<'_>) -> Vec<u8> {
    let ether_type = words.all("type").next().unwrap_or("88b5");
    [&to.mac.0[..], &from.mac.0, &bytes(ether_type), &words.payload()].concat()
}

fn arp(from: Station, to: Station, words: &Words<'_>) -> Vec<u8> {
    let sender: MacAddr = words.get("sha").unwrap_or(from.mac);
    let sender_ip: Ipv4Addr = words.get("spa").unwrap_or(from.v4);
    let operation: u16 = words.get("op").unwrap_or(1);
    let (destination, target) = match operation {
        1 => (MacAddr::BROADCAST, MacAddr::ZERO),
        _ => (to.mac, to.mac),
    };
    let mut frame = [&destination.0[..], &from.mac.0, &[8, 6, 0, 1, 8, 0, 6, 4]].concat();
    frame.extend(operation.to_be_bytes());
    frame.extend([&sender.0[..], &sender_ip.octets(), &target.0, &to.v4.octets()].concat());
    frame
}

fn transport(kind: &str, from: Station, to: Station, words: &Words<'_>) -> Vec<u8> {
    let (payload, ecn) = (words.payload(), words.get::<u8>("ecn").unwrap_or(0));
    let number = if kind.starts_with("udp") { IpNumber::UDP } else { IpNumber::TCP };
    let ip = if kind.ends_with('6') {
        let (source, destination) = (from.v6.octets(), to.v6.octets());
        let header =
            Ipv6Header { traffic_class: ecn, hop_limit: 64, source, destination, ..Default::default() };
        IpHeaders::Ipv6(header, Default::default())
    } else {
        let mut header = Ipv4Header::new(0, 64, number, from.v4.octets(), to.v4.octets()).expect("it fits");
        header.ecn = ecn.try_into().expect("two bits");
        IpHeaders::Ipv4(header, Default::default())
    };
    let builder = PacketBuilder::ethernet2(from.mac.0, to.mac.0).ip(ip);
    let (source, destination) = (words.get("sport").unwrap_or(1_000), words.get("dport").unwrap_or(2_000));
    let mut frame = Vec::new();
    let written = match number {
        IpNumber::UDP => builder.udp(source, destination).write(&mut frame, &payload),
        _ => builder.tcp(source, destination, 1, 512).ack(1).psh().write(&mut frame, &payload),
    };
    written.expect("into memory");
    frame
}

/// Neighbour discovery (RFC 4861 section 4): type, the word behind the checksum, body, the option of a MAC.
fn neighbor(kind: &str, from: Station, to: Station, words: &Words<'_>) -> Vec<u8> {
    let target: Ipv6Addr = words.get("target").unwrap_or(from.v6);
    let (number, flags, body, option) = match kind {
        "ra" => (134, 0, vec![0; 8], 1),
        "ns" => (135, 0, target.octets().to_vec(), 1),
        "na" => (136, 0x20, target.octets().to_vec(), 2),
        "redirect" => (137, 0, [target.octets(), to.v6.octets()].concat(), 2),
        _ => panic!("what is {kind}?"),
    };
    let mut body = body;
    if let Some(mac) = words.get::<MacAddr>("mac") {
        body.extend([&[option, 1], &mac.0[..]].concat());
    }
    let message = Icmpv6Type::Unknown { type_u8: number, code_u8: 0, bytes5to8: [flags, 0, 0, 0] };
    let builder = PacketBuilder::ethernet2(from.mac.0, to.mac.0)
        .ipv6(from.v6.octets(), to.v6.octets(), 255)
        .icmpv6(message);
    let mut frame = Vec::new();
    builder.write(&mut frame, &body).expect("into memory");
    match words.all("hide").next() {
        Some("options") => hide(&mut frame, 60, [58, 0, 1, 4, 0, 0, 0, 0]),
        Some("fragment") => hide(&mut frame, 44, [58, 0, 0, 0, 0, 0, 0, 1]),
        _ => {}
    }
    frame
}

/// Puts an extension header of type `next` in front of an IPv6 payload.
fn hide(frame: &mut Vec<u8>, next: u8, header: [u8; 8]) {
    frame[19] += 8;
    frame[20] = next;
    frame.splice(54..54, header);
}

/// Leaves the checksum of an untagged IPv4 TCP or UDP frame partial, and says how it is to be cut.
fn owe(frame: &mut [u8], words: &Words<'_>) -> Offload {
    let gso: Option<u16> = words.get("gso");
    if gso.is_none() && !words.0.contains(&"partial") {
        return Offload::NONE;
    }
    let tcp = frame[23] == 6;
    let offset = if tcp { 16 } else { 6 };
    let pseudo: u32 =
        (26..34).step_by(2).map(|at| u32::from(u16::from_be_bytes([frame[at], frame[at + 1]]))).sum();
    let mut sum = pseudo + u32::from(frame[23]) + (frame.len() - 34) as u32;
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    frame[34 + offset..36 + offset].copy_from_slice(&(sum as u16).to_be_bytes());
    let (kind, header_len) = if tcp { (GsoKind::Tcp4, 54) } else { (GsoKind::Udp, 42) };
    let gso = gso.map(|size| Gso { kind, size, ecn: false, header_len });
    Offload { checksum: Checksum::Partial { start: 34, offset: offset as u16 }, gso }
}
