//! Anti-spoofing: a port speaks only for its endpoint.
//!
//! | layer | an endpoint may | otherwise |
//! |---|---|---|
//! | Ethernet | send from its MAC | `spoofed_mac` |
//! | IPv4 | send from its addresses, or from 0.0.0.0 to a DHCP server | `spoofed_ip` |
//! | IPv6 | send from its addresses, its EUI-64 link-local address, or `::` for ICMPv6 (DAD, MLD) | `spoofed_ip` |
//! | ARP | name itself as sender, or 0.0.0.0 in a probe (RFC 5227) | `spoofed_arp` |
//! | ND | advertise its own addresses at its own MAC | `spoofed_nd` |
//! | roles | be a host: no RA, no redirect (RFC 6105), no DHCP server from whatever port | `router_advert`, `dhcp_server` |
//! | tunnel | not address the tunnel port of a VTEP | `to_vtep_port` |
//!
//! A packet whose upper layer cannot be found, because the header chain is cut off, too long or torn over fragments
//! (RFC 7112, RFC 7113), cannot be judged and is `malformed`; so is a fragmented ND message (RFC 6980). Later fragments
//! carry no ports and pass on the address check: without their first fragment they never become a datagram.
//!
//! A third VLAN tag is `malformed` as well: a receiver that removes priority tags one by one (Linux does) would find a
//! packet behind it that nobody has judged. Frames that are neither IP nor ARP are held to their MAC only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::port::Binding;
use crate::verdict::DropReason;
use crate::wire::{ArpPacket, EtherType, Ethernet, Ipv4Packet, Ipv6Packet, MacAddr, NdMessage, vlan};

const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
const DHCPV6_SERVER: u16 = 547;
const DHCPV6_CLIENT: u16 = 546;

/// The server's and the client's port. Clients look at their own only, so a server may speak from any.
const DHCP: (u16, u16) = (DHCP_SERVER, DHCP_CLIENT);
const DHCPV6: (u16, u16) = (DHCPV6_SERVER, DHCPV6_CLIENT);

/// The tunnel ports that endpoints must not reach.
#[derive(Clone, Debug, Default)]
pub struct VtepPorts {
    /// Underlay addresses of every VTEP, this host's included, ascending.
    pub addresses: Vec<IpAddr>,
    /// The UDP port they listen on; 0 when there is no underlay.
    pub port: u16,
}

/// Judges `frame`, which may carry VLAN tags, as sent by the endpoint of `binding`.
pub fn check(frame: &[u8], binding: &Binding, vteps: &VtepPorts) -> Result<(), DropReason> {
    let ethernet = Ethernet::parse(frame).map_err(|_| DropReason::Runt)?;
    if ethernet.source() != binding.mac {
        return Err(DropReason::SpoofedMac);
    }
    let (ether_type, offset) = vlan::untagged(frame).ok_or(DropReason::Malformed)?;
    let payload = frame.get(offset..).ok_or(DropReason::Malformed)?;
    match ether_type {
        EtherType::IPV4 => check_ipv4(payload, binding, vteps),
        EtherType::IPV6 => check_ipv6(payload, binding, vteps),
        EtherType::ARP => check_arp(payload, binding),
        other if vlan::is_tag(other) => Err(DropReason::Malformed),
        _ => Ok(()),
    }
}

fn check_arp(payload: &[u8], binding: &Binding) -> Result<(), DropReason> {
    let arp = ArpPacket::parse(payload).map_err(|_| DropReason::Malformed)?;
    let sender = arp.sender_ip();
    let known = sender == Ipv4Addr::UNSPECIFIED || binding.owns(sender.into());
    if arp.sender_mac() == binding.mac && known { Ok(()) } else { Err(DropReason::SpoofedArp) }
}

fn check_ipv4(payload: &[u8], binding: &Binding, vteps: &VtepPorts) -> Result<(), DropReason> {
    let packet = Ipv4Packet::parse(payload).map_err(|_| DropReason::Malformed)?;
    let first = packet.fragment_offset() == 0;
    let udp = if packet.protocol() == UDP && first { Some(Udp::of(packet.payload())?) } else { None };
    let source = packet.source();
    let dhcp_client = source == Ipv4Addr::UNSPECIFIED
        && udp.is_some_and(|u| u.source == DHCP_CLIENT && u.destination == DHCP_SERVER);
    if !dhcp_client && !binding.owns(source.into()) {
        return Err(DropReason::SpoofedIp);
    }
    udp.map_or(Ok(()), |u| u.check(DHCP, packet.destination().into(), vteps))
}

fn check_ipv6(payload: &[u8], binding: &Binding, vteps: &VtepPorts) -> Result<(), DropReason> {
    let packet = Ipv6Packet::parse(payload).map_err(|_| DropReason::Malformed)?;
    let upper = packet.upper_layer();
    let source = packet.source();
    let fragment = upper.fragment.as_ref();
    let later = fragment.is_some_and(|f| f.offset > 0);
    let from_nobody = source == Ipv6Addr::UNSPECIFIED && upper.protocol == ICMPV6 && !later;
    if !from_nobody && !binding.owns(source.into()) {
        return Err(DropReason::SpoofedIp);
    }
    if later {
        return Ok(());
    }
    if !upper.complete {
        return Err(DropReason::Malformed);
    }
    match upper.protocol {
        ICMPV6 => check_nd(upper.payload, fragment.is_some(), binding),
        UDP => Udp::of(upper.payload)?.check(DHCPV6, packet.destination().into(), vteps),
        _ => Ok(()),
    }
}

fn check_nd(icmp: &[u8], fragmented: bool, binding: &Binding) -> Result<(), DropReason> {
    let message = match NdMessage::parse(icmp) {
        Ok(Some(message)) => message,
        Ok(None) => return Ok(()),
        Err(_) => return Err(DropReason::Malformed),
    };
    if fragmented {
        return Err(DropReason::Malformed);
    }
    let own = |mac: Option<MacAddr>| mac.is_none_or(|mac| mac == binding.mac);
    match message {
        NdMessage::RouterAdvert | NdMessage::Redirect => Err(DropReason::RouterAdvert),
        NdMessage::RouterSolicit { source_mac } | NdMessage::NeighborSolicit { source_mac, .. }
            if own(source_mac) =>
        {
            Ok(())
        }
        NdMessage::NeighborAdvert { target, target_mac, router, .. }
            if own(target_mac) && binding.owns(target.into()) && !router =>
        {
            Ok(())
        }
        _ => Err(DropReason::SpoofedNd),
    }
}

/// The two ports of a datagram whose header is whole.
#[derive(Clone, Copy)]
struct Udp {
    source: u16,
    destination: u16,
}

impl Udp {
    fn of(payload: &[u8]) -> Result<Self, DropReason> {
        // Only the ports are asked for: in a first fragment the length reaches beyond the packet.
        match *payload {
            [a, b, c, d, _, _, _, _, ..] => {
                Ok(Self { source: u16::from_be_bytes([a, b]), destination: u16::from_be_bytes([c, d]) })
            }
            _ => Err(DropReason::Malformed),
        }
    }

    fn check(
        self,
        (server, client): (u16, u16),
        destination: IpAddr,
        vteps: &VtepPorts,
    ) -> Result<(), DropReason> {
        if self.source == server || self.destination == client {
            return Err(DropReason::DhcpServer);
        }
        let to_vtep = self.destination == vteps.port && vteps.addresses.binary_search(&destination).is_ok();
        if to_vtep { Err(DropReason::ToVtepPort) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
