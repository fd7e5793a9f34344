use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime};

use ipnet::IpNet;
use tokio::runtime::Runtime;
use weft_dataplane::io::netns::unshare_thread;
use weft_dataplane::tables::PortId;
use weft_dataplane::wire::MacAddr;

use super::*;
use crate::error::Problem;
use crate::model::{EndpointState, IfName, Interface, Name, PublishRequest, Sandbox};
use crate::sandbox::{Netns, loopback_up};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A namespace that lives as long as this.
struct Place {
    netns: Netns,
    end: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Place {
    /// With these addresses on its loopback.
    fn new(runtime: &Runtime, addresses: &[&str]) -> Self {
        let (found, find) = channel();
        let (end, ended) = channel();
        let thread = thread::spawn(move || {
            unshare_thread().unwrap();
            let path = format!("/proc/self/task/{}/ns/net", rustix::thread::gettid().as_raw_nonzero());
            found.send(Netns::open(path).unwrap()).unwrap();
            let _ = ended.recv();
        });
        let netns = find.recv().unwrap();
        runtime.block_on(async {
            loopback_up(&netns).await.unwrap();
            let link = netns.link().unwrap();
            for address in addresses {
                link.add_address(1, address.parse().unwrap()).await.unwrap();
            }
        });
        let place = Self { netns, end: Some((end, thread)) };
        for address in addresses {
            let (address, _) = address.split_once('/').unwrap();
            place.wait_for(address.parse().unwrap());
        }
        place
    }

    /// Waits until the kernel delivers what is for an address of its own. To an IPv6 address there is a route by its prefix
    /// from the start, which leads nowhere: the local one comes in its own time.
    fn wait_for(&self, address: IpAddr) {
        let begun = Instant::now();
        let speak = || {
            let socket = UdpSocket::bind((address, 0))?;
            socket.set_read_timeout(Some(Duration::from_millis(20)))?;
            socket.send_to(b"x", socket.local_addr()?)?;
            socket.recv(&mut [0])
        };
        while let Err(error) = self.run(speak) {
            assert!(begun.elapsed() < PATIENCE, "{address}: {error}");
        }
    }

    fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        self.netns.run(inside).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.end.take() {
            drop(end);
            thread.join().unwrap();
        }
    }
}

/// A host, and a container on it whose addresses are on its loopback.
struct Lab {
    publisher: Publisher,
    host: Place,
    container: Option<Place>,
    endpoint: Endpoint,
    runtime: Runtime,
}

impl Lab {
    fn new(publish: &[&str]) -> Self {
        Self::with(publish, RELAYS_MAX)
    }

    /// As [`Lab::new`], with `slots` instead of [`RELAYS_MAX`]; everything is reserved and relayed.
    fn with(publish: &[&str], slots: usize) -> Self {
        let runtime = Runtime::new().unwrap();
        let host = Place::new(&runtime, &["192.0.2.1/32", "2001:db8::1/128"]);
        let container = Place::new(&runtime, &["10.77.0.2/24", "fd77::2/64"]);
        let endpoint = endpoint(&container, publish);
        let publisher = Publisher::with_slots(runtime.handle().clone(), slots);
        let lab = Self { publisher, host, container: Some(container), endpoint, runtime };
        lab.reserve(&lab.publisher).unwrap();
        lab.publisher.relay(&lab.endpoint);
        lab
    }

    /// Gives what an outliving packet process would be handed.
    fn reserve(&self, publisher: &Publisher) -> Result<Vec<(HeldPort, Reserved)>, PublishFailure> {
        let ports = self.endpoint.ports.iter();
        let reserved = self
            .host
            .run(|| ports.map(|port| publisher.reserve(&self.endpoint, port)).collect::<Result<Vec<_>, _>>());
        Ok(reserved?.into_iter().flatten().collect())
    }

    fn container(&self) -> &Place {
        self.container.as_ref().unwrap()
    }

    /// A listener of the container.
    fn listen(&self, address: &str) -> TcpListener {
        self.container().run(|| TcpListener::bind(address)).unwrap()
    }

