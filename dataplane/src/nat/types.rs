//! What passes between NAT and those who use it.

use std::net::IpAddr;
use std::time::Duration;

use super::rewrite::Protocol;
use crate::gateway::{Filtering, Hop};
use crate::tables::PortId;
use crate::verdict::DropReason;

/// The endpoint that a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Its port on the switch.
    pub port: PortId,
    /// Who may answer it.
    pub filtering: Filtering,
}

/// What an endpoint may ask of NAT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Begin sessions to anywhere.
    #[default]
    Begin,
    /// Only go on with sessions that there are, such as those that others began through published ports. Everything else
    /// leaves the host untouched: the network is routed.
    Answer,
}

/// An outside port that leads to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct Published {
    /// The endpoint's port on the switch.
    pub port: PortId,
    /// Its address, whose family is also that of the outside.
    pub inside: IpAddr,
    /// Its TCP or UDP port, not 0.
    pub inside_port: u16,
    /// The address of this host that is published; `None`: every one that is not loopback.
    pub outside: Option<IpAddr>,
    /// The outside port, not 0.
    pub outside_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// What becomes of a packet. Unless it is held or dropped, its bytes have been rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an outcome that nobody carries out is a lost packet that nobody counted"]
pub enum Outcome {
    /// It leaves this way.
    Leave(Hop),
    /// It goes to this endpoint, to the destination address that it now has.
    Deliver {
        /// The endpoint's port.
        port: PortId,
    },
    /// A fragment whose first one has not come; [`super::Nat::released`] gives it when that has.
    Held,
    /// Nowhere. Whether an ICMP error says so is the caller's to decide (RFC 5508 REQ-8).
    Drop(DropReason),
}

/// Outside ports that control is asked to reserve and lend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct Want {
    /// The outside address.
    pub address: IpAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// How many more.
    pub count: usize,
}

/// What NAT may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct Limits {
    /// Sessions in all. Of the last eighth, only endpoints with few sessions ([`super::quota::FEW`]) are given any.
    pub sessions: usize,
    /// Sessions of one endpoint.
    pub endpoint_sessions: usize,
    /// Outside ports (of ICMP: query ids) of one endpoint, for each protocol.
    pub endpoint_ports: usize,
    /// Sessions that one endpoint may begin in a second, and at once; 0: no limit.
    pub endpoint_rate: u32,
    /// Sessions begun from outside and not yet answered, for each published port, and for all other ports of an
    /// endpoint together. The oldest gives way to the newest.
    pub half_open: usize,
    /// Outside ports that control is asked to lend, for each address and each of TCP and UDP.
    pub lent: usize,
    /// Published ports.
    pub published: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 1_000_000,
            endpoint_sessions: 65_536,
            endpoint_ports: 20_480,
            endpoint_rate: 20_000,
            half_open: 4_096,
            lent: 24_576,
            published: 65_536,
        }
    }
}

/// How long a session lives without traffic. Rounded up to quarters of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct Timers {
    /// UDP (RFC 4787 REQ-5: at least 2 minutes, 5 recommended).
    pub udp: Duration,
    /// UDP to port 53, where one question has one answer (REQ-5a allows less for well-known ports).
    pub dns: Duration,
    /// ICMP queries (RFC 5508 REQ-2: at least 60 seconds).
    pub icmp: Duration,
    /// TCP that is established, or closed one way only (RFC 5382 REQ-5: at least 2 hours 4 minutes).
    pub tcp_established: Duration,
    /// TCP that is being opened or closed (at least 4 minutes).
    pub tcp_transitory: Duration,
    /// TCP that is closed; it may be given up earlier when its endpoint needs room (RFC 7857 section 2.2).
    pub tcp_closed: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            udp: Duration::from_secs(300),
            dns: Duration::from_secs(30),
            icmp: Duration::from_secs(60),
            tcp_established: Duration::from_secs(7_440),
            tcp_transitory: Duration::from_secs(240),
            tcp_closed: Duration::from_secs(240),
        }
    }
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub enum SessionState {
    /// Begun from outside and not yet answered.
    HalfOpen,
    /// TCP begun from inside whose handshake is not complete.
    Opening,
    /// Under way.
    Open,
    /// TCP whose two sides have both ended it, not all of which is acknowledged.
    Closing,
    /// TCP that is over: kept for what is still on its way.
    Closed,
}

/// A session as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct SessionRow {
    /// The transport.
    pub protocol: Protocol,
    /// The endpoint's port on the switch.
    pub port: PortId,
    /// The endpoint's address and port, or ICMP query id.
    pub inside: (IpAddr, u16),
    /// What stands for it outside.
    pub outside: (IpAddr, u16),
    /// With whom. ICMP has no port there: 0.
    pub remote: (IpAddr, u16),
    /// Whether the outside port is a published one.
    pub published: bool,
    /// How far it has come.
    pub state: SessionState,
    /// Since something last refreshed it, to a quarter of a second.
    pub idle: Duration,
    /// When it ends if nothing refreshes it again, from now.
    pub expires: Duration,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct Counts {
    /// Sessions.
    pub sessions: usize,
    /// Of those, closed ones.
    pub closed: usize,
    /// Of those, half-open ones.
    pub half_open: usize,
    /// Dynamic mappings.
    pub mappings: usize,
    /// Published ports.
    pub published: usize,
    /// Endpoints that have a mapping.
    pub endpoints: usize,
    /// Outside ports that control has lent.
    pub lent: usize,
    /// Of those, free ones; some of them rest.
    pub free: usize,
    /// Fragments held.
    pub fragments: usize,
    /// Sessions begun since the start.
    pub begun: u64,
    /// Half-open sessions that gave way to newer ones since the start.
    pub displaced: u64,
    /// Closed sessions given up before their time since the start, because room was needed.
    pub reclaimed: u64,
}

/// What [`super::Nat::restore`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "os", derive(serde::Serialize, serde::Deserialize))]
pub struct Restored {
    /// Sessions that live again.
    pub sessions: usize,
    /// Records that were not believed, or had no place in what is configured now.
    pub skipped: usize,
}
