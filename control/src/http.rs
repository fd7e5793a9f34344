//! HTTP connections and their bounds: how many there are, how long one may take to say what it wants, how they end. The
//! API's socket and the metrics' port are both served from here; what is answered is theirs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

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
                        converse(stream, router, bounds.header).await;
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

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router, header: Duration) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended badly");
    }
}
