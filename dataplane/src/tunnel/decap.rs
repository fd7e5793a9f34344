//! Whether a datagram on the tunnel port may become a frame.
//!
//! The questions are asked from cheap to dear, and all of them before anything is learned: is there a VXLAN header with
//! its I flag (RFC 7348 section 5), do we know the VNI, is the sender a VTEP of that VNI, is the frame one that a
//! station could have sent, may it carry the VLAN tag it carries (section 6.1), does its ECN field combine with the
//! outer one (RFC 6040 section 4.2). All other reserved bits are ignored.

use super::Vtep;
use crate::switch::Segment;
use crate::switch::storm::Storm;
use crate::tables::Tables;
use crate::verdict::DropReason;
use crate::wire::{Ecn, EtherType, Ethernet, Ipv4Packet, Ipv6Packet, VxlanError, ipv4, ipv6, vlan, vxlan};

/// A frame that came out of a tunnel and has passed every question.
#[derive(Debug)]
pub struct Inner<'t, 'f> {
    /// Its segment.
    pub segment: &'t Segment,
    /// How much its sender has flooded.
    pub(crate) storm: &'t Storm,
    /// From the inner Ethernet header on.
    pub frame: &'f mut [u8],
}

/// A refusal, with the segment it is counted on if that much was known.
pub type Refused<'t> = (Option<&'t Segment>, DropReason);

/// Judges `datagram`, the UDP payload that `sender` sent under the outer ECN field `outer`.
#[inline]
pub fn decap<'t, 'f>(
    tables: &'t Tables,
    sender: Vtep,
    outer: Ecn,
    datagram: &'f mut [u8],
) -> Result<Inner<'t, 'f>, Refused<'t>> {
    let (vni, start) = vxlan::parse(datagram).map_err(|e| match e {
        VxlanError::Truncated => (None, DropReason::ShortDatagram),
        VxlanError::NoVniFlag => (None, DropReason::NoVniFlag),
    })?;
    let segment = tables.segment_of_vni(vni).ok_or((None, DropReason::UnknownVni))?;
    let storm = segment.member(sender).ok_or((Some(segment), DropReason::UnknownVtep))?;
    let frame = &mut datagram[start..];
    check(segment, outer, frame).map_err(|reason| (Some(segment), reason))?;
    Ok(Inner { segment, storm, frame })
}

#[inline]
fn check(segment: &Segment, outer: Ecn, frame: &mut [u8]) -> Result<(), DropReason> {
    let ethernet = Ethernet::parse(frame).map_err(|_| DropReason::ShortDatagram)?;
    if ethernet.source().is_multicast() || ethernet.source().is_zero() {
        return Err(DropReason::BadSourceMac);
    }
    if vlan::is_tagged(frame) && !segment.passes_vlan() {
        return Err(DropReason::VlanTagged);
    }
    combine_ecn(outer, frame)
}

/// Carries congestion marks from the outer to the inner header.
#[inline]
fn combine_ecn(outer: Ecn, frame: &mut [u8]) -> Result<(), DropReason> {
    if outer == Ecn::NotEct {
        return Ok(());
    }
    let Some((ether_type, offset)) = vlan::untagged(frame) else { return Ok(()) };
    let Some(packet) = frame.get_mut(offset..) else { return Ok(()) };
    let inner = match ether_type {
        EtherType::IPV4 => Ipv4Packet::parse(packet).map(|p| p.ecn()),
        EtherType::IPV6 => Ipv6Packet::parse(packet).map(|p| p.ecn()),
        _ => return Ok(()),
    };
    // A packet too broken to hold an ECN field is the receiving stack's to refuse.
    let Ok(inner) = inner else { return Ok(()) };
    let combined = combined(inner, outer).ok_or(DropReason::EcnNotCapable)?;
    if combined != inner {
        match ether_type {
            EtherType::IPV4 => ipv4::set_ecn(packet, combined),
            _ => ipv6::set_ecn(packet, combined),
        }
    }
    Ok(())
}

/// RFC 6040 figure 4; `None` is "drop".
const fn combined(inner: Ecn, outer: Ecn) -> Option<Ecn> {
    match (inner, outer) {
        (Ecn::NotEct, Ecn::Ce) => None,
        (Ecn::NotEct, _) => Some(Ecn::NotEct),
        (Ecn::Ce, _) | (_, Ecn::Ce) => Some(Ecn::Ce),
        (Ecn::Ect0, Ecn::Ect1) | (Ecn::Ect1, _) => Some(Ecn::Ect1),
        (Ecn::Ect0, _) => Some(Ecn::Ect0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecn_combines_as_rfc_6040_figure_4_says() {
        use Ecn::{Ce, Ect0, Ect1, NotEct};
        let outers = [NotEct, Ect0, Ect1, Ce];
        let table = [
            (NotEct, [Some(NotEct), Some(NotEct), Some(NotEct), None]),
            (Ect0, [Some(Ect0), Some(Ect0), Some(Ect1), Some(Ce)]),
            (Ect1, [Some(Ect1), Some(Ect1), Some(Ect1), Some(Ce)]),
            (Ce, [Some(Ce), Some(Ce), Some(Ce), Some(Ce)]),
        ];
        for (inner, row) in table {
            for (outer, want) in outers.into_iter().zip(row) {
                assert_eq!(combined(inner, outer), want, "inner {inner:?}, outer {outer:?}");
            }
        }
    }
}
