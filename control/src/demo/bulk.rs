//! Bulk TCP between containers, with the hash of what left compared to the hash of what arrived.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::error::DemoError;
use super::hash::Hasher;
use super::socket;
use crate::sandbox::Netns;

/// A transfer ends after so many bytes ...
const MAX_BYTES: u64 = 1 << 30;
/// ... or when the sender has been at it for so long, whichever comes first.
const MAX_TIME: Duration = Duration::from_secs(3);
/// A transfer that is not through by then has stalled.
const STALLED: Duration = Duration::from_secs(15);
/// Bytes per write and per read: a few super-frames.
const BLOCK: usize = 256 * 1024;

/// One transfer that arrived as it left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
    pub(super) hash: u64,
}

impl Transfer {
    pub(super) fn gigabits_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.elapsed.as_secs_f64() / 1e9
    }
}

/// Sends up to 1 GiB or three seconds' worth from one container to another.
///
/// # Errors
/// [`DemoError::Stalled`], [`DemoError::Corrupt`], or a socket's error.
pub(super) async fn transfer(from: &Netns, to: &Netns, address: Ipv4Addr) -> Result<Transfer, DemoError> {
    let listener = socket::tcp_listener(to, address)?;
    let target = listener.local_addr().map_err(DemoError::io("ask for the port"))?;
    let socket = socket::tcp(from)?;
    let mut receiver = Receiver(tokio::spawn(receive(listener)));
    let started = Instant::now();
    let both = timeout(STALLED, async {
        let stream = socket.connect(target).await.map_err(DemoError::io(format!("connect to {target}")))?;
        let sent = send(stream).await.map_err(DemoError::io(format!("send to {target}")))?;
        let received = (&mut receiver.0).await.unwrap_or_else(|e| Err(e.into()));
        Ok::<_, DemoError>((sent, received.map_err(DemoError::io("receive"))?))
    });
    let stalled = |_| DemoError::Stalled { to: address, seconds: STALLED.as_secs() };
    let (sent, received) = both.await.map_err(stalled)??;
    let elapsed = started.elapsed();
    compare(&sent, &received)?;
    Ok(Transfer { bytes: received.bytes(), elapsed, hash: received.finish() })
}

/// The receiving end runs beside the sending one, and ends when nobody waits for it any more.
struct Receiver(JoinHandle<io::Result<Hasher>>);

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

async fn send(mut stream: TcpStream) -> io::Result<Hasher> {
    let mut block = noise(stream.local_addr()?.port());
    let mut hasher = Hasher::new();
    let started = Instant::now();
    while hasher.bytes() < MAX_BYTES && started.elapsed() < MAX_TIME {
        // No two blocks are alike, so a block lost, doubled or out of its place shows in the hash.
        block[..8].copy_from_slice(&hasher.bytes().to_le_bytes());
        hasher.update(&block);
        stream.write_all(&block).await?;
    }
    stream.shutdown().await?;
    Ok(hasher)
}

async fn receive(listener: TcpListener) -> io::Result<Hasher> {
    let (mut stream, _) = listener.accept().await?;
    let mut block = vec![0; BLOCK];
    let mut hasher = Hasher::new();
    loop {
        match stream.read(&mut block).await? {
            0 => return Ok(hasher),
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
