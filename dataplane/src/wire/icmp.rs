//! ICMP echo and errors (RFC 792, RFC 4443), and IPv6 neighbour discovery (RFC 4861 section 4).
//!
//! The caller checks what is said outside these bytes: hop limit 255, no fragments, addresses, and the ICMPv6
//! checksum, which covers the IPv6 pseudo header.

use std::net::Ipv6Addr;

use super::{MacAddr, ParseError, array, be16, checksum, put16};

/// Bytes of the header of an echo message or an error, in either family.
pub const HEADER_LEN: usize = 8;

/// Where fields stand.
pub(crate) mod field {
    pub(crate) const TYPE: usize = 0;
    pub(crate) const CHECKSUM: usize = 2;
}

/// ICMPv6 types (RFC 4443). Below 128 they are errors.
pub mod v6 {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
}

/// ICMPv4 destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// ICMPv4 time exceeded.
pub const TIME_EXCEEDED: u8 = 11;

/// ICMPv4 echo reply.
pub const ECHO_REPLY: u8 = 0;
/// ICMPv4 echo request.
pub const ECHO_REQUEST: u8 = 8;

/// An ICMPv4 message of at least eight bytes.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv4Packet<'a> {
    bytes: &'a [u8],
}

impl<'a> Icmpv4Packet<'a> {
    /// A view of `message`, which must be the exact payload of an IPv4 packet.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] below 8 bytes.
    pub fn parse(message: &'a [u8]) -> Result<Self, ParseError> {
        if message.len() < HEADER_LEN {
            return Err(ParseError::Truncated);
        }
        Ok(Self { bytes: message })
    }

    /// What kind of message this is.
    #[must_use]
    pub fn icmp_type(&self) -> u8 {
        self.bytes[0]
    }

    /// The kind within the kind.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.bytes[1]
    }

    /// Whether this asks for an echo.
    #[must_use]
    pub fn is_echo_request(&self) -> bool {
        self.icmp_type() == ECHO_REQUEST && self.code() == 0
    }

    /// Whether this is an echo.
    #[must_use]
    pub fn is_echo_reply(&self) -> bool {
        self.icmp_type() == ECHO_REPLY && self.code() == 0
    }

    /// Which process asks (echo messages only).
    #[must_use]
    pub fn ident(&self) -> u16 {
        be16(self.bytes, 4)
    }

    /// Which of its questions (echo messages only).
    #[must_use]
    pub fn sequence(&self) -> u16 {
        be16(self.bytes, 6)
    }

    /// What is to be echoed.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// Whether the checksum is right.
    #[must_use]
    pub fn checksum_ok(&self) -> bool {
        checksum::checksum(self.bytes) == 0
    }
}

/// An ICMPv4 echo message to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoRepr {
    /// Whether it answers rather than asks.
    pub reply: bool,
    /// Which process asks.
    pub ident: u16,
    /// Which of its questions.
    pub sequence: u16,
}

impl EchoRepr {
    /// The header with the checksum over itself and `data`, which follows it.
    #[must_use]
    pub fn emit(&self, data: &[u8]) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = if self.reply { ECHO_REPLY } else { ECHO_REQUEST };
        put16(&mut bytes, 4, self.ident);
        put16(&mut bytes, 6, self.sequence);
        let sum = checksum::Sum::new().add(&bytes).add(data).finish();
        put16(&mut bytes, 2, sum);
        bytes
    }
}

/// A neighbour discovery message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdMessage {
    /// Is there a router?
    RouterSolicit {
        /// The asker's MAC, if it gives one.
        source_mac: Option<MacAddr>,
    },
    /// A router presents itself.
    RouterAdvert,
    /// Who has the target address?
    NeighborSolicit {
        /// The address asked about; never multicast.
        target: Ipv6Addr,
        /// The asker's MAC; absent in duplicate address detection.
        source_mac: Option<MacAddr>,
    },
    /// The target address is here.
    NeighborAdvert {
        /// The address spoken for; never multicast.
        target: Ipv6Addr,
        /// Its MAC, if given.
        target_mac: Option<MacAddr>,
        /// Whether this answers a solicitation.
        solicited: bool,
        /// Whether a cached MAC is to be replaced.
        override_: bool,
        /// Whether the target is a router.
        router: bool,
    },
    /// A router sends a destination elsewhere.
    Redirect,
}

