//! What is asked of a contender, and what comes of it.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// One TCP stream from host 1 to host 2
    Tcp1,
    /// One TCP stream from host 2 to host 1
    Tcp1Back,
    /// Eight TCP streams from host 1 to host 2
    Tcp8,
    /// Eight TCP streams from host 2 to host 1
    Tcp8Back,
    /// One TCP stream out of the container
    TcpOut,
    /// One TCP stream into the container, over a connection that it opened
    TcpIn,
    /// One TCP stream into the container, over a connection to a published port
    TcpPublished,
    /// TCP connections out of the container, sixteen at a time: connect, 64 bytes there and back, close
    Cps,
    /// UDP datagrams of 64 bytes, at a search for the highest rate and at flood
    Udp64,
    /// UDP datagrams of 1400 bytes, likewise
    Udp1400,
    /// UDP request and response, 64 bytes, one at a time
    Rr,
    /// Nothing: memory, and CPU time of an idle daemon
    Rest,
}

impl Workload {
    /// What it is, for headings.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Tcp1 => "TCP, 1 stream",
            Self::Tcp1Back => "TCP, 1 stream back",
            Self::Tcp8 => "TCP, 8 streams",
            Self::Tcp8Back => "TCP, 8 streams back",
            Self::TcpOut => "TCP out, 1 stream",
            Self::TcpIn => "TCP in, 1 stream",
            Self::TcpPublished => "TCP in by a published port, 1 stream",
            Self::Cps => "TCP connections",
            Self::Udp64 => "UDP, 64 B",
            Self::Udp1400 => "UDP, 1400 B",
            Self::Rr => "UDP request-response",
            Self::Rest => "daemons at rest",
        }
    }

    /// Whether it goes from host 2 to host 1, or from outside to the container.
    pub(crate) fn is_back(self) -> bool {
        matches!(self, Self::Tcp1Back | Self::Tcp8Back | Self::TcpIn | Self::TcpPublished)
    }

    /// What is measured of it, in the order of the report.
    pub(crate) fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Tcp1
            | Self::Tcp1Back
            | Self::Tcp8
            | Self::Tcp8Back
            | Self::TcpOut
            | Self::TcpIn
            | Self::TcpPublished => &[Metric::Gbps, Metric::CpuPerGb, Metric::DaemonCpuPerGb],
            Self::Cps => &[
                Metric::ConnectionRate,
                Metric::ConnectionsFailed,
                Metric::CpuPerConnection,
                Metric::DaemonCpuPerConnection,
            ],
            Self::Udp64 | Self::Udp1400 => {
                &[Metric::LowLossKpps, Metric::NoLossKpps, Metric::FloodKpps, Metric::OfferedKpps]
            }
            Self::Rr => &[Metric::P50, Metric::P99],
            Self::Rest => &[Metric::Memory, Metric::IdleCpu],
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.to_possible_value().map(|value| value.get_name().to_owned());
        f.write_str(name.as_deref().unwrap_or_default())
    }
}

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// TCP payload received, Gb/s.
    Gbps,
    /// CPU-seconds of the whole machine, both hosts and the traffic, for each 10^9 bytes of payload.
    CpuPerGb,
    /// The daemons' part of it, both hosts together.
    DaemonCpuPerGb,
    /// The highest rate at which at most 0.5 % is lost (PDR), thousand datagrams per second.
    LowLossKpps,
    /// The highest rate at which nothing is lost (NDR), thousand datagrams per second.
    NoLossKpps,
    /// Received while the sender sends as fast as it can, thousand datagrams per second.
    FloodKpps,
    /// Sent meanwhile.
    OfferedKpps,
    /// Half of the median round trip, microseconds.
    P50,
    /// Half of the 99th percentile of the round trip, microseconds.
    P99,
    /// Resident memory of all daemons, MiB.
    Memory,
    /// CPU time of all daemons without traffic, per cent of one core.
    IdleCpu,
    /// TCP connections opened, used and closed, in a second.
    ConnectionRate,
    /// Those that were not answered in time or were refused, per cent of all that were tried.
    ConnectionsFailed,
    /// CPU time of the whole machine for each connection, microseconds.
    CpuPerConnection,
    /// The daemons' part of it.
    DaemonCpuPerConnection,
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    /// More.
    Higher,
    /// Less.
    Lower,
    /// It is only information: the kernel has none of it, or more is no merit.
    Neither,
}

impl Metric {
    /// What it is, for headings.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Gbps => "throughput",
            Self::CpuPerGb => "CPU, whole machine",
            Self::DaemonCpuPerGb => "CPU, daemons",
            Self::LowLossKpps => "highest rate, loss <= 0.5 %",
            Self::NoLossKpps => "highest rate, no loss",
            Self::FloodKpps => "received at flood",
            Self::OfferedKpps => "offered at flood",
            Self::P50 => "half round trip, median",
            Self::P99 => "half round trip, p99",
            Self::Memory => "memory",
            Self::IdleCpu => "idle CPU",
            Self::ConnectionRate => "rate",
            Self::ConnectionsFailed => "failed",
            Self::CpuPerConnection => "CPU, whole machine",
            Self::DaemonCpuPerConnection => "CPU, daemons",
        }
    }

    /// Its unit.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Gbps => "Gb/s",
            Self::CpuPerGb | Self::DaemonCpuPerGb => "CPU-s/GB",
            Self::LowLossKpps | Self::NoLossKpps | Self::FloodKpps | Self::OfferedKpps => "kpps",
            Self::P50 | Self::P99 => "us",
            Self::Memory => "MiB",
            Self::IdleCpu | Self::ConnectionsFailed => "%",
            Self::ConnectionRate => "conn/s",
            Self::CpuPerConnection | Self::DaemonCpuPerConnection => "CPU-us/conn",
        }
    }

    /// Which way is good.
    pub(crate) fn better(self) -> Better {
        match self {
            Self::Gbps | Self::LowLossKpps | Self::NoLossKpps | Self::FloodKpps | Self::ConnectionRate => {
                Better::Higher
            }
            Self::CpuPerGb | Self::CpuPerConnection | Self::ConnectionsFailed | Self::P50 | Self::P99 => {
                Better::Lower
            }
            Self::DaemonCpuPerGb
            | Self::DaemonCpuPerConnection
            | Self::OfferedKpps
            | Self::Memory
            | Self::IdleCpu => Better::Neither,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_called_the_same_everywhere() {
        for workload in Workload::value_variants() {
            let json = serde_json::to_string(workload).unwrap();
            assert_eq!(json, format!("\"{workload}\""));
        }
    }
}
