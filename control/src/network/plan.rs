//! From what was asked for to what a network will be: MTU, VNI and subnets.

use std::net::IpAddr;

use ipnet::IpNet;
use weft_dataplane::wire::Vni;

use super::book::Book;
use super::{FIRST_VNI, MTU_MAX, MTU_MIN, MTU_MIN_IPV6, NetworkError, NetworkRequest, Occupied, SUBNETS_MAX};
use crate::config::Underlay;
use crate::ipam::{Policy, Pool, PoolSpec, UlaPrefix, choose_ipv4, choose_ipv6, overlaps};
use crate::model::Driver;

/// MTU of a bridge network unless given: Ethernet's, as Docker has it.
const BRIDGE_MTU: u32 = 1500;

/// The VNI: as asked for, or the lowest free one from [`FIRST_VNI`] up.
pub(super) fn vni(book: &Book, request: &NetworkRequest) -> Result<Option<Vni>, NetworkError> {
    match (request.driver, request.vni) {
        (Driver::Bridge, Some(vni)) => Err(NetworkError::VniOnBridge { vni }),
        (Driver::Bridge | Driver::Host | Driver::None, _) => Ok(None),
        (Driver::Overlay, Some(number)) => {
            let vni = Vni::new(number).map_err(|_| NetworkError::BadVni { vni: number })?;
            match book.with_vni(vni) {
                Some(owner) => Err(NetworkError::VniTaken { vni: number, network: owner.clone() }),
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
        (Driver::Host | Driver::None, _) => return Ok(0),
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

/// A network without interfaces can have nothing but a name and labels.
pub(super) fn check_driver(request: &NetworkRequest) -> Result<(), NetworkError> {
    let driver = request.driver;
    let given = [
        ("--subnet", !request.subnets.is_empty()),
        ("--gateway", !request.gateways.is_empty()),
        ("--ip-range", !request.ip_ranges.is_empty()),
        ("--vni", request.vni.is_some()),
        ("--mtu", request.mtu.is_some()),
        ("--internal", request.internal),
        ("--ipv6", request.ipv6),
        ("-o", !request.options.is_empty()),
    ];
    match given.into_iter().find(|(_, given)| *given && !driver.has_interfaces()) {
        Some((what, _)) => Err(NetworkError::NotOnDriver { what, driver }),
        None => Ok(()),
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
        if !request.driver.has_interfaces() {
            return Ok(vec![]);
        }
        check_disjoint(&request.subnets)?;
        for &net in &request.subnets {
            self.check_underlay(net)?;
        }
        check_belonging(request)?;
        let (mut v4, mut v6): (Vec<_>, Vec<_>) = request.subnets.iter().partition(|net| net.addr().is_ipv4());
        let want_v6 = request.ipv6 && v6.is_empty();
        if v4.is_empty() || want_v6 {
            let occupied = occupied()?;
            if v4.is_empty() {
                v4.push(self.choose(&occupied, |busy| Ok(choose_ipv4(request.driver, busy)?))?);
            }
            if want_v6 {
                v6.push(self.choose(&occupied, |busy| Ok(choose_ipv6(request.driver, self.ula, busy)?))?);
            }
        }
        let pool = |net: IpNet| {
            let at_home = |address: IpAddr| home(&request.subnets, address) == Some(net);
            let gateway = request.gateways.iter().copied().find(|&gateway| at_home(gateway));
            let range = range_of(request, net);
            let policy = Policy::of(request.driver);
            let auxiliary = request.auxiliary.iter().filter(|(_, address)| at_home(**address));
            let auxiliary = auxiliary.map(|(name, address)| (name.clone(), *address)).collect();
            Ok(Pool::new(&PoolSpec { net, gateway, range, auxiliary, policy })?)
        };
        v4.into_iter().chain(v6).map(pool).collect()
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

    /// A subnet that overlaps no other network, no pool that is lent, not the underlay, and nothing of the host.
    pub(super) fn choose(
        &self,
        occupied: &Occupied,
        choose: impl Fn(&[IpNet]) -> Result<IpNet, NetworkError>,
    ) -> Result<IpNet, NetworkError> {
        let networks = self.book.networks().flat_map(|record| &record.network.subnets);
        let mut busy: Vec<IpNet> = networks.map(|subnet| subnet.net).chain(self.underlay_nets()).collect();
        busy.extend(self.book.lent.nets());
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

/// No more than [`SUBNETS_MAX`] subnets, none of which overlap.
fn check_disjoint(subnets: &[IpNet]) -> Result<(), NetworkError> {
    if subnets.len() > SUBNETS_MAX {
        return Err(NetworkError::TooManySubnets { count: subnets.len() });
    }
    for (index, &second) in subnets.iter().enumerate() {
        if let Some(&first) = subnets[..index].iter().find(|&&first| overlaps(first, second)) {
            return Err(NetworkError::SubnetsOverlap { first, second });
        }
    }
    Ok(())
}

/// Gateways, auxiliary addresses and ranges must name a subnet that was given: a chosen one is not known beforehand.
fn check_belonging(request: &NetworkRequest) -> Result<(), NetworkError> {
    for (index, &gateway) in request.gateways.iter().enumerate() {
        let Some(net) = home(&request.subnets, gateway) else {
            return Err(NetworkError::NoSubnetFor { what: "the gateway", value: gateway.to_string() });
        };
        if request.gateways[..index].iter().any(|&earlier| home(&request.subnets, earlier) == Some(net)) {
            return Err(NetworkError::TwoGateways { net });
        }
    }
    if let Some(address) = request.auxiliary.values().find(|a| home(&request.subnets, **a).is_none()) {
        return Err(NetworkError::NoSubnetFor { what: "the auxiliary address", value: address.to_string() });
    }
    for (index, &range) in request.ip_ranges.iter().enumerate() {
        let Some(net) = home(&request.subnets, range.addr()) else {
            return Err(NetworkError::NoSubnetFor { what: "the range", value: range.to_string() });
        };
        if request.ip_ranges[..index].iter().any(|one| home(&request.subnets, one.addr()) == Some(net)) {
            return Err(NetworkError::TwoRanges { net });
        }
    }
    Ok(())
}

/// The part of the subnet `net` of a network that addresses are to be chosen from.
pub(super) fn range_of(request: &NetworkRequest, net: IpNet) -> Option<IpNet> {
    request.ip_ranges.iter().copied().find(|range| home(&request.subnets, range.addr()) == Some(net))
}

/// The subnet that an address is meant for: the one it lies in, or else the only one of its family, which then says what
/// is wrong with it.
fn home(subnets: &[IpNet], address: IpAddr) -> Option<IpNet> {
    if let Some(&net) = subnets.iter().find(|net| net.contains(&address)) {
        return Some(net);
    }
    let mut family = subnets.iter().filter(|net| net.addr().is_ipv4() == address.is_ipv4());
    match (family.next(), family.next()) {
        (Some(&only), None) => Some(only),
        _ => None,
    }
}
