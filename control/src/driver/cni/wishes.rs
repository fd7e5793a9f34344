//! What an interface is to be, whoever said so: `runtimeConfig`, `args.cni` and `CNI_ARGS` may all name addresses and a
//! MAC address; and what a delegated IPAM plugin gave.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use weft_dataplane::wire::MacAddr;

use super::result::{Attached, Route};
use super::runtime::{AddressWish, Range};
use super::{Args, CniError, Configuration};
use crate::api::types::{NetworkInfo, SubnetInfo};
use crate::sandbox::StaticRoute;

/// Addresses and MAC address that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) ips: Vec<AddressWish>,
    pub(super) mac: Option<MacAddr>,
}

/// What a delegated IPAM plugin gave, as far as it fits the network.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) ip: Option<Ipv4Addr>,
    pub(super) ip6: Option<Ipv6Addr>,
    /// Routes besides the default ones, which are the network's.
    pub(super) routes: Vec<StaticRoute>,
}

impl Wishes {
    /// All that is asked for.
    ///
    /// # Errors
    /// [`CniError::Configuration`] for two MAC addresses.
    pub(super) fn of(config: &Configuration, args: &Args) -> Result<Self, CniError> {
        let mut ips = config.runtime.ips.clone();
        for wish in config.args.ips.iter().chain(&args.ip) {
            if !ips.iter().any(|other| other.address == wish.address) {
                ips.push(*wish);
            }
        }
        let macs: Vec<_> = [config.runtime.mac, config.args.mac, args.mac].into_iter().flatten().collect();
        match macs.iter().find(|&&mac| Some(mac) != macs.first().copied()) {
            Some(other) => Err(wrong("mac", format!("{} and {other} are asked for at once", macs[0]))),
            None => Ok(Self { ips, mac: macs.first().copied() }),
        }
    }

    /// The addresses by family.
    ///
    /// # Errors
    /// [`CniError::Configuration`] for two of one family: an interface has one of each.
    pub(super) fn by_family(&self) -> Result<(Option<Ipv4Addr>, Option<Ipv6Addr>), CniError> {
        let (mut ip, mut ip6) = (None, None);
        for wish in &self.ips {
            let first = match wish.address {
                IpAddr::V4(v4) => ip.replace(v4).map(IpAddr::from),
                IpAddr::V6(v6) => ip6.replace(v6).map(IpAddr::from),
            };
            if let Some(first) = first {
                let both =
                    format!("{first} and {} are asked for; an interface has one of a family", wish.address);
                return Err(wrong("ips", both));
            }
        }
        Ok((ip, ip6))
    }

    /// Whether they lie in one of these subnets, with its prefix length if one was given.
    ///
    /// # Errors
    /// [`CniError::Configuration`].
    pub(super) fn fit(&self, subnets: &[IpNet]) -> Result<(), CniError> {
        for AddressWish { address, prefix } in &self.ips {
            let mut homes = subnets.iter().filter(|subnet| subnet.contains(address));
            let home = homes.next().ok_or_else(|| nowhere("ips", *address, subnets))?;
            if let Some(prefix) = prefix.filter(|&prefix| prefix != home.prefix_len()) {
                return Err(wrong("ips", format!("{address}/{prefix} is in the network's {home}")));
            }
        }
        Ok(())
    }
}

impl Given {
    /// What of `result` the interface gets.
    ///
    /// # Errors
    /// [`CniError`] if it is not for this network, or not what was asked for.
    pub(super) fn of(
        result: &Attached,
        network: &NetworkInfo,
        wishes: &Wishes,
        ranges: &[Vec<Range>],
    ) -> Result<Self, CniError> {
        let mut given = Self { ip: None, ip6: None, routes: vec![] };
        for address in &result.ips {
            let own = address.address.addr();
            let home = home(network, own).ok_or_else(|| nowhere("ipam", own, &subnets(network)))?;
            if home.subnet.prefix_len() != address.address.prefix_len() {
                return Err(wrong(
                    "ipam",
                    format!("it gave {} in the network's {}", address.address, home.subnet),
                ));
            }
            if let Some(gateway) = address.gateway.filter(|&gateway| gateway != home.gateway) {
                return Err(wrong(
                    "ipam",
                    format!("it gave the gateway {gateway}, the network's is {}", home.gateway),
                ));
            }
            let first = match own {
                IpAddr::V4(v4) => given.ip.replace(v4).map(IpAddr::from),
                IpAddr::V6(v6) => given.ip6.replace(v6).map(IpAddr::from),
            };
            if let Some(first) = first {
                return Err(wrong(
                    "ipam",
                    format!("it gave {first} and {own}; an interface has one of a family"),
                ));
            }
        }
        given.check(network, wishes, ranges)?;
        given.routes = static_routes(&result.routes, network)?;
        Ok(given)
    }

