//! What is particular to networks that a container engine has made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Who publishes the ports of the containers on an engine's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortsBy {
    /// Weft, whose gateway is the containers' way out.
    #[default]
    Weft,
    /// The engine, by a further interface on a bridge of its own, which is then the containers' way out.
    Engine,
}

/// Text that names neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' publishes no ports: ports is weft or engine")]
pub struct PortsByError {
    /// The text.
    pub text: String,
}

impl fmt::Display for PortsBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weft => "weft",
            Self::Engine => "engine",
        })
    }
}

impl FromStr for PortsBy {
    type Err = PortsByError;

    fn from_str(text: &str) -> Result<Self, PortsByError> {
        match text {
            "weft" => Ok(Self::Weft),
            "engine" => Ok(Self::Engine),
            _ => Err(PortsByError { text: text.to_owned() }),
        }
    }
}
