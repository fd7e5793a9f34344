use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Barrier;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use weft_dataplane::tables::SegmentId;
use weft_dataplane::wire::{MacAddr, Vni};

use super::documents::{ClaimDocument, InterfaceDocument, SubnetDocument};
use super::*;
use crate::error::{Code, Explain, Problem};
use crate::ipam::{Policy, Pool, UlaPrefix};
use crate::model::{Driver, EndpointState, IfName, Network, Subnet};
use crate::sandbox::{Birth, StaticRoute};
use crate::store::{MemoryStore, RedbStore};

pub(in crate::store) fn catalog() -> Catalog {
    Catalog::new(Arc::new(MemoryStore::default()))
}

fn id(n: u8) -> Id {
    Id::from_bytes([n; 32])
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The network number `n`: 10.n.0.0/24, VNI 4096 + n.
pub(in crate::store) fn network(n: u8) -> NetworkDocument {
    let subnet = SubnetDocument {
        net: format!("10.{n}.0.0/24").parse().unwrap(),
        gateway: ip(&format!("10.{n}.0.1")),
        range: None,
        auxiliary: BTreeMap::from([(name("router"), ip(&format!("10.{n}.0.2")))]),
        policy: Policy::Serial,
    };
    NetworkDocument {
        engine: None,
        id: id(n),
        name: name(&format!("net{n}")),
        driver: Driver::Overlay,
        segment: n.into(),
        vni: Some(4096 + u32::from(n)),
        mtu: 1450,
        internal: false,
        subnets: vec![subnet],
        options: BTreeMap::from([("fdb_limit".into(), "7".into())]),
        labels: BTreeMap::from([("a".into(), "b".into())]),
        created: UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789),
        closed: false,
    }
}

/// The endpoint number `n` of the network number `network`: 10.network.0.last.
pub(in crate::store) fn endpoint(network: u8, n: u8, last: u8) -> EndpointDocument {
    EndpointDocument {
        aliases: vec![],
        labels: BTreeMap::from([("c".into(), "d".into())]),
        id: id(n),
        network: id(network),
        node: name("host-a"),
        name: name(&format!("e{n}")),
        state: EndpointState::Attached,
        netns: format!("/run/netns/c{n}").into(),
        netns_id: (4, u64::MAX),
        netns_birth: Birth { boot: "5d1c".into(), cookie: n.into() },
        interface: Some(InterfaceDocument {
            port: n.into(),
            ifname: IfName::eth(0),
            mac: MacAddr([2, 0x42, 10, network, 0, n]),
            addresses: vec![
                format!("10.{network}.0.{last}/24").parse().unwrap(),
                format!("fd00:{network}::{last}/64").parse().unwrap(),
            ],
            gateways: vec![ip(&format!("10.{network}.0.1"))],
            routes: vec![StaticRoute { to: "192.0.2.0/24".parse().unwrap(), via: Some(ip("10.1.0.9")) }],
        }),
        ports: vec!["8080-8081:80-81".parse().unwrap()],
        created: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    }
}

fn contents(catalog: &Catalog) -> Contents {
    let contents = catalog.load().unwrap();
    assert_eq!(contents.strays, [], "everything fits together");
    contents
}

