//! Both ends in one process, on sockets that stand for TAPs: one packet is one frame, as with a TAP queue.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::channel::Channel;
use super::message::{Hello, Request};
use super::*;
use crate::io::tap::Tap;
use crate::io::udp::{Mode, Sockets};
use crate::io::uplink::Uplink;
use crate::offload::vnet;
use crate::runtime::{AttachError, CaptureFilter, Event, UnderlayConfig};
use crate::tables::{
    PortId, PortKind, PortSpec, SegmentId, SegmentOptions, SegmentSpec, TablesError, TablesSpec,
};
use crate::tunnel::Vtep;
use crate::tunnel::outer::NextHop;
use crate::wire::MacAddr;

const A: PortId = PortId(1);
const B: PortId = PortId(2);
const SEGMENT: SegmentId = SegmentId(7);

/// A packet process that is a thread.
struct Process {
    name: String,
    thread: JoinHandle<Result<(), RemoteError>>,
}

impl Process {
    fn spawn() -> (Self, Client, OwnedFd) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("weft-remote-test-{}-{number}", std::process::id());
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .unwrap();
        rustix::net::bind(&listener, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let thread = thread::spawn(move || serve(theirs));
        (Self { name, thread }, Client::greet(ours).unwrap(), listener)
    }

    /// One with one worker and no underlay.
    fn start() -> (Self, Client) {
        let (process, mut client, listener) = Self::spawn();
        client.start(&Setup { workers: 1, underlay: None }, listener.as_fd(), None).unwrap();
        (process, client)
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect_addr(&SocketAddr::from_abstract_name(&self.name).unwrap()).unwrap()
    }

    fn next_client(&self) -> Client {
        Client::greet(self.connect()).unwrap()
    }

    fn end(self, client: Client) {
        client.end().unwrap();
        self.thread.join().unwrap().unwrap();
    }
}

/// A TAP with one queue, and what is at the other end of it.
fn tap(name: &str) -> (Tap, UnixDatagram) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (queue, wire) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    let wire = UnixDatagram::from(wire);
    wire.set_nonblocking(false).unwrap();
    wire.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (Tap::from_descriptors(name.into(), vec![queue]), wire)
}

fn mac(port: PortId) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, port.0 as u8])
}

fn tables(ports: &[PortId]) -> TablesSpec {
    let options = SegmentOptions { anti_spoof: false, ..SegmentOptions::default() };
    let port =
        |&id| PortSpec { id, kind: PortKind::Endpoint, segment: SEGMENT, mac: mac(id), addresses: vec![] };
    TablesSpec {
        segments: vec![SegmentSpec {
            id: SEGMENT,
            vni: None,
            mtu: 1500,
            options,
            vteps: vec![],
            gateway: None,
        }],
        ports: ports.iter().map(port).collect(),
        published: vec![],
    }
}

/// A frame between two ports with the virtio header of a TAP.
fn frame(from: PortId, to: PortId, text: &str) -> Vec<u8> {
    let header = [0; vnet::LEN];
    [&header[..], &mac(to).0, &mac(from).0, &[0x88, 0xb5], text.as_bytes()].concat()
}

#[track_caller]
fn carries(from: (PortId, &UnixDatagram), to: (PortId, &UnixDatagram), text: &str) {
    let sent = frame(from.0, to.0, text);
    from.1.send(&sent).unwrap();
    let mut arrived = vec![0; 2_000];
    let len = to.1.recv(&mut arrived).unwrap();
    assert_eq!(arrived[..len][vnet::LEN..], sent[vnet::LEN..], "{text}");
}

/// Both ports served.
fn plug(client: &mut Client) -> (UnixDatagram, UnixDatagram) {
    client.publish(&tables(&[A, B])).unwrap();
    let ((a, wire_a), (b, wire_b)) = (tap("wfa"), tap("wfb"));
    client.attach(A, &a).unwrap();
    client.attach(B, &b).unwrap();
    (wire_a, wire_b)
}

