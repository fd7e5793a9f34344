//! Endpoints: connecting, disconnecting, and noticing that one is gone.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Component, Path};
use std::time::SystemTime;

use ipnet::IpNet;
use weft_dataplane::tables::PortId;
use weft_dataplane::wire::MacAddr;

use super::book::{Book, Record};
use super::{ENDPOINTS_MAX, EndpointRequest, Manager, NetworkError, random};
use crate::ipam::{Holder, Pool};
use crate::model::{Endpoint, Id, IfName, Name, Network, Sandbox};
use crate::sandbox::{Netns, Plug};

/// What is not decided by the addresses of an endpoint.
struct Claim<'a> {
    request: &'a EndpointRequest,
    name: Name,
    ifname: IfName,
    sandbox: Sandbox,
    port: PortId,
    /// Whether another endpoint of ours has the default route of IPv4, of IPv6, in the sandbox.
    routed: [bool; 2],
}

impl Manager {
    /// Connects a namespace to a network; gives the network, the endpoint, and what was left out without harm, a line
    /// each.
    ///
    /// # Errors
    /// [`NetworkError`]; nothing has changed, and nothing is left in the namespace.
    pub fn connect(
        &self,
        key: &str,
        request: &EndpointRequest,
    ) -> Result<(Network, Endpoint, Vec<String>), NetworkError> {
        if !request.netns.is_absolute() {
            return Err(NetworkError::RelativePath { netns: request.netns.clone() });
        }
        let mut book = self.open_book()?;
        if book.endpoints().count() >= ENDPOINTS_MAX {
            return Err(NetworkError::TooManyEndpoints);
        }
        let network = book.find(key)?.network.clone();
        let netns = self.plane.open_sandbox(&request.netns)?;
        let claim = Claim {
            request,
            name: request.name.clone().map_or_else(|| name_from(&request.netns), Ok)?,
            ifname: request.ifname.clone().unwrap_or_else(|| book.free_ifname(netns.id())),
            sandbox: Sandbox { path: request.netns.clone(), key: netns.id() },
            port: book.next_port()?,
            routed: book.routed(netns.id()),
        };
        let endpoint = claim.enter(book.find_mut(key)?)?;
        match self.bring_up(&book, &network, &endpoint, &netns) {
            Ok(warnings) => {
                for warning in &warnings {
                    tracing::warn!(network = %network.name, endpoint = %endpoint.name, "{warning}");
                }
                tracing::info!(network = %network.name, endpoint = %endpoint.name, mac = %endpoint.mac, netns = %netns, "endpoint connected");
                Ok((network, endpoint, warnings))
            }
            Err(error) => {
                self.drop_endpoint(&mut book, &network.name, &endpoint);
                Err(error)
            }
        }
    }

    /// Removes an endpoint and its interface.
    ///
    /// # Errors
    /// [`NetworkError::NoNetwork`] or [`NetworkError::NoEndpoint`].
    pub fn disconnect(&self, key: &str, endpoint: &str) -> Result<(Network, Endpoint), NetworkError> {
        let mut book = self.book();
        let record = book.find(key)?;
        let (network, endpoint) = (record.network.clone(), record.endpoint(endpoint)?.clone());
        self.drop_endpoint(&mut book, &network.name, &endpoint);
        tracing::info!(network = %network.name, endpoint = %endpoint.name, "endpoint disconnected");
        Ok((network, endpoint))
    }

    /// The dataplane says that a port's TAP is no more: its namespace has died. The endpoint goes with it.
    pub fn port_gone(&self, port: PortId) {
        let mut book = self.book();
        let Some((network, endpoint)) =
            book.behind(port).map(|(record, endpoint)| (record.network.name.clone(), endpoint.clone()))
        else {
            return;
        };
        self.drop_endpoint(&mut book, &network, &endpoint);
        let netns = endpoint.sandbox.path.display();
        tracing::warn!(%network, endpoint = %endpoint.name, %netns, "the namespace is gone, endpoint removed");
    }

    /// All endpoints with their networks.
    #[must_use]
    pub fn endpoints(&self) -> Vec<(Network, Endpoint)> {
        self.book().endpoints().map(|(record, endpoint)| (record.network.clone(), endpoint.clone())).collect()
    }

    /// The endpoints that `key` names, one for each network that has such a one.
    ///
    /// # Errors
    /// [`NetworkError::NoEndpoint`].
    pub fn endpoints_named(&self, key: &str) -> Result<Vec<(Network, Endpoint)>, NetworkError> {
        let book = self.book();
        let here = |record: &Record| Some((record.network.clone(), record.endpoint(key).ok()?.clone()));
        let found: Vec<_> = book.networks.values().filter_map(here).collect();
        if found.is_empty() {
            return Err(NetworkError::NoEndpoint { key: key.into(), network: None });
        }
        Ok(found)
    }

