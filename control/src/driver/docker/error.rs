//! Why the engine is refused something.

use std::time::Duration;

use crate::api::RequestError;
use crate::error::{Code, Explain};
use crate::model::{DriverError, OptionError, PortsByError};
use crate::network::NetworkError;

use super::options::{ENDPOINT_OPTIONS, NETWORK_OPTIONS};

/// Why the engine is refused something.
#[derive(Debug, thiserror::Error)]
pub(super) enum DockerError {
    /// The call itself is wrong.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The manager refuses.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A call that only a swarm makes.
    #[error("networks of the driver weft belong to one host and not to a swarm")]
    Swarm,
    /// A call took longer than the engine shall wait.
    #[error("this was not done within {} s", after.as_secs())]
    Late { after: Duration },
    /// A network without IPv4, or without addresses.
    #[error("a network needs an IPv4 subnet, and the engine gave none")]
    NoSubnet,
    /// An option of a network that nobody knows.
    #[error("there is no network option '{key}'")]
    NetworkOption { key: String },
    /// An option whose value is none.
    #[error("the network option '{key}' cannot be '{value}'")]
    Number { key: &'static str, value: String },
    /// An option whose value is none, as the option's owner says it.
    #[error(transparent)]
    Option(OptionError),
    /// `driver` is none.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// `ports` is neither.
    #[error(transparent)]
    Ports(#[from] PortsByError),
    /// An option of an endpoint that nobody knows.
    #[error("there is no option '{key}' of endpoints")]
    EndpointOption { key: String },
    /// A MAC address that is not six bytes.
    #[error("the MAC address '{text}' is not six bytes in base64")]
    Mac { text: String },
    /// An option of a pool; there are none.
    #[error("there is no IPAM option '{key}'")]
    PoolOption { key: String },
    /// Neither TCP nor UDP.
    #[error("port {port} cannot be published: the protocol {protocol} is neither TCP (6) nor UDP (17)")]
    Protocol { port: u16, protocol: u8 },
    /// A port 0, or a range that ends before it begins.
    #[error("the container's port {port} cannot be published on the host's ports {from} to {to}")]
    Range { port: u16, from: u16, to: u16 },
}

impl Explain for DockerError {
    fn code(&self) -> Code {
        match self {
            Self::Request(error) => error.code(),
            Self::Network(error) => error.code(),
            Self::Late { .. } => Code::Timeout,
            _ => Code::InvalidArgument,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Request(error) => return error.remedy(),
            Self::Network(error) => return error.remedy(),
            Self::Swarm => {
                "make it on each host with 'docker network create -d weft -o vni=N', one N for all".into()
            }
            Self::Late { .. } => "look into weft's log, and try again".into(),
            Self::NoSubnet => "leave out --ipv4=false, and use --ipam-driver weft or none at all".into(),
            Self::NetworkOption { .. } => format!("use {}", NETWORK_OPTIONS.join(", ")),
            Self::Number { .. } => "give a number".into(),
            Self::Option(error) => return error.remedy(),
            Self::Driver(_) => "use driver=bridge or driver=overlay".into(),
            Self::Ports(_) => "use ports=weft or ports=engine".into(),
            Self::EndpointOption { .. } => format!("leave it out; there are {}", ENDPOINT_OPTIONS.join(", ")),
            Self::Mac { .. } => "give six bytes".into(),
            Self::PoolOption { .. } => "leave out --ipam-opt".into(),
            Self::Protocol { .. } => "publish tcp or udp, or make the network with -o ports=engine".into(),
            Self::Range { .. } => "give ports from 1 to 65535, the smaller first".into(),
        })
    }
}

impl From<OptionError> for DockerError {
    fn from(error: OptionError) -> Self {
        match error {
            OptionError::Unknown { key } => Self::NetworkOption { key },
            error => Self::Option(error),
        }
    }
}
