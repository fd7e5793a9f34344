//! Published ports: what can be asked for (`-p [IP:]HOST:CONTAINER[/PROTOCOL]`), and what an endpoint then has.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use weft_dataplane::nat;
use weft_dataplane::tables::Transport;

use crate::error::{Code, Explain};

/// The most ports that one endpoint can publish.
pub const PUBLISH_MAX: usize = 4_096;

/// Where host ports come from that nobody has named: the end of what RFC 6335 leaves to everybody, below the part that
/// Linux does not give to clients either.
pub const EPHEMERAL: RangeInclusive<u16> = 49_153..=60_999;

/// A transport that ports are published on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// A range of ports to publish, as asked for: `[IP:]HOST:CONTAINER[/PROTOCOL]`, `HOST` and `CONTAINER` being ports or
/// ranges of one length. Without `HOST`, or with 0, Weft chooses; of a range of `HOST` for one `CONTAINER` it takes one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublishRequest {
    address: Option<IpAddr>,
    host: Option<RangeInclusive<u16>>,
    container: RangeInclusive<u16>,
    protocol: Protocol,
}

/// A port of the host behind which an endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// The host's address; `None`: every one, of either family.
    pub address: Option<IpAddr>,
    /// The host's port.
    pub host: u16,
    /// The endpoint's port.
    pub container: u16,
    /// The transport.
    pub protocol: Protocol,
}

impl Protocol {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl From<Protocol> for nat::Protocol {
    fn from(protocol: Protocol) -> Self {
        Transport::from(protocol).into()
    }
}

impl From<Protocol> for Transport {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = PublishError;

    fn from_str(text: &str) -> Result<Self, PublishError> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(PublishError::Protocol { protocol: text.to_owned() }),
        }
    }
}

impl PublishRequest {
    /// What asks for exactly these ports: those that follow each other are one range.
    #[must_use]
    pub fn of(ports: &[PortMapping]) -> Vec<Self> {
        let follows = |a: &PortMapping, b: &PortMapping| {
            (a.address, a.protocol) == (b.address, b.protocol)
                && a.host.checked_add(1) == Some(b.host)
                && a.container.checked_add(1) == Some(b.container)
        };
        let request = |run: &[PortMapping]| {
            let (first, last) = (run.first()?, run.last()?);
            Some(Self {
                address: first.address,
                host: Some(first.host..=last.host),
                container: first.container..=last.container,
                protocol: first.protocol,
            })
        };
        ports.chunk_by(follows).filter_map(request).collect()
    }

    /// What asks for one port of an endpoint: behind one of `host`, or behind whichever port is free. `None` for a port 0
    /// and for a range that is empty.
    #[must_use]
    pub fn one(
        address: Option<IpAddr>,
        host: Option<RangeInclusive<u16>>,
        container: u16,
        protocol: Protocol,
    ) -> Option<Self> {
        let possible = host.as_ref().is_none_or(|range| *range.start() > 0 && !range.is_empty());
        (possible && container > 0).then_some(Self {
            address,
            host,
            container: container..=container,
            protocol,
        })
    }

    /// Where the host's ports are chosen from that are not fixed.
    #[must_use]
    pub fn choices(&self) -> RangeInclusive<u16> {
        self.host.clone().unwrap_or(EPHEMERAL)
    }

    /// How many ports that is.
    #[must_use]
    pub fn count(&self) -> usize {
        self.container.len()
    }

    /// The ports one by one; one whose host port is 0 is still to be chosen.
    pub fn mappings(&self) -> impl Iterator<Item = PortMapping> {
        let fixed = self.host.as_ref().filter(|host| host.len() == self.container.len());
        let first = fixed.map(|range| *range.start());
        (0..).zip(self.container.clone()).map(move |(n, container)| PortMapping {
            address: self.address,
            host: first.map_or(0, |first| first + n),
            container,
            protocol: self.protocol,
        })
    }
}

impl PortMapping {
    /// Where that is on the host, for an endpoint with these addresses, each with the address it leads to: one pair for
    /// each family that both have.
    pub fn places(&self, inside: impl IntoIterator<Item = IpAddr>) -> Vec<(IpAddr, IpAddr)> {
        let place = |inside: IpAddr| match self.address {
            Some(address) => (address.is_ipv4() == inside.is_ipv4()).then_some((address, inside)),
            None if inside.is_ipv4() => Some((Ipv4Addr::UNSPECIFIED.into(), inside)),
            None => Some((Ipv6Addr::UNSPECIFIED.into(), inside)),
        };
        inside.into_iter().filter_map(place).collect()
    }

    /// Whether something sent to one could be meant for the other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let addresses = match (self.address, other.address) {
            (Some(a), Some(b)) => {
                a == b || a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified())
            }
            _ => true,
        };
        addresses && (self.host, self.protocol) == (other.host, other.protocol)
    }
}

/// `0.0.0.0:8080/tcp`, `[::1]:53/udp`, `*:80/tcp`: the host's side.
impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V4(v4)) => write!(f, "{v4}:{}/{}", self.host, self.protocol),
            Some(IpAddr::V6(v6)) => write!(f, "[{v6}]:{}/{}", self.host, self.protocol),
            None => write!(f, "*:{}/{}", self.host, self.protocol),
        }
    }
}

