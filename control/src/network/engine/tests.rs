use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::model::{Name, PublishRequest};
use crate::network::PoolRequest;
use crate::network::fake::{FakePlane, Refuse};
use crate::reconcile::Step;
use crate::sandbox::Netns;
use crate::store::MemoryStore;

const NETWORK: Id = Id::from_bytes([0xaa; 32]);
const ENDPOINT: Id = Id::from_bytes([0xbb; 32]);

struct Host {
    manager: Manager,
    plane: FakePlane,
    store: Arc<MemoryStore>,
    /// A container's namespace, and its path.
    sandbox: (Netns, PathBuf),
}

fn host() -> Host {
    let (plane, store) = (FakePlane::default(), Arc::new(MemoryStore::default()));
    let manager = Manager::over(Arc::clone(&store) as Arc<_>, Box::new(plane.clone()), None, vec![]).unwrap();
    let netns = Netns::nameless().unwrap();
    let path = format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd()).into();
    Host { manager, plane, store, sandbox: (netns, path) }
}

impl Host {
    fn with_network(options: &[(&str, &str)], ports: PortsBy) -> Self {
        let host = host();
        host.manager.adopt_network(NETWORK, &network(options, ports)).unwrap();
        host
    }

    /// The daemon after this one.
    fn restarted(self) -> Self {
        let store = Arc::clone(&self.store) as Arc<_>;
        let manager = Manager::over(store, Box::new(self.plane.clone()), None, vec![]).unwrap();
        Self { manager, ..self }
    }

    fn offer(&self) -> Endpoint {
        self.manager.offer(NETWORK, &wanted("10.7.0.2/24")).unwrap()
    }

    fn join(&self) -> Joined {
        self.manager.join(NETWORK, ENDPOINT, &self.sandbox.1).unwrap()
    }

    /// What the engine does with the TAP after that: moves it, and then renames it.
    fn take(&self, endpoint: &Endpoint, ifname: &str) {
        let place = (self.sandbox.1.clone(), ifname.to_owned());
        self.plane.world(|world| world.moved.insert(endpoint.port().unwrap(), place));
    }

    fn known(&self) -> Option<Endpoint> {
        self.manager.endpoints().into_iter().map(|(_, endpoint)| endpoint).next()
    }
}

fn network(options: &[(&str, &str)], ports: PortsBy) -> EngineNetwork {
    let options: BTreeMap<_, _> = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let subnets = vec!["10.7.0.0/24".parse().unwrap()];
    let gateways = vec!["10.7.0.1".parse().unwrap()];
    let name = engine_name(NETWORK).unwrap();
    EngineNetwork {
        request: NetworkRequest { subnets, gateways, options, ..NetworkRequest::new(name) },
        ports,
    }
}

fn wanted(ip: &str) -> Offer {
    Offer { id: ENDPOINT, ip: Some(ip.parse().unwrap()), ip6: None, mac: None }
}

fn published(text: &str) -> Vec<PublishRequest> {
    vec![text.parse().unwrap()]
}

#[test]
fn what_is_offered_stands_at_home_until_it_is_taken() {
    let host = Host::with_network(&[], PortsBy::Weft);
    let offered = host.offer();
    let tap = tap_name(ENDPOINT);
    assert_eq!((offered.state, offered.sandbox.path.as_path()), (EndpointState::Offered, Path::new(HOME)));
    assert_eq!(host.plane.world(|world| world.offered[&offered.port().unwrap()].ifname.clone()), tap);
    let joined = host.join();
    let gateways = vec!["10.7.0.1".parse().unwrap()];
    assert_eq!(joined, Joined { tap, gateways, needs_way_out: false });
    assert!(!host.manager.settle(NETWORK, ENDPOINT), "nobody has taken it");
    host.take(&offered, "eth0");
    assert!(host.manager.settle(NETWORK, ENDPOINT));
    let taken = host.known().unwrap();
    assert_eq!(taken.state, EndpointState::Attached);
    assert_ne!(taken.sandbox.key, offered.sandbox.key);
    assert_eq!(taken.interface.unwrap().ifname.as_str(), "eth0");
    assert!(host.manager.settle(NETWORK, ENDPOINT), "there is nothing more to wait for");
}

#[test]
fn an_interface_that_is_not_renamed_yet_is_still_on_its_way() {
    let host = Host::with_network(&[], PortsBy::Weft);
    let offered = host.offer();
    host.take(&offered, &tap_name(ENDPOINT));
    assert!(!host.manager.settle(NETWORK, ENDPOINT));
}

