//! Published ports as the host itself sees them: taken from everybody else, and answered.
//!
//! ```text
//! another machine > uplink > dataplane: translated to the endpoint; the client's address is preserved. Not here.
//! this host > lo > reserving socket > Publisher: accepted > socket inside the endpoint's namespace > endpoint
//! ```
//!
//! A published port is reserved by a real socket for each family ([`weft_dataplane::io::reserve`]), so that no process can
//! take it and the kernel refuses nobody. Its filter lets in only what comes by the loopback interface, which is what the
//! host sends to one of its own addresses: no packet socket sees that. One proxy, on the daemon's runtime, accepts it and
//! relays to the endpoint, for all ports of all endpoints. The relay's other socket is made inside the endpoint's
//! namespace and bound to the endpoint's address, which is thus the client's address that the endpoint sees.
//!
//! Policy and limits:
//! - A half-closed TCP connection stays half open: each direction ends by itself. A connection that breaks on one side, or
//!   that the endpoint does not take within [`CONNECT_TIMEOUT`], is reset on the other. [`BUFFER`] bytes wait each way.
//! - A UDP client has a socket inside for as long as it is not idle for [`UDP_IDLE`]. A port has at most [`UDP_CLIENTS`];
//!   a further one takes the place of the one that has been idle longest.
//! - [`RELAYS_MAX`] connections and UDP clients of all ports together. A further connection is reset, a further UDP client
//!   takes the place of the idlest of the same port or, if there is none, is not heard. Both are counted.
//! - An answer to a UDP client leaves from the address that the host would choose towards that client: the one it asked,
//!   unless the client has bound itself to yet another address of the host.
//! - A relay keeps the endpoint's namespace alive: that of a dead container goes when the last connection ends, which its
//!   death does at once, or when the UDP clients are idle or next refused.
//!
//! A port that is taken is refused with the process that has it, as far as `/proc` tells ([`owner`]).

mod error;
pub mod owner;
mod target;
mod tcp;
mod udp;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use weft_dataplane::io::reserve::{Admit, ReserveError, Reserved};
use weft_dataplane::runtime::HeldPort;
use weft_dataplane::tables::Transport;

pub use error::PublishFailure;

use crate::model::{Endpoint, Id, PortMapping};
use target::Target;

/// The most connections and UDP clients that are relayed at a time.
pub const RELAYS_MAX: usize = 4_096;

/// The most clients of one UDP port.
pub const UDP_CLIENTS: usize = 1_024;

/// How long a UDP client is remembered that neither sends nor is answered.
pub const UDP_IDLE: Duration = Duration::from_secs(60);

/// How long an endpoint may take to accept a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a relay holds in each direction, in bytes.
pub const BUFFER: usize = 16 << 10;

/// Reserves ports of the host for endpoints, and relays what the host sends to them. Not to be used on a thread of its
/// runtime: it waits for what runs there.
#[derive(Debug)]
pub struct Publisher {
    runtime: Handle,
    holdings: Mutex<HashMap<Id, Holding>>,
    /// Reserved ports that an earlier daemon has left, until somebody wants them.
    inherited: Mutex<HashMap<HeldPort, Reserved>>,
    shared: Arc<Shared>,
}

/// What is relayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relays {
    /// Connections and UDP clients at the moment.
    pub open: u64,
    /// Those that were refused because there were too many.
    pub refused: u64,
}

/// What one endpoint has.
#[derive(Debug, Default)]
struct Holding {
    ports: Vec<Held>,
    relays: JoinSet<()>,
}

#[derive(Debug)]
struct Held {
    port: HeldPort,
    reserved: Reserved,
    /// The endpoint's address and port behind it.
    inside: SocketAddr,
}

/// What all relays share.
#[derive(Debug)]
struct Shared {
    max: usize,
    slots: Arc<Semaphore>,
    refused: AtomicU64,
}

impl Shared {
    fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl Publisher {
    /// Relays on `runtime`.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self::with_slots(runtime, RELAYS_MAX)
    }

    fn with_slots(runtime: Handle, max: usize) -> Self {
        let shared = Shared { max, slots: Arc::new(Semaphore::new(max)), refused: AtomicU64::new(0) };
        let (holdings, inherited) = (Mutex::default(), Mutex::default());
        Self { runtime, holdings, inherited, shared: Arc::new(shared) }
    }

    /// Takes over ports that an earlier daemon has reserved: whoever wants one of them gets it.
    pub fn inherit(&self, reserved: impl IntoIterator<Item = (HeldPort, Reserved)>) {
        lock(&self.inherited).extend(reserved);
    }

    /// Gives back what was inherited and nobody wanted; tells what that was.
    pub fn disinherit(&self) -> Vec<HeldPort> {
        std::mem::take(&mut *lock(&self.inherited)).into_keys().collect()
    }