    /// The packet side of connecting. On an error some of it may be done; [`Manager::drop_endpoint`] undoes all of it.
    fn bring_up(
        &self,
        book: &Book,
        network: &Network,
        endpoint: &Endpoint,
        netns: &Netns,
    ) -> Result<Vec<String>, NetworkError> {
        let tap_name = format!("wf{:08x}", u32::from_ne_bytes(random()?));
        self.publish(book)?;
        self.plane.open_port(endpoint.port, &tap_name)?;
        let plug = Plug {
            ifname: endpoint.ifname.to_string(),
            mac: endpoint.mac,
            addresses: endpoint.addresses.clone(),
            gateways: endpoint.gateways.clone(),
            mtu: network.mtu.into(),
        };
        Ok(self.plane.plug(netns, &tap_name, &plug)?)
    }

    fn drop_endpoint(&self, book: &mut Book, network: &Name, endpoint: &Endpoint) {
        self.plane.close_port(endpoint.port);
        if let Some(record) = book.networks.get_mut(network) {
            record.remove(&endpoint.name);
        }
        self.publish_removal(book);
    }
}

impl Claim<'_> {
    /// Enters the endpoint into the network's book with its addresses; on an error the book is as before.
    fn enter(self, record: &mut Record) -> Result<Endpoint, NetworkError> {
        if record.endpoints.contains_key(&self.name) {
            let network = record.network.name.clone();
            return Err(NetworkError::EndpointExists { name: self.name, network });
        }
        self.check_families(&record.network)?;
        let given_mac = self.request.mac.as_deref().map(parse_mac).transpose()?;
        let id = Id::from_bytes(random()?);

        let holder = Holder { id, name: self.name.clone() };
        let mut addresses = Vec::new();
        let mac = self
            .claim_addresses(&mut record.pools, &holder, &mut addresses)
            .and_then(|()| free_mac(record, given_mac.unwrap_or_else(|| mac_for(&addresses))))
            .inspect_err(|_| record.release(&addresses, id))?;
        let needs_route = |gateway: &IpAddr| !self.routed[usize::from(gateway.is_ipv6())];
        let gateways = match record.network.internal {
            true => vec![],
            false => record.pools.iter().map(Pool::gateway).filter(needs_route).collect(),
        };
        let endpoint = Endpoint {
            id,
            name: self.name.clone(),
            port: self.port,
            sandbox: self.sandbox,
            ifname: self.ifname,
            mac,
            addresses,
            gateways,
            created: SystemTime::now(),
        };
        record.endpoints.insert(self.name, endpoint.clone());
        Ok(endpoint)
    }

    /// Takes one address from each pool and adds it to `addresses`; on an error, those that were taken before stand there.
    fn claim_addresses(
        &self,
        pools: &mut [Pool],
        holder: &Holder,
        addresses: &mut Vec<IpNet>,
    ) -> Result<(), NetworkError> {
        for pool in pools {
            let wanted: Option<IpAddr> = match pool.net() {
                IpNet::V4(_) => self.request.ip.map(IpAddr::from),
                IpNet::V6(_) => self.request.ip6.map(IpAddr::from),
            };
            let address = match wanted {
                Some(wanted) => pool.claim(wanted, holder.clone()).map(|()| wanted)?,
                None => pool.allocate(holder.clone())?,
            };
            addresses.extend(IpNet::new(address, pool.net().prefix_len()));
        }
        Ok(())
    }

    /// An address that was asked for needs a subnet of its family.
    fn check_families(&self, network: &Network) -> Result<(), NetworkError> {
        let wanted = [self.request.ip.map(IpAddr::from), self.request.ip6.map(IpAddr::from)];
        for address in wanted.into_iter().flatten() {
            if !network.subnets.iter().any(|subnet| subnet.net.addr().is_ipv4() == address.is_ipv4()) {
                return Err(NetworkError::NoFamily { address, network: network.name.clone() });
            }
        }
        Ok(())
    }
}

/// `mac`, unless an endpoint of the network has it.
fn free_mac(record: &Record, mac: MacAddr) -> Result<MacAddr, NetworkError> {
    match record.endpoints.values().find(|endpoint| endpoint.mac == mac) {
        Some(owner) => Err(NetworkError::MacTaken { mac: mac.to_string(), owner: owner.name.clone() }),
        None => Ok(mac),
    }
}

fn parse_mac(text: &str) -> Result<MacAddr, NetworkError> {
    let bad = || NetworkError::BadMac { mac: text.to_owned() };
    let mac: MacAddr = text.parse().map_err(|_| bad())?;
    if mac.is_multicast() || mac.is_zero() { Err(bad()) } else { Ok(mac) }
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
fn name_from(netns: &Path) -> Result<Name, NetworkError> {
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