impl FromStr for PublishRequest {
    type Err = PublishError;

    fn from_str(text: &str) -> Result<Self, PublishError> {
        let (ports, protocol) = match text.rsplit_once('/') {
            Some((ports, protocol)) => (ports, protocol.parse()?),
            None => (text, Protocol::default()),
        };
        let (address, ports) = split_address(ports)?;
        let (host, container) = match ports.split_once(':') {
            Some((host, container)) => (host, container),
            None if address.is_some() => return Err(PublishError::Shape { text: text.to_owned() }),
            None => ("", ports),
        };
        let host = match host {
            "" | "0" => None,
            host => Some(range(host)?),
        };
        let container = range(container)?;
        if let Some(host) = host.as_ref().filter(|host| host.len() != container.len() && container.len() > 1)
        {
            let (host, container) = (host.len(), container.len());
            return Err(PublishError::Lengths { text: text.to_owned(), host, container });
        }
        Ok(Self { address, host, container, protocol })
    }
}

/// `IP:REST`, `[IPV6]:REST`, or all of it without an address.
fn split_address(text: &str) -> Result<(Option<IpAddr>, &str), PublishError> {
    let bad = |address: &str| PublishError::Address { address: address.to_owned() };
    let shape = || PublishError::Shape { text: text.to_owned() };
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once("]:").ok_or_else(shape)?;
        // A link-local address says nothing without its link.
        let v6: Option<Ipv6Addr> = address.parse().ok().filter(|v6: &Ipv6Addr| !v6.is_unicast_link_local());
        let v6 = v6.filter(|v6| !v6.is_multicast()).ok_or_else(|| bad(address))?;
        return Ok((Some(IpAddr::from(v6).to_canonical()), rest));
    }
    match text.split(':').count() {
        1 | 2 => Ok((None, text)),
        3 => {
            let (address, rest) = text.split_once(':').ok_or_else(shape)?;
            let v4: Option<Ipv4Addr> = address.parse().ok().filter(|v4: &Ipv4Addr| !v4.is_multicast());
            let v4 = v4.filter(|v4| !v4.is_broadcast()).ok_or_else(|| bad(address))?;
            Ok((Some(v4.into()), rest))
        }
        _ => Err(shape()),
    }
}

/// `80` or `80-89`.
fn range(text: &str) -> Result<RangeInclusive<u16>, PublishError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        // Not what `parse` takes besides: a sign.
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let port = text.parse().ok().filter(|&port: &u16| digits && port > 0);
        port.ok_or_else(|| PublishError::Port { port: text.to_owned() })
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(PublishError::Backwards { range: text.to_owned() });
    }
    Ok(first..=last)
}

impl fmt::Display for PublishRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V4(v4)) => write!(f, "{v4}:")?,
            Some(IpAddr::V6(v6)) => write!(f, "[{v6}]:")?,
            None => {}
        }
        let range = |f: &mut fmt::Formatter<'_>, range: &RangeInclusive<u16>| match range.len() {
            1 => write!(f, "{}", range.start()),
            _ => write!(f, "{}-{}", range.start(), range.end()),
        };
        self.host.iter().try_for_each(|host| range(f, host))?;
        write!(f, ":")?;
        range(f, &self.container)?;
        write!(f, "/{}", self.protocol)
    }
}

impl TryFrom<String> for PublishRequest {
    type Error = PublishError;

    fn try_from(text: String) -> Result<Self, PublishError> {
        text.parse()
    }
}

impl From<PublishRequest> for String {
    fn from(request: PublishRequest) -> Self {
        request.to_string()
    }
}

/// Why text asks for no ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Too many colons, or an address alone.
    #[error("'{text}' is no port to publish")]
    Shape {
        /// The text.
        text: String,
    },
    /// No IP address.
    #[error("'{address}' is no IP address to publish on")]
    Address {
        /// What stands for one.
        address: String,
    },
    /// No port number.
    #[error("'{port}' is no port")]
    Port {
        /// What stands for one.
        port: String,
    },
    /// A range that ends before it begins.
    #[error("the port range '{range}' ends before it begins")]
    Backwards {
        /// The range.
        range: String,
    },
    /// Ranges of different lengths.
    #[error("'{text}' has {host} ports of the host for {container} of the endpoint")]
    Lengths {
        /// The text.
        text: String,
        /// How many of the host.
        host: usize,
        /// How many of the endpoint.
        container: usize,
    },
    /// Neither TCP nor UDP.
    #[error("ports of the protocol '{protocol}' cannot be published")]
    Protocol {
        /// The word.
        protocol: String,
    },
}

impl Explain for PublishError {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Shape { .. } => "write [IP:]HOST:CONTAINER[/tcp|udp], an IPv6 address in brackets".into(),
            Self::Address { .. } => "give one of this host, such as 192.0.2.1 or [2001:db8::1]".into(),
            Self::Port { .. } => "give a number from 1 to 65535, or a range such as 8000-8010".into(),
            Self::Backwards { .. } => "give the smaller port first".into(),
            Self::Lengths { .. } => {
                "give ranges of one length, one port of the endpoint, or none of the host".into()
            }
            Self::Protocol { .. } => "use tcp or udp".into(),
        })
    }
}

#[cfg(test)]
mod tests;
