//! Every ending a packet can have.
//!
//! The datapath gives each frame exactly one [`Verdict`]. Whoever carries the verdict out may still lose the frame at
//! the very edge (a full TAP queue, an unreachable underlay); that has a [`DropReason`] too, counted beside the
//! verdict. So for unicast, frames offered - frames delivered = sum of the drop counters, exactly.

use std::fmt;

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
