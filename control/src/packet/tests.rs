//! Adoption, with a packet process that is a thread of this one.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use weft_dataplane::gateway::{EgressSpec, LinkId, LinkSpec, RouteSpec};
use weft_dataplane::io::reserve::{Admit, Reserved, Transport};
use weft_dataplane::io::tap::Tap;
use weft_dataplane::nat::Protocol;
use weft_dataplane::runtime::Purpose;
use weft_dataplane::runtime::remote::{Client, RemoteError, serve};
use weft_dataplane::tables::{PortId, TablesSpec};
use weft_dataplane::wire::MacAddr;

use super::adopt::{adopt, misfit};
use super::launch::{bind, setup};
use super::reaper::Reaper;
use super::{Dataplane, Options, SOCKET_NAME};
use crate::egress::{Door, Outdoors, Want};

struct Scene {
    directory: tempfile::TempDir,
    thread: JoinHandle<Result<(), RemoteError>>,
    /// What the other end of the port's TAP is.
    _wire: std::os::fd::OwnedFd,
}

impl Scene {
    fn options(&self) -> Options {
        Options { run_dir: self.directory.path().into(), workers: 1, underlay: None }
    }
}

/// A packet process that serves one port and whose daemon has left.
fn scene() -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let listener = bind(&directory.path().join(SOCKET_NAME)).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let thread = thread::spawn(move || serve(theirs));
    let (queue, wire) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None).unwrap();
    let scene = Scene { directory, thread, _wire: wire };
    let mut client = Client::greet(ours).unwrap();
    client.start(&setup(&scene.options(), None), listener.as_fd(), None).unwrap();
    client.attach(PortId(7), &Tap::from_descriptors("wf7".into(), vec![queue])).unwrap();
    scene
}

#[test]
fn what_an_earlier_daemon_has_left_is_adopted_with_everything() {
    let scene = scene();
    let path = scene.directory.path().join(SOCKET_NAME);
    let (mut client, process, memory) = adopt(&path, &scene.options(), &Reaper::default()).unwrap();
    assert_eq!(process.id(), std::process::id());
    let tap = &memory.taps[&PortId(7)];
    assert_eq!((tap.name(), tap.descriptors().len()), ("wf7", 1));
    assert_eq!(client.stats().unwrap().total.packets, 0);
    client.end().unwrap();
    scene.thread.join().unwrap().unwrap();
}

#[test]
fn where_nobody_listens_nobody_is_adopted() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { run_dir: directory.path().into(), workers: 1, underlay: None };
    let path = directory.path().join(SOCKET_NAME);
    assert!(adopt(&path, &options, &Reaper::default()).is_none());
    drop(bind(&path).unwrap());
    assert!(adopt(&path, &options, &Reaper::default()).is_none(), "a name without a process");
}

#[test]
fn what_does_not_fit_is_not_adopted_and_the_reason_says_why() {
    let scene = scene();
    let socket = UnixStream::connect(scene.directory.path().join(SOCKET_NAME)).unwrap();
    let mut client = Client::greet(socket).unwrap();
    let inventory = client.inventory().unwrap();
    assert_eq!(inventory.tables, TablesSpec::default());
    let fits = scene.options();
    assert_eq!(misfit(&inventory, &fits), None);
    let more = Options { workers: 3, ..scene.options() };
    assert!(misfit(&inventory, &more).unwrap().contains("3 are configured"));
    client.end().unwrap();
    scene.thread.join().unwrap().unwrap();
}

/// The outside address of the only link, and one that only a route names.
const ADDRESSES: [&str; 2] = ["203.0.113.1", "203.0.113.9"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn egress() -> EgressSpec {
    let [by_link, by_route] = ADDRESSES.map(ip);
    let route = RouteSpec {
        prefix: "0.0.0.0/0".parse().unwrap(),
        link: Some(LinkId(1)),
        via: None,
        source: Some(by_route),
    };
    EgressSpec {
        links: vec![LinkSpec {
            id: LinkId(1),
            mac: MacAddr([2, 0, 0, 0, 9, 9]),
            mtu: 1_500,
            addresses: vec![by_link],
        }],
        routes: vec![route],
        neighbors: Vec::new(),
        own: vec![by_link, by_route],
    }
}

/// Lends two ports at `address`, or rather sockets that stand for them.
fn lend(dataplane: &Dataplane, address: IpAddr) {
    let open = |port| {
        (port, Reserved::open(Transport::Udp, "127.47.91.2".parse().unwrap(), 0, Admit::Nothing).unwrap())
    };
    dataplane.hold(Purpose::Lent, address, Transport::Udp, [40_000, 40_001].map(open).into()).unwrap();
}

/// The addresses at which ports are held.
fn held(dataplane: &Dataplane) -> Vec<IpAddr> {
    let mut held: Vec<_> =
        dataplane.held(Purpose::Lent).unwrap().iter().map(|(port, _)| port.address).collect();
    held.dedup();
    held
}

#[test]
fn ports_at_an_address_that_only_a_route_names_are_kept_and_wanted_again_of_the_next_daemon() {
    let scene = scene();
    let [by_link, by_route] = ADDRESSES.map(ip);
    let (dataplane, _events) = Dataplane::open(scene.options()).unwrap();
    dataplane.set_egress(&egress(), Vec::new()).unwrap();
    [by_link, by_route].into_iter().for_each(|address| lend(&dataplane, address));
    // More are asked for, and this daemon never answers.
    let asked = dataplane.take_wants().ports;
    assert!(asked.iter().any(|want| (want.address, want.protocol) == (by_route, Protocol::Udp)), "{asked:?}");
    let mut wider = egress();
    wider.links[0].mtu = 9_000;
    dataplane.set_egress(&wider, Vec::new()).unwrap();
    assert_eq!(held(&dataplane), [by_link, by_route]);
    drop(dataplane);

    let (next, _events) = Dataplane::open(scene.options()).unwrap();
    assert_eq!(held(&next), [by_link, by_route]);
    let next = Arc::new(next);
    let (outdoors, deadline) = (Outdoors::new(Arc::clone(&next)), Instant::now() + Duration::from_secs(60));
    let wanted = |want: &Want| (want.address, want.transport) == (by_route, Transport::Udp);
    // An answer of no ports is believed for some seconds.
    while !outdoors.take_wants().iter().any(wanted) {
        assert!(Instant::now() < deadline, "no more ports are wanted");
        thread::sleep(Duration::from_millis(20));
    }
    let mut without = wider;
    without.routes[0].source = None;
    next.set_egress(&without, Vec::new()).unwrap();
    assert_eq!(held(&next), [by_link, by_route], "the host has it still");
    without.own.pop();
    next.set_egress(&without, Vec::new()).unwrap();
    assert_eq!(held(&next), [by_link]);
    drop((outdoors, next));
    let path = scene.directory.path().join(SOCKET_NAME);
    adopt(&path, &scene.options(), &Reaper::default()).unwrap().0.end().unwrap();
    scene.thread.join().unwrap().unwrap();
}
