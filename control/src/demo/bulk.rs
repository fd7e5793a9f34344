//! TCP between two namespaces, with the hash of what left compared to the hash of what arrived.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::error::DemoError;
use super::hash::Hasher;
use super::socket;
use crate::sandbox::Netns;

/// A bulk transfer ends after so many bytes ...
const MAX_BYTES: u64 = 1 << 30;
/// ... or when the sender has been at it for so long, whichever comes first.
const MAX_TIME: Duration = Duration::from_secs(1);
/// A transfer that is not through by then has stalled.
const STALLED: Duration = Duration::from_secs(15);
/// Bytes per write and per read: a few super-frames.
const BLOCK: usize = 256 * 1024;

/// From where to where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    pub(super) from: &'a Netns,
    pub(super) to: &'a Netns,
    /// Where the receiver listens; port 0: at any.
    pub(super) listen: SocketAddrV4,
    /// What the sender connects to, if that is something else.
    pub(super) dial: Option<SocketAddrV4>,
}

impl<'a> Way<'a> {
    /// To an address of the receiver's own.
    pub(super) fn direct(from: &'a Netns, to: &'a Netns, address: Ipv4Addr) -> Self {
        Self { from, to, listen: SocketAddrV4::new(address, 0), dial: None }
    }
}

/// One transfer that arrived as it left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
    pub(super) hash: u64,
    /// Whom the receiver saw.
    pub(super) seen: SocketAddr,
}

impl Transfer {
    pub(super) fn gigabits_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.elapsed.as_secs_f64() / 1e9
    }
}

/// The volume, the time, and what became of it.
impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gigabytes, seconds) = (self.bytes as f64 / 1e9, self.elapsed.as_secs_f64());
        let (rate, hash) = (self.gigabits_per_second(), self.hash);
        write!(f, "{gigabytes:.2} GB in {seconds:.2} s, {rate:.2} Gb/s, hashes equal ({hash:016x})")
    }
}

/// As much as [`transfer`] is to carry to show its rate: 1 GiB, or a second's worth.
pub(super) async fn bulk(bytes: u64, elapsed: Duration) -> bool {
    bytes < MAX_BYTES && elapsed < MAX_TIME
}

/// Sends one block after the other while `more`, which is told the bytes and the time so far, says so.
///
/// # Errors
/// [`DemoError::Stalled`], [`DemoError::Corrupt`], or a socket's error.
pub(super) async fn transfer(
    way: Way<'_>,
    more: impl AsyncFnMut(u64, Duration) -> bool,
) -> Result<Transfer, DemoError> {
    let listener = socket::tcp_listener(way.to, way.listen)?;
    let own = listener.local_addr().map_err(DemoError::io("ask for the port"))?;
    let target = way.dial.map_or(own, SocketAddr::from);
    let socket = socket::tcp(way.from)?;
    let mut receiver = Receiver(tokio::spawn(receive(listener)));
    let started = Instant::now();
    let both = timeout(STALLED, async {
        let stream = socket.connect(target).await.map_err(DemoError::io(format!("connect to {target}")))?;
        let sent = send(stream, more).await.map_err(DemoError::io(format!("send to {target}")))?;
        let received = (&mut receiver.0).await.unwrap_or_else(|e| Err(e.into()));
        Ok::<_, DemoError>((sent, received.map_err(DemoError::io("receive"))?))
    });
    let stalled = |_| DemoError::Stalled { to: target, seconds: STALLED.as_secs() };
    let (sent, (received, seen)) = both.await.map_err(stalled)??;
    let elapsed = started.elapsed();
    compare(&sent, &received)?;
    Ok(Transfer { bytes: received.bytes(), elapsed, hash: received.finish(), seen })
}

/// The receiving end runs beside the sending one, and ends when nobody waits for it any more.
struct Receiver(JoinHandle<io::Result<(Hasher, SocketAddr)>>);

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn compare(sent: &Hasher, received: &Hasher) -> Result<(), DemoError> {
    if (sent.bytes(), sent.finish()) == (received.bytes(), received.finish()) {
        return Ok(());
    }
    Err(DemoError::Corrupt {
        sent: sent.bytes(),
        sent_hash: sent.finish(),
        received: received.bytes(),
        received_hash: received.finish(),
    })
}

async fn send(mut stream: TcpStream, mut more: impl AsyncFnMut(u64, Duration) -> bool) -> io::Result<Hasher> {
    let mut block = noise(stream.local_addr()?.port());
    let mut hasher = Hasher::new();
    let started = Instant::now();
    while more(hasher.bytes(), started.elapsed()).await {
        // No two blocks are alike, so a block lost, doubled or out of its place shows in the hash.
        block[..8].copy_from_slice(&hasher.bytes().to_le_bytes());
        hasher.update(&block);
        stream.write_all(&block).await?;
    }
    stream.shutdown().await?;
    Ok(hasher)
}

async fn receive(listener: TcpListener) -> io::Result<(Hasher, SocketAddr)> {
    let (mut stream, seen) = listener.accept().await?;
    let mut block = vec![0; BLOCK];
    let mut hasher = Hasher::new();
    loop {
        match stream.read(&mut block).await? {
            0 => return Ok((hasher, seen)),
            length => hasher.update(&block[..length]),
        }
    }
}

/// A block without repetition (xorshift64), so that a piece moved within it shows too; another for each transfer.
fn noise(seed: u16) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(seed);
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(BLOCK / 8).flatten().collect()
}
