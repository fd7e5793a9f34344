//! A daemon that dies anywhere, a store that refuses anything: what the next one finds.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipnet::IpNet;

use super::failpoint::{Died, Point, arm};
use super::fake::{FakePlane, Refuse};
use super::*;
use crate::error::{Code, Explain, Problem};
use crate::model::IfName;
use crate::store::{
    Committed, Entry, Key, Listing, MemoryStore, Prefix, RedbStore, Revision, Store, StoreError, Transaction,
    Watch,
};

/// Paths that lead to the namespace of every process: its own.
const HERE: &str = "/proc/self/ns/net";
const ALSO_HERE: &str = "/proc/thread-self/ns/net";

/// A host: what outlives its daemons.
struct Host {
    store: Arc<dyn Store>,
    plane: FakePlane,
}

impl Host {
    fn new() -> Self {
        Self { store: Arc::new(MemoryStore::default()), plane: FakePlane::default() }
    }

    /// A daemon, up and running.
    fn start(&self) -> Manager {
        // Sockets end with their daemon.
        self.plane.world(|world| (world.reserved, world.relayed) = Default::default());
        let manager =
            Manager::over(Arc::clone(&self.store), Box::new(self.plane.clone()), None, vec![]).unwrap();
        manager.reconcile();
        manager
    }

    /// The packet process is gone, and with it every interface.
    fn lose_packet_process(&self) {
        self.plane.world(|world| world.open.clear());
    }

    /// Record, book, tables and ports tell the same.
    fn check(&self, manager: &Manager, when: &str) {
        assert_eq!(manager.doctor(), [], "{when}");
        let mut ports: Vec<_> = manager.endpoints().iter().filter_map(|(_, e)| e.port()).collect();
        ports.sort();
        self.plane.world(|world| {
            assert_eq!(world.ports(), ports, "{when}");
            let mut published = world.published_ports();
            published.sort();
            assert_eq!(published, ports, "{when}");
            assert_eq!(world.standing().len(), manager.networks().len(), "{when}");
            assert_eq!(world.tables.ports.len(), ports.len() + manager.networks().len(), "{when}");
            assert_eq!(world.tables.segments.len(), manager.networks().len(), "{when}");
            let publishing = manager.endpoints().into_iter().filter(|(_, e)| !e.ports.is_empty());
            let reserved: BTreeMap<_, _> = publishing.map(|(_, e)| (e.id, e.ports)).collect();
            assert_eq!(world.reserved, reserved, "{when}");
            assert_eq!(world.relayed, reserved.keys().copied().collect(), "{when}");
        });
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn network(text: &str, subnet: &str) -> NetworkRequest {
    NetworkRequest { subnets: vec![subnet.parse().unwrap()], ..NetworkRequest::new(name(text)) }
}

fn endpoint(text: &str, netns: &str) -> EndpointRequest {
    EndpointRequest { name: Some(name(text)), ..EndpointRequest::new(netns) }
}

/// An endpoint of this namespace with a published port.
fn publishing(text: &str, port: &str) -> EndpointRequest {
    EndpointRequest { publish: vec![port.parse().unwrap()], ..endpoint(text, HERE) }
}

/// Name, MAC, addresses, gateways, interface.
type Told = (Name, String, Vec<IpNet>, Vec<IpAddr>, IfName);

/// What is told of an endpoint, but for its port: the same before and after a restart.
fn told(endpoint: &Endpoint) -> Told {
    let interface = endpoint.interface.clone().unwrap();
    let mac = interface.mac.to_string();
    (endpoint.name.clone(), mac, interface.addresses, interface.gateways, interface.ifname)
}

fn all(manager: &Manager) -> Vec<Told> {
    manager.endpoints().iter().map(|(_, endpoint)| told(endpoint)).collect()
}

/// Every change there is, on a host with two networks and an endpoint on each: what was answered, in order.
fn every_change(manager: &Manager) -> [Result<(), NetworkError>; 4] {
    [
        manager.create(&network("green", "10.3.0.0/24")).map(drop),
        manager.connect("blue", &publishing("new", "8080:80")).map(drop),
        manager.disconnect("blue", "old").map(drop),
        manager.remove("red").map(drop),
    ]
}

fn furnish(manager: &Manager) {
    for (text, subnet) in [("blue", "10.1.0.0/24"), ("red", "10.2.0.0/24")] {
        manager.create(&network(text, subnet)).unwrap();
        let port = if text == "blue" { "8081:80" } else { "8082:80/udp" };
        manager.connect(text, &publishing("old", port)).unwrap();
        manager.connect(text, &endpoint("stays", ALSO_HERE)).unwrap();
    }
}

/// What is right in the end, whatever happened on the way: another attempt leads to the same as an undisturbed one.
fn finish(manager: &Manager, when: &str) {
    for outcome in every_change(manager) {
        if let Err(error) = outcome {
            assert!(matches!(error.code(), Code::Conflict | Code::NotFound), "{when}: {error}");
        }
    }
    let networks: Vec<_> = manager.networks().iter().map(|s| s.network.name.to_string()).collect();
    assert_eq!(networks, ["blue", "green"], "{when}");
    let names: Vec<_> = manager.endpoints().iter().map(|(_, e)| e.name.to_string()).collect();
    assert_eq!(names, ["new", "stays"], "{when}");
    manager.disconnect("blue", "new").unwrap();
    let (_, again, _) = manager.connect("blue", &endpoint("again", HERE)).unwrap();
    assert_eq!(again.addresses()[0].to_string(), "10.1.0.2/24", "{when}: an address has leaked");
}

fn die_everywhere(make: impl Fn() -> Host) {
    for point in Point::ALL {
        for survives in [true, false] {
            let when = format!("after {point:?}, packet process survives: {survives}");
            let host = make();
            let manager = host.start();
            furnish(&manager);
            arm(point);
            let died = catch_unwind(AssertUnwindSafe(|| every_change(&manager))).unwrap_err();
            assert!(died.is::<Died>(), "{when}");
            drop(manager);
            if !survives {
                host.lose_packet_process();
            }
            let next = host.start();
            host.check(&next, &when);
            let stays = next.endpoints_named("stays").unwrap();
            assert_eq!(stays[0].1.addresses()[0].to_string(), "10.1.0.3/24", "{when}");
            finish(&next, &when);
            host.check(&next, &when);
        }
    }
}

#[test]
fn a_daemon_that_dies_at_any_point_leaves_nothing_behind() {
    die_everywhere(Host::new);
}

#[test]
fn nor_does_it_on_the_embedded_store() {
    let directory = tempfile::tempdir().unwrap();
    let number = AtomicUsize::new(0);
    die_everywhere(|| {
        let path = directory.path().join(number.fetch_add(1, Ordering::Relaxed).to_string());
        Host { store: Arc::new(RedbStore::open(&path).unwrap()), plane: FakePlane::default() }
    });
}

/// A store on a disk that has room for so many more commits.
#[derive(Debug)]
struct Disk {
    store: MemoryStore,
    room: AtomicUsize,
}

impl Store for Disk {
    fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.store.get(key)
    }

    fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        self.store.list(prefix)
    }

