//! Real sockets on the loopback interface, where everything comes by loopback.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::SockRef;

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

/// A test's own loopback address, so that tests can run side by side.
fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 47, 90, last).into()
}

#[test]
fn a_reserved_port_is_nobody_elses() {
    let address = loopback(1);
    for transport in [Transport::Tcp, Transport::Udp] {
        for admit in [Admit::Nothing, Admit::Loopback] {
            let ours = Reserved::open(transport, address, 0, admit).unwrap();
            let port = ours.local().port();
            let taken = |on| Reserved::open(transport, on, port, Admit::Loopback).unwrap_err();
            for on in [address, Ipv4Addr::UNSPECIFIED.into()] {
                let error = taken(on);
                assert!(matches!(error, ReserveError::InUse { port: p, .. } if p == port), "{error}");
                assert!(error.to_string().contains(&format!("{transport} port {port} on {on}")), "{error}");
            }
            let other = Reserved::from_descriptor(ours.try_clone().unwrap().into());
            drop(ours);
            taken(address);
            assert_eq!(other.local(), SocketAddr::new(address, port));
            drop(other);
            Reserved::open(transport, address, port, admit).unwrap();
        }
    }
}

#[test]
fn what_the_host_uses_is_in_use_whoever_bound_it() {
    let tcp = TcpListener::bind((loopback(2), 0)).unwrap();
    let udp = UdpSocket::bind((loopback(2), 0)).unwrap();
    for (transport, port) in [
        (Transport::Tcp, tcp.local_addr().unwrap().port()),
        (Transport::Udp, udp.local_addr().unwrap().port()),
    ] {
        for admit in [Admit::Nothing, Admit::Loopback] {
            let error = Reserved::open(transport, loopback(2), port, admit).unwrap_err();
            assert!(matches!(error, ReserveError::InUse { .. }), "{error}");
        }
    }
    let error = Reserved::open(Transport::Udp, [203, 0, 113, 9].into(), 0, Admit::Nothing).unwrap_err();
    assert!(matches!(error, ReserveError::NotLocal(_)), "{error}");
}

#[test]
fn the_kernel_answers_nothing_where_nothing_is_admitted() {
    let udp = Reserved::open(Transport::Udp, loopback(3), 0, Admit::Nothing).unwrap();
    let mouth = UdpSocket::bind((loopback(3), 0)).unwrap();
    mouth.connect(udp.local()).unwrap();
    mouth.send(b"hello").unwrap();
    // The answer of a port that nobody has would be there at once.
    mouth.send(b"hello again").unwrap();
    mouth.set_nonblocking(true).unwrap();
    assert_eq!(mouth.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let tcp = Reserved::open(Transport::Tcp, loopback(3), 0, Admit::Nothing).unwrap();
    let error = TcpStream::connect_timeout(&tcp.local(), Duration::from_millis(100)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "neither accepted nor refused: {error}");
}

#[test]
fn what_comes_by_loopback_is_admitted_where_it_is() {
    let tcp = Reserved::open(Transport::Tcp, loopback(4), 0, Admit::Loopback).unwrap();
    let mut client = TcpStream::connect_timeout(&tcp.local(), PATIENCE).unwrap();
    let listener = TcpListener::from(OwnedFd::from(tcp));
    listener.set_nonblocking(false).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"hello").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = [0; 5];
    server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");

    let udp = Reserved::open(Transport::Udp, loopback(4), 0, Admit::Loopback).unwrap();
    let mouth = UdpSocket::bind((loopback(4), 0)).unwrap();
    mouth.send_to(b"hello", udp.local()).unwrap();
    let ears = UdpSocket::from(OwnedFd::from(udp));
    ears.set_nonblocking(false).unwrap();
    ears.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(ears.recv(&mut [0; 8]).unwrap(), 5);
}

#[test]
fn nothing_is_let_in_with_a_shared_program_and_without_one() {
    let shared = bpf::nothing().expect("the tests run as root");
    for program in [Some(&shared), None] {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), None).unwrap();
        socket.bind(&SocketAddr::new(loopback(7), 0).into()).unwrap();
        let socket = UdpSocket::from(socket);
        let mouth = UdpSocket::bind((loopback(7), 0)).unwrap();
        let to = socket.local_addr().unwrap();
        let says = || mouth.send_to(b"x", to).unwrap();
        // What is sent by loopback is there when the call returns.
        says();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1);
        Admit::Nothing.guard(&SockRef::from(&socket), program).unwrap();
        says();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}
