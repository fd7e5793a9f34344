//! What NAT remembers, told with the names of networks and endpoints.

use std::net::SocketAddr;

use weft_dataplane::tables::PortId;

use super::Manager;
use crate::model::Name;

/// The most sessions that are told in one answer.
pub const SESSIONS_TOLD: usize = 65_536;

/// One session of NAT, as the packet side knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatRow {
    /// The endpoint's port on the switch.
    pub port: PortId,
    /// `tcp`, `udp` or `icmp`.
    pub protocol: &'static str,
    /// The endpoint's address and port, or ICMP query identifier.
    pub inside: SocketAddr,
    /// The host's address and port that stand for them outside.
    pub outside: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
    /// How far it has come, in a word.
    pub state: &'static str,
    /// Seconds since something last passed that keeps it.
    pub idle_s: u64,
    /// Seconds until it is forgotten, if nothing passes.
    pub expires_s: u64,
}

/// Which sessions are asked for; empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// A network's name.
    pub network: Option<String>,
    /// An endpoint's name.
    pub endpoint: Option<String>,
    /// A protocol.
    pub protocol: Option<String>,
}

impl Manager {
    /// Sessions of NAT, at most [`SESSIONS_TOLD`], with network and endpoint; those of an endpoint that has just left are
    /// left out.
    #[must_use]
    pub fn nat_sessions(&self, filter: &SessionFilter) -> Vec<(Name, Name, NatRow)> {
        let rows = self.plane.nat_sessions();
        let book = self.book();
        let named = rows.into_iter().filter_map(|row| {
            let (record, endpoint) = book.behind(row.port)?;
            Some((record.network.name.clone(), endpoint.name.clone(), row))
        });
        let fits = |asked: &Option<String>, is: &str| asked.as_ref().is_none_or(|asked| asked == is);
        let wanted = named.filter(|(network, endpoint, row)| {
            fits(&filter.network, network.as_str())
                && fits(&filter.endpoint, endpoint.as_str())
                && fits(&filter.protocol, row.protocol)
        });
        wanted.take(SESSIONS_TOLD).collect()
    }
}
