//! What is told on standard output when something was not done: the specification's object and its codes.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Verb, Version};
use crate::api::ClientError;
use crate::error::{Code, Explain, one_line};
use crate::sandbox::SandboxError;

/// Codes that are the plugin's own, from 100 on.
pub mod own {
    /// Something that was asked for is taken: an address, a port of the host, a MAC address, an interface name.
    pub const TAKEN: u32 = 100;
    /// The delegated IPAM plugin could not be run to its end, or said nothing that can be understood.
    pub const DELEGATE: u32 = 101;
    /// CHECK found something that is not as ADD made it.
    pub const NOT_AS_MADE: u32 = 102;
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// A version of the protocol that this plugin does not speak.
    #[error("the CNI version '{version}' is not supported")]
    Version {
        /// The version.
        version: String,
    },
    /// A verb that the configuration's version does not have.
    #[error("{verb} is not in CNI {version}, the version of this configuration")]
    NotInVersion {
        /// The verb.
        verb: Verb,
        /// The version.
        version: Version,
    },
    /// A key that nobody here knows.
    #[error("the key '{key}' is unknown, and would be ignored: {value}")]
    UnknownKey {
        /// The key, with those it stands in.
        key: String,
        /// Its value.
        value: String,
    },
    /// A key of the specification that asks for what Weft cannot do.
    #[error("'{key}' cannot be honoured: {value}")]
    Unsupported {
        /// The key, with those it stands in.
        key: String,
        /// Its value.
        value: String,
        /// What can be done instead.
        instead: String,
    },
    /// A variable of the environment is missing or wrong.
    #[error("the variable {variable} is {problem}")]
    Environment {
        /// Its name, with the key within it if it has keys.
        variable: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Standard input, output, or the machine.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Not JSON, or not of the right type.
    #[error("cannot decode {what}: {why}")]
    Decode {
        /// What.
        what: String,
        /// Why not.
        why: String,
    },
    /// A value of the network configuration that cannot be.
    #[error("'{key}' is wrong: {why}")]
    Configuration {
        /// The key, with those it stands in.
        key: String,
        /// Why, with the value.
        why: String,
    },
    /// The network exists and is another than the configuration describes.
    #[error("the network '{network}' is not what the configuration asks for: {}", differences.join("; "))]
    Differs {
        /// The network.
        network: String,
        /// What differs, a phrase each.
        differences: Vec<String>,
    },
    /// The namespace is none, or not the container's.
    #[error("{why}")]
    Netns {
        /// Its path.
        netns: PathBuf,
        /// Why it cannot be used.
        why: String,
    },
    /// The container has an interface of that name.
    #[error("{netns} has an interface '{ifname}' already")]
    IfnameTaken {
        /// The name.
        ifname: String,
        /// The namespace.
        netns: String,
    },
    /// The daemon refused, or is not there.
    #[error(transparent)]
    Daemon(#[from] ClientError),
    /// The daemon is there and not ready.
    #[error("the daemon at {socket} is not ready: {why}")]
    NotReady {
        /// Its socket.
        socket: String,
        /// Why.
        why: String,
    },
    /// Something in the container's namespace.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The delegated IPAM plugin refused.
    #[error("the IPAM plugin '{plugin}' refused: {}", refusal.msg)]
    Refused {
        /// The plugin.
        plugin: String,
        /// What it said.
        refusal: Refusal,
    },
    /// The delegated IPAM plugin does not do its work.
    #[error("the IPAM plugin '{plugin}' {why}")]
    Delegate {
        /// The plugin.
        plugin: String,
        /// What it does instead.
        why: String,
    },
    /// CHECK found differences.
    #[error("the attachment is not as it was made: {}", flaws.join("; "))]
    NotAsMade {
        /// What differs, a phrase each.
        flaws: Vec<String>,
    },
    /// The executable itself cannot work.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

/// The specification's error object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The protocol's version.
    #[serde(rename = "cniVersion", default)]
    pub version: String,
    /// What kind of error it is.
    pub code: u32,
    /// One line: what was wrong, with the value.
    #[serde(default)]
    pub msg: String,
    /// One line: what to do.
    #[serde(default)]
    pub details: String,
}

impl CniError {
    /// How it is told to a runtime that speaks `version`.
    #[must_use]
    pub fn told(&self, version: Version) -> Refusal {
        Refusal {
            version: version.to_string(),
            code: self.number(),
            msg: one_line(&self.to_string()),
            details: self.details(),
        }
    }

    /// The specification's code.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self {
            Self::Version { .. } | Self::NotInVersion { .. } => 1,
            Self::UnknownKey { .. } | Self::Unsupported { .. } => 2,
            Self::Environment { .. } => 4,
            Self::Io { .. } => 5,
            Self::Decode { .. } => 6,
            Self::Configuration { .. } | Self::Differs { .. } => 7,
            Self::Netns { .. } => 8,
            Self::Daemon(error) => match error.code() {
                Code::Unreachable | Code::Timeout | Code::Exhausted => 11,
                Code::InvalidArgument | Code::NotFound | Code::TooLarge => 7,
                Code::Conflict => own::TAKEN,
                Code::Forbidden | Code::MethodNotAllowed | Code::Failed => 999,
            },
            Self::NotReady { .. } => 50,
            Self::IfnameTaken { .. } => own::TAKEN,
            Self::Refused { refusal, .. } => refusal.code,
            Self::Delegate { .. } => own::DELEGATE,
            Self::NotAsMade { .. } => own::NOT_AS_MADE,
            Self::Sandbox(_) | Self::Runtime(_) => 999,
        }
    }

    fn details(&self) -> String {
        match self {
            Self::Version { .. } => {
                format!("write one of {} as cniVersion", Version::ALL.map(Version::as_str).join(", "))
            }
            Self::NotInVersion { verb, .. } => {
                format!("write {} or later as cniVersion", verb.since())
            }
            Self::UnknownKey { .. } => "take it out, or see README.md for the keys there are".into(),
            Self::Unsupported { instead, .. } => instead.clone(),
            Self::Differs { network, .. } => {
                format!("change the configuration, or 'weft network rm {network}'")
            }
            Self::Netns { .. } => "give the path of the container's, such as /run/netns/c1".into(),
            Self::IfnameTaken { .. } => "choose another name, or remove it first".into(),
            Self::Daemon(ClientError::Unreachable { .. }) => {
                "start it with 'weft daemon', or name its socket with the key \"host\"; then try again".into()
            }
            Self::Daemon(error) => error.remedy().unwrap_or_default(),
            Self::NotReady { .. } => "see 'weft status', and try again".into(),
            Self::Refused { refusal, .. } => one_line(&refusal.details),
            Self::NotAsMade { .. } => "undo that, or remove the container and make it again".into(),
            _ => String::new(),
        }
    }
}
