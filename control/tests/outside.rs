//! Packet sockets, raw sockets and reserved ports on a wire between two namespaces. Needs root; elsewhere each test says
//! that it was skipped.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too")]

mod support;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use ipnet::IpNet;
use netlink_packet_route::link::LinkAttribute;
use rtnetlink::LinkUnspec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use weft::sandbox::topology::{VethEnd, veth_pair};
use weft::sandbox::{Link, Netns};
use weft_dataplane::io::filter::Interest;
use weft_dataplane::io::packet::PacketSocket;
use weft_dataplane::io::raw::RawSockets;
use weft_dataplane::io::reserve::{Admit, Reserved, Transport};
use weft_dataplane::io::{FRAME_MAX, FrameIo, PacketIo, Received};
use weft_dataplane::offload::{Checksum, Gso, GsoKind, Offload};
use weft_dataplane::verdict::DropReason;
use weft_dataplane::wire::checksum::{Sum, checksum};
use weft_dataplane::wire::{MacAddr, ethernet, ipv4, protocol, tcp};

use support::{rtnetlink_in, skipped};

const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
/// How long an answer that must not come is waited for; one that does come takes microseconds.
const SILENCE: Duration = Duration::from_millis(200);

const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const TUNNEL: u16 = 4_789;
const LENT: u16 = 32_768;
const PORT: u16 = 50_000;

/// One end of the wire.
struct End {
    netns: Netns,
    link: Link,
    index: u32,
    mac: MacAddr,
    address: IpAddr,
}

/// A host and a peer with `w` between them, up, with both IP versions.
async fn wire() -> (End, End) {
    let (host, peer) = (Netns::nameless().unwrap(), Netns::nameless().unwrap());
    let [a, b] = [&host, &peer].map(|netns| VethEnd { netns, ifname: "w" });
    veth_pair(&host.link().unwrap(), a, b, 1500).await.unwrap();
    let host = end(host, HOST, HOST6).await;
    let peer = end(peer, PEER, PEER6).await;
    for end in [&host, &peer] {
        end.link.until_running("w").await.unwrap();
    }
    (host, peer)
}

async fn end(netns: Netns, v4: Ipv4Addr, v6: Ipv6Addr) -> End {
    let link = netns.link().unwrap();
    let index = link.index_of("w").await.unwrap();
    link.up(link.index_of("lo").await.unwrap()).await.unwrap();
    link.up(index).await.unwrap();
    link.add_address(index, IpNet::new_assert(v4.into(), 24)).await.unwrap();
    link.add_address(index, IpNet::new_assert(v6.into(), 64)).await.unwrap();
    let message = link.get_link("w").await.unwrap().unwrap();
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok().map(MacAddr),
        _ => None,
    });
    End { netns, link, index, mac: mac.unwrap(), address: v4.into() }
}

impl End {
    fn interest(&self) -> Interest {
        Interest {
            addresses: vec![self.address],
            routed: Vec::new(),
            published: vec![(protocol::TCP, 80)],
            lent_from: LENT,
            tunnel_port: TUNNEL,
        }
    }

    fn packets(&self) -> PacketSocket {
        self.netns.run(|| PacketSocket::open(self.index, &self.interest()).unwrap()).unwrap()
    }

    fn reserve(&self, transport: Transport, admit: Admit) -> Reserved {
        self.netns.run(|| Reserved::open(transport, self.address, PORT, admit).unwrap()).unwrap()
    }

    fn udp(&self) -> UdpSocket {
        let socket = self.netns.run(|| UdpSocket::bind((self.address, 0)).unwrap()).unwrap();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        socket
    }

    fn connect(&self, to: SocketAddr) -> Result<TcpStream, ErrorKind> {
        self.netns.run(|| TcpStream::connect_timeout(&to, SILENCE).map_err(|e| e.kind())).unwrap()
    }
}

/// The next frame.
fn take(socket: &mut PacketSocket) -> (Vec<u8>, Received) {
    let mut buffer = vec![0; FRAME_MAX];
    loop {
        let descriptor = FrameIo::descriptor(socket).unwrap();
        let mut ready = [PollFd::new(&descriptor, PollFlags::IN)];
        assert_eq!(poll(&mut ready, Some(&PATIENCE)), Ok(1), "a frame within five seconds");
        if let Some(received) = socket.recv(&mut buffer).unwrap() {
            buffer.truncate(received.len);
            return (buffer, received);
        }
    }
}

fn is_silent(socket: &mut PacketSocket) -> bool {
    socket.recv(&mut vec![0; FRAME_MAX]).unwrap().is_none()
}

/// The destination port of a frame without IP options.
fn port_of(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[36], frame[37]])
}

const HEADERS: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN + tcp::HEADER_LEN;

