//! Why a port of the host cannot be had.

use std::net::IpAddr;

use weft_dataplane::io::reserve::ReserveError;

use super::owner::Owner;
use crate::error::{Code, Explain};
use crate::model::PortMapping;

/// Why a port of the host cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PublishFailure {
    /// A process has it.
    #[error("the host's port {mapping} is taken by {}", owner.as_ref().map_or_else(|| "another process".to_owned(), ToString::to_string))]
    Taken {
        /// The port.
        mapping: PortMapping,
        /// The process, if it can be known.
        owner: Option<Owner>,
    },
    /// The address is another host's.
    #[error("the host has no address {address}")]
    NotLocal {
        /// The address.
        address: IpAddr,
    },
    /// The kernel does not give it.
    #[error("the host's port {mapping} cannot be had: {source}")]
    Refused {
        /// The port.
        mapping: PortMapping,
        /// The kernel's answer.
        source: ReserveError,
    },
}

impl Explain for PublishFailure {
    fn code(&self) -> Code {
        match self {
            Self::Taken { .. } => Code::Conflict,
            Self::NotLocal { .. } => Code::InvalidArgument,
            Self::Refused { .. } => Code::Failed,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Taken { .. } => Some("choose another port, or end that process first".into()),
            Self::NotLocal { .. } => Some("give one of its addresses, or none".into()),
            Self::Refused { .. } => None,
        }
    }
}
