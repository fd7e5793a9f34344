//! What the lab says to an agent, and the other way round: one JSON object a line.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::measure::cpu::Usage;

/// One end of TCP connections.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum End {
    /// It listens there, on a port of the kernel's choice if that is 0, and says so with an [`Answer::Ready`] first.
    Listen(SocketAddrV4),
    /// It connects to the one who does.
    Connect(SocketAddrV4),
}

/// What an agent is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Receive on so many streams, and measure. [`Answer::Received`].
    TcpReceive {
        /// Which end it is.
        end: End,
        /// How many connections.
        streams: usize,
        /// How long not to count, from the last connection on.
        warm_up: Duration,
        /// How many bytes to count.
        enough: u64,
        /// How long to count at most.
        patience: Duration,
        /// Processes whose CPU time is counted apart.
        daemons: Vec<u32>,
    },
    /// Send on so many streams until the receiver has had enough. [`Answer::Done`].
    TcpSend {
        /// Which end it is.
        end: End,
        /// How many connections.
        streams: usize,
        /// When to end if the receiver does not end it.
        limit: Duration,
    },
    /// Answer short connections from now on. [`Answer::Ready`].
    Serve {
        /// The address to listen on.
        on: Ipv4Addr,
    },
    /// Make short connections, one after the other. [`Answer::Connected`].
    Connect {
        /// The server.
        to: SocketAddrV4,
        /// How many at a time.
        concurrent: usize,
        /// How long not to count.
        warm_up: Duration,
        /// How long to count.
        measure: Duration,
        /// Processes whose CPU time is counted apart.
        daemons: Vec<u32>,
    },
    /// Start to count datagrams. [`Answer::Ready`].
    UdpReceive {
        /// The address to bind to.
        on: Ipv4Addr,
    },
    /// Send datagrams. [`Answer::Sent`].
    UdpSend {
        /// The receiver.
        to: SocketAddrV4,
        /// UDP payload in bytes, at least 8.
        payload: usize,
        /// Datagrams per second; as many as possible when absent.
        rate: Option<f64>,
        /// How long.
        time: Duration,
        /// Goes into each payload, so that latecomers of another trial do not count in this one.
        mark: u64,
    },
    /// How many datagrams with this mark have arrived, when no more are to come. [`Answer::Counted`].
    UdpCount {
        /// The mark.
        mark: u64,
        /// How many were sent: reaching this ends the waiting for more.
        sent: u64,
    },
    /// Send back every datagram that comes. [`Answer::Ready`].
    Echo {
        /// The address to bind to.
        on: Ipv4Addr,
    },
    /// Send a datagram, wait for it to come back, and so on. [`Answer::RoundTrips`].
    RequestResponse {
        /// The echo.
        to: SocketAddrV4,
        /// How long not to count.
        warm_up: Duration,
        /// How long to count.
        measure: Duration,
    },
}

/// What an agent answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It listens there.
    Ready(SocketAddrV4),
    /// The end of a [`Task::TcpSend`].
    Done,
    /// The end of a [`Task::TcpReceive`].
    Received {
        /// Payload bytes, of all streams.
        bytes: u64,
        /// The window in seconds.
        seconds: f64,
        /// CPU time within it.
        usage: Usage,
    },
    /// The end of a [`Task::Connect`].
    Connected {
        /// Connections that were opened, used and closed.
        made: u64,
        /// Those that were not.
        failed: u64,
        /// The window in seconds.
        seconds: f64,
        /// CPU time within it.
        usage: Usage,
    },
    /// The end of a [`Task::UdpSend`].
    Sent {
        /// Datagrams the kernel took.
        sent: u64,
        /// How long it took, in seconds.
        seconds: f64,
    },
    /// The end of a [`Task::UdpCount`].
    Counted {
        /// Datagrams that arrived.
        received: u64,
        /// From the first to the last of them, in seconds.
        seconds: f64,
    },
    /// The end of a [`Task::RequestResponse`].
    RoundTrips {
        /// How many came back.
        count: usize,
        /// How many did not within 200 ms.
        lost: u64,
        /// Median round trip in microseconds.
        p50_us: f64,
        /// 99th percentile in microseconds.
        p99_us: f64,
    },
    /// It could not be done.
    Failed(String),
}
