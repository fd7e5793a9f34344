//! What monitoring asks of a daemon, over TCP: is it alive, is it ready, what has it counted.
//!
//! ```text
//! GET /healthz   200 while the process answers
//! GET /readyz    200 when everything is up, else 503; what is amiss, a line each
//! GET /metrics   OpenMetrics text: weft_packets_total, weft_drops_total{reason}, weft_fdb_entries{network}, ...
//! ```
//!
//! Numbers are read when they are asked for ([`reading`]) and cost the packet path nothing. Labels are `network`, `reason`,
//! `mode`, `process`, `version` and `call` (of Docker's plugin), all of which are few: never a MAC or IP address, nor an endpoint.
//!
//! It is not the API: nothing can be changed here, so it may listen where the socket's credentials do not reach. The
//! default is the loopback address. A port that cannot be had does not stop the daemon: it is told in the log and in
//! `weft status`, and tried again every [`RETRY`].
//!
//! Limits: [`CONNECTIONS_MAX`] connections, [`HEADER_TIMEOUT`] for the header of a request, [`UNREAD_TIMEOUT`] until the
//! client reads on.

mod process;
mod reading;
mod server;

use std::time::Duration;

pub use reading::{Reading, text};
pub use server::run;

/// How many connections are served at a time.
pub const CONNECTIONS_MAX: usize = 16;

/// How long a client may take to write the header of a request.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may leave an answer unread.
pub const UNREAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait before a port that could not be had is tried again.
pub const RETRY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