fn taken(outcome: Result<(), CatalogError>) -> (Claim, Option<Name>) {
    match outcome.unwrap_err() {
        CatalogError::Taken { claim, owner } => (claim, owner),
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_entered_is_loaded() {
    let catalog = catalog();
    let node = NodeDocument {
        id: id(9),
        name: name("host-a"),
        vtep: Some(ip("10.9.0.1")),
        ula: UlaPrefix::new([1, 2, 3, 4, 5]),
    };
    assert_eq!(catalog.node(&node.name).unwrap(), None);
    catalog.put_node(&node).unwrap();
    let (networks, endpoints) =
        ([network(1), network(2)], [endpoint(1, 3, 3), endpoint(1, 4, 4), endpoint(2, 3, 3)]);
    networks.iter().for_each(|network| catalog.create_network(network).unwrap());
    endpoints.iter().for_each(|endpoint| catalog.create_endpoint(endpoint).unwrap());
    assert_eq!(catalog.node(&node.name).unwrap(), Some(node.clone()));
    let contents = contents(&catalog);
    assert_eq!((&contents.nodes[..], &contents.networks[..]), (&[node][..], &networks[..]));
    assert_eq!(contents.endpoints, endpoints);
    assert_eq!(contents.endpoints_of(id(1)), &endpoints[..2]);
    assert!(contents.endpoints_of(id(7)).is_empty());
    let v4 = contents.leases_of(id(1)).filter(|lease| lease.address.is_ipv4());
    let pool = Pool::restore(&contents.networks[0].subnets[0].pool(), v4).unwrap();
    assert_eq!((pool.usage().taken, pool.usage().in_use), (2, 6));
}

#[test]
fn documents_are_the_models_and_back() {
    let document = network(1);
    let model = document.network().unwrap();
    assert_eq!((model.segment, model.vni), (SegmentId(1), Some(Vni::new(4097).unwrap())));
    assert_eq!(model.options.fdb_limit, 7);
    assert_eq!(NetworkDocument::of(&model), document);
    let endpoint = endpoint(1, 3, 3);
    assert_eq!(EndpointDocument::of(&endpoint.endpoint(), id(1), &name("host-a")), endpoint);

    let strange =
        NetworkDocument { options: BTreeMap::from([("colour".into(), "red".into())]), ..network(1) };
    assert!(matches!(strange.network(), Err(CatalogError::Option(_))));
    let vni = NetworkDocument { vni: Some(1 << 24), ..network(1) };
    assert!(matches!(vni.network(), Err(CatalogError::Unreadable { .. })));
    let early =
        Network { created: SystemTime::UNIX_EPOCH - Duration::from_secs(1), ..network(2).network().unwrap() };
    let catalog = catalog();
    catalog.create_network(&NetworkDocument::of(&early)).unwrap();
    assert_eq!(contents(&catalog).networks[0].created, UNIX_EPOCH, "a clock before 1970 loses no network");
    let subnet = Subnet { range: Some("10.1.0.0/26".parse().unwrap()), ..model.subnets[0].clone() };
    let ranged = NetworkDocument::of(&Network { subnets: vec![subnet.clone()], ..model });
    assert_eq!(ranged.network().unwrap().subnets, [subnet]);
}

#[test]
fn what_a_network_has_no_other_gets() {
    let catalog = catalog();
    catalog.create_network(&network(1)).unwrap();
    let before = catalog.store().list(&Prefix::all()).unwrap();
    let like_first = |change: fn(&mut NetworkDocument)| {
        let mut second = network(2);
        change(&mut second);
        taken(catalog.create_network(&second))
    };
    let first = Some(name("net1"));
    assert_eq!(like_first(|n| n.name = name("net1")), (Claim::NetworkName(name("net1")), first.clone()));
    assert_eq!(like_first(|n| n.vni = Some(4097)), (Claim::Vni(4097), first.clone()));
    assert_eq!(like_first(|n| n.segment = 1), (Claim::Segment(1), first));
    let error = catalog.create_network(&NetworkDocument { vni: Some(4097), ..network(2) }).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.code()),
        ("the VNI 4097 is taken by 'net1'", Code::Conflict)
    );
    assert!(matches!(
        catalog.create_network(&NetworkDocument { id: id(1), ..network(2) }),
        Err(CatalogError::Store(StoreError::Conflict { .. }))
    ));
    assert_eq!(catalog.store().list(&Prefix::all()).unwrap(), before);
}

