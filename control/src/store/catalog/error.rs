//! Why the catalog refused.

use std::fmt;
use std::net::IpAddr;

use weft_dataplane::wire::MacAddr;

use super::{Key, StoreError};
use crate::error::{Code, Explain};
use crate::model::{Id, Name, OptionError};

/// What can belong to one only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The name of a network.
    NetworkName(Name),
    /// A network's number in the dataplane.
    Segment(u32),
    /// A network's VNI.
    Vni(u32),
    /// The name of an endpoint, on its network.
    EndpointName(Name),
    /// The address of an endpoint, on its network.
    Address(IpAddr),
    /// The MAC address of an endpoint, on its network.
    Mac(MacAddr),
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NetworkName(name) => write!(f, "the network name '{name}'"),
            Self::Segment(number) => write!(f, "the segment {number}"),
            Self::Vni(vni) => write!(f, "the VNI {vni}"),
            Self::EndpointName(name) => write!(f, "the endpoint name '{name}'"),
            Self::Address(address) => write!(f, "the address {address}"),
            Self::Mac(mac) => write!(f, "the MAC {mac}"),
        }
    }
}

/// Why the catalog refused.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Somebody else has it.
    #[error("{claim} is taken{}", owner.as_ref().map(|owner| format!(" by '{owner}'")).unwrap_or_default())]
    Taken {
        /// What.
        claim: Claim,
        /// The network's or endpoint's name, if it is still there.
        owner: Option<Name>,
    },
    /// No network of this id.
    #[error("there is no network '{}'", id.short())]
    NoNetwork {
        /// The id.
        id: Id,
    },
    /// No endpoint of this id.
    #[error("there is no endpoint '{}'", id.short())]
    NoEndpoint {
        /// The id.
        id: Id,
    },
    /// The network is being removed.
    #[error("the network '{}' is being removed", id.short())]
    Closed {
        /// The network.
        id: Id,
    },
    /// The network was not closed.
    #[error("the network '{}' may still get endpoints", id.short())]
    StillOpen {
        /// The network.
        id: Id,
    },
    /// The network has endpoints.
    #[error("the network '{}' has {count} endpoints", id.short())]
    HasEndpoints {
        /// The network.
        id: Id,
        /// How many.
        count: usize,
    },
    /// An update meant to change what only a new endpoint can claim.
    #[error("the name, MAC and addresses of endpoint '{}' cannot change", id.short())]
    ClaimsChanged {
        /// The endpoint.
        id: Id,
    },
    /// A newer build wrote the document.
    #[error("'{key}' in the store has version {found}, this build knows up to {known}")]
    Newer {
        /// Where it stands.
        key: Key,
        /// Its version.
        found: u32,
        /// The newest that this build knows.
        known: u32,
    },
    /// The document is none of those that stand at such a key.
    #[error("'{key}' in the store cannot be read: {what}")]
    Unreadable {
        /// Where it stands.
        key: Key,
        /// What is wrong with it.
        what: String,
    },
    /// The document cannot be written as JSON: a path that is no text.
    #[error("'{key}' cannot be written to the store: {what}")]
    Unwritable {
        /// Where it would stand.
        key: Key,
        /// What is wrong with it.
        what: String,
    },
    /// A stored network has options that this build has not.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Explain for CatalogError {
    fn code(&self) -> Code {
        match self {
            Self::NoNetwork { .. } | Self::NoEndpoint { .. } => Code::NotFound,
            Self::Taken { .. } | Self::Closed { .. } | Self::StillOpen { .. } | Self::HasEndpoints { .. } => {
                Code::Conflict
            }
            Self::ClaimsChanged { .. } | Self::Unwritable { .. } => Code::InvalidArgument,
            Self::Newer { .. } | Self::Unreadable { .. } => Code::Failed,
            Self::Option(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Taken { .. } => "choose another one, or leave it to weft".into(),
            Self::NoNetwork { .. } => "see 'weft network ls'".into(),
            Self::NoEndpoint { .. } => "see 'weft endpoint ls'".into(),
            Self::Closed { .. } => "wait until it is gone, or use another network".into(),
            Self::StillOpen { .. } => "close it first".into(),
            Self::HasEndpoints { .. } => "disconnect them first".into(),
            Self::ClaimsChanged { .. } => "disconnect it, and connect it anew".into(),
            Self::Newer { .. } => "it was left as it is: install the newer weft".into(),
            Self::Unreadable { .. } => "it was left as it is: restore a backup, or import an export".into(),
            Self::Unwritable { .. } => "use a path that is text".into(),
            Self::Option(error) => return error.remedy(),
            Self::Store(error) => return error.remedy(),
        })
    }
}
