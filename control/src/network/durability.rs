//! A daemon that dies anywhere, a store that refuses anything: what the next one finds.

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
            let mut published: Vec<_> = world.tables.ports.iter().map(|port| port.id).collect();
            published.sort();
            assert_eq!(published, ports, "{when}");
            assert_eq!(world.tables.segments.len(), manager.networks().len(), "{when}");
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
        manager.connect("blue", &endpoint("new", HERE)).map(drop),
        manager.disconnect("blue", "old").map(drop),
        manager.remove("red").map(drop),
    ]
}

fn furnish(manager: &Manager) {
    for (text, subnet) in [("blue", "10.1.0.0/24"), ("red", "10.2.0.0/24")] {
        manager.create(&network(text, subnet)).unwrap();
        manager.connect(text, &endpoint("old", HERE)).unwrap();
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
    for refuse in [Refuse::Publish, Refuse::OpenPort, Refuse::Plug] {
        host.plane.world(|world| world.refuse = Some(refuse));
        assert!(manager.connect("blue", &endpoint("new", HERE)).is_err());
        assert_eq!(manager.create(&network("green", "10.3.0.0/24")).is_err(), refuse == Refuse::Publish);
        host.plane.world(|world| world.refuse = None);
        host.check(&manager, &format!("{refuse:?}"));
        let _ = manager.remove("green");
    }
    finish(&manager, "after all refusals");
}

#[test]
fn what_ended_in_good_order_comes_back_as_it_was() {
    let host = Host::new();
    let manager = host.start();
    furnish(&manager);
    let before = all(&manager);
    manager.close();
    host.plane.world(|world| assert!(world.open.is_empty(), "nothing is left while no daemon runs"));
    drop(manager);
    let next = host.start();
    assert_eq!(all(&next), before);
    host.check(&next, "restarted");
    let plugged = host.plane.world(|world| world.plugged.len());
    assert_eq!(plugged, 2 * before.len(), "every interface was made anew");
    drop(next);
    let adopter = host.start();
    assert_eq!((all(&adopter), host.plane.world(|world| world.plugged.len())), (before, plugged));
    host.check(&adopter, "adopted");
}

#[test]
fn endpoints_of_dead_namespaces_are_released() {
    for reborn in [false, true] {
        let host = Host::new();
        let manager = host.start();
        furnish(&manager);
        manager
            .create(&NetworkRequest {
                driver: crate::model::Driver::None,
                ..NetworkRequest::new(name("bare"))
            })
            .unwrap();
        manager.connect("bare", &endpoint("old", HERE)).unwrap();
        drop(manager);
        host.lose_packet_process();
        host.plane.world(|world| match reborn {
            true => drop(world.reborn.insert(HERE.into(), 1)),
            false => drop(world.dead.insert(HERE.into())),
        });
        let next = host.start();
        let names: Vec<_> = next.endpoints().iter().map(|(_, e)| e.name.to_string()).collect();
        assert_eq!(names, ["stays", "stays"], "another namespace at the old path: {reborn}");
        assert_eq!(next.doctor(), []);
        host.plane.world(|world| world.dead.clear());
        let request = EndpointRequest { ip: Some([10, 1, 0, 2].into()), ..endpoint("heir", HERE) };
        next.connect("blue", &request).expect("the address is free");
    }
}

#[test]
fn a_namespace_that_cannot_be_looked_at_is_not_dead() {
    let host = Host::new();
    let manager = host.start();
    furnish(&manager);
    let before = all(&manager);
    drop(manager);
    host.lose_packet_process();
    host.plane.world(|world| world.refuse = Some(Refuse::Look));
    let next = host.start();
    assert_eq!(all(&next), before);
    let findings = next.doctor();
    assert_eq!(findings.len(), 4, "{findings:?}");
    assert!(findings[0].what.contains("nobody knows whether endpoint 'old' on network 'blue' lives"));
    host.plane.world(|world| world.refuse = None);
    next.reconcile();
    assert_eq!(all(&next), before);
    host.check(&next, "looked at");
}

#[test]
fn a_link_that_somebody_deleted_is_put_back_on_another_port() {
    let host = Host::new();
    let manager = host.start();
    furnish(&manager);
    let (_, before) = manager.endpoints_named("old").unwrap().remove(0);
    let port = before.port().unwrap();
    host.plane.world(|world| world.open.remove(&port));
    manager.port_gone(port);
    assert!(manager.doctor()[0].what.contains("has no interface in /proc/self/ns/net"));
    manager.reconcile();
    manager.port_gone(port);
    let (_, after) = manager.endpoints_named("old").unwrap().remove(0);
    assert_eq!(told(&after), told(&before));
    assert_ne!(after.port(), before.port(), "late news must not hit it");
    host.check(&manager, "put back");
    drop(manager);
    host.check(&host.start(), "adopted");
}

#[test]
fn what_cannot_be_restored_yet_is_tried_again_less_and_less_often() {
    let host = Host::new();
    let manager = host.start();
    furnish(&manager);
    drop(manager);
    host.lose_packet_process();
    host.plane.world(|world| world.refuse = Some(Refuse::Plug));
    let next = host.start();
    host.plane.world(|world| assert!(world.open.is_empty(), "what failed is undone"));
    let findings = next.doctor();
    assert!(findings[0].what.contains("refused"), "{findings:?}");
    let refusals = || host.plane.world(|world| world.refusals);
    let first = refusals();
    (0..30).for_each(|_| next.reconcile());
    assert_eq!(refusals() - first, 4 * 4, "in rounds 1, 3, 7, 15 for each of the four");
    host.plane.world(|world| world.refuse = None);
    (0..32).for_each(|_| next.reconcile());
    host.check(&next, "restored at last");
}

#[test]
fn what_an_adopted_packet_process_serves_for_nobody_is_closed() {
    let host = Host::new();
    let manager = host.start();
    furnish(&manager);
    let port = manager.endpoints_named("old").unwrap()[0].1.port().unwrap();
    drop(manager);
    host.plane.world(|world| {
        world.open.insert(PortId(77), "eth0".into());
        world.open.insert(port, "somebody".into());
    });
    let next = host.start();
    host.check(&next, "strangers closed, the usurped port opened again");
    let (_, fresh, _) = next.connect("blue", &endpoint("new", HERE)).unwrap();
    assert!(fresh.port().unwrap() > PortId(77), "a stranger's number is not given out");
}

#[test]
fn of_two_daemons_on_one_store_one_gets_the_name_and_the_address() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let start = || Manager::over(Arc::clone(&store), Box::new(FakePlane::default()), None, vec![]).unwrap();
    start().create(&network("blue", "10.1.0.0/24")).unwrap();
    let (one, other) = (start(), start());
    one.connect("blue", &endpoint("web", HERE)).unwrap();
    let same_name = EndpointRequest { ip: Some([10, 1, 0, 9].into()), ..endpoint("web", HERE) };
    let same_address = EndpointRequest { ip: Some([10, 1, 0, 2].into()), ..endpoint("db", HERE) };
    for (request, what) in [(same_name, "the endpoint name 'web'"), (same_address, "the address 10.1.0.2")] {
        let problem = Problem::from(other.connect("blue", &request).unwrap_err());
        assert_eq!(problem.code, Code::Conflict, "{problem}");
        assert!(problem.message.contains(&format!("{what} is taken by 'web'")), "{problem}");
    }
    one.create(&network("green", "10.3.0.0/24")).unwrap();
    let problem = Problem::from(other.create(&network("green", "10.3.0.0/24")).unwrap_err());
    assert!(problem.message.contains("taken by 'green'"), "{problem}");
}

#[test]
fn of_many_threads_that_want_one_thing_one_gets_it() {
    let host = Host::new();
    let manager = host.start();
    manager.create(&network("blue", "10.1.0.0/24")).unwrap();
    let race = |request: &(dyn Fn(usize) -> Result<(), NetworkError> + Sync)| {
        std::thread::scope(|scope| {
            let racers: Vec<_> =
                (0..8).map(|n| scope.spawn(move || request(n).map_err(|e| e.code()))).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect::<Vec<_>>()
        })
    };
    let address = Some([10, 1, 0, 50].into());
    let outcomes = [
        race(&|_| manager.create(&network("green", "10.3.0.0/24")).map(drop)),
        race(&|_| manager.connect("blue", &endpoint("web", HERE)).map(drop)),
        race(&|n| {
            let request = EndpointRequest { ip: address, ..endpoint(&format!("e{n}"), HERE) };
            manager.connect("blue", &request).map(drop)
        }),
    ];
    for outcomes in outcomes {
        let winners = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let conflicts = outcomes.iter().filter(|outcome| **outcome == Err(Code::Conflict)).count();
        assert_eq!((winners, conflicts), (1, 7), "{outcomes:?}");
    }
    host.check(&manager, "after the races");
}
