//! Routes besides the default ones.

use std::sync::Arc;

use super::*;
use crate::network::ROUTES_MAX;
use crate::sandbox::StaticRoute;
use crate::store::MemoryStore;

fn route(to: &str, via: Option<&str>) -> StaticRoute {
    StaticRoute { to: net(to), via: via.map(ip) }
}

fn routed(name: &str, routes: Vec<StaticRoute>) -> EndpointRequest {
    EndpointRequest { routes, ..endpoint(name) }
}

#[test]
fn routes_outlive_the_daemon() {
    let (store, plane) = (Arc::new(MemoryStore::default()), FakePlane::default());
    let start = || Manager::over(store.clone(), Box::new(plane.clone()), None, vec![]).unwrap();
    let first = start();
    first.create(&with_subnet("blue", "10.1.0.0/24")).unwrap();
    let asked = vec![route("192.0.2.9/24", Some("10.1.0.9")), route("198.51.100.0/24", None)];
    first.connect("blue", &routed("web", asked)).unwrap();
    drop(first);
    let kept = start().endpoints()[0].1.interface.clone().unwrap().routes;
    assert_eq!(kept, [route("192.0.2.0/24", Some("10.1.0.9")), route("198.51.100.0/24", None)]);
}

#[test]
fn routes_that_cannot_be_are_refused_and_nothing_is_claimed() {
    let (manager, _) = manager();
    manager.create(&with_subnet("blue", "10.1.0.0/24")).unwrap();
    for (asked, why) in [
        (route("0.0.0.0/0", Some("10.1.0.9")), "the default route"),
        (route("192.0.2.0/24", Some("10.2.0.9")), "not on the network"),
        (route("192.0.2.0/24", Some("fd00::9")), "not on the network"),
        (route("192.0.2.0/24", Some("10.1.0.2")), "own address"),
        (route("2001:db8::/32", None), "no address of that family"),
    ] {
        let problem = Problem::from(manager.connect("blue", &routed("web", vec![asked])).unwrap_err());
        assert_eq!(problem.code, crate::error::Code::InvalidArgument);
        assert!(problem.message.contains(&asked.to_string()) && problem.message.contains(why), "{problem}");
    }
    let many = vec![route("192.0.2.0/24", None); ROUTES_MAX + 1];
    let refused = manager.connect("blue", &routed("web", many));
    assert!(matches!(refused, Err(NetworkError::TooManyRoutes { count: 65 })), "{refused:?}");
    let (_, endpoint, _) = manager.connect("blue", &endpoint("web")).unwrap();
    assert_eq!(endpoint.addresses()[0].to_string(), "10.1.0.2/24", "its address was not taken");
}