#[test]
fn every_verb_can_be_repeated_and_what_takes_away_needs_not_find_it() {
    let host = Host::with_network(&[], PortsBy::Weft);
    let manager = &host.manager;
    let (again, first) = (network(&[], PortsBy::Weft), manager.networks());
    assert_eq!(manager.adopt_network(NETWORK, &again).unwrap().network.id, first[0].network.id);
    assert_eq!(host.offer().addresses(), host.offer().addresses());
    let other = manager.offer(NETWORK, &wanted("10.7.0.9/24")).unwrap_err();
    assert_eq!(other.code(), Code::Conflict);
    for _ in 0..2 {
        host.join();
        manager.program(NETWORK, ENDPOINT, &published("8080:80")).unwrap();
    }
    for _ in 0..2 {
        manager.revoke(NETWORK, ENDPOINT).unwrap();
        manager.withdraw(NETWORK, ENDPOINT).unwrap();
    }
    manager.abandon_network(NETWORK).unwrap();
    manager.abandon_network(NETWORK).unwrap();
    assert!(manager.join(NETWORK, ENDPOINT, &host.sandbox.1).is_err());
    let left = host.plane.world(|world| (world.open.len(), world.reserved.len(), world.tables.ports.len()));
    assert_eq!(left, (0, 0, 0));
}

#[test]
fn an_engine_has_no_say_on_networks_that_it_has_not_made() {
    let host = host();
    let own = host.manager.create(&NetworkRequest::new(Name::new("own").unwrap())).unwrap().network;
    host.manager.abandon_network(own.id).unwrap();
    let error = host.manager.offer(own.id, &Offer { ip: None, ..wanted("10.7.0.2/24") }).unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let taken = host.manager.adopt_network(own.id, &network(&[], PortsBy::Weft)).unwrap_err();
    assert_eq!(taken.code(), Code::Conflict);
    assert_eq!(host.manager.networks().len(), 1);
}

#[test]
fn a_network_of_the_same_identity_that_is_otherwise_is_refused() {
    let host = Host::with_network(&[], PortsBy::Weft);
    let other = network(&[("nat", "off")], PortsBy::Weft);
    assert_eq!(host.manager.adopt_network(NETWORK, &other).unwrap_err().code(), Code::Conflict);
    let other = network(&[], PortsBy::Engine);
    assert_eq!(host.manager.adopt_network(NETWORK, &other).unwrap_err().code(), Code::Conflict);
}

#[test]
fn ports_are_taken_at_once_and_relayed_when_the_endpoint_stands() {
    let host = Host::with_network(&[], PortsBy::Weft);
    let offered = host.offer();
    host.manager.program(NETWORK, ENDPOINT, &published("8080:80")).unwrap();
    let world = || {
        host.plane.world(|world| (world.reserved.len(), world.relayed.len(), world.tables.published.len()))
    };
    assert_eq!(world(), (1, 0, 1));
    host.take(&offered, "eth0");
    host.manager.settle(NETWORK, ENDPOINT);
    assert_eq!(world(), (1, 1, 1));
    assert_eq!(host.known().unwrap().interface.unwrap().gateways.len(), 1);
    host.manager.program(NETWORK, ENDPOINT, &published("8081:80")).unwrap();
    assert_eq!(host.known().unwrap().ports[0].host, 8081);
    assert_eq!(world(), (1, 1, 1));
    host.manager.revoke(NETWORK, ENDPOINT).unwrap();
    assert_eq!(world(), (0, 0, 0));
    assert!(host.known().unwrap().interface.unwrap().gateways.is_empty());
}

#[test]
fn a_taken_port_is_refused_and_leaves_the_endpoint_as_it_was() {
    let host = Host::with_network(&[], PortsBy::Weft);
    host.offer();
    let ports = published("8080:80");
    host.plane.world(|world| world.taken = ports[0].mappings().collect());
    let error = host.manager.program(NETWORK, ENDPOINT, &ports).unwrap_err();
    assert!(error.to_string().contains("nginx"), "{error}");
    assert!(host.known().unwrap().ports.is_empty());
    host.plane.world(|world| world.taken.clear());
    host.manager.program(NETWORK, ENDPOINT, &ports).unwrap();
}

#[test]
fn an_engine_that_publishes_itself_gets_no_gateway() {
    let host = Host::with_network(&[], PortsBy::Engine);
    host.offer();
    let joined = host.join();
    assert_eq!((joined.gateways, joined.needs_way_out), (vec![], true));
}

#[test]
fn an_endpoint_that_cannot_be_offered_leaves_nothing() {
    for refuse in [Refuse::OpenPort, Refuse::Publish] {
        let host = Host::with_network(&[], PortsBy::Weft);
        host.plane.world(|world| world.refuse = Some(refuse));
        host.manager.offer(NETWORK, &wanted("10.7.0.2/24")).unwrap_err();
        host.plane.world(|world| world.refuse = None);
        assert_eq!(host.manager.doctor(), []);
        assert_eq!(host.offer().addresses()[0].to_string(), "10.7.0.2/24");
    }
}

#[test]
fn the_next_daemon_waits_for_what_this_one_has_offered() {
    let host = Host::with_network(&[], PortsBy::Weft);
    let offered = host.offer();
    host.join();
    let host = host.restarted();
    host.manager.reconcile();
    assert_eq!(host.known().unwrap().state, EndpointState::Offered);
    host.take(&offered, "eth0");
    host.manager.reconcile();
    assert_eq!(host.known().unwrap().state, EndpointState::Attached);
}

