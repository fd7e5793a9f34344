//! Where relays lead: an address inside a namespace.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use crate::model::Sandbox;
use crate::sandbox::Netns;

/// An endpoint's address and port.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) sandbox: Sandbox,
    pub(super) address: SocketAddr,
}

impl Target {
    /// A connection to it.
    ///
    /// # Errors
    /// The kernel's; `NotFound` when the namespace is another one or gone.
    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        let socket = self.socket(Type::STREAM).await?;
        TcpSocket::from_std_stream(socket.into()).connect(self.address).await
    }

    /// A socket that speaks to it only.
    ///
    /// # Errors
    /// As [`Target::connect`].
    pub(super) async fn socket_to(&self) -> io::Result<UdpSocket> {
        let socket = self.socket(Type::DGRAM).await?;
        socket.connect(&self.address.into())?;
        UdpSocket::from_std(socket.into())
    }

    /// A socket inside the namespace, on a thread that may enter it. Bound to the endpoint's address, which the kernel
    /// would choose anyhow, so that there is none in a namespace that has not this address.
    async fn socket(&self, kind: Type) -> io::Result<Socket> {
        let Self { sandbox, address } = self.clone();
        let open = move || {
            let netns = Netns::open(&sandbox.path).map_err(io::Error::other)?;
            if netns.id() != sandbox.key {
                return Err(io::ErrorKind::NotFound.into());
            }
            let inside = || {
                let socket = Socket::new(Domain::for_address(address), kind.nonblocking().cloexec(), None)?;
                // The number of a dead namespace is given to another.
                if !sandbox.birth.is_of(&socket)? {
                    return Err(io::ErrorKind::NotFound.into());
                }
                socket.bind(&SocketAddr::new(address.ip(), 0).into())?;
                Ok(socket)
            };
            netns.run(inside).map_err(io::Error::other)?
        };
        tokio::task::spawn_blocking(open).await.map_err(io::Error::other)?
    }
}