    fn check(&self, network: &NetworkInfo, wishes: &Wishes, ranges: &[Vec<Range>]) -> Result<(), CniError> {
        let own: Vec<IpAddr> =
            self.ip.map(IpAddr::from).into_iter().chain(self.ip6.map(IpAddr::from)).collect();
        let without = |subnet: &&SubnetInfo| !own.iter().any(|ip| ip.is_ipv4() == subnet.gateway.is_ipv4());
        if let Some(subnet) = network.subnets.iter().find(without) {
            return Err(wrong("ipam", format!("it gave no address for the network's {}", subnet.subnet)));
        }
        if let Some(wish) = wishes.ips.iter().find(|wish| !own.contains(&wish.address)) {
            return Err(wrong(
                "ips",
                format!("{} is asked for, and the IPAM plugin did not give it", wish.address),
            ));
        }
        let missed = |set: &&Vec<Range>| !set.iter().any(|range| own.iter().any(|&ip| range.contains(ip)));
        match ranges.iter().find(missed) {
            Some(set) => Err(wrong("ipRanges", format!("the IPAM plugin gave no address of {set:?}"))),
            None => Ok(()),
        }
    }
}

/// The routes besides the default ones. The network's gateway is the default route; a result that wants another, or that
/// wants more than a destination and a router, is refused.
fn static_routes(routes: &[Route], network: &NetworkInfo) -> Result<Vec<StaticRoute>, CniError> {
    let mut others = Vec::new();
    for route in routes {
        let refuse = |why: String| wrong("ipam", format!("it gave a route to {} {why}", route.dst));
        if *route != Route::new(route.dst, route.gw) {
            return Err(refuse("with more than 'dst' and 'gw', which Weft does not set".into()));
        }
        let ipv4 = route.dst.addr().is_ipv4();
        let gateway = network.subnets.iter().map(|subnet| subnet.gateway).find(|ip| ip.is_ipv4() == ipv4);
        let via = route
            .gw
            .or(gateway.filter(|_| !network.internal))
            .ok_or_else(|| refuse("without 'gw', and the network has no gateway for it".into()))?;
        let on_link = |subnet: &SubnetInfo| subnet.subnet.contains(&via);
        if via.is_ipv4() != ipv4 || !network.subnets.iter().any(on_link) {
            return Err(refuse(format!("via {via}, which is not on the network")));
        }
        let default = route.dst.prefix_len() == 0;
        if network.internal && Some(via) == gateway {
            return Err(refuse(format!("via {via}, and the network is internal: nobody answers there")));
        }
        if default && Some(via) != gateway {
            return Err(refuse(format!("via {via}, and Weft's default route is by the network's gateway")));
        }
        if !default {
            others.push(StaticRoute { to: route.dst.trunc(), via: Some(via) });
        }
    }
    Ok(others)
}

fn home(network: &NetworkInfo, address: IpAddr) -> Option<&SubnetInfo> {
    network.subnets.iter().find(|subnet| subnet.subnet.contains(&address))
}

/// The ranges of a network.
pub(super) fn subnets(network: &NetworkInfo) -> Vec<IpNet> {
    network.subnets.iter().map(|subnet| subnet.subnet).collect()
}

fn nowhere(key: &str, address: IpAddr, subnets: &[IpNet]) -> CniError {
    let subnets: Vec<_> = subnets.iter().map(ToString::to_string).collect();
    wrong(key, format!("{address} is in none of the network's subnets, {}", subnets.join(", ")))
}

fn wrong(key: &str, why: String) -> CniError {
    CniError::Configuration { key: key.to_owned(), why }
}

/// The addresses of a result with their gateways, as subnets are made of them.
pub(super) fn subnets_of(result: &Attached) -> Vec<(IpNet, Option<IpAddr>)> {
    result.ips.iter().map(|address| (address.address, address.gateway)).collect()
}
