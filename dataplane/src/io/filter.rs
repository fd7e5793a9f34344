//! What a socket is to be shown: programs for the kernel's classic packet filter.
//!
//! [`build`] makes the filter of a packet socket on an uplink. Most of what comes in there is the host's own business,
//! and a copy that nobody needs costs as much as one that is needed. It accepts, if untagged and for this host's MAC:
//!
//! | destination | packet |
//! |---|---|
//! | an address of the link, or a routed prefix | ICMP; ICMPv6 other than neighbor and router discovery (133 to 137) |
//! | the same | TCP or UDP to a port from [`Interest::lent_from`] on, or a published one |
//! | the same | every fragment; IPv6 with hop-by-hop or destination options |
//! | any | never UDP to the tunnel's port, unless in a later fragment or behind such options |
//!
//! The kernel takes [`INSTRUCTIONS_MAX`] instructions. Ports are sought by bisection, neighbouring ones as one range of
//! five instructions, so some 700 ranges fit. Beyond that every port but the tunnel's is accepted, and if the
//! addresses do not fit (some 200 of IPv6), every destination. What is too much then is dropped by name later on.
//!
//! Programs are made here and run by the kernel; nothing here asks it anything.

mod assembler;
mod uplink;

use std::net::IpAddr;

use socket2::SockFilter;

use assembler::{Assembler, Test};
use uplink::{Scope, program};

/// `BPF_MAXINSNS`.
pub const INSTRUCTIONS_MAX: usize = 4_096;

/// One instruction of the classic packet filter (`sock_filter` of linux/filter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// Instructions to skip if so.
    pub jt: u8,
    /// Instructions to skip if not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// What is wanted of what comes in on an uplink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// The link's own addresses.
    pub addresses: Vec<IpAddr>,
    /// Prefixes that are routed to networks of ours without translation: an address and how many bits of it count.
    pub routed: Vec<(IpAddr, u8)>,
    /// Published ports: an IP protocol number, of which only TCP's and UDP's matter, and a port.
    pub published: Vec<(u8, u16)>,
    /// Every port from here on may be one that NAT uses.
    pub lent_from: u16,
    /// The tunnel's UDP port.
    pub tunnel_port: u16,
}

/// The closest program for `interest` that has at most `max` instructions; one that looks at neither ports nor addresses
/// (less than 100) if none has.
#[must_use]
pub fn build(interest: &Interest, max: usize) -> Vec<Instruction> {
    let scopes =
        [(true, true), (false, true), (false, false)].map(|(ports, addresses)| Scope { ports, addresses });
    let mut programs = scopes.into_iter().map(|scope| program(interest, scope));
    let narrow = programs.next().filter(|program| program.len() <= max);
    narrow.or_else(|| programs.find(|program| program.len() <= max)).unwrap_or_else(|| {
        let [.., widest] = scopes;
        program(interest, widest)
    })
}

/// Shows nothing.
pub(super) fn nothing() -> Vec<Instruction> {
    vec![assembler::give(0)]
}

/// Shows what came by the loopback interface, which is number 1 in every namespace.
pub(super) fn loopback() -> Vec<Instruction> {
    let mut code = Assembler::default();
    let reject = code.label();
    code.load_ancillary(libc::SKF_AD_IFINDEX);
    code.unless(Test::Equal, 1, reject);
    code.accept();
    code.place(reject);
    code.reject();
    code.finish()
}

/// A program as the kernel takes it.
pub(super) fn native(program: &[Instruction]) -> Vec<SockFilter> {
    program.iter().map(|i| SockFilter::new(i.code, i.jt, i.jf, i.k)).collect()
}

#[cfg(test)]
mod tests;
