//! From what was asked for to what an endpoint will be: name, port, interface name, MAC and addresses.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Component, Path};
use std::time::SystemTime;

use ipnet::IpNet;
use weft_dataplane::gateway::GATEWAY_MAC;
use weft_dataplane::tables::PortId;
use weft_dataplane::wire::MacAddr;

use super::book::{Book, Record};
use super::lent::LENDER;
use super::{EndpointRequest, NetworkError, ROUTES_MAX, random};
use crate::ipam::{Holder, IpamError, Pool};
use crate::model::{Driver, Endpoint, EndpointState, Id, IfName, Interface, Name, Network, Sandbox};
use crate::sandbox::{Netns, StaticRoute};

/// An endpoint whose addresses are not decided yet.
pub(super) struct Claim<'a> {
    id: Id,
    state: EndpointState,
    request: &'a EndpointRequest,
    name: Name,
    sandbox: Sandbox,
    interface: Option<Outline>,
}

/// An interface without MAC and addresses.
struct Outline {
    port: PortId,
    ifname: IfName,
    /// Whether another endpoint of ours has the default route of IPv4, of IPv6, in the sandbox.
    routed: [bool; 2],
}

impl<'a> Claim<'a> {
    /// What the book says to a request, as far as it is not about addresses.
    pub(super) fn prepare(
        book: &mut Book,
        network: &Network,
        request: &'a EndpointRequest,
        name: Name,
        sandbox: Sandbox,
    ) -> Result<Self, NetworkError> {
        let (id, state) = (Id::from_bytes(random()?), EndpointState::Attaching);
        if network.driver.has_interfaces() {
            let ifname = request.ifname.clone().unwrap_or_else(|| book.free_ifname(sandbox.key));
            let outline = Outline { port: book.next_port()?, ifname, routed: book.routed(sandbox.key) };
            return Ok(Self { id, state, request, name, sandbox, interface: Some(outline) });
        }
        check_bare(network, request)?;
        if network.driver == Driver::Host
            && sandbox.key != Netns::current().map_err(super::PlaneError::from)?.id()
        {
            return Err(NetworkError::NotTheHost { netns: sandbox.path, network: network.name.clone() });
        }
        Ok(Self { id, state, request, name, sandbox, interface: None })
    }

    /// As one that an engine is to take, under the engine's identity.
    pub(super) fn offered(self, id: Id) -> Self {
        Self { id, state: EndpointState::Offered, ..self }
    }

    /// The endpoint, its addresses taken from the network's pools; on an error they are as before.
    pub(super) fn enter(self, record: &mut Record) -> Result<Endpoint, NetworkError> {
        let id = self.id;
        let interface = match &self.interface {
            Some(outline) => {
                let mut taken = Vec::new();
                let decided = self.decide(outline, record, id, &mut taken);
                let addresses: Vec<_> = taken.iter().map(|&(address, _)| address).collect();
                Some(decided.inspect_err(|_| record.release(&addresses, id))?)
            }
            None => None,
        };
        Ok(Endpoint {
            id,
            name: self.name,
            aliases: vec![],
            labels: self.request.labels.clone(),
            state: self.state,
            sandbox: self.sandbox,
            interface,
            ports: vec![],
            created: SystemTime::now(),
        })
    }

    /// Takes the addresses, with their gateways, into `taken`; on an error, those that were taken before stand there.
    fn decide(
        &self,
        outline: &Outline,
        record: &mut Record,
        id: Id,
        taken: &mut Vec<(IpNet, IpAddr)>,
    ) -> Result<Interface, NetworkError> {
        self.check_families(&record.network)?;
        let given_mac = self.request.mac.as_deref().map(parse_mac).transpose()?;
        let holder = Holder { id, name: self.name.clone() };
        for (ipv6, wanted) in self.wanted() {
            let family = record.pools.iter_mut().filter(|pool| pool.net().addr().is_ipv6() == ipv6);
            taken.extend(take(family, wanted, &holder, self.state == EndpointState::Offered)?);
        }
        let addresses: Vec<_> = taken.iter().map(|&(address, _)| address).collect();
        let mac = given_mac.unwrap_or_else(|| mac_for(&addresses));
        if let Some(owner) = record.with_mac(mac) {
            return Err(NetworkError::MacTaken { mac: mac.to_string(), owner: owner.clone() });
        }
        let mut gateways: Vec<_> = taken.iter().map(|&(_, gateway)| gateway).collect();
        gateways
            .retain(|gateway| !record.network.internal && !outline.routed[usize::from(gateway.is_ipv6())]);
        let routes = routes(&self.request.routes, &addresses)?;
        Ok(Interface { port: outline.port, ifname: outline.ifname.clone(), mac, addresses, gateways, routes })
    }