    /// Reserves one published port of `endpoint`, in the calling thread's network namespace; gives second descriptors of
    /// what that takes, for somebody who is to outlive this daemon.
    ///
    /// # Errors
    /// [`PublishFailure`]; nothing is reserved then.
    pub fn reserve(
        &self,
        endpoint: &Endpoint,
        mapping: &PortMapping,
    ) -> Result<Vec<(HeldPort, Reserved)>, PublishFailure> {
        let mut ports = Vec::new();
        for (outside, inside) in mapping.places(endpoint.addresses().iter().map(ipnet::IpNet::addr)) {
            let (transport, inside) =
                (Transport::from(mapping.protocol), SocketAddr::new(inside, mapping.container));
            let port = HeldPort { address: outside, transport, port: mapping.host };
            match self.take(port) {
                Ok(reserved) => ports.push(Held { port, reserved, inside }),
                // On every address, that is on every one there is.
                Err(error) if mapping.address.is_none() && outside.is_ipv6() && is_without_ipv6(&error) => {}
                Err(ReserveError::InUse { .. }) => {
                    let owner = owner::find(mapping.protocol, outside, mapping.host);
                    return Err(PublishFailure::Taken { mapping: *mapping, owner });
                }
                Err(ReserveError::NotLocal(address)) => return Err(PublishFailure::NotLocal { address }),
                Err(source) => return Err(PublishFailure::Refused { mapping: *mapping, source }),
            }
        }
        let cloned = ports.iter().map(|held| Ok((held.port, held.reserved.try_clone()?)));
        let cloned = cloned.collect::<io::Result<_>>().map_err(|source| PublishFailure::Refused {
            mapping: *mapping,
            source: ReserveError::Io { what: "duplicate its socket", source },
        })?;
        lock(&self.holdings).entry(endpoint.id).or_default().ports.extend(ports);
        Ok(cloned)
    }

    /// Relays to `endpoint` what the host sends to the ports that are reserved for it, until they are released.
    pub fn relay(&self, endpoint: &Endpoint) {
        let mut holdings = lock(&self.holdings);
        let Some(holding) = holdings.get_mut(&endpoint.id).filter(|holding| holding.relays.is_empty()) else {
            return;
        };
        let _inside = self.runtime.enter();
        for held in &holding.ports {
            let target = Target { sandbox: endpoint.sandbox.clone(), address: held.inside };
            if let Err(error) = serve(held, target, &self.shared, &mut holding.relays) {
                let port = held.reserved.local();
                tracing::error!(%error, %port, "a published port does not answer this host itself");
            }
        }
    }

    /// Gives back what is reserved for an endpoint, and tells what that was. What is relayed ends; the ports are free when
    /// this returns, unless somebody has a second descriptor.
    pub fn release(&self, endpoint: Id) -> Vec<HeldPort> {
        let Some(mut holding) = lock(&self.holdings).remove(&endpoint) else { return Vec::new() };
        self.runtime.block_on(holding.relays.shutdown());
        holding.ports.iter().map(|held| held.port).collect()
    }

    /// What is relayed.
    #[must_use]
    pub fn relays(&self) -> Relays {
        let open = self.shared.max - self.shared.slots.available_permits();
        Relays { open: open as u64, refused: self.shared.refused.load(Ordering::Relaxed) }
    }

    fn take(&self, port: HeldPort) -> Result<Reserved, ReserveError> {
        let HeldPort { address, transport, port: number } = port;
        let inherited = lock(&self.inherited).remove(&port);
        inherited.map_or_else(|| Reserved::open(transport, address, number, Admit::Loopback), Ok)
    }
}

/// Answers on a port from now on.
fn serve(held: &Held, target: Target, shared: &Arc<Shared>, relays: &mut JoinSet<()>) -> io::Result<()> {
    let descriptor = OwnedFd::from(held.reserved.try_clone()?);
    match held.port.transport {
        Transport::Tcp => {
            let listener = tokio::net::TcpListener::from_std(TcpListener::from(descriptor))?;
            relays.spawn(tcp::serve(listener, Arc::new(target), Arc::clone(shared)));
        }
        Transport::Udp => {
            let socket = tokio::net::UdpSocket::from_std(UdpSocket::from(descriptor))?;
            relays.spawn(udp::serve(socket, target, Arc::clone(shared)));
        }
    }
    Ok(())
}

/// Whether the reason is that this host has no IPv6.
fn is_without_ipv6(error: &ReserveError) -> bool {
    let ReserveError::Io { source, .. } = error else { return matches!(error, ReserveError::NotLocal(_)) };
    matches!(Errno::from_io_error(source), Some(Errno::AFNOSUPPORT))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is held is changed in single steps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
