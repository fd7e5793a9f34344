//! Successors, and what they make of a world that has moved on; rivals for one thing.

use super::*;

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
fn a_namespace_that_only_our_interface_keeps_is_dead() {
    for reborn in [false, true] {
        let host = Host::new();
        let manager = host.start();
        furnish(&manager);
        let ours = crate::sandbox::Netns::current().unwrap().id();
        host.plane.world(|world| {
            world.inhabited.insert(ours);
            match reborn {
                true => drop(world.reborn.insert(HERE.into(), 1)),
                false => drop(world.dead.insert(HERE.into())),
            }
        });
        let all = manager.endpoints().len();
        manager.reconcile();
        assert_eq!(manager.endpoints().len(), all, "somebody is in there, reborn: {reborn}");
        host.plane.world(|world| world.inhabited.clear());
        assert!(manager.doctor()[0].what.contains("/proc/self/ns/net of endpoint 'old'"));
        manager.reconcile();
        let names: Vec<_> = manager.endpoints().iter().map(|(_, e)| e.name.to_string()).collect();
        assert_eq!(names, ["stays", "stays"], "reborn: {reborn}");
        host.check(&manager, "the dead are released");
    }
}

#[test]
fn what_a_dead_endpoint_has_is_given_to_who_asks_for_it() {
    let host = Host::new();
    let manager = host.start();
    furnish(&manager);
    let asked = [
        endpoint("old", ALSO_HERE),
        EndpointRequest { ip: Some([10, 1, 0, 2].into()), ..endpoint("new", ALSO_HERE) },
    ];
    for request in asked {
        let error = manager.connect("blue", &request).unwrap_err();
        assert_eq!(error.code(), Code::Conflict, "it lives: {error}");
        host.plane.world(|world| world.dead.insert(HERE.into()));
        manager.connect("blue", &request).unwrap();
        host.plane.world(|world| world.dead.clear());
        host.check(&manager, "given away");
        manager.disconnect("blue", request.name.unwrap().as_str()).unwrap();
        manager.connect("blue", &endpoint("old", HERE)).unwrap();
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
    host.plane.world(|world| assert!(world.ports().is_empty(), "what failed is undone"));
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
