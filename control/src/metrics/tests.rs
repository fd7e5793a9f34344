use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::driver::docker::Calls;
use crate::health::{Health, Phase};
use crate::model::Name;
use crate::network::fake::FakePlane;
use crate::network::{EndpointRequest, Manager, NetworkRequest};

/// A manager with one endpoint on the network `blue`, and another network.
fn manager() -> Arc<Manager> {
    let manager = Manager::new(Box::new(FakePlane::default()), None, vec![]).unwrap();
    for name in ["blue", "red"] {
        manager.create(&NetworkRequest::new(Name::new(name).unwrap())).unwrap();
    }
    let publish = vec!["8080:80".parse().unwrap()];
    manager
        .connect("blue", &EndpointRequest { publish, ..EndpointRequest::new("/proc/self/ns/net") })
        .unwrap();
    Arc::new(manager)
}

/// A family as a scraper reads it: help, type, and samples by their labels.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    samples: BTreeMap<String, f64>,
}

/// Reads OpenMetrics text as strictly as these families need it.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let body = text.strip_suffix("# EOF\n").expect("an end");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            current = name.to_owned();
            families.entry(current.clone()).or_default().help = help.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "a family is told in one piece");
            families.get_mut(name).unwrap().kind = kind.to_owned();
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(!sample.contains("{}"), "{line}: no labels, no braces");
            let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
            let family = families.get_mut(&current).unwrap();
            if family.kind == "histogram" {
                let labels = labels.trim_end_matches('}');
                let part = name.strip_prefix(&current).unwrap();
                assert!(["_sum", "_count", "_bucket"].contains(&part), "{line}");
                let sample = format!("{part} {labels}");
                assert_eq!(family.samples.insert(sample, value.parse().unwrap()), None, "{line} twice");
                continue;
            }
            let suffix = match family.kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            assert_eq!(name, format!("{current}{suffix}"), "{line}");
            let labels = labels.trim_end_matches('}').to_owned();
            assert_eq!(family.samples.insert(labels, value.parse().unwrap()), None, "{line} twice");
        }
    }
    families
}

