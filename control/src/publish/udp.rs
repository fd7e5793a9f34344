//! UDP: datagrams of the host to a published port, and the answers.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::target::Target;
use super::{Shared, UDP_CLIENTS, UDP_IDLE, lock};

/// The largest datagram, in bytes.
const DATAGRAM: usize = 65_536;

/// How often idle clients are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// How long to wait when nothing can be received.
const PAUSE: Duration = Duration::from_millis(100);

/// Relays datagrams to `target`, and the answers back; what is remembered of clients ends with this.
pub(super) async fn serve(socket: UdpSocket, target: Target, shared: Arc<Shared>) {
    let socket = Arc::new(socket);
    let back =
        Arc::new(Back { socket: Arc::downgrade(&socket), room: Mutex::default(), start: Instant::now() });
    let mut port = Port { socket, back, target, shared, clients: HashMap::new() };
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut datagram = vec![0; DATAGRAM];
    loop {
        tokio::select! {
            received = port.socket.recv_from(&mut datagram) => match received {
                Ok((len, from)) => port.forward(from, &datagram[..len]).await,
                Err(error) => {
                    tracing::debug!(%error, "cannot receive on a published port");
                    sleep(PAUSE).await;
                }
            },
            _ = sweep.tick() => port.forget_idle(),
        }
    }
}

struct Port {
    socket: Arc<UdpSocket>,
    back: Arc<Back>,
    target: Target,
    shared: Arc<Shared>,
    clients: HashMap<SocketAddr, Client>,
}

/// The way back to clients, which all answers share.
struct Back {
    /// Upgraded only while `room` is locked.
    socket: Weak<UdpSocket>,
    room: Mutex<Room>,
    /// The beginning of time.
    start: Instant,
}

/// Room for one datagram.
#[derive(Default)]
struct Room {
    datagram: Vec<u8>,
    /// The port is no more.
    closed: bool,
}

/// One client, for as long as this lives.
struct Client {
    inside: Arc<UdpSocket>,
    life: Arc<Life>,
    answers: AbortHandle,
    _slot: OwnedSemaphorePermit,
}

/// What sending and answering tell each other.
#[derive(Default)]
struct Life {
    /// Milliseconds after [`Back::start`].
    heard: AtomicU64,
    /// Nobody listens inside, or nobody is there.
    refused: AtomicBool,
}

impl Drop for Port {
    /// When this is done nobody else has the socket, or gets it: the port is free as soon as the fields are dropped.
    fn drop(&mut self) {
        lock(&self.back.room).closed = true;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

impl Port {
    async fn forward(&mut self, from: SocketAddr, datagram: &[u8]) {
        if self.clients.get(&from).is_some_and(|client| client.life.refused.load(Ordering::Relaxed)) {
            self.clients.remove(&from);
        }
        if !self.clients.contains_key(&from) {
            match self.open(from).await {
                Ok(Some(client)) => drop(self.clients.insert(from, client)),
                Ok(None) => return self.shared.refuse(),
                Err(error) => {
                    return tracing::debug!(%error, endpoint = %self.target.address, "a datagram is not relayed");
                }
            }
        }
        let Some(client) = self.clients.get(&from) else { return };
        client.life.heard.store(self.now(), Ordering::Relaxed);
        // Past tokio, which does not know yet that a new socket has room. A datagram that finds none is lost, as datagrams
        // are.
        let _ = SockRef::from(&*client.inside).send(datagram);
    }

    /// What is needed for a new client; `None`: there is no room for one.
    async fn open(&mut self, from: SocketAddr) -> io::Result<Option<Client>> {
        if self.clients.len() >= UDP_CLIENTS || self.shared.slots.available_permits() == 0 {
            self.forget_idlest();
        }
        let Ok(slot) = Arc::clone(&self.shared.slots).try_acquire_owned() else { return Ok(None) };
        let inside = Arc::new(self.target.socket_to().await?);
        let life = Arc::new(Life::default());
        let answers = answer(Arc::clone(&inside), Arc::clone(&self.back), from, Arc::clone(&life));
        Ok(Some(Client { inside, life, answers: tokio::spawn(answers).abort_handle(), _slot: slot }))
    }

    fn now(&self) -> u64 {
        self.back.now()
    }

    fn forget_idle(&mut self) {
        let (now, idle) = (self.now(), UDP_IDLE.as_millis() as u64);
        self.clients.retain(|_, client| now.saturating_sub(client.life.heard.load(Ordering::Relaxed)) < idle);
    }

    fn forget_idlest(&mut self) {
        let idlest = self.clients.iter().min_by_key(|(_, client)| client.life.heard.load(Ordering::Relaxed));
        if let Some(from) = idlest.map(|(&from, _)| from) {
            self.clients.remove(&from);
        }
    }
}

impl Back {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Passes on one answer, if there is one; a client that has left, or has no room, does without.
    fn pass(&self, inside: &UdpSocket, to: SocketAddr) -> io::Result<()> {
        let mut room = lock(&self.room);
        if room.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        room.datagram.resize(DATAGRAM, 0);
        let len = inside.try_recv(&mut room.datagram)?;
        if let Some(socket) = self.socket.upgrade() {
            let _ = SockRef::from(&*socket).send_to(&room.datagram[..len], &to.into());
        }
        Ok(())
    }
}

/// Passes answers on, until the endpoint refuses.
async fn answer(inside: Arc<UdpSocket>, back: Arc<Back>, to: SocketAddr, life: Arc<Life>) {
    while inside.readable().await.is_ok() {
        match back.pass(&inside, to) {
            Ok(()) => life.heard.store(back.now(), Ordering::Relaxed),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    life.refused.store(true, Ordering::Relaxed);
}
