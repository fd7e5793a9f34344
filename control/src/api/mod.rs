//! The daemon's API: HTTP and JSON over a Unix socket, and the client for it.
//!
//! ```text
//! GET    /v1/status                                   Status
//! GET    /v1/stats                                    Stats
//! GET    /v1/nodes                                    [NodeInfo]
//! GET    /v1/openapi.json                             all of this, for programs (OpenAPI 3.1)
//! POST   /v1/prune                                    [NetworkInfo] that had no endpoints, as they were
//! GET    /v1/doctor                                   [Finding]
//! GET    /v1/networks                                 [NetworkInfo]
//! POST   /v1/networks                NetworkRequest   NetworkInfo, 201
//! GET    /v1/networks/{key}                           NetworkInfo
//! DELETE /v1/networks/{key}                           NetworkInfo, as it was
//! POST   /v1/networks/{key}/endpoints EndpointRequest Connected, 201
//! DELETE /v1/networks/{key}/endpoints/{key}           EndpointInfo, as it was
//! GET    /v1/store                                    everything on record, a backup
//! PUT    /v1/store                   a backup         [NetworkInfo]; only where there are no networks yet
//! GET    /v1/endpoints                                [EndpointInfo]
//! GET    /v1/endpoints/{key}                          [EndpointInfo], one for each network
//! GET    /v1/ports                                    [PortInfo]
//! GET    /v1/nat?network=&endpoint=&protocol=         [NatInfo]
//! GET    /v1/fdb?network=                             [FdbEntry]
//! GET    /v1/capture?network=&endpoint=&count=        pcapng, as it comes
//! ```
//!
//! A key is a name, an id, or the first 12 digits of an id. Every refusal is a [`types::Problem`]:
//! `{"code","message","remedy"}`. Requests say exactly what they mean: an unknown field is refused, as is a body of the
//! wrong shape (400) or of more than [`BODY_MAX`] bytes (413; [`EXPORT_MAX`](crate::store::EXPORT_MAX) for a backup).
//!
//! Limits: [`CONNECTIONS_MAX`] connections, further ones wait to be accepted; [`HEADER_TIMEOUT`] for the header of a
//! request, [`BODY_TIMEOUT`] for its body (408), [`UNREAD_TIMEOUT`] until a client reads on. Who is let in may do
//! everything: the socket belongs to root and, where there is one, the group `weft`, and is closed to others; whoever
//! connects all the same is asked for credentials, and every request of a stranger is refused (403).

mod capture;
pub mod client;
mod door;
mod failure;
mod peer;
mod request;
mod routes;
pub mod server;
mod socket;
pub mod types;

use std::time::Duration;

pub use client::{CaptureStream, Client, DEFAULT_HOST, DEFAULT_SOCKET, socket_path};
pub(crate) use door::Guarded;
pub use failure::ClientError;
pub(crate) use peer::Callers;
pub(crate) use request::{RequestError, read as read_body};
pub use server::Server;
pub(crate) use socket::bind_for_root;
pub use socket::{GROUP, SocketError, bind};

/// The largest request body, in bytes: a network with a page of labels.
pub const BODY_MAX: usize = 64 << 10;

/// How many connections are served at a time.
pub const CONNECTIONS_MAX: usize = 128;

/// How long a client may take to write the header of a request.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may leave an answer unread: long enough for somebody who looks at a capture page by page.
pub const UNREAD_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a client may take to write the body of a request.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
