//! What is asked for by the environment: the verb, and which interface of which container it is about.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::{Args, CniError, Version};
use crate::model::IfName;

/// The longest container id, in bytes. Engines have 64 digits.
pub const CONTAINER_ID_MAX: usize = 256;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Make an interface.
    Add,
    /// Remove it.
    Del,
    /// Look whether it is as it was made.
    Check,
    /// Remove all that is not in a list.
    Gc,
    /// Say whether ADD would work.
    Status,
    /// Say which versions there are.
    Version,
}

impl Verb {
    const ALL: [Self; 6] = [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    /// The first version that has it.
    #[must_use]
    pub const fn since(self) -> Version {
        match self {
            Self::Add | Self::Del | Self::Version => Version::V0_3_1,
            Self::Check => Version::V0_4_0,
            Self::Gc | Self::Status => Version::V1_1_0,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One interface of one container: what the specification calls an attachment, on one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The container's id.
    pub container: String,
    /// The interface's name inside.
    pub ifname: IfName,
}

/// Where an attachment is, and what else the environment says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which it is.
    pub attachment: Attachment,
    /// The container's namespace.
    pub netns: PathBuf,
    /// Whether that may be the plugin's own (`CNI_NETNS_OVERRIDE`).
    pub any_netns: bool,
    /// `CNI_ARGS`.
    pub args: Args,
}

/// A call, as far as the environment tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Make the interface.
    Add(Place),
    /// Remove it. Its namespace may be gone, so that it is not asked for.
    Del(Attachment),
    /// Look at it.
    Check(Place),
    /// Remove all others.
    Gc,
    /// Say whether ADD would work.
    Status,
    /// Say which versions there are.
    Version,
}

impl Call {
    /// The call that the variables describe.
    ///
    /// # Errors
    /// [`CniError::Environment`] names the variable.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, CniError> {
        let text = |name: &str| -> Result<String, CniError> {
            let value = variable(name).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| wrong(name, "missing"))?;
            value.into_string().map_err(|_| wrong(name, "not UTF-8"))
        };
        let command = text("CNI_COMMAND")?;
        let verb = Verb::ALL.into_iter().find(|verb| verb.as_str() == command);
        let verb = verb.ok_or_else(|| wrong("CNI_COMMAND", &format!("'{command}', which is no verb")))?;
        let attachment = || -> Result<Attachment, CniError> {
            let ifname = text("CNI_IFNAME")?;
            Ok(Attachment {
                container: container_id(text("CNI_CONTAINERID")?)?,
                ifname: IfName::new(ifname).map_err(|error| wrong("CNI_IFNAME", &error.to_string()))?,
            })
        };
        let place = || -> Result<Place, CniError> {
            let attachment = attachment()?;
            let args = match variable("CNI_ARGS") {
                Some(args) if !args.is_empty() => Args::parse(&text("CNI_ARGS")?, &attachment.container)?,
                _ => Args::default(),
            };
            let any_netns = variable("CNI_NETNS_OVERRIDE").is_some_and(|v| v == "1" || v == "true");
            Ok(Place { attachment, netns: text("CNI_NETNS")?.into(), any_netns, args })
        };
        Ok(match verb {
            Verb::Add => Self::Add(place()?),
            Verb::Check => Self::Check(place()?),
            Verb::Del => Self::Del(attachment()?),
            Verb::Gc => Self::Gc,
            Verb::Status => Self::Status,
            Verb::Version => Self::Version,
        })
    }

    /// What is to be done.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Add(_) => Verb::Add,
            Self::Del(_) => Verb::Del,
            Self::Check(_) => Verb::Check,
            Self::Gc => Verb::Gc,
            Self::Status => Verb::Status,
            Self::Version => Verb::Version,
        }
    }
}

/// An error about a variable.
pub(super) fn wrong(variable: &str, problem: &str) -> CniError {
    CniError::Environment { variable: variable.to_owned(), problem: problem.to_owned() }
}

fn container_id(id: String) -> Result<String, CniError> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let first = id.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if first && id.bytes().all(legal) && id.len() <= CONTAINER_ID_MAX {
        return Ok(id);
    }
    let problem = format!(
        "'{id}': 1 to {CONTAINER_ID_MAX} letters, digits, '_', '.', '-' are a container id, the first a letter or digit"
    );
    Err(wrong("CNI_CONTAINERID", &problem))
}
