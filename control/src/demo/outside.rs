//! The parts that leave the networks: egress through the host's address, and published ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use super::bulk::{Way, bulk, transfer};
use super::error::DemoError;
use super::lab::{Cast, OUTSIDE_A};
use crate::model::{PortMapping, Protocol};
use crate::sandbox::Netns;

/// What `a1` publishes on every address of its host.
pub(super) const PUBLISHED: PortMapping =
    PortMapping { address: None, host: 8080, container: 80, protocol: Protocol::Tcp };

/// Enough bytes for a look at whether a port leads anywhere.
const LITTLE: u64 = 1 << 20;

/// A bulk transfer to the machine outside, which sees host a.
pub(super) async fn egress(cast: &Cast) -> Result<String, DemoError> {
    let transfer = transfer(Way::direct(cast.a1.netns(), cast.o.netns(), cast.o.ip), bulk).await?;
    check_source(cast.o.label, transfer.seen, OUTSIDE_A)?;
    Ok(format!("o saw {}; {transfer}", transfer.seen))
}

/// A bulk transfer from the machine outside to a port of host a, which leads to `a1`; that sees who it is.
pub(super) async fn published(cast: &Cast) -> Result<String, DemoError> {
    let transfer = transfer(to_published(cast, cast.o.netns(), OUTSIDE_A), bulk).await?;
    check_source(cast.a1.label, transfer.seen, cast.o.ip)?;
    Ok(format!("a1 saw {}; {transfer}", transfer.seen))
}

/// The same port from host a itself, as people try it first.
pub(super) async fn published_to_host(cast: &Cast) -> Result<String, DemoError> {
    let little = async |bytes, _| bytes < LITTLE;
    let way = to_published(cast, cast.a.netns.netns(), Ipv4Addr::LOCALHOST);
    let transfer = transfer(way, little).await?;
    let (megabytes, port) = (transfer.bytes as f64 / 1e6, PUBLISHED.host);
    Ok(format!("127.0.0.1:{port} leads to a1: {megabytes:.1} MB, hashes equal ({:016x})", transfer.hash))
}

fn to_published<'a>(cast: &'a Cast, from: &'a Netns, host: Ipv4Addr) -> Way<'a> {
    Way {
        from,
        to: cast.a1.netns(),
        listen: SocketAddrV4::new(cast.a1.ip, PUBLISHED.container),
        dial: Some(SocketAddrV4::new(host, PUBLISHED.host)),
    }
}

/// Holds the address that somebody saw to the one that it should have seen.
pub(super) fn check_source(by: &'static str, seen: SocketAddr, expected: Ipv4Addr) -> Result<(), DemoError> {
    let (seen, expected) = (seen.ip(), IpAddr::from(expected));
    if seen == expected { Ok(()) } else { Err(DemoError::WrongSource { by, seen, expected }) }
}
