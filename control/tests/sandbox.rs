//! The sandbox room against real namespaces. Needs root; elsewhere each test says that it was skipped.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use weft::sandbox::host::{HostNets, check_privileges, check_tun};
use weft::sandbox::topology::{KernelVxlan, VethEnd, kernel_vxlan, veth_pair};
use weft::sandbox::{Link, NamedNetns, Netns, Plug, SandboxError, check_ifname, life, loopback_up, plug};
use weft_dataplane::io::tap::{Tap, TapError};
use weft_dataplane::wire::MacAddr;

/// True, with a line saying so, when this process may not make namespaces.
fn skipped() -> bool {
    let reason = check_privileges().map_err(|e| e.to_string()).and(check_tun().map_err(|e| e.to_string()));
    if let Err(reason) = &reason {
        eprintln!("skipped: {reason}");
    }
    reason.is_err()
}

/// A name of at most 15 bytes that no other test, run or program uses.
fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("wt{what}{:x}-{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn sandbox() -> NamedNetns {
    NamedNetns::create(&unique("n")).unwrap()
}

fn tap_in(ns: &NamedNetns, ifname: &str) -> Result<Tap, TapError> {
    ns.netns().run(|| Tap::create(ifname, 1)).unwrap()
}

fn eth0() -> Plug {
    Plug {
        ifname: "eth0".into(),
        mac: MacAddr([0x02, 0x42, 10, 1, 0, 5]),
        addresses: vec!["10.1.0.5/24".parse().unwrap(), "fd00:1::5/64".parse().unwrap()],
        gateways: vec!["10.1.0.1".parse().unwrap(), "fd00:1::1".parse().unwrap()],
        routes: vec![],
        mtu: 1450,
    }
}

async fn interface_names(link: &Link) -> Vec<String> {
    let name = |l: &LinkMessage| {
        l.attributes.iter().find_map(|a| match a {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        })
    };
    link.links().await.unwrap().iter().filter_map(name).collect()
}

#[test]
fn paths_that_are_no_network_namespace_are_refused_by_kind() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let missing = Netns::open("/run/netns/no-such-namespace").unwrap_err();
    assert!(matches!(&missing, SandboxError::NotFound { path } if path.ends_with("no-such-namespace")));
    assert!(missing.to_string().contains("ip netns add"), "{missing}");
    assert!(matches!(Netns::open("/proc/4294967295/ns/net"), Err(SandboxError::NotFound { .. })));
    for path in
        [file.path().to_owned(), PathBuf::from("/proc/self/ns/mnt"), "/run".into(), "/dev/null".into()]
    {
        let error = Netns::open(&path).unwrap_err();
        assert!(matches!(error, SandboxError::NotNetns { .. }), "{}: {error}", path.display());
    }
}

#[test]
fn two_paths_to_one_namespace_have_one_identity() {
    let here = Netns::current().unwrap();
    assert_eq!(here.id(), Netns::open(format!("/proc/{}/ns/net", std::process::id())).unwrap().id());
    if skipped() {
        return;
    }
    let other = sandbox();
    let again = Netns::open(other.path()).unwrap();
    assert_eq!(other.netns().id(), again.id());
    assert_ne!(other.netns().id(), here.id());
}

