//! HTTP connections and their bounds: how many there are, how long one may take to say what it wants and to take the
//! answer, how they end. The API's socket and the metrics' port are both served from here; what is answered is theirs.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};

/// How long to wait after a failed accept: out of descriptors, most likely, so others get time to close theirs.
const RESPITE: Duration = Duration::from_millis(100);

/// Where connections come from.
pub(crate) trait Door: Send + Sync {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and what answers it.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Router)>> + Send;
}

/// The bounds of one door.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How many connections are served at a time; further ones wait in the listener's backlog.
    pub(crate) connections: usize,
    /// How long a client may take to write the header of a request, the first or the next.
    pub(crate) header: Duration,
    /// How long a client may leave an answer unread.
    pub(crate) unread: Duration,
}

/// Serves what comes through `door` until `stop` is done, then closes every connection.
pub(crate) async fn serve(door: impl Door, bounds: Bounds, stop: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(bounds.connections));
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        // Accepted only when there is room.
        let accept = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (door.accept().await, permit)
        };
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            (accepted, permit) = accept => match accepted {
                Ok((stream, router)) => {
                    connections.spawn(async move {
                        converse(stream, router, bounds).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(RESPITE).await;
                }
            }
        }
    }
    connections.shutdown().await;
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router, bounds: Bounds) {
    let stream = Watched { stream, unread: bounds.unread, stalled: None };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// A stream on which a write that makes no progress fails in the end.
struct Watched<S> {
    stream: S,
    unread: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: Unpin> Watched<S> {
    /// What a write came to; an error when that has been nothing for too long.
    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let unread = self.unread;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(unread)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    /// More than a socket holds.
    const LONG: usize = 8 << 20;

    const BOUNDS: Bounds =
        Bounds { connections: 1, header: Duration::from_secs(600), unread: Duration::from_secs(60) };

    async fn asked() -> (UnixStream, UnixStream, Router) {
        let (mut client, server) = UnixStream::pair().unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        (client, server, Router::new().route("/", get(async || vec![b'x'; LONG])))
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_ends_the_connection() {
        tokio::time::pause();
        let (client, server, router) = asked().await;
        let began = tokio::time::Instant::now();
        converse(server, router, BOUNDS).await;
        assert!(began.elapsed() >= BOUNDS.unread && began.elapsed() < BOUNDS.header);
        drop(client);
    }

    #[tokio::test]
    async fn an_answer_that_is_read_is_whole() {
        let (mut client, server, router) = asked().await;
        tokio::spawn(converse(server, router, BOUNDS));
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.len() > LONG && answer.ends_with(b"x"));
    }
}
