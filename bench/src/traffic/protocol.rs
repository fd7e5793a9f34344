//! What the lab says to an agent, and the other way round: one JSON object a line.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::measure::cpu::Usage;

/// What an agent is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Listen, receive on so many streams, and measure. [`Answer::Ready`], then [`Answer::Received`].
    TcpReceive {
        /// The address to listen on.
        on: Ipv4Addr,
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
    /// Connect so many streams and send until the receiver has had enough. [`Answer::Done`].
    TcpSend {
        /// The receiver.
        to: SocketAddrV4,
        /// How many connections.
        streams: usize,
        /// When to end if the receiver does not end it.
        limit: Duration,
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