/// A TCP segment of `payload` bytes from host to peer, with its checksum still to be computed.
fn segment(host: &End, peer: &End, payload: usize) -> (Vec<u8>, Checksum) {
    let segment_len = tcp::HEADER_LEN + payload;
    let mut frame = [&peer.mac.0[..], &host.mac.0, &[8, 0]].concat();
    let mut ip = [0; ipv4::HEADER_LEN];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&((ipv4::HEADER_LEN + segment_len) as u16).to_be_bytes());
    (ip[8], ip[9]) = (64, protocol::TCP);
    ip[12..16].copy_from_slice(&HOST.octets());
    ip[16..20].copy_from_slice(&PEER.octets());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(ip);
    let mut header = [0; tcp::HEADER_LEN];
    header[..4].copy_from_slice(&[0xc0, 0, (PORT >> 8) as u8, PORT as u8]);
    (header[12], header[13], header[14]) = (0x50, 0x10, 0xff);
    let pseudo = Sum::pseudo_v4(HOST, PEER, protocol::TCP, segment_len).fold();
    header[16..18].copy_from_slice(&pseudo.to_be_bytes());
    frame.extend(header);
    frame.extend((0..payload).map(|at| (at ^ at >> 8) as u8));
    let start = (ethernet::HEADER_LEN + ipv4::HEADER_LEN) as u16;
    (frame, Checksum::Partial { start, offset: 16 })
}

