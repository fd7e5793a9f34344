//! Why a call of the API brought nothing.

use std::io;
use std::path::PathBuf;

use super::types::Problem;
use crate::error::{Code, Explain};

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers at the socket.
    #[error("cannot reach the daemon at {}: {}", socket.display(), source)]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The daemon took the call and went away.
    #[error("the daemon at {} went away: {what}", socket.display())]
    Lost {
        /// The socket.
        socket: PathBuf,
        /// What was seen of it.
        what: String,
    },
    /// No answer within [`super::client::ANSWER_TIMEOUT`].
    #[error("the daemon at {} does not answer", socket.display())]
    Silent {
        /// The socket.
        socket: PathBuf,
    },
    /// An answer that is none.
    #[error("what answers at {} is no weft daemon of this version: {what}", socket.display())]
    Strange {
        /// The socket.
        socket: PathBuf,
        /// What is strange.
        what: String,
    },
    /// A request that cannot be written as JSON.
    #[error("cannot encode the request: {0}")]
    Encode(serde_json::Error),
    /// The daemon refused.
    #[error("{}", .0.message)]
    Refused(Problem),
}

impl Explain for ClientError {
    fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } | Self::Silent { .. } => Code::Unreachable,
            Self::Strange { .. } => Code::Failed,
            Self::Encode(_) => Code::InvalidArgument,
            Self::Refused(problem) => problem.code,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run as root, or join the group weft".into()
            }
            Self::Unreachable { .. } => "start it with 'weft daemon', or name another one with --host".into(),
            Self::Lost { .. } | Self::Silent { .. } => "look into its log".into(),
            Self::Strange { .. } => "use the command line that came with the daemon".into(),
            Self::Encode(_) => "use text that is valid UTF-8".into(),
            Self::Refused(problem) => return problem.remedy.clone(),
        })
    }
}
