//! The program of an uplink: what of an [`Interest`] a packet is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::assembler::{Assembler, Label, Test};
use super::{Instruction, Interest};
use crate::wire::protocol;

/// What a program looks at; the rest of an interest is left out for lack of room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) ports: bool,
    pub(super) addresses: bool,
}

/// Of linux/if_packet.h: for this host, not for a group, another host or from here.
const PACKET_HOST: u32 = 0;

/// Offsets from the Ethernet header on.
mod at {
    pub(super) const ETHER_TYPE: u32 = 12;
    pub(super) const L3: u32 = 14;
    pub(super) const V4_FRAGMENT: u32 = L3 + 6;
    pub(super) const V4_PROTOCOL: u32 = L3 + 9;
    pub(super) const V4_DESTINATION: u32 = L3 + 16;
    pub(super) const V6_NEXT: u32 = L3 + 6;
    pub(super) const V6_DESTINATION: u32 = L3 + 24;
    pub(super) const V6_PAYLOAD: u32 = L3 + 40;
    /// Behind a fragment header.
    pub(super) const V6_FRAGMENTED: u32 = V6_PAYLOAD + 8;
    /// In a TCP or UDP header.
    pub(super) const PORT: u32 = 2;
}

/// Where paths that have come to the same end go on; at [`Ends::tcp`] and [`Ends::udp`] with the port loaded.
#[derive(Clone, Copy)]
struct Ends {
    tcp: Label,
    udp: Label,
    accept: Label,
    reject: Label,
}

pub(super) fn program(interest: &Interest, scope: Scope) -> Vec<Instruction> {
    let mut code = Assembler::default();
    let [tcp, udp, accept, reject] = code.labels();
    let ends = Ends { tcp, udp, accept, reject };
    let [v4, v4_payload, v6_payload] = code.labels();

    // A tag that the device has taken off makes it another interface's.
    code.load_ancillary(libc::SKF_AD_VLAN_TAG_PRESENT);
    code.unless(Test::Equal, 0, reject);
    code.load_ancillary(libc::SKF_AD_PKTTYPE);
    code.unless(Test::Equal, PACKET_HOST, reject);

    code.load_half(at::ETHER_TYPE);
    code.when(Test::Equal, 0x0800, v4);
    code.unless(Test::Equal, 0x86dd, reject);
    if scope.addresses {
        destinations_v6(&mut code, interest, v6_payload);
        code.go(reject);
    }
    code.place(v6_payload);
    payload_v6(&mut code, interest, ends);

    code.place(v4);
    if scope.addresses {
        destinations_v4(&mut code, interest, v4_payload);
        code.go(reject);
    }
    code.place(v4_payload);
    payload_v4(&mut code, interest, ends);

    code.place(udp);
    code.when(Test::Equal, interest.tunnel_port.into(), reject);
    ports(&mut code, interest, scope, protocol::UDP);
    code.place(tcp);
    ports(&mut code, interest, scope, protocol::TCP);
    code.place(accept);
    code.accept();
    code.place(reject);
    code.reject();
    code.finish()
}

/// Goes to `found` if the destination is one of those wanted.
fn destinations_v4(code: &mut Assembler, interest: &Interest, found: Label) {
    for (address, len) in wanted(interest) {
        let IpAddr::V4(address) = address else { continue };
        let next = code.label();
        match_word(code, at::V4_DESTINATION, address.to_bits(), len, next);
        code.go(found);
        code.place(next);
    }
}

fn destinations_v6(code: &mut Assembler, interest: &Interest, found: Label) {
    for (address, len) in wanted(interest) {
        let IpAddr::V6(address) = address else { continue };
        let next = code.label();
        for (index, bits) in (0..len.div_ceil(32)).zip((0..len).step_by(32)) {
            let word = (address.to_bits() >> (96 - u32::from(index) * 32)) as u32;
            match_word(code, at::V6_DESTINATION + u32::from(index) * 4, word, len - bits, next);
        }
        code.go(found);
        code.place(next);
    }
}

/// Goes to `other` unless the first `len` bits of the word at `offset` are those of `word`.
fn match_word(code: &mut Assembler, offset: u32, word: u32, len: u8, other: Label) {
    let mask = u32::MAX.checked_shl(32_u32.saturating_sub(len.into())).unwrap_or(0);
    code.load_word(offset);
    if mask != u32::MAX {
        code.and(mask);
    }
    code.unless(Test::Equal, word & mask, other);
}

/// Addresses and prefixes, host bits and impossible lengths cut off.
fn wanted(interest: &Interest) -> impl Iterator<Item = (IpAddr, u8)> + '_ {
    let bits = |address: &IpAddr| if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS } as u8;
    let whole = interest.addresses.iter().map(move |address| (*address, bits(address)));
    whole.chain(interest.routed.iter().map(move |(address, len)| (*address, (*len).min(bits(address)))))
}