#[test]
fn the_verbs_of_a_handle_work_from_outside() {
    let (process, mut client) = Process::start();
    let (a, b) = plug(&mut client);
    carries((A, &a), (B, &b), "there");
    carries((B, &b), (A, &a), "and back");
    let stats = client.stats().unwrap();
    assert_eq!((stats.total.packets, stats.segments.len()), (2, 1));
    assert_eq!(stats.segments[0].1.packets, 2);
    assert_eq!(client.fdb(SEGMENT).unwrap().len(), 2);
    assert_eq!(client.underlay().unwrap(), None);
    client.detach(B).unwrap();
    assert!(b.recv(&mut [0; 100]).is_ok_and(|len| len == 0), "every descriptor of the TAP is closed");
    process.end(client);
}

#[test]
fn forwarding_goes_on_without_a_client_and_the_next_one_gets_everything_back() {
    let (process, mut client) = Process::start();
    let (a, b) = plug(&mut client);
    drop(client);
    carries((A, &a), (B, &b), "nobody looks");
    let mut next = process.next_client();
    let inventory = next.inventory().unwrap();
    assert_eq!(inventory.setup, Setup { workers: 1, underlay: None });
    assert_eq!(inventory.tables, tables(&[A, B]));
    assert_eq!(inventory.ports, [(A, "wfa".to_owned()), (B, "wfb".to_owned())]);
    let again = next.port(A, "wfa").unwrap();
    assert!(matches!(next.port(PortId(9), "wf9"), Err(RemoteError::NoSuch)));
    carries((B, &b), (A, &a), "still there");
    process.end(next);
    // The packet process is gone, and the TAP is not: we hold it.
    assert!(a.send(&frame(A, B, "waits")).is_ok());
    drop(again);
    assert!(a.send(&frame(A, B, "is lost")).is_err());
}

#[test]
fn underlay_and_uplink_come_back_too() {
    let (process, mut client, listener) = Process::spawn();
    let address: IpAddr = "127.77.0.1".parse().unwrap();
    let config = UnderlayConfig { address, port: 47_890, mode: Mode::Auto };
    let sockets = Sockets::open(address, config.port, Mode::Udp, 1).unwrap();
    let setup = Setup { workers: 1, underlay: Some((config, sockets.terms().clone())) };
    client.start(&setup, listener.as_fd(), Some(&sockets)).unwrap();
    drop(sockets);
    assert_eq!(client.underlay().unwrap().unwrap().mode, Mode::Udp);
    let (queue, _wire) = UnixDatagram::pair().unwrap();
    client.open_uplink(&Uplink::from_descriptors("wfu1".into(), vec![queue.into()])).unwrap();
    let next = NextHop { source: mac(A), neighbor: mac(B), mtu: 1500 };
    let hops = [(Vtep::new("127.77.0.2".parse().unwrap()), next)];
    client.set_next_hops(&hops).unwrap();
    assert_eq!(client.underlay().unwrap().unwrap().mode, Mode::TunnelGso);
    assert_eq!(client.take_used_next_hops().unwrap(), []);
    drop(client);

    let mut client = process.next_client();
    let inventory = client.inventory().unwrap();
    assert_eq!((&inventory.uplink, &inventory.hops[..]), (&Some("wfu1".to_owned()), &hops[..]));
    assert_eq!(client.uplink("wfu1").unwrap().queues(), 1);
    let sockets = client.sockets(&inventory.setup).unwrap().unwrap();
    client.close_uplink().unwrap();
    assert_eq!(client.underlay().unwrap().unwrap().mode, Mode::Udp);
    process.end(client);
    assert!(
        Sockets::open(address, config.port, Mode::Udp, 1).is_err(),
        "the port is ours: we hold the sockets"
    );
    drop(sockets);
    assert!(Sockets::open(address, config.port, Mode::Udp, 1).is_ok());
}

