//! Further names and labels of endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::network::ALIASES_MAX;
use crate::store::MemoryStore;

fn with_aliases(name: &str, aliases: &[&str]) -> EndpointRequest {
    let aliases = aliases.iter().map(|alias| alias.parse().unwrap()).collect();
    EndpointRequest { aliases, ..endpoint(name) }
}

#[test]
fn aliases_are_told_once_each_shared_by_endpoints_and_outlive_the_daemon() {
    let (store, plane) = (Arc::new(MemoryStore::default()), FakePlane::default());
    let start = || Manager::over(store.clone(), Box::new(plane.clone()), None, vec![]).unwrap();
    let first = start();
    first.create(&with_subnet("blue", "10.1.0.0/24")).unwrap();
    let asked = with_aliases("web", &["www", "api", "www"]);
    let (_, endpoint, _) = first.connect("blue", &asked).unwrap();
    let told = |endpoint: &Endpoint| endpoint.aliases.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(told(&endpoint), ["www", "api"]);
    first.connect("blue", &with_aliases("web2", &["www"])).unwrap();
    drop(first);

    let second = start();
    let kept: Vec<_> = second.endpoints().iter().map(|(_, endpoint)| told(endpoint)).collect();
    assert_eq!(kept, [vec!["www", "api"], vec!["www"]]);
}

#[test]
fn too_many_aliases_are_refused_and_nothing_is_claimed() {
    let (manager, _) = manager();
    manager.create(&with_subnet("blue", "10.1.0.0/24")).unwrap();
    let many: Vec<_> = (0..=ALIASES_MAX).map(|n| format!("a{n}")).collect();
    let asked = with_aliases("web", &many.iter().map(String::as_str).collect::<Vec<_>>());
    let refused = manager.connect("blue", &asked);
    assert!(matches!(refused, Err(NetworkError::TooManyAliases { count: 33 })), "{refused:?}");
    let (_, endpoint, _) = manager.connect("blue", &endpoint("web")).unwrap();
    assert_eq!(endpoint.addresses()[0].to_string(), "10.1.0.2/24", "its address was not taken");
}

#[test]
fn labels_are_told_as_they_were_given_and_outlive_the_daemon() {
    let (store, plane) = (Arc::new(MemoryStore::default()), FakePlane::default());
    let start = || Manager::over(store.clone(), Box::new(plane.clone()), None, vec![]).unwrap();
    let first = start();
    first.create(&with_subnet("blue", "10.1.0.0/24")).unwrap();
    let labels: BTreeMap<String, String> =
        [("a.b/c".into(), "1 2".into()), ("empty".into(), "".into())].into();
    let asked = EndpointRequest { labels: labels.clone(), ..endpoint("web") };
    assert_eq!(first.connect("blue", &asked).unwrap().1.labels, labels);
    drop(first);
    assert_eq!(start().endpoints()[0].1.labels, labels);
}
