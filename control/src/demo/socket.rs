//! Sockets that are opened inside a container and driven from outside it.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};

use super::error::DemoError;
use crate::sandbox::Netns;

/// Runs `open` inside `netns` and names the step in its error.
fn inside<T: Send>(
    netns: &Netns,
    step: &'static str,
    open: impl FnOnce() -> io::Result<T> + Send,
) -> Result<T, DemoError> {
    netns.run(open)?.map_err(DemoError::io(format!("{step} in {netns}")))
}

fn open(domain: Domain, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A UDP socket on any address, which may send broadcasts.
pub(super) fn udp(netns: &Netns, port: u16) -> Result<UdpSocket, DemoError> {
    let socket = inside(netns, "open a UDP socket", || {
        let socket = open(Domain::IPV4, Type::DGRAM, Protocol::UDP)?;
        socket.set_broadcast(true)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
        Ok(socket)
    })?;
    UdpSocket::from_std(socket.into()).map_err(DemoError::io("use a UDP socket"))
}

/// A listener; port 0 is one of the kernel's choice, any other may still have connections that are closing.
pub(super) fn tcp_listener(netns: &Netns, address: SocketAddrV4) -> Result<TcpListener, DemoError> {
    let socket = inside(netns, "listen", || {
        let socket = open(Domain::IPV4, Type::STREAM, Protocol::TCP)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(1)?;
        Ok(socket)
    })?;
    TcpListener::from_std(socket.into()).map_err(DemoError::io("use a listener"))
}

/// A TCP socket, not yet connected.
pub(super) fn tcp(netns: &Netns) -> Result<TcpSocket, DemoError> {
    let socket = inside(netns, "open a TCP socket", || open(Domain::IPV4, Type::STREAM, Protocol::TCP))?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// A raw socket that sends ICMP and hears all ICMP of its namespace.
///
/// It wears tokio's UDP type: sending to and receiving from an address is the same call for every datagram socket, and
/// the safe way to have it driven.
pub(super) struct Icmp(UdpSocket);

impl Icmp {
    pub(super) fn open(netns: &Netns) -> Result<Self, DemoError> {
        let socket = inside(netns, "open a raw socket", || open(Domain::IPV4, Type::RAW, Protocol::ICMPV4))?;
        UdpSocket::from_std(socket.into()).map(Self).map_err(DemoError::io("use a raw socket"))
    }

    /// Sends one ICMP message; the kernel writes the IP header.
    pub(super) async fn send(&self, message: &[u8], to: Ipv4Addr) -> io::Result<()> {
        self.0.send_to(message, (to, 0)).await.map(drop)
    }

    /// Receives one IPv4 packet with an ICMP message in it, and returns its length.
    pub(super) async fn receive(&self, packet: &mut [u8]) -> io::Result<usize> {
        self.0.recv(packet).await
    }
}