fn payload_v4(code: &mut Assembler, interest: &Interest, ends: Ends) {
    let [tcp, udp] = code.labels();
    code.load_half(at::V4_FRAGMENT);
    code.when(Test::AnyBit, 0x1fff, ends.accept);
    code.load_byte(at::V4_PROTOCOL);
    code.when(Test::Equal, protocol::ICMP.into(), ends.accept);
    code.when(Test::Equal, protocol::TCP.into(), tcp);
    code.when(Test::Equal, protocol::UDP.into(), udp);
    code.go(ends.reject);

    code.place(tcp);
    more_fragments_v4(code, ends.accept);
    code.load_half_behind_v4(at::L3, at::PORT);
    code.go(ends.tcp);

    code.place(udp);
    code.load_half_behind_v4(at::L3, at::PORT);
    code.when(Test::Equal, interest.tunnel_port.into(), ends.reject);
    more_fragments_v4(code, ends.accept);
    code.load_half_behind_v4(at::L3, at::PORT);
    code.go(ends.udp);
}

fn more_fragments_v4(code: &mut Assembler, accept: Label) {
    code.load_half(at::V4_FRAGMENT);
    code.when(Test::AnyBit, 0x2000, accept);
}

fn payload_v6(code: &mut Assembler, interest: &Interest, ends: Ends) {
    /// Next header values of RFC 8200 and RFC 4443 types.
    const HOP_BY_HOP: u32 = 0;
    const FRAGMENT: u32 = 44;
    const DESTINATION_OPTIONS: u32 = 60;
    const DISCOVERY_FIRST: u32 = 133;
    const DISCOVERY_LAST: u32 = 137;
    let [tcp, udp, icmp, fragment] = code.labels();
    code.load_byte(at::V6_NEXT);
    code.when(Test::Equal, protocol::TCP.into(), tcp);
    code.when(Test::Equal, protocol::UDP.into(), udp);
    code.when(Test::Equal, protocol::ICMPV6.into(), icmp);
    code.when(Test::Equal, FRAGMENT, fragment);
    code.when(Test::Equal, HOP_BY_HOP, ends.accept);
    code.when(Test::Equal, DESTINATION_OPTIONS, ends.accept);
    code.go(ends.reject);

    code.place(tcp);
    code.load_half(at::V6_PAYLOAD + at::PORT);
    code.go(ends.tcp);
    code.place(udp);
    code.load_half(at::V6_PAYLOAD + at::PORT);
    code.go(ends.udp);

    code.place(icmp);
    code.load_byte(at::V6_PAYLOAD);
    code.when(Test::Greater, DISCOVERY_LAST, ends.accept);
    code.when(Test::AtLeast, DISCOVERY_FIRST, ends.reject);
    code.go(ends.accept);

    code.place(fragment);
    code.load_half(at::V6_PAYLOAD + 2);
    code.when(Test::AnyBit, 0xfff8, ends.accept);
    code.load_byte(at::V6_PAYLOAD);
    code.unless(Test::Equal, protocol::UDP.into(), ends.accept);
    code.load_half(at::V6_FRAGMENTED + at::PORT);
    code.when(Test::Equal, interest.tunnel_port.into(), ends.reject);
    code.go(ends.accept);
}

/// Accepts or rejects by the port that is loaded.
fn ports(code: &mut Assembler, interest: &Interest, scope: Scope, protocol: u8) {
    if !scope.ports {
        return code.accept();
    }
    let reject = code.label();
    let lent = code.label();
    code.when(Test::AtLeast, interest.lent_from.into(), lent);
    bisect(code, &ranges(interest, protocol), reject);
    code.place(lent);
    code.accept();
    code.place(reject);
    code.reject();
}

/// The published ports below those that are lent: ascending, first and last of each range.
fn ranges(interest: &Interest, protocol: u8) -> Vec<(u16, u16)> {
    let of_protocol = interest.published.iter().filter(|(number, _)| *number == protocol);
    let mut ports: Vec<u16> =
        of_protocol.map(|(_, port)| *port).filter(|port| *port < interest.lent_from).collect();
    ports.sort_unstable();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if port - *last <= 1 => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    ranges
}

/// Ends the program: accepted if in one of `ranges`, else on to `reject`.
fn bisect(code: &mut Assembler, ranges: &[(u16, u16)], reject: Label) {
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let Some((&(first, last), above)) = above.split_first() else { return code.go(reject) };
    let side = |code: &mut Assembler, side: &[_]| if side.is_empty() { reject } else { code.label() };
    let (left, right) = (side(code, below), side(code, above));
    code.unless(Test::AtLeast, first.into(), left);
    code.when(Test::Greater, last.into(), right);
    code.accept();
    for (label, side) in [(left, below), (right, above)] {
        if !side.is_empty() {
            code.place(label);
            bisect(code, side, reject);
        }
    }
}
