//! From what was asked for to what a network will be: MTU, VNI and subnets.

use std::net::IpAddr;

use ipnet::IpNet;
use weft_dataplane::wire::Vni;

use super::book::Book;
use super::{FIRST_VNI, MTU_MAX, MTU_MIN, MTU_MIN_IPV6, NetworkError, NetworkRequest, Occupied};
use crate::config::Underlay;
use crate::ipam::{Policy, Pool, PoolSpec, UlaPrefix, choose_ipv4, choose_ipv6, overlaps};
use crate::model::Driver;

/// MTU of a bridge network unless given: Ethernet's, as Docker has it.
const BRIDGE_MTU: u32 = 1500;

/// The VNI: as asked for, or the lowest free one from [`FIRST_VNI`] up.
pub(super) fn vni(book: &Book, request: &NetworkRequest) -> Result<Option<Vni>, NetworkError> {
    match (request.driver, request.vni) {
        (Driver::Bridge, None) => Ok(None),
        (Driver::Bridge, Some(vni)) => Err(NetworkError::VniOnBridge { vni }),
        (Driver::Overlay, Some(number)) => {
            let vni = Vni::new(number).map_err(|_| NetworkError::BadVni { vni: number })?;
            match book.with_vni(vni) {
                Some(owner) => Err(NetworkError::VniTaken { vni: number, network: owner.name.clone() }),
                None => Ok(Some(vni)),
            }
        }
        (Driver::Overlay, None) => {
            let mut candidates = (FIRST_VNI..=Vni::MAX.get()).filter_map(|n| Vni::new(n).ok());
            candidates.find(|&vni| book.with_vni(vni).is_none()).map(Some).ok_or(NetworkError::OutOfIds)
        }
    }
}

/// The MTU: as asked for, or what the underlay leaves, or [`BRIDGE_MTU`].
pub(super) fn mtu(
    request: &NetworkRequest,
    underlay: Option<&Underlay>,
    ipv6: bool,
) -> Result<u16, NetworkError> {
    let largest = match (request.driver, underlay) {
        (Driver::Bridge, _) => u32::from(MTU_MAX),
        (Driver::Overlay, Some(underlay)) => underlay.inner_mtu().min(MTU_MAX.into()),
        (Driver::Overlay, None) => return Err(NetworkError::NoUnderlay),
    };
    let usual = if request.driver == Driver::Bridge { BRIDGE_MTU } else { largest };
    let mtu = request.mtu.unwrap_or(usual);
    if let Some(underlay) = underlay
        && request.driver == Driver::Overlay
        && mtu > largest
    {
        return Err(NetworkError::MtuOverUnderlay { mtu, underlay: underlay.mtu, max: largest });
    }
    let smallest = if ipv6 { MTU_MIN_IPV6 } else { MTU_MIN };
    match u16::try_from(mtu) {
        Ok(fits) if (smallest..=MTU_MAX).contains(&fits) => Ok(fits),
        _ => Err(NetworkError::BadMtu { mtu, ipv6 }),
    }
}

/// What a new subnet must keep clear of.
pub(super) struct Surroundings<'a> {
    pub(super) book: &'a Book,
    pub(super) underlay: Option<&'a Underlay>,
    pub(super) peers: &'a [IpAddr],
    pub(super) ula: UlaPrefix,
}

impl Surroundings<'_> {
    /// The books of the network's subnets, IPv4 first. A network has an IPv4 subnet always, an IPv6 one when a subnet
    /// or `--ipv6` says so.
    pub(super) fn pools(
        &self,
        request: &NetworkRequest,
        occupied: impl FnOnce() -> Result<Occupied, NetworkError>,
    ) -> Result<Vec<Pool>, NetworkError> {
        let [mut v4, mut v6] = by_family(&request.subnets)?;
        for net in [v4, v6].into_iter().flatten() {
            self.check_underlay(net)?;
        }
        check_belonging(request)?;
        let want_v6 = request.ipv6 && v6.is_none();
        if v4.is_none() || want_v6 {
            let occupied = occupied()?;
            if v4.is_none() {
                v4 = Some(self.choose(&occupied, |busy| Ok(choose_ipv4(request.driver, busy)?))?);
            }
            if want_v6 {
                v6 = Some(self.choose(&occupied, |busy| Ok(choose_ipv6(request.driver, self.ula, busy)?))?);
            }
        }
        let pool = |net: IpNet| {
            let gateway = request.gateways.iter().copied().find(|gateway| same_family(net, *gateway));
            let range = request.ip_range.filter(|range| same_family(net, range.addr()));
            let policy = Policy::of(request.driver);
            Ok(Pool::new(&PoolSpec { gateway, range, policy, ..PoolSpec::new(net) })?)
        };
        [v4, v6].into_iter().flatten().map(pool).collect()
    }

    /// The underlay's subnet, and every peer: an endpoint with such an address could never be told from it.
    fn underlay_nets(&self) -> impl Iterator<Item = IpNet> {
        let peers = self.peers.iter().map(|&peer| IpNet::from(peer));
        self.underlay.map(|underlay| underlay.subnet).into_iter().chain(peers)
    }

    fn check_underlay(&self, net: IpNet) -> Result<(), NetworkError> {
        match self.underlay_nets().find(|&underlay| overlaps(net, underlay)) {
            Some(underlay) => Err(NetworkError::UnderlayOverlap { net, underlay }),
            None => Ok(()),
        }
    }

    /// A subnet that overlaps no other network, not the underlay, and nothing of the host.
    fn choose(
        &self,
        occupied: &Occupied,
        choose: impl Fn(&[IpNet]) -> Result<IpNet, NetworkError>,
    ) -> Result<IpNet, NetworkError> {
        let networks = self.book.networks.values().flat_map(|record| &record.network.subnets);
        let mut busy: Vec<IpNet> = networks.map(|subnet| subnet.net).chain(self.underlay_nets()).collect();
        loop {
            let candidate = choose(&busy)?;
            match occupied(candidate) {
                None => return Ok(candidate),
                // At least the candidate itself becomes busy, so this ends.
                Some(obstacle) => busy.extend([obstacle, candidate]),
            }
        }
    }
}

/// At most one subnet of each family.
fn by_family(subnets: &[IpNet]) -> Result<[Option<IpNet>; 2], NetworkError> {
    let mut families = [None, None];
    for &net in subnets {
        let family = &mut families[usize::from(net.addr().is_ipv6())];
        if let Some(first) = family.replace(net) {
            return Err(NetworkError::TwoSubnets { first, second: net });
        }
    }
    Ok(families)
}

/// Gateways and the range must name a subnet that was given: a chosen one is not known beforehand.
fn check_belonging(request: &NetworkRequest) -> Result<(), NetworkError> {
    for (index, &gateway) in request.gateways.iter().enumerate() {
        let Some(&net) = request.subnets.iter().find(|&&net| same_family(net, gateway)) else {
            return Err(NetworkError::NoSubnetFor { what: "the gateway", value: gateway.to_string() });
        };
        if request.gateways[..index].iter().any(|&earlier| same_family(net, earlier)) {
            return Err(NetworkError::TwoGateways { net });
        }
    }
    match request.ip_range {
        Some(range) if !request.subnets.iter().any(|&net| same_family(net, range.addr())) => {
            Err(NetworkError::NoSubnetFor { what: "the range", value: range.to_string() })
        }
        _ => Ok(()),
    }
}

fn same_family(net: IpNet, address: IpAddr) -> bool {
    net.addr().is_ipv4() == address.is_ipv4()
}
