//! How endpoints come, change and go, with every index that knows them.

use weft_dataplane::tables::PortId;

use super::Book;
use crate::ipam::Holder;
use crate::model::{Endpoint, EndpointState, Name};

impl Book {
    /// Enters an endpoint, whose addresses the network's pools have given out.
    pub(in super::super) fn insert_endpoint(&mut self, network: &Name, endpoint: Endpoint) {
        let Some(record) = self.networks.get_mut(network) else { return };
        if let Some(interface) = &endpoint.interface {
            record.macs.insert(interface.mac, endpoint.name.clone());
            self.ports.insert(interface.port, (network.clone(), endpoint.name.clone()));
        }
        record.endpoints.insert(endpoint.name.clone(), endpoint.clone());
        self.index(network, &endpoint);
        self.endpoints += 1;
    }

    /// Takes out an endpoint and frees its addresses.
    pub(in super::super) fn remove_endpoint(&mut self, network: &Name, name: &Name) {
        let Some(record) = self.networks.get_mut(network) else { return };
        let Some(endpoint) = record.endpoints.remove(name) else { return };
        if let Some(interface) = &endpoint.interface {
            record.release(&interface.addresses, endpoint.id);
            record.macs.remove(&interface.mac);
        }
        self.endpoints -= 1;
        self.unindex(network, &endpoint);
        self.troubles.settle(endpoint.id);
        self.relayed.remove(&endpoint.id);
        self.offered.remove(&endpoint.id);
        if let Some(interface) = &endpoint.interface {
            self.ports.remove(&interface.port);
            self.serving.remove(&interface.port);
            self.spent.remove(&interface.port);
        }
    }

    /// Enters what an endpoint publishes and where it stands, which may change while it is there. An offered one stands
    /// nowhere yet.
    fn index(&mut self, network: &Name, endpoint: &Endpoint) {
        self.published.insert(network, endpoint);
        if endpoint.state == EndpointState::Offered {
            let round = self.troubles.round();
            self.offered.entry(endpoint.id).or_insert(round);
        } else if let Some(interface) = &endpoint.interface {
            self.sandboxes.entry(endpoint.sandbox.key).or_default().push(interface.clone());
        }
    }

    fn unindex(&mut self, network: &Name, endpoint: &Endpoint) {
        self.published.remove(network, endpoint);
        let Some(interface) = &endpoint.interface else { return };
        let Some(inside) = self.sandboxes.get_mut(&endpoint.sandbox.key) else { return };
        inside.retain(|other| other.port != interface.port);
        if inside.is_empty() {
            self.sandboxes.remove(&endpoint.sandbox.key);
        }
    }

    /// Changes an endpoint in what it has not claimed: state, sandbox, interface name, routes, published ports.
    pub(in super::super) fn change_endpoint(
        &mut self,
        network: &Name,
        name: &Name,
        change: impl FnOnce(&mut Endpoint),
    ) {
        let known = self.networks.get(network).and_then(|record| record.endpoints.get(name));
        let Some(mut endpoint) = known.cloned() else { return };
        self.unindex(network, &endpoint);
        change(&mut endpoint);
        if endpoint.state != EndpointState::Offered {
            self.offered.remove(&endpoint.id);
        }
        self.index(network, &endpoint);
        let record = self.networks.get_mut(network);
        record.into_iter().for_each(|record| drop(record.endpoints.insert(name.clone(), endpoint.clone())));
    }

    /// Says that an endpoint is connected.
    pub(in super::super) fn attached(&mut self, network: &Name, name: &Name) {
        self.change_endpoint(network, name, |endpoint| endpoint.state = EndpointState::Attached);
    }

    /// Gives an endpoint's interface another port.
    pub(in super::super) fn renumber(&mut self, network: &Name, name: &Name, port: PortId) {
        let known = self.networks.get(network).and_then(|record| record.endpoints.get(name));
        let Some(old) = known.and_then(Endpoint::port) else { return };
        self.change_endpoint(network, name, |endpoint| {
            endpoint.interface.iter_mut().for_each(|interface| interface.port = port);
        });
        self.spent.remove(&old);
        self.ports.remove(&old);
        self.ports.insert(port, (network.clone(), name.clone()));
    }

    /// Gives a network another name, which is free.
    pub(in super::super) fn rename_network(&mut self, old: &Name, new: &Name) {
        let Some(mut record) = self.networks.remove(old) else { return };
        record.network.name.clone_from(new);
        self.vnis.values_mut().filter(|name| *name == old).for_each(|name| name.clone_from(new));
        for endpoint in record.endpoints.values() {
            self.published.remove(old, endpoint);
            self.published.insert(new, endpoint);
        }
        self.ports.values_mut().filter(|(name, _)| name == old).for_each(|(name, _)| name.clone_from(new));
        self.networks.insert(new.clone(), record);
    }

    /// Gives an endpoint another name, which is free on its network.
    pub(in super::super) fn rename_endpoint(&mut self, network: &Name, old: &Name, new: &Name) {
        let Some(record) = self.networks.get_mut(network) else { return };
        let Some(mut endpoint) = record.endpoints.remove(old) else { return };
        self.published.remove(network, &endpoint);
        endpoint.name.clone_from(new);
        self.published.insert(network, &endpoint);
        if let Some(interface) = &endpoint.interface {
            record.macs.insert(interface.mac, new.clone());
            self.ports.insert(interface.port, (network.clone(), new.clone()));
            let holder = Holder { id: endpoint.id, name: new.clone() };
            for pool in &mut record.pools {
                for address in &interface.addresses {
                    pool.hand_over(address.addr(), endpoint.id, holder.clone());
                }
            }
        }
        record.endpoints.insert(new.clone(), endpoint);
    }
}
