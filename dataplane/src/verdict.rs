//! Every ending a packet can have.
//!
//! The datapath gives each frame exactly one [`Verdict`]. Whoever carries the verdict out may still lose the frame at
//! the very edge (a full TAP queue, an unreachable underlay); that has a [`DropReason`] too, counted beside the
//! verdict. So for unicast, frames offered - frames delivered = sum of the drop counters, exactly; those that a gateway
//! has answered count as delivered, and those that it holds as not yet offered.

use std::fmt;

use crate::gateway::route::LinkId;
use crate::tables::PortId;
use crate::tunnel::Vtep;

/// What becomes of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a verdict that nobody carries out is a lost packet that nobody counted"]
pub enum Verdict {
    /// To one local port.
    Deliver(PortId),
    /// To one VTEP, encapsulated.
    Transmit(Vtep),
    /// To every member of the segment but the one it came from: local ports first, then, if it entered through a
    /// local port, once to each VTEP (head-end replication, RFC 7348 section 4.2 done by unicast).
    Flood,
    /// Off the host through one of its links, to the next hop that the frame is addressed to.
    Leave(LinkId),
    /// Off the host through one of its links to a next hop that the kernel is to resolve: without its Ethernet header.
    ByHost(LinkId),
    /// The gateway has taken it: answered, or sent on in pieces. What it makes itself is not counted as passed.
    Consumed,
    /// Kept until more is known, as a fragment whose first one has not come. It is counted when it goes on or is given up.
    Held,
    /// Nowhere.
    Drop(DropReason),
}

/// Declares [`DropReason`] with its stable names, so that the enum, the names and the count cannot drift apart.
macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Why a frame went nowhere. The name is stable: it is a key of `weft stats --format json`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])* $variant,)+
        }

        impl DropReason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The stable name, in snake case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

