//! Who has an address: questions that the gateway answers, and questions that it asks.
//!
//! A [`Message`] is an ARP packet or a neighbour solicitation or advertisement that a receiver may believe (A-1, N-1).
//! The gateway answers for its own addresses, and for an endpoint that the authoritative table knows, so that the
//! question is not flooded (suppression, A-6). It never speaks for an endpoint to somebody who asks whether the address
//! is free (an ARP probe, duplicate address detection): only the owner answers those, and the gateway is the owner
//! of its own.
//!
//! [`Neighbors`] is what the gateway itself has asked: where, behind the other VTEPs, the endpoints are to which it
//! routes from another subnet.

pub mod table;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};

use super::{GATEWAY_MAC, Gateway};
use crate::wire::checksum::Sum;
use crate::wire::{
    ArpOp, ArpPacket, ArpRepr, EtherType, Ethernet, Ipv6Packet, MacAddr, NdMessage, NdRepr, ethernet, nd,
    protocol,
};

pub use table::{Held, Neighbors, Polled, Question, Resolved, Sizes, Target, Waiting};

/// What a frame asks or says about who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whom it tells us the MAC of; nobody in a probe.
    pub speaker: Option<(IpAddr, MacAddr)>,
    /// Which address it asks for; none in an answer or announcement.
    pub asks: Option<IpAddr>,
    /// The address to answer to; unspecified in a probe.
    asker: IpAddr,
    /// Where it was sent, by Ethernet.
    to: MacAddr,
    /// Who sent it, by Ethernet.
    from: MacAddr,
}

