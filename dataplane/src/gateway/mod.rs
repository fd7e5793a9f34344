//! A network's first hop: answers for the gateway's addresses, and decides which way a packet goes.
//!
//! ```text
//!   endpoint --ARP, NS--> neighbor    "the gateway is at GATEWAY_MAC", "that endpoint is at ..."
//!            --IP-------> spec        own address?  inside?  outside?
//!                           own ----> icmp      echo
//!                           inside -> neighbor  which MAC has the endpoint behind the other VTEP?
//!                           outside > route     which link, which source, which next hop?
//!                           refused > icmp      an error that says why
//! ```
//!
//! The gateway is the same on every node: all of them answer to [`GATEWAY_MAC`], so an endpoint's packet meets the
//! gateway on its own host and an endpoint that moves finds it where it arrives. What a node says as itself, probes and
//! frames to another node's endpoints, it says from its [`router_mac`].
//!
//! The room is pure: it holds no clock, socket or thread, and every table in it has a limit, named where the table is.
//! It translates nothing and forwards nothing; it is no router to others: no router advertisement, redirect or routing
//! protocol leaves it.

pub mod echo;
pub mod fragment;
pub mod icmp;
pub mod limit;
pub mod neighbor;
pub mod reset;
pub mod route;
pub mod spec;
#[cfg(test)]
pub(crate) mod testing;

use std::net::IpAddr;

use crate::tunnel::Vtep;
use crate::wire::MacAddr;

pub use route::{Egress, EgressError, EgressSpec, Hop, LinkId, LinkSpec, NeighborSpec, RouteSpec};
pub use spec::{Filtering, Gateway, GatewayError, GatewaySpec, Whither};

/// The gateway's MAC, the same on every node and network.
pub const GATEWAY_MAC: MacAddr = MacAddr([0x02, 0x57, 0x45, 0x46, 0x54, 0x01]);

/// The MAC from which the node of `vtep` speaks as a router: 0a:57 and its IPv4 address, or the last four bytes of its
/// IPv6 address.
#[must_use]
pub const fn router_mac(vtep: Vtep) -> MacAddr {
    let [a, b, c, d] = match vtep.address() {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => (v6.to_bits() as u32).to_be_bytes(),
    };
    MacAddr([0x0a, 0x57, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_are_stations_of_their_own() {
        let mac = |text: &str| router_mac(Vtep::new(text.parse().expect("an address")));
        assert_eq!(mac("192.0.2.1"), MacAddr([0x0a, 0x57, 192, 0, 2, 1]));
        assert_eq!(mac("2001:db8::1234:5678"), MacAddr([0x0a, 0x57, 0x12, 0x34, 0x56, 0x78]));
        // Locally administered, and no group.
        assert!([mac("192.0.2.1"), GATEWAY_MAC].iter().all(|mac| mac.0[0] & 3 == 2));
    }
}
