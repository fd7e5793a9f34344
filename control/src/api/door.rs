//! A Unix socket at which the caller decides what answers.

use std::io;

use axum::Router;
use tokio::net::{UnixListener, UnixStream};

use super::peer::Callers;
use crate::http::Door;

/// A listening socket, and what is behind it.
#[derive(Debug)]
pub(crate) struct Guarded {
    /// The socket.
    pub(crate) listener: UnixListener,
    /// Who is let in.
    pub(crate) callers: Callers,
    /// What answers them.
    pub(crate) router: Router,
    /// What answers everybody else.
    pub(crate) closed: Router,
}

impl Door for Guarded {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Router)> {
        let (stream, _) = self.listener.accept().await?;
        let router = if self.callers.admit(&stream) { &self.router } else { &self.closed };
        Ok((stream, router.clone()))
    }
}