#[test]
fn interface_names_the_kernel_would_change_or_refuse_are_refused_first() {
    for good in ["eth0", "a", "fifteen-bytes-1", "eth0.7"] {
        check_ifname(good).unwrap();
    }
    for bad in ["", ".", "..", "sixteen-bytes-ab", "a/b", "a:b", "eth%d", "a b", "\u{e9}th0", "a\n"] {
        assert!(check_ifname(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_named_namespace_is_made_once_and_goes_with_its_owner() {
    if skipped() {
        return;
    }
    let name = unique("n");
    let owned = NamedNetns::create(&name).unwrap();
    assert!(matches!(NamedNetns::create(&name), Err(SandboxError::NetnsTaken { .. })));
    let before = Netns::current().unwrap().id();
    let devices = owned.netns().run(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap()).unwrap();
    assert_eq!(devices.lines().skip(2).count(), 1, "only lo: {devices}");
    assert_eq!(Netns::current().unwrap().id(), before, "the caller stays where it was");
    let path = owned.path().to_owned();
    drop(owned);
    assert!(!path.exists());
    assert!(matches!(Netns::open(&path), Err(SandboxError::NotFound { .. })));
}

#[test]
#[should_panic(expected = "inside")]
fn a_panic_inside_is_passed_on() {
    // The thread's own namespace may be entered by root only; without root the test panics with the same word.
    if skipped() {
        panic!("inside: not run");
    }
    Netns::current().unwrap().run(|| panic!("inside")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_becomes_the_interface_that_was_asked_for() {
    if skipped() {
        return;
    }
    let ns = sandbox();
    let tap = tap_in(&ns, "eth0").unwrap().known_as("wf1".into());
    let plugged = plug(ns.netns(), &eth0()).await.unwrap();
    assert_eq!(plugged.warnings, Vec::<String>::new());

    let inside = ns.netns().link().unwrap();
    let eth0 = inside.get_link("eth0").await.unwrap().expect("it is there");
    assert_eq!(eth0.header.index, plugged.index);
    assert!(eth0.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp));
    assert!(eth0.attributes.contains(&LinkAttribute::Address(vec![0x02, 0x42, 10, 1, 0, 5])));
    assert!(eth0.attributes.contains(&LinkAttribute::Mtu(1450)));
    assert!(eth0.attributes.contains(&LinkAttribute::GsoMaxSize(65_400)));

    let addresses = inside.addresses().await.unwrap();
    let flags_of = |ip: &str| -> Option<AddressFlags> {
        let ip: IpAddr = ip.parse().unwrap();
        let message = addresses.iter().find(|a| a.attributes.contains(&AddressAttribute::Address(ip)))?;
        message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        })
    };
    assert!(flags_of("10.1.0.5").is_some());
    assert!(!flags_of("fd00:1::5").unwrap().contains(AddressFlags::Tentative), "usable at once");
    assert!(
        flags_of("fe80::42:aff:fe01:5").is_some(),
        "the link-local address follows from the MAC: {addresses:?}"
    );
    assert!(inside.has_default_route("10.1.0.1".parse().unwrap()).await.unwrap());
    assert!(inside.has_default_route("fd00:1::1".parse().unwrap()).await.unwrap());
    let (place, ifname) = tap.place().unwrap();
    assert_eq!((tap.name(), ifname.as_str()), ("wf1", "eth0"));
    assert_eq!(Netns::from_descriptor(place).unwrap().id(), ns.netns().id());

    drop(tap);
    assert_eq!(interface_names(&inside).await, ["lo"], "closing the TAP removes the interface");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_is_a_conflict_and_nothing_is_left() {
    if skipped() {
        return;
    }
    let ns = sandbox();
    let _first = tap_in(&ns, "eth0").unwrap();
    plug(ns.netns(), &eth0()).await.unwrap();
    assert!(matches!(tap_in(&ns, "eth0"), Err(TapError::NameTaken(name)) if name == "eth0"));
    assert!(matches!(tap_in(&ns, "lo"), Err(TapError::NameTaken(_))), "a device of another kind");
    assert_eq!(interface_names(&ns.netns().link().unwrap()).await.len(), 2, "lo and the first eth0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_network_keeps_the_first_default_route() {
    if skipped() {
        return;
    }
    let ns = sandbox();
    let _taps = ["eth0", "eth1"].map(|ifname| tap_in(&ns, ifname).unwrap());
    plug(ns.netns(), &eth0()).await.unwrap();
    let eth1 = Plug {
        ifname: "eth1".into(),
        mac: MacAddr([0x02, 0x42, 10, 2, 0, 5]),
        addresses: vec!["10.2.0.5/24".parse().unwrap()],
        gateways: vec!["10.2.0.1".parse().unwrap()],
        routes: vec![],
        mtu: 1450,
    };
    let plugged = plug(ns.netns(), &eth1).await.unwrap();
    assert_eq!(plugged.warnings.len(), 1);
    assert!(plugged.warnings[0].contains("10.2.0.1"), "{:?}", plugged.warnings);
}

#[test]
fn a_namespace_is_told_from_its_successor() {
    if skipped() {
        return;
    }
    let name = unique("n");
    let make = || NamedNetns::create(&name).unwrap();
    let first = make();
    let birth = first.netns().birth().unwrap();
    assert_eq!(Netns::open(first.path()).unwrap().birth().unwrap(), birth, "whoever asks");
    assert!(birth.cookie != 0 && birth.boot.len() == 36, "{birth:?}");
    drop(first);
    let second = make();
    assert_ne!(second.netns().birth().unwrap(), birth, "the same path, perhaps the same number");
    assert_ne!(Netns::current().unwrap().birth().unwrap(), second.netns().birth().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loopback_comes_up() {
    if skipped() {
        return;
    }
    let ns = sandbox();
    loopback_up(ns.netns()).await.unwrap();
    let lo = ns.netns().link().unwrap().get_link("lo").await.unwrap().expect("it is there");
    assert!(lo.header.flags.contains(LinkFlags::Up));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_address_where_ipv6_is_off_is_refused_and_says_so() {
    if skipped() {
        return;
    }
    let ns = sandbox();
    ns.netns().run(|| fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap()).unwrap();
    let tap = tap_in(&ns, "eth0").unwrap();
    let error = plug(ns.netns(), &eth0()).await.unwrap_err();
    assert!(matches!(error, SandboxError::Ipv6Disabled { .. }), "{error}");
    assert!(error.to_string().contains("fd00:1::5"), "{error}");
    drop(tap);
    assert_eq!(interface_names(&ns.netns().link().unwrap()).await, ["lo"]);
}

/// Joins two namespaces by a veth pair with point-to-point addresses; the ends are named `to-NUMBER`.
async fn join(a: &NamedNetns, b: &NamedNetns, number: u8, addresses: [Ipv4Addr; 2]) {
    let ifname = format!("to-{number}");
    let ends = [a, b].map(|ns| VethEnd { netns: ns.netns(), ifname: &ifname });
    let links = [a, b].map(|ns| ns.netns().link().unwrap());
    veth_pair(&links[0], ends[0], ends[1], 9000).await.unwrap();
    for (link, [local, peer]) in links.iter().zip([addresses, [addresses[1], addresses[0]]]) {
        let index = link.index_of(&ifname).await.unwrap();
        link.add_peer_address(index, local, peer).await.unwrap();
        link.up(index).await.unwrap();
    }
    for link in &links {
        link.until_running(&ifname).await.unwrap();
    }
}

/// Waits, at most five seconds, for a datagram that `wanted` accepts.
fn hear(socket: &UdpSocket, wanted: impl Fn(&[u8]) -> bool) {
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut datagram = [0; 2000];
    loop {
        let length = socket.recv(&mut datagram).expect("a datagram within five seconds");
        if wanted(&datagram[..length]) {
            return;
        }
    }
}

const A: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const C: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 3);

#[tokio::test(flavor = "multi_thread")]
async fn hosts_joined_by_veth_talk_and_know_their_addresses() {
    if skipped() {
        return;
    }
    let (a, b) = (sandbox(), sandbox());
    join(&a, &b, 1, [A, B]).await;
    let ears = b.netns().run(|| UdpSocket::bind((B, 7)).unwrap()).unwrap();
    let mouth = a.netns().run(|| UdpSocket::bind((A, 0)).unwrap()).unwrap();
    mouth.send_to(b"hello", (B, 7)).unwrap();
    hear(&ears, |datagram| datagram == b"hello");

    let link = a.netns().link().unwrap();
    let veth = link.index_of("to-1").await.unwrap();
    link.add_default_route(veth, B.into()).await.unwrap();
    let nets = HostNets::read_by(&link).await.unwrap();
    let route = nets.default_route().expect("there is a default route");
    assert_eq!((route.interface.name.as_str(), route.interface.mtu), ("to-1", 9000));
    assert_eq!(route.address, IpAddr::from(A));
    assert_eq!(nets.interface_with(A.into()).unwrap().index, veth);
    assert!(nets.interface_with(B.into()).is_none(), "the peer's address is not ours");
    assert_eq!(nets.interface_named("to-1").unwrap().index, veth);
    assert_eq!(nets.overlap("198.18.0.0/24".parse().unwrap()).unwrap().1, Some("to-1"));
    assert!(nets.overlap("10.77.0.0/16".parse().unwrap()).is_none(), "a default route overlaps nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernels_vxlan_device_floods_to_every_peer() {
    if skipped() {
        return;
    }
    let [k, b, c] = [sandbox(), sandbox(), sandbox()];
    join(&k, &b, 1, [A, B]).await;
    join(&k, &c, 2, [A, C]).await;
    let link = k.netns().link().unwrap();
    let device = KernelVxlan { ifname: "vx0", vni: 77, local: A, peers: &[B, C], mtu: 1450 };
    let index = match kernel_vxlan(&link, &device).await {
        Err(SandboxError::NoVxlan) => return eprintln!("skipped: {}", SandboxError::NoVxlan),
        other => other.unwrap(),
    };
    link.add_address(index, "10.9.9.1/24".parse().unwrap()).await.unwrap();
    link.up(index).await.unwrap();
    let ears = [&b, &c].map(|ns| ns.netns().run(|| UdpSocket::bind("0.0.0.0:4789").unwrap()).unwrap());
    let mouth = k.netns().run(|| UdpSocket::bind("10.9.9.1:0").unwrap()).unwrap();
    mouth.set_broadcast(true).unwrap();
    mouth.send_to(b"to all", "10.9.9.255:9").unwrap();
    for socket in &ears {
        hear(socket, |datagram| datagram[4..7] == [0, 0, 77] && datagram.ends_with(b"to all"));
    }
}

#[test]
fn a_namespace_is_inhabited_as_long_as_it_has_a_name_or_a_process() {
    if skipped() {
        return;
    }
    let named = sandbox();
    let id = named.netns().id();
    assert_eq!(life::at(named.path()), Some(id));
    assert!(life::inhabited().contains(&id));
    let sleeper = || Command::new("sleep").arg("60").spawn();
    let mut process = named.netns().run(sleeper).unwrap().unwrap();
    let tap = tap_in(&named, "eth0").unwrap();
    drop(named);
    assert!(life::inhabited().contains(&id), "a process is in it");
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(!life::inhabited().contains(&id), "nothing but a TAP keeps it");
    let (place, _) = tap.place().unwrap();
    assert_eq!(Netns::from_descriptor(place).unwrap().id(), id);
}