const ROUTER_SOLICIT: u8 = 133;
const ROUTER_ADVERT: u8 = 134;
pub(super) const NEIGHBOR_SOLICIT: u8 = 135;
pub(super) const NEIGHBOR_ADVERT: u8 = 136;
pub(crate) const REDIRECT: u8 = 137;

pub(super) const SOURCE_LINK_ADDRESS: u8 = 1;
pub(super) const TARGET_LINK_ADDRESS: u8 = 2;

impl NdMessage {
    /// The message in `icmp`, the exact payload of an ICMPv6 packet; `None` when it is ICMPv6 of another kind.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] when the fixed part does not fit, [`ParseError::BadCode`] for a code other than 0,
    /// [`ParseError::BadTarget`] for a multicast target, [`ParseError::BadLength`] for an option of length zero, one
    /// that runs past the end, or a link-layer address that is not six bytes (N-1, N-2), [`ParseError::BadOption`]
    /// for two link-layer addresses of one kind that differ. Unknown options are skipped.
    pub fn parse(icmp: &[u8]) -> Result<Option<Self>, ParseError> {
        let kind = *icmp.first().ok_or(ParseError::Truncated)?;
        let fixed_len = match kind {
            ROUTER_SOLICIT => 8,
            ROUTER_ADVERT => 16,
            NEIGHBOR_SOLICIT | NEIGHBOR_ADVERT => 24,
            REDIRECT => 40,
            _ => return Ok(None),
        };
        let (fixed, options) = icmp.split_at_checked(fixed_len).ok_or(ParseError::Truncated)?;
        if fixed[1] != 0 {
            return Err(ParseError::BadCode);
        }
        let options = LinkAddresses::parse(options)?;
        Ok(Some(match kind {
            ROUTER_SOLICIT => Self::RouterSolicit { source_mac: options.source },
            ROUTER_ADVERT => Self::RouterAdvert,
            NEIGHBOR_SOLICIT => Self::NeighborSolicit { target: target(fixed)?, source_mac: options.source },
            NEIGHBOR_ADVERT => Self::NeighborAdvert {
                target: target(fixed)?,
                target_mac: options.target,
                router: fixed[4] & 0x80 != 0,
                solicited: fixed[4] & 0x40 != 0,
                override_: fixed[4] & 0x20 != 0,
            },
            _ => Self::Redirect,
        }))
    }
}

fn target(fixed: &[u8]) -> Result<Ipv6Addr, ParseError> {
    let target = Ipv6Addr::from(array::<16>(fixed, 8));
    if target.is_multicast() { Err(ParseError::BadTarget) } else { Ok(target) }
}

/// The link-layer addresses among a message's options.
#[derive(Default)]
struct LinkAddresses {
    source: Option<MacAddr>,
    target: Option<MacAddr>,
}

impl LinkAddresses {
    fn parse(mut options: &[u8]) -> Result<Self, ParseError> {
        let mut found = Self::default();
        while !options.is_empty() {
            let [kind, units, ..] = *options else { return Err(ParseError::BadLength) };
            if units == 0 {
                return Err(ParseError::BadLength);
            }
            let len = usize::from(units) * 8;
            let (option, rest) = options.split_at_checked(len).ok_or(ParseError::BadLength)?;
            match kind {
                SOURCE_LINK_ADDRESS => keep(&mut found.source, option)?,
                TARGET_LINK_ADDRESS => keep(&mut found.target, option)?,
                _ => {}
            }
            options = rest;
        }
        Ok(found)
    }
}

/// Takes the MAC out of a link-layer address option. Receivers differ in which of two they would believe, so two that
/// differ are refused.
fn keep(slot: &mut Option<MacAddr>, option: &[u8]) -> Result<(), ParseError> {
    if option.len() != 8 {
        return Err(ParseError::BadLength);
    }
    let mac = MacAddr(array(option, 2));
    match slot {
        Some(known) if *known != mac => Err(ParseError::BadOption),
        _ => {
            *slot = Some(mac);
            Ok(())
        }
    }
}