#[test]
fn what_an_endpoint_has_no_other_of_its_network_gets() {
    let catalog = catalog();
    [1, 2].iter().for_each(|&n| catalog.create_network(&network(n)).unwrap());
    catalog.create_endpoint(&endpoint(1, 3, 3)).unwrap();
    let owner = Some(name("e3"));
    let same_name = EndpointDocument { name: name("e3"), ..endpoint(1, 4, 4) };
    assert_eq!(taken(catalog.create_endpoint(&same_name)), (Claim::EndpointName(name("e3")), owner.clone()));
    let mut same_mac = endpoint(1, 4, 4);
    let mac = endpoint(1, 3, 3).interface.unwrap().mac;
    same_mac.interface.as_mut().unwrap().mac = mac;
    assert_eq!(taken(catalog.create_endpoint(&same_mac)), (Claim::Mac(mac), owner.clone()));
    let same_address = endpoint(1, 4, 3);
    assert_eq!(taken(catalog.create_endpoint(&same_address)), (Claim::Address(ip("10.1.0.3")), owner));
    catalog.create_endpoint(&endpoint(2, 3, 3)).unwrap();
    catalog.create_endpoint(&endpoint(1, 4, 4)).unwrap();
    assert_eq!(contents(&catalog).endpoints.len(), 3);
}

#[test]
fn of_two_endpoints_that_want_one_address_one_gets_it() {
    let catalog = catalog();
    catalog.create_network(&network(1)).unwrap();
    for last in 10..30 {
        let start = Barrier::new(2);
        let connect = |n: u8| {
            start.wait();
            catalog.create_endpoint(&endpoint(1, n, last))
        };
        let outcomes = std::thread::scope(|scope| {
            let threads = [100 + last, 200 + last].map(|n| scope.spawn(move || connect(n)));
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        let lost = outcomes.into_iter().find(Result::is_err).unwrap();
        assert!(matches!(taken(lost), (Claim::Address(_), Some(_))));
    }
    assert_eq!(contents(&catalog).endpoints.len(), 20);
}

#[test]
fn a_network_goes_in_three_steps() {
    let catalog = catalog();
    catalog.create_network(&network(1)).unwrap();
    catalog.create_endpoint(&endpoint(1, 3, 3)).unwrap();
    assert!(matches!(catalog.remove_network(id(1)), Err(CatalogError::StillOpen { .. })));
    catalog.close_network(id(1)).unwrap();
    catalog.close_network(id(1)).unwrap();
    assert!(contents(&catalog).networks[0].closed);
    assert!(matches!(catalog.create_endpoint(&endpoint(1, 4, 4)), Err(CatalogError::Closed { .. })));
    assert!(matches!(catalog.remove_network(id(1)), Err(CatalogError::HasEndpoints { count: 1, .. })));
    assert_eq!(catalog.remove_endpoint(id(1), id(3)).unwrap(), Some(endpoint(1, 3, 3)));
    assert_eq!(catalog.remove_endpoint(id(1), id(3)).unwrap(), None);
    catalog.remove_network(id(1)).unwrap();
    assert!(catalog.store().list(&Prefix::all()).unwrap().entries.is_empty(), "nothing is left behind");
    assert!(matches!(catalog.remove_network(id(1)), Err(CatalogError::NoNetwork { .. })));
    assert!(matches!(catalog.create_endpoint(&endpoint(1, 4, 4)), Err(CatalogError::NoNetwork { .. })));
    catalog.create_network(&network(1)).unwrap();
}

#[test]
fn a_late_removal_takes_nothing_from_others() {
    let catalog = catalog();
    catalog.create_network(&network(1)).unwrap();
    catalog.create_endpoint(&endpoint(1, 3, 3)).unwrap();
    // Somebody has taken the address away and given it to another, as a repair by hand might.
    let key = keys::address(id(1), ip("10.1.0.3"));
    let other = ClaimDocument { owner: id(8), name: name("e8") };
    catalog.store().put(&key, encode(&key, &other).unwrap()).unwrap();
    assert_eq!(catalog.load().unwrap().strays.len(), 2, "the address's claim is one's without the other");
    catalog.remove_endpoint(id(1), id(3)).unwrap();
    let left = catalog.store().get(&key).unwrap().unwrap();
    assert_eq!(decode::<ClaimDocument>(&key, &left.value).unwrap(), other);
    assert_eq!(catalog.load().unwrap().strays, [Stray::Ownerless(key)]);
}

#[test]
fn an_update_keeps_what_was_claimed() {
    let catalog = catalog();
    catalog.create_network(&network(1)).unwrap();
    catalog.create_endpoint(&endpoint(1, 3, 3)).unwrap();
    let moved = catalog.update_endpoint(id(1), id(3), |endpoint| endpoint.netns_id = (4, 5)).unwrap();
    assert_eq!(moved, EndpointDocument { netns_id: (4, 5), ..endpoint(1, 3, 3) });
    assert_eq!(contents(&catalog).endpoints[0], moved);
    for change in [
        |e: &mut EndpointDocument| e.name = name("other"),
        |e: &mut EndpointDocument| e.interface.as_mut().unwrap().addresses.truncate(1),
        |e: &mut EndpointDocument| e.id = id(7),
    ] {
        assert!(matches!(
            catalog.update_endpoint(id(1), id(3), change),
            Err(CatalogError::ClaimsChanged { .. })
        ));
    }
    assert_eq!(contents(&catalog).endpoints, [moved]);
    assert!(matches!(catalog.update_endpoint(id(1), id(9), |_| {}), Err(CatalogError::NoEndpoint { .. })));
}

#[test]
fn a_newer_document_is_refused_and_kept() {
    let catalog = catalog();
    catalog.create_network(&network(1)).unwrap();
    let key = keys::network(id(1));
    let newer = br#"{"kind":"network","version":3,"body":{"colour":"red"}}"#.to_vec();
    catalog.store().put(&key, newer.clone()).unwrap();
    let errors = [
        catalog.load().unwrap_err(),
        catalog.close_network(id(1)).unwrap_err(),
        catalog.remove_network(id(1)).unwrap_err(),
        catalog.create_endpoint(&endpoint(1, 3, 3)).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, CatalogError::Newer { found: 3, known: 2, .. }), "{error}");
        let text = Problem::from(error).to_string();
        assert!(text.ends_with(
            "has version 3, this build knows up to 2; it was left as it is: install the newer weft"
        ));
    }
    assert_eq!(catalog.store().get(&key).unwrap().unwrap().value[..], newer);
}