#[test]
fn every_family_has_its_name_help_type_and_number() {
    let health = Health::default();
    health.enter(Phase::Ready);
    let calls = Calls::default();
    calls.record("NetworkDriver.Join", Duration::from_millis(4));
    calls.record("NetworkDriver.Join", Duration::from_secs(60));
    let families = parse(&text(Reading::take(&manager(), &health, &calls)).unwrap());
    for (name, family) in &families {
        assert!(name.starts_with("weft_") && !family.help.is_empty(), "{name}: {family:?}");
        assert!(
            ["counter", "gauge", "info", "histogram"].contains(&family.kind.as_str()),
            "{name}: {family:?}"
        );
    }
    let sample = |name: &str, labels: &str| {
        let family = families.get(name).unwrap_or_else(|| panic!("no {name} in {families:?}"));
        *family.samples.get(labels).unwrap_or_else(|| panic!("no {labels} in {family:?}"))
    };
    for (name, labels, expected) in [
        ("weft_packets", "", 7.0),
        ("weft_bytes", "", 700.0),
        ("weft_drops", r#"reason="storm""#, 2.0),
        ("weft_drops", r#"reason="runt""#, 0.0),
        ("weft_networks", "", 2.0),
        ("weft_endpoints", "", 1.0),
        ("weft_network_endpoints", r#"network="red""#, 0.0),
        ("weft_fdb_entries", r#"network="blue""#, 2.0),
        ("weft_nat_sessions", "", 1.0),
        ("weft_published_ports", "", 1.0),
        ("weft_relays", "", 3.0),
        ("weft_relays_refused", "", 1.0),
        ("weft_network_packets", r#"network="blue""#, 7.0),
        ("weft_network_drops", r#"network="blue",reason="storm""#, 2.0),
        ("weft_workers", "", 1.0),
        ("weft_ready", "", 1.0),
        ("weft_build", concat!(r#"version=""#, env!("CARGO_PKG_VERSION"), r#"""#), 1.0),
    ] {
        assert_eq!(sample(name, labels), expected, "{name}{{{labels}}}");
    }
    let join = |part: &str| sample("weft_docker_call_seconds", &format!("{part}call=\"NetworkDriver.Join\""));
    assert_eq!((join("_count "), join("_sum ")), (2.0, 60.004));
    assert_eq!((join("_bucket le=\"0.005\","), join("_bucket le=\"+Inf\",")), (1.0, 2.0));
    assert!(sample("weft_process_resident_memory_bytes", r#"process="daemon""#) > 1e6);
    let counters: BTreeSet<_> =
        families.iter().filter(|(_, f)| f.kind == "counter").map(|(name, _)| name.as_str()).collect();
    assert!(counters.contains("weft_process_cpu_seconds") && !counters.contains("weft_workers"));
}

#[test]
fn no_label_is_an_address_or_an_endpoint() {
    let families = parse(&text(Reading::take(&manager(), &Health::default(), &Calls::default())).unwrap());
    let known = ["network", "reason", "mode", "process", "version"];
    for (name, family) in &families {
        for labels in family.samples.keys().filter(|labels| !labels.is_empty()) {
            for label in labels.split(',') {
                let (key, value) = label.split_once('=').unwrap();
                assert!(known.contains(&key), "{name}: {label}");
                let value = value.trim_matches('"');
                assert!(
                    value.parse::<std::net::IpAddr>().is_err() && !value.contains(':'),
                    "{name}: {label}"
                );
            }
        }
    }
}

/// A running port, and what moves it.
struct Served {
    listen: watch::Sender<Option<SocketAddr>>,
    health: Arc<Health>,
    task: JoinHandle<()>,
}

impl Served {
    fn at(address: SocketAddr) -> Self {
        let (listen, receiver) = watch::channel(Some(address));
        let health = Arc::new(Health::default());
        let task = tokio::spawn(run(receiver, manager(), Arc::clone(&health), Arc::default()));
        Self { listen, health, task }
    }
}

/// A port that nobody has just now.
async fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Status and whole answer of one request, as soon as somebody listens.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[tokio::test]
async fn alive_ready_and_the_numbers() {
    let address = free().await;
    let served = Served::at(address);
    assert_eq!(get(address, "/healthz").await.0, 200);
    let (status, answer) = get(address, "/readyz").await;
    assert!(status == 503 && answer.ends_with("\r\n\r\nstarting\n"), "{answer}");
    served.health.enter(Phase::Ready);
    served.health.warn("store", "disk full");
    let (status, answer) = get(address, "/readyz").await;
    assert!(status == 200 && answer.ends_with("\r\n\r\nready\nstore: disk full\n"), "{answer}");
    let (status, answer) = get(address, "/metrics").await;
    assert!(status == 200 && answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(parse(answer.split_once("\r\n\r\n").unwrap().1).contains_key("weft_packets"));
    assert_eq!(get(address, "/v1/networks").await.0, 404, "nothing of the API is here");
}

#[tokio::test]
async fn a_taken_port_is_told_and_another_is_served() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, other) = (taken.local_addr().unwrap(), free().await);
    let served = Served::at(address);
    while served.health.warnings().is_empty() {
        tokio::task::yield_now().await;
    }
    let warning = &served.health.warnings()[0];
    assert!(warning.starts_with(&format!("metrics: cannot listen at {address}: ")), "{warning}");
    served.listen.send(Some(other)).unwrap();
    assert_eq!(get(other, "/healthz").await.0, 200);
    assert!(served.health.warnings().is_empty());
    served.listen.send(None).unwrap();
    while TcpStream::connect(other).await.is_ok() {
        tokio::task::yield_now().await;
    }
    drop(served.listen);
    served.task.await.unwrap();
}

#[tokio::test]
async fn a_port_that_becomes_free_is_taken() {
    tokio::time::pause();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let served = Served::at(address);
    while served.health.warnings().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(taken);
    // Timers are rounded up.
    tokio::time::advance(RETRY * 2).await;
    tokio::time::resume();
    assert_eq!(get(address, "/healthz").await.0, 200);
    assert!(served.health.warnings().is_empty());
}