    /// By family, IPv4 first: whether it is IPv6, and the address that was asked for.
    fn wanted(&self) -> [(bool, Option<IpAddr>); 2] {
        [(false, self.request.ip.map(IpAddr::from)), (true, self.request.ip6.map(IpAddr::from))]
    }

    /// An address that was asked for needs a subnet of its family.
    fn check_families(&self, network: &Network) -> Result<(), NetworkError> {
        for (ipv6, wanted) in self.wanted() {
            let has = network.subnets.iter().any(|subnet| subnet.net.addr().is_ipv6() == ipv6);
            if let Some(address) = wanted.filter(|_| !has) {
                return Err(NetworkError::NoFamily { address, network: network.name.clone() });
            }
        }
        Ok(())
    }
}

/// Takes an address from one of the pools of a family, and gives it with its gateway: `wanted` from the pool it lies in,
/// or any from the first that has one; what the engine was given for that, if this is for `engine`. `None` if there are no
/// pools.
fn take<'a>(
    pools: impl Iterator<Item = &'a mut Pool>,
    wanted: Option<IpAddr>,
    holder: &Holder,
    engine: bool,
) -> Result<Option<(IpNet, IpAddr)>, NetworkError> {
    let mut refusal: Option<IpamError> = None;
    for pool in pools {
        let outcome = match wanted {
            Some(wanted) if engine && pool.hand_over(wanted, LENDER, holder.clone()) => Ok(wanted),
            Some(wanted) => pool.claim(wanted, holder.clone()).map(|()| wanted),
            None => pool.allocate(holder.clone()),
        };
        match outcome {
            Ok(address) => {
                return Ok(IpNet::new(address, pool.net().prefix_len())
                    .ok()
                    .map(|net| (net, pool.gateway())));
            }
            Err(error @ IpamError::Taken { .. }) => return Err(error.into()),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    refusal.map_or(Ok(None), |error| Err(error.into()))
}

/// Endpoints without an interface cannot have what only an interface has.
fn check_bare(network: &Network, request: &EndpointRequest) -> Result<(), NetworkError> {
    let given = [
        ("--ifname", request.ifname.is_some()),
        ("--ip", request.ip.is_some()),
        ("--ip6", request.ip6.is_some()),
        ("--mac", request.mac.is_some()),
        ("a route", !request.routes.is_empty()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((what, _)) => Err(NetworkError::NotOnDriver { what, driver: network.driver }),
        None => Ok(()),
    }
}

/// The routes that are asked for, for an interface with these addresses.
fn routes(asked: &[StaticRoute], addresses: &[IpNet]) -> Result<Vec<StaticRoute>, NetworkError> {
    if asked.len() > ROUTES_MAX {
        return Err(NetworkError::TooManyRoutes { count: asked.len() });
    }
    let check = |&StaticRoute { to, via }: &StaticRoute| {
        let route = StaticRoute { to: to.trunc(), via };
        let refuse = |why| Err(NetworkError::BadRoute { route, why });
        let home = addresses.iter().find(|net| net.addr().is_ipv4() == to.addr().is_ipv4());
        match (home, via) {
            _ if to.prefix_len() == 0 => refuse("the default route is the network's business"),
            (None, _) => refuse("the interface has no address of that family"),
            (Some(home), Some(via)) if via == home.addr() => refuse("that is the interface's own address"),
            (Some(home), Some(via)) if !home.contains(&via) => refuse("the router is not on the network"),
            _ => Ok(route),
        }
    };
    asked.iter().map(check).collect()
}

fn parse_mac(text: &str) -> Result<MacAddr, NetworkError> {
    let bad = || NetworkError::BadMac { mac: text.to_owned() };
    let mac: MacAddr = text.parse().map_err(|_| bad())?;
    let reserved = mac.is_multicast() || mac.is_zero() || mac == GATEWAY_MAC;
    if reserved { Err(bad()) } else { Ok(mac) }
}

/// `02:42` and the IPv4 address, as Docker does.
fn mac_for(addresses: &[IpNet]) -> MacAddr {
    let v4 = addresses.iter().find_map(|net| match net.addr() {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    });
    let v6 = addresses.first().map_or(Ipv6Addr::UNSPECIFIED, |net| match net.addr() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    });
    let [.., a, b, c, d] = v6.octets();
    MacAddr::from_ipv4(v4.unwrap_or_else(|| [a, b, c, d].into()))
}

/// `c1` for `/run/netns/c1`, `pid-4711` for `/proc/4711/ns/net`.
pub(super) fn name_from(netns: &Path) -> Result<Name, NetworkError> {
    let parts: Vec<_> = netns
        .components()
        .filter_map(|component| match component {
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect();
    let text = match parts.as_slice() {
        ["proc", pid, .., "ns", "net"] => format!("pid-{pid}"),
        [.., last] => (*last).to_owned(),
        [] => String::new(),
    };
    Name::new(text).map_err(|source| NetworkError::Unnameable { netns: netns.to_owned(), source })
}