drop_reasons! {
    // From a port.
    /// Shorter than an Ethernet header.
    Runt = "runt",
    /// The virtio header contradicts the frame behind it.
    BadVirtioHeader = "bad_virtio_header",
    /// A header inside the frame is truncated or contradicts itself, so it cannot be judged.
    Malformed = "malformed",
    /// The source MAC is a group address or all zero.
    BadSourceMac = "bad_source_mac",
    /// The source MAC is not the endpoint's.
    SpoofedMac = "spoofed_mac",
    /// The source IP address is not the endpoint's.
    SpoofedIp = "spoofed_ip",
    /// An ARP sender is not the endpoint.
    SpoofedArp = "spoofed_arp",
    /// A neighbor discovery message speaks for somebody else.
    SpoofedNd = "spoofed_nd",
    /// A router advertisement or redirect; endpoints are not routers (RFC 6105).
    RouterAdvert = "router_advert",
    /// A DHCP or DHCPv6 server message; endpoints are not DHCP servers.
    DhcpServer = "dhcp_server",
    /// Addressed to the tunnel port of a VTEP.
    ToVtepPort = "to_vtep_port",
    /// More BUM frames than the port's or VTEP's storm limit.
    Storm = "storm",
    // From the tunnel.
    /// Shorter than a VXLAN header and an Ethernet header.
    ShortDatagram = "short_datagram",
    /// The VXLAN I flag is clear (RFC 7348 section 5).
    NoVniFlag = "no_vni_flag",
    /// No network here has this VNI.
    UnknownVni = "unknown_vni",
    /// The sender is not a VTEP of this VNI.
    UnknownVtep = "unknown_vtep",
    /// Outer CE on an inner packet that is not ECN-capable (RFC 6040 section 4.2).
    EcnNotCapable = "ecn_not_capable",
    /// The inner transport checksum is wrong and would have been repaired by what follows.
    BadInnerChecksum = "bad_inner_checksum",
    /// The destination is behind another VTEP; what came from a tunnel never goes back into one.
    SplitHorizon = "split_horizon",
    // From either side.
    /// An inner VLAN tag on a network that does not pass them (RFC 7348 section 6.1).
    VlanTagged = "vlan_tagged",
    /// Addressed to 01-80-C2-00-00-00..0F, which no bridge relays (IEEE 802.1D 7.12.6).
    ReservedGroup = "reserved_group",
    /// The source MAC belongs to an endpoint elsewhere.
    SourceConflict = "source_conflict",
    /// The destination is where the frame came from.
    SamePort = "same_port",
    /// Larger than the network's MTU and not a super-frame, or one whose segments would be.
    Oversize = "oversize",
    /// A super-frame that cannot be cut into frames.
    Unsegmentable = "unsegmentable",
    // From the gateway and NAT.
    /// From or to an address that no router forwards: unspecified, loopback, multicast, reserved.
    Martian = "martian",
    /// No hop is left (RFC 1812 section 5.3.1).
    TtlExceeded = "ttl_exceeded",
    /// To an address of another network, which is not to be reached from this one.
    OtherNetwork = "other_network",
    /// To the gateway itself, and nothing that it serves.
    GatewayRefused = "gateway_refused",
    /// Out of a tunnel, from or to the gateway's MAC, which every node has for its own endpoints only.
    GatewayElsewhere = "gateway_elsewhere",
    /// Nobody has answered for the address yet; what waits is the latest packet to it.
    GatewayUnresolved = "gateway_unresolved",
    /// More addresses are being asked for, or are known, than there is room for.
    NeighborsFull = "neighbors_full",
    /// The host has no route to the destination, or no address to reach it from.
    NoRoute = "no_route",
    /// Too long for the next link, and not to be fragmented; the sender is told the MTU.
    FragNeeded = "frag_needed",
    /// The version, a length, the checksum, an option or a fragment field of the IP header is wrong.
    BadIpHeader = "bad_ip_header",
    /// The sender wants to choose the path: an IPv4 source route option or an IPv6 routing header (RFC 5095).
    SourceRouted = "source_routed",
    /// A TCP, UDP or ICMP header that is cut short, contradicts itself or has port 0.
    BadTransport = "bad_transport",
    /// An ICMP error with a wrong checksum, cut short, or about nothing that could have been translated.
    BadIcmp = "bad_icmp",
    /// Fragments of one datagram overlap or contradict each other (RFC 5722).
    FragmentOverlap = "fragment_overlap",
    /// A fragment came twice.
    FragmentDuplicate = "fragment_duplicate",
    /// More fragments than are kept account of.
    FragmentLimit = "fragment_limit",
    /// The first fragment of its datagram did not come in time.
    FragmentTimeout = "fragment_timeout",
    /// No route leads there, or none by the link of the connection's address, or the link that it came by is not in use.
    NatNoRoute = "nat_no_route",
    /// From an address of this host, which none of its links can bring.
    NatMartian = "nat_martian",
    /// A protocol, or a kind of ICMP message, that is not translated.
    NatUnsupported = "nat_unsupported",
    /// No mapping has this outside address and port: it is the host's own or nobody's.
    NatNotMapped = "nat_not_mapped",
    /// The sender is not one that the endpoint has addressed (RFC 4787 section 5).
    NatFiltered = "nat_filtered",
    /// A packet that only makes sense within a session, and there is none: it never was or has expired.
    NatNoSession = "nat_no_session",
    /// Of a connection whose outside address this host no longer has; its sender is told by a reset.
    NatAddressGone = "nat_address_gone",
    /// TCP flags that no segment has (RFC 9293 section 3.4).
    NatTcpFlags = "nat_tcp_flags",
    /// The peer speaks to the same inside port by two outside addresses at once, which that port could not tell apart.
    NatClash = "nat_clash",
    /// No outside port is free, or the endpoint has as many as it may.
    NatPorts = "nat_ports",
    /// An outside port was asked of control and did not come in time, or too many frames wait for one.
    NatPortsLate = "nat_ports_late",
    /// The endpoint, or the host, has as many sessions as it may.
    NatSessions = "nat_sessions",
    /// The endpoint begins sessions faster than it may.
    NatRate = "nat_rate",
    /// The endpoint's network may not begin sessions to the outside.
    NatPolicy = "nat_policy",
    // At the edge, after the verdict.
    /// The port's queue is full.
    PortFull = "port_full",
    /// The port's link is down.
    PortDown = "port_down",
    /// The port has gone.
    PortGone = "port_gone",
    /// The kernel refused to put the frame on the port.
    PortRefused = "port_refused",
    /// There is no underlay, or it has no room in its queue.
    UnderlayFull = "underlay_full",
    /// Encapsulated, it exceeds the underlay's MTU; VTEPs never fragment (RFC 7348 section 4.3).
    UnderlayMtu = "underlay_mtu",
    /// The underlay has no route to the VTEP.
    UnderlayUnreachable = "underlay_unreachable",
    /// The underlay socket refused the datagram for another reason.
    UnderlayRefused = "underlay_refused",
    /// Lost by the kernel before the switch could read it: the tunnel socket's queue was full or the outer checksum wrong.
    UnderlaySocket = "underlay_socket",
    // At the edge to the outside.
    /// The uplink has no room in its queue, or the kernel no memory.
    UplinkFull = "uplink_full",
    /// Longer than the uplink's MTU, and nothing that the kernel could cut.
    UplinkMtu = "uplink_mtu",
    /// The uplink is down or has gone.
    UplinkDown = "uplink_down",
    /// The kernel refused the packet for another reason: it has no route, or a rule of the host forbids it.
    UplinkRefused = "uplink_refused",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl DropReason {
    /// The reason's number, below [`Self::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_snake_case_and_numbers_are_dense() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert!(names.iter().all(|n| n.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::COUNT);
        assert!(DropReason::ALL.iter().enumerate().all(|(i, r)| r.index() == i));
    }
}