#[test]
fn an_offer_without_its_tap_is_taken_back() {
    let host = Host::with_network(&[], PortsBy::Weft);
    host.offer();
    host.plane.world(|world| world.open.clear());
    let host = host.restarted();
    host.manager.reconcile();
    assert!(host.known().is_none());
}

#[test]
fn an_offer_that_nobody_takes_is_taken_back() {
    let host = Host::with_network(&[], PortsBy::Weft);
    host.offer();
    (1..OFFER_ROUNDS).for_each(|_| host.manager.reconcile());
    assert!(host.known().is_some());
    assert_eq!(host.manager.survey(false), []);
    host.manager.reconcile();
    assert!(host.known().is_none());
    assert!(host.plane.world(|world| world.ports().is_empty()));
}

#[test]
fn what_a_dead_container_had_goes_to_the_next() {
    let host = Host::with_network(&[], PortsBy::Weft);
    let offered = host.offer();
    host.join();
    host.take(&offered, "eth0");
    host.manager.settle(NETWORK, ENDPOINT);
    // The engine was killed: its sandbox is gone, and it says nothing.
    host.plane.world(|world| world.dead.insert(host.sandbox.1.clone()));
    let next = Offer { id: Id::from_bytes([0xcc; 32]), ..wanted("10.7.0.2/24") };
    let endpoint = host.manager.offer(NETWORK, &next).unwrap();
    assert_eq!(endpoint.addresses()[0].to_string(), "10.7.0.2/24");
    assert!(!host.manager.survey(false).iter().any(|step| matches!(step, Step::Release(..))));
}

#[test]
fn names_are_learned_later_and_everything_goes_on_under_them() {
    let host = Host::with_network(&[], PortsBy::Weft);
    let offered = host.offer();
    host.join();
    host.manager.program(NETWORK, ENDPOINT, &published("8080:80")).unwrap();
    let (blue, c1) = (Name::new("blue").unwrap(), Name::new("c1").unwrap());
    for _ in 0..2 {
        host.manager.name_network(NETWORK, &blue).unwrap();
        host.manager.name_endpoint(NETWORK, ENDPOINT, &c1).unwrap();
    }
    let other = NetworkRequest::new(Name::new("red").unwrap());
    let red = host.manager.create(&other).unwrap().network;
    let taken = host.manager.name_network(red.id, &blue).unwrap_err();
    assert_eq!(taken.code(), Code::Conflict);
    let host = host.restarted();
    assert_eq!(host.manager.network("blue").unwrap().endpoints[0].name, c1);
    assert_eq!(host.manager.doctor(), []);
    host.take(&offered, "eth0");
    assert!(host.manager.settle(NETWORK, ENDPOINT));
    let twice = Offer { id: Id::from_bytes([0xcc; 32]), ..wanted("10.7.0.2/24") };
    let error = host.manager.offer(NETWORK, &twice).unwrap_err();
    assert!(error.to_string().contains("'c1'"), "{error}");
    host.manager.withdraw(NETWORK, ENDPOINT).unwrap();
    assert!(host.plane.world(|world| world.reserved.is_empty() && world.ports().is_empty()));
    host.manager.offer(NETWORK, &twice).unwrap();
    host.manager.abandon_network(NETWORK).unwrap();
    assert!(host.manager.network("docker-aaaaaaaaaaaa").is_err());
}

#[test]
fn prune_leaves_the_networks_of_engines_alone() {
    let host = Host::with_network(&[], PortsBy::Weft);
    assert!(host.manager.prune().unwrap().is_empty());
    assert_eq!(host.manager.networks().len(), 1);
}

#[test]
fn the_whole_road_with_lent_addresses() {
    let host = host();
    let manager = &host.manager;
    let request = PoolRequest { net: Some("10.7.0.0/24".parse().unwrap()), range: None, ipv6: false };
    let pool = manager.request_pool(&request).unwrap().id;
    assert_eq!(manager.request_address(&pool, None, true).unwrap().to_string(), "10.7.0.1/24");
    manager.adopt_network(NETWORK, &network(&[], PortsBy::Weft)).unwrap();
    let address = manager.request_address(&pool, None, false).unwrap();
    let offered = manager.offer(NETWORK, &wanted(&address.to_string())).unwrap();
    assert_eq!(offered.addresses(), [address]);
    let next = manager.request_address(&pool, None, false).unwrap();
    assert_ne!(next, address);
    manager.release_address(&pool, next.addr()).unwrap();
    manager.release_address(&pool, address.addr()).unwrap();
    assert!(manager.request_address(&pool, Some(address.addr()), false).is_err(), "the endpoint has it");
    manager.withdraw(NETWORK, ENDPOINT).unwrap();
    assert!(manager.request_address(&pool, Some(address.addr()), false).is_err(), "not given back yet");
    manager.release_address(&pool, address.addr()).unwrap();
    assert_eq!(manager.request_address(&pool, Some(address.addr()), false).unwrap(), address);
}