#[tokio::test(flavor = "multi_thread")]
async fn super_frames_cross_whole_and_what_is_too_long_is_refused() {
    if skipped() {
        return;
    }
    let (host, peer) = wire().await;
    let _silent = peer.reserve(Transport::Tcp, Admit::Nothing);
    let mut here = PacketSocket::from_descriptor(host.packets().descriptor().try_clone_to_owned().unwrap());
    let mut there = peer.packets();
    assert_eq!((here.interface(), there.interface()), (Some(host.index), Some(peer.index)));
    let (frame, partial) = segment(&host, &peer, 60_000);
    let gso = Gso { kind: GsoKind::Tcp4, size: 1448, ecn: false, header_len: HEADERS as u16 };
    let offload = Offload { checksum: partial, gso: Some(gso) };
    here.send(&frame, offload).unwrap();
    let (arrived, received) = take(&mut there);
    assert_eq!(received.offload, Ok(offload));
    assert!(arrived == frame, "every byte is the same");

    let (longest, partial) = segment(&host, &peer, 1460);
    here.send(&longest, Offload { checksum: partial, gso: None }).unwrap();
    assert!(take(&mut there).0[HEADERS..] == longest[HEADERS..]);
    let (longer, partial) = segment(&host, &peer, 1461);
    assert_eq!(here.send(&longer, Offload { checksum: partial, gso: None }), Err(DropReason::UplinkMtu));
    assert!(is_silent(&mut here), "what this host sends is not shown to it");
    assert!(is_silent(&mut there));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_lets_through_what_is_wanted_and_can_be_replaced() {
    if skipped() {
        return;
    }
    let (host, peer) = wire().await;
    let mut packets = host.packets();
    let clone = packets.try_clone().unwrap();
    let mouth = peer.udp();
    let mut heard = |ports: &[u16]| {
        for port in ports.iter().chain(&[u16::MAX]) {
            mouth.send_to(b"hello", (HOST, *port)).unwrap();
        }
        let ports = std::iter::repeat_with(|| port_of(&take(&mut packets).0));
        ports.take_while(|port| *port != u16::MAX).collect::<Vec<_>>()
    };
    assert_eq!(heard(&[TUNNEL, 53, 80, LENT - 1, LENT]), [LENT]);
    // By way of another descriptor, as control does.
    clone.set_interest(&Interest { published: vec![(protocol::UDP, 53)], ..host.interest() }).unwrap();
    assert_eq!(heard(&[TUNNEL, 53, 80, LENT - 1, LENT]), [53, LENT]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_is_silent_about_a_reserved_port_and_the_packet_is_seen() {
    if skipped() {
        return;
    }
    let (host, peer) = wire().await;
    let mut packets = host.packets();
    let to = SocketAddr::new(host.address, PORT);
    let tcp = host.reserve(Transport::Tcp, Admit::Nothing);
    assert_eq!(peer.connect(to).unwrap_err(), ErrorKind::TimedOut, "neither accepted nor refused");
    let (syn, _) = take(&mut packets);
    assert_eq!((syn[23], port_of(&syn)), (protocol::TCP, PORT));
    drop(tcp);
    assert_eq!(peer.connect(to).unwrap_err(), ErrorKind::ConnectionRefused, "the kernel answers again");

    let udp = host.reserve(Transport::Udp, Admit::Nothing);
    let mouth = peer.udp();
    mouth.connect(to).unwrap();
    mouth.send(b"hello").unwrap();
    let heard = std::iter::repeat_with(|| take(&mut packets).0).find(|frame| frame[23] == protocol::UDP);
    assert_eq!(port_of(&heard.unwrap()), PORT);
    assert_eq!(mouth.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock, "no answer");
    drop(udp);
    mouth.send(b"hello").unwrap();
    assert_eq!(mouth.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_port_is_open_to_the_host_itself_and_to_nobody_else() {
    if skipped() {
        return;
    }
    let (host, peer) = wire().await;
    let to = SocketAddr::new(host.address, PORT);
    let tcp = host.reserve(Transport::Tcp, Admit::Loopback);
    assert_eq!(peer.connect(to).unwrap_err(), ErrorKind::TimedOut);
    let client = host.connect(to).unwrap();
    let listener = TcpListener::from(OwnedFd::from(tcp));
    let (_, from) = listener.accept().unwrap();
    assert_eq!(from, client.local_addr().unwrap(), "and not the other one");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);

    let udp = UdpSocket::from(OwnedFd::from(host.reserve(Transport::Udp, Admit::Loopback)));
    peer.udp().send_to(b"from outside", to).unwrap();
    host.udp().send_to(b"from here", to).unwrap();
    let mut datagram = [0; 16];
    let len = udp.recv(&mut datagram).unwrap();
    assert_eq!(&datagram[..len], b"from here");
    assert_eq!(udp.recv(&mut datagram).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_down_works_again_and_one_that_was_deleted_does_not() {
    if skipped() {
        return;
    }
    let (host, peer) = wire().await;
    let (mut here, mut there) = (host.packets(), peer.packets());
    let (frame, partial) = segment(&host, &peer, 100);
    let send = |here: &mut PacketSocket| here.send(&frame, Offload { checksum: partial, gso: None });
    let down = LinkUnspec::new_with_index(host.index).down().build();
    host.link.set(|| "take down w".into(), down).await.unwrap();
    assert!(is_silent(&mut here), "which is not its end");
    assert_eq!(send(&mut here), Err(DropReason::UplinkDown));
    host.link.up(host.index).await.unwrap();
    host.link.until_running("w").await.unwrap();
    send(&mut here).unwrap();
    assert_eq!(port_of(&take(&mut there).0), PORT);

    // The far end of a veth pair goes with this one.
    rtnetlink_in(&host.netns).link().del(host.index).execute().await.unwrap();
    for (socket, end) in [(&mut here, &host), (&mut there, &peer)] {
        while end.link.get_link("w").await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(socket.interface(), None);
        assert_eq!(send(socket), Err(DropReason::UplinkDown));
        assert!(socket.recv(&mut vec![0; FRAME_MAX]).is_err(), "there will be nothing more");
    }
    let error = host.netns.run(|| PacketSocket::open(host.index, &host.interest()).unwrap_err()).unwrap();
    assert!(error.to_string().contains(&format!("interface {}", host.index)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_routes_and_resolves_what_is_sent_raw() {
    if skipped() {
        return;
    }
    let (host, mut peer) = wire().await;
    let raw = host.netns.run(|| RawSockets::open(host.index).unwrap()).unwrap();
    let descriptors = raw.descriptors().iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    let mut raw = RawSockets::from_descriptors(descriptors).unwrap();
    for (from, to) in [(HOST.into(), PEER.into()), (HOST6.into(), IpAddr::from(PEER6))] {
        peer.address = to;
        let ears = peer.udp();
        ears.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let packet = datagram(from, to, ears.local_addr().unwrap().port(), 1400);
        raw.send(&packet).unwrap();
        let mut heard = [0; 2000];
        let (len, sender) = ears.recv_from(&mut heard).unwrap();
        assert_eq!(
            (len, sender),
            (1400, SocketAddr::new(from, 61_000)),
            "although nobody had asked for its MAC"
        );
        assert_eq!(raw.send(&datagram(from, to, 7, 1500)), Err(DropReason::UplinkMtu));
    }
    let nowhere = datagram(HOST6.into(), "2001:db8:f::9".parse().unwrap(), 7, 10);
    assert_eq!(raw.send(&nowhere), Err(DropReason::UplinkRefused));
    assert_eq!(raw.send(&[0x00; 40]), Err(DropReason::Malformed));
}

/// A datagram from port 61000.
fn datagram(from: IpAddr, to: IpAddr, port: u16, payload: usize) -> Vec<u8> {
    let len = 8 + payload;
    let header = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => header_v4(from, to, len),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let fixed = [0x60, 0, 0, 0, (len >> 8) as u8, len as u8, protocol::UDP, 64];
            [&fixed[..], &from.octets(), &to.octets()].concat()
        }
        _ => unreachable!("both are of one family"),
    };
    let mut udp =
        [&61_000_u16.to_be_bytes()[..], &port.to_be_bytes(), &(len as u16).to_be_bytes(), &[0, 0]].concat();
    udp.resize(len, 7);
    let pseudo = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Sum::pseudo_v4(from, to, protocol::UDP, len),
        (IpAddr::V6(from), IpAddr::V6(to)) => Sum::pseudo_v6(from, to, protocol::UDP, len),
        _ => unreachable!("both are of one family"),
    };
    let sum = pseudo.add(&udp).finish();
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    [header, udp].concat()
}

fn header_v4(from: Ipv4Addr, to: Ipv4Addr, len: usize) -> Vec<u8> {
    let total = ((ipv4::HEADER_LEN + len) as u16).to_be_bytes();
    let mut header = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, protocol::UDP, 0, 0];
    header.extend(from.octets());
    header.extend(to.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}