    /// A socket of the container that answers each datagram with itself and one byte more, until it is empty.
    fn echo(&self, address: &str) -> JoinHandle<()> {
        let socket = self.container().run(|| UdpSocket::bind(address)).unwrap();
        thread::spawn(move || {
            let mut datagram = [0; 2_048];
            loop {
                let (len, from) = socket.recv_from(&mut datagram).unwrap();
                if len == 0 {
                    return;
                }
                datagram[len] = b'!';
                socket.send_to(&datagram[..=len], from).unwrap();
            }
        })
    }

    fn dial(&self, address: &str) -> TcpStream {
        let stream = self.host.run(|| TcpStream::connect(address)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn client(&self, own: &str, to: &str) -> UdpSocket {
        let socket = self.host.run(|| UdpSocket::bind(own)).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

fn endpoint(place: &Place, publish: &[&str]) -> Endpoint {
    let mappings = |text: &&str| text.parse::<PublishRequest>().unwrap().mappings().collect::<Vec<_>>();
    Endpoint {
        id: Id::from_bytes([7; 32]),
        name: Name::new("web").unwrap(),
        state: EndpointState::Attached,
        sandbox: Sandbox {
            path: place.netns.path().to_owned(),
            key: place.netns.id(),
            birth: place.netns.birth().unwrap(),
        },
        aliases: vec![],
        labels: Default::default(),
        interface: Some(Interface {
            port: PortId(1),
            ifname: IfName::eth(0),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            addresses: ["10.77.0.2/24", "fd77::2/64"].map(|net| net.parse::<IpNet>().unwrap()).to_vec(),
            gateways: vec![],
            routes: vec![],
        }),
        ports: publish.iter().flat_map(mappings).collect(),
        created: SystemTime::now(),
    }
}

fn ask(client: &UdpSocket, text: &str) -> String {
    client.send(text.as_bytes()).unwrap();
    let mut answer = [0; 2_048];
    let len = client.recv(&mut answer).unwrap();
    String::from_utf8(answer[..len].to_vec()).unwrap()
}

/// What is left to read, or how it broke.
fn rest(mut stream: TcpStream) -> Result<String, ErrorKind> {
    let mut text = String::new();
    stream.read_to_string(&mut text).map(|_| text).map_err(|error| error.kind())
}

#[test]
fn the_host_reaches_the_endpoint_by_loopback_and_its_own_addresses_and_may_close_one_half() {
    let lab = Lab::new(&["8080:80"]);
    for (inside, outside) in [
        ("10.77.0.2:80", "127.0.0.1:8080"),
        ("10.77.0.2:80", "192.0.2.1:8080"),
        ("[fd77::2]:80", "[::1]:8080"),
        ("[fd77::2]:80", "[2001:db8::1]:8080"),
    ] {
        let listener = lab.listen(inside);
        let server = thread::spawn(move || {
            let (mut stream, from) = listener.accept().unwrap();
            let mut question = String::new();
            stream.read_to_string(&mut question).unwrap();
            stream.write_all(format!("{question}, {}", from.ip()).as_bytes()).unwrap();
        });
        let mut client = lab.dial(outside);
        let long = "question ".repeat(50_000);
        client.write_all(long.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (address, _) = inside.rsplit_once(':').unwrap();
        let expected = format!("{long}, {}", address.trim_matches(['[', ']']));
        assert!(rest(client).unwrap() == expected, "{outside}");
        server.join().unwrap();
    }
}

#[test]
fn the_other_half_may_be_closed_first_too() {
    let lab = Lab::new(&["127.0.0.1:8080:80"]);
    let listener = lab.listen("10.77.0.2:80");
    let mut client = lab.dial("127.0.0.1:8080");
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"all").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(client.try_clone().unwrap()).unwrap(), "all");
    client.write_all(b"thanks").unwrap();
    drop(client);
    assert_eq!(rest(server).unwrap(), "thanks");
}

#[test]
fn datagrams_go_both_ways_and_each_client_has_its_own_answers() {
    let lab = Lab::new(&["5353:53/udp"]);
    for (inside, own, outside) in
        [("10.77.0.2:53", "127.0.0.1:0", "127.0.0.1:5353"), ("[fd77::2]:53", "[::]:0", "[2001:db8::1]:5353")]
    {
        let echo = lab.echo(inside);
        let clients = [lab.client(own, outside), lab.client(own, outside)];
        for text in ["one", "two"] {
            assert_eq!(ask(&clients[0], text), format!("{text}!"), "{outside}");
            assert_eq!(ask(&clients[1], &format!("{text} more")), format!("{text} more!"), "{outside}");
        }
        clients[0].send(b"").unwrap();
        echo.join().unwrap();
    }
    assert_eq!(lab.publisher.relays(), Relays { open: 4, refused: 0 });
}

#[test]
fn what_breaks_inside_is_reset_outside() {
    let mut lab = Lab::new(&["8080:80", "5353:53/udp"]);
    let broken = |lab: &Lab| rest(lab.dial("127.0.0.1:8080")).unwrap_err();
    assert_eq!(broken(&lab), ErrorKind::ConnectionReset, "nobody listens");
    let listener = lab.listen("10.77.0.2:80");
    let client = lab.dial("127.0.0.1:8080");
    let (server, _) = listener.accept().unwrap();
    socket2::SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
    drop(server);
    assert_eq!(rest(client).unwrap_err(), ErrorKind::ConnectionReset, "the server has broken off");
    drop(listener);
    lab.container = None;
    assert_eq!(broken(&lab), ErrorKind::ConnectionReset, "the namespace is gone");
    lab.container = Some(Place::new(&lab.runtime, &["10.77.0.2/24"]));
    lab.endpoint.sandbox.path = lab.container().netns.path().to_owned();
    lab.publisher.release(lab.endpoint.id);
    lab.reserve(&lab.publisher).unwrap();
    lab.publisher.relay(&lab.endpoint);
    let _listener = lab.listen("10.77.0.2:80");
    assert_eq!(broken(&lab), ErrorKind::ConnectionReset, "the path leads to another namespace");
    // It may have the number of the dead one, and be another all the same.
    lab.endpoint.sandbox.key = lab.container().netns.id();
    lab.publisher.release(lab.endpoint.id);
    lab.reserve(&lab.publisher).unwrap();
    lab.publisher.relay(&lab.endpoint);
    assert_eq!(broken(&lab), ErrorKind::ConnectionReset, "another one with the same number");
}

#[test]
fn a_udp_client_that_was_refused_is_heard_when_somebody_listens() {
    let lab = Lab::new(&["5353:53/udp"]);
    let client = lab.client("127.0.0.1:0", "127.0.0.1:5353");
    client.send(b"early").unwrap();
    let echo = lab.echo("10.77.0.2:53");
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut answer = [0; 64];
    let heard = std::iter::repeat_with(|| {
        client.send(b"late").unwrap();
        client.recv(&mut answer)
    });
    assert!(heard.take(400).any(|answer| answer.is_ok()));
    client.send(b"").unwrap();
    echo.join().unwrap();
}

#[test]
fn what_is_released_is_free_at_once_and_what_was_open_ends() {
    let lab = Lab::new(&["8080:80", "5353:53/udp"]);
    let (listener, echo) = (lab.listen("10.77.0.2:80"), lab.echo("10.77.0.2:53"));
    for round in 0..20 {
        let client = lab.dial("127.0.0.1:8080");
        let (_server, _) = listener.accept().unwrap();
        let udp = lab.client("127.0.0.1:0", "127.0.0.1:5353");
        assert_eq!(ask(&udp, "x"), "x!", "{round}");
        lab.publisher.release(lab.endpoint.id);
        assert_eq!(rest(client), Ok(String::new()), "{round}");
        lab.host.run(|| UdpSocket::bind("0.0.0.0:5353").map(drop)).unwrap();
        lab.reserve(&lab.publisher).unwrap_or_else(|error| panic!("{round}: {error}"));
        lab.publisher.relay(&lab.endpoint);
    }
    lab.client("127.0.0.1:0", "127.0.0.1:5353").send(b"").unwrap();
    echo.join().unwrap();
    lab.publisher.release(lab.endpoint.id);
    lab.publisher.release(lab.endpoint.id);
}

#[test]
fn a_taken_port_is_refused_with_its_owner_and_a_strange_address_by_name() {
    let mut lab = Lab::new(&[]);
    let _owner = lab.host.run(|| TcpListener::bind("192.0.2.1:8080")).unwrap();
    lab.endpoint = endpoint(lab.container(), &["8081:80", "8080:80"]);
    let problem = Problem::from(lab.reserve(&lab.publisher).unwrap_err());
    let expected = format!("(pid {})", std::process::id());
    assert!(problem.message.contains("*:8080/tcp is taken by '"), "{problem}");
    assert!(problem.message.ends_with(&expected), "{problem}");
    assert_eq!(problem.code.exit(), 4);
    lab.publisher.release(lab.endpoint.id);
    lab.host.run(|| TcpListener::bind("0.0.0.0:8081").map(drop)).unwrap();
    lab.endpoint = endpoint(lab.container(), &["203.0.113.9:80:80"]);
    let problem = Problem::from(lab.reserve(&lab.publisher).unwrap_err());
    assert_eq!((problem.message.as_str(), problem.code.exit()), ("the host has no address 203.0.113.9", 2));
}

#[test]
fn the_next_daemon_takes_over_what_was_handed_on() {
    let lab = Lab::new(&["8080:80", "5353:53/udp"]);
    lab.publisher.release(lab.endpoint.id);
    let former = Publisher::new(lab.runtime.handle().clone());
    let handed_on = lab.reserve(&former).unwrap();
    assert_eq!(handed_on.len(), 4);
    assert_eq!(former.release(lab.endpoint.id).len(), 4);
    let next = Publisher::new(lab.runtime.handle().clone());
    assert!(matches!(lab.reserve(&next), Err(PublishFailure::Taken { .. })), "they are still reserved");
    next.release(lab.endpoint.id);
    next.inherit(handed_on);
    lab.reserve(&next).unwrap();
    assert_eq!(next.disinherit(), [], "all of it was wanted");
    next.relay(&lab.endpoint);
    let listener = lab.listen("10.77.0.2:80");
    let mut client = lab.dial("127.0.0.1:8080");
    client.write_all(b"x").unwrap();
    let (server, _) = listener.accept().unwrap();
    drop(client);
    assert_eq!(rest(server).unwrap(), "x");
    next.release(lab.endpoint.id);
}

#[test]
fn one_connection_too_many_is_reset_and_counted() {
    let lab = Lab::with(&["8080:80"], 2);
    let listener = lab.listen("10.77.0.2:80");
    let mut open = Vec::from([1, 2].map(|_| (lab.dial("127.0.0.1:8080"), listener.accept().unwrap().0)));
    assert_eq!(rest(lab.dial("127.0.0.1:8080")).unwrap_err(), ErrorKind::ConnectionReset);
    assert_eq!(lab.publisher.relays(), Relays { open: 2, refused: 1 });
    let (client, server) = open.pop().unwrap();
    drop(client);
    assert_eq!(rest(server).unwrap(), "");
    let again = std::iter::repeat_with(|| {
        let client = lab.dial("127.0.0.1:8080");
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        rest(client).unwrap_err()
    });
    assert!(again.take(200).any(|error| error != ErrorKind::ConnectionReset), "the slot is free again");
}

#[test]
fn the_idlest_udp_client_makes_room() {
    let lab = Lab::with(&["5353:53/udp"], 1);
    let echo = lab.echo("10.77.0.2:53");
    let clients = [1, 2, 3].map(|_| lab.client("127.0.0.1:0", "127.0.0.1:5353"));
    for client in clients.iter().chain(&clients) {
        assert_eq!(ask(client, "x"), "x!");
        assert_eq!(lab.publisher.relays().open, 1);
    }
    clients[0].send(b"").unwrap();
    echo.join().unwrap();
    assert_eq!(lab.publisher.relays().refused, 0);
}