    fn commit(&self, transaction: &Transaction) -> Result<Committed, StoreError> {
        let taken = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1));
        taken.map_err(|_| StoreError::DiskFull { path: "/var/lib/weft/weft.redb".into() })?;
        self.store.commit(transaction)
    }

    fn replace(&self, entries: Vec<(Key, Vec<u8>)>, overwrite: bool) -> Result<Revision, StoreError> {
        self.store.replace(entries, overwrite)
    }

    fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch, StoreError> {
        self.store.watch(prefix, after)
    }
}

#[test]
fn a_full_disk_fails_the_request_and_nothing_else() {
    let mut failed = 0;
    for room in 0.. {
        let disk = Arc::new(Disk { store: MemoryStore::default(), room: AtomicUsize::new(usize::MAX) });
        let host = Host { store: disk.clone(), plane: FakePlane::default() };
        let manager = host.start();
        furnish(&manager);
        let before = host.plane.world(|world| world.ports());
        disk.room.store(room, Ordering::Relaxed);
        let outcomes = every_change(&manager);
        let when = format!("room for {room} commits");
        if outcomes.iter().all(Result::is_ok) {
            break;
        }
        for error in outcomes.into_iter().filter_map(Result::err) {
            failed += 1;
            let problem = Problem::from(error);
            assert_eq!(problem.code.exit(), 1, "{when}: {problem}");
            assert!(problem.to_string().contains("/weft.redb is full; make room"), "{when}: {problem}");
        }
        if room == 0 {
            assert_eq!(host.plane.world(|world| world.ports()), before, "what was connected goes on");
        }
        disk.room.store(usize::MAX, Ordering::Relaxed);
        manager.reconcile();
        host.check(&manager, &when);
        drop(manager);
        let next = host.start();
        host.check(&next, &when);
        finish(&next, &when);
    }
    assert!(failed >= 10, "only {failed} requests met a full disk");
}

#[test]
fn a_refusal_of_the_packet_side_is_taken_back_in_the_store_too() {
    let host = Host::new();
    let manager = host.start();
    furnish(&manager);
    for refuse in [Refuse::Publish, Refuse::OpenPort, Refuse::Plug, Refuse::Reserve, Refuse::Stand] {
        host.plane.world(|world| world.refuse = Some(refuse));
        let connected = manager.connect("blue", &publishing("new", "8080:80"));
        assert_eq!(connected.is_ok(), refuse == Refuse::Stand, "{refuse:?}");
        let created = manager.create(&network("green", "10.3.0.0/24"));
        let harmless = matches!(refuse, Refuse::Plug | Refuse::Reserve);
        assert_eq!(created.is_ok(), harmless, "{refuse:?}");
        host.plane.world(|world| world.refuse = None);
        host.check(&manager, &format!("{refuse:?}"));
        let _ = (manager.remove("green"), manager.disconnect("blue", "new"));
    }
    finish(&manager, "after all refusals");
}

mod restart;
