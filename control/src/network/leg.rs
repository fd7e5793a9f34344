//! The host's leg on a network: the interface by which this host reaches its bridge networks.
//!
//! It has the gateway's MAC and addresses, so the host is the endpoints' first hop. Its port lives as long as the network,
//! unless somebody deletes the interface: then the next one gets another number. The host never stands on a network whose
//! subnet holds what is the host's already: the route to it would lead there no more. Of two networks with overlapping subnets
//! the host reaches the one whose leg came first, by the kernel's rule for equal routes.

use ipnet::IpNet;
use weft_dataplane::gateway::GATEWAY_MAC;
use weft_dataplane::tables::{PortId, PortKind, PortSpec};

use super::book::{Book, Record};
use super::{Manager, NetworkError, PREDEFINED};
use crate::model::{Name, Network, Subnet};
use crate::sandbox::Leg;

/// What the interface on the predefined network is called.
const FIRST: &str = "weft0";

/// How the names of the others begin.
const PREFIX: &str = "wb-";

/// How many digits of the network's id follow.
const DIGITS: usize = 10;

/// Whether an interface of this name is a leg of ours.
pub(super) fn is_leg(ifname: &str) -> bool {
    let digits = ifname.strip_prefix(PREFIX).map(str::as_bytes);
    ifname == FIRST
        || digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
}

/// The leg of a network that is to have one.
pub(super) fn of(network: &Network) -> Option<Leg> {
    network.gateway.filter(|gateway| gateway.host_access)?;
    let ifname = match network.name.as_str() {
        PREDEFINED => FIRST.to_owned(),
        _ => format!("{PREFIX}{}", &network.id.to_string()[..DIGITS]),
    };
    let address = |subnet: &Subnet| IpNet::new(subnet.gateway, subnet.net.prefix_len()).ok();
    let addresses = network.subnets.iter().filter_map(address).collect();
    Some(Leg { ifname, mac: GATEWAY_MAC, addresses, mtu: network.mtu.into() })
}

/// What the dataplane is told of the leg of a network, whose port is `id`.
pub(super) fn port(network: &Network, id: PortId) -> PortSpec {
    PortSpec {
        id,
        kind: PortKind::Host,
        segment: network.segment,
        mac: GATEWAY_MAC,
        addresses: network.subnets.iter().map(|subnet| subnet.gateway).collect(),
    }
}

impl Manager {
    /// Makes the leg of a network, whose port is published; on an error nothing is left of it.
    pub(super) fn raise(&self, network: &Network, port: PortId) -> Result<(), NetworkError> {
        let Some(leg) = of(network) else { return Ok(()) };
        let occupied = self.plane.occupied()?;
        for net in network.subnets.iter().map(|subnet| subnet.net) {
            // A wider route of the host stays what it is for the rest of it.
            if let Some(host) = occupied(net).filter(|host| host.prefix_len() >= net.prefix_len()) {
                return Err(NetworkError::HostOverlap { net, host });
            }
        }
        Ok(self.plane.stand(port, &leg).inspect_err(|_| self.plane.close_port(port))?)
    }

    /// Makes the leg of a network that has lost it.
    pub(super) fn raise_again(&self, book: &mut Book, name: &Name) -> Result<bool, NetworkError> {
        let Some(network) = book.named(name).filter(|record| record.has_leg()).map(|r| r.network.clone())
        else {
            return Ok(false);
        };
        let former = book.named(name).and_then(|record| record.host);
        if former.is_some_and(|port| book.serving.contains(&port)) || !book.troubles.is_due(network.id) {
            return Ok(false);
        }
        let port = former.map_or_else(|| book.next_port(), Ok)?;
        book.named_mut(name).into_iter().for_each(|record| record.host = Some(port));
        self.publish(book)?;
        self.raise(&network, port)?;
        book.serving.insert(port);
        book.troubles.settle(network.id);
        Ok(true)
    }

    /// Takes down the leg of a network.
    pub(super) fn lower(&self, book: &mut Book, name: &Name) {
        if let Some(port) = book.named_mut(name).and_then(|record| record.host.take()) {
            self.plane.close_port(port);
            book.serving.remove(&port);
        }
    }
}

impl Record {
    /// Whether it is to have a leg.
    pub(super) fn has_leg(&self) -> bool {
        !self.closed && of(&self.network).is_some()
    }
}