#[test]
fn what_is_no_document_is_refused_by_key() {
    let key = keys::vni(4096);
    for bad in [
        "",
        "7",
        "{}",
        "\u{1}",
        r#"{"kind":"network","version":1,"body":{}}"#,
        r#"{"kind":"claim","version":1,"body":{}}"#,
        r#"{"kind":"claim","version":1}"#,
        r#"{"kind":"claim","version":-1,"body":{}}"#,
        r#"{"kind":"claim","version":1,"body":{"owner":"x","name":"y"}}"#,
    ] {
        let catalog = catalog();
        catalog.store().put(&key, bad.into()).unwrap();
        let error = catalog.load().unwrap_err();
        assert!(matches!(&error, CatalogError::Unreadable { key: k, .. } if *k == key), "{bad}: {error}");
    }
}

#[test]
fn what_does_not_fit_is_found() {
    let catalog = catalog();
    catalog.create_network(&network(1)).unwrap();
    catalog.create_endpoint(&endpoint(1, 3, 3)).unwrap();
    let store = catalog.store();
    let claim = |owner| ClaimDocument { owner: id(owner), name: name("x") };
    let put = |key: &Key, owner| store.put(key, encode(key, &claim(owner)).unwrap()).unwrap();
    store.put(&Key::new("somebody/elses").unwrap(), vec![]).unwrap();
    put(&keys::vni(9), 1);
    put(&keys::vni(4097), 2);
    store.delete(&keys::address(id(1), ip("10.1.0.3"))).unwrap();
    let homeless = endpoint(6, 5, 5);
    let elsewhere = keys::endpoint(id(6), id(4));
    store.put(&elsewhere, encode(&elsewhere, &homeless).unwrap()).unwrap();
    let strays: Vec<String> = catalog.load().unwrap().strays.iter().map(ToString::to_string).collect();
    for expected in [
        "nobody knows what 'somebody/elses' is",
        "'vnis/9' says that it is in use, and it is not",
        "the VNI 4097 is in use, and 'vnis/4097' does not say so",
        "the address 10.1.0.3 is in use",
        "what stands at 'endpoints/0606",
        "the network of 'endpoints/0606",
    ] {
        assert!(strays.iter().any(|stray| stray.starts_with(expected)), "{expected} is not in {strays:?}");
    }
}