/// One request.
type Step<'a> = &'a dyn Fn(&mut Client) -> Result<(), RemoteError>;

#[test]
fn a_client_may_leave_between_any_two_requests() {
    for done in 0..4 {
        let (process, mut client) = Process::start();
        let ((a, wire_a), (b, wire_b)) = (tap("wfa"), tap("wfb"));
        let steps: [Step<'_>; 3] =
            [&|client| client.publish(&tables(&[A, B])), &|client| client.attach(A, &a), &|client| {
                client.attach(B, &b)
            }];
        steps[..done].iter().for_each(|step| step(&mut client).unwrap());
        drop(client);
        let mut client = process.next_client();
        let inventory = client.inventory().unwrap();
        assert_eq!(inventory.ports.len(), done.saturating_sub(1));
        assert_eq!(inventory.tables.ports.len(), if done == 0 { 0 } else { 2 });
        // Whatever was done may be done again.
        steps.iter().for_each(|step| step(&mut client).unwrap());
        carries((A, &wire_a), (B, &wire_b), "after all");
        process.end(client);
    }
}

#[test]
fn half_a_request_changes_nothing_and_neither_does_nonsense() {
    use std::io::Write;
    let (process, mut client) = Process::start();
    let (a, b) = plug(&mut client);
    drop(client);
    let whole = postcard::to_allocvec(&Request::Detach(A)).unwrap();
    let length = (whole.len() as u32).to_le_bytes();
    let half = [&length[..], &whole[..whole.len() - 1]].concat();
    let nonsense = [&4u32.to_le_bytes()[..], &[0xff; 4]].concat();
    let endless = u32::MAX.to_le_bytes();
    for bytes in [&[][..], &length[..2], &half, &nonsense, &endless] {
        let mut socket = process.connect();
        let mut channel = Channel::new(socket.try_clone().unwrap()).unwrap();
        channel.send(&Hello::ours(), &[]).unwrap();
        channel.recv::<Hello>().unwrap();
        socket.write_all(bytes).unwrap();
        drop((socket, channel));
        let mut client = process.next_client();
        assert_eq!(client.inventory().unwrap().ports.len(), 2);
        drop(client);
        carries((A, &a), (B, &b), "untouched");
    }
    let client = process.next_client();
    process.end(client);
}

#[test]
fn another_version_is_told_ours_and_refused() {
    let (process, client) = Process::start();
    drop(client);
    let mut foreign = Channel::new(process.connect()).unwrap();
    foreign.send(&(*b"weft", 99u32, "9.9.9"), &[]).unwrap();
    assert_eq!(foreign.recv::<Hello>().unwrap().0, Hello::ours());
    assert!(matches!(foreign.recv::<Hello>(), Err(RemoteError::Closed)));
    let client = process.next_client();
    process.end(client);

    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut foreign = Channel::new(theirs).unwrap();
    foreign.send(&(*b"weft", 99u32, "9.9.9"), &[]).unwrap();
    let error = Client::greet(ours).unwrap_err();
    assert!(error.is_final() && error.to_string().contains("9.9.9"), "{error}");
}

#[test]
fn what_is_refused_is_told_as_by_a_handle_and_changes_nothing() {
    let (process, mut client) = Process::start();
    let (a, b) = plug(&mut client);
    let error = client.publish(&tables(&[A, B, A])).unwrap_err();
    assert!(matches!(error, RemoteError::Tables(TablesError::DuplicatePort(A))), "{error}");
    let two = [tap("x"), tap("x")].map(|(tap, _)| tap.into_descriptors()).into_iter().flatten().collect();
    let error = client.attach(A, &Tap::from_descriptors("two".into(), two)).unwrap_err();
    assert!(matches!(error, RemoteError::Attach(AttachError::Queues { queues: 2, workers: 1 })), "{error}");
    let error = client.attach(A, &Tap::from_descriptors("none".into(), vec![])).unwrap_err();
    assert!(matches!(error, RemoteError::NoDescriptors) && !error.is_final(), "{error}");
    carries((A, &a), (B, &b), "as before");
    process.end(client);
}

#[test]
fn many_are_attached_at_once_and_those_that_are_refused_are_named() {
    let (process, mut client) = Process::start();
    client.publish(&tables(&[A, B])).unwrap();
    let ((a, wire_a), (b, wire_b)) = (tap("wfa"), tap("wfb"));
    let bad = Tap::from_descriptors("none".into(), vec![]);
    let others: Vec<_> = (3..100).map(|id| (PortId(id), if id == 50 { &bad } else { &a })).collect();
    let refused = client.attach_all(others.into_iter().chain([(A, &a), (B, &b)])).unwrap();
    assert!(matches!(refused[..], [(PortId(50), RemoteError::NoDescriptors)]), "{refused:?}");
    for port in (3..100).map(PortId) {
        client.detach(port).unwrap();
    }
    assert_eq!(client.inventory().unwrap().ports.len(), 2);
    carries((A, &wire_a), (B, &wire_b), "served");
    process.end(client);
}

#[test]
fn a_port_that_is_attached_again_is_served_from_the_new_tap() {
    let (process, mut client) = Process::start();
    let (old, b) = plug(&mut client);
    let (tap, new) = tap("wfn");
    client.attach(A, &tap).unwrap();
    assert!(old.send(&frame(A, B, "unheard")).is_err());
    carries((A, &new), (B, &b), "from the new one");
    assert_eq!(client.inventory().unwrap().ports[0].1, "wfn");
    process.end(client);
}

#[test]
fn a_port_that_goes_is_told_once_and_to_the_next_client_again() {
    let (process, mut client) = Process::start();
    let mut events = client.events().unwrap();
    let (a, b) = plug(&mut client);
    // A socket whose owner leaves with something unread is reset, which is what a TAP without device looks like.
    a.send(&frame(A, B, "unread")).unwrap();
    let mut peeked = [0; 1];
    while rustix::net::recv(&b, &mut peeked, rustix::net::RecvFlags::PEEK).unwrap().0 == 0 {}
    drop(b);
    assert_eq!(events.next(), Some(Event::OutsideWants), "a listener may have missed it");
    assert_eq!(events.next(), Some(Event::PortGone(B)));
    drop(client);
    let mut client = process.next_client();
    let mut next_events = client.events().unwrap();
    assert_eq!(events.next(), None, "somebody else is told from here on");
    assert_eq!(next_events.next(), Some(Event::PortGone(B)));
    assert_eq!(next_events.next(), Some(Event::OutsideWants));
    client.detach(B).unwrap();
    drop(client);
    let mut client = process.next_client();
    let mut last_events = client.events().unwrap();
    process.end(client);
    assert_eq!(last_events.next(), Some(Event::OutsideWants));
    assert_eq!(last_events.next(), None, "what was detached is not told");
}

#[test]
fn captures_run_on_sockets_of_their_own_and_are_bounded() {
    let (process, mut client) = Process::start();
    let (a, b) = plug(&mut client);
    let labels = vec![(A, "blue/a".to_owned())];
    let mut capture =
        client.capture(CaptureFilter { port: Some(A), ..CaptureFilter::default() }, labels).unwrap();
    carries((A, &a), (B, &b), "seen");
    let (bytes, frames) = capture.next(10, Duration::from_secs(1)).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(frames == 1 && holds("seen") && holds("blue/a"), "{frames} frames");
    let more: Vec<_> = (1..16).map(|_| client.capture(CaptureFilter::default(), vec![]).unwrap()).collect();
    let error = client.capture(CaptureFilter::default(), vec![]).unwrap_err();
    assert!(matches!(error, RemoteError::TooManyCaptures) && !error.is_final(), "{error}");
    assert!(!capture.finish().unwrap().is_empty());
    process.end(client);
    drop(more);
}

mod outside;
