//! The traffic of the show over a kernel link, where it must work, and the stage by itself. Needs root; elsewhere each
//! test says that it was skipped.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use weft_dataplane::io::tap::Tap;
use weft_dataplane::runtime::{Config, Handle, Mode, UnderlayConfig};
use weft_dataplane::tables::{
    PortId, PortKind, PortSpec, SegmentId, SegmentOptions, SegmentSpec, TablesSpec,
};
use weft_dataplane::wire::{MacAddr, Vni, vxlan};

use super::broadcast::{Member, shout};
use super::bulk::{Way, bulk, transfer};
use super::error::DemoError;
use super::lab::{CONTAINER_IFNAME, Container, Host, Lab, VNI};
use super::outside::check_source;
use super::parts;
use super::ping::{Watch, is_unanswered, ping};
use crate::sandbox::host::check_privileges;
use crate::sandbox::topology::{VethEnd, veth_pair};
use crate::sandbox::{NamedNetns, Plug, plug};

const A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);

/// Two containers on one wire, or `None` with a line saying why not.
async fn pair(name: &str) -> Option<[NamedNetns; 2]> {
    if let Err(reason) = check_privileges() {
        eprintln!("skipped: {reason}");
        return None;
    }
    let make = |end| NamedNetns::create(&format!("wdt{:x}-{name}{end}", std::process::id())).unwrap();
    let both = [make("a"), make("b")];
    let links = [0, 1].map(|i: usize| both[i].netns().link().unwrap());
    let ends = [0, 1].map(|i: usize| VethEnd { netns: both[i].netns(), ifname: "eth0" });
    veth_pair(&links[0], ends[0], ends[1], 1500).await.unwrap();
    for (link, ip) in links.iter().zip([A, B]) {
        let index = link.index_of("eth0").await.unwrap();
        link.add_address(index, ipnet::Ipv4Net::new_assert(ip, 24).into()).await.unwrap();
        link.up(index).await.unwrap();
    }
    for link in &links {
        link.until_running("eth0").await.unwrap();
    }
    Some(both)
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered_or_counted_as_lost() {
    let Some([a, b]) = pair("p").await else { return };
    let times = ping(a.netns(), B, 7, 5).await.unwrap();
    assert_eq!(times.count(), 5);
    assert!(times.min() > Duration::ZERO && times.min() <= times.median());
    assert!(!is_unanswered(a.netns(), B, 8).await.unwrap());

    let nobody = Ipv4Addr::new(10, 1, 0, 3);
    assert!(is_unanswered(a.netns(), nobody, 9).await.unwrap());
    let lost = ping(a.netns(), nobody, 9, 1).await.unwrap_err();
    assert!(matches!(lost, DemoError::PingsLost { sent: 1, received: 0, .. }), "{lost}");

    let watch = Watch::open(b.netns()).unwrap();
    ping(a.netns(), B, 10, 1).await.unwrap();
    assert!(watch.saw_request(10).await.unwrap());
    assert!(!watch.saw_request(11).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_arrives_whole_and_is_measured() {
    let Some([a, b]) = pair("t").await else { return };
    let transfer = transfer(Way::direct(a.netns(), b.netns(), B), bulk).await.unwrap();
    assert!(transfer.bytes > 1_000_000, "{transfer:?}");
    assert!(transfer.gigabits_per_second() > 0.0);
    check_source("b", transfer.seen, A).expect("nobody translates here");
    let wrong = check_source("b", transfer.seen, B).unwrap_err();
    assert!(matches!(wrong, DemoError::WrongSource { by: "b", .. }), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_is_heard_once_and_strangers_are_caught_listening() {
    let Some([a, b]) = pair("s").await else { return };
    let [a, b] = [Member { label: "a", netns: a.netns() }, Member { label: "b", netns: b.netns() }];
    let everyone = Ipv4Addr::new(10, 1, 0, 255);
    shout(a, everyone, "hello", &[b], &[]).await.unwrap();
    let leak = shout(a, everyone, "psst", &[], &[b]).await.unwrap_err();
    assert!(matches!(leak, DemoError::Leaked { stranger: "b", .. }), "{leak}");
    let elsewhere = Ipv4Addr::new(10, 1, 0, 7);
    let unheard = shout(a, elsewhere, "hello?", &[b], &[]).await.unwrap_err();
    assert!(matches!(unheard, DemoError::BroadcastCopies { to: "b", copies: 0, .. }), "{unheard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stage_is_built_and_struck_without_a_trace() {
    if let Err(reason) = check_privileges() {
        return eprintln!("skipped: {reason}");
    }
    let mut lab = Lab::new(format!("wds{:x}", std::process::id()));
    let cast = lab.build().await.unwrap();
    ping(cast.a.netns.netns(), cast.b.vtep, 1, 3).await.expect("the underlay works");
    ping(cast.a.netns.netns(), cast.o.ip, 3, 3).await.expect("the way out works");
    if let Some(k) = &cast.kernel {
        let underlay = cast.vteps[2];
        ping(cast.b.netns.netns(), underlay, 2, 3).await.expect("the underlay reaches the kernel's VTEP");
        assert!(k.path().exists());
    }
    let paths: Vec<_> = lab.namespaces().iter().map(|netns| netns.path().to_owned()).collect();
    assert_eq!(paths.len(), 10);
    assert!(paths.iter().all(|path| path.exists()));
    let directory = lab.directory().unwrap().to_owned();
    drop((cast, lab));
    assert!(!paths.iter().chain([&directory]).any(|path: &std::path::PathBuf| Path::exists(path)));
}

/// One switch on a host, without a daemon around it.
fn switch(host: &Host, peers: &[Ipv4Addr], containers: &[(u32, &Container)]) -> Handle {
    let underlay = UnderlayConfig { address: host.vtep.into(), port: vxlan::PORT, mode: Mode::Auto };
    let config = Config { workers: 1, underlay: Some(underlay) };
    let handle = host.netns.netns().run(|| Handle::start(config)).unwrap().unwrap();
    let vteps: Vec<_> = peers.iter().filter(|&&peer| peer != host.vtep).map(|&peer| peer.into()).collect();
    let segments = [VNI, VNI + 1].map(|vni| SegmentSpec {
        id: SegmentId(vni),
        vni: Some(Vni::new(vni).unwrap()),
        mtu: 1450,
        options: SegmentOptions::default(),
        vteps: vteps.clone(),
        gateway: None,
    });
    let ports = containers.iter().zip(0..).map(|((vni, container), id)| PortSpec {
        id: PortId(id),
        kind: PortKind::Endpoint,
        segment: SegmentId(*vni),
        mac: mac_of(container),
        addresses: vec![container.ip.into()],
    });
    let ports = ports.collect();
    handle.publish(&TablesSpec { segments: segments.to_vec(), ports, ..TablesSpec::default() }).unwrap();
    handle
}

async fn attach(handle: &Handle, id: u32, container: &Container) {
    let tap = container.netns().run(|| Tap::create(CONTAINER_IFNAME, 1)).unwrap().unwrap();
    let eth0 = Plug {
        ifname: CONTAINER_IFNAME.into(),
        mac: mac_of(container),
        addresses: vec![ipnet::Ipv4Net::new_assert(container.ip, 24).into()],
        gateways: Vec::new(),
        routes: Vec::new(),
        mtu: 1450,
    };
    plug(container.netns(), &eth0).await.unwrap();
    handle.attach(PortId(id), tap).unwrap();
}

fn mac_of(container: &Container) -> MacAddr {
    let [a, b, c, d] = container.ip.octets();
    MacAddr([0x02, 0x42, a, b, c, d])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_play_over_two_switches() {
    if let Err(reason) = check_privileges() {
        return eprintln!("skipped: {reason}");
    }
    let mut lab = Lab::new(format!("wdp{:x}", std::process::id()));
    let cast = lab.build().await.unwrap();
    let on_a = [(VNI, &cast.a1), (VNI, &cast.a2), (VNI + 1, &cast.a3)];
    let on_b = [(VNI, &cast.b1), (VNI, &cast.b2), (VNI + 1, &cast.b3)];
    let switches = [switch(&cast.a, &cast.vteps, &on_a), switch(&cast.b, &cast.vteps, &on_b)];
    for (handle, containers) in switches.iter().zip([on_a, on_b]) {
        for (id, (_, container)) in containers.into_iter().enumerate() {
            attach(handle, id as u32, container).await;
        }
    }
    let told = [
        parts::ping_between(&cast.a1, &cast.b1).await,
        parts::ping_between(&cast.a1, &cast.a2).await,
        parts::broadcast(&cast).await,
        parts::isolation(&cast).await,
        parts::bulk_between(&cast.a1, &cast.b1).await,
    ];
    for line in told {
        eprintln!("{}", line.unwrap());
    }
    if let Some(k) = &cast.kernel {
        eprintln!("{}", parts::ping_between(k, &cast.b2).await.unwrap());
        eprintln!("{}", parts::bulk_between(k, &cast.a1).await.unwrap());
        eprintln!("{}", parts::bulk_between(&cast.b1, k).await.unwrap());
    }
    drop(switches);
    lab.interfaces_left().await.unwrap();
}