#[test]
fn a_path_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let catalog = catalog();
    catalog.create_network(&network(1)).unwrap();
    let netns = std::ffi::OsStr::from_bytes(b"/run/\xff").into();
    let error = catalog.create_endpoint(&EndpointDocument { netns, ..endpoint(1, 3, 3) }).unwrap_err();
    assert!(matches!(error, CatalogError::Unwritable { .. }), "{error}");
}

/// A step of the life of two networks.
#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Close(u8),
    Remove(u8),
    Connect(u8, u8, u8),
    Disconnect(u8, u8),
    Reopen,
}

fn lives() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (1u8..3).prop_map(Step::Create),
        1 => (1u8..3).prop_map(Step::Close),
        1 => (1u8..3).prop_map(Step::Remove),
        6 => (1u8..3, 10u8..14, 3u8..7).prop_map(|(network, n, last)| Step::Connect(network, n, last)),
        3 => (1u8..3, 10u8..14).prop_map(|(network, n)| Step::Disconnect(network, n)),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever is done, in whatever order, across restarts: things and claims fit together, and nothing has two owners.
    #[test]
    fn things_and_claims_never_disagree(steps in lives()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weft.redb");
        let mut catalog = Catalog::new(Arc::new(RedbStore::open(&path).unwrap()));
        for step in steps {
            // What a step answers is tested elsewhere; here only the state after it counts.
            let _ = match step {
                Step::Create(n) => catalog.create_network(&network(n)),
                Step::Close(n) => catalog.close_network(id(n)),
                Step::Remove(n) => catalog.remove_network(id(n)),
                Step::Connect(network, n, last) => catalog.create_endpoint(&endpoint(network, n, last)),
                Step::Disconnect(network, n) => catalog.remove_endpoint(id(network), id(n)).map(drop),
                Step::Reopen => {
                    drop(catalog);
                    catalog = Catalog::new(Arc::new(RedbStore::open(&path).unwrap()));
                    Ok(())
                }
            };
            let contents = catalog.load().unwrap();
            prop_assert_eq!(&contents.strays, &[]);
            for network in &contents.networks {
                let v4 = contents.leases_of(network.id).filter(|lease| lease.address.is_ipv4());
                prop_assert!(Pool::restore(&network.subnets[0].pool(), v4).is_ok());
            }
        }
    }
}

#[test]
fn an_endpoint_of_an_older_version_has_no_ports_labels_and_routes() {
    let (key, document) = (keys::endpoint(id(1), id(3)), endpoint(1, 3, 3));
    let mut written: serde_json::Value = serde_json::from_slice(&encode(&key, &document).unwrap()).unwrap();
    assert_eq!(written["body"]["ports"], serde_json::json!(["8080-8081:80-81/tcp"]));
    let mut without = |version: u32, field: &str| -> EndpointDocument {
        written["version"] = version.into();
        written["body"].as_object_mut().unwrap().remove(field);
        written["body"]["interface"].as_object_mut().unwrap().remove("routes");
        decode(&key, written.to_string().as_bytes()).unwrap()
    };
    let interface =
        document.interface.clone().map(|interface| InterfaceDocument { routes: vec![], ..interface });
    let second = EndpointDocument { labels: BTreeMap::new(), interface, ..document };
    assert_eq!(without(2, "labels"), second);
    assert_eq!(without(1, "ports"), EndpointDocument { ports: vec![], ..second });
}