impl Message {
    /// The message in an untagged frame; `None` when there is none, or none to be believed.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let ethernet = Ethernet::parse(frame).ok()?;
        if !is_one(ethernet.source()) {
            return None;
        }
        match ethernet.ether_type() {
            EtherType::ARP => Self::read_arp(ethernet),
            EtherType::IPV6 => Self::read_nd(ethernet),
            _ => None,
        }
    }

    fn read_arp(ethernet: Ethernet<'_>) -> Option<Self> {
        let arp = ArpPacket::parse(ethernet.payload()).ok()?;
        let (sender, target) = (arp.sender_ip(), arp.target_ip());
        let asks = match arp.operation() {
            ArpOp::Request => (sender != target).then_some(target.into()),
            ArpOp::Reply => None,
            ArpOp::Other(_) => return None,
        };
        let probe = sender.is_unspecified();
        if !is_one(arp.sender_mac())
            || sender.is_multicast()
            || sender.is_broadcast()
            || probe && asks.is_none()
        {
            return None;
        }
        let speaker = (!probe).then_some((sender.into(), arp.sender_mac()));
        Some(Self::of(ethernet, speaker, asks, sender.into()))
    }

    fn read_nd(ethernet: Ethernet<'_>) -> Option<Self> {
        let packet = Ipv6Packet::parse(ethernet.payload()).ok()?;
        if packet.hop_limit() != nd::HOP_LIMIT || packet.next_header() != protocol::ICMPV6 {
            return None;
        }
        let (source, destination, message) = (packet.source(), packet.destination(), packet.payload());
        let (speaker, asks) = match NdMessage::parse(message).ok()?? {
            NdMessage::NeighborSolicit { target, source_mac } => {
                // Duplicate address detection has its own form.
                let detects = nd::solicited_node(target) == destination && source_mac.is_none();
                if source.is_multicast() || source.is_unspecified() && !detects {
                    return None;
                }
                (source_mac.map(|mac| (source, mac)), Some(target.into()))
            }
            NdMessage::NeighborAdvert { target, target_mac, solicited, .. } => {
                if solicited && destination.is_multicast() {
                    return None;
                }
                (target_mac.map(|mac| (target, mac)), None)
            }
            _ => return None,
        };
        let sum = Sum::pseudo_v6(source, destination, protocol::ICMPV6, message.len()).add(message);
        if sum.finish() != 0 || speaker.is_some_and(|(_, mac)| !is_one(mac)) {
            return None;
        }
        Some(Self::of(ethernet, speaker.map(|(address, mac)| (address.into(), mac)), asks, source.into()))
    }

    fn of(
        ethernet: Ethernet<'_>,
        speaker: Option<(IpAddr, MacAddr)>,
        asks: Option<IpAddr>,
        asker: IpAddr,
    ) -> Self {
        Self { speaker, asks, asker, to: ethernet.destination(), from: ethernet.source() }
    }

    /// Appends to `room` the frame that answers, for the asker alone; false when it is not ours to answer.
    ///
    /// `endpoint` gives the MAC of an endpoint that the authoritative table knows. `gateway` is `None` on a network
    /// without one, and for the host's own leg, which has the gateway's address itself.
    #[must_use]
    pub fn answer(
        &self,
        gateway: Option<&Gateway>,
        endpoint: impl FnOnce(IpAddr) -> Option<MacAddr>,
        room: &mut Vec<u8>,
    ) -> bool {
        let Some(target) = self.asks else { return false };
        if gateway.is_some_and(|gateway| gateway.is_own(target)) {
            let ours = self.to.is_multicast() || self.to == GATEWAY_MAC;
            return ours && self.append(target, GATEWAY_MAC, true, room);
        }
        // A question to one station asks whether that one is still there.
        if !self.to.is_multicast() || self.asker.is_unspecified() {
            return false;
        }
        match endpoint(target) {
            Some(mac) if mac != self.from => self.append(target, mac, false, room),
            _ => false,
        }
    }

    fn append(&self, target: IpAddr, mac: MacAddr, router: bool, room: &mut Vec<u8>) -> bool {
        match (target, self.asker) {
            (IpAddr::V4(target), IpAddr::V4(asker)) => {
                let target_mac = self.speaker.map_or(self.from, |(_, mac)| mac);
                let (operation, sender_mac, sender_ip) = (ArpOp::Reply, mac, target);
                let reply = ArpRepr { operation, sender_mac, sender_ip, target_mac, target_ip: asker };
                room.extend_from_slice(&ethernet::header(self.from, mac, EtherType::ARP));
                room.extend_from_slice(&reply.emit());
            }
            (IpAddr::V6(target), IpAddr::V6(asker)) => {
                let solicited = !asker.is_unspecified();
                let (to, to_mac) = if solicited {
                    (asker, self.from)
                } else {
                    (nd::ALL_NODES, nd::group_mac(nd::ALL_NODES))
                };
                let advert = NdRepr::Advert { target, target_mac: mac, solicited, router };
                room.extend_from_slice(&ethernet::header(to_mac, mac, EtherType::IPV6));
                room.extend_from_slice(&advert.emit(target, to));
            }
            _ => return false,
        }
        true
    }
}

/// Whether a MAC is of one station.
fn is_one(mac: MacAddr) -> bool {
    !mac.is_multicast() && !mac.is_zero()
}

/// The question of `router` who has `target`: an ARP probe, whose sender address 0.0.0.0 moves nobody's idea of where
/// the gateway is, or a neighbour solicitation from the router's link-local address. `mac` asks one station only.
fn question(router: MacAddr, target: IpAddr, mac: Option<MacAddr>) -> Vec<u8> {
    match target {
        IpAddr::V4(target) => {
            let to = mac.unwrap_or(MacAddr::BROADCAST);
            let probe = ArpRepr {
                operation: ArpOp::Request,
                sender_mac: router,
                sender_ip: Ipv4Addr::UNSPECIFIED,
                target_mac: MacAddr::ZERO,
                target_ip: target,
            };
            [&ethernet::header(to, router, EtherType::ARP)[..], &probe.emit()].concat()
        }
        IpAddr::V6(target) => {
            let group = nd::solicited_node(target);
            let (to, destination) = mac.map_or((nd::group_mac(group), group), |mac| (mac, target));
            let solicit =
                NdRepr::Solicit { target, source_mac: router }.emit(router.link_local(), destination);
            [&ethernet::header(to, router, EtherType::IPV6)[..], &solicit].concat()
        }
    }
}
